"""The forms in which courses write a backward pass, each turned into a function from arguments to a dict of gradients.

- `gradients(x, W, b, y)`, which returns a dict, or a tuple in the order in which gradients are asked for
- `backward(dout, cache)` beside a `forward(x, W, b) -> (out, cache)` (CS231n)
- `gradient(out_grad, node)`, with the inputs of the forward pass in `node.inputs` (Deep Learning Systems)
- a `torch.autograd.Function`
- a class of single numbers with operators and `.backward()` (micrograd)
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # a hand-in's process reads this file without the package
    from tinygrad_ce.core import Array

Gradients = Callable[[dict[str, Any]], Any]
MOST_SCALARS = 2000  # numbers of a case that are computed with one at a time
CACHE_FORM = "backward(dout, cache)"
EXPECTED = (
    "expected gradients(x, W, ...) that returns a dict, (forward, backward) with backward(dout, cache), "
    "gradient(out_grad, node), a torch.autograd.Function, or a class of numbers with .backward()"
)


class TooManyNumbers(ValueError):
    """A case that is too large for a form: it is left out."""

    skips = True


def gradients_of(student: Any, forward: Callable[..., Any] | None) -> Gradients:
    """What a student wrote, as a function from arguments to gradients.

    forward: of the problem; a `backward(dout, cache)` alone gets the cache of it, a class of numbers is put into it.
    Raises TypeError, in words, for what is none of the forms, or needs a forward pass where there is none.

    >>> gradients_of(lambda x: (2 * x,), None)({"x": np.ones(2)})
    (array([2., 2.]),)
    """
    if isinstance(student, type):
        return _of_class(student, forward)
    if isinstance(student, (tuple, list)) and len(student) == 2 and all(map(callable, student)):
        own_forward, backward = student
        return lambda arguments: _of_cache(own_forward, backward, arguments)
    if callable(getattr(student, "gradient", None)):
        return lambda arguments: _of_node(student.gradient, arguments)
    if callable(getattr(student, "backward", None)) and callable(getattr(student, "forward", None)):
        return lambda arguments: _of_cache(student.forward, student.backward, arguments)
    if not callable(student):
        raise TypeError(f"{type(student).__name__} cannot be graded: {EXPECTED}")
    names = _names(student)
    if len(names) == 2 and names[1] == "node":
        return lambda arguments: _of_node(student, arguments)
    if names and names[-1] == "cache":
        known = _needed(forward, CACHE_FORM)
        return lambda arguments: _of_cache(known, student, arguments)
    return lambda arguments: _of_function(student, arguments)


def _of_class(student: type, forward: Callable[..., Any] | None) -> Gradients:
    """What a class computes: of PyTorch, of a layer, of an operation, or of single numbers."""
    torch = sys.modules.get("torch")  # nobody's class is PyTorch's where that was never imported
    if torch is not None and issubclass(student, torch.autograd.Function):
        return lambda arguments: _of_torch(student, arguments)
    if hasattr(student, "gradient"):
        return lambda arguments: _of_node(student().gradient, arguments)
    if hasattr(student, "forward") and hasattr(student, "backward"):
        return lambda arguments: _of_layer(student(), arguments)
    if hasattr(student, "backward"):
        known = _needed(forward, f"a class of numbers such as {student.__name__}")
        return lambda arguments: _of_numbers(student, known, arguments)
    raise TypeError(f"{student.__name__} has neither gradient nor backward: {EXPECTED}")


def _names(function: Callable[..., Any]) -> list[str]:
    """The parameters of a function that have no default; none where they cannot be known."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [x.name for x in parameters if x.default is x.empty and x.kind not in (x.VAR_POSITIONAL, x.VAR_KEYWORD)]


def _needed(forward: Callable[..., Any] | None, form: str) -> Callable[..., Any]:
    if forward is None:
        raise TypeError(f"{form} needs a forward pass, and there is none here: pass the pair (forward, backward)")
    return forward


def _of_function(function: Callable[..., Any], arguments: Mapping[str, Array]) -> Any:
    """A function of the arguments: by keyword where its names are theirs, else in their order."""
    names = _names(function)
    if {*names} <= {*arguments}:
        parameters = inspect.signature(function).parameters
        if any(x.kind is x.VAR_KEYWORD for x in parameters.values()):
            return function(**arguments)
        if any(x.kind is x.POSITIONAL_ONLY for x in parameters.values()):
            return function(*(arguments[name] for name in names))
        if any(x.kind is x.VAR_POSITIONAL for x in parameters.values()):
            return function(*arguments.values())
        return function(**{name: array for name, array in arguments.items() if name in parameters})
    order = [*arguments]
    unknown = [name for name in names if name not in arguments]
    moved = [name for place, name in enumerate(names) if name in arguments and order[place : place + 1] != [name]]
    if len(names) != len(order) or moved:
        raise TypeError(f"there is no argument {', '.join(unknown)}: the arguments are {', '.join(order)}")
    return function(*arguments.values())


