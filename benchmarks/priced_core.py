"""The smallest core that trains a network, and around each feature that it can have an `if` with that feature's name.

`price_list.py` takes the features that are not wanted out of the syntax tree before anything runs, so a step pays for
what it has and for no `if`. Read it without any first: that is backpropagation with tensors, in fifty lines.
"""

from __future__ import annotations

import itertools
import math
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any

import numpy as np

from benchmarks import our_kernels
from benchmarks.side_by_side import Contender

RECORDING_CHECKS = WALK_CHECKS = OPTIMIZER_CHECKS = LOSS_CHECKS = SOURCE_LINES = MODULES = STATIC_PARAMETERS = True
CREATE_GRAPH = SEED = UNBROADCASTING = OPTIMIZER_OBJECT = LOSS_OPTIONS = True

next_serial = itertools.count(1).__next__


class State(threading.local):
    """What a thread is doing."""

    tracer: Any = None
    recording = True
    scope: Any = ()
    last: Any = None


state = State()


class Tensor:
    """An array, and the operation and the inputs that it was computed from."""

    __slots__ = ("__weakref__", "arrays", "call_site", "data", "edges", "grad", "inputs", "name", "op", "params")
    __slots__ += ("requires_grad", "serial")

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.data, self.requires_grad, self.serial = np.array(data), requires_grad, next_serial()
        self.grad = self.op = self.name = self.call_site = None
        self.inputs = self.arrays = self.edges = ()
        self.params = {}


class Primitive:
    """A body that computes, and for each input a rule that pulls the gradient back through it."""

    def __init__(self, body: Callable[..., Any], *rules: Callable[..., Any] | None) -> None:
        self.body, self.rules, self.defaults = body, rules, body.__kwdefaults__ or {}

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        if RECORDING_CHECKS:
            try:
                return call(self, inputs, params)
            except (ValueError, TypeError, IndexError) as error:
                shapes = [np.shape(x.data if type(x) is Tensor else x) for x in inputs]
                raise type(error)(f"{self.body.__name__} of {shapes}: {error}") from error
        return call(self, inputs, params)


def call(op: Primitive, inputs: Any, params: Any) -> Any:
    """Compute on arrays, and record where the result came from."""
    arrays, edges, any_tensor = [], [], not RECORDING_CHECKS
    for x, rule in zip(inputs, op.rules):  # noqa: B905 (strict= costs a tenth of this function)
        if type(x) is Tensor:
            if RECORDING_CHECKS:
                any_tensor = True
            if x.requires_grad and (not RECORDING_CHECKS or rule is not None):
                edges.append((x, rule))
            x = x.data
        arrays.append(x)
    out = op.body(*arrays, **params) if STATIC_PARAMETERS else op.body(*arrays)
    return record(op, inputs, arrays, params, out, edges) if any_tensor else out


def record(op: Primitive, inputs: Any, arrays: Any, params: Any, out: Any, edges: Any) -> Tensor:
    """The result as a Tensor with its history."""
    t = Tensor.__new__(Tensor)
    t.data, t.serial, t.grad, t.name = out, next_serial(), None, None
    if RECORDING_CHECKS:
        if type(out) is not np.ndarray:
            t.data = out = np.asarray(out)
        if not edges or not state.recording or out.dtype.kind != "f":
            t.requires_grad, t.op, t.inputs, t.arrays, t.edges, t.params = False, None, (), (), (), {}
            return t
    t.requires_grad, t.op, t.inputs, t.arrays, t.edges = True, op, inputs, arrays, edges
    if STATIC_PARAMETERS:
        t.params = {**op.defaults, **params} if params else op.defaults
    if SOURCE_LINES:
        scope = state.scope
        if scope:
            t.call_site = scope
        else:
            frame = sys._getframe(3)
            t.call_site = frame.f_code, frame.f_lasti
    if RECORDING_CHECKS and state.tracer is not None:
        state.tracer(op, inputs, params, t)
    return t


def backward(of: Tensor, gradient: Any = None) -> None:
    """Fill `.grad` of every tensor that `of` was computed from."""
    if SEED:
        if not of.requires_grad:
            raise ValueError("backward: no input has requires_grad=True")
        if gradient is None:
            if of.data.size != 1:
                raise ValueError(f"backward starts at a single number, not at shape {of.data.shape}")
            seed = np.ones(of.data.shape, of.data.dtype)
        else:
            seed = np.array(gradient, of.data.dtype)
            if seed.shape != of.data.shape:
                raise ValueError(f"gradient= has shape {seed.shape}, and the tensor {of.data.shape}")
    else:
        seed = np.ones(of.data.shape, of.data.dtype)
    if CREATE_GRAPH:
        for tensor, g in walk(of, seed, None, False, None):
            tensor.grad = g if tensor.grad is None or tensor.op is not None else tensor.grad + g
    else:
        walk(of, seed, None, False, None)
    if SEED:
        state.last = weakref.ref(of)


