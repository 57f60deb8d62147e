"""The options of the losses against independent formulas (SciPy): weights, smoothing, axes, dtypes, reductions."""

import numpy as np
import pytest
import scipy.special
from losses.cases import ALL, BINARY, LABELS, LOGITS, PROBABILITIES, WEIGHTS, one_hot, per_row, run

import tinygrad_ce as tg
from tinygrad_ce import losses
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


def formula(z, q, weight, reduction, denominator):
    """sum -q w log softmax(z), by SciPy."""
    rows = -(q * weight * scipy.special.log_softmax(z, axis=1)).sum(axis=1)
    return {"none": rows, "sum": rows.sum(), "mean": rows.sum() / denominator}[reduction]


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
