"""Each optimizer against the formulas of its paper, written out in plain NumPy, and the schedules against theirs."""

import math

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import optim
from tinygrad_ce.optim import SGD, AdaGrad, Adam, AdamW, Constant, Cosine, RMSprop, StepDecay, WarmUp, clip_grad_norm

OPTIMIZERS = [SGD, Adam, AdamW, RMSprop, AdaGrad]


def parameter(*values, dtype=np.float64):
    return tg.Tensor(np.array(values, dtype), requires_grad=True)


def grads(steps, shape=(3, 2)):
    generator = np.random.default_rng(0)
    return [generator.normal(size=shape) for _ in range(steps)]


START = np.random.default_rng(1).normal(size=(3, 2))


def ours(make, steps=10, **options):
    p = tg.Tensor(START, requires_grad=True)
    optimizer = make([p], **options)
    for g in grads(steps):
        p.grad = g
        optimizer.step()
    return p.data


# ---- the papers


def sgd(lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    """Sutskever et al. 2013, with the velocity kept unscaled by lr, as PyTorch does."""
    p, v = START.copy(), np.zeros_like(START)
    for g in grads(10):
        d = g + weight_decay * p
        v = momentum * v + d
        p = p - lr * ((d + momentum * v) if nesterov else v)
    return p


def adam(lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2."""
    p, m, v = START.copy(), np.zeros_like(START), np.zeros_like(START)
    for t, gradient in enumerate(grads(10), start=1):
        g = gradient if decoupled else gradient + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        decay = lr * weight_decay * p if decoupled else 0
        p = p - lr * m_hat / (np.sqrt(v_hat) + eps) - decay
    return p


def rmsprop(lr, decay=0.99, eps=1e-8, weight_decay=0.0):
    """Hinton 2012, lecture 6e."""
    p, s = START.copy(), np.zeros_like(START)
    for gradient in grads(10):
        g = gradient + weight_decay * p
        s = decay * s + (1 - decay) * g**2
        p = p - lr * g / (np.sqrt(s) + eps)
    return p


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(momentum, weight_decay, nesterov):
    if nesterov and not momentum:
        pytest.skip("refused; see below")
    options = {"lr": 0.05, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    np.testing.assert_allclose(ours(SGD, **options), sgd(**options), rtol=1e-13)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.5), (0.5, 0.0)])
@pytest.mark.parametrize("eps", [1e-8, 0.1])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_and_adamw(betas, eps, weight_decay):
    options = {"lr": 0.05, "betas": betas, "eps": eps, "weight_decay": weight_decay}
    np.testing.assert_allclose(ours(Adam, **options), adam(**options), rtol=1e-12)
    np.testing.assert_allclose(ours(AdamW, **options), adam(**options, decoupled=True), rtol=1e-12)


@pytest.mark.parametrize("decay", [0.99, 0.5, 0.0])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rmsprop(decay, weight_decay):
    options = {"lr": 0.05, "decay": decay, "weight_decay": weight_decay, "eps": 1e-6}
    np.testing.assert_allclose(ours(RMSprop, **options), rmsprop(**options), rtol=1e-12)


def test_the_defaults_are_those_of_the_papers():
    np.testing.assert_allclose(ours(SGD), sgd(0.1))
    np.testing.assert_allclose(ours(Adam), adam(1e-3))
    np.testing.assert_allclose(ours(AdamW), adam(1e-3, weight_decay=0.01, decoupled=True))
    np.testing.assert_allclose(ours(RMSprop), rmsprop(1e-2))


# ---- what a step does and does not


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_step_writes_into_the_same_array_in_its_dtype(make, dtype):
    p = tg.Tensor(np.ones((2, 3), dtype), requires_grad=True)
    held = p.data
    optimizer = make([p], lr=0.1)
    for _ in range(3):
        p.grad = np.ones((2, 3), dtype)
        optimizer.step()
    assert p.data is held
    assert held.dtype == dtype
    assert (held < 1).all()
    computed = np.float64 if dtype is np.float64 else np.float32  # float16 is storage
    assert all(variable.dtype == computed for variable in optimizer.memory[0])


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_step_leaves_the_gradient_as_it_is(make):
    p, g = parameter(1.0, 2.0), np.array([0.5, -0.5])
    p.grad = g
    make([p], weight_decay=0.1, lr=0.1).step()
    assert p.grad is g
    np.testing.assert_array_equal(g, [0.5, -0.5])


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_parameter_without_a_gradient_is_untouched(make):
    p, q = parameter(1.0), parameter(1.0)
    optimizer = make([p, q], lr=0.1, weight_decay=0.1)
    p.grad = np.ones(1)
    optimizer.step()
    assert p.data[0] < 1
    assert q.data[0] == 1


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_zero_grad_forgets(make):
    p = parameter(1.0)
    (p * 3).sum().backward()
    optimizer = make([p])
    optimizer.zero_grad()
    assert p.grad is None
    with pytest.warns(UserWarning, match="no parameter has a gradient"):
        optimizer.step()
    assert p.data[0] == 1


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_bowl_is_descended(make):
    p = parameter(3.0, -2.0)
    optimizer = make([p], lr=1.0 if make is AdaGrad else 0.1)  # the steps of AdaGrad only shrink
    for _ in range(300):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
    assert np.abs(p.data).max() < 0.15


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("shape", [1, 3, (2, 1), (1, 2)], ids=str)
def test_a_gradient_of_another_shape_is_refused(make, shape):
    p = parameter(1.0, 2.0)
    optimizer = make([p], lr=0.1)
    p.grad = np.ones(shape)
    with pytest.raises(ValueError, match="shape"):
        optimizer.step()
    np.testing.assert_array_equal(p.data, [1.0, 2.0])


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_gradient_of_another_dtype_does_not_change_the_parameters_own(make):
    p = parameter(1.0, 2.0, dtype=np.float32)
    optimizer = make([p], lr=0.1)
    p.grad = np.ones(2)
    optimizer.step()
    assert p.data.dtype == np.float32
    assert (p.data < [1.0, 2.0]).all()


# ---- the learning rate


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_the_rate_follows_its_schedule_step_by_step(make):
    p = parameter(1.0)
    optimizer = make([p], lr=lambda step: 1.0 / (1 + step))
    rates = []
    for _ in range(4):
        rates.append(optimizer.lr)
        p.grad = np.ones(1)
        optimizer.step()
    assert rates == [1, 1 / 2, 1 / 3, 1 / 4]
    optimizer.lr = 0.25
    assert optimizer.lr == 0.25
    optimizer.lr = StepDecay(1.0, every=2)
    np.testing.assert_allclose(optimizer.lr, 0.01)  # at step 4


def test_a_scheduled_sgd_moves_by_its_rates():
    p = parameter(0.0)
    optimizer = SGD([p], lr=StepDecay(1.0, every=2, factor=0.5))
    for _ in range(5):
        p.grad = np.ones(1)
        optimizer.step()
    np.testing.assert_allclose(p.data, -(1 + 1 + 0.5 + 0.5 + 0.25))


BAD_RATES = [0, -1, math.nan, math.inf, "fast", None, [0.1]]


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("lr", BAD_RATES, ids=str)
def test_bad_rates_are_refused_in_the_constructor_and_the_setter(make, lr):
    with pytest.raises((ValueError, TypeError), match="lr="):
        make([parameter(1.0)], lr=lr)
    optimizer = make([parameter(1.0)], lr=0.1)
    with pytest.raises((ValueError, TypeError), match="lr="):
        optimizer.lr = lr
    assert optimizer.lr == 0.1


@pytest.mark.parametrize("rate", [-1.0, math.nan, "fast"])
def test_a_schedule_that_answers_nonsense_is_told(rate):
    p = parameter(1.0)
    p.grad = np.ones(1)
    with pytest.raises((ValueError, TypeError), match=r"lr|rate|schedule"):
        SGD([p], lr=lambda step: rate).step()
    assert p.data[0] == 1


# ---- schedules


def test_constant():
    assert [Constant(0.5)(step) for step in (0, 10)] == [0.5, 0.5]


def test_step_decay():
    schedule = StepDecay(2.0, every=3, factor=0.5)
    np.testing.assert_allclose([schedule(s) for s in range(8)], [2, 2, 2, 1, 1, 1, 0.5, 0.5])


def test_cosine():
    schedule = Cosine(2.0, steps=8, final=0.5)
    expected = [0.5 + 1.5 * (1 + math.cos(math.pi * s / 8)) / 2 for s in range(9)]
    np.testing.assert_allclose([schedule(s) for s in range(9)], expected)
    assert schedule(0) == 2
    np.testing.assert_allclose([schedule(8), schedule(100)], 0.5)


def test_warm_up():
    np.testing.assert_allclose([WarmUp(2.0, steps=4)(s) for s in range(6)], [0.5, 1, 1.5, 2, 2, 2])
    schedule = WarmUp(Cosine(2.0, steps=4), steps=2)
    np.testing.assert_allclose([schedule(s) for s in range(7)], [1, 2, *(Cosine(2.0, steps=4)(s) for s in range(5))])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(0),
        lambda: StepDecay(0.1, every=0),
        lambda: StepDecay(0.1, every=2, factor=0),
        lambda: StepDecay(-0.1, every=2),
        lambda: Cosine(0.1, steps=0),
        lambda: Cosine(0.1, steps=-5),
        lambda: Cosine(0.1, steps=5, final=-1),
        lambda: WarmUp(0.1, steps=0),
        lambda: WarmUp("fast", steps=3),
    ],
)
def test_bad_schedules_are_refused(make):
    with pytest.raises((ValueError, TypeError)):
        make()


# ---- clip_grad_norm


def with_grads(*gradients):
    parameters = [tg.Tensor(np.zeros_like(g), requires_grad=True) for g in gradients]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g
    return parameters


def test_clipping_scales_all_gradients_together_and_answers_the_norm():
    parameters = with_grads(np.array([3.0]), np.array([[0.0, 4.0]]))
    assert clip_grad_norm(parameters, 1.0) == 5.0
    np.testing.assert_allclose(parameters[0].grad, [0.6])
    np.testing.assert_allclose(parameters[1].grad, [[0, 0.8]])


def test_small_gradients_and_missing_ones_are_left_alone():
    g = np.array([3.0, 4.0])
    parameters = [*with_grads(g), parameter(1.0)]
    assert clip_grad_norm(parameters, 5.0) == 5.0
    np.testing.assert_array_equal(parameters[0].grad, [3, 4])
    assert parameters[1].grad is None
    assert clip_grad_norm([parameter(1.0)], 1.0) == 0.0


def test_clipping_does_not_write_into_an_array_that_others_may_hold_and_keeps_float32():
    g = np.array([3.0, 4.0], np.float32)
    (p,) = with_grads(g)
    clip_grad_norm([p], 1.0)
    np.testing.assert_array_equal(g, [3, 4])
    assert p.grad.dtype == np.float32


def test_clipping_takes_any_iterable():
    parameters = with_grads(np.array([3.0]), np.array([4.0]))
    clip_grad_norm((p for p in parameters), 1.0)
    np.testing.assert_allclose([p.grad[0] for p in parameters], [0.6, 0.8])


@pytest.mark.parametrize(
    "g", [np.array([3e20, 4e20], np.float32), np.array([3e200, 4e200]), np.array([300, 400], np.float16)]
)
def test_clipping_survives_exploded_gradients(g):
    """Their squares overflow, which is what clipping is for."""
    (p,) = with_grads(g)
    norm = clip_grad_norm([p], 1.0)
    np.testing.assert_allclose(norm, math.hypot(*g.tolist()), rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(p.grad.astype(float)), 1, rtol=2e-3)


@pytest.mark.parametrize("max_norm", [0, -1, math.nan, "1", None], ids=str)
def test_a_bad_max_norm_is_refused(max_norm):
    with pytest.raises((ValueError, TypeError), match="max_norm"):
        clip_grad_norm(with_grads(np.ones(2)), max_norm)


# ---- bad arguments


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ([], ValueError, "no parameters"),
        ([1.0], TypeError, "parameter 0"),
        ([tg.Tensor(1.0)], TypeError, "requires_grad=True"),
        ([parameter(1.0), parameter(1.0) * 2], TypeError, "parameter 1"),
        ([parameter(1.0)] * 2, ValueError, "twice"),
        (None, TypeError, "parameters"),
        (3, TypeError, "parameters"),
    ],
    ids=["none", "float", "constant", "computed", "twice", "None", "int"],
)
def test_bad_parameters_are_refused(make, parameters, kind, message):
    with pytest.raises(kind, match=message):
        make(parameters, lr=0.1)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (SGD, {"momentum": 1.0}),
        (SGD, {"momentum": -0.1}),
        (SGD, {"nesterov": True}),
        (SGD, {"weight_decay": -1}),
        (Adam, {"betas": (1.0, 0.9)}),
        (Adam, {"betas": (0.9, -0.1)}),
        (Adam, {"betas": (0.9,)}),
        (Adam, {"betas": 0.9}),
        (Adam, {"eps": -1e-8}),
        (AdamW, {"weight_decay": math.nan}),
        (RMSprop, {"decay": 1.0}),
        (RMSprop, {"eps": math.inf}),
    ],
    ids=str,
)
def test_bad_options_are_refused_by_name(make, options):
    (name,) = options
    with pytest.raises((ValueError, TypeError), match=f"{make.__name__}: .*{name.removesuffix('s')}"):
        make([parameter(1.0)], lr=0.1, **options)


def test_the_public_optimizers_are_there():
    assert {"SGD", "Adam", "AdamW", "RMSprop", "clip_grad_norm"} <= set(dir(optim))


@pytest.mark.parametrize("make", [SGD, Adam, AdaGrad])
@pytest.mark.parametrize(
    ("grad", "error", "message"),
    [
        ([1.0, 2.0], TypeError, r"the gradient of b is a list; write b\.grad = np\.array\(\.\.\.\)"),
        (1.0, TypeError, "the gradient of b is a float"),
        (np.ones(3), ValueError, r"b has shape \(2,\), and its gradient has shape \(3,\)"),
    ],
)
def test_a_gradient_that_does_not_fit_is_named_with_what_was_updated_before(make, grad, error, message):
    frozen, a, b = (tg.Tensor(np.zeros(2), requires_grad=True, name=name) for name in ("frozen", "a", "b"))
    a.grad, b.grad = np.ones(2), grad
    optimizer = make([frozen, a, b], lr=0.5)
    with pytest.raises(error, match=message + r".*1 before it was updated\)"):
        optimizer.step()
    assert (a.data != 0).all()
    assert not b.data.any()
    alone = make([b], lr=0.5)
    with pytest.raises(error, match=message) as raised:
        alone.step()
    assert "before it" not in str(raised.value)
    assert optimizer.steps == alone.steps == 0