def _upstream(arguments: Mapping[str, Array]) -> tuple[Any, dict[str, Array]]:
    """The gradient of the output (1 for a loss), and the arguments of the forward pass."""
    rest = {name: array for name, array in arguments.items() if name != "dout"}
    return arguments.get("dout", 1.0), rest


def _of_cache(forward: Callable[..., Any], backward: Callable[..., Any], arguments: Mapping[str, Array]) -> Any:
    """`backward(dout, cache)` with the cache that the forward pass has made; `backward(cache)` of a loss."""
    dout, rest = _upstream(arguments)
    result = _of_function(forward, rest)
    if not isinstance(result, tuple) or len(result) < 2:
        raise TypeError("forward must return (out, cache), as backward(dout, cache) needs what it keeps")
    cache = result[1] if len(result) == 2 else result[1:]
    return _by_argument(backward(cache) if len(_names(backward)) == 1 else backward(dout, cache), rest)


def _of_layer(layer: Any, arguments: Mapping[str, Array]) -> Any:
    """A layer with `forward(x, ...)` and `backward(dout)`, which keeps in itself what it needs, or in a cache."""
    dout, rest = _upstream(arguments)
    result = _of_function(layer.forward, rest)
    if len(_names(layer.backward)) > 1:
        return _by_argument(layer.backward(dout, result[1]), rest)
    return _by_argument(layer.backward(dout), rest)


class NodeInput(np.ndarray):
    """An input of a node: an array that also answers to the names that tensors of other courses have."""

    def realize_cached_data(self) -> Array:
        """The numbers."""
        return np.asarray(self)

    cached_data = property(realize_cached_data)
    numpy = detach = realize_cached_data


def _of_node(gradient: Callable[..., Any], arguments: Mapping[str, Array]) -> Any:
    """`gradient(out_grad, node)`: integers, such as labels, are attributes of the node too, by their names."""
    dout, rest = _upstream(arguments)
    inputs = [np.asarray(array).view(NodeInput) for array in rest.values()]
    node = SimpleNamespace(inputs=inputs, op=SimpleNamespace(**rest), **rest)
    return _by_argument(gradient(np.asarray(dout).view(NodeInput), node), rest)


def _of_torch(function: Any, arguments: Mapping[str, Array]) -> Any:
    """A `torch.autograd.Function`: its own backward is asked, through PyTorch."""
    import torch

    dout, rest = _upstream(arguments)
    tensors = {name: torch.tensor(array) for name, array in rest.items()}
    asking = {name: x.requires_grad_() for name, x in tensors.items() if x.is_floating_point()}
    function.apply(*tensors.values()).backward(torch.as_tensor(dout, dtype=next(iter(asking.values())).dtype))
    return {f"d_{name}": None if x.grad is None else x.grad.numpy() for name, x in asking.items()}


def _of_numbers(value: Any, forward: Callable[..., Any], arguments: Mapping[str, Array]) -> Any:
    """A class of single numbers: the problem's forward pass is computed with arrays of them, and `.grad` is read."""
    dout, rest = _upstream(arguments)
    count = sum(np.size(array) for array in rest.values())
    if count > MOST_SCALARS:
        raise TooManyNumbers(f"{count} numbers are too many to compute one by one: at most {MOST_SCALARS}")
    numbers = {name: _as_numbers(value, np.asarray(array)) for name, array in rest.items()}
    out = forward(**numbers)
    out = out[0] if isinstance(out, tuple) else out
    upstream = np.broadcast_to(dout, np.shape(out)).ravel().tolist()
    parts = [x * g for x, g in zip(np.ravel(np.asarray(out, object)), upstream, strict=True)]
    sum(parts[1:], start=parts[0]).backward()
    return {
        f"d_{name}": np.reshape([x.grad for x in np.ravel(array)], np.shape(array)).astype(float)
        for name, array in numbers.items()
        if np.asarray(array).dtype == object
    }


def _as_numbers(value: Any, array: Array) -> Any:
    """An array of the student's numbers; integers, such as labels, stay what they are."""
    if array.dtype.kind != "f":
        return array
    numbers = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        numbers[index] = value(float(array[index]))
    return numbers if array.ndim else numbers.item()


def _by_argument(gradients: Any, arguments: Mapping[str, Array]) -> Any:
    """Gradients in the order of the arguments, by their names; a dict, and what is no tuple of so many, as it is."""
    if isinstance(gradients, dict) or gradients is None:
        return gradients
    several: Sequence[Any] = gradients if isinstance(gradients, (tuple, list)) else (gradients,)
    floating = [name for name, array in arguments.items() if np.asarray(array).dtype.kind == "f"]
    names = [*arguments] if len(several) == len(arguments) else floating
    if len(several) > len(names):
        return gradients
    return {f"d_{name}": x for name, x in zip(names, several, strict=False)}
