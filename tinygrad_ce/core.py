"""A Tensor is an array and how it was made; a Primitive is a forward and one derivative rule for each input.

Read this file first, then `ops/`, then `backward.py`: together they are the whole of backpropagation.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from tinygrad_ce.lines import Place, calls, place
from tinygrad_ce.tape import recording

Array: TypeAlias = npt.NDArray[Any]
Rule: TypeAlias = Callable[..., Any]


_next_number = itertools.count(1).__next__
_NO_PARAMS: Mapping[str, Any] = {}


def array_of(x: Any) -> Array:
    """The array of a tensor, or of anything else that NumPy makes an array of."""
    array: Array = x.data if isinstance(x, Tensor) else np.asarray(x)
    return array


def plain(x: Any) -> Any:
    """The array of a tensor; while a program is written the tensor itself, so that it is heard what becomes of it."""
    return x.data if isinstance(x, Tensor) and recording.listener is None else x


# What np.exp(t), np.sum(t)... run on a Tensor. `numpy_protocol.py` fills both tables.
NUMPY_UFUNCS: dict[Any, Callable[..., Any]] = {}
NUMPY_FUNCTIONS: dict[Any, Callable[..., Any]] = {}


class Tensor:
    """An array, the operation and the inputs that made it, and (after `backward`) its gradient.

    data: anything `np.asarray` takes; numbers or booleans. A tensor that asks for gradients owns a copy of it, because
    an optimizer will write there; any other tensor shares the memory.
    requires_grad: whether gradients are wanted here. Only floating-point data may ask.
    name: shown in errors, pictures and printed programs.
    Raises TypeError for data that are no numbers, and for integers that ask for gradients.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward(); x.grad
    array([2., 4.])
    """

    __slots__ = (
        *("__weakref__", "data", "edges", "grad", "inputs", "name", "number"),
        *("op", "params", "place", "ready", "requires_grad", "values"),
    )

    data: Array
    grad: Array | None
    requires_grad: bool
    name: str | None
    op: Primitive | None  # None for a leaf: a tensor that the user made
    inputs: tuple[Any, ...]  # what `op` was called with: tensors, arrays, Python numbers
    values: Sequence[Any]  # the same, with the array of each tensor: what the rules will see
    edges: Sequence[tuple[Tensor, int]]  # the inputs that want a gradient, each with its position
    params: Mapping[str, Any]  # its static parameters
    ready: Array | None  # the gradient of the first input for upstream 1, where the kernel has computed it on its way
    place: Place | None  # which line of the user's code made it, and inside which modules (see lines.py)
    number: int  # tensors are numbered as they are born, so every input is older than its output

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
        self.grad = self.op = self.place = self.ready = None
        self.requires_grad = requires_grad
        self.name = name
        self.inputs = self.values = self.edges = ()
        self.params = _NO_PARAMS
        self.number = _next_number()

    # ---- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def label(self) -> str:
        """The name, or the number where there is no name: what errors and pictures call this tensor."""
        return self.name or f"#{self.number}"

    def __repr__(self) -> str:
        array = np.array2string(self.data, separator=", ", prefix="Tensor(", threshold=100)
        dtype = "" if self.dtype == np.float64 else f", dtype={self.dtype}"
        wanted = ", requires_grad=True" if self.op is None and self.requires_grad else ""
        made = f", {written(self.op, self.inputs)}" if self.op is not None else ""
        name = f", name={self.name!r}" if self.name else ""
        return f"Tensor({array}{dtype}{wanted}{made}{name})"

    def named(self, name: str) -> Tensor:
        """Give this tensor a name and return it, so that it can be written inside an expression."""
        self.name = name
        return self

    # ---- leaving the graph

    def detach(self) -> Tensor:
        """The same data without history: gradients do not flow through it."""
        return Tensor(self.data)

    def numpy(self) -> Array:
        """The array itself, not a copy."""
        return self.data

    def item(self) -> float | int | bool:
        """The only element as a Python number. ValueError if there are more, or none."""
        if self.size != 1:
            raise ValueError(f"item() needs exactly one element; {self.label} has shape {self.shape}")
        if recording.listener is not None:
            recording.listener.refuse(self, "`if`, float() and item() need")
        return self.data.item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of {self.size} elements is ambiguous ({self.label} has shape {self.shape}): "
                "use (t > 0).all() on t.data, or where(t > 0, ..., ...) to choose element by element"
            )
        return bool(self.item())

    def __format__(self, form: str) -> str:
        return format(self.item(), form) if form else str(self)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError(f"{self.label} is a single number (shape ()) and has no length")
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.requires_grad:
            raise TypeError(
                f"turning {self.label} into an array would lose its gradient: write {self.name or 't'}.data if that "
                "is what you want, or use a function of tinygrad_ce.ops"
            )
        if recording.listener is not None:
            recording.listener.refuse(self, "a NumPy array needs")
        return np.array(self.data, dtype=dtype, copy=copy)

    def __reduce__(self) -> Any:  # copy.deepcopy and pickle: a new tensor, with a number of its own
        if self.op is not None:
            raise TypeError(f"{self.label} has a history and cannot be copied or pickled: use .detach() first")
        return Tensor, (self.data.copy(), self.requires_grad, self.name)

    # ---- gradients

    def backward(self, gradient: Any = None) -> None:
        """Fill `.grad` of every tensor that this one was made from; see `tinygrad_ce.backward.backward`."""
        from tinygrad_ce.backward import backward  # the walk stands one floor above

        backward(self, gradient)

    # fmt: off
    # ---- NumPy's operators and methods: each is one primitive

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
    def __pos__(self) -> Tensor: return self
    def __abs__(self) -> Tensor: return ops.absolute(self)

    def __gt__(self, other: Any) -> Tensor: return ops.greater(self, other)
    def __ge__(self, other: Any) -> Tensor: return ops.greater_equal(self, other)
    def __lt__(self, other: Any) -> Tensor: return ops.less(self, other)
    def __le__(self, other: Any) -> Tensor: return ops.less_equal(self, other)
    def __eq__(self, other: Any) -> Tensor: return ops.equal(self, other)  # type: ignore[override]
    def __ne__(self, other: Any) -> Tensor: return ops.not_equal(self, other)  # type: ignore[override]
    __hash__ = object.__hash__
    def __invert__(self) -> Tensor: return ops.logical_not(_mask(self))
    def __and__(self, other: Any) -> Tensor: return ops.logical_and(_mask(self), _mask(other))
    def __or__(self, other: Any) -> Tensor: return ops.logical_or(_mask(self), _mask(other))
    def __rand__(self, other: Any) -> Tensor: return ops.logical_and(_mask(other), _mask(self))
    def __ror__(self, other: Any) -> Tensor: return ops.logical_or(_mask(other), _mask(self))

    def exp(self) -> Tensor: return ops.exp(self)
    def log(self) -> Tensor: return ops.log(self)
    def sqrt(self) -> Tensor: return ops.sqrt(self)
    def tanh(self) -> Tensor: return ops.tanh(self)
    def sigmoid(self) -> Tensor: return ops.sigmoid(self)
    def relu(self) -> Tensor: return ops.relu(self)
    def astype(self, dtype: Any) -> Tensor: return ops.astype(self, dtype=np.dtype(dtype))
    def squeeze(self, axis: Any = None) -> Tensor: return ops.squeeze(self, axis=axis)
    def argmax(self, axis: int | None = None) -> Tensor: return ops.argmax(self, axis=axis)

    @property
    def T(self) -> Tensor: return ops.transpose(self)
    @property
    def mT(self) -> Tensor: return ops.swapaxes(self, -1, -2)
    # fmt: on

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops.reduce_sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops.reduce_mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops.reduce_max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops.reduce_min(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        return ops.variance(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        return ops.reshape(self, shape=shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        return ops.transpose(self, axes=axes[0] if len(axes) == 1 else axes or None)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.index(self, index)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(
            f"{self.label} is part of a graph, and backward will need the values it has now, so it cannot be written "
            "to: build a new tensor with where(mask, new, t) or concatenate(...); to fill a leaf before use, write "
            "to t.data[...]"
        )

    # ---- NumPy's own functions, called on a Tensor

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        function = NUMPY_UFUNCS.get(ufunc)
        name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        if function is None or method != "__call__":
            raise TypeError(_no_rule(name))
        if options:
            raise TypeError(f"{name} of a Tensor takes no {', '.join(options)}: a tensor is never written to in place")
        return function(*inputs)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        ours = NUMPY_FUNCTIONS.get(function)
        if ours is None:
            raise TypeError(_no_rule(f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)))
        return ours(*inputs, **options)


def _mask(value: Any) -> Any:
    if np.asarray(value.data if isinstance(value, Tensor) else value).dtype != bool:
        raise TypeError(
            f"&, | and ~ combine masks, as in (t > 0) & (t < 1), and {_shown(value)} is no mask of booleans"
        )
    return value


def _no_rule(name: str) -> str:
    return (
        f"{name} has no derivative rule here: use one of tinygrad_ce.ops ({len(REGISTRY)} primitives), write your own "
        "with @primitive (examples/06_your_own_primitive.py), or call it on t.data if no gradient is wanted"
    )


def written(op: Primitive, inputs: tuple[Any, ...]) -> str:
    """How a call is written in errors and pictures: `matmul(#11, layers.0.W)`."""
    return f"{op.name}({', '.join(_shown(value) for value in inputs)})"


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return value.label
    return f"array{np.shape(value)}" if np.ndim(value) else repr(value)


def constant(*_: Any, **__: Any) -> NoReturn:
    """Stands where an argument was declared to have no gradient: known to the walk, never called."""
    raise AssertionError("the walk goes around constant arguments")


def _missing(op: Primitive, argument: str, *_: Any, **__: Any) -> NoReturn:
    """Stands where nobody wrote a rule."""
    raise NotImplementedError(
        f"{op.name} has no derivative rule for `{argument}`: write @{op.name}.vjp({argument!r}), "
        f"or declare {op.name}.constant_in({argument!r})"
    )


REGISTRY: dict[str, Primitive] = {}
_NOT_PLAIN = (Tensor, list, tuple)


class Primitive:
    """One operation: a body that computes it, and for each input a rule that pulls a gradient back through it.

    body: `f(a, b, *, axis=None)`; positional arguments are values, keyword-only ones are static parameters. A starred
    argument (`*arrays`) stands for any number of inputs, and its rule is told which one by `position=`.
    broadcasts: a share of the gradient may be summed back to the input's shape.
    kernel: the name of a Numba loop in `kernels.py` that computes the same on arrays.
    kernel_from: how many elements the first array has at least, for the loop to be worth its compilation.
    with_gradient: the name of a loop that computes a reduced value and the gradient of the first input in one go. The
    first `backward()` on arrays takes that gradient, times what is upstream; the rule remains its definition.
    keeps_place: its results remember the line of the user's code that asked for them, for a later warning.

    Make one with `@primitive`; examples/06_your_own_primitive.py shows how.
    """

    def __init__(
        self,
        body: Callable[..., Any],
        broadcasts: bool = False,
        kernel: str | None = None,
        kernel_from: int = 0,
        with_gradient: str | None = None,
        keeps_place: bool = False,
    ) -> None:
        self.name = getattr(body, "__name__", repr(body))
        self.body = body
        self.broadcasts = broadcasts
        self.kernel = kernel
        self.kernel_from = kernel_from
        self.with_gradient = with_gradient
        self.together: Callable[..., Any] | None = None if with_gradient is None else self._first_call_together
        self.keeps_place = keeps_place
        self.compute: Callable[..., Any] = body if kernel is None else self._first_call
        self.__doc__ = body.__doc__
        self.__wrapped__ = body
        if not inspect.isfunction(body):
            raise TypeError(f"primitive: {body!r} is no function written in Python; wrap it: def name(x): return ...")
        if body.__defaults__:
            raise TypeError(f"primitive {self.name}: values have no defaults; a static parameter has: (x, *, k=3)")
        ours = (__package__ or "") + "."
        older = REGISTRY.get(self.name)
        if older is not None and older.body.__module__.startswith(ours) and not body.__module__.startswith(ours):
            raise ValueError(f"primitive {self.name}: tinygrad_ce has one of this name; choose another")
        code = body.__code__
        self.arguments = code.co_varnames[: code.co_argcount]
        self.starred: str | None = None
        if code.co_flags & inspect.CO_VARARGS:
            self.starred = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
            self.arguments += (self.starred,)
        self.defaults: dict[str, Any] = dict(body.__kwdefaults__ or {})
        self.rules: list[Rule] = [partial(_missing, self, argument) for argument in self.arguments]
        self.has_constants = False
        self.diagnosis: Callable[..., str | None] | None = None
        REGISTRY[self.name] = self

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        if params:
            self._refuse_arrays(params)
        if self.starred is not None and len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
            inputs = tuple(inputs[0])  # as NumPy's concatenate and stack are called
        try:
            for value in inputs:
                if isinstance(value, _NOT_PLAIN):
                    break
            else:  # only arrays and numbers: nothing to record
                return self.compute(*inputs, **params)
            values = []
            edges = []
            for position, value in enumerate(inputs):
                if isinstance(value, Tensor):
                    if value.requires_grad and not (self.has_constants and self.rule(position) is constant):
                        edges.append((value, position))
                    value = value.data
                elif isinstance(value, (list, tuple)):
                    break
                values.append(value)
            else:
                if recording.listener is not None:  # it hears primitives; no kernel needs to be compiled for that
                    return self._recorded(self.body(*values, **params), inputs, values, edges, params)
                if self.together is not None and edges and edges[0][1] == 0 and recording.enabled:
                    both = self.together(*values, **params)
                    if both is not NotImplemented:
                        result = self._recorded(both[0], inputs, values, edges, params)
                        result.ready = both[1]
                        return result
                return self._recorded(self.compute(*values, **params), inputs, values, edges, params)
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            raise self._explained(error, inputs) from error
        return self(*(np.asarray(v) if isinstance(v, (list, tuple)) else v for v in inputs), **params)

    def _recorded(
        self,
        data: Any,
        inputs: tuple[Any, ...],
        values: Sequence[Any],
        edges: Sequence[tuple[Tensor, int]],
        params: Mapping[str, Any],
    ) -> Tensor:
        """The result as a Tensor; with its history, if an input wants a gradient and the result can have one."""
        result = Tensor.__new__(Tensor)
        result.data = data if type(data) is np.ndarray else np.asarray(data)  # NumPy makes scalars of 0-d arrays
        result.number = _next_number()
        result.grad = result.name = result.place = result.ready = None
        kind = result.data.dtype.kind
        if kind not in "fiub":
            raise TypeError(f"{self.name}: the result has dtype {result.data.dtype}, and tensors hold real numbers")
        if edges and recording.enabled and kind == "f":
            result.requires_grad = True
            result.op = self
            result.inputs = inputs
            result.values = values
            result.edges = edges
            result.params = {**self.defaults, **params} if params else self.defaults
            inner = calls.inner
            if inner and inner[2]:
                result.place = inner
            elif inner is not None or self.keeps_place:
                result.place = place()
        else:
            result.requires_grad = False
            result.op = None
            result.inputs = result.values = result.edges = ()
            result.params = _NO_PARAMS
        if recording.listener is not None:
            recording.listener.called(self, inputs, params, result)
        return result

    def vjp(self, argument: str) -> Callable[[Rule], Rule]:
        """Register the rule of one argument: `rule(g, out, *inputs, **params)` returns g times d out / d argument."""
        position = self._position(argument)

        def register(rule: Rule) -> Rule:
            code = rule.__code__
            given = code.co_varnames[: code.co_argcount]
            if code.co_flags & inspect.CO_VARARGS:
                given += ("*" + code.co_varnames[code.co_argcount + code.co_kwonlyargcount],)
            starred = () if self.starred is None else ("*" + self.starred,)
            expected = ("g", "out", *self.arguments[: len(self.arguments) - len(starred)], *starred)
            if given != expected:
                raise TypeError(
                    f"the rule {rule.__name__} of {self.name} takes ({', '.join(given)}), "
                    f"and must take ({', '.join(expected)})"
                )
            self.rules[position] = rule
            return rule

        return register

    def constant_in(self, *arguments: str) -> None:
        """Say aloud that these arguments have no gradient (labels, masks, indices)."""
        for argument in arguments:
            self.rules[self._position(argument)] = constant
        self.has_constants = True

    def diagnose(self, function: Callable[..., str | None]) -> Callable[..., str | None]:
        """Register a function of the inputs that says in words why the body refused them (or None if it can't tell)."""
        self.diagnosis = function
        return function

    def rule(self, position: int) -> Rule:
        """The rule of the input at this position; those of `*arrays` share one, and it is told which is meant."""
        if self.starred is None or position < len(self.rules) - 1:
            return self.rules[position]
        shared = self.rules[-1]
        return shared if shared is constant else partial(shared, position=position)

    def argument(self, position: int) -> str:
        """What the input at this position is called."""
        return self.arguments[min(position, len(self.arguments) - 1)]

    def _position(self, argument: str) -> int:
        if argument not in self.arguments:
            raise ValueError(f"{self.name} has no argument `{argument}`; it has {', '.join(self.arguments)}")
        return self.arguments.index(argument)

    def _refuse_arrays(self, params: dict[str, Any]) -> None:
        for name, value in params.items():
            if isinstance(value, (Tensor, np.ndarray)):
                if name in self.arguments:
                    raise TypeError(f"{self.name}: {name} is a value; pass it by its position, without {name}=")
                raise TypeError(
                    f"{self.name}: {name}= is a static parameter (it is printed as a literal) and cannot be "
                    f"{'a Tensor' if isinstance(value, Tensor) else 'an array'}; pass a Python value"
                )

    def _explained(self, error: Exception, inputs: tuple[Any, ...]) -> Exception:
        """The same kind of error, saying what happened, on which op and arguments, with which shapes."""
        values = [value.data if isinstance(value, Tensor) else value for value in inputs]
        reason = None
        if self.diagnosis is not None:
            reason = self.diagnosis(*values)
        if reason is None:
            names = [*self.arguments[: len(values)]]
            if self.starred:
                names = [*self.arguments[:-1], *(f"{self.starred}[{i}]" for i in range(len(values)))]
            shapes = [f"{n} has shape {np.shape(v)}" for n, v in zip(names, values, strict=False) if np.ndim(v)]
            reason = "; ".join([" and ".join(shapes), str(error)] if shapes else [str(error)])
        kind = next(kind for kind in (TypeError, IndexError, AttributeError, ValueError) if isinstance(error, kind))
        start = "" if reason.startswith(f"{self.name}: ") else f"{self.name}: "
        return kind(f"{start}{reason} ({written(self, inputs)})")

    def _first_call(self, *values: Any, **params: Any) -> Any:
        """Numba costs a fifth of a second to import, so the kernel is looked up when it is first needed."""
        if getattr(values[0], "size", 1) < self.kernel_from:
            return self.body(*values, **params)
        from tinygrad_ce import kernels

        assert self.kernel is not None
        self.compute = kernels.lookup(self.kernel, self.body, self.kernel_from)
        return self.compute(*values, **params)

    def _first_call_together(self, *values: Any, **params: Any) -> Any:
        from tinygrad_ce import kernels

        assert self.with_gradient is not None
        self.together = kernels.lookup(self.with_gradient, lambda *_, **__: NotImplemented)
        return self.together(*values, **params)


def primitive(body: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Make a Primitive of a function: `@primitive`, or with options `@primitive(broadcasts=True, kernel="name")`."""
    if body is None:
        return lambda function: Primitive(function, **options)
    return Primitive(body, **options)


from tinygrad_ce import ops  # noqa: E402  (the operators above call the primitives, which are made with this file)
