"""Arguments of every integer and floating-point dtype, NumPy's scalars, lists and byte orders; eps near 1."""

import mpmath as mp
import numpy as np
import pytest
from losses.cases import LABELS, LOGITS, PROBABILITIES, WEIGHTS, one_hot, run

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce.losses import (
    binary_cross_entropy,
    cross_entropy,
    hinge,
    huber,
    kl_divergence,
    mse,
    nll,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
)

OVER_CLASSES = {
    "softmax_cross_entropy": (softmax_cross_entropy, LOGITS),
    "cross_entropy": (cross_entropy, PROBABILITIES),
    "nll": (nll, np.log(PROBABILITIES)),
    "kl_divergence": (kl_divergence, PROBABILITIES),
    "hinge": (hinge, LOGITS),
}
INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i2", ">u4", ">i8", ">u8"]


@pytest.mark.parametrize("name", OVER_CLASSES)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_labels_of_every_integer_dtype(way, name, dtype):
    loss, x = OVER_CLASSES[name]
    value, slope = run(loss, x, LABELS.astype(dtype))
    right, right_slope = run(loss, x, LABELS)
    assert value == right
    np.testing.assert_array_equal(slope, right_slope)


@pytest.mark.parametrize("name", OVER_CLASSES)
@pytest.mark.parametrize(
    ("dtype", "label"),
    [
        ("u8", 2**64 - 1),
        (">u8", 2**64 - 1),
        ("u8", 2**63),
        ("u4", 2**32 - 1),
        ("u2", 2**16 - 1),
        ("u1", 255),
        ("i8", -1),
    ],
)
def test_a_label_is_checked_before_it_is_cast(way, name, dtype, label):
    """As int64, 2**64 - 1 would be -1, and -1 the last class or an ignored row."""
    loss, x = OVER_CLASSES[name]
    labels = np.array([2, 0, label, 1], dtype)
    with pytest.raises(ValueError, match=rf"row 2 is {label}, .* 3 classes"):
        loss(x, labels)
    with pytest.raises(ValueError, match=rf"row 2 is {label}, .* 3 classes"):
        loss(x, tg.Tensor(labels))
    if name not in ("hinge", "kl_divergence") and label != -1:
        with pytest.raises(ValueError, match=rf"row 2 is {label}, .* 3 classes"):
            loss(x, labels, ignore_index=-1)


def test_a_program_and_a_training_check_labels_before_they_are_cast():
    labels = np.array([2, 0, 2**64 - 1, 1], np.uint64)
    z = tg.Tensor(LOGITS, requires_grad=True)
    program = tg.trace(lambda y: softmax_cross_entropy(z, y, ignore_index=-1), np.minimum(labels, 2))
    with pytest.raises(ValueError, match=f"row 2 is {2**64 - 1}"):
        program.run(labels)
    model = nn.Dense(3, 3)
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(ignore_index=-1), tg.optim.SGD(model.parameters()))
    with pytest.raises(ValueError, match=f"is {2**64 - 1}"):
        trainer.fit(LOGITS, labels, epochs=1, progress=False)


@pytest.mark.parametrize("loss", [softmax_cross_entropy, nll])
def test_an_ignored_index_is_an_int64(loss):
    x = np.log(PROBABILITIES)
    expected = loss(x[:3], LABELS[:3]).item()
    for index in (255, np.uint8(255), np.int64(255)):
        labels = np.append(LABELS[:3], 255).astype(np.uint8)
        assert loss(x, labels, ignore_index=index).item() == pytest.approx(expected, rel=1e-15)
    for index in (2**64 - 1, np.uint64(2**63)):
        with pytest.raises(ValueError, match=r"ignore_index=.*int64"):
            loss(x, LABELS, ignore_index=index)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "cross_entropy", "nll", "kl_divergence"])
