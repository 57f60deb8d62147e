"""The live pages inside of the lessons: one network and one or two moments for each, written when the site is built.

`python docs/live_pages.py [FOLDER]` writes them all, to look at.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.data import Dataset
from tinygrad_ce.live import Moment, State
from tinygrad_ce.live.twelve import twelve
from tinygrad_ce.nn import BatchNorm, Dense, Module, Sequential, Tanh
from tinygrad_ce.views.pages import Page

TWELVE = {moment.title: moment for moment in twelve()}
LOGISTIC: dict[str, object] = {"activation": "tanh", "hidden": (), "optimizer": "SGD", "seed": 0}  # no hidden layer


def points(X: list[list[float]], y: list[int], name: str) -> Dataset:
    """A few points of a plane with classes 0 and 1, as rows of a Dataset."""
    return replace(tg.data.moons(len(y), seed=0), X=np.array(X), y=np.array(y), name=name)


KNOWS_NOTHING = Moment(
    "The price of knowing nothing",
    "All weights are 0, so that the network says 1/2 for each class. What is its loss?",
    answer=0.693,
    states=(State("all weights 0", **LOGISTIC, loss="cross-entropy", rate=1.0, scale=0.0),),
    task="Press Train until the loss is below 0.3.",
    check="loss < 0.3 and steps >= 1",
    not_yet=("the loss is {loss}, and should come below 0.3", "no step is done: press Train"),
    explanation="The loss is {loss} now: e to the power of minus that is the typical probability of the right class.",
)

THREE_TO_ONE = points([[-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, 0.0]], [0, 0, 0, 1], "three to one")
P_MINUS_Y = Moment(
    "The mean of p - y",
    "All weights are 0, so p = 1/2 for both classes. 3 of the 4 rows have class 0. What is the gradient of the marked "
    "bias, that of class 0?",
    answer=-0.25,
    states=(
        State(
            "set it up again",
            **LOGISTIC,
            loss="cross-entropy",
            rate=0.5,
            scale=0.0,
            data=THREE_TO_ONE,
            select=("b0", 0),
        ),
    ),
    task="Do not train. Type numbers as the value under “This edge” until the gradient of the marked bias is 0.",
    check="abs(grad('b0', 0)) < 0.005 and steps == 0",
    not_yet=("the gradient is {gradient}, and should be between -0.005 and 0.005", "press “set it up again”"),
    explanation="At ln 3 = 1.0986 the network says p = 3/4, the share of class 0: there the mean of p - y is 0.",
)

ONE_OUTPUT_OR_TWO = Moment(
    "One output or two",
    "Two outputs with logits 0 and z, and softmax; or one output with logit z, and sigmoid. How do the losses compare?",
    answers=("two outputs cost twice as much", "they are the same", "one output costs more"),
    answer="they are the same",
    states=(
        State(
            "two outputs",
            **LOGISTIC,
            loss="cross-entropy",
            rate=0.5,
            weights={"W0": ((0, 1), (0, -2)), "b0": (0, 0.5)},
            select=("W0", 0, 1),
        ),
        State(
            "one output",
            **LOGISTIC,
            loss="binary cross-entropy",
            rate=1.0,
            weights={"W0": (1, -2), "b0": (0.5,)},
            select=("W0", 0, 0),
        ),
    ),
    task="Look at the loss and at the gradient of the marked edge, press “one output”, and look again. Then train.",
    check="state == 2 and steps >= 20",
    not_yet=("press “one output”", "{steps} of 20 steps are done: press Train"),
    explanation="Losses and gradients agree to the last digits: softmax of the logits 0 and z is the sigmoid of z.",
)

HUGE_LOGITS = Moment(
    "Logits of thousands",
    "The weights are multiplied by 2000. e to the power of 1000 is too large for the computer. What will the loss be?",
    answers=("infinity", "NaN", "a number, large but right"),
    answer="a number, large but right",
    states=(
        State("as drawn", **LOGISTIC, loss="cross-entropy", rate=0.5),
        State("weights × 2000", **LOGISTIC, loss="cross-entropy", rate=0.5, scale=2000.0),
    ),
    task="Press “weights × 2000”, look at the logits of some points, and train 10 steps.",
    check="loss > 10 and steps >= 10",
    not_yet=("the loss is {loss}: press “weights × 2000”", "{steps} of 10 steps are done: press one step"),
    explanation="Each step works, too: with the largest logit subtracted first, no e to the power of z is above 1.",
)

CONTRADICTION = points([[-1.5, 0.0], [0.0, 0.0], [0.0, 0.0], [1.5, 0.0]], [0, 0, 1, 1], "a contradiction")
TWO_LABELS = Moment(
    "Two labels for one point",
    "Two of the four rows are the same point, once with each class. How low can the loss get?",
    answer=0.347,
    states=(State("set it up again", **LOGISTIC, loss="cross-entropy", rate=3.0, scale=0.0, data=CONTRADICTION),),
    task="Press Train until the loss hardly moves.",
    check="loss < 0.352",
    not_yet=("the loss is {loss}, and still falls",),
    explanation="The two equal rows cost ln 2 each for ever, the others less and less: 2 · 0.693 / 4 = 0.347.",
)

USELESS_BIAS = Moment(
    "A bias in front of batch norm",
    "The marked bias stands in front of the batch norm. How large is its gradient?",
    answers=("as large as those of the weights", "0, but for rounding"),
    answer="0, but for rounding",
    states=(State("set it up again", select=("b0", 0)),),
    task="Do not train. Type 5 as the value under “This edge”: does the loss change?",
    check="moved > 1 and abs(change) < 0.000001 and steps == 0",
    not_yet=("no number has moved by more than 1", "the loss has changed by {change}", "press “set it up again”"),
    explanation="Batch norm subtracts the mean, and a bias shifts the mean: whatever it is, it is taken away again.",
)

NAIVE_SOFTMAX = Moment(
    "The exp that overflowed",
    "This network computes softmax as exp(z) / sum of exp(z). What is the loss if all weights are 2000 times as large?",
    answers=("a large number", "not a number: NaN"),
    answer="not a number: NaN",
    states=(State("as drawn"), State("weights × 2000", scale=2000.0)),
    task="Press “weights × 2000”, read which line is to blame, then press “as drawn”, and train to a loss below 0.4.",
    check="loss < 0.4 and steps >= 1",
    not_yet=("the loss is {loss}, and should be below 0.4", "no step is done: press Train"),
    explanation="exp of 710 is infinite, and infinite / infinite is NaN. The loss on logits never makes that division.",
)


def naive_cross_entropy(z: tg.Tensor, y: np.ndarray) -> tg.Tensor:
    """-log softmax as it stands in books: exp overflows from logits of 709.78 on."""
    e = np.exp(z)
    log_p = np.log(e / e.sum(axis=1, keepdims=True))
    return -(y[:, 0] * log_p[:, 0] + y[:, 1] * log_p[:, 1]).mean()  # of two classes, as one-hot rows


def stack() -> Sequential:
    """The network of most pages: 2-3-2 with tanh."""
    return Sequential(Dense(2, 3), Tanh(), Dense(3, 2))


def stack_with_batch_norm() -> Sequential:
    """2-4-2, with batch norm in front of the tanh."""
    return Sequential(Dense(2, 4), BatchNorm(4), Tanh(), Dense(4, 2))


@dataclass(frozen=True)
class Live:
    """What the live page of a lesson is made of; what it leaves open is the same for all."""

    title: str
    moments: tuple[Moment, ...]
    network: Callable[[], Module] = stack
    loss: Callable = tg.losses.softmax_cross_entropy


LIVE = {
    "01_why_log": Live("Why -log p", (KNOWS_NOTHING,)),
    "02_squared_error": Live("Squared error against cross-entropy", (TWELVE["A confident mistake"],)),
    "03_p_minus_y": Live("The gradient p - y", (P_MINUS_Y,)),
    "04_logits": Live("Softmax twice", (TWELVE["Softmax twice"],)),
    "05_binary": Live("One output or two", (ONE_OUTPUT_OR_TWO,)),
    "06_exact": Live("Logits of thousands", (HUGE_LOGITS,)),
    "07_labels": Live("Labels that contradict", (TWO_LABELS,)),
    "08_initialisation": Live("First weights", (TWELVE["All weights 0"], TWELVE["Weights × 8"])),
    "09_saturation": Live("Flat neurons", (TWELVE["A dead ReLU"], TWELVE["Eight sigmoids"])),
    "10_batch_norm": Live("Batch norm", (USELESS_BIAS,), stack_with_batch_norm),
    "11_nan": Live("NaN", (NAIVE_SOFTMAX,), loss=naive_cross_entropy),
    "12_overfitting": Live("Overfitting", (TWELVE["Flipped labels"],)),
}


def live_page(name: str) -> Page:
    """The page of a lesson: its network is not trained yet, its rows are two moons."""
    lesson = LIVE[name]
    tg.seed(0)
    model = lesson.network()
    trainer = tg.Trainer(model, lesson.loss, tg.optim.SGD(model.parameters(), lr=0.3))
    return tg.live(trainer, tg.data.moons(40, noise=0.1, seed=1), title=lesson.title, moments=lesson.moments)


def write_live_pages(folder: Path) -> str:
    """Write `live/NAME.html` below the folder for each lesson; the folder, for `html_extra_path`."""
    (folder / "live").mkdir(parents=True, exist_ok=True)
    for name in LIVE:
        live_page(name).save(folder / "live" / f"{name}.html")
    return str(folder)


if __name__ == "__main__":
    print(write_live_pages(Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")))
