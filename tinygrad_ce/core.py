"""A Tensor is an array and how it was made; a Primitive is a forward and one derivative rule for each input.

Read this file first, then `backward.py` and `ops/arithmetic.py`: together they are the whole of backpropagation.
Kernels, source lines, tracing and views attach from outside, through the one seam in `Primitive.__call__`.
"""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias
from weakref import ref

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Rule: TypeAlias = Callable[..., Any]

next_serial = itertools.count(1).__next__
_NO_PARAMS: Mapping[str, Any] = {}


class Tensor:
    """An array, the operation and the inputs that made it, and (after `backward`) its gradient.

    data: anything `np.asarray` takes; numbers or booleans. A tensor that asks for gradients owns a copy, because an
    optimizer will write there; any other shares the memory. Integers wrap, minus uint8 3 is 253: .astype(float) first.
    requires_grad: whether gradients are wanted here. Only floating-point data may ask.
    name: shown in errors, pictures and printed programs.
    Raises TypeError for data that are no numbers, and for integers that ask for gradients.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward(); x.grad
    array([2., 4.])
    """

    __slots__ = (
        *("__weakref__", "arrays", "data", "grad", "inputs", "name", "note"),
        *("op", "params", "requires_grad", "rules", "serial", "writes"),
    )

    data: Array
    grad: Array | None
    requires_grad: bool
    name: str | None
    serial: int  # tensors are numbered as they are born, so every input is older than its output
    writes: list[Any] | None  # shared with all views of its memory: the serial number of the last write, and the owner
    op: Primitive | None  # None for a leaf: a tensor that the user made
    inputs: tuple[Any, ...]  # what `op` was called with: tensors, arrays, Python numbers
    arrays: tuple[Any, ...]  # the same, with the array of each tensor: what the rules will see
    rules: Iterable[Rule | None]  # the derivative rule of each input; None where there is no gradient
    params: Mapping[str, Any]  # the static parameters of the call
    note: Any  # whatever an instrument wants to remember of this tensor; the engine never looks at it

    def __init__(self, data: Any, requires_grad: bool = False, name: str | None = None) -> None:
        if isinstance(data, Tensor):
            raise TypeError("Tensor(data): data is a Tensor already; use data.detach() for one without history")
        array = np.asarray(data)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"Tensor(data): data must be real numbers or booleans, not dtype {array.dtype}")
        if requires_grad and array.dtype.kind != "f":
            raise TypeError(
                f"only floating-point tensors have gradients, and this one has dtype {array.dtype}: "
                "write 1.0 instead of 1, or convert with np.asarray(data, dtype=float)"
            )
        self.data = array.copy() if requires_grad else array
        self.requires_grad, self.name, self.serial = requires_grad, name, next_serial()
        self.grad = self.op = self.note = self.writes = None
        self.inputs = self.arrays = self.rules = ()
        self.params = _NO_PARAMS

    @property
    def label(self) -> str:
        """The name, or the serial number where there is no name: what errors and pictures call this tensor."""
        return self.name or f"#{self.serial}"

    def named(self, name: str) -> Tensor:
        """Give this tensor a name and return it, so that it can be written inside an expression."""
        self.name = name
        return self

    def detach(self) -> Tensor:
        """The same data without history: gradients do not flow through it."""
        result = Tensor(self.data)
        result.writes = writes_to(self)
        return result

    # fmt: off
    @property
    def shape(self) -> tuple[int, ...]: return self.data.shape
    @property
    def ndim(self) -> int: return self.data.ndim
    @property
    def size(self) -> int: return self.data.size
    @property
    def dtype(self) -> np.dtype[Any]: return self.data.dtype
    @property
    def version(self) -> int: return self.writes[0] if self.writes else 0

    # ---- the operators: each is one primitive
    def __add__(self, other: Any) -> Tensor: return ops.add(self, other)
    def __radd__(self, other: Any) -> Tensor: return ops.add(other, self)
    def __sub__(self, other: Any) -> Tensor: return ops.sub(self, other)
    def __rsub__(self, other: Any) -> Tensor: return ops.sub(other, self)
    def __mul__(self, other: Any) -> Tensor: return ops.mul(self, other)
    def __rmul__(self, other: Any) -> Tensor: return ops.mul(other, self)
    def __truediv__(self, other: Any) -> Tensor: return ops.div(self, other)
    def __rtruediv__(self, other: Any) -> Tensor: return ops.div(other, self)
    def __pow__(self, exponent: Any) -> Tensor: return ops.power(self, exponent)
    def __rpow__(self, base: Any) -> Tensor: return ops.power(base, self)
    def __matmul__(self, other: Any) -> Tensor: return ops.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Tensor: return ops.matmul(other, self)
    def __neg__(self) -> Tensor: return ops.neg(self)
    # fmt: on

    if TYPE_CHECKING:  # `backward.py` puts backward here, `numpy_protocol` the methods of arrays: sum, reshape, T...

        def backward(self, gradient: Any = None) -> None: ...
        def __getattr__(self, name: str) -> Any: ...


