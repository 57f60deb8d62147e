"""nll, kl_divergence, huber and hinge against SciPy, scikit-learn and mathematics; their refusals; as programs."""

import mpmath as mp
import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from losses.cases import INF, LABELS, LOGITS, NAN, PROBABILITIES, WEIGHTS, one_hot, per_row, run
from program.loops_as_python import loops_as_python
from program.traced_steps import ALL, assert_equals_eager, learning, parameter, world

import tinygrad_ce as tg
from tinygrad_ce import nn, ops
from tinygrad_ce.losses import cross_entropy, hinge, huber, kl_divergence, mse, nll
from tinygrad_ce.optim import SGD

LOG_P = scipy.special.log_softmax(LOGITS, axis=1)
SOFT = np.random.default_rng(5).dirichlet(np.ones(3), 4)
SIGNS = np.array([1, -1, -1, 1])
SCORES = np.array([0.25, -2.0, 0.5, 3.0])
REDUCTIONS = ["mean", "sum", "none"]


def reduced(elements, reduction, count=None):
    return {"mean": elements.sum() / (count or elements.size), "sum": elements.sum(), "none": elements}[reduction]


# ---- nll


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, WEIGHTS])
@pytest.mark.parametrize("targets", [LABELS, SOFT, one_hot(LABELS, 3).astype(int)], ids=["labels", "soft", "integers"])
def test_nll(reduction, weight, targets):
    w = np.ones(3) if weight is None else weight
    q = targets if targets.ndim == 2 else one_hot(targets, 3)
    value, slope = run(nll, LOG_P, targets, reduction=reduction, weight=weight)
    count = 4 if targets.ndim == 2 else w[LABELS].sum()
    np.testing.assert_allclose(value, reduced(-(q * w * LOG_P).sum(axis=1), reduction, count), rtol=1e-14)
    np.testing.assert_allclose(slope, -q * w / (count if reduction == "mean" else 1), rtol=1e-14)


def test_nll_is_the_log_loss_of_scikit_learn():
    np.testing.assert_allclose(
        nll(LOG_P, LABELS).item(), sklearn.metrics.log_loss(LABELS, PROBABILITIES, labels=[0, 1, 2]), rtol=1e-14
    )


def test_nll_of_impossible_classes():
    logarithms = [[0.0, -INF], [-INF, 0.0], [np.log(0.5), np.log(0.5)]]
    for targets in (np.array([0, 0, 1]), one_hot([0, 0, 1], 2)):
        loss, slope = per_row(nll, logarithms, targets)
        np.testing.assert_allclose(loss, [0, INF, np.log(2)])
        np.testing.assert_array_equal(slope, -one_hot([0, 0, 1], 2))
    loss, _ = per_row(nll, [[NAN, np.log(0.5)], [0.0, -INF]], np.array([1, 0]))
    np.testing.assert_array_equal(loss, [NAN, 0])


@pytest.mark.parametrize("ignore_index", [-1, 2])
def test_nll_leaves_ignored_rows_out(ignore_index):
    labels = np.where(LABELS == 2, ignore_index, LABELS)
    value, slope = run(nll, LOG_P, labels, ignore_index=ignore_index)
    np.testing.assert_allclose(value, -(LOG_P[1, 0] + LOG_P[2, 1]) / 2, rtol=1e-15)
    np.testing.assert_array_equal(slope, [[0, 0, 0], [-0.5, 0, 0], [0, -0.5, 0], [0, 0, 0]])


@pytest.mark.parametrize("values", [LOGITS, PROBABILITIES, LOG_P + 0.1, np.full((4, 3), INF)])
def test_nll_of_what_are_no_logarithms_of_probabilities(values):
    with pytest.raises(ValueError, match=r"row 0 is no row of log-probabilities.* softmax_cross_entropy"):
        nll(values, LABELS)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nll_takes_what_log_softmax_gives(dtype):
    z = np.random.default_rng(0).normal(size=(5, 40)).astype(dtype) * 4
    y = np.arange(5)
    for logarithms in (
        ops.log_softmax(z),
        ops.log_softmax(tg.Tensor(z, requires_grad=True)),
        ops.log_softmax(z).copy(),
    ):
        loss = nll(logarithms, y)
        assert loss.dtype == dtype
        right = -scipy.special.log_softmax(z.astype(float), axis=1)[y, y].mean()
        np.testing.assert_allclose(loss.item(), right, rtol=8 * np.finfo(dtype).eps)


