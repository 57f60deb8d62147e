"""Layers: modules that hold parameters and compute with primitives."""

from tinygrad_ce.nn import init
from tinygrad_ce.nn.layers import (
    BCE,
    MSE,
    BatchNorm,
    CrossEntropy,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidBCE,
    Softmax,
    SoftmaxCrossEntropy,
    Softplus,
    Tanh,
)
from tinygrad_ce.nn.module import Module

__all__ = [
    "BCE",
    "MSE",
    "BatchNorm",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "LayerNorm",
    "Module",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "SigmoidBCE",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Tanh",
    "init",
]
