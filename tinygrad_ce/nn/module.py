"""Module: a thing with parameters, and with other modules inside; its parameters are named by their path."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, ValuesView
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import copy
from dataclasses import fields, is_dataclass
from functools import partial
from reprlib import recursive_repr
from sys import _getframe
from types import GeneratorType, MappingProxyType, ModuleType, NoneType
from typing import Any

import numpy as np

from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.data.structures import is_several
from tinygrad_ce.report.parts import Heading, PrintedText, Table
from tinygrad_ce.source_lines import current, state
from tinygrad_ce.variable import Variable

SUMMARY_WIDTH = 100  # columns
PLAIN = (bool, int, float, str, bytes, NoneType, np.generic)  # they hold nothing
# Whoever looks into these has emptied them.
ITERATORS: tuple[type, ...] = (
    GeneratorType,
    map,
    filter,
    zip,
    reversed,
    enumerate,
    type(iter(())),
    type(iter([])),
    type(reversed([])),
)


class Module:
    """The base of all layers and models: write `__init__` with parameters as attributes, and `forward`.

    An attribute is a parameter if it is a Tensor with requires_grad=True. Modules and parameters may also stand in
    lists, tuples, dicts, deques, dataclasses and arrays of objects; what stands where it would be lost (in a set, whose
    order changes, or in an object of a class of your own that is no Module) is refused with a TypeError. A parameter is
    named by its path from the outermost module it was put into: `layers.0.W`.

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
        if isinstance(value, (int, float, str, NoneType)):
            return
        found = [*_walk(value, name, (Tensor, Module))]
        if any(inner is self for _, inner in found):
            return  # a child that knows its parent: the paths from the parent are the names
        for path, tensor in found:
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                tensor.name = path

    @recursive_repr()
    def __repr__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if name[0] != "_" and name != "training"}
        settings = [f"{name}={value!r}" for name, value in shown.items() if _is_setting(value)]
        return f"{type(self).__name__}({', '.join(settings)})"

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter with its path, in the order in which they were made; a shared one comes once."""
        seen, paths = set(), set()
        for path, tensor in _walk(self, "", Tensor):
            if tensor.requires_grad and tensor.op is None and tensor.serial not in seen:
                if path in paths:
                    raise ValueError(f"two parameters have the path {path}: give the keys of the dicts other names")
                seen.add(tensor.serial)
                paths.add(path)
                yield path, tensor
        _refuse_hidden(self, seen)

    def parameters(self) -> list[Tensor]:
        """Every parameter once."""
        return [parameter for _, parameter in self.named_parameters()]

    def modules(self) -> Iterator[Module]:
        """This module and all modules inside, each once."""
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
        for _, tensor in _walk(self, "", Tensor):  # also frozen parameters, constants and running averages
            if tensor.dtype.kind == "f" and tensor.op is None:
                tensor.data = tensor.data.astype(dtype)
                tensor.grad = None
        for module in self.modules():
            for name, value in vars(module).items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    object.__setattr__(module, name, value.astype(dtype))
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
        """A copy of every parameter, also of a frozen one, and of every other array (running averages), by path.

        A tensor without a name that never asked for gradients is a constant of `__init__`, and no part of the state;
        an array, or a Variable, is one.
        """
        return {path: np.array(array) for path, array, _ in arrays_of(self)}

    def restore(self, state: dict[str, Array]) -> Module:
        """Put back what `state()` gave, in the dtypes of this module. Returns the module.

        Raises ValueError, and changes nothing, if the paths or shapes are not this module's, TypeError for what are no
        numbers of that kind.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"restore: the state is {type(state).__name__}; pass the dict that state() gave")
        own = {path: array for path, array, _ in arrays_of(self)}
        arrays = {path: np.asarray(value) for path, value in state.items()}
        for path in [*own, *arrays]:
            here, there = (f"shape {found[path].shape}" if path in found else "no place" for found in (own, arrays))
            if here != there:
                raise ValueError(f"restore: {path} has {here} here and {there} in the state")
            if not np.can_cast(arrays[path].dtype, own[path].dtype, "same_kind"):
                raise TypeError(f"restore: {path} has dtype {own[path].dtype}, in the state {arrays[path].dtype}")
        for path, array, write in arrays_of(self):
            write(np.array(arrays[path], array.dtype))
        return self

    def summary(self, example: Any = None) -> PrintedText:
        """A table of the layers: what each one is, the shape it gives, its number of parameters.

        example: a batch to run through the model (in evaluation mode); one row is made up where the first layer tells
        its input size. Without either, the shapes are left open.
        """
        return summary_of(self, _output_shapes(self, example))


