"""gradcheck tells right derivatives from wrong ones, to second order, and says where."""

import re

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn, ops
from tinygrad_ce.check import GradcheckError, gradcheck, gradcheck_model
from tinygrad_ce.core import REGISTRY, primitive

X = np.array([0.5, 1.5, -2.0])


@pytest.fixture(autouse=True)
def _own_primitives_leave_the_registry():
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def cube(rule):
    """x**3 with this derivative rule."""

    @primitive
    def own_cube(x):
        return x**3

    def own_cube_x(g, out, x):
        return rule(g, x)

    own_cube.vjp("x")(own_cube_x)
    return own_cube


def detached(x):
    return x.data if isinstance(x, tg.Tensor) else x


RIGHT = cube(lambda g, x: g * 3 * x * x)
WRONG_FIRST = cube(lambda g, x: g * 2 * x * x)
WRONG_SECOND = cube(lambda g, x: g * 3 * detached(x) ** 2)  # the usual slip: a saved value that is no longer tracked


@pytest.mark.parametrize(
    "f",
    [
        RIGHT,
        lambda x: x**3,
        lambda x: (x**3).sum(),
        lambda x: ops.exp(x)[None, :] * ops.sin(x)[:, None],
        lambda x: ops.stack(x, x * x),
        lambda x: x[np.array([0, 1, 1])] ** 2,
        lambda x: x * 0.0 + 1,
        lambda x: x * 1e10,
        lambda x: tg.Tensor(3.0),
        lambda x: tg.gradients((x**4).sum(), x, create_graph=True),
    ],
)
@pytest.mark.parametrize("order", [1, 2])
def test_right_functions_pass(f, order):
    report = gradcheck(f, X, order=order)
    assert report.ok
    assert report.order == order
    assert report.largest_difference < 1e-4
    assert "right" in str(report)
    assert "float64" in str(report)
    assert ("second" in str(report)) == (order == 2)


@pytest.mark.parametrize("order", [1, 2])
def test_a_wrong_rule_is_caught_with_every_element_both_ways(order):
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda a, b: WRONG_FIRST(a) * b, X, np.array([1.0, 0.0, 2.0]), order=order, names=["a", "b"])
    wrong = caught.value.report.mismatches
    assert not caught.value.report.ok
    assert [(m.argument, m.index) for m in wrong] == [("a", (0,)), ("a", (2,))]  # b is right; a[1] is times 0
    for m in wrong:
        np.testing.assert_allclose(m.analytic / m.numerical, 2 / 3, rtol=1e-6)
        np.testing.assert_allclose(m.relative, 1 / 3, rtol=1e-5)


def test_the_table_shows_input_index_both_numbers_and_their_difference():
    with pytest.raises(AssertionError) as caught:
        gradcheck(lambda x: WRONG_FIRST(x).sum(), X.reshape(3, 1))
    text = str(caught.value)
    assert "WRONG" in text
    assert "the first derivatives are wrong" in text
    for heading in ("input", "index", "analytic", "numerical", "relative"):
        assert heading in text
    rows = re.findall(r"input 0\s+(\[\d, 0\])\s+(\S+)\s+(\S+)\s+(\S+)", text)
    assert [row[0] for row in rows] == ["[0, 0]", "[1, 0]", "[2, 0]"]
    for _, analytic, numerical, relative in rows:
        np.testing.assert_allclose(float(analytic) / float(numerical), 2 / 3, rtol=1e-4)
        np.testing.assert_allclose(float(relative), 1 / 3, rtol=0.02)


def test_a_rule_that_is_right_once_but_not_twice_is_caught_at_second_order():
    assert gradcheck(WRONG_SECOND, X, order=1).ok
    with pytest.raises(GradcheckError, match="the first derivatives are right, the second are wrong") as caught:
        gradcheck(WRONG_SECOND, X)
    assert {m.index for m in caught.value.report.mismatches} == {(0,), (1,), (2,)}
    assert {m.analytic for m in caught.value.report.mismatches} == {0.0}


@pytest.mark.parametrize("f", [lambda x: tg.Tensor(detached(x) * 2), lambda x: x * tg.Tensor(detached(x))])
def test_a_gradient_that_was_lost_is_caught(f):
    with pytest.raises(GradcheckError):
        gradcheck(f, X)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e6])
def test_a_wrong_rule_is_caught_at_every_scale(scale):
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: WRONG_FIRST(x) * scale, X)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 1e3, 1e6, 1e9])
def test_right_functions_pass_at_inputs_of_every_size(size):
    assert gradcheck(lambda x: x * x, X * size).ok


def test_a_wrong_element_among_many_is_caught():
    mask = np.zeros((20, 20))
    mask[3, 4] = 1

    def f(x):
        return RIGHT(x) * (1 - mask) + WRONG_FIRST(x) * mask

    with pytest.raises(GradcheckError) as caught:
        gradcheck(f, np.random.default_rng(0).normal(size=(20, 20)))
    assert [m.index for m in caught.value.report.mismatches] == [(3, 4)]


def test_the_rule_of_the_second_input_is_checked_too():
    @primitive
    def own_product(a, b):
        return a * b

    own_product.vjp("a")(lambda g, out, a, b: g * b)
    own_product.vjp("b")(lambda g, out, a, b: g * b)
    with pytest.raises(GradcheckError) as caught:
        gradcheck(own_product, X, X + 1)
    assert {m.argument for m in caught.value.report.mismatches} == {"input 1"}


def test_a_nan_is_not_right():
    with np.errstate(all="ignore"), pytest.raises(GradcheckError, match="nan"):
        gradcheck(ops.log, np.array([-1.0, 1.0]))


