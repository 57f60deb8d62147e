"""Module: a thing with parameters, and with other modules inside; its parameters are named by their path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from io import StringIO
from sys import _getframe
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.source_lines import current, state
from tinygrad_ce.variable import Variable


class Module:
    """The base of all layers and models: write `__init__` with parameters as attributes, and `forward`.

    An attribute is a parameter if it is a Tensor with requires_grad=True. Modules and parameters may also stand in
    lists and dicts. A parameter is named by its path from the outermost module it was put into: `layers.0.W`.

    >>> class Line(Module):
    ...     def __init__(self): self.slope = Tensor(2.0, requires_grad=True)
    ...     def forward(self, x): return self.slope * x
    >>> Line()(np.array(3.0)).item(), [name for name, _ in Line().named_parameters()]
    (6.0, ['slope'])
    """

    training = True
    _ours = False  # whether this is a layer of the package, and not of its user
    variables: Mapping[str, Variable] = MappingProxyType({})  # what stays from step to step besides parameters

    def __init_subclass__(cls) -> None:
        cls._ours = cls.__module__.startswith("tinygrad_ce.")

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module computes. Every module writes its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward: write def forward(self, x)")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        here = current.get()
        if here is None or not here.inner:
            here = state()
        outer = here.inner
        if outer is None:
            return self.forward(*inputs, **options)
        if outer and outer[2]:  # called by a layer of ours: its call knows the user's line
            here.inner = self, outer, self._ours, None, 0
        else:
            frame = _getframe(1)
            here.inner = self, outer, self._ours, frame.f_code, frame.f_lasti
        try:
            return self.forward(*inputs, **options)
        finally:
            here.inner = outer

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if isinstance(value, (Tensor, Module, list, tuple, dict)):
            named: set[int] = set()
            for path, parameter in _walk(value, name, Tensor):
                if parameter.requires_grad and parameter.serial not in named:  # a shared one by its first path
                    named.add(parameter.serial)
                    parameter.name = path

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter with its path, in the order in which they were made; a shared one comes once."""
        seen = set()
        for path, tensor in _walk(self, "", Tensor):
            if tensor.requires_grad and tensor.serial not in seen:
                seen.add(tensor.serial)
                yield path, tensor

    def parameters(self) -> list[Tensor]:
        """Every parameter once."""
        return [parameter for _, parameter in self.named_parameters()]

    def modules(self) -> Iterator[Module]:
        """This module and all modules inside."""
        for _, module in _walk(self, "", Module):
            yield module

    def train(self) -> Module:
        """Dropout drops and BatchNorm uses the batch's own statistics. Returns the module."""
        for module in self.modules():
            module.training = True
        return self

    def eval(self) -> Module:
        """Dropout lets all pass and BatchNorm uses what it has averaged. Returns the module."""
        for module in self.modules():
            module.training = False
        return self

    def astype(self, dtype: Any) -> Module:
        """Turn the parameters and other floating-point arrays of all modules to dtype, in place. Returns the module.

        Gradients are dropped. Make the optimizer after this call: its state has the parameters' dtype.
        """
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise TypeError(f"astype: parameters need a floating-point dtype, not {dtype}")
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = None
        for module in self.modules():
            for name, value in vars(module).items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    object.__setattr__(module, name, value.astype(dtype))
            for variable in module.variables.values():
                variable.data = variable.data.astype(dtype)
        return self

    def replaced(self, parameters: list[Tensor]) -> Module:
        """Put these tensors where `parameters()` were, in their order, in place. Returns the module."""
        own = self.parameters()
        if len(own) != len(parameters):
            raise ValueError(f"the module has {len(own)} parameters, and {len(parameters)} were given")
        new = {old.serial: tensor for old, tensor in zip(own, parameters, strict=True)}
        for module in self.modules():
            for name, value in vars(module).items():
                object.__setattr__(module, name, _substituted(value, new))
        return self

    def state(self) -> dict[str, Array]:
        """A copy of every parameter and of every other array (BatchNorm's running averages), by path."""
        return {path: np.array(array) for path, array, _ in self._arrays()}

    def restore(self, state: dict[str, Array]) -> Module:
        """Put back what `state()` gave. ValueError if the paths or shapes are not this module's. Returns the module."""
        own = {path: array.shape for path, array, _ in self._arrays()}
        given = {path: array.shape for path, array in state.items()}
        if own != given:
            path = next(iter({*own.items()} ^ {*given.items()}))[0]
            raise ValueError(f"restore: {path} has shape {own.get(path)} here and {given.get(path)} in the state")
        for path, _, write in self._arrays():
            write(state[path].copy())
        return self

    def _arrays(self) -> Iterator[tuple[str, Array, Callable[[Array], None]]]:
        """Path, array and a way to replace it, for parameters and other arrays."""
        for path, parameter in self.named_parameters():
            yield path, parameter.data, partial(setattr, parameter, "data")
        for path, module in _walk(self, "", Module):
            prefix = f"{path}." if path else ""
            for name, value in vars(module).items():
                if isinstance(value, np.ndarray):
                    yield prefix + name, value, partial(object.__setattr__, module, name)
            for name, variable in module.variables.items():
                yield prefix + name, variable.data, partial(setattr, variable, "data")

    def summary(self, example: Any = None) -> str:
        """A table of the layers: what each one is, the shape it gives, its number of parameters.

        example: a batch to run through the model (in evaluation mode); one row is made up where the first layer tells
        its input size. Without either, the shapes are left open.
        """
        return _summary(self, example)


