"""Layers against NumPy formulas, and what a Module promises: names, modes, dtypes, copies, its summary."""

import copy
import pickle
import re

import numpy as np
import pytest
import scipy.special

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce.nn import init
from tinygrad_ce.variable import Variable

rng = np.random.default_rng(11)
X = rng.normal(size=(6, 4))


@pytest.fixture(autouse=True)
def _seeded():
    tg.seed(0)


def gradient(module, x):
    leaf = tg.Tensor(x, requires_grad=True)
    weights = np.cos(np.arange(module(leaf).size)).reshape(module(leaf).shape)
    return tg.gradients((module(leaf) * weights).sum(), [leaf])[0]


# ---- layers


@pytest.mark.parametrize("shape", [(4,), (6, 4), (2, 3, 4), (0, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_dense(shape, bias):
    layer = nn.Dense(4, 3, bias=bias)
    x = rng.normal(size=shape)
    b = 0.0
    if bias:
        layer.b.data[...] = b = np.arange(3.0)
    np.testing.assert_allclose(layer(x).data, x @ layer.W.data + b, rtol=1e-13)
    assert [name for name, _ in layer.named_parameters()] == ["W", "b"][: 1 + bias]


def test_dense_gradients():
    layer = nn.Dense(4, 3)
    x = tg.Tensor(X, requires_grad=True)
    g = rng.normal(size=(6, 3))
    layer(x).backward(g)
    np.testing.assert_allclose(layer.W.grad, X.T @ g, rtol=1e-13)
    np.testing.assert_allclose(layer.b.grad, g.sum(axis=0), rtol=1e-13)
    np.testing.assert_allclose(x.grad, g @ layer.W.data.T, rtol=1e-13)


def test_dense_starts_with_zero_bias_and_the_asked_weights():
    assert (nn.Dense(4, 3).b.data == 0).all()
    assert (nn.Dense(4, 3, init="zeros").W.data == 0).all()
    np.testing.assert_array_equal(nn.Dense(2, 3, init=lambda a, b: np.full((a, b), 7)).W.data, np.full((2, 3), 7.0))


@pytest.mark.parametrize(
    ("layer", "formula"),
    [
        (nn.Sigmoid(), scipy.special.expit),
        (nn.Tanh(), np.tanh),
        (nn.ReLU(), lambda x: x * (x > 0)),
        (nn.Softplus(), lambda x: np.logaddexp(0, x)),
        (nn.Softmax(), lambda x: scipy.special.softmax(x, axis=-1)),
        (nn.Softmax(axis=0), lambda x: scipy.special.softmax(x, axis=0)),
        (nn.Flatten(), lambda x: x.reshape(len(x), -1)),
    ],
    ids=["Sigmoid", "Tanh", "ReLU", "Softplus", "Softmax", "Softmax-axis-0", "Flatten"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations(layer, formula, dtype):
    x = (rng.normal(size=(3, 2, 4)) * 5).astype(dtype)
    y = layer(x)
    data = y.data if isinstance(y, tg.Tensor) else y
    assert data.dtype == dtype
    np.testing.assert_allclose(data, formula(x), rtol=1e-13 if dtype == np.float64 else 1e-5)
    assert layer.parameters() == []


def test_flatten_keeps_an_empty_batch():
    assert nn.Flatten()(np.zeros((0, 2, 3))).shape == (0, 6)


@pytest.mark.parametrize("name", ["Dense", "BatchNorm", "LayerNorm", "Embedding"])
@pytest.mark.parametrize("size", [0, -1, 2.0, "2", True, None])
def test_sizes_must_be_positive_integers(name, size):
    make = getattr(nn, name)
    with pytest.raises((ValueError, TypeError), match=f"^{name}: n_.*positive integer"):
        make(size, 3) if name in ("Dense", "Embedding") else make(size)


def test_dense_names_what_does_not_fit():
    model = nn.Sequential(nn.Dense(4, 3), nn.Dense(2, 1))
    with pytest.raises(ValueError, match=r"\(6, 3\).*\(2, 1\).*3 and 2 differ.*layers\.1\.W"):
        model(X)


# ---- initial weights


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / 700),
        ("glorot_normal", 2 / 700),
        ("he_uniform", 2 / 300),
        ("he_normal", 2 / 300),
    ],
)
def test_initial_variances(name, variance):
    for weights in (getattr(init, name)(300, 400), nn.Dense(300, 400, init=name).W.data):
        assert weights.shape == (300, 400)
        assert abs(weights.mean()) < 4 * np.sqrt(variance / weights.size)
        np.testing.assert_allclose(weights.var(), variance, rtol=0.03)
        if name.endswith("uniform"):
            limit = np.sqrt(3 * variance)
            assert np.abs(weights).max() <= limit
            assert np.abs(weights).max() > 0.99 * limit
        else:
            np.testing.assert_allclose((weights**4).mean() / variance**2, 3, rtol=0.1)  # the kurtosis of a normal


def test_a_seed_fixes_the_weights():
    def drawn():
        tg.seed(5)
        return [p.data for p in nn.Sequential(nn.Dense(3, 4), nn.Embedding(5, 2)).parameters()]

    for a, b in zip(drawn(), drawn(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (nn.Dense(3, 4).W.data != nn.Dense(3, 4).W.data).all()


def test_bad_initializers_are_refused():
    with pytest.raises(ValueError, match="glorot_uniform"):
        nn.Dense(2, 3, init="glorot")
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(2, 3\)|\(2, 3\).*\(3, 3\)"):
        nn.Dense(2, 3, init=lambda a, b: np.zeros((3, 3)))


# ---- Dropout


def test_dropout_keeps_the_mean_and_drops_at_its_rate():
    layer = nn.Dropout(0.3)
    y = np.asarray(layer(np.ones((400, 500))))
    assert set(np.unique(y).round(12)) == {0.0, round(1 / 0.7, 12)}
    np.testing.assert_allclose((y == 0).mean(), 0.3, atol=0.005)
    np.testing.assert_allclose(y.mean(), 1, atol=0.01)


def test_dropout_is_fixed_by_the_seed_and_differs_between_calls():
    layer, x = nn.Dropout(0.5), np.ones((20, 20))
    tg.seed(3)
    first, second = layer(x), layer(x)
    tg.seed(3)
    np.testing.assert_array_equal(layer(x), first)
    assert (first != second).any()


def test_dropout_does_nothing_in_evaluation_or_at_rate_zero():
    np.testing.assert_array_equal(nn.Dropout(0.5).eval()(X), X)
    np.testing.assert_array_equal(nn.Dropout(0)(X), X)


def test_dropout_passes_the_gradient_where_it_passed_the_value():
    layer = nn.Dropout(0.5)
    x = tg.Tensor(np.ones((10, 10), np.float32), requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad, y.data)


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, np.nan])
def test_bad_rates_are_refused(rate):
    with pytest.raises(ValueError, match="Dropout: rate="):
        nn.Dropout(rate)


def test_dropout_of_integers_is_no_nonsense():
    try:
        y = np.asarray(nn.Dropout(0.5)(np.ones((4, 4), int)))
    except TypeError:
        return
    assert set(np.unique(y)) <= {0, 2}


# ---- BatchNorm and LayerNorm


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4)])
def test_batch_norm_in_training(shape):
    layer = nn.BatchNorm(4)
    layer.scale.data[...], layer.shift.data[...] = [1, 2, 3, 4], [0, 1, 0, -1]
    x = rng.normal(2, 3, size=shape)
    flat = x.reshape(-1, 4)
    expected = (x - flat.mean(axis=0)) / np.sqrt(flat.var(axis=0) + 1e-5) * layer.scale.data + layer.shift.data
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-12)
    np.testing.assert_allclose(layer.running_mean, 0.1 * flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(layer.running_variance, 0.9 + 0.1 * flat.var(axis=0, ddof=1), rtol=1e-12)


def test_batch_norm_follows_and_evaluates_with_its_running_averages():
    layer = nn.BatchNorm(4, momentum=0.25)
    mean, variance = np.zeros(4), np.ones(4)
    for _ in range(5):
        x = rng.normal(1, 2, size=(8, 4))
        layer(tg.Tensor(x))
        mean, variance = 0.75 * mean + 0.25 * x.mean(axis=0), 0.75 * variance + 0.25 * x.var(axis=0, ddof=1)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_variance, variance, rtol=1e-12)
    layer.eval()
    np.testing.assert_allclose(layer(X).data, (X - mean) / np.sqrt(variance + 1e-5), rtol=1e-12)
    np.testing.assert_allclose(layer(X[:1]).data, layer(X).data[:1], rtol=1e-12)  # one row is enough now
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)  # evaluation learns nothing


