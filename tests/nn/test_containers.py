"""Where modules and parameters are found, by which names, and where they are refused: none is lost silently."""

import collections
import copy
import dataclasses
import functools
import pickle
import re
import types

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce.core import interpreter
from tinygrad_ce.variable import Variable

Pair = collections.namedtuple("Pair", ["first", "second"])


@dataclasses.dataclass
class Record:
    first: object
    second: object
    note: str = "no module"


@dataclasses.dataclass(frozen=True)
class Frozen:
    first: object
    second: object


class Plain:
    """An object of the user's that is no Module."""

    def __init__(self, first, second=None):
        self.first, self.second = first, second


class Holder(nn.Module):
    """A module that holds one thing."""

    def __init__(self, held):
        self.held = held

    def forward(self, x):
        return x


def objects(*values):
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


# how two values are held, and what they are called
CONTAINERS = {
    "list": (lambda a, b: [a, b], "01"),
    "tuple": (lambda a, b: (a, b), "01"),
    "namedtuple": (Pair, ("first", "second")),
    "deque": (lambda a, b: collections.deque([a, b], maxlen=5), "01"),
    "dict": (lambda a, b: {"a": a, "b": b}, "ab"),
    "ordered dict": (lambda a, b: collections.OrderedDict(b=a, a=b), "ba"),
    "read-only dict": (lambda a, b: types.MappingProxyType({"a": a, "b": b}), "ab"),
    "user dict": (lambda a, b: collections.UserDict({"a": a, "b": b}), "ab"),
    "array of objects": (objects, "01"),
    "array of two axes": (lambda a, b: objects(a, b).reshape(2, 1), "01"),
    "dataclass": (Record, ("first", "second")),
    "frozen dataclass": (Frozen, ("first", "second")),
    "dicts in a list": (lambda a, b: [{"a": a}, {"b": b}], ("0.a", "1.b")),
    "tuples in a dict": (lambda a, b: {"a": (1, a), "b": (b,)}, ("a.1", "b.0")),
    "dataclass in a deque": (lambda a, b: collections.deque([Record(a, b)]), ("0.first", "0.second")),
}
every_container = pytest.mark.parametrize("which", CONTAINERS)


@every_container
def test_modules_and_parameters_are_found_in_a_stable_order_by_their_names(which):
    hold, names = CONTAINERS[which]
    weight = tg.Tensor(np.ones(3), requires_grad=True)
    model = Holder(hold(nn.Dense(2, 2), weight))
    first, second = names
    paths = [f"held.{first}.W", f"held.{first}.b", f"held.{second}"]
    assert [name for name, _ in model.named_parameters()] == paths
    assert [parameter.name for parameter in model.parameters()] == paths
    assert set(model.state()) == set(paths)
    assert len(list(model.modules())) == 2
    assert not any(module.training for module in model.eval().modules())


@every_container
def test_what_they_hold_is_trained_replaced_and_restored(which):
    hold, _ = CONTAINERS[which]
    weight = tg.Tensor(np.ones(3), requires_grad=True)
    model = Holder(hold(weight, nn.Dense(2, 2)))
    new = [tg.Tensor(parameter.data + 1, requires_grad=True) for parameter in model.parameters()]
    before = model.state()
    model.replaced(new)
    assert [id(parameter) for parameter in model.parameters()] == [id(parameter) for parameter in new]
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name] + 1)
    model.restore(before)
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])
    assert model.astype(np.float32).parameters()[0].dtype == np.float32


@pytest.mark.parametrize("which", ["namedtuple", "deque", "dataclass", "ordered dict", "array of objects"])
def test_replacing_keeps_the_kind_of_a_container_that_can_be_kept(which):
    held = CONTAINERS[which][0](tg.Tensor(1.0, requires_grad=True), 5)
    model = Holder(held).replaced([tg.Tensor(2.0, requires_grad=True)])
    assert isinstance(model.held, type(held)) or which == "ordered dict"
    if which == "deque":
        assert model.held.maxlen == 5


