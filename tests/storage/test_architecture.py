"""Every layer, loss, optimizer and schedule of the package comes back from a file as it was."""

import json
from functools import partial

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.storage import classes
from tinygrad_ce.storage.architecture import describe
from tinygrad_ce.storage.settings import build_schedule, describe_schedule

LAYERS = {
    "Dense": [nn.Dense(3, 2), nn.Dense(2, 4, bias=False), nn.Dense(1, 1, init="he_normal")],
    "Embedding": [nn.Embedding(5, 2)],
    "BatchNorm": [nn.BatchNorm(3), nn.BatchNorm(2, momentum=0.25, eps=1e-3)],
    "LayerNorm": [nn.LayerNorm(3), nn.LayerNorm(2, eps=0.5)],
    "Dropout": [nn.Dropout(0.25), nn.Dropout(0)],
    "Softmax": [nn.Softmax(), nn.Softmax(axis=0)],
    "LeakyReLU": [nn.LeakyReLU(), nn.LeakyReLU(0.125)],
    "GELU": [nn.GELU(), nn.GELU("tanh")],
    "Residual": [nn.Residual(nn.Dense(2, 2), nn.ReLU())],
    "Sequential": [nn.Sequential(), nn.Sequential(nn.Sequential(nn.Dense(2, 2)), nn.Residual(nn.Tanh()))],
    **{name: [getattr(nn, name)()] for name in ("ReLU", "SiLU", "Sigmoid", "Softplus", "Tanh", "Flatten")},
}
LOSSES = {
    "SoftmaxCrossEntropy": {"weight": np.array([0.5, 2.0]), "label_smoothing": 0.1, "ignore_index": -1, "axis": 1},
    "CrossEntropy": {"reduction": "sum", "eps": 1e-7},
    "BCE": {"pos_weight": np.array([3.0], np.float32), "eps": 1e-6},
    "SigmoidBCE": {"weight": tg.Tensor([1.0, 0.0]), "pos_weight": np.float64(2.5)},
    "MSE": {"reduction": "sum"},
    "NLL": {"ignore_index": np.int64(3)},
    "KLDivergence": {"axis": 0},
    "Huber": {"delta": 0.3},
    "Hinge": {},
}
OPTIMIZERS = {
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "Adam": {"betas": (0.8, 0.99), "eps": 1e-6},
    "AdamW": {"weight_decay": 0.2},
    "RMSprop": {"decay": 0.9},
    "AdaGrad": {"eps": 1e-9, "weight_decay": 0.1},
}
SCHEDULES = {
    "Constant": optim.Constant(0.3),
    "StepDecay": optim.StepDecay(0.1, every=np.int64(3), factor=0.5),
    "Cosine": optim.Cosine(0.1, steps=7, final=0.01),
    "OneCycle": optim.OneCycle(0.5, steps=9, warm_up=0.4, start=10, end=100),
    "ReduceOnPlateau": optim.ReduceOnPlateau(0.1, factor=0.5, patience=3, smallest=0.001, threshold=0.01),
    "WarmUp": optim.WarmUp(optim.WarmUp(optim.Cosine(0.2, steps=5), steps=2), steps=3),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def same(ours, right):
    """Two models with the same arrays, bit for bit, under the same paths, which ask for gradients alike."""
    assert repr(ours) == repr(right)
    mine, other = ours.state(), right.state()
    assert [*mine] == [*other]
    for name, array in mine.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name])
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in right.named_parameters()]
    assert [p.name for p in ours.parameters()] == [p.name for p in right.parameters()]


def test_every_class_of_the_package_is_in_a_list():
    public = {name: value for name, value in vars(nn).items() if isinstance(value, type) and name != "Module"}
    assert public == {**classes.LAYERS, **classes.LOSSES}
    assert {*classes.LAYERS} == {*LAYERS}
    assert {*classes.LOSSES} == {*LOSSES}
    found = {name: value for name, value in vars(optim).items() if isinstance(value, type)}
    del found["Optimizer"]
    assert found == {**classes.OPTIMIZERS, **classes.SCHEDULES}
    assert {*classes.OPTIMIZERS} == {*OPTIMIZERS}
    assert {*classes.SCHEDULES} == {*SCHEDULES}
    assert {*classes.LOSS_FUNCTIONS} == {*tg.losses.__all__}


