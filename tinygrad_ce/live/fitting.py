"""Whether a page can be set to the states of its moments: what it does not have is named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.live.moments import PREFIX, Moment, State
from tinygrad_ce.live.offers import OPTIMIZERS


def check_fitting(moments: Sequence[Moment], networks: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raises ValueError for the first state that a page of these networks and settings cannot be set to."""
    for moment in moments:
        if not isinstance(moment, Moment):
            raise ValueError(f"live: moments has {moment!r}, which is no Moment: write moments=[Moment(...)]")
        for state in moment.states:
            wrong = _wrong(state, networks, settings)
            if wrong:
                raise ValueError(f"Moment {moment.title!r}: state {state.button!r} {wrong}")


def _wrong(state: State, networks: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    """What is wrong with a state, in words; None if nothing is."""
    optimizers = [*dict.fromkeys((settings["optimizer"], *OPTIMIZERS))]
    if state.optimizer is not None and state.optimizer not in optimizers:
        return f"has optimizer {state.optimizer!r}: choose one of {', '.join(optimizers)}"
    if state.data is not None and not 0 <= state.test < len(state.data):
        return f"has {len(state.data)} rows, and test={state.test} of them: leave at least one to learn from"
    asked = {name: getattr(state, name) for name in ("activation", "loss", "hidden")}
    own = {name: settings.get(name) for name in asked}
    chosen = {name: own[name] if value is None else value for name, value in asked.items()}
    hidden = tuple(chosen["hidden"] or ())
    key = f"{'' if state.data is None else PREFIX}{chosen['activation']}/{chosen['loss']}/{len(hidden)}"
    if state.data is None and (chosen["activation"], chosen["loss"], hidden) == (
        own["activation"], own["loss"], tuple(own["hidden"] or ()),
    ):  # fmt: skip
        key = "own"
    if key not in networks:
        known = [name for name in networks if name != "own" and not name.startswith(PREFIX)]
        known_words = ", ".join(known)
        return f"asks for {key}, which this page does not hold: choose activation/loss/hidden layers from {known_words}"
    sizes = dict(zip(networks[key].get("sizes", ()), hidden, strict=False))
    return _wrong_weights(state, networks[key], sizes)


def _wrong_weights(state: State, network: Mapping[str, Any], sizes: Mapping[str, int]) -> str | None:
    """What is wrong with the weights that a state sets or marks; None if nothing is."""
    names = [name for layer in network["layers"] for name in layer["parameters"]]
    shapes = {name: tuple(sizes.get(size, size) for size in network["shapes"][name]) for name in names}
    for name, array in state.weights.items():
        if name not in shapes:
            return f"sets {name}, which its network does not have: there are {', '.join(names)}"
        if np.size(array) != math.prod(shapes[name]):
            return f"sets {name} to {np.size(array)} numbers, and its shape is {shapes[name]}"
    if state.select is not None:
        marked, *index = state.select
        shape = shapes.get(str(marked))
        if shape is None:
            return f"marks {marked}, which its network does not have: there are {', '.join(names)}"
        if len(index) != len(shape) or not all(0 <= int(i) < size for i, size in zip(index, shape, strict=True)):
            return f"marks {marked} at {tuple(index)}: its shape is {shape}"
    return None