def test_an_array_of_objects_is_no_part_of_the_state():
    model = Holder(objects(nn.Dense(1, 1), "text"))
    assert set(model.state()) == {"held.0.W", "held.0.b"}
    model.astype(np.float32)


def test_a_variable_of_ones_own_is_part_of_the_state():
    model = nn.Sequential(Holder(Variable([1.0, 2.0])), nn.Dense(2, 2))
    before = model.state()
    assert set(before) == {"layers.0.held", "layers.1.W", "layers.1.b"}
    interpreter.get().write(model[0].held, np.zeros(2))
    np.testing.assert_array_equal(model.restore(before)[0].held.data, [1, 2])


def test_astype_turns_frozen_parameters_and_constants_too():
    model = nn.Sequential(nn.Dense(2, 2), Holder([tg.Tensor([1.5]), Variable([2.5]), tg.Tensor([3])]), nn.Dense(2, 2))
    for parameter in model[0].parameters():
        parameter.requires_grad = False
    model.astype(np.float32)
    assert model(np.ones((1, 2), np.float32)).dtype == np.float32
    assert [tensor.dtype for tensor in model[1].held] == [np.float32, np.float32, np.int64]
    assert model[0].W.dtype == model[0].b.dtype == np.float32


# ---- refused, because they would be lost


@pytest.mark.parametrize("make", [set, frozenset], ids=["set", "frozenset"])
@pytest.mark.parametrize("inner", [nn.Dense(1, 1), nn.Tanh(), tg.Tensor(1.0, requires_grad=True)], ids=repr)
def test_a_set_of_modules_or_parameters_is_refused_where_it_is_assigned(make, inner):
    with pytest.raises(TypeError, match=rf"held is a {make.__name__}.*write a list"):
        Holder(make([inner]))


def test_a_set_that_is_filled_later_or_lies_deeper_is_refused_too():
    model = Holder({"deep": [set()]})
    model.held["deep"][0].add(nn.Dense(1, 1))
    with pytest.raises(TypeError, match=r"held\.deep\.0 is a set"):
        model.parameters()


def test_a_set_of_numbers_is_no_matter():
    assert Holder({1, 2, ("a", 3)}).parameters() == []


@pytest.mark.parametrize("inner", [nn.Dense(1, 1), [nn.Dense(1, 1)], tg.Tensor(1.0, requires_grad=True)], ids=str)
def test_layers_in_an_object_that_is_no_module_are_refused_by_name(inner):
    model = Holder([Plain(inner)])
    with pytest.raises(
        TypeError, match=r"held\.0 is of class Plain, which is no Module.*held\.0\.first.*tg\.nn\.Module"
    ):
        model.parameters()
    with pytest.raises(TypeError, match="Plain"):
        tg.optim.SGD(model.parameters())


def test_an_object_that_holds_only_what_is_found_otherwise_is_no_matter():
    model = Holder(nn.Dense(1, 1))
    model.optimizer = tg.optim.Adam(model.parameters())
    model.trainer = tg.Trainer(model, nn.MSE(), model.optimizer)
    model.helper = Plain(model.held, second=model)
    model.numpy, model.function, model.partial = np, np.tanh, functools.partial(nn.Dense, 2)
    model.class_of_layers = nn.Dense
    assert [name for name, _ in model.named_parameters()] == ["held.W", "held.b"]


def test_a_result_that_a_module_keeps_is_no_parameter():
    class Remembering(nn.Module):
        def __init__(self):
            self.layer = nn.Dense(2, 2)

        def forward(self, x):
            self.hidden = self.layer(x)
            return self.hidden

    model = Remembering()
    model(np.ones((3, 2)))
    assert [name for name, _ in model.named_parameters()] == ["layer.W", "layer.b"]
    assert set(model.state()) == {"layer.W", "layer.b"}


# ---- held twice, in a circle


