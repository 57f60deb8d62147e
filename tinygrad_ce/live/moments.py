"""Moments of the live page: predict, press, check, and one sentence that explains; a teacher can write more of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_ce.data import Dataset
from tinygrad_ce.live.checks import check_tree
from tinygrad_ce.views.pages import packed

PREFIX = "moment/"  # of the keys of networks that moments bring; those of the page may have other features and classes


@dataclass(frozen=True, eq=False)
class State:
    """What a button of a moment sets the page to; what is None stays as the page has it.

    activation, loss, hidden, optimizer, rate, batch: as the page's settings name them; hidden: widths, () for none.
    seed: of the initial weights. scale: what they are multiplied by. weights: arrays by name that take their place.
    data: its rows; of them, the last `test` are test rows. select: the weight that is marked: ("W0", 1, 0).

    >>> State("weights × 8", seed=2, scale=8.0).scale
    8.0
    """

    button: str
    activation: str | None = None
    loss: str | None = None
    hidden: tuple[int, ...] | None = None
    optimizer: str | None = None
    rate: float | None = None
    batch: int | None = None
    seed: int = 0
    scale: float = 1.0
    weights: Mapping[str, ArrayLike] = field(default_factory=dict)
    data: Dataset | None = None
    test: int = 0
    select: tuple[str | int, ...] | None = None

    def network(self) -> str | None:
        """The key of its network among those that the page offers; None where it is the page's own."""
        if self.hidden is None:
            return None
        return f"{self.activation}/{self.loss}/{len(self.hidden)}"

    def content(self, places: Mapping[tuple[int, int], int]) -> dict[str, Any]:
        """What the page reads. places: where rows, by id and number of test rows, stand in the page's list."""
        settings = {
            name: getattr(self, name)
            for name in ("activation", "loss", "hidden", "optimizer", "rate", "batch")
            if getattr(self, name) is not None
        }
        return {
            "button": self.button,
            "settings": {**settings, "seed": self.seed},
            "scale": self.scale,
            "weights": {name: np.ravel(array).tolist() for name, array in self.weights.items()},
            "data": places.get((id(self.data), self.test)),
            "select": self.select and {"name": self.select[0], "index": self.select[1:]},
        }


@dataclass(frozen=True, eq=False)
class Moment:
    """Something to find out on the live page: an answer is chosen first, then it is tried, then the page checks it.

    question: what is to be predicted. answers: what can be chosen, the right one among them; none where the answer is
    a number, which counts within a quarter of it. states: what the buttons set the page to; the first is set when the
    moment begins. task: what to do. check: the condition that solves it, over what the page measures (see
    `tinygrad_ce.live.checks.MEASURES`). explanation: one sentence, shown when it is solved.
    Raises ValueError where the check names what the page does not measure, or the answer is not among the answers.

    >>> jump = Moment(
    ...     "Too far", "A rate of 5: what happens to the loss?", answers=["it falls", "it rises"], answer="it rises",
    ...     states=[State("rate 5", rate=5.0)], task="Train 10 steps.", check="steps >= 10 and change > 0",
    ...     explanation="The slope tells the way only near the point where it was taken.")
    >>> jump.title
    'Too far'
    """

    title: str
    question: str
    answer: str | float
    states: Sequence[State]
    task: str
    check: str
    explanation: str
    answers: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.answers and self.answer not in self.answers:
            raise ValueError(f"Moment: answer is {self.answer!r}, which is not among answers: {[*self.answers]}")
        if not self.answers and (not isinstance(self.answer, (int, float)) or not math.isfinite(self.answer)):
            raise ValueError(f"Moment: without answers, answer must be a number, not {self.answer!r}")
        if not self.states:
            raise ValueError('Moment: states is empty: give at least one, as in states=[State("as it is")]')
        check_tree(self.check)

    def content(self, places: Mapping[tuple[int, int], int]) -> dict[str, Any]:
        """What the page reads. places: as for a State."""
        return {
            "title": self.title,
            "question": self.question,
            "answers": [*self.answers],
            "answer": self.answer,
            "states": [state.content(places) for state in self.states],
            "task": self.task,
            "check": check_tree(self.check),
            "explanation": self.explanation,
        }


def moments_content(moments: Sequence[Moment]) -> dict[str, Any]:
    """The moments and, once each, the rows that they bring.

    >>> moments_content([])
    {'prefix': 'moment/', 'data': [], 'list': []}
    """
    states = {(id(state.data), state.test): state for moment in moments for state in moment.states if state.data}
    places = {key: place for place, key in enumerate(states)}
    data = [_rows(state.data, state.test) for state in states.values() if state.data]
    return {"prefix": PREFIX, "data": data, "list": [moment.content(places) for moment in moments]}


def _rows(data: Dataset, test: int) -> dict[str, Any]:
    """Rows as the page reads its own: the last `test` of them are test rows."""
    return {
        "name": data.name,
        "x": packed(np.asarray(data.X, np.float64)),
        "y": packed(np.asarray(data.y)),
        "features": list(data.feature_names),
        "classes": list(data.class_names),
        "test": [*range(len(data) - test, len(data))],
        "image": None,
    }
