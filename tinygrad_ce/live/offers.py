"""The combinations that can be chosen on the page: each is compiled ahead, for all widths, with four optimizers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from tinygrad_ce import losses, nn, ops, optim
from tinygrad_ce.core import Tensor
from tinygrad_ce.data import Dataset
from tinygrad_ce.live.lines import lines_of, with_formulas
from tinygrad_ce.live.networks import Description, network
from tinygrad_ce.live.saved import code_of, code_of_optimizer, saved_of
from tinygrad_ce.live.traced import Traced, Training, traced_step
from tinygrad_ce.nn.init import drawing_from
from tinygrad_ce.program.kept_texts import kept
from tinygrad_ce.program.program import Program
from tinygrad_ce.program.slices import sized_javascript
from tinygrad_ce.storage.classes import OwnCodeError

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}
OPTIMIZERS: dict[str, Callable[[list[Tensor]], optim.Optimizer]] = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.01),
    "RMSprop": lambda parameters: optim.RMSprop(parameters, lr=0.01),
}
DEPTHS = (0, 1, 2, 3)
LEAST, MOST = 1, 8  # units of a hidden layer that can be chosen


def squared_error(z: Any, y: Any) -> Any:
    """The mean squared error of the softmax of logits, against rows with a single 1."""
    return losses.mse(ops.softmax(z), y)


def double_softmax(z: Any, y: Any) -> Any:
    """Cross-entropy of logits that went through two softmaxes: written out, for `ops.softmax` is warned of there."""
    for _ in range(2):
        exponentials = ops.exp(z)
        z = exponentials / exponentials.sum(axis=1, keepdims=True)
    return losses.cross_entropy(z, y)


LOSSES_OF_CLASSES: dict[str, Callable[[Any, Any], Any]] = {
    "cross-entropy": losses.softmax_cross_entropy,
    "binary cross-entropy": losses.sigmoid_binary_cross_entropy,
    "squared error": squared_error,
}
OF_MOMENTS: dict[str, Callable[[Any, Any], Any]] = {"double softmax": double_softmax}  # only a moment has it
LOSSES_OF_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {"squared error": losses.mse, "huber": losses.huber}


def losses_for(classes: int) -> dict[str, Callable[[Any, Any], Any]]:
    """The losses that can be chosen for so many classes; 0 for numbers."""
    return LOSSES_OF_CLASSES if classes else LOSSES_OF_NUMBERS


def offered(classes: int, optimizer: str) -> dict[str, Any]:
    """What can be chosen on a page with so many classes; 0 for numbers. optimizer: that of the user's network."""
    return {
        "activation": [*ACTIVATIONS],
        "loss": [*losses_for(classes)],
        "optimizer": [*dict.fromkeys([*OPTIMIZERS, optimizer])],
        "depth": [*DEPTHS],
        "width": [LEAST, MOST],
    }


def key_of(activation: str, loss: str, depth: int) -> str:
    """The key of a combination; without a hidden layer, the activation is of no account."""
    return f"{activation}/{loss}/{depth}"


def model_of(activation: str, loss: str, widths: list[int], features: int, classes: int) -> nn.Sequential:
    """Dense layers, an activation behind each but the last."""
    init = "he_uniform" if activation == "relu" else "glorot_uniform"
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Dense(features, width, init=init), ACTIVATIONS[activation]()]
        features = width
    return nn.Sequential(*layers, nn.Dense(features, answers_of(loss, classes)))


def answers_of(loss: str, classes: int) -> int:
    """The answers of a network: one for numbers, and for two classes with their binary loss."""
    return 1 if not classes or (loss == "binary cross-entropy" and classes == 2) else classes


@cache
def combinations(features: int, classes: int) -> tuple[dict[str, Description], dict[str, str]]:
    """All networks that can be chosen, and their programs, by key. features: columns of X. classes: 0 for numbers.

    Columns have no names here, because these are the user's.
    """
    made = kept(f"offers-{features}-{classes}", lambda: _made(features, classes))
    return {key: description for key, (description, _) in made.items()}, {key: text for key, (_, text) in made.items()}


def _made(features: int, classes: int) -> dict[str, tuple[Description, str]]:
    return {
        key_of(activation, loss, depth): combination(activation if depth else "tanh", loss, depth, features, classes)
        for depth in DEPTHS
        for loss in losses_for(classes)
        for activation in ACTIVATIONS
    }