def array_of(x: Any) -> Array:
    """The array of a tensor, or of anything else that NumPy makes an array of."""
    return x.data if isinstance(x, Tensor) else np.asarray(x)


# ---- what a call means


def call(op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any], run: Callable[..., Any] | None = None) -> Any:
    """The ordinary meaning of a call: compute on arrays, and note how the result was made if a gradient is wanted."""
    arrays = []
    on_tensors = tracked = False
    for x in inputs:
        if isinstance(x, Tensor):
            on_tensors = True
            if x.requires_grad:
                tracked = True
            x = x.data
            if x.ndim == 0:
                x = x[()]  # NumPy computes with its scalars several times faster than with arrays of one number
        elif not isinstance(x, (np.ndarray, np.generic, float, int)):
            return op(*_without_lists(op, inputs), **params)
        arrays.append(x)
    run = run or op.run
    out = run(*arrays, **params) if params else run(*arrays)
    if not on_tensors:
        return out
    result = _new(Tensor)
    if type(out) is not np.ndarray:  # NumPy makes scalars of 0-d arrays
        out = errors_module().plain(out) if isinstance(out, np.ndarray) else np.asarray(out)
    result.data = out
    result.serial = next_serial()
    result.grad = result.name = result.note = result.writes = None
    if out.base is not None or out is arrays[0]:  # a view
        result.writes = next((writes_to(x) for x in inputs if isinstance(x, Tensor) and _shared(x.data, out)), None)
    kind = out.dtype.kind
    if tracked and kind == "f" and interpreter.get().recording and (not op.has_constants or op.depends_on(inputs)):
        result.requires_grad, result.op, result.inputs = True, op, inputs
        result.arrays = tuple(arrays)
        result.rules = op.rules
        result.params = {**op.defaults, **params} if params else op.defaults
    elif kind not in "fiub" or (tracked and kind != "f" and any(map(_no_longer_floating, inputs))):
        raise errors_module().no_result(op, inputs, out)
    else:
        result.requires_grad, result.op, result.params = False, None, _NO_PARAMS
        result.inputs = result.arrays = result.rules = ()
    return result


_new, _shared = object.__new__, np.may_share_memory


def _no_longer_floating(x: Any) -> bool:  # somebody has put an array of integers into its .data
    return isinstance(x, Tensor) and x.requires_grad and x.data.dtype.kind != "f"


def writes_to(x: Tensor) -> list[Any]:
    """What all tensors of the same memory keep: when it was last written to, and whose it is."""
    x.writes = x.writes or [0, ref(x)]
    return x.writes


def _without_lists(op: Primitive, inputs: tuple[Any, ...]) -> Iterable[Any]:
    """Lists and a DataFrame's columns as arrays; but `concatenate([a, b])` is `concatenate(a, b)`, as NumPy's is."""
    if op.starred and len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
        return inputs[0]
    return (x if isinstance(x, (Tensor, np.ndarray, np.generic, float, int)) else np.asarray(x) for x in inputs)


class Interpreter:
    """What a call means, a walk back, and the effects that are no calls. It is replaced, never changed."""

    __slots__ = ("call", "draw", "numbers", "read", "recording", "walk", "write")
    call: Callable[..., Any]
    walk: Callable[..., Any]  # backward.py
    read: Callable[..., Any]  # variable.py, as the other three
    write: Callable[..., Any]
    draw: Callable[..., Any]
    numbers: Callable[..., Any]
    recording: bool  # whether results keep how they were made; `no_grad` switches it off

    def attach(self, **effects: Callable[..., Any]) -> None:
        """Put an interpreter around each of these effects (`call=f` for `f(inner, op, inputs, params)`)."""
        for name, by in effects.items():
            setattr(self, name, partial(by, getattr(self, name)))


EAGER = Interpreter()
EAGER.call, EAGER.recording = call, True
interpreter: ContextVar[Interpreter] = ContextVar("interpreter", default=EAGER)  # each thread has its own
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: interpreter.set(EAGER))


@contextmanager
def interpreted(
    call: Callable[..., Any] | None = None, recording: bool | None = None, **effects: Callable[..., Any]
) -> Iterator[None]:
    """Inside, `call(inner, op, inputs, params)` is asked instead of `inner(op, inputs, params)`. Interpreters stack.

    effects: the same for `read`, `write`, `draw`, `numbers` and `walk`, as in `write=f` for `f(inner, variable, new)`.

    >>> def show(inner, op, inputs, params): print(op.name); return inner(op, inputs, params)
    >>> with interpreted(show): y = Tensor(2.0) * 3.0
    mul
    """
    outer, inside = interpreter.get(), Interpreter()
    for name in Interpreter.__slots__:  # ten times as fast as copy.copy
        setattr(inside, name, getattr(outer, name))
    inside.attach(**({"call": call} if call else {}), **effects)
    inside.recording = outer.recording if recording is None else recording
    interpreter.set(inside)
    try:
        yield
    finally:
        interpreter.set(outer)


REGISTRY: dict[str, Primitive] = {}


