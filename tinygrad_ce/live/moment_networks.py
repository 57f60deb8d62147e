"""The networks that moments bring with them, for pages whose own rows have other features or classes."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from tinygrad_ce.live.moments import PREFIX, Moment, State
from tinygrad_ce.live.offers import ACTIVATIONS, LOSSES_OF_CLASSES, OF_MOMENTS, combination, with_names
from tinygrad_ce.program.kept_texts import kept

LOSSES = [*LOSSES_OF_CLASSES, *OF_MOMENTS]


@cache
def moment_networks(moments: tuple[Moment, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the page knows of each network that a moment brings, and their programs; by key, which begins with PREFIX.

    ValueError for an activation or a loss that no moment can bring.
    """
    states: dict[str, State] = {}
    for state in (state for moment in moments for state in moment.states if state.data):
        states.setdefault(f"{PREFIX}{state.network()}", state)
    arguments_of_each = {key: _arguments_of(state) for key, state in states.items()}
    name = hashlib.sha256(repr(arguments_of_each).encode()).hexdigest()[:20]
    combinations = kept(
        f"moments-{name}", lambda: {key: combination(*arguments) for key, arguments in arguments_of_each.items()}
    )
    networks, programs = {}, {}
    for key, (description, program) in combinations.items():
        data = states[key].data
        assert data is not None
        networks[key], programs[key] = with_names(description, data), program
    return networks, programs


def _arguments_of(state: State) -> tuple[str, str, int, int, int]:
    """The combination of a state that brings rows of its own."""
    if state.activation not in ACTIVATIONS or state.loss not in LOSSES or state.data is None or state.hidden is None:
        raise ValueError(
            f"Moment: rows of its own come with an activation ({', '.join(ACTIVATIONS)}), a loss ({', '.join(LOSSES)}) "
            f"and hidden=(...), not with {state.activation}, {state.loss}, {state.hidden}"
        )
    data = state.data
    return state.activation, state.loss, len(state.hidden), data.n_features, data.n_classes
