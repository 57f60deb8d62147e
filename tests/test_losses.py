"""The losses against exact values (mpmath), independent formulas (SciPy) and the edge table of the design."""

import warnings
from functools import partial

import mpmath as mp
import numpy as np
import pytest
import scipy.special
from fused import ready_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_ce as tg
from tinygrad_ce import losses
from tinygrad_ce.core import REGISTRY
from tinygrad_ce.kernels import attach
from tinygrad_ce.losses import (
    binary_cross_entropy,
    cross_entropy,
    mse,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
)

LOSS_OPS = ("xent", "xent_grad", "soft_xent", "soft_xent_grad", "sigmoid_xent", "sigmoid_xent_grad")
INF, NAN = np.inf, np.nan
# Shapes with one class, and logits that happen to sum to 1, are tried on purpose; the warnings have tests of their own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*one class along axis"),
    pytest.mark.filterwarnings("ignore:.*look like its output already"),
]
LABELS = np.array([2, 0, 1, 2])
LOGITS = np.array([[1.0, 2.0, 0.5], [0.3, -1.2, 2.0], [0.0, 0.0, 0.0], [-3.0, 1.5, 4.0]])
PROBABILITIES = scipy.special.softmax(LOGITS, axis=1)
quick = settings(deadline=None, max_examples=40)


def use_bodies(patch):
    for name in LOSS_OPS:
        patch.setattr(REGISTRY[name], "run", REGISTRY[name].body)
    patch.setattr(attach, "FUSED", {})


@pytest.fixture(params=["kernels", "bodies"])
def way(request, monkeypatch):
    """Every test that asks for it runs with the Numba kernels, then with the NumPy bodies."""
    if request.param == "bodies":
        use_bodies(monkeypatch)
    return request.param


def run(loss, x, targets, **options):
    """The loss as an array, and its gradient (of the sum, where there are several)."""
    leaf = tg.Tensor(np.asarray(x), requires_grad=True)
    out = loss(leaf, targets, **options)
    (gradient,) = tg.gradients(out, [leaf], gradient=np.ones(out.shape, out.dtype))
    return out.data, gradient


def per_row(loss, x, targets, **options):
    return run(loss, x, targets, reduction="none", **options)


def one_hot(labels, classes):
    return (np.asarray(labels)[..., None] == np.arange(classes)).astype(float)


# ---- exact values


def exact_row(z, q):
    """-sum q log softmax(z) and its gradient for one row of floats, with 800 digits: log(1 + exp(-700)) needs them."""
    with mp.workdps(800):
        z, q = [mp.mpf(float(v)) for v in z], [mp.mpf(v) for v in q]
        e = [mp.exp(v - max(z)) for v in z]
        log_sum = max(z) + mp.log(sum(e))
        loss = sum(weight * (log_sum - v) for weight, v in zip(q, z, strict=True))
        return loss, [sum(q) * v / sum(e) - weight for v, weight in zip(e, q, strict=True)]


def exact_logit(z, y, w=1.0):
    """The binary loss of one logit and its slope, with 800 digits."""
    with mp.workdps(800):
        z, y, w = mp.mpf(float(z)), mp.mpf(float(y)), mp.mpf(float(w))
        loss = w * y * mp.log(1 + mp.exp(-z)) + (1 - y) * mp.log(1 + mp.exp(z))
        return loss, (1 - y) / (1 + mp.exp(-z)) - w * y / (1 + mp.exp(z))


def in_ulps(got, exact, scale=None):
    """The largest distance, in units in the last place of the exact numbers (or of `scale` where it is larger)."""
    got = np.asarray(got)
    worst = 0.0
    for i, (number, right) in enumerate(zip(got.ravel(), exact, strict=True)):
        assert np.isfinite(number), (i, number, right)
        size = got.dtype.type(float(max(abs(right), scale[i] if scale is not None else 0)))
        worst = max(worst, float(abs(mp.mpf(float(number)) - right) / mp.mpf(float(np.spacing(size)))))
    return worst