# ---- the divergence


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, WEIGHTS])
@pytest.mark.parametrize("made", ["numbers", "softmax", "softmax, apart"])
def test_kl_divergence_is_the_sum_of_relative_entropies(way, reduction, weight, made):
    w = np.ones(3) if weight is None else weight
    options = {"reduction": reduction, "weight": weight}
    q = SOFT * w
    rows = (w * scipy.special.rel_entr(SOFT, PROBABILITIES)).sum(axis=1)
    scale = 4 if reduction == "mean" else 1
    if made == "numbers":
        value, slope = run(kl_divergence, PROBABILITIES, SOFT, **options)
        np.testing.assert_allclose(slope, -q / PROBABILITIES / scale, rtol=1e-12)
    else:
        fused = made == "softmax"
        value, slope = run(
            lambda z, y, **o: kl_divergence(ops.softmax(z), y, fused=fused, **o), LOGITS, SOFT, **options
        )
        expected = PROBABILITIES * q.sum(axis=1, keepdims=True) - q
        np.testing.assert_allclose(slope, expected / scale, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(value, reduced(rows, reduction), rtol=1e-12)


def test_kl_divergence_at_zeros():
    p = [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0], [0.0, 1.0]]
    q = [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    loss, slope = per_row(kl_divergence, p, q)
    np.testing.assert_allclose(loss, [0, np.log(2), 0, INF], rtol=1e-15)
    np.testing.assert_array_equal(slope[:3], [[0, -1], [0, -2], [-1, 0]])
    assert slope[3, 0] == -INF


def test_kl_divergence_from_class_indices_is_the_cross_entropy(way):
    for x in (PROBABILITIES, ops.softmax(tg.Tensor(LOGITS, requires_grad=True))):
        np.testing.assert_allclose(kl_divergence(x, LABELS).item(), cross_entropy(x, LABELS).item(), rtol=1e-14)


@pytest.mark.parametrize("step", [1e-3, 1e-6])
def test_kl_divergence_of_near_distributions_keeps_digits(step):
    """Each term has its digits, so that only their sum cancels: the error is a few 1e-16 of the largest term."""
    q = np.array([[0.25, 0.5, 0.25]])
    p = q + np.array([[step, -3 * step, 2 * step]])
    p /= p.sum()
    with mp.workdps(50):
        exact = sum(
            mp.mpf(float(t)) * mp.log(mp.mpf(float(t)) / mp.mpf(float(v))) for t, v in zip(q[0], p[0], strict=True)
        )
    assert abs(kl_divergence(p, q).item() - float(exact)) < 1e-15 * step
    assert kl_divergence(q, q).item() == 0.0


def test_kl_divergence_has_derivatives_with_respect_to_the_targets():
    slope = tg.grad(lambda s: kl_divergence(PROBABILITIES, ops.softmax(s), reduction="sum"))(LOGITS[::-1].copy())
    q = scipy.special.softmax(LOGITS[::-1], axis=1)
    inner = np.log(q / PROBABILITIES) + 1
    np.testing.assert_allclose(slope, q * (inner - (q * inner).sum(axis=1, keepdims=True)), rtol=1e-11, atol=1e-14)


def test_kl_divergence_refuses_what_is_no_distribution():
    with pytest.raises(ValueError, match="kl_divergence: row 0 is no probability"):
        kl_divergence(LOGITS, SOFT)
    with pytest.raises(ValueError, match="kl_divergence: soft labels"):
        kl_divergence(PROBABILITIES, SOFT * 2)


# ---- Huber's


@pytest.mark.parametrize("delta", [1, 0.5, np.float32(2.0), 100.0])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, 0.5, WEIGHTS.tolist()])
def test_huber_is_that_of_scipy(delta, reduction, weight):
    w = 1 if weight is None else np.asarray(weight)
    error = LOGITS - SOFT
    value, slope = run(huber, LOGITS, SOFT, delta=delta, reduction=reduction, weight=weight)
    np.testing.assert_allclose(value, reduced(w * scipy.special.huber(delta, error), reduction), rtol=1e-14)
    expected = w * np.clip(error, -float(delta), float(delta)) / (12 if reduction == "mean" else 1)
    np.testing.assert_allclose(slope, expected, rtol=1e-14)


def test_huber_far_out_at_its_kinks_and_twice():
    x = [INF, -INF, 1e200, 1.0, -1.0, 0.5, NAN]
    loss, slope = per_row(huber, x, np.zeros(7))
    np.testing.assert_array_equal(loss, [INF, INF, 1e200, 0.5, 0.5, 0.125, NAN])
    np.testing.assert_array_equal(slope[:6], [1, -1, 1, 1, -1, 0.5])
    hessian = tg.hessian(lambda t: huber(t, np.zeros(3), reduction="sum"))(np.array([0.5, 3.0, -2.0]))
    np.testing.assert_array_equal(hessian, np.diag([1.0, 0, 0]))


