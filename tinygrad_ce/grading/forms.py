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
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"  # without an import of the package: this file runs beside hand-ins, too
Gradients = Callable[[dict[str, "Array"]], Any]
MOST_SCALARS = 2000  # numbers of a case that are computed with one at a time
EXPECTED = (
    "expected gradients(x, W, ...) -> dict, (forward, backward) with backward(dout, cache), gradient(out_grad, node), a "
    "torch.autograd.Function, or a class of numbers with .backward()"
)


def gradients_of(student: Any, forward: Callable[..., Any] | None) -> Gradients:
    """What a student wrote, as a function from arguments to gradients. TypeError, in words, for what is none of the forms.

    forward: of the problem; a `backward(dout, cache)` alone gets the cache of it, a class of numbers is put into it.
    """
    if isinstance(student, type):
        torch = sys.modules.get("torch")
        if torch is not None and issubclass(student, torch.autograd.Function):
            return lambda arguments: _of_torch(student, arguments)
        if hasattr(student, "forward") and hasattr(student, "backward"):
            return gradients_of((student.forward, student.backward), forward)
        if hasattr(student, "gradient"):
            return lambda arguments: _of_node(student().gradient, arguments)
        if hasattr(student, "backward"):
            return lambda arguments: _of_numbers(student, _needed(forward), arguments)
        raise TypeError(f"{student.__name__} has neither gradient nor backward: {EXPECTED}")
    if isinstance(student, (tuple, list)) and len(student) == 2 and all(map(callable, student)):
        return lambda arguments: _of_cache(*student, arguments)
    if not callable(student):
        if callable(getattr(student, "gradient", None)):
            return gradients_of(student.gradient, forward)
        if callable(getattr(student, "backward", None)) and callable(getattr(student, "forward", None)):
            return gradients_of((student.forward, student.backward), forward)
        raise TypeError(f"a {type(student).__name__} cannot be graded: {EXPECTED}")
    names = _names(student)
    if len(names) == 2 and names[1] == "cache":
        return lambda arguments: _of_cache(_needed(forward), student, arguments)
    if names in (["out_grad", "node"], ["grad", "node"], ["g", "node"]):
        return lambda arguments: _of_node(student, arguments)
    return lambda arguments: _of_function(student, arguments)


def _names(function: Callable[..., Any]) -> list[str]:
    """The parameters of a function; none where they cannot be known."""
    try:
        return [name for name in inspect.signature(function).parameters if name != "self"]
    except (TypeError, ValueError):
        return []


def _needed(forward: Callable[..., Any] | None) -> Callable[..., Any]:
    if forward is None:
        raise TypeError("this form needs a forward pass, and the problem has none: pass (forward, backward)")
    return forward


def _of_function(function: Callable[..., Any], arguments: Mapping[str, Array]) -> Any:
    """By keyword where the names are the problem's, else in their order."""
    names = _names(function)
    if not names or {*names} <= {*arguments}:
        return function(**{name: arguments[name] for name in names or arguments})
    parameters = inspect.signature(function).parameters.values()
    if any(x.kind is x.VAR_KEYWORD for x in parameters):
        return function(**arguments)
    required = [x for x in parameters if x.default is x.empty and x.kind is not x.VAR_POSITIONAL]
    if len(required) > len(arguments):
        raise TypeError(f"it takes {', '.join(names)}, and the arguments are {', '.join(arguments)}")
    return function(*[*arguments.values()][: len(names)])


def _upstream(arguments: Mapping[str, Array]) -> tuple[Any, dict[str, Array]]:
    """The gradient of the output (1 for a loss), and the arguments of the forward pass."""
    rest = {name: array for name, array in arguments.items() if name != "dout"}
    return arguments.get("dout", 1.0), rest


def _of_cache(forward: Callable[..., Any], backward: Callable[..., Any], arguments: Mapping[str, Array]) -> Any:
    """`backward(dout, cache)`, with the cache that the forward pass has made; or, without `dout`, of a loss."""
    dout, rest = _upstream(arguments)
    result = forward(**rest) if {*_names(forward)} >= {*rest} else forward(*rest.values())
    if not isinstance(result, tuple) or len(result) < 2:
        raise TypeError("forward must return (out, cache) for a backward(dout, cache) to be called")
    cache = result[1] if len(result) == 2 else result[1:]
    gradients = backward(cache) if len(_names(backward)) == 1 else backward(dout, cache)
    return _by_argument(gradients, rest)


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
        raise ValueError(f"{count} numbers are too many to compute one by one: at most {MOST_SCALARS}")
    numbers = {name: _as_numbers(value, np.asarray(array)) for name, array in rest.items()}
    out = forward(**numbers)
    out = out[0] if isinstance(out, tuple) else out
    out = (np.asarray(out) * dout).sum()
    (out.item() if isinstance(out, np.ndarray) else out).backward()
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