def test_batch_norm_of_one_row_has_no_variance():
    with pytest.raises(ValueError, match="one row"):
        nn.BatchNorm(4)(X[:1])


def test_layer_norm():
    layer = nn.LayerNorm(4, eps=1e-3)
    layer.scale.data[...], layer.shift.data[...] = [1, 2, 3, 4], [0, 1, 0, -1]
    x = rng.normal(2, 3, size=(2, 3, 4))
    centred = x - x.mean(axis=-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-3) * [1, 2, 3, 4] + [0, 1, 0, -1]
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-12)
    np.testing.assert_allclose(layer(x[:1, :1]).data, expected[:1, :1], rtol=1e-12)  # rows know nothing of each other


@pytest.mark.parametrize("make", [nn.BatchNorm, nn.LayerNorm])
def test_norm_layers_have_right_gradients_to_second_order(make):
    layer = make(4)
    layer.scale.data[...] = [1, 2, 3, 4]
    assert tg.check.gradcheck(lambda x: (layer(x) ** 3).sum(), X).ok
    assert tg.check.gradcheck_model(nn.Sequential(nn.Dense(4, 3), make(3)), nn.MSE(), X, np.ones((6, 3))).ok


@pytest.mark.parametrize("make", [nn.BatchNorm, nn.LayerNorm])
def test_norm_layers_keep_float32(make):
    layer = make(4).astype(np.float32)
    x = X.astype(np.float32)
    assert layer(x).dtype == np.float32
    layer.eval()
    assert layer(x).dtype == np.float32
    assert {array.dtype for array in layer.state().values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("make", [nn.BatchNorm, nn.LayerNorm])
@pytest.mark.parametrize("shape", [(4,), (6, 3), (4, 1)])
def test_norm_layers_name_the_features_they_miss(make, shape):
    with pytest.raises(ValueError, match=f"{make.__name__}: x has shape .*4 features"):
        make(4)(np.zeros(shape))


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (nn.BatchNorm, {"momentum": 2.0}),
        (nn.BatchNorm, {"momentum": -0.1}),
        (nn.BatchNorm, {"eps": -1.0}),
        (nn.LayerNorm, {"eps": -1.0}),
        (nn.LayerNorm, {"eps": np.nan}),
    ],
    ids=str,
)
def test_norm_layers_refuse_bad_options(make, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{make.__name__}: {name}="):
        make(4, **options)


# ---- Embedding


@pytest.mark.parametrize("words", [3, [0, 4], [[1, 1], [2, 0]], np.zeros((0,), int), np.array([4], np.uint8)], ids=str)
def test_embedding_looks_words_up(words):
    layer = nn.Embedding(5, 2)
    np.testing.assert_array_equal(layer(words).data, layer.W.data[np.asarray(words)])


def test_the_gradients_of_a_repeated_word_add_up():
    layer = nn.Embedding(5, 2)
    g = rng.normal(size=(4, 2))
    layer(np.array([1, 3, 1, 1])).backward(g)
    expected = np.zeros((5, 2))
    expected[1], expected[3] = g[0] + g[2] + g[3], g[1]
    np.testing.assert_allclose(layer.W.grad, expected)


def test_an_embedding_network_passes_gradcheck():
    model = nn.Sequential(nn.Embedding(4, 3), nn.Flatten(), nn.Tanh(), nn.Dense(6, 2))
    words = np.array([[0, 1], [2, 2], [3, 0]])
    assert tg.check.gradcheck_model(model, nn.SoftmaxCrossEntropy(), words, np.array([0, 1, 1])).ok


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        ([1.0], TypeError, r"astype\(int\)"),
        ([True], TypeError, "integers"),
        ([5], IndexError, "word 5 is outside 0 to 4"),
        ([0, -1], IndexError, "word -1 is outside 0 to 4"),
    ],
)
def test_words_that_are_none_are_refused(words, kind, message):
    with pytest.raises(kind, match=message):
        nn.Embedding(5, 2)(words)