def walk(of: Tensor, seed: Any, between: Any, create_graph: bool, on_share: Any) -> Any:
    """Each tensor with its whole gradient, youngest first: every share has arrived by then, for inputs are older."""
    arriving, waiting = {of.serial: (of, seed)}, [-of.serial]
    while waiting:
        tensor, g = arriving.pop(-heappop(waiting))
        if CREATE_GRAPH:
            yield tensor, g
        else:
            tensor.grad = g if tensor.grad is None or tensor.op is not None else tensor.grad + g
        if tensor.op is None:
            continue
        out, arrays = (tensor, tensor.inputs) if CREATE_GRAPH and create_graph else (tensor.data, tensor.arrays)
        if STATIC_PARAMETERS:
            params = tensor.params
        for x, rule in tensor.edges:
            serial = x.serial
            if CREATE_GRAPH and between is not None and serial not in between:
                continue
            if STATIC_PARAMETERS:
                share = rule(g, out, *arrays, **params) if params else rule(g, out, *arrays)
            else:
                share = rule(g, out, *arrays)
            if WALK_CHECKS:
                data = x.data
                if share.shape != data.shape:
                    share = unbroadcast(tensor.op, share, data.shape)
                if share.dtype is not data.dtype and share.dtype != data.dtype:
                    share = share.astype(data.dtype)
                if share is g or share.base is not None:
                    share = share.copy()
            if CREATE_GRAPH and on_share is not None:
                on_share(tensor, x, share)
            if serial in arriving:
                arriving[serial] = x, arriving[serial][1] + share
            else:
                arriving[serial] = x, share
                heappush(waiting, -serial)


@lru_cache(maxsize=32)
def ones(n: int, dtype: Any) -> np.ndarray:
    return np.ones(n, dtype)