@pytest.mark.parametrize("dtype", [*INTEGERS, bool, ">f4", ">f8", np.float16, list])
def test_one_hot_rows_of_every_dtype(way, name, dtype):
    """Integer rows are distributions too: they have the shape of the logits, which labels never have."""
    loss, x = OVER_CLASSES[name]
    rows = one_hot(LABELS, 3)
    rows = rows.astype(int).tolist() if dtype is list else rows.astype(dtype)
    value, slope = run(loss, x, rows)
    right, right_slope = run(loss, x, LABELS)
    np.testing.assert_allclose(value, right, rtol=1e-15)
    np.testing.assert_allclose(slope, right_slope, rtol=1e-14, atol=1e-16)
    square, labels = x[:3], LABELS[:3]  # as many rows as classes
    rows = one_hot(labels, 3).astype(int)
    np.testing.assert_allclose(loss(square, rows).item(), loss(square, labels).item(), rtol=1e-15)
    with pytest.raises(ValueError, match="row 0 is wrong: it sums to 2"):
        loss(square, 2 * rows)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, float])
def test_label_smoothing_may_be_any_real_number(way, kind):
    s = kind(0.1)
    for name in ("softmax_cross_entropy", "cross_entropy"):
        loss, x = OVER_CLASSES[name]
        for targets in (LABELS, one_hot(LABELS, 3)):
            q = (1 - float(s)) * one_hot(LABELS, 3) + float(s) / 3
            right = -(q * np.log(PROBABILITIES)).sum(axis=1).mean()
            np.testing.assert_allclose(loss(x, targets, label_smoothing=s).item(), right, rtol=1e-14)
        assert loss(x, LABELS, label_smoothing=np.int64(0)).item() == loss(x, LABELS).item()
        assert nn.CrossEntropy(label_smoothing=s)(PROBABILITIES, LABELS).item() == pytest.approx(right, rel=1e-14)


ELEMENTS = [mse, huber, sigmoid_binary_cross_entropy, binary_cross_entropy, hinge]


@pytest.mark.parametrize("weight", [[1, 2, 3], (1.0, 2.0, 3.0), np.array([1, 2, 3], "u1"), np.array([1, 2, 3], ">f4"),
                                    np.array([1, 2, 3], ">i8"), np.array([1, 2, 3], np.float16), tg.Tensor([1, 2, 3])],
                         ids=lambda w: f"{type(w).__name__} {getattr(w, 'dtype', '')}")  # fmt: skip
def test_weights_of_every_kind(way, weight):
    right = np.array([1.0, 2.0, 3.0])
    rows = one_hot(LABELS, 3)
    for loss in (softmax_cross_entropy, cross_entropy, nll):
        x = OVER_CLASSES[loss.__name__][1]
        for targets in (LABELS, rows):
            assert run(loss, x, targets, weight=weight)[0] == run(loss, x, targets, weight=right)[0]
    for loss in ELEMENTS:
        y = 2 * rows - 1 if loss is hinge else rows
        for targets in (y, y.astype(">f4"), y.astype(">i4"), y.tolist()):
            value, slope = run(loss, PROBABILITIES, targets, weight=weight)
            expected, expected_slope = run(loss, PROBABILITIES, y, weight=right)
            assert value == expected
            np.testing.assert_array_equal(slope, expected_slope)
    assert (
        run(sigmoid_binary_cross_entropy, LOGITS, rows, pos_weight=weight)[0]
        == run(sigmoid_binary_cross_entropy, LOGITS, rows, pos_weight=right)[0]
    )


@pytest.mark.parametrize("weight", [2, 2.0, np.float32(2.0), np.int8(2), np.array(2.0)])
def test_one_weight_for_all(weight):
    y = one_hot(LABELS, 3)
    for loss in ELEMENTS:
        targets = 2 * y - 1 if loss is hinge else y
        expected = 2 * loss(PROBABILITIES, targets).item()
        assert loss(PROBABILITIES, targets, weight=weight).item() == pytest.approx(expected, rel=1e-15)
    z = np.array([0.5, -1.0])
    right = np.mean([2 * np.log1p(np.exp(-0.5)), np.log1p(np.exp(-1.0))])
    assert sigmoid_binary_cross_entropy(z, [1, 0], pos_weight=weight).item() == pytest.approx(right, rel=1e-15)


@pytest.mark.parametrize("weight", [["a", "b", "c"], [1j, 1, 1], [None, 1, 1]])
def test_weights_that_are_no_numbers_are_refused_by_name(weight):
    for loss in (mse, softmax_cross_entropy):
        with pytest.raises(TypeError, match=rf"^{loss.__name__}: weight= must be numbers"):
            loss(LOGITS, one_hot(LABELS, 3), weight=weight)


