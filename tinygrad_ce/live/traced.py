"""A training step as the live page runs it: traced in float64, each layer's result kept under a name of its own."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np

from tinygrad_ce import nn, ops
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.nn.module import evaluating, in_modes, modules_of
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.program.abstract import CannotLower
from tinygrad_ce.program.effects import TraceError
from tinygrad_ce.program.ir import Function
from tinygrad_ce.program.javascript_sizes import Sizes
from tinygrad_ce.program.program import Program, trace
from tinygrad_ce.program.slices import sized_javascript
from tinygrad_ce.storage.classes import LAYERS, is_listed

LETTERS = {nn.Dense: "z", nn.BatchNorm: "n", nn.LayerNorm: "n", nn.Dropout: "r", nn.Softmax: "p", nn.Embedding: "v"}
FORMS: dict[str, Callable[[Array, int], Any]] = {  # how a loss may want its targets: the first that it takes
    "as they are": lambda y, classes: y,
    "a column": lambda y, classes: y.reshape(-1, 1).astype(float),
    "one-hot": lambda y, classes: ops.index(Tensor(np.eye(classes), name="eye"), y).named("one_hot"),
}


@dataclass
class Training:
    """A model, its loss and its optimizer: what a step is made of."""

    model: nn.Module
    loss: Callable[[Any, Any], Any]
    optimizer: Optimizer

    def in_float64(self) -> Training:
        """A copy that computes as the page does. The first one stays as it is."""
        model, loss, optimizer = copy.deepcopy((self.model, self.loss, self.optimizer))
        model.astype(np.float64)
        for parameter in optimizer.parameters:
            parameter.grad = None
        for variable in (variable for memory in optimizer.memory for variable in memory):
            variable.data = variable.data.astype(np.float64)
        return Training(model, loss, optimizer)


@dataclass
class Layer:
    """A layer of the package that has run: where it is, what went in, and what came out (tensors of the trace)."""

    path: str
    module: nn.Module
    before: Any
    output: Any


@dataclass
class Traced:
    """A traced step. layers: (path, module, name of its input, name of its result). output: name of the answer.

    target: the form of the targets that the loss takes, a key of FORMS. evaluation: whether there is no update.
    """

    program: Program
    training: Training
    target: str
    output: str
    layers: list[tuple[str, nn.Module, str, str]]
    evaluation: bool


def javascript_of(traced: Traced) -> str:
    """The step as JavaScript. CannotLower in one line that names the operation and its line in the user's code."""
    try:
        return str(traced.program.javascript)
    except CannotLower as error:
        words = " ".join(str(error).split())
        raise CannotLower(f"live: {words}", "tg.step_through(loss) shows one step of any network") from error


def javascript_of_all(trained: Mapping[str, Traced], others: Sequence[tuple[Sizes, Function]]) -> str | None:
    """One step as JavaScript with the updates of several optimizers, by their names.

    others: the first step traced with other numbers of rows; no update depends on these. None where a step changes
    more than its update does (running averages), or is another one for other rows.
    """
    (first, traced), *_ = trained.items()
    program = traced.program
    updated = {i.result for i in program.instructions if i.section == "update"}
    if not others or not {*program.updates.values()} <= updated:
        return None
    updates: dict[str, Function] = {name: each.program for name, each in trained.items()}
    steps = {rows: function for ((_, rows), *_), function in others}
    try:
        return sized_javascript(lambda sizes: updates | {first: steps[sizes["batch"]]}).text
    except (CannotLower, KeyError, ValueError):  # a step that has other arrays for other rows
        return None


def target_form(training: Training, X: Array, y: Array, classes: int) -> str:
    """The form in which the loss takes these targets. Raises what the loss raises for them as they are.

    X: (N, D) inputs. y: (N,) class numbers or numbers. classes: how many, 0 for numbers.
    """
    inputs = [x for x in signature(training.model.forward).parameters.values() if x.default is x.empty and x.kind < 2]
    if len(inputs) != 1:
        names = ", ".join(x.name for x in inputs)
        raise TypeError(
            f"live: the model takes {len(inputs)} inputs ({names}), and the page has one, the rows of a Dataset: let "
            "the model take them side by side, and cut them apart in forward"
        )
    with evaluating(training.model):
        answer = training.model(Tensor(X))
    if not isinstance(answer, Tensor):
        raise TypeError(f"live: the model answers with a {type(answer).__name__}; it must be one tensor")
    refusal: Exception | None = None
    for name, form in FORMS.items():
        if name == "one-hot" and not (classes and answer.shape[1:] == (classes,)):
            continue
        try:
            value = training.loss(answer, form(y, classes))
        except (TypeError, ValueError, IndexError) as error:
            refusal = refusal or error
            continue
        if not isinstance(value, Tensor):
            raise TypeError(
                f"live: the loss gives a {type(value).__name__}; it must give a Tensor: leave out .item() and float()"
            )
        return name
    assert refusal is not None
    raise refusal