@pytest.mark.parametrize("layer", [layer for layers in LAYERS.values() for layer in layers], ids=repr)
def test_a_layer_comes_back(layer, path):
    for _, array, write in tg.nn.module.arrays_of(layer):
        write(array + np.random.default_rng(0).random(array.shape))
    tg.save(path, layer)
    loaded = tg.load(path).model
    assert type(loaded) is type(layer)
    same(loaded, layer)
    keys = [name for name in vars(layer) if name not in ("variables", "layers", "W", "b", "scale", "shift")]
    assert {name: vars(loaded)[name] for name in keys} == {name: vars(layer)[name] for name in keys}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_dtype_stays_and_another_reader_finds_the_same_numbers(dtype, path):
    model = nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(3), nn.Dense(3, 1, bias=False)).astype(dtype)
    tg.save(path, model)
    same(tg.load(path).model, model)
    arrays = load_file(path)
    assert {*arrays} == {f"model.{name}" for name in model.state()}
    for name, array in model.state().items():
        np.testing.assert_array_equal(arrays[f"model.{name}"], array)
        assert arrays[f"model.{name}"].dtype == dtype
    with safe_open(path, framework="np") as file:
        assert json.loads(file.metadata()["tinygrad_ce"])["format"] == 1


def test_strange_layouts_of_arrays_are_written_as_numbers(path):
    layer = nn.Dense(2, 3)
    layer.W.data = np.asfortranarray(layer.W.data).astype(">f8")
    layer.b.data = np.arange(6.0)[::2]
    tg.save(path, layer)
    loaded = tg.load(path).model
    np.testing.assert_array_equal(loaded.W.data, layer.W.data)
    np.testing.assert_array_equal(loaded.b.data, [0, 2, 4])
    assert loaded.W.dtype.isnative
    assert loaded.W.data.flags.writeable


def test_loading_leaves_the_generator_of_tg_seed_alone(path):
    tg.save(path, nn.Sequential(nn.Dense(2, 2), nn.Embedding(2, 2)))
    tg.seed(5)
    right = nn.init.glorot_normal(2, 2)
    tg.seed(5)
    tg.load(path)
    np.testing.assert_array_equal(nn.init.glorot_normal(2, 2), right)


def test_the_generator_of_tg_seed_comes_back_on_request(path):
    tg.seed(5)
    model = nn.Dropout(0.5)
    model(np.ones(3))
    tg.save(path, model)
    right = model(np.ones(50))
    tg.seed(1)
    saved = tg.load(path)
    saved.restore_seed()
    np.testing.assert_array_equal(saved.model(np.ones(50)), right)


# ---- what is shared, frozen, or in evaluation mode


def test_shared_parameters_and_layers_stay_shared(path):
    twice, first, tied = nn.Dense(2, 2), nn.Dense(2, 2), nn.Dense(2, 2)
    tied.W = first.W
    model = nn.Sequential(twice, nn.Tanh(), twice, first, tied)
    tg.save(path, model)
    loaded = tg.load(path).model
    same(loaded, model)
    assert loaded[0] is loaded[2]
    assert loaded[3].W is loaded[4].W
    assert loaded[3].b is not loaded[4].b
    assert loaded[0].W is not loaded[3].W
    assert [p.name for p in loaded.parameters()][:2] == ["layers.0.W", "layers.0.b"]


def test_frozen_parameters_are_in_the_file_and_stay_frozen(path):
    model = nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(3), nn.Dense(3, 1))
    model[0].W.requires_grad = model[1].shift.requires_grad = False
    tg.save(path, model)
    loaded = tg.load(path).model
    same(loaded, model)
    assert not loaded[0].W.requires_grad
    assert len(loaded.parameters()) == 4
    other = nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(3), nn.Dense(3, 1))
    other[2].b.requires_grad = False
    tg.load(path, into=other)
    same(other, model)


