"""A compiled step does what the step does, also after a number, tensor or model that it refers to has changed."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.program.effects import Settings

X = np.array([[1.0, 2.0, 3.0]])
RATE = 2.0


def tripled(x):
    return (x * RATE).sum()


def called_by(x):
    return tripled(x) * 2.0


class Scaled(tg.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.options = {"shift": [1.0]}

    def forward(self, x):
        return x * self.factor + self.options["shift"][0]


def test_a_number_of_a_model_that_was_changed():
    model = Scaled(1.0)
    step = tg.compile(lambda x: model(x).sum())
    assert step(X) == 9.0
    model.factor = 100.0
    assert step(X) == 603.0
    model.options["shift"][0] = 0.0
    assert step(X) == 600.0


def test_a_number_of_a_module_inside():
    model = tg.nn.Sequential(Scaled(1.0), Scaled(2.0))
    step = tg.compile(lambda x: model(x).sum())
    assert step(X) == 21.0
    model[1].factor = 3.0
    assert step(X) == 30.0


def test_a_number_outside_of_the_step():
    scale = 1.0

    def step(x):
        return (x * scale).sum()

    compiled = tg.compile(step)
    assert compiled(X) == 6.0
    scale = 50.0
    assert compiled(X) == 300.0


@pytest.mark.parametrize("step", [tripled, called_by, lambda x: called_by(x)])
def test_a_global_number_also_of_functions_that_are_called(step, monkeypatch):
    compiled = tg.compile(step)
    before = compiled(X)
    monkeypatch.setitem(globals(), "RATE", 20.0)
    assert compiled(X) == 10 * before


def test_a_number_of_any_object():
    settings = SimpleNamespace(scale=1.0)
    step = tg.compile(lambda x: (x * settings.scale).sum())
    assert step(X) == 6.0
    settings.scale = 3.0
    assert step(X) == 18.0


def test_a_method_of_an_object():
    class Task:
        scale = 1.0

        def __init__(self):
            self.shift = 0.0

        def step(self, x):
            return (x * self.scale + self.shift).sum()

    task = Task()
    compiled = tg.compile(task.step)
    assert compiled(X) == 6.0
    task.shift = 1.0
    assert compiled(X) == 9.0


def test_what_no_function_mentions_is_no_setting():
    """A history that the loop writes beside the step does not compile it anew."""

    class Task:
        def __init__(self):
            self.scale, self.history, self.by_name = 2.0, [], 1.0

        def step(self, x):
            return (x * self.scale * getattr(self, "by_name")).sum()  # noqa: B009 (a name that is a text)

    task = Task()
    compiled = tg.compile(task.step)
    for _ in range(3):
        task.history.append(float(compiled(X)))
    assert (task.history, compiled.changes) == ([12.0] * 3, 0)
    task.by_name = 10.0
    assert compiled(X) == 120.0


def test_a_partial_function():
    settings = {"scale": 1.0}
    compiled = tg.compile(partial(lambda options, x: (x * options["scale"]).sum(), settings))
    assert compiled(X) == 6.0
    settings["scale"] = 2.0
    assert compiled(X) == 12.0


def test_another_parameter_and_another_model_under_the_same_name():
    w = tg.Tensor(np.ones(3), requires_grad=True)
    model = Scaled(1.0)

    def step(x):
        return (model(x) * w).sum()

    compiled = tg.compile(step)
    assert compiled(X) == 9.0
    w = tg.Tensor(np.full(3, 2.0), requires_grad=True)
    assert compiled(X) == 18.0
    model = Scaled(0.0)
    assert compiled(X) == 6.0


def test_a_number_of_an_optimizer():
    w = tg.Tensor(np.ones(3), requires_grad=True)
    optimizer = tg.optim.SGD([w], lr=1.0, weight_decay=0.5)

    def step(x):
        optimizer.zero_grad()
        loss = (x * w).sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = tg.compile(step)
    compiled(np.zeros((1, 3)))
    np.testing.assert_array_equal(w.data, np.full(3, 0.5))
    optimizer.weight_decay = 0.25
    compiled(np.zeros((1, 3)))
    np.testing.assert_array_equal(w.data, np.full(3, 0.375))


def test_the_mode_of_a_model_that_only_a_called_function_knows():
    model = tg.nn.Sequential(tg.nn.Dropout(0.5))

    def predict(x):
        return model(x).sum()

    compiled = tg.compile(lambda x: predict(x))
    model.train()
    compiled(np.ones((50, 50)))
    model.eval()
    assert compiled(np.ones((50, 50))) == 2500.0


SHIFT = 0.0


class Shifted(tg.nn.Module):
    def forward(self, x):
        return x + SHIFT


def test_a_global_number_that_a_layer_uses(monkeypatch):
    compiled = tg.compile(tg.nn.Sequential(Shifted()))
    assert compiled(X).tolist() == [[1.0, 2.0, 3.0]]
    monkeypatch.setitem(globals(), "SHIFT", 1.0)
    assert compiled(X).tolist() == [[2.0, 3.0, 4.0]]


def test_a_step_whose_settings_stay_is_compiled_once():
    model = Scaled(1.0)
    compiled = tg.compile(lambda x: model(x).sum())
    compiled(X)
    (program,) = compiled.programs.values()
    model.factor = 2.0 - 1.0  # an equal number
    compiled(X)
    assert [*compiled.programs.values()] == [program]


def test_a_number_that_changes_in_each_step_is_warned_of_once():
    model = Scaled(1.0)
    compiled = tg.compile(lambda x: model(x).sum())

    def call(factor):
        model.factor = float(factor)
        return float(compiled(X))

    assert [call(factor) for factor in range(4)] == [3.0, 9.0, 15.0, 21.0]
    with pytest.warns(UserWarning, match=r"compiled 5 times anew, the last time because model\.factor"):
        call(4)
    assert call(5) == 33.0


def test_settings_that_are_nan_have_not_changed():
    factor = float("nan")
    settings = Settings(lambda x: x * factor)
    factor = np.nan * 1.0
    assert settings.changed() is None
    factor = 1.0
    assert settings.changed() == "factor"