def traced_step(training: Training, X: Array, y: Array, classes: int, evaluation: bool = False) -> Traced:
    """The step of a training on these rows; in evaluation, the loss alone.

    X: (N, D). y: (N,) class numbers or numbers. classes: how many, 0 for numbers. Raises TraceError for what a program
    cannot hold, and what model and loss raise for such rows.
    """
    model, loss, optimizer = training.model, training.loss, training.optimizer
    target = target_form(training, X, y, classes)
    targets = y.reshape(-1, 1).astype(float) if target == "a column" else y
    ran: list[Layer] = []
    kept: dict[int, Any] = {}  # what the page shows of each layer, by id: every tensor once
    ends: list[int] = []  # the ids of the answer, and of what goes into each layer and comes out of it

    def step(x: Any, y: Any) -> tuple[Tensor, ...]:
        with recorded(model, ran):
            answer = model(x)
        value: Tensor = loss(answer, FORMS[target](y, classes) if target == "one-hot" else y)
        value.named("loss")  # before backward, which gives the user's variables their names
        if not evaluation:
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
        kept.clear()
        kept.update({id(tensor): tensor for layer in ran for tensor in (answer, layer.before, layer.output)})
        kept.setdefault(id(answer), answer)
        ends[:] = [id(answer), *(id(tensor) for layer in ran for tensor in (layer.before, layer.output))]
        return value, *kept.values()

    with evaluating(model) if evaluation else in_modes([(module, True) for module in model.modules()]):
        try:
            program = trace(step, X, targets, models=[model])
        except TraceError as error:
            raise TraceError(f"live: {' '.join(str(error).split())}") from error
    if next(iter(program.outputs)) != "loss":
        raise ValueError(
            "live: a parameter or tensor of the model is called loss, as the page's own: call it otherwise"
        )
    names = dict(zip(kept, [value.name for value in program.outputs.values()][1:], strict=True))
    output, *others = [names[end] for end in ends]
    layers = [(ran[k].path, ran[k].module, others[2 * k], others[2 * k + 1]) for k in range(len(ran))]
    return Traced(program, training, target, output, layers, evaluation)


@contextmanager
def recorded(model: nn.Module, ran: list[Layer]) -> Iterator[None]:
    """Meanwhile, each layer of the package that runs is added to `ran`, and its result gets a name: z1, h1, z2.

    In a model of the user's own, the names are those of the user's variables.
    """
    ran.clear()
    modules = [*modules_of(model)]
    plain = all(is_listed(module, LAYERS) for _, module in modules)
    names = ResultNames()
    leaves = [(path, m) for path, m in modules if is_listed(m, LAYERS) and not isinstance(m, nn.Sequential)]

    def recording(path: str, module: nn.Module) -> Callable[..., Any]:
        def forward(x: Any) -> Any:
            output = type(module).forward(module, x)
            if plain and output is not x:
                output.named(names.next(module))
            ran.append(Layer(path, module, x, output))
            return output

        return forward

    try:
        for path, module in leaves:
            object.__setattr__(module, "forward", recording(path, module))
        yield
    finally:
        for _, module in leaves:
            vars(module).pop("forward", None)


class ResultNames:
    """The names of the layers' results: a letter for the kind of layer, the number of the Dense layer before it.

    >>> names = ResultNames()
    >>> [names.next(layer) for layer in (nn.Dense(1, 1), nn.Tanh(), nn.Tanh(), nn.Dense(1, 1))]
    ['z1', 'h1', 'h1_2', 'z2']
    """

    def __init__(self) -> None:
        self.dense = 0
        self.seen: Counter[str] = Counter()

    def next(self, layer: nn.Module) -> str:
        """The name of the result of a layer that has just run."""
        self.dense += isinstance(layer, nn.Dense)
        name = f"{LETTERS.get(type(layer), 'h')}{self.dense or ''}"
        self.seen[name] += 1
        return name if self.seen[name] == 1 else f"{name}_{self.seen[name]}"
