"""Layers: modules that hold parameters and compute with primitives."""

from tinygrad_ce.nn import init
from tinygrad_ce.nn.layers import (
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from tinygrad_ce.nn.losses import (
    BCE,
    MSE,
    NLL,
    CrossEntropy,
    Hinge,
    Huber,
    KLDivergence,
    SigmoidBCE,
    SoftmaxCrossEntropy,
)
from tinygrad_ce.nn.module import Module

__all__ = [
    "BCE",
    "MSE",
    "NLL",
    "BatchNorm",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Hinge",
    "Huber",
    "KLDivergence",
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