class Primitive:
    """One operation: a body that computes it, and for each input a rule that pulls a gradient back through it.

    body: `f(a, b, *, axis=None)`; positional arguments are values, keyword-only ones are static parameters. A starred
    argument (`*arrays`) stands for any number of inputs, and its rule is told which one by `position=`.
    broadcasts: a share of the gradient may be summed back to the input's shape.
    `run` computes it on arrays: the body, or a kernel that somebody has put in its place.
    Make one with `@primitive`; examples/06_your_own_primitive.py shows how.
    """

    def __init__(self, body: Callable[..., Any], broadcasts: bool = False) -> None:
        if not inspect.isfunction(body):
            raise TypeError(f"primitive: {body!r} is no function written in Python; wrap it: def name(x): return ...")
        self.name, self.body, self.broadcasts = body.__name__, body, broadcasts
        self.run: Callable[..., Any] = body
        self.__doc__, self.__wrapped__, self.__module__ = body.__doc__, body, body.__module__
        if body.__defaults__:
            raise TypeError(f"primitive {self.name}: values have no defaults; a static parameter has: (x, *, k=3)")
        ours, older = (__package__ or "") + ".", REGISTRY.get(self.name)
        if older is not None and older.body.__module__.startswith(ours) and not body.__module__.startswith(ours):
            raise ValueError(f"primitive {self.name}: tinygrad_ce has one of this name; choose another")
        self.arguments, self.starred = _arguments_of(body)
        self.defaults: dict[str, Any] = dict(body.__kwdefaults__ or {})
        rules = [partial(_missing, self, argument) for argument in self.arguments]
        self.rules: Any = _Repeated(rules) if self.starred else rules
        self.has_constants = False
        self.domains: list[tuple[str, str, str, str]] = []  # what `domain` was told
        REGISTRY[self.name] = self

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        for value in params.values() if params else ():
            if isinstance(value, (Tensor, np.ndarray)):
                raise errors_module().not_static(self, params)
        try:
            return interpreter.get().call(self, inputs, params)  # THE SEAM
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            raise errors_module().explained(error, self, inputs) from error

    def vjp(self, argument: str) -> Callable[[Rule], Rule]:
        """Register the rule of one argument: `rule(g, out, *inputs, **params)` returns g times d out / d argument."""
        position = self._position(argument)

        def register(rule: Rule) -> Rule:
            if _arguments_of(rule) != (("g", "out", *self.arguments), self.starred):
                raise errors_module().wrong_arguments(rule, self)
            self.rules[position] = rule
            return rule

        return register

    def constant_in(self, *arguments: str) -> None:
        """Say aloud that these arguments have no gradient (labels, masks, indices)."""
        for argument in arguments:
            self.rules[self._position(argument)] = None
        self.has_constants = True

    def domain(self, condition: str, cure: str = "", slope: str = "", words: str = "") -> None:
        """Declare where it is defined (`"x >= 0"`), where its slope is finite (`"x > 0"`), a cure, and words for it."""
        self.domains.append((condition, cure, slope or condition, words))

    def depends_on(self, inputs: tuple[Any, ...]) -> bool:
        """Whether a gradient flows to any of these inputs; the rules of starred arguments have no end."""
        return any(r and isinstance(x, Tensor) and x.requires_grad for x, r in zip(inputs, self.rules))  # noqa: B905

    def rule(self, position: int) -> Any:
        """The rule of the input at this position; None where it is declared to have no gradient."""
        return next(itertools.islice(self.rules, position, None))

    def argument(self, position: int) -> str:
        """What the input at this position is called."""
        return self.arguments[min(position, len(self.arguments) - 1)]

    def _position(self, argument: str) -> int:
        if argument not in self.arguments:
            raise ValueError(f"{self.name} has no argument `{argument}`; it has {', '.join(self.arguments)}")
        return self.arguments.index(argument)


def primitive(body: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Make a Primitive of a function, its body: `@primitive`, or with options `@primitive(broadcasts=True)`."""
    return partial(Primitive, **options) if body is None else Primitive(body, **options)


class _Repeated(list[Any]):
    """The rules of a primitive with a starred argument: the last one serves all further inputs."""

    def __iter__(self) -> Iterator[Any]:
        yield from self[:-1]
        for position in itertools.count(len(self) - 1):
            yield None if self[-1] is None else partial(self[-1], position=position)


def _arguments_of(function: Callable[..., Any]) -> tuple[tuple[str, ...], str | None]:
    """The names of the positional arguments, and that of the starred one (the last of them) if there is one."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    if not code.co_flags & inspect.CO_VARARGS:
        return names, None
    starred = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
    return (*names, starred), starred


def _missing(op: Primitive, argument: str, *_: Any, **__: Any) -> NoReturn:
    """Stands where nobody wrote a rule."""
    raise errors_module().missing_rule(op, argument)


def errors_module() -> Any:
    """The words for what went wrong, which are needed only after it has."""
    from tinygrad_ce import errors

    return errors


from tinygrad_ce import ops  # noqa: E402  (the operators above call the primitives, which are made with this file)
