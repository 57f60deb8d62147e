"""The edge table of the losses: what every unusual input is answered with."""

import warnings

import numpy as np
import pytest
from losses.cases import ALL, BINARY, FORMS, INF, LABELS, LOGITS, NAN, PROBABILITIES, one_hot, per_row, run

from tinygrad_ce.losses import (
    binary_cross_entropy,
    cross_entropy,
    mse,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
)

# Shapes with one class, and logits that happen to sum to 1, are tried on purpose; the warnings have tests of their own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*one class along axis"),
    pytest.mark.filterwarnings("ignore:.*look like its output already"),
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
    assert caught[0].filename == run.__code__.co_filename  # the user's line, not ours


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


def test_nan_of_a_binary_logit_stays_with_it(way):
    z = np.array([NAN, INF, -INF, -INF, 0.0])
    loss, slope = per_row(sigmoid_binary_cross_entropy, z, np.array([1.0, 1.0, 0.0, 1.0, 1.0]))
    np.testing.assert_allclose(loss, [NAN, 0, 0, INF, np.log(2)])
    np.testing.assert_allclose(slope, [NAN, 0, 0, -1, -0.5])


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


def test_one_class_with_ignored_rows_and_a_weight():
    value, slope = run(softmax_cross_entropy, np.ones((3, 1)), np.array([0, -1, 0]), ignore_index=-1, weight=[2.0])
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


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