def test_a_model_with_nothing_to_learn_comes_back(path):
    model = nn.Dense(2, 3)
    model.W.requires_grad = model.b.requires_grad = False
    tg.save(path, model)
    same(tg.load(path).model, model)


def test_modules_are_in_the_mode_in_which_they_were(path):
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    model[1].eval()
    tg.save(path, model)
    assert [m.training for m in tg.load(path).model.modules()] == [True, True, False, False]
    other = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5))).eval()
    tg.load(path, into=other)
    assert [m.training for m in other.modules()] == [True, True, False, False]


# ---- losses, optimizers, schedules


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("as_function", [False, True], ids=["module", "function"])
def test_a_loss_comes_back_with_its_options(name, as_function, path):
    options, cls = LOSSES[name], getattr(nn, name)
    loss = (
        partial(cls.function, **options) if as_function and options else cls.function if as_function else cls(**options)
    )
    tg.save(path, nn.Dense(1, 1), loss=loss)
    loaded = tg.load(path).loss
    assert type(loaded) is type(loss)
    if as_function:
        assert getattr(loaded, "func", loaded) is cls.function
    found = loaded.keywords if isinstance(loaded, partial) else getattr(loaded, "options", {})
    assert {*found} == {*options}
    for option, value in options.items():
        array = value.data if isinstance(value, tg.Tensor) else value
        np.testing.assert_array_equal(found[option], array)
        assert np.asarray(found[option]).dtype == np.asarray(array).dtype


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_comes_back_with_what_it_remembers(name, path):
    model = nn.Sequential(nn.Dense(2, 2), nn.Dense(2, 1))
    kept = model.parameters()[:0:-1]  # not all, and in another order
    optimizer = getattr(optim, name)(kept, lr=0.25, **OPTIMIZERS[name])
    for k in range(3):
        for p in kept[k:]:
            p.grad = np.full(p.shape, 0.5 + k)
        optimizer.step()
        optimizer.zero_grad()
    tg.save(path, model, optimizer)
    saved = tg.load(path)
    loaded = saved.optimizer
    assert type(loaded) is type(optimizer)
    assert loaded.parameters == [dict(saved.model.named_parameters())[p.name] for p in kept]
    plain = ("momentum", "nesterov", "weight_decay", "betas", "eps", "decay", "steps", "missed", "lr")
    assert [getattr(loaded, x, None) for x in plain] == [getattr(optimizer, x, None) for x in plain]
    for key, value in optimizer.state().items():
        np.testing.assert_array_equal(loaded.state()[key], value)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_comes_back(name):
    settings = json.loads(json.dumps(describe_schedule(SCHEDULES[name])))
    loaded = build_schedule(settings)
    assert type(loaded) is type(SCHEDULES[name])
    if name != "ReduceOnPlateau":  # whose rate is part of its state
        assert [loaded(k) for k in range(20)] == [SCHEDULES[name](k) for k in range(20)]
    attributes = {k: v for k, v in vars(loaded).items() if k not in ("after", "rate")}
    assert attributes == {k: v for k, v in vars(SCHEDULES[name]).items() if k not in ("after", "rate")}


@pytest.mark.parametrize("warm_up", [False, True])
@pytest.mark.parametrize("losses", [0, 2, 2000], ids=["new", "waiting", "at rate 0"])
def test_a_plateau_goes_on_where_it_was(warm_up, losses, path):
    plateau = optim.ReduceOnPlateau(1.0, factor=0.5, patience=1 if losses > 2 else 3)
    model = nn.Dense(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=optim.WarmUp(plateau, steps=2) if warm_up else plateau)
    for _ in range(losses):
        optimizer.schedule.observe(1.0)
    tg.save(path, model, optimizer)
    schedule = tg.load(path).optimizer.schedule
    found = schedule.after if warm_up else schedule
    assert vars(found) == vars(plateau)
    for _ in range(3):
        for one in (schedule, plateau):
            one.observe(1.0)
        assert schedule(5) == optimizer.schedule(5)