# ---- Sequential


def test_sequential_runs_modules_and_functions_in_order():
    model = nn.Sequential(nn.Dense(4, 3), np.tanh, lambda t: t * 2)
    np.testing.assert_allclose(model(X).data, np.tanh(X @ model[0].W.data) * 2, rtol=1e-13)
    assert len(model) == 3
    assert isinstance(model[-3], nn.Dense)


@pytest.mark.parametrize("layer", [3, None, [nn.Tanh()]])
def test_sequential_refuses_what_cannot_be_called(layer):
    with pytest.raises(TypeError, match="Sequential: layer 1"):
        nn.Sequential(nn.Tanh(), layer)


# ---- Module


class Nested(nn.Module):
    """Parameters everywhere, one of them shared."""

    def __init__(self):
        self.gain = tg.Tensor(2.0, requires_grad=True)
        self.blocks = [nn.Dense(4, 4), nn.Sequential(nn.Dense(4, 4, bias=False), nn.BatchNorm(4))]
        self.heads = {"a": nn.Dense(4, 2), "b": (tg.Tensor(np.ones(2), requires_grad=True),)}
        self.again = self.blocks[0]
        self.constant = tg.Tensor(5.0)

    def forward(self, x, scale=1.0):
        x = self.again(self.blocks[1](self.blocks[0](x)))
        return self.heads["a"](x) * self.gain + self.heads["b"][0] * scale