@cache
def combination(activation: str, loss: str, depth: int, features: int, classes: int) -> tuple[Description, str]:
    """One network that can be chosen, and its program for any rows and widths."""
    widths = [f"w{k + 1}" for k in range(depth)]
    answers = answers_of(loss, classes)
    traces: list[tuple[tuple[tuple[str, int], ...], Traced]] = []

    def trace_with(sizes: dict[str, int]) -> dict[str, Program]:
        hidden = tuple(sizes[width] for width in widths)
        first, *others = OPTIMIZERS
        traced = traced_with(first, activation, loss, sizes["batch"], hidden, features, classes)
        traces.append((tuple(sizes.items()), traced))
        updates = {name: other_updates(name, sizes["batch"], hidden, features, answers) for name in others}
        return {first: traced.program, **{name: other.program for name, other in updates.items()}}

    module = sized_javascript(trace_with, widths)
    sizes = tuple(size for size, _ in traces)
    traced, batch, hidden = traces[0][1], sizes[0][0][1], tuple(size for _, size in sizes[0][1:])
    names = [str(k) for k in range(classes)]
    description = network(traced, (), names, [(size, other.program) for size, other in traces])
    description["sizes"] = widths
    for k, layer in enumerate(description["layers"]):
        layer["layer"] = with_formulas([repr(other.layers[k][1]) for _, other in traces], sizes)
    for column in description["columns"]:
        column |= {"size": description["shapes"][column["buffer"]][-1], "names": []}
    for weight in description["weights"]:
        weight["init"] = "he_uniform" if activation == "relu" and weight["to"] <= depth else "glorot_uniform"
    trained = {name: other_updates(name, batch, hidden, features, answers) for name in OPTIMIZERS}
    description["updates"] = {name: lines_of_update(name, batch, hidden, features, answers) for name in OPTIMIZERS}
    description["numbers"] = {name: {"lr": other.training.optimizer.lr} for name, other in trained.items()}
    texts = [saved_of(other, description["task"]) for _, other in traces]
    document = with_formulas([text["document"] for text in texts if text], sizes)
    arrays = texts[0] and texts[0]["arrays"]
    description["saved"] = {"document": re.sub(r"\bw\d\b", r'"\g<0>"', document), "arrays": arrays}
    optimizers = {name: other.training.optimizer for name, other in trained.items()}
    codes = [code_of(other, optimizers, classes) for _, other in traces]
    model = with_formulas([code["model"] for code in codes if code], sizes)
    description["code"] = (codes[0] or {}) | {"model": re.sub(r"\bw\d\b", r"{\g<0>}", model)}
    return description, module.text


def with_names(description: dict[str, Any], data: Dataset) -> dict[str, Any]:
    """A network that can be chosen, its first and last column with the names of the features and classes."""
    first, *middle, last = description["columns"]
    names = [*data.class_names]
    last = last | {"names": names if len(names) == last["size"] else []}
    return description | {"columns": [first | {"names": [*data.feature_names]}, *middle, last]}


def update_lines(traced: Traced) -> dict[str, Any]:
    """The lines of an optimizer's update, and the functions that are printed above the step for it."""
    lines, above = lines_of(traced.program, {})
    return {"lines": [line for line in lines if line["phase"] == "update"], "above": above}


@cache
def other_updates(optimizer: str, batch: int, hidden: tuple[int, ...], features: int, answers: int) -> Traced:
    """A step of which only the update counts, which is the same one for all activations and losses."""
    return traced_with(optimizer, "tanh", "squared error", batch, hidden, features, 0 if answers == 1 else answers)


@cache
def lines_of_update(optimizer: str, batch: int, hidden: tuple[int, ...], features: int, answers: int) -> dict[str, Any]:
    """The printed update of the combinations with these sizes."""
    return update_lines(other_updates(optimizer, batch, hidden, features, answers))


def traced_with(
    optimizer: str, activation: str, loss: str, batch: int, hidden: tuple[int, ...], features: int, classes: int
) -> Traced:
    """The step of a combination with these sizes, on rows of zeros."""
    with drawing_from(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a loss that suits one class badly: nobody has chosen it yet
        model = model_of(activation, loss, [*hidden], features, classes)
        training = Training(model, (losses_for(classes) | OF_MOMENTS)[loss], OPTIMIZERS[optimizer](model.parameters()))
        labels = np.arange(batch) % classes if classes else np.zeros(batch)
        return traced_step(training, np.zeros((batch, features)), labels, classes)


def settings_of(training: Training, features: int, classes: int) -> dict[str, Any]:
    """The combination that a training has, in the words of what is offered: None for each word if it has none.

    The optimizer is `yours` if it is none of those that are offered.
    """
    optimizer = code_or_none(training.optimizer)
    parameters = [x for x in training.optimizer.parameters if x.requires_grad]
    named = {code_of_optimizer(make(parameters)): name for name, make in OPTIMIZERS.items()} if parameters else {}
    found: dict[str, Any] = {
        "optimizer": named.get(optimizer or "", "yours"),
        "activation": None,
        "loss": None,
        "hidden": None,
    }
    layers = [*training.model.layers] if type(training.model) is nn.Sequential else []
    hidden = [layer.n_out for layer in layers[:-1:2] if isinstance(layer, nn.Dense)]
    loss = getattr(training.loss, "function", training.loss)
    options = getattr(training.loss, "options", {})
    for name, function in losses_for(classes).items() if not options else ():
        for activation in ACTIVATIONS if function is loss else ():
            if repr(nn.Sequential(*layers)) == repr(model_of(activation, name, hidden, features, classes)):
                found |= {"activation": activation, "loss": name, "hidden": hidden}
    return found


def code_or_none(optimizer: optim.Optimizer) -> str | None:
    """An optimizer as Python; None for code of the user's own."""
    try:
        return code_of_optimizer(optimizer)
    except OwnCodeError:
        return None
