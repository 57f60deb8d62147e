"""What stays from step to step: Variables, the running averages of BatchNorm, the memory of optimizers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from leaves import wanted

import tinygrad_ce as tg
from tinygrad_ce.core import Tensor, interpreter
from tinygrad_ce.nn.module import Kept, Module
from tinygrad_ce.variable import Attribute, Variable

X = np.array([[1.0, 2.0], [3.0, -1.0], [0.0, 4.0], [2.0, 2.0]])
MEAN, VARIANCE = X.mean(axis=0), X.var(axis=0, ddof=1)
MAKERS: dict[str, Callable[[list[Tensor]], Any]] = {
    "SGD": lambda parameters: tg.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: tg.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "Adam": lambda parameters: tg.optim.Adam(parameters, lr=0.1),
    "AdamW": lambda parameters: tg.optim.AdamW(parameters, lr=0.1),
    "RMSprop": lambda parameters: tg.optim.RMSprop(parameters, lr=0.1),
    "AdaGrad": lambda parameters: tg.optim.AdaGrad(parameters, lr=0.1),
}
REMEMBERED = {"SGD": 0, "momentum": 1, "Adam": 2, "AdamW": 2, "RMSprop": 1, "AdaGrad": 1}


def write(variable: Tensor, new: Any) -> None:
    interpreter.get().write(variable, new)


# ---- Variable


def test_a_variable_is_a_tensor_without_gradient_that_owns_its_data() -> None:
    data = np.array([1.0, 2.0])
    variable = Variable(data, name="mean")
    data[0] = 9.0
    assert isinstance(variable, Tensor)
    assert (variable.requires_grad, variable.op, variable.name) == (False, None, "mean")
    np.testing.assert_array_equal(variable.data, [1.0, 2.0])


def test_a_write_gives_it_an_array_of_its_own_in_its_dtype() -> None:
    variable, new = Variable(np.zeros(2, np.float32)), np.array([1.0, 2.0])
    before = variable.data
    write(variable, new)
    new[0] = 9.0
    assert variable.data is not before
    assert variable.dtype == np.float32
    np.testing.assert_array_equal(before, 0)  # who has read it before has what it read
    np.testing.assert_array_equal(variable.data, [1.0, 2.0])
    write(variable, Tensor([3.0, 4.0]))
    np.testing.assert_array_equal(variable.data, [3.0, 4.0])
    assert type(variable.data) is np.ndarray


def test_a_write_to_a_parameter_goes_into_its_array_and_raises_its_version() -> None:
    w = wanted([1.0, 2.0])
    data, versions = w.data, [w.version]
    for _ in range(2):
        write(w, [5.0, 6.0])
        versions.append(w.version)
    assert w.data is data
    np.testing.assert_array_equal(data, [5.0, 6.0])
    assert versions[0] == 0
    assert versions == sorted(set(versions))


def test_read_gives_arrays_and_leaves_arrays_alone() -> None:
    variable, array = Variable([1.0]), np.ones(2)
    assert interpreter.get().read(variable) is variable.data
    assert interpreter.get().read(array) is array


def test_a_variable_takes_part_in_operations_without_a_gradient() -> None:
    x, variable = wanted(2.0), Variable(3.0)
    y = x * variable
    y.backward()
    assert (x.grad, variable.grad) == (3.0, None)


def test_an_attribute_is_read_anew_each_time() -> None:
    class Owner:
        pass

    owner: Any = Owner()
    owner.mask = np.array([1.0])
    attribute = Attribute(owner, "mask")
    assert attribute.data is owner.mask
    owner.mask = np.array([2.0])
    assert attribute.data is owner.mask
    owner.mask = Tensor([3.0])
    assert attribute.data is owner.mask.data


# ---- Kept: a module's variables as arrays


def trained(steps: int = 1) -> tg.nn.BatchNorm:
    norm = tg.nn.BatchNorm(2)
    for _ in range(steps):
        norm(X)
    return norm


def averages(norm: Any) -> list[list[float]]:
    return [norm.running_mean.tolist(), norm.running_variance.tolist()]


def test_running_averages_are_read_as_arrays() -> None:
    """By hand: 0 + 0.1 (mean - 0) and 1 + 0.1 (variance - 1), the variance over n - 1."""
    norm = trained()
    assert type(norm.running_mean) is np.ndarray
    np.testing.assert_allclose(norm.running_mean, 0.1 * MEAN, rtol=1e-14)
    np.testing.assert_allclose(norm.running_variance, 1 + 0.1 * (VARIANCE - 1), rtol=1e-14)
    np.testing.assert_array_equal(norm.variables["running_mean"].data, norm.running_mean)


def test_running_averages_are_replaced_as_arrays() -> None:
    norm, mean = tg.nn.BatchNorm(2), np.array([1.0, 2.0])
    variable = norm.variables["running_mean"]
    norm.running_mean = mean
    mean[0] = 9.0
    assert norm.variables["running_mean"] is variable  # a compiled step holds it
    np.testing.assert_array_equal(norm.running_mean, [1.0, 2.0])
    norm.running_variance = np.array([4.0, 9.0])
    norm.eval()
    np.testing.assert_allclose(norm(X).data, (X - [1.0, 2.0]) / np.sqrt(np.array([4.0, 9.0]) + 1e-5), rtol=1e-13)


def test_running_averages_are_written_in_place_as_arrays() -> None:
    norm = tg.nn.BatchNorm(2)
    norm.running_mean[0] = 5.0
    norm.running_mean += 1.0
    np.testing.assert_array_equal(norm.running_mean, [6.0, 1.0])


def test_two_modules_share_no_variables() -> None:
    first, second = tg.nn.BatchNorm(2), tg.nn.BatchNorm(2)
    first(X)
    assert averages(second) == [[0.0, 0.0], [1.0, 1.0]]
    assert Module.variables == {}


def test_the_class_has_the_descriptor_itself() -> None:
    assert isinstance(tg.nn.BatchNorm.running_mean, Kept)


def test_a_module_of_the_users_own_may_have_them() -> None:
    class Counter(Module):
        calls = Kept()

        def __init__(self) -> None:
            self.calls = np.zeros(())

        def forward(self, x: Any) -> Any:
            here = interpreter.get()
            variable = self.variables["calls"]
            here.write(variable, here.read(variable) + 1)
            return x * 1.0

    counter, other = Counter(), Counter()
    for _ in range(3):
        counter(wanted(1.0))
    assert (float(counter.calls), float(other.calls)) == (3.0, 0.0)
    assert set(counter.state()) == {"calls"}


# ---- a model with BatchNorm is kept, copied, restored


def network() -> Any:
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.BatchNorm(3), tg.nn.Tanh(), tg.nn.Dense(3, 1))
    for _ in range(3):
        model(X)
    return model


def test_the_state_names_each_of_them_and_is_a_copy() -> None:
    model = network()
    state = model.state()
    own = {"layers.1.running_mean", "layers.1.running_variance"}
    assert set(state) == own | {name for name, _ in model.named_parameters()}
    before = {path: array.copy() for path, array in state.items()}
    model(X + 1)
    assert not np.array_equal(model.layers[1].running_mean, state["layers.1.running_mean"])
    for path, array in state.items():
        np.testing.assert_array_equal(array, before[path])


def test_restore_puts_them_back_and_shares_no_memory_with_the_state() -> None:
    model = network()
    state, expected = model.state(), model.eval()(X).data
    model.train()
    model(X + 5)
    for parameter in model.parameters():
        write(parameter, parameter.data + 1)
    variable = model.layers[1].variables["running_mean"]
    model.restore(state).eval()
    np.testing.assert_array_equal(model(X).data, expected)
    assert model.layers[1].variables["running_mean"] is variable
    model.train()
    model(X)
    assert not np.shares_memory(model.layers[1].running_mean, state["layers.1.running_mean"])


@pytest.mark.parametrize("path", ["layers.1.running_mean", "layers.1.running_variance"])
def test_restore_refuses_a_state_without_them(path: str) -> None:
    model = network()
    state = model.state()
    del state[path]
    with pytest.raises(ValueError, match=rf"^restore: {path} has shape \(3,\) here and no place in the state"):
        model.restore(state)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_astype_turns_them_too(dtype: Any) -> None:
    model = network().astype(dtype)
    norm = model.layers[1]
    assert {norm.running_mean.dtype, norm.running_variance.dtype} == {np.dtype(dtype)}
    model.train()
    model(X.astype(dtype))
    assert {norm.running_mean.dtype, norm.running_variance.dtype} == {np.dtype(dtype)}
    assert model.eval()(X.astype(dtype)).dtype == dtype


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_a_copy_of_a_model_has_its_own(duplicate: Callable[[Any], Any]) -> None:
    model = network()
    twin = duplicate(model)
    norm, other = model.layers[1], twin.layers[1]
    assert averages(other) == averages(norm)
    np.testing.assert_array_equal(twin.eval()(X).data, model.eval()(X).data)
    before = averages(norm)
    twin.train()
    twin(X + 3)
    other.running_variance = np.full(3, 7.0)
    assert averages(norm) == before
    assert averages(other) != before
    assert [name for name, _ in twin.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert not any(np.shares_memory(a.data, b.data) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


# ---- optimizers


def stepped(name: str, steps: int = 1) -> tuple[Any, list[Tensor]]:
    w, b = wanted([1.0, 2.0], name="w"), wanted(0.5, name="b")
    optimizer = MAKERS[name]([w, b])
    for k in range(steps):
        w.grad, b.grad = np.array([0.5, -0.25]) * (k + 1), np.array(1.0)
        optimizer.step()
    return optimizer, [w, b]


def arrays_of(optimizer: Any) -> list[list[np.ndarray]]:
    """What it remembers of each parameter."""
    return [[variable.data for variable in memory] for memory in optimizer.memory]


@pytest.mark.parametrize("name", MAKERS)
def test_the_state_is_arrays_in_the_order_of_its_names(name: str) -> None:
    optimizer, parameters = stepped(name)
    assert len(optimizer.remembers) >= REMEMBERED[name]
    for parameter, state in zip(parameters, arrays_of(optimizer), strict=True):
        assert len(state) == REMEMBERED[name]
        assert all(type(array) is np.ndarray and array.shape == parameter.shape for array in state)
    for memory in optimizer.memory:
        assert [variable.name for variable in memory] == list(optimizer.remembers[: len(memory)])


def test_the_state_of_momentum_and_adam_by_hand() -> None:
    g = np.array([0.5, -0.25])
    (velocity,), _ = arrays_of(stepped("momentum")[0])
    np.testing.assert_allclose(velocity, g, rtol=1e-15)
    (mean, square), _ = arrays_of(stepped("Adam")[0])
    np.testing.assert_allclose(mean, 0.1 * g, rtol=1e-14)
    np.testing.assert_allclose(square, 0.001 * g * g, rtol=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_goes_on_from_a_state_that_was_set(name: str) -> None:
    """Three steps in one go, or two, and one more by another optimizer with the state of the first."""
    _, whole = stepped(name, 3)
    first, parameters = stepped(name, 2)
    second = MAKERS[name](parameters)
    second.restore(first.state())
    parameters[0].grad, parameters[1].grad = np.array([0.5, -0.25]) * 3, np.array(1.0)
    second.step()
    for ours, right in zip(parameters, whole, strict=True):
        np.testing.assert_array_equal(ours.data, right.data)


def test_a_state_that_is_set_is_copied() -> None:
    optimizer, _ = stepped("Adam")
    state = optimizer.state()
    optimizer.restore(state)
    state["0.mean"][:] = 99.0
    assert not (optimizer.memory[0][0].data == 99.0).any()


@pytest.mark.parametrize("name", MAKERS)
def test_the_steps_are_counted(name: str) -> None:
    optimizer, parameters = stepped(name, 4)
    assert (optimizer.steps, optimizer.count(0)) == (4, 5)
    parameters[0].grad = np.ones(3)
    with pytest.raises(ValueError, match="shape"):
        optimizer.step()
    assert optimizer.steps == 4  # a step that failed is none


def test_a_step_without_any_gradient_is_none_and_says_so() -> None:
    """The schedule waits, and so does the bias correction: nothing was learnt."""
    optimizer = tg.optim.SGD([wanted(1.0)], lr=tg.optim.StepDecay(1.0, every=1, factor=0.5))
    with pytest.warns(UserWarning, match=r"no parameter has a gradient.*loss.backward\(\)"):
        optimizer.step()
    assert (optimizer.steps, optimizer.lr) == (0, 1.0)


@pytest.mark.parametrize("name", MAKERS)
def test_a_deep_copy_of_an_optimizer_with_its_parameters_goes_its_own_way(name: str) -> None:
    optimizer, parameters = stepped(name, 2)
    twin, copies = copy.deepcopy((optimizer, parameters))
    before = [p.data.copy() for p in parameters]
    states = [[array.copy() for array in state] for state in arrays_of(optimizer)]
    for parameter in copies:
        parameter.grad = np.ones(parameter.shape)
    twin.step()
    assert (optimizer.steps, twin.steps) == (2, 3)
    for parameter, old, new in zip(parameters, before, copies, strict=True):
        np.testing.assert_array_equal(parameter.data, old)
        assert not np.array_equal(new.data, old)
    for state, old_state in zip(arrays_of(optimizer), states, strict=True):
        for array, old_array in zip(state, old_state, strict=True):
            np.testing.assert_array_equal(array, old_array)