# ---- eps


@pytest.mark.parametrize("eps", [1e-12, 1e-8, np.float32(1e-8), 1e-7, 1e-3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eps_has_its_effect_near_1_too(dtype, eps):
    p = np.array([1.0, 0.0, 1.0, 0.0, 0.25], dtype)
    y = np.array([0, 1, 1, 0, 1])
    value, slope = run(binary_cross_entropy, p, y, eps=eps, reduction="none")
    assert value.dtype == dtype
    far, near = -mp.log(float(eps)), -mp.log(1 - mp.mpf(float(eps)))
    exact = [float(v) for v in (far, far, near, near, mp.log(4))]
    np.testing.assert_allclose(value, exact, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)
    np.testing.assert_array_equal(slope, [0, 0, 0, 0, -4])
    value, slope = run(cross_entropy, np.array([[1.0, 0.0], [1.0, 0.0]], dtype), [0, 1], eps=eps, reduction="none")
    np.testing.assert_allclose(value, [float(near), float(far)], rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("loss", [binary_cross_entropy, cross_entropy])
@pytest.mark.parametrize(("dtype", "eps"), [(np.float16, 1e-8), (np.float16, 1e-5), (np.float32, 1e-40)])
def test_an_eps_that_is_no_number_of_the_dtype_is_refused(loss, dtype, eps):
    with pytest.raises(ValueError, match=rf"^{loss.__name__}: eps=.* too small for {np.dtype(dtype)}"):
        loss(np.array([[0.5, 0.5]], dtype), np.array([[0.0, 1.0]]), eps=eps)
    assert loss(np.array([[1.0, 0.0]], np.float16), np.array([[0.0, 1.0]]), eps=1e-4).item() == pytest.approx(
        9.21, rel=1e-3
    )


def test_eps_in_a_program():
    p = np.array([1.0, 0.25], np.float32)
    y = np.array([0.0, 1.0], np.float32)
    program = tg.trace(lambda p, y: binary_cross_entropy(p, y, eps=1e-8, reduction="sum"), p, y)
    assert program.run(p, y).item() == pytest.approx(-np.log(1e-8) + np.log(4), rel=1e-6)
    namespace = {}
    exec(program.source, namespace)
    assert float(namespace["step"](p, y)) == pytest.approx(-np.log(1e-8) + np.log(4), rel=1e-6)


def test_the_mean_over_weighted_labels_is_divided_by_what_was_counted():
    value, _ = run(softmax_cross_entropy, LOGITS, LABELS, weight=WEIGHTS.astype(np.float32).tolist())
    rows = -np.log(PROBABILITIES[np.arange(4), LABELS]) * WEIGHTS[LABELS]
    np.testing.assert_allclose(value, rows.sum() / WEIGHTS[LABELS].sum(), rtol=1e-14)


@pytest.mark.parametrize("options", [{}, {"weight": [1.0, 1.0, 1.0]}, {"ignore_index": 7}, {"axis": 0}], ids=str)
@pytest.mark.parametrize("name", ["cross_entropy", "nll", "kl_divergence"])
def test_the_mean_of_many_rows_of_float16_is_no_nan(name, options):
    """Their sum, and their number, are beyond 65504. The exact loss is log 3 for all rows (of kl_divergence: log 3)."""
    rows = 70_000
    p = np.full((rows, 3), 1 / 3, np.float16)
    x = tg.Tensor(np.log(p) if name == "nll" else p, requires_grad=True)
    if name == "kl_divergence" and "ignore_index" in options:
        options = {}
    values = x.T if "axis" in options else x
    loss = getattr(tg.losses, name)(values, np.arange(rows) % 3, fused=False, **options)
    slope = tg.gradients(loss, x)
    assert loss.dtype == slope.dtype == np.float16
    np.testing.assert_allclose(loss.item(), np.log(3), rtol=2e-3)
    own = slope[np.arange(rows), np.arange(rows) % 3]
    np.testing.assert_allclose(own.astype(float), (-1 if name == "nll" else -3) / rows, rtol=1e-2)