PATHS = [
    "gain", "blocks.0.W", "blocks.0.b", "blocks.1.layers.0.W", "blocks.1.layers.1.scale", "blocks.1.layers.1.shift",
    "heads.a.W", "heads.a.b", "heads.b.0",
]  # fmt: skip


def test_parameters_are_named_by_their_path_and_shared_ones_come_once():
    model = Nested()
    assert [name for name, _ in model.named_parameters()] == PATHS
    assert [id(p) for _, p in model.named_parameters()] == [id(p) for p in model.parameters()]


def test_the_name_in_errors_and_pictures_is_the_path():
    model = nn.Sequential(Nested(), nn.Tanh())
    assert [p.name for _, p in model.named_parameters()] == [name for name, _ in model.named_parameters()]


def test_an_own_module_trains():
    class Line(nn.Module):
        def __init__(self):
            self.slope = tg.Tensor(0.0, requires_grad=True)
            self.offset = tg.Tensor(0.0, requires_grad=True)

        def forward(self, x):
            return x * self.slope + self.offset

    model, x = Line(), np.linspace(-1, 1, 20)[:, None]
    trainer = tg.Trainer(model, nn.MSE(), tg.optim.SGD(model.parameters(), lr=0.3))
    trainer.fit(x, 3 * x - 1, epochs=60, batch_size=20)
    np.testing.assert_allclose([model.slope.item(), model.offset.item()], [3, -1], atol=1e-3)


def test_a_module_without_forward_says_so():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no forward"):
        Empty()(X)


def test_train_and_eval_reach_every_module():
    model = Nested()
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    assert model.train() is model
    assert all(module.training for module in model.modules())


def test_astype_turns_parameters_and_running_averages():
    model = Nested()
    model(X).sum().backward()
    assert model.astype("float32") is model
    assert {array.dtype for array in model.state().values()} == {np.dtype(np.float32)}
    assert all(p.grad is None for p in model.parameters())
    assert model(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("dtype", [int, "int8", bool, complex])
def test_astype_refuses_what_has_no_gradients(dtype):
    with pytest.raises(TypeError, match="floating-point"):
        Nested().astype(dtype)


def test_state_is_a_copy_and_restore_brings_it_back():
    model = Nested()
    before = model.state()
    assert set(before) == {*PATHS, "blocks.1.layers.1.running_mean", "blocks.1.layers.1.running_variance"}
    kept = {name: array.copy() for name, array in before.items()}
    model(X)
    for parameter in model.parameters():
        parameter.data += 1
    for name, array in before.items():
        np.testing.assert_array_equal(array, kept[name])
    assert model.restore(before) is model
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, kept[name])
    model.parameters()[0].data += 1  # and what was restored is the model's own
    np.testing.assert_array_equal(before["gain"], kept["gain"])


def test_frozen_parameters_are_in_the_state():
    model = Nested()
    before = model.state()
    for parameter in model.parameters()[::2]:
        parameter.requires_grad = False
    assert {*model.state()} == {*before}
    frozen = model.state()
    for parameter in model.parameters():
        parameter.data += 1
    model.restore(before)
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, frozen[name])
    assert len(model.parameters()) < len(Nested().parameters())
    with pytest.raises(ValueError, match=r"restore: gain has shape \(.*\) here and no place in the state"):
        model.restore({name: array for name, array in before.items() if name != "gain"})


class Hidden(nn.Module):
    """Keeps what a forward pass has computed, to be looked at."""

    def __init__(self):
        self.layer, self.constants = nn.Dense(2, 2), [tg.Tensor(np.ones(3)), Variable([1.0])]

    def forward(self, x):
        self.hidden = self.layer(x)
        return self.hidden


def test_what_a_forward_pass_leaves_behind_is_no_part_of_the_state():
    model = Hidden()
    with tg.no_grad():
        model(np.ones((5, 2)))
    assert {*model.state()} == {"layer.W", "layer.b", "constants.1"}
    Hidden().restore(model.state())


