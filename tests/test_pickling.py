"""What a process sends to another: tensors, modules, optimizers, trainers arrive whole, primitives by name."""

import copy
import pickle

import cloudpickle
import numpy as np
import pytest
from samples import primitives

import tinygrad_ce as tg
from tinygrad_ce import nn, optim, pickling
from tinygrad_ce.core import REGISTRY, Primitive, primitive
from tinygrad_ce.nn.losses import _Loss

WAYS = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "oldest protocol": lambda x: pickle.loads(pickle.dumps(x, protocol=2)),
    "cloudpickle": lambda x: pickle.loads(cloudpickle.dumps(x)),
    "deepcopy": copy.deepcopy,
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)

LAYERS = {
    "Sequential": lambda: nn.Sequential(nn.Dense(4, 4), tg.ops.relu),
    "Residual": lambda: nn.Residual(nn.Dense(4, 4)),
    "Dense": lambda: nn.Dense(4, 3, bias=False),
    "LeakyReLU": lambda: nn.LeakyReLU(0.3),
    "GELU": lambda: nn.GELU("tanh"),
    "Dropout": lambda: nn.Dropout(0.25),
    "BatchNorm": lambda: nn.BatchNorm(4),
    "LayerNorm": lambda: nn.LayerNorm(4),
    "Embedding": lambda: nn.Embedding(9, 3),
}
KINDS = [
    name
    for name, kind in vars(nn).items()
    if isinstance(kind, type) and issubclass(kind, nn.Module) and kind is not nn.Module
]


def example_of(kind):
    """An object of a class of tg.nn."""
    return LAYERS[kind]() if kind in LAYERS else getattr(nn, kind)()


@ways
def test_every_primitive_stays_the_one_that_it_is(way):
    for name in primitives():
        assert way(REGISTRY[name]) is REGISTRY[name]


@ways
@pytest.mark.parametrize("kind", KINDS)
def test_every_module_gives_the_same_afterwards(kind, way):
    module = example_of(kind).eval()
    twin = way(module)
    assert type(twin) is type(module)
    assert repr(twin) == repr(module)
    assert [(n, p.name) for n, p in twin.named_parameters()] == [(n, p.name) for n, p in module.named_parameters()]
    if isinstance(module, _Loss):
        assert twin.options == module.options
        return
    X = np.arange(8).reshape(2, 4) % 9 if kind == "Embedding" else np.linspace(-2, 2, 8).reshape(2, 4)
    np.testing.assert_array_equal(np.asarray(tg.core.array_of(twin(X))), np.asarray(tg.core.array_of(module(X))))
    for parameter in module.parameters():
        parameter.data[...] = 77
    assert not any((parameter.data == 77).any() for parameter in twin.parameters())


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, lr=optim.Cosine(0.1, steps=9)),
    "AdamW": lambda p: optim.AdamW(p, lr=optim.StepDecay(0.1, every=2)),
    "RMSprop": lambda p: optim.RMSprop(p, lr=optim.WarmUp(0.1, steps=3)),
    "AdaGrad": lambda p: optim.AdaGrad(p, lr=optim.OneCycle(0.1, steps=9)),
    "plateau": lambda p: optim.SGD(p, lr=optim.ReduceOnPlateau(0.1)),
}


@ways
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_trainer_goes_on_elsewhere_bit_for_bit(kind, way):
    tg.seed(0)
    data = tg.data.moons(40, seed=0)
    model = nn.Sequential(nn.Dense(2, 4), nn.BatchNorm(4), nn.Tanh(), nn.Dropout(0.2), nn.Dense(4, 2))
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), OPTIMIZERS[kind](model.parameters()))
    trainer.fit(data, epochs=2, seed=0)
    twin = way(trainer)
    assert all(a is b for a, b in zip(twin.model.parameters(), twin.optimizer.parameters, strict=True))
    for one in (trainer, twin):
        one.fit(data, epochs=2)
    assert twin.history.columns == trainer.history.columns
    assert all(np.array_equal(a, twin.model.state()[name]) for name, a in trainer.model.state().items())


def test_a_compiled_trainer_leaves_its_programs_behind():
    data = tg.data.moons(32, seed=0)
    model = nn.Sequential(nn.Dense(2, 2))
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters()))
    trainer.fit(data, epochs=1, compile=True, seed=0)
    twin = pickle.loads(pickle.dumps(trainer))
    assert twin.programs.cache is None
    np.testing.assert_array_equal(twin.predict(data.X), trainer.predict(data.X))


def test_a_tensor_that_stands_twice_stays_one():
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    first, second = pickle.loads(pickle.dumps([x, x]))
    assert first is second
    assert (first.name, first.requires_grad) == ("x", True)


def test_a_tensor_with_a_history_says_what_to_send_instead():
    y = (tg.Tensor([1.0], requires_grad=True) * 2).named("y")
    with pytest.raises(TypeError, match=r"^y has a history and cannot be copied or pickled: use \.detach\(\) first$"):
        pickle.dumps(y)


def test_a_primitive_of_ones_own_is_found_where_its_module_makes_it(registry):
    @primitive
    def doubled_here(x):
        return 2 * x

    sent = pickle.dumps(doubled_here)
    assert pickle.loads(sent) is doubled_here
    del registry["doubled_here"]
    with pytest.raises(ValueError, match=r"^primitive doubled_here: it was pickled .*test_pickling.* both import$"):
        pickle.loads(sent)


def test_a_primitive_whose_name_another_one_has_taken_is_refused(registry):
    def twice(x):
        return 2 * x

    first, second = Primitive(twice), Primitive(twice)
    assert pickle.loads(pickle.dumps(second)) is second
    with pytest.raises(TypeError, match=r"^primitive twice: another one has its name"):
        pickle.dumps(first)


def test_what_has_not_been_imported_is_imported(registry):
    relu = registry.pop("relu")
    assert tg.ops.relu is relu
    with pytest.raises(ValueError, match="primitive relu"):  # its module is there already, and makes no second one
        pickling.primitive_called("relu", "tinygrad_ce.ops.elementwise")


@ways
def test_a_copy_of_a_trainer_that_is_training_has_the_epochs_so_far(way):
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    tg.seed(0)
    model = nn.Sequential(nn.Dense(3, 4), nn.Dropout(0.5), nn.Dense(4, 2))
    trainer, copies = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.Adam(model.parameters())), []

    def keep(trainer, figures):
        if figures["epoch"] == 2:
            copies.append(way(trainer))

    trainer.fit(X, y, epochs=2, seed=0, compile=False)
    trainer.fit(X, y, epochs=4, callbacks=keep, compile=False)
    (twin,) = copies
    assert (len(twin.history), twin.unfinished) == (4, None)
    twin.fit(X, y, epochs=2, compile=False)
    assert twin.history.columns == trainer.history.columns
    np.testing.assert_array_equal(twin.model[0].W.data, trainer.model[0].W.data)


def test_a_copy_of_a_primitive_is_itself_also_if_another_has_its_name(registry):
    def same_name(x):
        return x

    first, second = primitive(same_name), primitive(same_name)
    assert copy.deepcopy([first, second]) == [first, second]
    assert copy.copy(first) is first
