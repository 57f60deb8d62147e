"""Optimizers: each is a pure update(param, grad, state) -> (param, state), which `step()` applies to every parameter.

Read in this order: `base.py` (what a step is), `algorithms.py` (SGD, Adam...), `schedules.py` (the learning rate as a
function of the step), `clipping.py` (gradients that are too long).
"""

from tinygrad_ce.optim.algorithms import SGD, AdaGrad, Adam, AdamW, RMSprop
from tinygrad_ce.optim.base import Optimizer
from tinygrad_ce.optim.clipping import clip, clip_grad_norm
from tinygrad_ce.optim.schedules import Constant, Cosine, OneCycle, ReduceOnPlateau, Schedule, StepDecay, WarmUp

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "OneCycle",
    "Optimizer",
    "RMSprop",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "WarmUp",
    "clip",
    "clip_grad_norm",
]