def arrays_of(model: Module) -> Iterator[tuple[str, Array, Callable[[Array], None]]]:
    """Path, array and a way to replace it: parameters, frozen ones, and the other arrays that a module keeps."""
    for path, parameter in model.named_parameters():
        yield path, parameter.data, partial(setattr, parameter, "data")
    averages = {id(variable) for module in model.modules() for variable in module.variables.values()}
    for path, tensor in leaves_of(model):  # a frozen parameter keeps the name that it got when it asked for gradients
        if not tensor.requires_grad and id(tensor) not in averages and (tensor.name or isinstance(tensor, Variable)):
            yield path, tensor.data, partial(setattr, tensor, "data")
    for path, module in _walk(model, "", Module):
        prefix = f"{path}." if path else ""
        for name, value in vars(module).items():
            if isinstance(value, np.ndarray) and value.dtype != object:
                yield prefix + name, value, partial(object.__setattr__, module, name)
        for name, variable in module.variables.items():
            yield prefix + name, variable.data, partial(setattr, variable, "data")


def leaves_of(model: Module) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that no operation has computed, with its path: parameters, frozen ones, constants, Variables."""
    return ((path, tensor) for path, tensor in _walk(model, "", Tensor) if tensor.op is None)


def modules_of(model: Module) -> Iterator[tuple[str, Module]]:
    """Every module, the model itself first, with its path."""
    return _walk(model, "", Module)


def variables_of(model: Module) -> list[Variable]:
    """What the modules write while they compute, running averages say: every Variable once."""
    return [*{id(variable): variable for _, variable in _walk(model, "", Variable)}.values()]


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


def items_of(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """What stands in a container, with names, in an order that is always the same; None for what is no container."""
    if isinstance(value, Module):
        return vars(value).items()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return zip(value._fields, value, strict=True)
    if isinstance(value, (list, tuple, deque, ValuesView)):
        return enumerate(value)
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, np.ndarray):
        return enumerate(value.flat) if value.dtype == object else None
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in fields(value) if hasattr(value, field.name)]
    return None


def _walk(
    value: Any, path: str, kind: type | tuple[type, ...], seen: set[int] | None = None
) -> Iterator[tuple[str, Any]]:
    """Every `kind` in value once, with its first path. TypeError for a set that holds modules or parameters."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    if isinstance(value, kind):
        seen.add(id(value))
        yield path, value
    items = items_of(value)
    if items is not None:
        seen.add(id(value))
        for name, inner in items:
            yield from _walk(inner, f"{path}.{name}" if path else str(name), kind, seen)
    elif isinstance(value, (set, frozenset)) and any(_holds_parameters(inner) for inner in value):
        raise TypeError(
            f"{path} is a {type(value).__name__}, and holds modules or parameters: its order differs from run to run, "
            "so write a list, or a dict"
        )
    elif isinstance(value, ITERATORS):
        raise TypeError(
            f"{path} is a {type(value).__name__}, in which modules and parameters cannot be found: write a list, "
            f"{path} = list(...)"
        )


def _holds_parameters(value: Any) -> bool:
    found = (inner for _, inner in _walk(value, "", (Tensor, Module)))
    return any(isinstance(inner, Module) or inner.requires_grad for inner in found)


def _refuse_hidden(module: Module, known: set[int]) -> None:
    """TypeError for a parameter in an object that is no Module: no optimizer would get it. known: the others."""
    for path, value in _walk(module, "", object):
        if isinstance(value, (Tensor, type, ModuleType, *PLAIN)) or items_of(value) is not None:
            continue
        for inner_path, tensor in _walk(_attributes(value), path, Tensor):
            if tensor.requires_grad and tensor.op is None and tensor.serial not in known:
                kind = type(value).__name__
                raise TypeError(
                    f"{path} is of class {kind}, which is no Module, so its parameter {inner_path} would never be "
                    f"trained: write `class {kind}(tg.nn.Module):`"
                )


def _attributes(value: Any) -> dict[str, Any]:
    """What an object holds, in its __dict__ and in its slots."""
    slots = (name for kind in type(value).__mro__ for name in _slots(kind) if hasattr(value, name))
    return {name: getattr(value, name) for name in slots} | dict(getattr(value, "__dict__", {}))


def _slots(kind: type) -> tuple[str, ...]:
    names = vars(kind).get("__slots__", ())
    return (names,) if isinstance(names, str) else tuple(name for name in names if name[:2] != "__")


def _is_setting(value: Any) -> bool:
    """Whether a value belongs into the printed form of a module: an inner module, a number, a text, or several."""
    if isinstance(value, (Module, int, float, str, NoneType, np.generic)):
        return True
    items = None if isinstance(value, np.ndarray) else items_of(value)
    return items is not None and bool(inner := [part for _, part in items]) and all(map(_is_setting, inner))