def test_an_optimizer_goes_on_with_restored_parameters():
    model = nn.Dense(2, 2)
    optimizer = tg.optim.SGD(model.parameters(), lr=1.0)
    model.restore({"W": np.zeros((2, 2)), "b": np.zeros(2)})
    model(np.ones((1, 2))).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(model.W.data, -np.ones((2, 2)))


@pytest.mark.parametrize("wrong", [{}, {"W": np.zeros((2, 2))}, {"W": np.zeros((2, 3)), "b": np.zeros(2)}])
def test_restore_names_what_does_not_fit(wrong):
    model = nn.Dense(2, 2)
    before = model.state()
    with pytest.raises(ValueError, match=r"restore: [Wb] "):
        model.restore(wrong)
    np.testing.assert_array_equal(model.W.data, before["W"])


def test_a_deep_copy_is_independent_and_keeps_what_is_shared():
    model = Nested()
    model(X).sum().backward()
    twin = copy.deepcopy(model)
    assert [name for name, _ in twin.named_parameters()] == PATHS
    assert twin.again is twin.blocks[0]
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in model.parameters()}
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)
        theirs.data += 1
        assert (mine.data != theirs.data).all()
    twin.blocks[1][1].running_mean += 5
    assert (model.blocks[1][1].running_mean < 5).all()


def test_a_model_can_be_pickled():
    model = pickle.loads(pickle.dumps(nn.Sequential(nn.Dense(4, 3), nn.Tanh())))
    assert model(X).shape == (6, 3)


def test_keyword_arguments_reach_forward():
    model = Nested().eval()
    assert (model(X, scale=2.0).data != model(X).data).any()


# ---- summary


def rows_of(table):
    return [[*row] for row in table.parts[1].rows]


def test_the_summary_tells_layers_shapes_and_parameters():
    model = nn.Sequential(nn.Dense(4, 1000), nn.Tanh(), nn.Sequential(nn.Dense(1000, 3, bias=False), nn.BatchNorm(3)))
    text = model.summary()
    assert re.search("Sequential", text.splitlines()[0])
    assert rows_of(text) == [
        ["layers.0  Dense(4, 1000)", "(N, 1000)", "5,000"],
        ["layers.1  Tanh()", "(N, 1000)", "0"],
        ["layers.2.layers.0  Dense(1000, 3, bias=False)", "(N, 3)", "3,000"],
        ["layers.2.layers.1  BatchNorm(3)", "(N, 3)", "6"],
        ["all", "", "8,006"],
    ]


def test_the_summary_takes_an_example_and_changes_nothing():
    model = nn.Sequential(nn.Flatten(), nn.Dense(6, 2), nn.BatchNorm(2))
    model[2].training = False
    before = model.state()
    assert ["layers.0  Flatten()", "(N, 6)", "0"] in rows_of(model.summary(np.zeros((5, 2, 3))))
    assert [module.training for module in model.modules()] == [True, True, True, False]
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])
    assert "forward" not in vars(model[1])
    with pytest.raises(ValueError, match="inner sizes"):
        model.summary(np.zeros((5, 3)))
    assert "forward" not in vars(model[1])


def test_the_summary_counts_shared_parameters_once_and_own_ones_too():
    model = Nested()
    assert rows_of(model.summary(X))[-1] == ["all", "", str(sum(p.size for p in model.parameters()))]


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Tanh()),
        nn.Sequential(),
        nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Dense(6, 2)),
        nn.Sequential(nn.Flatten(), nn.Dense(6, 2)),
    ],
    ids=["no size", "empty", "words", "flattened"],
)
def test_a_summary_without_an_example_never_fails(model):
    assert "all" in model.summary()


# ---- losses as modules


@pytest.mark.parametrize(
    "loss", [nn.CrossEntropy, nn.SoftmaxCrossEntropy, nn.BCE, nn.SigmoidBCE, nn.MSE], ids=lambda loss: loss.__name__
)
def test_a_loss_refuses_an_option_that_it_does_not_have(loss):
    with pytest.raises(TypeError, match="smoothing_of_labels"):
        loss(smoothing_of_labels=0.1)(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))


def test_losses_as_modules_have_no_parameters_and_show_their_options():
    loss = nn.SoftmaxCrossEntropy(label_smoothing=0.1)
    assert loss.parameters() == []
    assert repr(loss) == "SoftmaxCrossEntropy(label_smoothing=0.1)"
