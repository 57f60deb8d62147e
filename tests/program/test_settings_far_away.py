"""A compiled step notices a number that changes wherever it stands: in classes, methods, nested objects, containers."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.program.effects import models_of, parameters_of

X = np.array([[1.0, 2.0, 3.0]])  # of sum 6
FACTOR = 1.0


def scaled(x):
    return x * FACTOR


def optional(x, options={"factor": 1.0}):  # noqa: B006
    return (x * options["factor"]).sum()


def with_attribute(x):
    return (x * with_attribute.factor).sum()


with_attribute.factor = 1.0


class Options:
    factor = 1.0


class SubOptions(Options):
    pass


class Slotted:
    __slots__ = ("factor",)

    def __init__(self):
        self.factor = 1.0


@dataclass
class Inner:
    factor: float = 1.0


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)


class Gate(tg.nn.Module):
    factor = 1.0

    def forward(self, x):
        return self.gate(x)

    def gate(self, x):
        return x * FACTOR * self.factor


class SubGate(Gate):
    def forward(self, x):
        return super().forward(x)


class Activation(tg.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Task:
    @property
    def factor(self):
        return FACTOR

    @staticmethod
    def plain(x):
        return x * FACTOR

    @classmethod
    def of_class(cls, x):
        return x * FACTOR

    def by_method(self, x):
        return self.plain(x).sum()

    def __call__(self, x):
        return (x * self.factor).sum()


@lru_cache
def remembered(shape):
    return np.ones(shape).sum() / 3 * FACTOR


functions, functions_by_name = [scaled], {"scaled": scaled}
gate, sub_gate, activation, task = Gate(), SubGate(), Activation(lambda x: x * FACTOR), Task()


@pytest.mark.parametrize(
    "step",
    [
        lambda x: gate(x).sum(),
        lambda x: sub_gate(x).sum(),
        lambda x: activation(x).sum(),
        lambda x: functions[0](x).sum(),
        lambda x: functions_by_name["scaled"](x).sum(),
        lambda x: Task.plain(x).sum(),
        lambda x: Task.of_class(x).sum(),
        task.by_method,
        task,
        lambda x: task.of_class(x).sum(),
    ],
)
def test_a_global_number_of_code_that_the_step_reaches(step, monkeypatch):
    compiled = tg.compile(step)
    assert compiled(X) == 6.0
    monkeypatch.setitem(globals(), "FACTOR", 5.0)
    assert compiled(X) == 30.0


def test_a_global_number_behind_a_cache(monkeypatch):
    compiled = tg.compile(lambda x: (x * remembered((3,))).sum())
    assert compiled(X) == 6.0
    monkeypatch.setitem(globals(), "FACTOR", 5.0)
    remembered.cache_clear()
    assert compiled(X) == 30.0


def test_a_number_of_a_class(monkeypatch):
    compiled = tg.compile(lambda x: (x * SubOptions.factor).sum())
    assert compiled(X) == 6.0
    monkeypatch.setattr(Options, "factor", 5.0)
    assert compiled(X) == 30.0
    monkeypatch.setattr(SubOptions, "factor", 2.0, raising=False)
    assert compiled(X) == 12.0


def test_a_number_of_a_models_class_and_one_that_stands_before_it(monkeypatch):
    model = Gate()
    compiled = tg.compile(lambda x: model(x).sum())
    assert compiled(X) == 6.0
    monkeypatch.setattr(Gate, "factor", 5.0)
    assert compiled(X) == 30.0
    model.factor = 2.0
    assert compiled(X) == 12.0


@pytest.mark.parametrize(
    ("holder", "step"),
    [
        ((outer := Outer()).inner, lambda x, h=outer: (x * h.inner.factor).sum()),
        (slotted := Slotted(), lambda x, h=slotted: (x * h.factor).sum()),
        (listed := Inner(), lambda x, h=[{"a": listed}]: (x * h[0]["a"].factor).sum()),
    ],
)
def test_a_number_of_an_object_inside_of_another(holder, step):
    compiled = tg.compile(step)
    assert compiled(X) == 6.0
    holder.factor = 5.0
    assert compiled(X) == 30.0


@pytest.mark.parametrize(
    ("container", "key"),
    [(OrderedDict(a=1.0), "a"), (deque([1.0]), 0), (([1.0],), 0), ({"a": ([1.0], 2.0)}, 0)],
)
def test_a_number_in_a_container_of_any_kind(container, key):
    def inner():
        return container[0] if isinstance(container, tuple) else container["a"][0] if key == 0 else container

    def innermost():
        return container if isinstance(container, (OrderedDict, deque)) else inner()

    compiled = tg.compile(lambda x: (x * innermost()[key]).sum())
    assert compiled(X) == 6.0
    innermost()[key] = 5.0
    assert compiled(X) == 30.0


def test_a_default_option_and_an_attribute_of_a_function():
    compiled = tg.compile(optional)
    assert compiled(X) == 6.0
    optional.__defaults__[0]["factor"] = 5.0
    assert compiled(X) == 30.0
    compiled = tg.compile(with_attribute)
    assert compiled(X) == 6.0
    with_attribute.factor = 5.0
    assert compiled(X) == 30.0


def test_a_class_of_a_module_of_the_users():
    module = ModuleType("lesson")
    exec("class Options:\n    factor = 1.0", vars(module))
    compiled = tg.compile(lambda x: (x * module.Options.factor).sum())
    assert compiled(X) == 6.0
    module.Options.factor = 5.0
    assert compiled(X) == 30.0


def test_a_field_of_the_users_whose_name_optimizers_have_too():
    settings = SimpleNamespace(steps=1.0)
    compiled = tg.compile(lambda x: (x * settings.steps).sum())
    assert compiled(X) == 6.0
    settings.steps = 5.0
    assert compiled(X) == 30.0


def test_models_and_parameters_of_objects_inside_of_others():
    model = tg.nn.Sequential(tg.nn.Dense(3, 2), tg.nn.Dense(2, 1))
    w = tg.Tensor([1.0], requires_grad=True)
    holder = SimpleNamespace(inner=SimpleNamespace(model=model, first=model[0]), more=[{"w": w}])

    def step(x):
        return holder.inner.model(x) * holder.more[0]["w"]

    assert models_of(step) == [model]
    assert {id(p) for p in parameters_of(step)} == {id(p) for p in [*model.parameters(), w]}


def test_objects_of_installed_packages_are_not_searched_through():
    """They hold very many things, and their code sees nothing of the user's."""
    frames = pytest.importorskip("pandas")
    holder = SimpleNamespace(table=frames.DataFrame({"a": [1.0]}), factor=1.0)
    compiled = tg.compile(lambda x: (x * holder.factor).sum())
    assert compiled(X) == 6.0
    assert len(compiled.settings.places) < 20
