"""The networks that moments bring with them, for pages whose own rows have other features or classes."""

from __future__ import annotations

from functools import cache
from typing import Any

from tinygrad_ce.live.moments import PREFIX, Moment, State
from tinygrad_ce.live.offers import ACTIVATIONS, LOSSES_OF_CLASSES, OF_MOMENTS, combination, with_names

LOSSES = [*LOSSES_OF_CLASSES, *OF_MOMENTS]


@cache
def moment_networks(moments: tuple[Moment, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the page knows of each network that a moment brings, and their programs; by key, which begins with PREFIX.

    ValueError for an activation or a loss that no moment can bring.
    """
    networks, programs = {}, {}
    for state in (state for moment in moments for state in moment.states if state.data):
        key = f"{PREFIX}{state.network()}"
        if key not in networks:
            networks[key], programs[key] = _network(state)
    return networks, programs


def _network(state: State) -> tuple[dict[str, Any], str]:
    if state.activation not in ACTIVATIONS or state.loss not in LOSSES or state.data is None or state.hidden is None:
        raise ValueError(
            f"Moment: rows of its own come with an activation ({', '.join(ACTIVATIONS)}), a loss ({', '.join(LOSSES)}) "
            f"and hidden=(...), not with {state.activation}, {state.loss}, {state.hidden}"
        )
    data = state.data
    description, program = combination(state.activation, state.loss, len(state.hidden), data.n_features, data.n_classes)
    return with_names(description, data), program
