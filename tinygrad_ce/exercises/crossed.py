"""The usual mistakes in the gradient of a cross-entropy at the logits: what each of them gives in this very loss.

The numbers come from the engine: its rule is asked for other labels, other weights, or a model that is sure of a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ce.core import REGISTRY, Array, Tensor
from tinygrad_ce.graph.nodes import Edge

SURE = 1e4  # a logit that leaves the other classes the probability 0

Crossed: TypeAlias = "tuple[str, str, Array]"  # a stable key, what happened in words, and the gradient that it gives


def crossed(edge: Edge, upstream: Array) -> Iterator[Crossed]:
    """The gradient at the logits after each of the usual mistakes; nothing for other operations and arguments."""
    op, tensor = edge.target.op, edge.target.tensor
    if op is None or tensor is None or edge.argument != "z" or not edge.source.value.size:
        return
    rule, above = op.rule(edge.position), np.asarray(upstream, edge.target.value.dtype)
    given, params = arguments_of(tensor), dict(tensor.params)
    if params.get("ignore_index") is not None:
        params["ignore_index"] = -1

    def asked(**other: Any) -> Array:
        """What the rule gives if some of its arguments or options are other ones."""
        values = {name: other.get(name, value) for name, value in given.items()}
        options = {name: other.get(name, value) for name, value in params.items()}
        with np.errstate(all="ignore"):
            return np.asarray(rule(above, tensor.data, *values.values(), **options), np.float64)

    if op.name in ("xent", "soft_xent") and edge.source.shape[-1] > 1:
        with np.errstate(all="ignore"):
            yield from _of_softmax(edge.source.name, asked, given)
            yield from _of_other_labels(asked, given, edge.source.shape[-1])
            yield from _of_options(asked, given, params, edge.source.shape[0])
    elif op.name == "sigmoid_xent":
        with np.errstate(all="ignore"):
            yield from _of_sigmoid(edge.source.name, asked, given)


def arguments_of(tensor: Tensor) -> dict[str, Any]:
    """The arguments of the operation that made the tensor by name; the label of an ignored row is -1."""
    assert tensor.op is not None
    given = dict(zip(tensor.op.arguments, tensor.arrays, strict=False))
    if tensor.params.get("ignore_index") is not None:
        given["y"] = np.where(given["y"] == tensor.params["ignore_index"], -1, given["y"])
    return given


def _of_softmax(z: str, asked: Callable[..., Array], given: dict[str, Any]) -> Iterator[Crossed]:
    """Mistakes with the probabilities, and with where the target is subtracted. z: what the logits are called."""
    logits, share = np.asarray(given["z"], np.float64), asked()
    softmax = REGISTRY["softmax"].run
    p = softmax(logits, axis=-1)
    # What a row counts for: the difference between a model that is sure of the first class and one sure of the next.
    first, second = np.zeros((2, *logits.shape), given["z"].dtype)
    first[:, 0] = second[:, 1] = SURE
    counts = (asked(z=first) - asked(z=second))[:, :1]
    target = counts * p - share
    if "y" in given:
        everywhere = "1 was subtracted in every class: it must be only in the true one, as one_hot(y) has it"
        yield "target", everywhere, (p - 1) * counts
        own = given["y"][:, None] == np.arange(logits.shape[1])
        words = "only the true class has a gradient here: at the others it is their probability, not 0"
        yield "only the true class", words, np.where(own, share, 0)
    words = f"p * (1 - p) is the slope of one probability at its own logit: with p = softmax({z}), p - target is wanted"
    yield "wrong derivative", words, p * (1 - p) * counts
    words = f"-target / p is the gradient at the probabilities; at {z}, behind the softmax, it is p - target"
    yield "at the probabilities", words, -target / p
    words = f"exp({z}) was not divided by its sum over the classes: that makes it a softmax"
    yield "not normalised", words, np.exp(logits) * counts - target
    yield "not normalised", words, np.exp(logits - logits.max(axis=-1, keepdims=True)) * counts - target
    words = "the softmax was taken over axis 0, the rows: it must be over axis 1, the classes"
    yield "wrong axis", words, softmax(logits, axis=0) * counts - target


def _of_other_labels(asked: Callable[..., Array], given: dict[str, Any], classes: int) -> Iterator[Crossed]:
    """The labels of other classes; rows that are ignored stay so."""
    ways: tuple[tuple[str, Array], ...] = (
        ("the labels are shifted: the target stands at class y + 1 instead of y", (np.arange(classes) + 1) % classes),
        ("the labels are shifted: the target stands at class y - 1 instead of y", (np.arange(classes) - 1) % classes),
        (
            f"the classes are in reverse: the target stands at class {classes - 1} - y instead of y",
            np.arange(classes)[::-1],
        ),
    )
    if classes == 2:
        ways = (("the two classes have changed places", np.array([1, 0])),)
    for words, moved in ways:
        if "y" in given:
            other = asked(y=np.where(given["y"] < 0, given["y"], moved[given["y"]]))
        else:
            other = asked(q=np.asarray(given["q"])[:, np.argsort(moved)])
        yield "labels", words, other


def _of_options(
    asked: Callable[..., Array], given: dict[str, Any], options: Mapping[str, Any], rows: int
) -> Iterator[Crossed]:
    """Label smoothing or class weights forgotten."""
    smoothing = options["smoothing"]
    if smoothing:
        words = (
            f"the label smoothing was forgotten: the target is made of 1 - {smoothing:g} and {smoothing:g} / classes"
        )
        yield "smoothing", words, asked(smoothing=0.0)
    if np.ndim(given["w"]):
        words = "the weights of the classes were forgotten"
        mean = "mean" if is_weighted_mean(given) else options["reduction"]
        for reduction in dict.fromkeys((mean, options["reduction"])):
            yield "weights", words, asked(w=1.0, reduction=reduction)
            if smoothing:
                both = f"{words}, and the label smoothing too"
                yield "weights and smoothing", both, asked(w=1.0, smoothing=0.0, reduction=reduction)
    elif "y" in given and (given["y"] < 0).any():
        words = f"the mean is over the rows that are not ignored, and this was divided by all {rows}"
        yield "mean", words, asked(w=np.asarray(1 / rows, given["z"].dtype))


def is_weighted_mean(given: dict[str, Any]) -> bool:
    """Whether the weights of the classes have been divided by their sum over the labels, as a mean wants it."""
    if "y" not in given or np.ndim(given["w"]) == 0:
        return False
    counted = given["y"][given["y"] >= 0]
    return bool(np.isclose(np.asarray(given["w"], np.float64)[counted].sum(), 1, 1e-5))


def _of_sigmoid(z: str, asked: Callable[..., Array], given: dict[str, Any]) -> Iterator[Crossed]:
    """The mistakes of the binary cross-entropy."""
    p = REGISTRY["sigmoid"].run(np.asarray(given["z"], np.float64))
    words = f"the slope p * (1 - p) of the sigmoid was multiplied in once more: p - y at {z} has it already"
    yield "wrong derivative", words, asked() * p * (1 - p)
    yield "labels", "the labels 0 and 1 have changed places", asked(y=1 - np.asarray(given["y"]))
    names = {"w": "pos_weight", "weight": "weight"}
    weighted = [name for name in names if np.any(np.asarray(given[name]) != 1)]
    for name in weighted:
        yield "weights", f"{names[name]} was forgotten", asked(**{name: 1.0})
    if len(weighted) == 2:
        yield "weights", "weight and pos_weight were forgotten", asked(w=1.0, weight=1.0)