def _substituted(value: Any, new: dict[int, Tensor]) -> Any:
    """The value with other tensors in it; modules inside are left, for they are substituted by themselves."""
    if isinstance(value, Tensor):
        return new.get(value.serial, value)
    items = None if isinstance(value, Module) else items_of(value)
    if items is None:
        return value
    names, old = zip(*pairs, strict=True) if (pairs := [*items]) else ((), ())
    inner = [_substituted(part, new) for part in old]
    if all(a is b for a, b in zip(inner, old, strict=True)):
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(*inner) if hasattr(value, "_fields") else type(value)(inner)
    if isinstance(value, deque):
        return deque(inner, value.maxlen)
    if isinstance(value, Mapping):
        return dict(zip(names, inner, strict=True))
    twin = copy(value)
    for name, part in zip(names, inner, strict=True):
        if isinstance(twin, np.ndarray):
            twin[np.unravel_index(name, twin.shape)] = part
        else:
            object.__setattr__(twin, name, part)
    return twin


def summary_of(model: Module, shapes: dict[int, str] | None = None) -> PrintedText:
    """A table of the layers. shapes: by id of the module what it gives; without them, there is no such column."""
    rows: list[tuple[str, ...]] = []
    before: set[int] = set()  # the modules above: a child may know its parent, and the parent is no part of it
    for path, module in _walk(model, "", Module):
        is_leaf = all(inner is module for _, inner in _walk(module, "", Module, {*before}))
        if is_leaf:
            own = [t for _, t in _walk(module, "", Tensor, {*before}) if t.requires_grad and t.op is None]
            label = f"{path}  {module!r}" if path else repr(module)
            shape = () if shapes is None else (shapes.get(id(module), "?"),)
            rows.append((label, *shape, f"{sum(p.size for p in own):,}"))
        before.add(id(module))
    last = ("all", *(() if shapes is None else ("",)), f"{sum(p.size for p in model.parameters()):,}")
    header = ("layer", *(() if shapes is None else ("output shape",)), "parameters")
    table = Table([*rows, last], header, right=frozenset({len(header) - 1}))
    return PrintedText.of([Heading(type(model).__name__), table], SUMMARY_WIDTH)


def _shape_of(out: Any) -> str:
    """The shape of what a module gave, with N for the rows; of a tuple or a dict, the shapes of its parts."""
    if isinstance(out, (tuple, list)):
        return f"({', '.join(_shape_of(part) for part in out)})"
    if isinstance(out, Mapping):
        return f"{{{', '.join(f'{name}: {_shape_of(part)}' for name, part in out.items())}}}"
    shape = getattr(out, "shape", None)
    if shape is None:
        return type(out).__name__
    return str(("N", *shape[1:])).replace("'", "") if shape else "()"


def _output_shapes(model: Module, example: Any) -> dict[int, str]:
    """By id of the module, the shape that it gives; {} where there is no example and none can be made up."""
    if example is not None:
        return outputs_of(model, example, _shape_of)
    sizes = [getattr(module, "n_in", None) for module in model.modules() if vars(module).get("n_in")]
    if not sizes:
        return {}
    dtype = next((p.dtype for p in model.parameters()), np.dtype(float))
    found: dict[int, str] = {}
    with suppress(
        ValueError, TypeError, IndexError
    ):  # a made-up row need not suit the model: an Embedding wants integers
        outputs_of(model, np.zeros((1, sizes[0]), dtype), _shape_of, found)
    return found


def call_model(model: Callable[..., Any], X: Any) -> Any:
    """`model(X)`; of a tuple of arrays `model(*X)`, of a dict of arrays `model(**X)`."""
    if not is_several(X):
        return model(X)
    return model(**X) if isinstance(X, dict) else model(*X)


@contextmanager
def in_modes(modes: Sequence[tuple[Module, bool]]) -> Iterator[None]:
    """Have these modules in training, or in evaluation, meanwhile."""
    before = [module.training for module, _ in modes]
    for module, training in modes:
        module.training = training
    try:
        yield
    finally:
        for (module, _), training in zip(modes, before, strict=True):
            module.training = training


def evaluating(model: Module) -> AbstractContextManager[None]:
    """Have all of a model in evaluation meanwhile."""
    return in_modes([(module, False) for module in model.modules()])


def outputs_of(
    model: Module, example: Any, describe: Callable[[Any], Any], found: dict[int, Any] | None = None
) -> dict[int, Any]:
    """Run a model once, in evaluation mode: by id of each module, `describe(what it gave)`. Nothing is changed.

    found: a dict to fill, for the part that was found before an error.
    """
    found = {} if found is None else found
    modules = list(model.modules())
    before = [(module.training, vars(module).get("forward")) for module in modules]

    def describing(module: Module) -> Callable[..., Any]:
        forward = module.forward

        def described_forward(*inputs: Any, **options: Any) -> Any:
            out = forward(*inputs, **options)
            found[id(module)] = describe(out)
            return out

        return described_forward

    try:
        for module in modules:
            object.__setattr__(module, "forward", describing(module))
        model.eval()
        with no_grad():
            call_model(model, example)
    finally:
        for module, (training, forward) in zip(modules, before, strict=True):
            vars(module).pop("forward", None)
            vars(module).update({"training": training} | ({"forward": forward} if forward else {}))
    return found