def unbroadcast(op: Primitive, share: Any, shape: tuple[int, ...]) -> Any:
    """Sum a share over the axes along which its input was repeated."""
    extra = share.ndim - len(shape)
    if UNBROADCASTING and extra == 1 and share.shape[1:] == shape and share.ndim == 2:
        return np.dot(ones(len(share), share.dtype), share)
    if not UNBROADCASTING or extra < 0:
        raise ValueError(f"a rule of {op.body.__name__} answered shape {share.shape} for an input of shape {shape}")
    axes = tuple(i for i in range(share.ndim) if i < extra or (shape[i - extra] == 1 and share.shape[i] != 1))
    return share.sum(axis=axes).reshape(shape)


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside, nothing is recorded."""
    before, state.recording = state.recording, False
    try:
        yield
    finally:
        state.recording = before


# ---- the operations of the network


def affine_b(g: Any, out: Any, x: Any, W: Any, b: Any) -> Any:
    return g if UNBROADCASTING else np.dot(ones(len(g), g.dtype), g)


affine = Primitive(
    lambda x, W, b: np.dot(x, W) + b,
    lambda g, out, x, W, b: np.dot(g, W.T),
    lambda g, out, x, W, b: np.dot(x.T, g),
    affine_b,
)
tanh = Primitive(lambda x: np.tanh(x), lambda g, out, x: g * (1 - out * out))


def xent_body(z: Any, y: Any, *, reduction: str = "mean", smoothing: float = 0.0) -> Any:
    return our_kernels.cross_entropy(z, y)[0]


xent = Primitive(xent_body, lambda g, out, z, y, **_: our_kernels.cross_entropy(z, y)[1] * g, None)


def cross_entropy(logits: Tensor, y: Any, **params: Any) -> Tensor:
    """The loss, with an edge that remembers the gradient which the kernel has computed in the same pass."""
    loss, slope = our_kernels.cross_entropy(logits.data, y)
    edge = logits, lambda g, *_, **__: slope if float(g) == 1 else slope * g
    return record(xent, (logits, y), (logits.data, y), params, loss, [edge])


# ---- layers, loss and optimizer


class Module:
    """A call of a module is a scope: operations inside remember it."""

    def __call__(self, *inputs: Any) -> Any:
        outer = state.scope
        frame = sys._getframe(1)
        state.scope = self, outer, frame.f_code, frame.f_lasti
        try:
            return self.forward(*inputs)
        finally:
            state.scope = outer

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError


class Sequential(Module):
    def __init__(self, *layers: Module) -> None:
        self.layers = layers

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


class Dense(Module):
    def __init__(self, W: Tensor, b: Tensor) -> None:
        self.W, self.b = W, b

    def forward(self, x: Any) -> Any:
        return affine(x, self.W, self.b)


class Tanh(Module):
    def forward(self, x: Any) -> Any:
        return tanh(x)


class SoftmaxCrossEntropy(Module):
    def __init__(self, **options: Any) -> None:
        self.options = options

    def forward(self, logits: Any, y: Any) -> Any:
        return softmax_cross_entropy(logits, y, **self.options)


def softmax_cross_entropy(
    logits: Tensor,
    y: Any,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "mean",
    axis: int = -1,
) -> Tensor:
    """The mean loss of class indices; the other options only cost their checks here."""
    if LOSS_OPTIONS:
        if weight is not None or ignore_index is not None or axis not in (-1, 1):
            raise NotImplementedError("weight, ignore_index, axis")
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction={reduction!r}")
        if not (isinstance(label_smoothing, float) and 0 <= label_smoothing < 1):
            raise ValueError(f"label_smoothing={label_smoothing!r}")
    if LOSS_CHECKS:
        z = logits.data
        if type(y) is not np.ndarray or y.dtype != np.int64 or z.ndim != 2 or y.shape != z.shape[:1]:
            raise ValueError(f"labels {np.shape(y)} for logits {z.shape}")
        if 0 <= z.item(0) <= 1 and z.min() >= 0 and np.allclose(z.sum(axis=1), 1):
            raise ValueError("these look like probabilities")
    if STATIC_PARAMETERS:
        return cross_entropy(logits, y, reduction=reduction, smoothing=label_smoothing)
    return cross_entropy(logits, y)


class SGD:
    """The optimizer as an object, with a schedule and a state for each parameter."""

    def __init__(self, parameters: list[Tensor], schedule: Callable[[int], float]) -> None:
        self.parameters, self.schedule, self.steps = parameters, schedule, 0
        self.state: list[Any] = [() for _ in parameters]

    @property
    def lr(self) -> float:
        rate = self.schedule(self.steps)
        if not (isinstance(rate, (int, float)) and 0 <= rate < math.inf):
            raise ValueError(f"the schedule gave lr={rate!r}")
        return rate

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        lr = self.lr
        for i, parameter in enumerate(self.parameters):
            if fits(parameter):
                self.update(parameter.data, parameter.grad, self.state[i], lr)
        self.steps += 1

    def update(self, data: np.ndarray, grad: np.ndarray, state: Any, lr: float) -> None:
        our_kernels.sgd(data, grad, lr)


def fits(parameter: Tensor) -> bool:
    """Whether there is a gradient, of the parameter's shape, dtype and layout."""
    grad, data = parameter.grad, parameter.data
    if grad is None:
        return False
    if grad.shape != data.shape:
        raise ValueError(f"a parameter of shape {data.shape} has a gradient of shape {grad.shape}")
    return grad.dtype == data.dtype and grad.flags.c_contiguous and data.flags.c_contiguous


def training_step(X: np.ndarray, y: np.ndarray, weights: list[np.ndarray], rate: float) -> Contender:
    """One step of a network with tanh after each layer but the last."""
    pairs = [(Tensor(W, True), Tensor(np.zeros(W.shape[1], W.dtype), True)) for W in weights]
    parameters = [parameter for pair in pairs for parameter in pair]
    last = len(pairs) - 1
    if MODULES:
        layers: list[Module] = [layer for W, b in pairs for layer in (Dense(W, b), Tanh())]
        model, loss = Sequential(*layers[:-1]), SoftmaxCrossEntropy()
    optimizer = SGD(parameters, lambda step: rate)

    def step() -> Any:
        if OPTIMIZER_OBJECT:
            optimizer.zero_grad()
        else:
            for parameter in parameters:
                parameter.grad = None
        if MODULES:
            cost = loss(model(X), y)
        else:
            h = X
            for i, (W, b) in enumerate(pairs):
                h = affine(h, W, b)
                if i < last:
                    h = tanh(h)
            cost = softmax_cross_entropy(h, y)
        backward(cost)
        if OPTIMIZER_OBJECT:
            optimizer.step()
        else:
            for parameter in parameters:
                if OPTIMIZER_CHECKS:
                    if fits(parameter):
                        our_kernels.sgd(parameter.data, parameter.grad, rate)
                else:
                    our_kernels.sgd(parameter.data, parameter.grad, rate)
        return cost.data

    return step
