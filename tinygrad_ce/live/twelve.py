"""The twelve moments that the live page brings: each shows one thing about how networks learn, or fail to."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_ce.data import Dataset, moons
from tinygrad_ce.live.moments import Moment, State

TRAINED: dict[str, ArrayLike] = {  # 2-3-2 with tanh, trained on the 40 moons: a loss of 0.007
    "W0": ((2.6, 3.2, -3.2), (-2.4, 2.3, 2.4)),
    "b0": (-3.2, -1.9, -2.1),
    "W2": ((-2.6, 3.4), (3.6, -2.5), (2.9, -3.3)),
    "b2": (0.0, 0.0),
}
WITH_WRONG_WEIGHT: dict[str, ArrayLike] = {**TRAINED, "W0": ((-1.0, 3.2, -3.2), (-2.4, 2.3, 2.4))}
WITH_ZERO_WEIGHT: dict[str, ArrayLike] = {**TRAINED, "W0": ((2.6, 3.2, -3.2), (-2.4, 0.0, 2.4))}
AGAIN = "the network was trained: press “set it up again”"
FOUR_POINTS = ((1.0, 0.5), (0.8, -0.5), (-1.0, 0.4), (-0.9, -0.6))


@cache
def twelve() -> tuple[Moment, ...]:
    """The moments of every live page, in the order in which they are best gone through.

    >>> len(twelve())
    12
    """
    points = moons(40, noise=0.1, seed=1)
    start = State(
        "set it up again", "tanh", "cross-entropy", (3,), "SGD", rate=0.3, seed=1, data=points, select=("W0", 1, 1)
    )
    return (
        Moment(
            "One weight by hand",
            "A trained network, but the marked weight was spoiled. Can that weight alone mend the loss?",
            answers=("no, training is needed", "yes, a weight is only a number"),
            answer="yes, a weight is only a number",
            states=(replace(start, weights=WITH_WRONG_WEIGHT, select=("W0", 0, 0)),),
            task="Do not train. Drag the marked edge, or type its value under “This edge”, to get the loss below 0.1.",
            check="loss < 0.1 and steps == 0",
            not_yet=("the loss is {loss}, and should be below 0.1", AGAIN),
            explanation="Training does nothing else: it turns each weight to where the loss is smaller, all at once.",
        ),
        Moment(
            "The gradient is a slope",
            "The marked weight is 0, its gradient is -0.191. You raise it to 0.1: by how much does the loss change?",
            answer=-0.0191,
            states=(replace(start, weights=WITH_ZERO_WEIGHT),),
            task="Do not train. Type 0.1 as the value under “This edge”: does the loss change by gradient × move?",
            check="moved >= 0.02 and abs(change - foretold) < 0.03 * abs(change) and steps == 0",
            not_yet=(
                "no weight has moved by 0.02 or more",
                "the loss changed by {change}, but gradient × move foretold {foretold}: make a smaller move",
                AGAIN,
            ),
            explanation="The loss changed by {change}, gradient × move is {foretold}; far away, the slope is another.",
        ),
        Moment(
            "One row against the batch",
            "The gradient of the marked weight is the mean of what 40 rows say. Do all rows pull it the same way?",
            answers=("yes, all the same way", "no, some pull against the others"),
            answer="no, some pull against the others",
            states=(start,),
            task="Point at rows of the data until you find one that pulls the marked weight the other way.",
            check="pull * gradient < 0",
            not_yet=(
                "the gradient is {gradient}, and the row that you point at adds {pull}: find one of the other sign",
            ),
            explanation="9 of 40 rows pull the other way: the gradient is the mean, so the batch decides, not a row.",
        ),
        Moment(
            "Inside one step",
            "One step computes the loss, then the gradients. When do the weights change?",
            answers=("in the forward pass", "in the backward pass", "in the update, after all gradients are there"),
            answer="in the update, after all gradients are there",
            states=(start,),
            task="Press “step inside ▸” again and again until the step is done, and watch the weights.",
            check="lines >= 8 and steps == 1",
            not_yet=(
                "{lines} lines of the step are done: press “step inside ▸”",
                "{steps} steps are done, and should be 1: go on to the end of the first, or press “set it up again”",
            ),
            explanation="Forward pass and backward pass only compute numbers; the update alone changes weights.",
        ),
        Moment(
            "All weights 0",
            "All weights and biases are 0. What does training do?",
            answers=("it learns as always", "it learns, but slowly", "nothing moves at all"),
            answer="nothing moves at all",
            states=(replace(start, hidden=(3,), rate=1.0, scale=0.0, select=("W0", 0, 0)),),
            task="Press Train: nothing happens. Then type 0.5 as the value under “This edge”, and train on.",
            check="loss < 0.4 and steps >= 20",
            not_yet=("the loss is {loss}, and should be below 0.4", "{steps} of 20 steps are done: press Train"),
            explanation="Weights of 0 pass no gradient on; only the neuron that you moved learns, the others sleep.",
        ),
        Moment(
            "Weights × 8",
            "All weights become 8 times as large. What happens to the tanh of the hidden neurons?",
            answers=("nothing, only the outputs grow", "most become flat", "most become 0"),
            answer="most become flat",
            states=(
                replace(start, button="weights as drawn", hidden=(8, 8), rate=0.5, seed=2),
                replace(start, button="weights × 8", hidden=(8, 8), rate=0.5, seed=2, scale=8.0),
            ),
            task="Look at the loss and the neurons' pictures, press “weights × 8”, look again, and train 20 steps.",
            check="saturated > 0.5 and steps >= 20",
            not_yet=(
                "in no layer are more than half of the activations saturated: press “weights × 8”",
                "{steps} of 20 steps are done: press Train",
            ),
            explanation="65 of 100 hidden activations are saturated: almost no gradient gets through them.",
        ),
        Moment(
            "Rate 20",
            "The learning rate is 20. What does the loss do?",
            answers=("it falls much faster", "it jumps up and down", "it stays where it is"),
            answer="it jumps up and down",
            states=(replace(start, button="rate 20, from the start", hidden=(3,), rate=20.0, seed=2),),
            task="Press Train and watch. Then press “rate 20, from the start”, type a smaller rate, and train again.",
            check="loss < 0.2 and rate < 20 and steps >= 10",
            not_yet=(
                "the loss is {loss}, and should come under 0.2",
                "the learning rate is {rate}: type a smaller one",
                "{steps} of 10 steps are done: press Train",
            ),
            explanation="A slope is right only near the place where it was taken; a step of rate 20 goes far beyond.",
        ),
        Moment(
            "A dead ReLU",
            "The bias of the marked neuron is -3, so its sum is below 0 for every row. What is its gradient?",
            answers=("large, for it is far off", "small", "exactly 0"),
            answer="exactly 0",
            states=(
                replace(start, activation="relu", rate=0.5, seed=0, weights={"b0": (0.0, -3.0, 0.0)}, select=("b0", 1)),
            ),
            task="Train 20 steps: its weights stay. Wake it: type 1 as the value under “This edge”, and train on.",
            check="dead == 0 and steps >= 20 and loss < 0.32",
            not_yet=(
                "a neuron is dead, for it fires for no row: raise its bias",
                "{steps} of 20 steps are done: press Train",
                "the loss is {loss}, and should come under 0.32: train on",
            ),
            explanation="Below 0 a ReLU has slope 0: without a row for which it fires, training cannot reach it.",
        ),
        Moment(
            "Eight sigmoids",
            "Eight layers of sigmoids: how large is the gradient of the first layer, beside that of the last?",
            answers=("as large", "about an eighth", "less than a thousandth"),
            answer="less than a thousandth",
            states=(
                replace(start, button="eight sigmoids", activation="sigmoid", hidden=(4,) * 8, rate=1.0, seed=0),
                replace(start, button="two tanhs", hidden=(8, 8), rate=1.0, seed=0),
            ),
            task="Press Train for 100 steps and look at the first layer. Then press “two tanhs”, and train again.",
            check="first_to_last > 0.01 and loss < 0.3",
            not_yet=(
                "the first layer's gradient is {first_to_last} times the last layer's: press “two tanhs”",
                "the loss is {loss}, and should come under 0.3: train on",
            ),
            explanation="A sigmoid's slope is at most 1/4: the first layer's gradient was 1/17,000 of the last's.",
        ),
        Moment(
            "A confident mistake",
            "Every row is wrong, and the network is sure of it. Which loss mends that faster?",
            answers=("squared error", "cross-entropy", "both alike"),
            answer="cross-entropy",
            states=tuple(
                replace(
                    start,
                    button=loss,
                    loss=loss,
                    hidden=(),
                    rate=0.5,
                    weights={"W0": ((-5.0, 5.0), (0.0, 0.0)), "b0": (0.0, 0.0)},
                    data=_four_points(),
                    select=("W0", 0, 0),
                )
                for loss in ("squared error", "cross-entropy")
            ),
            task="Press Train for 50 steps of squared error; then press “cross-entropy”, and train again.",
            check="accuracy == 1 and steps >= 20",
            not_yet=(
                "the accuracy is {accuracy}, and should be 1: all rows right",
                "{steps} of 20 steps are done: press Train",
            ),
            explanation="Where softmax is flat, squared error has no slope; cross-entropy keeps p - y, here almost 1.",
        ),
        Moment(
            "Softmax twice",
            "The network ends with softmax, and the loss applies softmax again. How low can the loss get?",
            answer=0.313,
            states=(replace(start, loss="double softmax", hidden=(3,), rate=3.0, seed=2),),
            task="Press Train until all rows are right, and go on until the loss hardly moves.",
            check="accuracy == 1 and loss < 0.32",
            not_yet=(
                "the accuracy is {accuracy}, and should be 1: all rows right",
                "the loss is {loss}, and still falls",
            ),
            explanation="Probabilities end at 1, so the second softmax gives at most e / (e + 1): ln(1 + 1/e) = 0.313.",
        ),
        Moment(
            "Flipped labels",
            "5 of 30 training rows have the wrong class. What happens to the loss of the test rows in a long training?",
            answers=("it falls with that of the training rows", "it falls, then it rises", "it stays"),
            answer="it falls, then it rises",
            states=(
                replace(start, button="5 labels flipped", hidden=(8, 8), rate=1.0, seed=3, data=_flipped(5), test=30),
                replace(start, button="true labels", hidden=(8, 8), rate=1.0, seed=3, data=_flipped(0), test=30),
            ),
            task="Press “1,000 steps without drawing” until every training row is right. And the test rows?",
            check="accuracy == 1 and test_loss > 2 * best_test_loss",
            not_yet=(
                "the accuracy on the training rows is {accuracy}, and should be 1",
                "the test rows' loss is {test_loss}, and not yet twice its best, {best_test_loss}: train on",
            ),
            explanation="Wrong rows can only be learned by heart, which spoils the test rows: overfitting.",
        ),
    )


def _four_points() -> Dataset:
    points = np.array(FOUR_POINTS)
    return replace(moons(4, seed=0), X=points, y=np.array([0, 0, 1, 1]), name="four points")


def _flipped(count: int) -> Dataset:
    """60 moons; the first `count` rows have the other class."""
    data = moons(60, noise=0.15, seed=1)
    y = data.y.copy()
    y[:count] = 1 - y[:count]
    return replace(data, y=y)