def test_float32_is_checked_in_float64_and_that_is_said():
    report = gradcheck(lambda x: x**3, X.astype(np.float32))
    assert report.ok
    assert "input 0 came as float32 and was checked in float64" in str(report)
    assert "came as" not in str(gradcheck(lambda x: x**3, X))


@pytest.mark.parametrize("x", [X, tg.Tensor(X), tg.Tensor(X, requires_grad=True), X.tolist(), 2.0], ids=type)
def test_inputs_come_in_many_forms_and_are_left_alone(x):
    assert gradcheck(lambda t: t**3, x).ok
    if isinstance(x, tg.Tensor):
        assert x.grad is None
    np.testing.assert_array_equal(X, [0.5, 1.5, -2.0])


def test_integers_and_booleans_are_passed_on_as_they_are():
    seen = []

    def f(x, i, mask):
        seen.append((i.dtype, mask.dtype))
        return ops.where(mask, x * i, x)

    assert gradcheck(f, X, np.array([1, 2, 3]), np.array([True, False, True])).ok
    assert set(seen) == {(np.dtype(int), np.dtype(bool))}


def test_without_floating_inputs_there_is_nothing_to_check():
    with pytest.raises(TypeError, match="floating-point"):
        gradcheck(lambda x: x, np.array([1, 2]))
    with pytest.raises(TypeError, match="floating-point"):
        gradcheck(lambda: tg.Tensor(1.0))


@pytest.mark.parametrize("random", [lambda g: g.random(), lambda g: g.normal(size=3)])
def test_randomness_is_detected(random):
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"another value.*eval\(\)"):
        gradcheck(lambda x: x * random(generator), X)


@pytest.mark.parametrize("answer", [3.0, None, (tg.Tensor(1.0),)], ids=type)
def test_a_function_must_return_one_tensor(answer):
    with pytest.raises(TypeError, match="must return one Tensor"):
        gradcheck(lambda x: answer, X)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"order": 0}, "order"), ({"order": 3}, "order"), ({"rtol": -1}, "rtol"), ({"names": []}, "names")],
    ids=str,
)
def test_bad_options_are_refused_by_name(options, name):
    with pytest.raises((ValueError, TypeError), match=name):
        gradcheck(lambda x: x * x, X, **options)


# ---- models


def model():
    tg.seed(0)
    return nn.Sequential(nn.Dense(2, 3), nn.Tanh(), nn.BatchNorm(3), nn.Dense(3, 2))


BATCH = np.random.default_rng(2).normal(size=(6, 2))
LABELS = np.array([0, 1, 1, 0, 1, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_passes_and_is_left_untouched(dtype):
    net = model().astype(dtype)
    net.layers[2].training = False
    nn.SoftmaxCrossEntropy()(net(BATCH.astype(dtype)), LABELS).backward()
    before = net.state()
    grads = [p.grad.copy() for p in net.parameters()]
    held = [id(p) for p in net.parameters()]
    names = [p.name for p in net.parameters()]
    assert gradcheck_model(net, nn.SoftmaxCrossEntropy(), BATCH.astype(dtype), LABELS).ok
    assert [id(p) for p in net.parameters()] == held
    assert [p.name for p in net.parameters()] == names
    for (name, array), p in zip(before.items(), net.state().values(), strict=True):
        assert p.dtype == dtype, name
        np.testing.assert_array_equal(p, array)
    for p, g in zip(net.parameters(), grads, strict=True):
        np.testing.assert_array_equal(p.grad, g)
    assert [module.training for module in net.modules()] == [True, True, True, False, True]


@pytest.mark.parametrize(
    ("loss", "end", "targets"),
    [
        (nn.SoftmaxCrossEntropy(label_smoothing=0.1), [], LABELS),
        (nn.CrossEntropy(), [nn.Softmax()], LABELS),
        (nn.CrossEntropy(fused=False), [nn.Softmax()], LABELS),
        (nn.SigmoidBCE(pos_weight=2.0), [], np.eye(2)[LABELS]),
        (nn.BCE(), [nn.Sigmoid()], np.eye(2)[LABELS]),
        (nn.MSE(), [nn.Softplus()], np.eye(2)[LABELS]),
    ],
)
def test_every_loss_of_a_model_passes(loss, end, targets):
    net = nn.Sequential(*model().layers, *end)
    assert gradcheck_model(net, loss, BATCH, targets).ok


def test_a_model_with_a_shared_layer_passes():
    tg.seed(0)
    layer = nn.Dense(2, 2)
    assert gradcheck_model(nn.Sequential(layer, nn.Tanh(), layer), nn.SoftmaxCrossEntropy(), BATCH, LABELS).ok


def test_a_wrong_rule_in_a_model_names_the_parameters_it_spoils():
    net = nn.Sequential(nn.Dense(2, 3), WRONG_FIRST, nn.Dense(3, 2))
    with pytest.raises(GradcheckError) as caught:
        gradcheck_model(net, nn.SoftmaxCrossEntropy(), BATCH, LABELS)
    assert {m.argument for m in caught.value.report.mismatches} == {"layers.0.W", "layers.0.b"}


def test_dropout_in_training_is_random_and_in_evaluation_is_not():
    net = nn.Sequential(nn.Dense(2, 3), nn.Dropout(0.5), nn.Dense(3, 2))
    with pytest.raises(ValueError, match=r"eval\(\)"):
        gradcheck_model(net, nn.SoftmaxCrossEntropy(), BATCH, LABELS)
    assert gradcheck_model(net.eval(), nn.SoftmaxCrossEntropy(), BATCH, LABELS).ok


def test_a_model_without_parameters_has_nothing_to_check():
    with pytest.raises(TypeError, match="nothing"):
        gradcheck_model(nn.Tanh(), nn.SoftmaxCrossEntropy(), BATCH, LABELS)