def confident(gap, classes, dtype, seed):
    """Rows in which one class leads by about `gap`: the true one, then another one."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(6, classes)).astype(dtype)
    labels = generator.integers(0, classes, 6)
    leader = np.where(np.arange(6) < 3, labels, (labels + 1) % classes)
    z[np.arange(6), leader] += dtype(gap)
    return z, labels


GAPS = [(np.float64, gap) for gap in (0, 1, 5, 40, 100, 700)] + [(np.float32, gap) for gap in (0, 1, 5, 20, 40, 80)]


def allowed(way, gap, scale=4):
    """What the issue promises of kernels; a body may lose what rounding z - top costs, which grows with the gap."""
    return scale if way == "kernels" else scale + 2 * (gap + 5)


@pytest.mark.parametrize(("dtype", "gap"), GAPS)
@pytest.mark.parametrize("form", ["labels", "one-hot"])
@pytest.mark.parametrize("classes", [1, 2, 3, 10])
def test_softmax_cross_entropy_is_exact_to_the_last_digits(way, dtype, gap, form, classes):
    z, labels = confident(gap, classes, dtype, seed=gap + classes)
    loss, slope = per_row(softmax_cross_entropy, z, labels if form == "labels" else one_hot(labels, classes))
    exact = [exact_row(row, q) for row, q in zip(z, one_hot(labels, classes), strict=True)]
    assert loss.dtype == slope.dtype == dtype
    assert in_ulps(loss, [value for value, _ in exact]) <= allowed(way, gap)
    assert in_ulps(slope, [v for _, gradient in exact for v in gradient]) <= allowed(way, gap)


@pytest.mark.parametrize(("dtype", "gap"), GAPS)
@pytest.mark.parametrize("form", ["smoothing", "soft"])
def test_soft_targets_are_exact_but_for_what_cancels_in_the_question_itself(way, dtype, gap, form):
    z, labels = confident(gap, 5, dtype, seed=gap)
    if form == "smoothing":
        loss, slope = per_row(softmax_cross_entropy, z, labels, label_smoothing=0.125)
        share = mp.mpf(0.125) / 5
        targets = [[share + (mp.mpf(0.875) if c == y else 0) for c in range(5)] for y in labels]
    else:
        soft = np.random.default_rng(gap).dirichlet(np.ones(5), 6).astype(dtype)
        loss, slope = per_row(softmax_cross_entropy, z, soft)
        targets = [[mp.mpf(float(v)) for v in row] for row in soft]
    exact = [exact_row(row, q) for row, q in zip(z, targets, strict=True)]
    assert in_ulps(loss, [value for value, _ in exact]) <= allowed(way, gap)
    scale = [v for row in targets for v in row]  # p - q has no digits of its own left where p is nearly q
    assert in_ulps(slope, [v for _, gradient in exact for v in gradient], scale) <= allowed(way, gap)


@pytest.mark.parametrize(("dtype", "gap"), GAPS)
@pytest.mark.parametrize("y", [0.0, 1.0, 0.25])
@pytest.mark.parametrize("pos_weight", [None, 2.5])
def test_sigmoid_binary_cross_entropy_is_exact_to_the_last_digits(way, dtype, gap, y, pos_weight):
    size = gap + np.random.default_rng(gap).random(8)
    z = np.concatenate([size, -size]).astype(dtype)
    loss, slope = per_row(sigmoid_binary_cross_entropy, z, np.full(16, y, dtype), pos_weight=pos_weight)
    exact = [exact_logit(v, y, pos_weight or 1.0) for v in z]
    assert loss.dtype == slope.dtype == dtype
    assert in_ulps(loss, [value for value, _ in exact]) <= 4
    scale = [mp.mpf(y)] * 16 if 0 < y < 1 else None
    assert in_ulps(slope, [v for _, v in exact], scale) <= 4


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_probability_forms_are_exact_too(way, dtype):
    p = np.array([[1e-30, 0.25, 0.75], [0.5, 0.5, 0.0], [0.125, 0.75, 0.125]], dtype)
    labels = np.array([0, 1, 2])
    loss, slope = per_row(cross_entropy, p, labels)
    picked = [mp.mpf(float(p[i, y])) for i, y in enumerate(labels)]
    assert in_ulps(loss, [-mp.log(v) for v in picked]) <= 4
    assert in_ulps(slope[np.arange(3), labels], [-1 / v for v in picked]) <= 4
    q = np.array([1e-30, 0.25, 0.999], dtype)
    loss, slope = per_row(binary_cross_entropy, q, np.array([1, 0, 0]))
    q = [mp.mpf(float(v)) for v in q]
    assert in_ulps(loss, [-mp.log(q[0]), -mp.log(1 - q[1]), -mp.log(1 - q[2])]) <= 4
    assert in_ulps(slope, [-1 / q[0], 1 / (1 - q[1]), 1 / (1 - q[2])]) <= 4


@pytest.mark.parametrize("size", [1e4, 710.0, 1e308])
@pytest.mark.parametrize("sign", [1, -1])
def test_logits_of_any_finite_size_give_finite_losses(way, size, sign):
    z = np.array([[sign * size, 0.0, 1.0], [0.0, sign * size, -1.0]])
    loss, slope = per_row(softmax_cross_entropy, z, np.array([0, 0]))
    exact = [exact_row(row, [1, 0, 0]) for row in z]
    np.testing.assert_allclose(loss, [float(value) for value, _ in exact], rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(slope, [[float(v) for v in g] for _, g in exact], rtol=1e-12, atol=1e-300)
    loss, slope = per_row(sigmoid_binary_cross_entropy, z[0, :1], np.array([0.0]))
    np.testing.assert_allclose(loss, max(sign * size, 0), atol=1e-300)
    np.testing.assert_allclose(slope, float(sign > 0), atol=1e-300)


def test_smoothing_of_huge_logits_does_not_overflow_where_the_loss_itself_fits(way):
    z = np.array([[1e308, 0.0, 0.0, 0.0]])  # the gaps sum to 3e308, but only a fortieth of that is the loss
    np.testing.assert_allclose(per_row(softmax_cross_entropy, z, np.array([0]), label_smoothing=0.1)[0], 7.5e306)


# ---- the edge table


FORMS = [
    pytest.param(softmax_cross_entropy, LOGITS, id="logits"),
    pytest.param(cross_entropy, PROBABILITIES, id="probabilities"),
]
BINARY = [
    pytest.param(sigmoid_binary_cross_entropy, id="logits"),
    pytest.param(binary_cross_entropy, id="probabilities"),
]


@pytest.mark.parametrize(("loss", "x"), FORMS)
@pytest.mark.parametrize("label", [3, -1, 100, -(2**62)])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8])
def test_a_label_out_of_range_names_row_value_and_number_of_classes(way, loss, x, label, dtype):
    if not np.iinfo(dtype).min <= label <= np.iinfo(dtype).max:
        pytest.skip("no such number in this dtype")
    with pytest.raises(ValueError, match=rf"row 2 is {label}.* 3 classes"):
        loss(x, np.array([0, 1, label, 2], dtype))


@pytest.mark.parametrize(("loss", "x"), FORMS)
def test_a_label_out_of_range_is_refused_beside_ignored_ones(way, loss, x):
    with pytest.raises(ValueError, match=r"row 3 is -2.* 3 classes"):
        loss(x, np.array([0, -1, 2, -2]), ignore_index=-1)


@pytest.mark.parametrize(("loss", "x"), FORMS)
def test_a_missing_ignore_index_is_suggested(way, loss, x):
    with pytest.raises(ValueError, match="ignore_index=-1"):
        loss(x, np.array([0, -1, 2, 1]))


@pytest.mark.parametrize(("loss", "x"), FORMS)
@pytest.mark.parametrize("dtype", [float, np.float32, bool])
def test_class_indices_that_are_no_integers_say_what_to_write(way, loss, x, dtype):
    with pytest.raises(TypeError, match=r"astype\(int\).*one-hot"):
        loss(x, LABELS.astype(dtype))


@pytest.mark.parametrize(("loss", "x"), FORMS)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"weight": [1, 2, 3]}])
def test_every_row_ignored_gives_zero_and_one_warning(way, loss, x, options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value, slope = run(loss, x, np.full(4, -1), ignore_index=-1, **options)
    assert value == 0.0
    np.testing.assert_array_equal(slope, 0)
    assert [w.category for w in caught] == [UserWarning]
    assert "ignored" in str(caught[0].message)
    assert caught[0].filename == __file__  # the user's line, not ours


@pytest.mark.parametrize(("loss", "x"), FORMS)
@pytest.mark.parametrize(
    ("row", "words"), [([1.2, -0.2, 0.0], "1"), ([0.2, 0.2, 0.2], "0.6"), ([0.5, NAN, 0.5], "nan")]
)
def test_soft_labels_that_are_no_distribution_name_the_row_and_its_sum(way, loss, x, row, words):
    soft = one_hot(LABELS, 3)
    soft[2] = row
    with pytest.raises(ValueError, match=rf"row 2 .*sums to {words}"):
        loss(x, soft)


@pytest.mark.parametrize("p", [LOGITS, PROBABILITIES * 1.01, PROBABILITIES - 0.5, np.full((4, 3), INF)])
def test_rows_that_are_no_probabilities_look_like_logits(way, p):
    with pytest.raises(ValueError, match="these look like logits: use softmax_cross_entropy"):
        cross_entropy(p, LABELS)
    with pytest.raises(ValueError, match="these look like logits: use sigmoid_binary_cross_entropy"):
        binary_cross_entropy(np.array([0.5, p.max() + 1]), np.array([0, 1]))


@pytest.mark.parametrize("targets", [np.array([1, 1]), one_hot([1, 1], 3)])
def test_minus_infinity_where_nothing_is_wanted_is_nothing(way, targets):
    loss, slope = per_row(softmax_cross_entropy, [[-INF, 1.0, 2.0], [-INF, 3.0, -INF]], targets)
    np.testing.assert_allclose(loss, [np.log1p(np.e), 0], rtol=1e-14)
    p = 1 / (1 + np.e)
    np.testing.assert_allclose(slope, [[0, p - 1, 1 - p], [0, 0, 0]], rtol=1e-14)


@pytest.mark.parametrize("targets", [np.array([0, 1]), one_hot([0, 1], 3)])
def test_minus_infinity_of_the_true_class_is_an_infinite_loss_with_a_finite_gradient(way, targets):
    loss, slope = per_row(softmax_cross_entropy, [[-INF, 1.0, 1.0], [0.0, 0.0, 0.0]], targets)
    np.testing.assert_allclose(loss, [INF, np.log(3)])
    np.testing.assert_allclose(slope, [[-1, 0.5, 0.5], [1 / 3, -2 / 3, 1 / 3]])


@pytest.mark.parametrize("z", [NAN, INF])
@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("targets", [LABELS, one_hot(LABELS, 3)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nan_and_infinity_stay_in_their_row(way, z, column, targets, smoothing):
    logits = LOGITS.copy()
    logits[1, column] = z
    loss, slope = per_row(softmax_cross_entropy, logits, targets, label_smoothing=smoothing)
    right, right_slope = per_row(softmax_cross_entropy, LOGITS, targets, label_smoothing=smoothing)
    others = [0, 2, 3]
    assert np.isnan(loss[1])
    assert np.isnan(slope[1]).all()
    np.testing.assert_array_equal(loss[others], right[others])
    np.testing.assert_array_equal(slope[others], right_slope[others])


@pytest.mark.parametrize("column", [0, 1])
def test_a_nan_among_probabilities_makes_its_row_nan(way, column):
    p = np.array([[0.5, 0.5], [0.25, 0.75]])
    p[0, column] = NAN
    loss, _ = per_row(cross_entropy, p, np.array([1, 1]))
    assert np.isnan(loss[0])
    np.testing.assert_allclose(loss[1], -np.log(0.75))


def test_nan_and_infinity_of_a_binary_logit_stay_with_it(way):
    z = np.array([NAN, INF, -INF, -INF, 0.0])
    loss, slope = per_row(sigmoid_binary_cross_entropy, z, np.array([1.0, 1.0, 0.0, 1.0, 1.0]))
    np.testing.assert_allclose(loss, [NAN, NAN, 0, INF, np.log(2)])
    np.testing.assert_allclose(slope, [NAN, NAN, 0, -1, -0.5])


@pytest.mark.parametrize("z", [NAN, INF, -INF])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"label_smoothing": 0.1, "weight": [1.0, 2.0, 3.0]}])
def test_an_ignored_row_counts_for_nothing_whatever_is_in_it(way, z, options):
    logits = np.vstack([LOGITS, [z, 1.0, 2.0]])
    loss, slope = run(softmax_cross_entropy, logits, np.append(LABELS, -1), ignore_index=-1, **options)
    right, right_slope = run(softmax_cross_entropy, LOGITS, LABELS, **options)
    np.testing.assert_allclose(loss, right, rtol=1e-14)
    np.testing.assert_allclose(slope, np.vstack([right_slope, np.zeros(3)]), rtol=1e-14)


def test_an_ignored_row_of_nan_probabilities_counts_for_nothing(way):
    p = np.array([[NAN, 0.5], [0.5, 0.5]])
    loss, slope = run(cross_entropy, p, np.array([-1, 1]), ignore_index=-1)
    np.testing.assert_allclose(loss, np.log(2))
    np.testing.assert_allclose(slope, [[0, 0], [0, -2]])


def test_a_row_or_element_of_weight_zero_counts_for_nothing(way):
    z = np.array([[-INF, 1.0, 2.0], [1.0, 2.0, 3.0]])
    loss, slope = run(softmax_cross_entropy, z, np.array([0, 1]), weight=[0, 1, 1])
    np.testing.assert_allclose(loss, np.log(1 + np.e + 1 / np.e))
    assert np.isfinite(slope).all()
    loss, slope = per_row(sigmoid_binary_cross_entropy, [-INF, 0.0], np.array([1.0, 1.0]), weight=[0.0, 1.0])
    np.testing.assert_allclose(loss, [0, np.log(2)])
    np.testing.assert_allclose(slope, [0, -0.5])
    loss, slope = per_row(sigmoid_binary_cross_entropy, [-INF, 0.0], np.array([1.0, 1.0]), pos_weight=0.0)
    np.testing.assert_array_equal(loss, 0)
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("targets", [np.array([1, 0]), one_hot([1, 0], 2)])
def test_certain_and_right_costs_nothing(way, targets):
    loss, slope = per_row(cross_entropy, [[0.0, 1.0], [1.0, 0.0]], targets)
    np.testing.assert_array_equal(loss, 0)
    np.testing.assert_array_equal(slope, [[0, -1], [-1, 0]])
    loss, slope = per_row(binary_cross_entropy, [0.0, 1.0], np.array([0, 1]))
    np.testing.assert_array_equal(loss, 0)
    np.testing.assert_array_equal(slope, [1, -1])


@pytest.mark.parametrize("targets", [np.array([0, 1]), one_hot([0, 1], 2)])
def test_certain_and_wrong_costs_infinitely_much(way, targets):
    loss, slope = per_row(cross_entropy, [[0.0, 1.0], [1.0, 0.0]], targets)
    np.testing.assert_array_equal(loss, INF)
    np.testing.assert_array_equal(slope, [[-INF, 0], [0, -INF]])
    loss, slope = per_row(binary_cross_entropy, [0.0, 1.0], np.array([1, 0]))
    np.testing.assert_array_equal(loss, INF)
    np.testing.assert_array_equal(slope, [-INF, INF])


def test_eps_clips_if_asked(way):
    loss, slope = per_row(cross_entropy, [[0.0, 1.0], [0.25, 0.75]], np.array([0, 0]), eps=1e-3)
    np.testing.assert_allclose(loss, [-np.log(1e-3), -np.log(0.25)])
    assert np.isfinite(slope).all()
    loss, slope = per_row(binary_cross_entropy, [0.0, 1.0, 0.25], np.array([1, 0, 1]), eps=1e-3)
    np.testing.assert_allclose(loss, [-np.log(1e-3), -np.log(1e-3), -np.log(0.25)])
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("eps", [-0.1, 0.5, 2, NAN])
@pytest.mark.parametrize("loss", [cross_entropy, binary_cross_entropy])
def test_an_eps_that_would_clip_everything_is_refused(loss, eps):
    with pytest.raises(ValueError, match="eps="):
        loss(np.array([[0.5, 0.5]]), np.array([[0.0, 1.0]]), eps=eps)


@pytest.mark.parametrize("loss", BINARY)
@pytest.mark.parametrize("target", [-0.1, 1.1, 2, NAN, INF])
def test_binary_targets_outside_0_and_1_are_refused(way, loss, target):
    with pytest.raises(ValueError, match=rf"\(1,\).*{target:g}"):
        loss(np.array([0.5, 0.5, 0.5]), np.array([0.0, target, 1.0]))


@pytest.mark.parametrize("loss", [sigmoid_binary_cross_entropy, binary_cross_entropy, mse])
def test_a_column_against_a_row_is_no_broadcasting(loss):
    with pytest.raises(ValueError, match=r"\(3, 1\).*\(3,\).*reshape"):
        loss(np.full((3, 1), 0.5), np.zeros(3))
    with pytest.raises(ValueError, match="shape"):
        loss(np.full((3, 2), 0.5), np.zeros((1, 2)))


@pytest.mark.parametrize(("loss", "x"), FORMS)
def test_labels_in_a_column_say_what_to_write(loss, x):
    with pytest.raises(ValueError, match=r"\(4, 1\).*ravel"):
        loss(x, LABELS[:, None])


ALL = [softmax_cross_entropy, cross_entropy, sigmoid_binary_cross_entropy, binary_cross_entropy, mse]


@pytest.mark.parametrize("loss", ALL)
def test_the_mean_of_an_empty_batch_is_refused_and_its_sum_is_zero(way, loss):
    shape = (0, 3) if "binary" not in loss.__name__ and loss is not mse else (0,)
    targets = np.zeros(0, int) if len(shape) == 2 else np.zeros(0)
    with pytest.raises(ValueError, match="empty"):
        loss(np.zeros(shape), targets)
    value, slope = run(loss, np.zeros(shape), targets, reduction="sum")
    assert value == 0
    assert slope.shape == shape


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("x", [[["a", "b"]], [[1j, 0]], [[None, 1]]])
def test_what_is_no_number_is_refused(loss, x):
    with pytest.raises(TypeError):
        loss(np.array(x), np.array([[0.0, 1.0]]))


@pytest.mark.parametrize("loss", ALL)
def test_integers_are_no_logits(loss):
    with pytest.raises(TypeError, match=rf"^{loss.__name__}: .*floating-point"):
        loss(np.array([[1, 0]]), np.array([[1, 0]]))


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("reduction", ["avg", None, True])
def test_an_unknown_reduction_is_refused(loss, reduction):
    with pytest.raises(ValueError, match=rf"^{loss.__name__}: reduction="):
        loss(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]), reduction=reduction)


@pytest.mark.parametrize(("loss", "x"), FORMS)
@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"weight": [1, 2]}, ValueError),
        ({"weight": [[1, 2, 3]]}, ValueError),
        ({"weight": [1, -1, 1]}, ValueError),
        ({"weight": [1, NAN, 1]}, ValueError),
        ({"weight": [1, INF, 1]}, ValueError),
        ({"label_smoothing": -0.1}, ValueError),
        ({"label_smoothing": 1.1}, ValueError),
        ({"label_smoothing": NAN}, ValueError),
        ({"axis": 2}, ValueError),
        ({"axis": -3}, ValueError),
        ({"ignore_index": 1.5}, TypeError),
        ({"axis": 1.0}, TypeError),
        ({"label_smoothing": "0.1"}, TypeError),
    ],
    ids=str,
)
def test_bad_options_are_refused_by_name(loss, x, options, kind):
    (name,) = options
    with pytest.raises(kind, match=rf"^{loss.__name__}: .*{name}="):
        loss(x, LABELS, **options)


@pytest.mark.parametrize(("loss", "x"), FORMS)
def test_ignore_index_needs_labels(loss, x):
    with pytest.raises(ValueError, match="ignore_index"):
        loss(x, one_hot(LABELS, 3), ignore_index=0)


@pytest.mark.parametrize("loss", BINARY)
@pytest.mark.parametrize("name", ["weight", "pos_weight"])
@pytest.mark.parametrize("value", [-1.0, NAN, [1.0, 2.0], np.ones((2, 3)), INF], ids=str)
def test_bad_weights_of_elements_are_refused_by_name(loss, name, value):
    with pytest.raises(ValueError, match=rf"^{loss.__name__}: {name}="):
        loss(np.full(3, 0.5), np.zeros(3), **{name: value})


# ---- the options against independent formulas


def formula(z, q, weight, reduction, denominator):
    """sum -q w log softmax(z), by SciPy."""
    rows = -(q * weight * scipy.special.log_softmax(z, axis=1)).sum(axis=1)
    return {"none": rows, "sum": rows.sum(), "mean": rows.sum() / denominator}[reduction]


WEIGHTS = np.array([0.5, 2.0, 3.0])


@pytest.mark.parametrize("loss", [softmax_cross_entropy, cross_entropy])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("weight", [None, WEIGHTS])
@pytest.mark.parametrize("ignore", [None, -1, 255])
def test_options_with_labels(way, loss, reduction, smoothing, weight, ignore):
    x = LOGITS if loss is softmax_cross_entropy else PROBABILITIES
    labels = LABELS.copy()
    counted = np.ones(4)
    if ignore is not None:
        labels[1], counted[1] = ignore, 0
    shown = np.where(counted == 1, labels, 0)
    w = np.ones(3) if weight is None else weight
    q = ((1 - smoothing) * one_hot(shown, 3) + smoothing / 3) * counted[:, None]
    options = {"reduction": reduction, "label_smoothing": smoothing, "weight": weight, "ignore_index": ignore}
    value, slope = run(loss, x, labels, **options)
    denominator = (w[shown] * counted).sum()  # as PyTorch: the weights of the true classes
    np.testing.assert_allclose(value, formula(LOGITS, q, w, reduction, denominator), rtol=1e-13, atol=1e-15)
    scale = denominator if reduction == "mean" else 1
    if loss is softmax_cross_entropy:
        expected = (PROBABILITIES * (q * w).sum(axis=1, keepdims=True) - q * w) / scale
    else:
        expected = -q * w / PROBABILITIES / scale
    np.testing.assert_allclose(slope, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", [softmax_cross_entropy, cross_entropy])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_options_with_soft_labels(way, loss, reduction, smoothing, weight):
    x = LOGITS if loss is softmax_cross_entropy else PROBABILITIES
    soft = np.random.default_rng(3).dirichlet(np.ones(3), 4)
    w = np.ones(3) if weight is None else weight
    q = (1 - smoothing) * soft + smoothing / 3
    value, slope = run(loss, x, soft, reduction=reduction, label_smoothing=smoothing, weight=weight)
    np.testing.assert_allclose(value, formula(LOGITS, q, w, reduction, 4), rtol=1e-13)
    scale = 4 if reduction == "mean" else 1
    mass = (q * w).sum(axis=1, keepdims=True)
    expected = PROBABILITIES * mass - q * w if loss is softmax_cross_entropy else -q * w / PROBABILITIES
    np.testing.assert_allclose(slope, expected / scale, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("loss", [softmax_cross_entropy, cross_entropy])
def test_the_classes_may_lie_along_any_axis(way, axis, soft, loss):
    z = np.random.default_rng(0).normal(size=(2, 3, 4))
    classes = z.shape[axis]
    labels = np.random.default_rng(1).integers(0, classes, np.delete(z.shape, axis))
    q = np.moveaxis(one_hot(labels, classes), -1, axis)
    expected = -(q * scipy.special.log_softmax(z, axis=axis)).sum(axis=axis)
    x = z if loss is softmax_cross_entropy else scipy.special.softmax(z, axis=axis)
    value, slope = per_row(loss, x, q if soft else labels, axis=axis)
    assert value.shape == expected.shape
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    right = scipy.special.softmax(z, axis=axis) - q if loss is softmax_cross_entropy else -q / x
    np.testing.assert_allclose(slope, right, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(run(loss, x, q if soft else labels, axis=axis)[0], expected.mean(), rtol=1e-13)


@pytest.mark.parametrize("loss", BINARY)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, 0.5, np.array([1.0, 0.0, 3.0])])
@pytest.mark.parametrize("pos_weight", [None, 2.0, np.array([0.5, 1.0, 2.0])])
def test_options_of_the_binary_losses(way, loss, reduction, weight, pos_weight):
    z, y = LOGITS, np.array([[0.0, 1.0, 0.3]] * 4)
    p = scipy.special.expit(z)
    w, positive = (1 if v is None else v for v in (weight, pos_weight))
    elements = -w * (positive * y * scipy.special.log_expit(z) + (1 - y) * scipy.special.log_expit(-z))
    slopes = w * ((1 - y) * p - positive * y * (1 - p))
    x = z
    if loss is binary_cross_entropy:
        x, slopes = p, slopes / (p * (1 - p))
    value, slope = run(loss, x, y, reduction=reduction, weight=weight, pos_weight=pos_weight)
    expected = {"none": elements, "sum": elements.sum(), "mean": elements.sum() / 12}[reduction]
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(slope, slopes / (12 if reduction == "mean" else 1), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse(reduction):
    predictions, targets = LOGITS, PROBABILITIES
    squares = 0.5 * (predictions - targets) ** 2
    value, slope = run(mse, predictions, targets, weight=0.5, reduction=reduction)
    np.testing.assert_allclose(value, {"none": squares, "sum": squares.sum(), "mean": squares.mean()}[reduction])
    np.testing.assert_allclose(slope, (predictions - targets) / (12 if reduction == "mean" else 1))


def test_the_examples_of_the_course():
    value = cross_entropy(np.array([[0.1, 0.5, 0.1, 0.1, 0.2], [0.1, 0.6, 0.1, 0.1, 0.1]]), [0, 0], reduction="none")
    np.testing.assert_allclose(value.data, [2.302585, 2.302585], atol=1e-6)
    value = cross_entropy(np.array([[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]]), [0, 2], reduction="none")
    np.testing.assert_allclose(value.data, [2.30258509, 0.69314718], atol=1e-8)


@pytest.mark.parametrize(
    "targets", [LABELS, LABELS.astype("u1"), LABELS.tolist(), tg.Tensor(LABELS), one_hot(LABELS, 3)]
)
def test_targets_come_in_many_forms(way, targets):
    expected = -scipy.special.log_softmax(LOGITS, axis=1)[np.arange(4), LABELS]
    for layout in (np.ascontiguousarray, np.asfortranarray, lambda z: np.repeat(z, 2, axis=1)[:, ::2]):
        np.testing.assert_allclose(per_row(softmax_cross_entropy, layout(LOGITS), targets)[0], expected, rtol=1e-14)


def test_soft_labels_may_ask_for_gradients(way):
    q = tg.Tensor(np.full((4, 3), 1 / 3), requires_grad=True)
    (slope,) = tg.gradients(softmax_cross_entropy(LOGITS, q, reduction="sum"), [q])
    np.testing.assert_allclose(slope, -scipy.special.log_softmax(LOGITS, axis=1), rtol=1e-13)
    y = tg.Tensor(np.full((4, 3), 0.3), requires_grad=True)
    (slope,) = tg.gradients(sigmoid_binary_cross_entropy(LOGITS, y, reduction="sum"), [y])
    np.testing.assert_allclose(slope, -LOGITS, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_dtypes_stay(way, dtype, loss, reduction):
    x = np.full((2, 2), 0.5, dtype)
    value, slope = run(loss, x, np.eye(2), reduction=reduction)
    assert value.dtype == slope.dtype == dtype
    if "binary" in loss.__name__:
        value, slope = run(loss, x, np.eye(2), reduction=reduction, weight=[1.0, 2.0], pos_weight=3.0)
    elif loss is not mse:
        options = {"weight": [1.0, 2.0], "label_smoothing": 0.1, "ignore_index": -1}
        value, slope = run(loss, x, np.array([1, -1]), reduction=reduction, **options)
    assert value.dtype == slope.dtype == dtype


# ---- invariants that need no oracle


def finite(low, high, *shape):
    return hnp.arrays(np.float64, shape, elements=st.floats(low, high, width=32))


sizes = st.tuples(st.integers(1, 6), st.integers(1, 5))
logits = sizes.flatmap(lambda shape: finite(-50, 50, *shape))


@st.composite
def batch(draw):
    z = draw(logits)
    labels = draw(hnp.arrays(np.int64, len(z), elements=st.integers(0, z.shape[1] - 1)))
    return z, labels


@quick
@given(batch())
def test_rows_of_the_softmax_gradient_sum_to_zero(rows):
    z, labels = rows
    for targets in (labels, one_hot(labels, z.shape[1])):
        _, slope = per_row(softmax_cross_entropy, z, targets)
        np.testing.assert_allclose(slope.sum(axis=1), 0, atol=1e-14)


@quick
@given(batch(), st.integers(-1000, 1000))
def test_a_shift_of_all_logits_changes_nothing(rows, shift):
    z, labels = np.round(rows[0], 3), rows[1]
    loss, slope = per_row(softmax_cross_entropy, z, labels)
    moved, moved_slope = per_row(softmax_cross_entropy, z + shift, labels)
    np.testing.assert_allclose(moved, loss, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(moved_slope, slope, rtol=1e-9, atol=1e-12)


@quick
@given(batch(), st.randoms(use_true_random=False))
def test_classes_in_another_order_give_the_gradient_in_that_order(rows, random):
    z, labels = rows
    order = list(range(z.shape[1]))
    random.shuffle(order)
    loss, slope = per_row(softmax_cross_entropy, z, labels)
    new_labels = np.argsort(order)[labels]
    moved, moved_slope = per_row(softmax_cross_entropy, z[:, order], new_labels)
    np.testing.assert_allclose(moved, loss, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(moved_slope, slope[:, order], rtol=1e-13, atol=1e-300)


@quick
@given(batch())
def test_the_cost_is_the_mean_of_the_rows_losses(rows):
    z, labels = rows
    mean, slope = run(softmax_cross_entropy, z, labels)
    loss, row_slopes = per_row(softmax_cross_entropy, z, labels)
    np.testing.assert_allclose(mean, loss.sum() / len(z), rtol=1e-13)
    np.testing.assert_allclose(slope, row_slopes / len(z), rtol=1e-13)


@quick
@given(batch())
def test_smoothing_zero_is_hard_and_one_hot_is_the_index(rows):
    z, labels = rows
    loss, slope = per_row(softmax_cross_entropy, z, labels)
    for targets, options in ((labels, {"label_smoothing": 0}), (one_hot(labels, z.shape[1]), {})):
        same, same_slope = per_row(softmax_cross_entropy, z, targets, **options)
        np.testing.assert_allclose(same, loss, rtol=1e-14, atol=1e-300)
        np.testing.assert_allclose(same_slope, slope, rtol=1e-14, atol=1e-300)


@quick
@given(finite(-700, 700, 5, 2), hnp.arrays(np.int64, 5, elements=st.integers(0, 1)))
def test_softmax_of_two_is_sigmoid_of_their_difference(z, labels):
    difference = z[:, 1] - z[:, 0]
    loss, slope = per_row(softmax_cross_entropy, np.stack([0 * difference, difference], axis=1), labels)
    binary, binary_slope = per_row(sigmoid_binary_cross_entropy, difference, labels.astype(float))
    np.testing.assert_allclose(loss, binary, rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(slope[:, 1], binary_slope, rtol=1e-14, atol=1e-300)


@quick
@given(finite(-800, 800, 6), hnp.arrays(np.int64, 6, elements=st.integers(0, 64)))
def test_the_other_answer_is_the_other_sign(z, y):
    y = y / 64  # so that 1 - y is exact
    loss, slope = per_row(sigmoid_binary_cross_entropy, z, y)
    mirrored, mirrored_slope = per_row(sigmoid_binary_cross_entropy, -z, 1 - y)
    np.testing.assert_allclose(mirrored, loss, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(mirrored_slope, -slope, rtol=1e-13, atol=1e-15)


@quick
@given(st.integers(1, 5).flatmap(lambda n: finite(-20, 20, n)))
def test_the_hessian_is_positive_semidefinite(z):
    p = scipy.special.softmax(z)
    for targets in (np.array([0]), one_hot([0], len(z))):
        hessian = np.asarray(tg.hessian(lambda t, q=targets: softmax_cross_entropy(t.reshape(1, -1), q))(z))
        np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), atol=1e-14)
        assert np.linalg.eigvalsh(hessian).min() >= -1e-14


@quick
@given(batch())
def test_kernels_and_bodies_agree(rows):
    z, labels = rows
    for smoothing in (0.0, 0.25):
        loss = partial(per_row, softmax_cross_entropy, z, labels, label_smoothing=smoothing)
        fast = loss()
        with pytest.MonkeyPatch.context() as patch:
            use_bodies(patch)
            slow = loss()
        for a, b in zip(fast, slow, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)


# ---- second derivatives


SOFT = np.random.default_rng(5).dirichlet(np.ones(3), 4)
SECOND = [
    (softmax_cross_entropy, LOGITS, LABELS, {}),
    (softmax_cross_entropy, LOGITS, LABELS, {"reduction": "none"}),
    (softmax_cross_entropy, LOGITS, LABELS, {"label_smoothing": 0.2, "weight": WEIGHTS}),
    (softmax_cross_entropy, LOGITS, LABELS, {"label_smoothing": 0.2, "reduction": "sum"}),
    (softmax_cross_entropy, LOGITS, np.array([0, -1, 2, 1]), {"ignore_index": -1}),
    (softmax_cross_entropy, LOGITS, SOFT, {"reduction": "none"}),
    (softmax_cross_entropy, LOGITS.T.copy(), LABELS, {"axis": 0, "weight": WEIGHTS}),
    (sigmoid_binary_cross_entropy, LOGITS, SOFT, {"weight": 0.5, "pos_weight": 3.0}),
    (sigmoid_binary_cross_entropy, LOGITS, SOFT, {"reduction": "none"}),
    (binary_cross_entropy, PROBABILITIES, SOFT, {"pos_weight": WEIGHTS}),
    (binary_cross_entropy, PROBABILITIES, SOFT, {"eps": 1e-6}),
    (mse, LOGITS, SOFT, {}),
]


@pytest.mark.parametrize(("loss", "x", "targets", "options"), SECOND)
def test_second_derivatives(way, loss, x, targets, options):
    assert tg.check.gradcheck(lambda t: loss(t, targets, **options), x).ok


@pytest.mark.parametrize("targets", [LABELS, SOFT])
@pytest.mark.parametrize("fused", [True, False])
def test_second_derivatives_through_a_softmax(way, targets, fused):
    assert tg.check.gradcheck(lambda t: cross_entropy(tg.ops.softmax(t), targets, fused=fused), LOGITS).ok
    y = (np.arange(12) % 2).reshape(4, 3)
    assert tg.check.gradcheck(lambda t: binary_cross_entropy(tg.ops.sigmoid(t), y, fused=fused), LOGITS).ok


def test_second_derivatives_with_respect_to_soft_targets_too(way):
    q = tg.ops.softmax
    assert tg.check.gradcheck(lambda t, s: softmax_cross_entropy(t, q(s), reduction="none"), LOGITS, SOFT).ok
    assert tg.check.gradcheck(lambda t, s: sigmoid_binary_cross_entropy(t, q(s), reduction="none"), LOGITS, SOFT).ok


# ---- fused and textbook


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight": WEIGHTS},
        {"label_smoothing": 0.1},
        {"reduction": "none"},
        {"ignore_index": 2},
        {"reduction": "sum"},
    ],
    ids=str,
)
def test_the_fused_and_the_textbook_graph_agree(way, options):
    fused, slope = run(lambda z, y, **o: cross_entropy(tg.ops.softmax(z), y, **o), LOGITS, LABELS, **options)
    textbook = run(lambda z, y, **o: cross_entropy(tg.ops.softmax(z), y, fused=False, **o), LOGITS, LABELS, **options)
    direct = run(softmax_cross_entropy, LOGITS, LABELS, **options)
    for value, grad in (textbook, direct):
        np.testing.assert_allclose(value, fused, rtol=1e-13)
        np.testing.assert_allclose(grad, slope, rtol=1e-12, atol=1e-15)


def test_the_fused_and_the_textbook_binary_graph_agree(way):
    y = (np.arange(12) % 2).reshape(4, 3)
    options = {"weight": 2.0, "pos_weight": [1.0, 2.0, 3.0]}
    fused, slope = run(lambda z, t: binary_cross_entropy(tg.ops.sigmoid(z), t, **options), LOGITS, y)
    textbook = run(lambda z, t: binary_cross_entropy(tg.ops.sigmoid(z), t, fused=False, **options), LOGITS, y)
    np.testing.assert_allclose(textbook[0], fused, rtol=1e-13)
    np.testing.assert_allclose(textbook[1], slope, rtol=1e-12, atol=1e-15)


def test_textbook_networks_are_stable_where_probabilities_underflow(way):
    z = np.array([[0.0, 900.0, 0.0], [-INF, 0.0, 0.0]])
    loss, slope = per_row(lambda t, y, **o: cross_entropy(tg.ops.softmax(t), y, **o), z, np.array([0, 0]))
    np.testing.assert_array_equal(loss, [900, INF])
    np.testing.assert_allclose(slope, [[-1, 1, 0], [-1, 0.5, 0.5]])
    z = np.array([-900.0, 900.0])
    loss, slope = per_row(lambda t, y, **o: binary_cross_entropy(tg.ops.sigmoid(t), y, **o), z, np.array([1, 0]))
    np.testing.assert_array_equal(loss, 900)
    np.testing.assert_array_equal(slope, [-1, 1])


def test_without_fusing_the_gradient_at_the_probabilities_can_be_looked_at():
    z = tg.Tensor(LOGITS, requires_grad=True)
    p = tg.ops.softmax(z)
    cross_entropy(p, LABELS, fused=False, reduction="sum").backward()
    np.testing.assert_allclose(p.grad, -one_hot(LABELS, 3) / PROBABILITIES, rtol=1e-13)
    np.testing.assert_allclose(z.grad, PROBABILITIES - one_hot(LABELS, 3), rtol=1e-12, atol=1e-15)


# ---- the gradient that the kernel computes on the way to the loss


def three_losses():
    soft = np.full((4, 3), 1 / 3)
    return [
        (lambda z: softmax_cross_entropy(z, LABELS)),
        (lambda z: softmax_cross_entropy(z, LABELS, weight=[1, 2, 0.5], ignore_index=0)),
        (lambda z: softmax_cross_entropy(z, soft, label_smoothing=0.1)),
        (lambda z: sigmoid_binary_cross_entropy(z, soft, reduction="sum", pos_weight=2.0)),
    ]


@pytest.mark.parametrize("loss", three_losses())
def test_backward_can_be_called_again_whatever_was_done_to_the_first_gradient(loss, way):
    z = tg.Tensor(LOGITS, requires_grad=True)
    cost = loss(z * 1)
    expected = tg.gradients(cost, z, create_graph=True).data.copy()
    logits = cost.inputs[0] if cost.op.name.endswith("xent") else cost.inputs[0].inputs[0]
    for _ in range(3):
        z.grad = None
        cost.backward()
        np.testing.assert_allclose(z.grad, expected, rtol=1e-14, atol=1e-17)
        np.testing.assert_allclose(logits.grad, expected, rtol=1e-14, atol=1e-17)
        logits.grad[:] = 7
        z.grad[:] = 8


@pytest.mark.parametrize("loss", three_losses())
def test_what_is_upstream_of_the_loss_reaches_the_gradient(loss, way):
    z = tg.Tensor(LOGITS, requires_grad=True)
    once = tg.gradients(loss(z), z)
    for cost in (3 * loss(z), loss(z) + loss(z) + loss(z)):
        np.testing.assert_allclose(tg.gradients(cost, z), 3 * once, rtol=1e-14)
    cost = loss(z)
    np.testing.assert_allclose(tg.gradients(cost, z, gradient=-2.0), -2 * once, rtol=1e-14)
    np.testing.assert_allclose(tg.gradients(cost, z), once, rtol=1e-14)
    np.testing.assert_array_equal(tg.gradients(loss(z) * 0, z), np.zeros((4, 3)))


def test_without_recording_no_gradient_is_computed(way):
    with tg.no_grad():
        cost = softmax_cross_entropy(tg.Tensor(LOGITS, requires_grad=True), LABELS)
    assert ready_gradient(cost) is None
    assert ready_gradient(softmax_cross_entropy(LOGITS, LABELS)) is None


# ---- the softmax that was applied twice


def caught_from(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [str(w.message) for w in caught]


SHAPINGS = [
    lambda p: p,
    lambda p: tg.ops.broadcast_to(tg.ops.expand_dims(p, axis=0), shape=(2, 4, 3))[1],
    lambda p: tg.ops.concatenate(p[:2], p[2:], axis=0),
    lambda p: tg.ops.stack(p, p)[0],
    lambda p: p.reshape(2, 2, 3).reshape(4, 3),
    lambda p: p.T.T,
    lambda p: p[:4],
    lambda p: tg.ops.squeeze(tg.ops.expand_dims(p, axis=0), axis=0),
    lambda p: tg.ops.swapaxes(p, 0, 1).T,
    lambda p: tg.ops.moveaxis(tg.ops.moveaxis(p, 0, 1), 0, 1),
    lambda p: p.astype(np.float32),
]


@pytest.mark.parametrize("shaped", SHAPINGS)
def test_softmax_applied_twice_names_both_places(shaped):
    here = {}

    def twice():
        here["first"] = line() + 1
        p = tg.ops.softmax(tg.Tensor(LOGITS, requires_grad=True))
        q = shaped(p)
        here["second"] = line() + 1
        softmax_cross_entropy(q, LABELS)

    (message,) = caught_from(twice)
    assert "softmax is applied twice" in message
    assert f"test_losses.py:{here['first']}," in message
    assert f"test_losses.py:{here['second']}." in message
    assert "0.576" in message  # e / (e + 2)
    assert "0.551" in message  # -log of it
    assert "cross_entropy(..., targets)" in message


def line():
    import sys

    return sys._getframe(1).f_lineno


def test_sigmoid_applied_twice_is_told_too():
    z = tg.Tensor(LOGITS, requires_grad=True)
    (message,) = caught_from(lambda: sigmoid_binary_cross_entropy(tg.ops.sigmoid(z).reshape(-1), np.zeros(12)))
    assert "sigmoid is applied twice" in message
    assert message.count("test_losses.py:") == 2


@pytest.mark.parametrize(
    "right",
    [
        lambda z: softmax_cross_entropy(z, LABELS),
        lambda z: cross_entropy(tg.ops.softmax(z), LABELS),
        lambda z: cross_entropy(tg.ops.softmax(z), LABELS, fused=False),
        lambda z: binary_cross_entropy(tg.ops.sigmoid(z), np.zeros((4, 3))),
        lambda z: softmax_cross_entropy(tg.ops.log_softmax(z), LABELS),
        lambda z: softmax_cross_entropy(2 * tg.ops.softmax(z), LABELS),
        lambda z: softmax_cross_entropy(tg.ops.concatenate(tg.ops.softmax(z)[:2], z[2:], axis=0), LABELS),
        lambda z: softmax_cross_entropy(tg.ops.where(z > 0, tg.ops.softmax(z), z), LABELS),
        lambda z: mse(tg.ops.softmax(z), one_hot(LABELS, 3)),
    ],
)
def test_right_uses_are_not_warned_about(right):
    assert caught_from(lambda: right(tg.Tensor(LOGITS, requires_grad=True))) == []


OTHER_MISUSES = {
    "these logits look like its output already": lambda z: softmax_cross_entropy(PROBABILITIES, LABELS),
    "sum to 1. With logits between 0 and 1": lambda z: softmax_cross_entropy(PROBABILITIES.T, LABELS, axis=0),
    "not negative and sum to 1": lambda z: softmax_cross_entropy(tg.ops.softmax(z) @ np.eye(3), LABELS),
    "softmax is applied to the output of a sigmoid": lambda z: softmax_cross_entropy(tg.ops.sigmoid(z), LABELS),
    "sigmoid is applied to the output of a softmax": lambda z: sigmoid_binary_cross_entropy(
        tg.ops.softmax(z), one_hot(LABELS, 3)
    ),
    "the softmax of one number is always 1": lambda z: softmax_cross_entropy(z[:, :1], np.zeros(4, int)),
    "(4, 1) has one class along axis": lambda z: cross_entropy(tg.ops.softmax(z[:, :1]), np.zeros(4, int)),
    "write sigmoid_binary_cross_entropy(logits": lambda z: cross_entropy(np.ones((4, 1)), np.zeros(4, int)),
}


@pytest.mark.parametrize("told", OTHER_MISUSES)
def test_other_misuses_are_told_at_the_users_line(told):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        OTHER_MISUSES[told](tg.Tensor(LOGITS, requires_grad=True))
    (warning,) = caught
    assert told in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.filterwarnings("default")
def test_in_a_loop_a_warning_is_shown_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(5):
            softmax_cross_entropy(tg.ops.softmax(tg.Tensor(LOGITS, requires_grad=True)), LABELS)
    assert len(caught) == 1


def test_the_warning_names_the_loss_that_was_called_and_advice_that_works():
    z = tg.Tensor(LOGITS, requires_grad=True)
    (message,) = caught_from(lambda: cross_entropy(tg.ops.softmax(z[:, :1]), np.zeros(4, int)))
    assert message.startswith("cross_entropy: ")
    (message,) = caught_from(lambda: softmax_cross_entropy(tg.ops.softmax(z, axis=0), LABELS))
    assert "Write cross_entropy" not in message
    assert caught_from(lambda: softmax_cross_entropy(np.array([[0.5, 0.5]]), np.array([0]))) == []


def test_no_loss_writes_to_its_arguments(way):
    for loss in ALL:
        x, y = PROBABILITIES.copy(), one_hot(LABELS, 3)
        run(loss, x, y)
        np.testing.assert_array_equal(x, PROBABILITIES)
        np.testing.assert_array_equal(y, one_hot(LABELS, 3))


@pytest.mark.parametrize("module", ["CrossEntropy", "SoftmaxCrossEntropy", "BCE", "SigmoidBCE", "MSE"])
def test_the_modules_are_the_functions(module):
    function = dict(zip(("CrossEntropy", "SoftmaxCrossEntropy", "SigmoidBCE", "BCE", "MSE"),
                        (cross_entropy, softmax_cross_entropy, sigmoid_binary_cross_entropy, binary_cross_entropy, mse),
                        strict=True))[module]  # fmt: skip
    x, y = PROBABILITIES, one_hot(LABELS, 3)
    ours = getattr(tg.nn, module)(reduction="sum")(x, y)
    assert ours.item() == function(x, y, reduction="sum").item()
    assert set(dir(losses)) >= {function.__name__}
