"""Moments of the live page: predict, press, check, and one sentence that explains; a teacher can write more of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_ce.data import Dataset
from tinygrad_ce.live.checks import MEASURES, Tree, check_tree, conditions, unknown
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

    def __post_init__(self) -> None:
        wrong = self._wrong()
        if wrong:
            raise ValueError(f"State {self.button!r}: {wrong}")

    def _wrong(self) -> str | None:
        """What cannot be in any page, in words; None if nothing is."""
        if self.rate is not None and not (isinstance(self.rate, Real) and 0 <= self.rate < math.inf):
            return f"rate is {self.rate!r}: write a number from 0 on, such as rate=0.3"
        if self.batch is not None and not (isinstance(self.batch, Integral) and self.batch >= 1):
            return f"batch is {self.batch!r}: write a whole number of rows from 1 on, such as batch=8"
        whole = isinstance(self.hidden, Sequence) and all(
            isinstance(size, Integral) and size >= 1 for size in self.hidden
        )
        if self.hidden is not None and not whole:
            return f"hidden is {self.hidden!r}: write the widths of the hidden layers, such as hidden=(4, 4)"
        if self.data is not None and not isinstance(self.data, Dataset):
            return f"data is {type(self.data).__name__}: write a Dataset, such as data=tg.data.moons(40)"
        if self.select is not None and (
            isinstance(self.select, str) or not all(isinstance(i, Integral) for i in self.select[1:])
        ):
            return f'select is {self.select!r}: write the name of an array and the place in it, such as ("W0", 1, 0)'
        return None

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
    `tinygrad_ce.live.checks.MEASURES`). not_yet: what is missing, a sentence for each condition that the check joins
    with `and`, in their order; without it the page words the condition. explanation: one sentence, shown when it is
    solved. In these two, a measure in braces, such as {loss}, stands for its number.
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
    not_yet: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("title", "question", "task", "check", "explanation"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"Moment: {name} is {getattr(self, name)!r}: write a text")
        if isinstance(self.answers, str):
            raise ValueError(f"Moment: answers is {self.answers!r}: write a list, as in answers=[{self.answers!r}]")
        if isinstance(self.states, State) or not all(isinstance(state, State) for state in self.states):
            raise ValueError('Moment: states holds what is no State: write a list, as in states=[State("as it is")]')
        if self.answers and self.answer not in self.answers:
            raise ValueError(f"Moment: answer is {self.answer!r}, which is not among answers: {[*self.answers]}")
        if not self.answers and (not isinstance(self.answer, (int, float)) or not math.isfinite(self.answer)):
            raise ValueError(f"Moment: without answers, answer must be a number, not {self.answer!r}")
        if not self.states:
            raise ValueError('Moment: states is empty: give at least one, as in states=[State("as it is")]')
        self._check_not_yet(conditions(check_tree(self.check)))

    def _check_not_yet(self, parts: Sequence[Tree]) -> None:
        if isinstance(self.not_yet, str) or len(self.not_yet) > len(parts):
            found = "a text" if isinstance(self.not_yet, str) else f"{len(self.not_yet)} sentences"
            raise ValueError(
                f"Moment: not_yet is {found}, for a check of {len(parts)} conditions: give a list, a sentence for each"
            )
        for text in (*self.not_yet, self.explanation):
            for name in re.findall(r"\{(\w+)\}", text):
                if name not in MEASURES:
                    raise ValueError(f"Moment: {text!r} {unknown(name, [*MEASURES])}")

    def content(self, places: Mapping[tuple[int, int], int]) -> dict[str, Any]:
        """What the page reads. places: as for a State."""
        return {
            "title": self.title,
            "question": self.question,
            "answers": [*self.answers],
            "answer": self.answer,
            "states": [state.content(places) for state in self.states],
            "task": self.task,
            "check": conditions(check_tree(self.check)),
            "not_yet": [*self.not_yet],
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