def test_a_frozen_parameter_stays_in_its_optimizer(path):
    model = nn.Dense(2, 2)
    optimizer = optim.SGD(model.parameters(), momentum=0.5)
    model.b.requires_grad = False
    tg.save(path, model, optimizer)
    saved = tg.load(path)
    assert saved.optimizer.parameters == [saved.model.W, saved.model.b]
    assert not saved.model.b.requires_grad


# ---- code of one's own


class Line(nn.Module):
    """A model of somebody's own, with everything that one may put into it."""

    def __init__(self, n=2):
        self.inner = [nn.Dense(n, n), {"out": nn.BatchNorm(n)}]
        self.gain = tg.Tensor(np.full(n, 2.0, np.float32), requires_grad=True)
        self.frozen = tg.Tensor(np.full(n, 3.0), requires_grad=True)
        self.frozen.requires_grad = False
        self.features = tg.Tensor(np.random.default_rng().random(n))  # a constant, another one in each model
        self.mask = np.array([True] * n)
        self.count = np.arange(n)

    def forward(self, x):
        self.hidden = self.inner[0](x)
        return self.inner[1]["out"](self.hidden) * self.gain + self.frozen * self.features


def test_a_model_of_ones_own_is_restored_into_one(path):
    model = Line()
    model(np.random.default_rng(0).random((7, 2)))
    with tg.no_grad():
        model(np.ones((3, 2)))  # leaves a constant behind, which a new model has not
    model.gain.data[...] = [4, 5]
    tg.save(path, model)
    other = Line()
    assert tg.load(path, into=other).model is other
    assert {name: a.tolist() for name, a in other.state().items()} == {n: a.tolist() for n, a in model.state().items()}
    assert "frozen" in other.state()
    np.testing.assert_array_equal(other.features.data, model.features.data)
    assert other.gain.dtype == np.float32
    assert not hasattr(other, "hidden")
    tg.load(path, into=model)


OWN = {
    "a class": (lambda: nn.Sequential(nn.Dense(2, 2), Line()), r"layers\.1, of class Line"),
    "a class alone": (Line, r"the model, of class Line"),
    "a function": (lambda: nn.Sequential(nn.Dense(2, 2), np.tanh), r"layers\.1, the function tanh"),
    "a subclass": (lambda: nn.Residual(type("MyDense", (nn.Dense,), {})(2, 2)), r"layers\.0, of class MyDense"),
    "an array more": (lambda: with_attribute("mask", np.ones(3)), r"'layers\.0\.mask'"),
    "a parameter more": (lambda: with_attribute("c", tg.Tensor(1.0, requires_grad=True)), r"'layers\.0\.c'"),
    "another shape": (lambda: with_attribute("b", tg.Tensor(np.ones(2), requires_grad=True)), r"'layers\.0\.b'"),
    "another forward": (lambda: with_attribute("forward", lambda x: x), r"layers\.0, of class Dense"),
}


def with_attribute(name, value):
    layer = nn.Dense(3, 3)
    setattr(layer, name, value)
    return nn.Sequential(layer)


@pytest.mark.parametrize("which", OWN)
def test_code_of_ones_own_is_saved_by_its_arrays_and_load_says_what_it_needs(which, path):
    make, words = OWN[which]
    model = make()
    tg.save(path, model)
    with pytest.raises(
        ValueError, match=rf"model\.safetensors.*code of your own.*{words}.*tg.load\(path, into=model\)"
    ):
        tg.load(path)
    other = make()
    for parameter in other.parameters():
        parameter.data = parameter.data + 1
    tg.load(path, into=other)
    for name, array in other.state().items():
        np.testing.assert_array_equal(array, model.state()[name])


def test_a_description_has_no_array_and_no_name_of_ours_but_classes():
    text = json.dumps(describe(nn.Sequential(nn.Dense(2, 3), nn.Dropout(0.1))))
    assert text == (
        '{"class": "Sequential", "layers": [{"class": "Dense", "n_in": 2, "n_out": 3, "bias": true}, '
        '{"class": "Dropout", "rate": 0.1}]}'
    )