class Kept:
    """An attribute of a module that is the array of one of its `variables`: read, written and replaced as an array."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, module: Any, owner: type) -> Any:
        return self if module is None else module.variables[self.name].data

    def __set__(self, module: Any, array: Any) -> None:
        if self.name in module.variables:
            module.variables[self.name].data = np.array(array)
        else:
            object.__setattr__(module, "variables", {**module.variables, self.name: Variable(array, name=self.name)})


def _walk(value: Any, path: str, kind: type) -> Iterator[tuple[str, Any]]:
    """Every `kind` in value, with its path: through modules, lists, tuples and dicts."""
    if isinstance(value, kind):
        yield path, value
    if isinstance(value, Module):
        items: Any = vars(value).items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    elif isinstance(value, dict):
        items = value.items()
    else:
        return
    for name, inner in items:
        yield from _walk(inner, f"{path}.{name}" if path else str(name), kind)


def _substituted(value: Any, new: dict[int, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return new.get(value.serial, value)
    if isinstance(value, (list, tuple)):
        return type(value)(_substituted(inner, new) for inner in value)
    if isinstance(value, dict):
        return {name: _substituted(inner, new) for name, inner in value.items()}
    return value


def _summary(model: Module, example: Any) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shapes = _output_shapes(model, example)
    table = Table("layer", "output shape", box=box.MARKDOWN)  # plain ASCII: it can be pasted and printed anywhere
    table.add_column("parameters", justify="right")
    for path, module in _walk(model, "", Module):
        inner = [m for m in module.modules() if m is not module]
        if inner:
            continue
        label = f"{path}  {module!r}" if path else repr(module)
        table.add_row(label, shapes.get(id(module), "?"), f"{sum(p.size for p in module.parameters()):,}")
    table.add_section()
    table.add_row("all", "", f"{sum(p.size for p in model.parameters()):,}")
    text = StringIO()
    Console(file=text, width=100, color_system=None, force_jupyter=False).print(table)
    return f"{type(model).__name__}\n{text.getvalue().strip()}"


def _output_shapes(model: Module, example: Any) -> dict[int, str]:
    """By id of the module, the shape that it gives; {} where there is no example and none can be made up."""
    made_up = False
    if example is None:
        sizes = [getattr(module, "n_in", None) for module in model.modules() if vars(module).get("n_in")]
        if not sizes:
            return {}
        dtype = next((p.dtype for p in model.parameters()), np.dtype(float))
        example = np.zeros((1, sizes[0]), dtype)
        made_up = True
    shapes: dict[int, str] = {}
    modes = {id(module): module.training for module in model.modules()}
    model.eval()
    try:
        with no_grad():
            _Watched(shapes).run(model, example)
    except (ValueError, TypeError, IndexError):
        if not made_up:  # a made-up row need not suit the model (an Embedding wants integers)
            raise
    finally:
        for module in model.modules():
            module.training = modes[id(module)]
    return shapes


class _Watched:
    """Runs a model once, noting the shape of what each module gives."""

    def __init__(self, shapes: dict[int, str]) -> None:
        self.shapes = shapes

    def run(self, model: Module, example: Any) -> None:
        modules = list(model.modules())
        try:
            for module in modules:
                object.__setattr__(module, "forward", self.noting(module, module.forward))
            model(example)
        finally:
            for module in modules:
                module.__dict__.pop("forward", None)

    def noting(self, module: Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def noting_forward(*inputs: Any, **options: Any) -> Any:
            out = forward(*inputs, **options)
            self.shapes[id(module)] = str(("N", *out.shape[1:])).replace("'", "")
            return out

        return noting_forward