class Child(nn.Module):
    def __init__(self, parent=None):
        self.W = tg.Tensor(np.ones(2), requires_grad=True)
        self.parent = parent

    def forward(self, x):
        return x * self.W


class Parent(nn.Module):
    """A module whose children know it; early: whether they learn of it while they are made."""

    def __init__(self, early):
        self.dense = nn.Dense(2, 2)
        self.children = [Child(self if early else None) for _ in range(2)]
        if not early:
            for child in self.children:
                child.parent = self
        self.me = self

    def forward(self, x):
        for child in self.children:
            x = child(x)
        return self.dense(x)


@pytest.mark.parametrize("early", [False, True])
def test_a_module_that_holds_its_parent_or_itself(early):
    model = Parent(early)
    paths = ["dense.W", "dense.b", "children.0.W", "children.1.W"]
    assert [name for name, _ in model.named_parameters()] == paths
    assert len(list(model.modules())) == 4
    if not early:
        assert [parameter.name for parameter in model.parameters()] == paths
    assert not any(module.training for module in model.eval().modules())
    assert "Parent(" in repr(model)
    assert re.search(r"all +10$", model.summary())
    assert len(re.findall(r"children\.[01] ", model.summary())) == 2
    twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert twin.children[1].parent is twin
    model.replaced([tg.Tensor(parameter.data * 2, requires_grad=True) for parameter in model.parameters()])
    np.testing.assert_array_equal(model.children[1].W.data, [2, 2])
    run = tg.Trainer(model, nn.SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.1))
    for compile in (False, True):
        run.fit(np.ones((4, 2)), np.array([0, 1, 0, 1]), epochs=1, compile=compile)
    assert (model.children[0].W.data != 2).any()


def test_a_list_that_holds_itself_is_walked_once():
    held = [nn.Dense(1, 1)]
    held.append(held)
    assert [name for name, _ in Holder(held).named_parameters()] == ["held.0.W", "held.0.b"]


def test_a_module_that_is_held_twice_counts_once():
    norm = nn.BatchNorm(3)
    model = nn.Sequential(norm, nn.Tanh(), norm)
    assert len(model.parameters()) == 2
    assert list(model.modules()).count(norm) == 1
    assert set(model.state()) == {f"layers.0.{n}" for n in ("scale", "shift", "running_mean", "running_variance")}
    assert re.search(r"all +6$", model.summary(np.ones((2, 3))))
    optimizer = tg.optim.SGD(model.parameters(), lr=1.0)
    model(np.ones((2, 3))).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(norm.shift.data, [-2, -2, -2])  # d shift: 0 through the second normalization, 1 a row


def test_a_parameter_that_is_shared_is_learnt_once_with_both_gradients():
    model = nn.Sequential(nn.Dense(2, 2, bias=False), nn.Dense(2, 2, bias=False))
    model[1].W = model[0].W
    assert [name for name, _ in model.named_parameters()] == ["layers.0.W"]
    x = np.array([[1.0, 2.0]])
    W = model[0].W.data.copy()
    model(x).sum().backward()
    ones = np.ones((1, 2))
    np.testing.assert_allclose(model[0].W.grad, x.T @ (ones @ W.T) + (x @ W).T @ ones, rtol=1e-13)


# ---- how a module prints


class Conv(nn.Module):
    def __init__(self):
        self.kernel, self.padding, self._cache = 3, "same", {}
        self.W = tg.Tensor(np.ones((3, 3)), requires_grad=True)
        self.table = np.zeros(5)

    def forward(self, x):
        return x * self.W.sum()


class Net(nn.Module):
    def __init__(self):
        self.first, self.blocks, self.heads = Conv(), [nn.Dense(2, 2), nn.Tanh()], Pair(nn.Dense(2, 1), 0.5)

    def forward(self, x):
        return self.first(x)