def test_huber_of_an_infinite_delta_is_half_the_square():
    assert huber(LOGITS, SOFT, delta=INF).item() == pytest.approx(mse(LOGITS, SOFT).item() / 2, rel=1e-15)


@pytest.mark.parametrize(("delta", "kind"), [(0, ValueError), (-1.0, ValueError), (NAN, ValueError), ("1", TypeError)])
def test_a_bad_delta_is_refused(delta, kind):
    with pytest.raises(kind, match="huber: delta="):
        huber([1.0], [0.0], delta=delta)


# ---- the hinge


def test_hinge_is_that_of_scikit_learn():
    np.testing.assert_allclose(hinge(SCORES, SIGNS).item(), sklearn.metrics.hinge_loss(SIGNS, SCORES), rtol=1e-15)
    expected = sklearn.metrics.hinge_loss(LABELS, LOGITS, labels=[0, 1, 2])
    np.testing.assert_allclose(hinge(LOGITS, LABELS).item(), expected, rtol=1e-15)
    weight = np.array([1.0, 2.0, 0.5, 0.5])
    expected = sklearn.metrics.hinge_loss(LABELS, LOGITS, labels=[0, 1, 2], sample_weight=weight)
    np.testing.assert_allclose(hinge(LOGITS, LABELS, weight=weight).item(), expected, rtol=1e-15)  # they sum to N


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, 2, [1.0, 0.5, 2.0, 0.0]])
@pytest.mark.parametrize("dtype", [int, np.int8, float])
def test_binary_hinge(reduction, weight, dtype):
    w = np.ones(4) if weight is None else np.broadcast_to(weight, 4)
    value, slope = run(hinge, SCORES, SIGNS.astype(dtype), reduction=reduction, weight=weight)
    np.testing.assert_array_equal(value, reduced(w * [0.75, 0, 1.5, 0], reduction))
    np.testing.assert_array_equal(slope, w * [-1, 0, 1, 0] / (4 if reduction == "mean" else 1))


def test_hinge_at_its_kink_and_far_out():
    loss, slope = per_row(hinge, [1.0, -1.0, INF, -INF, INF], np.array([1, -1, 1, 1, -1]))
    np.testing.assert_array_equal(loss, [0, 0, 0, INF, INF])
    np.testing.assert_array_equal(slope, [0, 0, 0, -1, 1])


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype("u1"), LABELS.tolist(), tg.Tensor(LABELS)])
def test_multiclass_hinge(labels):
    s = np.array([[3.0, 0.0, 1.5], [0.0, 1.0, 1.0], [2.0, 5.0, 3.0], [0.0, 0.25, 1.0]])
    loss, slope = per_row(hinge, s, labels)  # of the classes 2, 0, 1, 2
    np.testing.assert_array_equal(loss, [2.5, 2.0, 0.0, 0.25])
    np.testing.assert_array_equal(slope, [[1, 0, -1], [-1, 0.5, 0.5], [0, 0, 0], [0, 1, -1]])  # a tie is shared
    loss, _ = per_row(hinge, s.reshape(2, 2, 3), np.reshape(LABELS, (2, 2)))
    np.testing.assert_array_equal(loss, [[2.5, 2.0], [0.0, 0.25]])


def test_hinge_refuses_other_targets():
    for targets in ([0, 1, 1, 0], [0.5, 1, 1, 1], [1, 1, NAN, 1]):
        with pytest.raises(ValueError, match=r"hinge: targets must be -1 or \+1 .*2 \* y - 1"):
            hinge(SCORES, targets)
    with pytest.raises(ValueError, match=r"the label in row 1 is 3, and there are 3 classes"):
        hinge(LOGITS, [0, 3, 1, 2])
    with pytest.raises(ValueError, match=r"the label in row 1 is 18446744073709551615"):
        hinge(LOGITS, np.array([0, 2**64 - 1, 1, 2], np.uint64))
    with pytest.raises(TypeError, match=r"astype\(int\)"):
        hinge(LOGITS, LABELS.astype(float))
    with pytest.raises(ValueError, match=r"\(4, 3\).*\(4,\).*\(4, 1\)"):
        hinge(LOGITS, LABELS[:, None])
    with pytest.raises(ValueError, match="no classes"):
        hinge(np.zeros((2, 0)), [0, 0], reduction="sum")


# ---- all of them

NEW = {
    "nll": (nll, LOG_P, LABELS),
    "nll soft": (nll, LOG_P, SOFT),
    "kl_divergence": (kl_divergence, PROBABILITIES, SOFT),
    "huber": (huber, LOGITS, SOFT),
    "hinge": (hinge, SCORES, SIGNS),
    "multiclass hinge": (hinge, LOGITS, LABELS),
}


