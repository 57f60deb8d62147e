"""Running modules without a trace: their attributes, averages and generators are put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np

from tinygrad_ce.nn import init
from tinygrad_ce.nn.module import Module


@contextmanager
def left_as_they_are(*runnable: Any) -> Iterator[None]:
    """Inside, models and losses may run; after, attributes of modules and random generators are as they were before."""
    modules = [module for outer in runnable if isinstance(outer, Module) for module in outer.modules()]
    attributes = [vars(module) for module in modules]
    holders = [*attributes, *(value for held in attributes for value in held.values())]
    contents = [(holder, copy(holder)) for holder in holders if isinstance(holder, (np.ndarray, list, dict))]
    generators = [init.generator(), *(value for value in holders if isinstance(value, np.random.Generator))]
    states = [(generator.bit_generator, generator.bit_generator.state) for generator in generators]
    averages = [(variable, variable.data) for module in modules for variable in module.variables.values()]
    of_numpy = np.random.get_state()
    try:
        yield
    finally:
        for holder, content in contents:
            _refill(holder, content)
        for variable, array in averages:
            variable.data = array
        for generator, state in states:
            generator.state = state
        np.random.set_state(of_numpy)


def _refill(holder: Any, content: Any) -> None:
    """Give an array, a list or a dict the content that it had, in place."""
    if isinstance(holder, dict):
        holder.clear()
        holder.update(content)
    elif isinstance(holder, list):
        holder[:] = content
    elif holder.flags.writeable:
        holder[...] = content