def test_a_module_of_the_users_own_shows_its_class_settings_and_inner_modules():
    assert repr(Conv()) == "Conv(kernel=3, padding='same')"
    inner = (
        "first=Conv(kernel=3, padding='same'), blocks=[Dense(2, 2), Tanh()], heads=Pair(first=Dense(2, 1), second=0.5)"
    )
    assert repr(Net()) == f"Net({inner})"
    assert repr(nn.Sequential(Conv())) == "Sequential(Conv(kernel=3, padding='same'))"
    assert "first  Conv(kernel=3, padding='same')" in Net().summary(np.ones((1, 2)))
    assert repr(nn.Softmax(axis=0)) == "Softmax(axis=0)"


# ---- what hides parameters, and what mixes two up


class Holding(nn.Module):
    def __init__(self, held):
        self.held = held


class Slotted:
    """An object of the user's whose attributes are in no __dict__."""

    __slots__ = ("first", "second")

    def __init__(self, first):
        self.first = first


def two():
    return [nn.Dense(2, 2), nn.Dense(2, 1)]


@pytest.mark.parametrize(
    "hiding",
    [
        lambda: (layer for layer in two()),
        lambda: map(nn.Sequential, two()),
        lambda: filter(None, two()),
        lambda: zip(two(), two(), strict=True),
        lambda: reversed(two()),
        lambda: iter(two()),
        lambda: {"layers": [enumerate(two())]},
    ],
)
def test_an_iterator_is_refused_for_who_looks_into_it_has_emptied_it(hiding):
    with pytest.raises(
        TypeError, match=r"held(\.layers\.0)? is a \w+, in which modules .* cannot be found: write a list"
    ):
        Holding(hiding())


def test_the_values_of_a_dict_are_found_as_a_list_of_them_is():
    layers = dict(zip("ab", two(), strict=True))
    names = [name for name, _ in Holding(layers.values()).named_parameters()]
    assert names == [name for name, _ in Holding([*layers.values()]).named_parameters()]
    assert len(names) == 4


def test_a_parameter_in_a_slot_is_not_lost():
    with pytest.raises(TypeError, match=r"held is of class Slotted, which is no Module, so its parameter held\.first"):
        Holding(Slotted(tg.Tensor([1.0], requires_grad=True))).parameters()
    assert Holding(Slotted("no parameter")).parameters() == []


@pytest.mark.parametrize("keys", [lambda a, b: {1: a, "1": b}, lambda a, b: {"x.y": a, "x": {"y": b}}])
def test_two_parameters_of_one_path_would_be_one_in_the_state(keys):
    model = Holding(keys(*(tg.Tensor([value], requires_grad=True) for value in (1.0, 2.0))))
    for call in (model.parameters, model.state, lambda: tg.optim.SGD(model.parameters())):
        with pytest.raises(ValueError, match=r"two parameters have the path held\.(1|x\.y)"):
            call()


# ---- a state of other dtypes


def test_a_state_takes_the_dtype_of_the_module():
    model = nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(3)).astype(np.float32)
    state = {name: array.astype(float) + 1 for name, array in model.state().items()}
    model.restore(state)
    for name, array in model.state().items():
        assert array.dtype == np.float32, name
        np.testing.assert_allclose(array, state[name], rtol=1e-7)
    model.restore({name: (array * 0 + 2).astype(int).tolist() for name, array in state.items()})
    assert all(array.dtype == np.float32 and (array == 2).all() for array in model.state().values())


@pytest.mark.parametrize("wrong", [complex, str, object, "M8[s]"])
def test_a_state_of_what_are_no_real_numbers_is_refused(wrong):
    model = nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(3))
    before = model.state()
    state = {name: np.ones(array.shape) for name, array in before.items()}
    last = [*state][-1]
    state[last] = state[last].astype(int).astype(wrong)
    with pytest.raises(TypeError, match=rf"restore: {last} has dtype float64, in the state"):
        model.restore(state)
    with pytest.raises(TypeError, match="restore: the state is NoneType"):
        model.restore(None)
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])