@pytest.mark.parametrize("name", ["huber", "hinge", "multiclass hinge"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_derivatives(name, reduction):
    loss, x, y = NEW[name]
    x = x + 0.01 * np.arange(x.size).reshape(x.shape)  # no two scores alike, where the hinge has a kink
    assert tg.check.gradcheck(lambda t: loss(t, y, reduction=reduction), x).ok


@pytest.mark.parametrize("fused", [True, False])
def test_derivatives_through_a_softmax(fused):
    assert tg.check.gradcheck(lambda z: nll(ops.log_softmax(z), LABELS, fused=fused), LOGITS).ok
    assert tg.check.gradcheck(lambda z: kl_divergence(ops.softmax(z), SOFT, fused=fused), LOGITS).ok
    assert tg.check.gradcheck(lambda z, s: kl_divergence(ops.softmax(z), ops.softmax(s), fused=fused), LOGITS, SOFT).ok


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_dtypes_stay(name, dtype, reduction):
    loss, x, y = NEW[name]
    value, slope = run(loss, x.astype(dtype), y, reduction=reduction)
    assert value.dtype == slope.dtype == dtype
    right, right_slope = run(loss, x, y, reduction=reduction)
    np.testing.assert_allclose(value, right, rtol=20 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(slope, right_slope, rtol=20 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", NEW)
def test_common_refusals(name):
    loss, x, y = NEW[name]
    kind = loss.__name__
    with pytest.raises(TypeError, match=rf"^{kind}: .*floating-point"):
        loss(np.ones(x.shape, int), y)
    with pytest.raises(ValueError, match=rf"^{kind}: reduction="):
        loss(x, y, reduction="avg")
    with pytest.raises(ValueError, match="shape"):
        loss(x, y[:3])
    with pytest.raises(ValueError, match="empty"):
        loss(x[:0], y[:0])
    assert loss(x[:0], y[:0], reduction="sum").item() == 0.0
    with pytest.raises(ValueError, match=rf"^{kind}: weight="):
        loss(x, y, weight=np.array([-1.0] * x.shape[-1]))


@pytest.mark.parametrize(
    ("module", "name"), [("NLL", "nll"), ("KLDivergence", "kl_divergence"), ("Huber", "huber"), ("Hinge", "hinge")]
)
def test_the_modules_are_the_functions(module, name):
    loss, x, y = NEW[name]
    ours = getattr(nn, module)(reduction="sum")
    assert repr(ours) == f"{module}(reduction='sum')"
    assert ours(x, y).item() == loss(x, y, reduction="sum").item()


def test_a_network_is_trained_on_logarithms_and_its_accuracy_is_known():
    tg.seed(0)
    X, y = np.eye(3)[[0, 1, 2] * 4], np.array([0, 1, 2] * 4)
    model = nn.Sequential(nn.Dense(3, 3), lambda z: ops.log_softmax(z))
    history = tg.Trainer(model, nn.NLL(), SGD(model.parameters(), lr=1.0)).fit(X, y, epochs=20, progress=False)
    assert history["accuracy"][-1] == 1.0


def logarithms(w, x, y):
    return nll(ops.log_softmax(w * x), y)


def logarithms_apart(w, x, y):
    return nll(ops.log_softmax(w * x), y, fused=False, weight=[0.0, 1.0, 2.0])


def divergence(w, x, y):
    return kl_divergence(ops.softmax(w * x), soft_of(y))


def divergence_apart(w, x, y):
    return kl_divergence(ops.softmax(w * x), soft_of(y), fused=False)


def far(w, x, y):
    return huber(w * x, 2 * soft_of(y), delta=0.5)


def margin(w, x, y):
    return hinge(w * x, ops.sign(x))


def margin_of_classes(w, x, y):
    return hinge(w * x, y)


def soft_of(y):
    """Two numbers and the rest of 1, out of labels, so that they are computed in the program."""
    first = 0.25 + 0.125 * ops.expand_dims(ops.astype(y, dtype=np.dtype(float)), axis=-1)
    return ops.concatenate(first, 0.5 * first, 1 - 1.5 * first, axis=-1)


@pytest.mark.parametrize(
    "loss", [logarithms, logarithms_apart, divergence, divergence_apart, far, margin, margin_of_classes]
)
def test_as_programs(loss):
    def make():
        w = parameter(np.array([[0.5, -1.0, 2.0], [1.0, 0.25, -0.5]]))
        return world(learning(lambda x, y: loss(w, x, y), SGD([w], lr=0.1)), [w])

    rng = np.random.default_rng(3)
    batches = [(rng.normal(size=(2, 3)), np.array([k, 2 - k])) for k in range(3)]
    with loops_as_python():
        assert_equals_eager(make, batches, ways=ALL)
