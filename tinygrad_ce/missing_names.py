"""A name or keyword that is not here, but in another framework, is answered with ours; nothing here runs before that.

The answer is an AttributeError or TypeError as Python's own, so `hasattr` stays False; only its text is longer, and is
made when somebody reads it. Modules answer by `__getattr__`. Classes have a descriptor for each foreign name instead:
a class with `__getattr__` makes every other attribute of its objects slower to read, a step of training by an eighth.
For the same reason the module `ops` does not answer, whose functions every operator looks up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import wraps
from inspect import Parameter, getattr_static, isfunction, signature
from types import FrameType, ModuleType
from typing import Any, NoReturn

from tinygrad_ce.lecture_names import CURES, KEYWORDS

PLACES = ("nn", "losses", "optim", "ops", "data")


class MissingNameError(AttributeError):
    """An attribute that is not here: `kind` of place (a module, a class), what it calls itself, and the name."""

    def __init__(self, kind: str, label: str, missing: str) -> None:
        super().__init__(kind, label, missing)

    def __str__(self) -> str:
        kind, label, missing = self.args
        cure = cure_for(kind, missing)
        return f"{label} has no attribute {missing!r}" + (f": {cure}" if cure else "")


def cure_for(kind: str, missing: str) -> str:
    """What to type instead; empty where nobody knows."""
    package = sys.modules["tinygrad_ce"]
    cures = CURES.get(kind, {})
    if missing in cures:
        return cures[missing]
    homes = {place: public_names(getattr(package, place)) for place in PLACES}
    if kind == "Tensor" and missing in homes["ops"]:
        return f"write tg.ops.{missing}(t)"
    if kind not in sys.modules:
        return ""
    own = public_names(sys.modules[kind])
    everywhere = {name: f"tg.{place}.{name}" for place in PLACES for name in homes[place]}
    everywhere |= {name: f"tg.{name}" for name in package.__all__}
    if missing in everywhere:
        return f"it is {everywhere[missing]}"
    prefix = kind.replace("tinygrad_ce", "tg", 1)
    return _near(missing, {name: f"{prefix}.{name}" for name in own}, cures) or _near(missing, everywhere, {}, 0.75)


def _near(missing: str, names: dict[str, str], cures: dict[str, str], likeness: float = 0.6) -> str:
    """The answer for a word that is nearly one of these names, or nearly one of another framework."""
    near = [name for name in names if name.lower() == missing.lower()] or get_close_matches(missing, names, 1, likeness)
    if near:
        return f"did you mean {names[near[0]]}?"
    near = [name for name in cures if name.lower() == missing.lower()] or get_close_matches(missing, cures, 1, 0.75)
    return cures[near[0]] if near else ""


def public_names(module: ModuleType) -> list[str]:
    """What a module of ours offers: `__all__`, or what was made in it."""
    return list(
        getattr(module, "__all__", None)
        or [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and (getattr(value, "__module__", "") or "").startswith("tinygrad_ce")
        ]
    )


def attach(modules: Iterable[ModuleType], classes: Sequence[type], calls: Iterable[tuple[type, str]]) -> None:
    """Let these modules and classes answer for a name that they lack, and these methods for a keyword."""
    for module in modules:
        vars(module)["__getattr__"] = _of_module(module.__name__)
    for cls in classes:
        names = {*CURES[cls.__name__], *(sys.modules["tinygrad_ce"].ops.__all__ if cls.__name__ == "Tensor" else ())}
        for name in names.difference(dir(cls)):
            setattr(cls, name, _ForeignName(cls.__name__, name))
        cls.__dir__ = _names_that_are_there  # type: ignore[method-assign, assignment]
    for cls, method in calls:
        if cls not in classes and getattr_static(cls, method) is object.__init__:  # a layer such as ReLU
            setattr(cls, method, _without_settings(cls.__name__))
        elif isfunction(vars(cls).get(method)):
            setattr(cls, method, answering(vars(cls)[method], cls.__name__ if method == "__init__" else method))


def _without_settings(label: str) -> Callable[..., None]:
    """The `__init__` of a layer that takes nothing."""

    def __init__(self: Any) -> None:
        """There is nothing to be set."""

    return answering(__init__, label)


def _of_module(kind: str) -> Callable[[str], Any]:
    def __getattr__(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {kind!r} has no attribute {name!r}")
        raise missing_of_module(kind, name, sys._getframe(1))

    return __getattr__


def missing_of_module(kind: str, name: str, caller: FrameType) -> AttributeError | ImportError:
    """The error for a name that a module lacks. Of `from tinygrad_ce.nn import Linear`, an ImportError."""
    from opcode import opmap

    if caller.f_lasti >= 0 and caller.f_code.co_code[caller.f_lasti] == opmap["IMPORT_FROM"]:
        cure = cure_for(kind, name)
        return ImportError(f"cannot import name {name!r} from {kind!r}" + (f": {cure}" if cure else ""), name=name)
    return MissingNameError(kind, f"module {kind!r}", name)


class _ForeignName:
    """Stands in a class for a name that other frameworks have. An attribute of that name in an object goes first."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name

    def __get__(self, owner: Any, cls: type) -> NoReturn:
        raise MissingNameError(self.kind, f"{cls.__name__!r} object", self.name)


def _names_that_are_there(self: Any) -> list[str]:
    """What `dir` and the completion of an editor show: no foreign names."""
    names = object.__dir__(self)
    return [name for name in names if type(getattr_static(self, name, None)) is not _ForeignName]


# ---- keywords


def answering(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    """The same function; for a keyword that it does not have, its TypeError says what the keyword is called here."""

    @wraps(function)
    def call(*inputs: Any, **options: Any) -> Any:
        try:
            return function(*inputs, **options)
        except TypeError as error:
            unknown = [name for name in options if name not in signature(function).parameters]
            here = error.__traceback__
            if not unknown or here is None or here.tb_next is not None:  # raised inside of the function
                raise
            raise unknown_keyword(label, function, unknown[0]) from None

    return call


def unknown_keyword(label: str, function: Callable[..., Any], keyword: str) -> TypeError:
    """The error for a keyword that a function does not have: what it is called here, and all that there are."""
    parameters = [
        p
        for p in signature(function).parameters.values()
        if p.name not in ("self", "of") and p.kind is not Parameter.VAR_KEYWORD
    ]
    return TypeError(
        f"{label}: there is no {keyword}={_cure_for_keyword(keyword, [p.name for p in parameters])}; it takes "
        f"({', '.join(map(_as_written, parameters))})"
    )


def _cure_for_keyword(keyword: str, names: Sequence[str]) -> str:
    ours = KEYWORDS.get(keyword, "")
    if ours.startswith("("):
        return f" {ours}"
    near = [ours] if ours in names else get_close_matches(keyword, names, 1)
    return f", write {near[0]}=" if near else ""


def _as_written(parameter: Parameter) -> str:
    name = f"*{parameter.name}" if parameter.kind is Parameter.VAR_POSITIONAL else parameter.name
    return name if parameter.default is Parameter.empty else f"{name}={parameter.default!r}"
