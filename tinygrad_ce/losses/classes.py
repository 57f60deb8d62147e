"""The losses over classes: cross-entropy of logits, probabilities and log-probabilities, and the KL divergence."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Tensor, interpreter
from tinygrad_ce.kernels.attach import call_fused
from tinygrad_ce.losses import arguments, misuse
from tinygrad_ce.losses.logits import as_loss_of, logits_of
from tinygrad_ce.source_lines import per_row


def softmax_cross_entropy(
    logits: Any,
    targets: Any,
    *,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "mean",
    axis: int = -1,
) -> Any:
    """-log softmax(logits)[target], the negative log-likelihood of the true class.

    logits: shape (N, C), or any shape with the classes along `axis`.
    targets: class indices (N,), integers; or one-hot rows or soft labels in the shape of the logits.
    weight: (C,) non-negative weights per class; as in PyTorch, a mean is then divided by the weights of the labels, and
    by N where the targets are rows. What has weight 0 counts for nothing, whatever it is.
    label_smoothing: in [0, 1]; the target becomes (1 - s) target + s / C.
    ignore_index: rows with this class index count for nothing. All ignored: loss 0 and one warning.
    reduction: "mean" over the rows (the cost), "sum", or "none" (one loss for each row).
    Raises TypeError and ValueError that say which row is wrong, and what to write.

    >>> softmax_cross_entropy(np.array([[2.0, 1.0, 0.1]]), np.array([0])).item()
    0.41703...

    Source: C. Bishop, "Pattern Recognition and Machine Learning", eq. 4.108; smoothing: Szegedy et al., 2015.
    """
    name = "softmax_cross_entropy"
    return _of_logits(name, logits, targets, weight, label_smoothing, ignore_index, reduction, axis)


def _of_logits(
    name: str,
    logits: Any,
    targets: Any,
    weight: Any,
    label_smoothing: float,
    ignore_index: int | None,
    reduction: str,
    axis: int,
) -> Any:
    """The cross-entropy of the softmax of logits; name is what the user has called."""
    logits = arguments.floating(logits, name, "logits")
    if type(label_smoothing) is not float or label_smoothing != 0:
        label_smoothing = arguments.smoothing(name, label_smoothing)
    if weight is None and ignore_index is None and arguments.are_plain_labels(logits, targets, axis):
        if reduction != "mean":
            arguments.check_reduction(name, reduction, logits)

        def check(labels: Any) -> None:
            arguments.check_labels(name, labels, logits.data.shape[1], None)

        misuse.warn_of_squashed(logits, name, "cross_entropy", -1)
        interpreter.get().numbers(targets, check)  # for a traced program; here xent looks at the labels itself
        try:
            return call_fused(ops.xent, logits, targets, 1.0, smoothing=label_smoothing, reduction=reduction)
        except ValueError:
            check(targets)  # says which one is wrong
            raise
    rows = arguments.rows_of_classes(name, logits, targets, weight, ignore_index, reduction, axis, label_smoothing)
    misuse.warn_of_squashed(logits, name, "cross_entropy", axis)
    weights = rows.weight
    if reduction == "mean" and rows.total is not None:  # divided by what counts: the weights bring it along
        weights, reduction = ops.astype(weights / rows.total, dtype=rows.values.dtype), "sum"
    options = {"smoothing": label_smoothing, "reduction": reduction}
    if rows.labels is None:
        loss = call_fused(ops.soft_xent, rows.values, rows.soft, weights, **options)
    elif ignore_index is None:
        loss = call_fused(ops.xent, rows.values, rows.labels, weights, **options)
    else:
        loss = call_fused(ops.xent, rows.values, rows.labels, weights, ignore_index=int(ignore_index), **options)
    return ops.reshape(loss, shape=rows.shape) if reduction == "none" and loss.shape != rows.shape else loss


def cross_entropy(
    probabilities: Any,
    targets: Any,
    *,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "mean",
    axis: int = -1,
    eps: float = 0.0,
    fused: bool = True,
) -> Any:
    """-sum target log probability: the cross-entropy H(target, probability) of each row.

    probabilities: rows that are not negative and sum to 1; otherwise as `softmax_cross_entropy`.
    eps: clips the probabilities to [eps, 1 - eps], beyond which their gradient is 0; without it, probability 0 of the
    true class has loss inf.
    fused: where a softmax made the probabilities (with recording on), differentiate through its logits, also where
    they were reshaped, transposed, indexed, joined or cast since. With False, through log and softmax one by one, so
    that the gradient at the probabilities can be looked at.
    Raises ValueError if the rows are no probabilities.

    >>> cross_entropy(np.array([[0.1, 0.5, 0.1, 0.1, 0.2]]), np.array([0])).item()
    2.30258...

    Source: C. Shannon, "A Mathematical Theory of Communication", 1948, sections 6 and 12.
    """
    name = "cross_entropy"
    p = arguments.floating(probabilities, name, "probabilities")
    arguments.check_axis(name, axis, p)
    logits, passed_over = logits_of(p, ops.softmax, axis) if fused and not eps else (None, ())
    if logits is not None:
        loss = _of_logits(name, logits, targets, weight, label_smoothing, ignore_index, reduction, axis)
        return as_loss_of(p, loss, passed_over)
    s = arguments.smoothing(name, label_smoothing)
    rows = arguments.rows_of_classes(name, p, targets, weight, ignore_index, reduction, axis, s)
    arguments.check_probabilities(p.data, axis, rows.counted)
    misuse.warn_of_one_class(p, name, axis)
    target = _target(rows, s)
    p = arguments.clipped(_where_it_counts(rows.values, target, rows, 1), eps, name)
    return _reduced_rows(0 - ops.reduce_sum(ops.xlogy(target, p), axis=-1), rows, reduction)  # 0 - 0 is no -0


def nll(
    log_probabilities: Any,
    targets: Any,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    axis: int = -1,
    fused: bool = True,
) -> Any:
    """-log_probability[target]: the negative log-likelihood, for those who have taken the logarithm already.

    log_probabilities: rows of logarithms whose exponentials sum to 1, as `tg.ops.log_softmax` makes them; otherwise as
    `softmax_cross_entropy`. fused: where `log_softmax` made them, differentiate through its logits, as `cross_entropy`.
    Raises ValueError if the rows are no logarithms of probabilities.

    >>> nll(np.log([[0.25, 0.75]]), np.array([1])).item()
    0.28768...

    Source: C. Bishop, "Pattern Recognition and Machine Learning", section 1.2.4.
    """
    name = "nll"
    values = arguments.floating(log_probabilities, name, "log_probabilities")
    arguments.check_axis(name, axis, values)
    logits, passed_over = logits_of(values, ops.log_softmax, axis) if fused else (None, ())
    if logits is not None:
        loss = _of_logits(name, logits, targets, weight, 0.0, ignore_index, reduction, axis)
        return as_loss_of(values, loss, passed_over)
    rows = arguments.rows_of_classes(name, values, targets, weight, ignore_index, reduction, axis)
    arguments.check_log_probabilities(values.data, axis, rows.counted)
    misuse.warn_of_one_class(values, name, axis)
    target = _target(rows, 0.0)
    logarithms = _where_it_counts(rows.values, target, rows, 0)
    return _reduced_rows(0 - ops.reduce_sum(_times(target, logarithms), axis=-1), rows, reduction)


def kl_divergence(
    probabilities: Any,
    targets: Any,
    *,
    weight: Any = None,
    reduction: str = "mean",
    axis: int = -1,
    fused: bool = True,
) -> Any:
    """sum target log(target / probability): how far the probabilities are from the targets, KL(target || probability).

    probabilities: rows that are not negative and sum to 1, of shape (N, C), or with the classes along `axis`.
    targets: rows that are probabilities too, or class indices (N,): then it is the cross-entropy. 0 log 0 = 0.
    weight: (C,) non-negative weights per class. reduction: "mean" over the rows, "sum", or "none" (one for each row).
    fused: where a softmax made the probabilities, differentiate through its logits, as `cross_entropy`.
    It is the cross-entropy less the entropy of the targets, which has no gradient: both train the same network.
    Raises ValueError if the rows are no probabilities.

    >>> kl_divergence(np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])).item()
    0.13081...

    Source: S. Kullback, R. Leibler, "On information and sufficiency", 1951.
    """
    name = "kl_divergence"
    p = arguments.floating(probabilities, name, "probabilities")
    arguments.check_axis(name, axis, p)
    z, passed_over = logits_of(p, ops.softmax, axis) if fused else (None, ())
    rows = arguments.rows_of_classes(name, p if z is None else z, targets, weight, None, reduction, axis)
    target = _target(rows._replace(weight=1.0), 0.0)
    values = _where_it_counts(rows.values, target * rows.weight, rows, 1, each=z is None)
    if z is None:
        arguments.check_probabilities(p.data, axis, rows.counted, name)
        loss = _relative_entropy(target, values, ops.xlogy(target, values))
    else:
        loss = _relative_entropy(target, ops.softmax(values), _times(target, ops.log_softmax(values)))
    misuse.warn_of_one_class(p, name, axis)
    loss = _reduced_rows(ops.reduce_sum(loss * rows.weight, axis=-1), rows, reduction)
    return loss if z is None else as_loss_of(p, loss, passed_over)


def _relative_entropy(target: Any, p: Any, target_log_p: Any) -> Any:
    """target log(target / p), each: where they are near, from their difference, which keeps its digits."""
    near = ops.logical_and(ops.less(p, 2 * target), ops.less(target, 2 * p))
    ratio_less_one = (target - p) / ops.where(near, p, 1)
    apart = ops.where(near, 0, ops.xlogy(target, target) - target_log_p)
    return ops.xlog1py(target, ops.where(near, ratio_less_one, 0)) + apart


def _times(target: Any, logarithms: Any) -> Any:
    """target times logarithm: 0 where nothing of the target is, also where the logarithm is -inf."""
    zero = ops.equal(target, 0)
    return target * ops.where(ops.logical_and(zero, ops.equal(logarithms, -np.inf)), 0, logarithms)


def _target(rows: arguments.Rows, smoothing: float) -> Any:
    """How much of each logarithm goes into the loss, (N, C): soft or one-hot targets, smoothed, times the weights."""
    target, classes = rows.soft, rows.values.shape[-1]
    if rows.labels is None:
        return _smoothed(target, smoothing, classes) * rows.weight
    labels = rows.labels if rows.ignored is None else ops.where(rows.ignored, 0, rows.labels)
    ones = interpreter.get().read(Tensor(np.ones(rows.values.shape[:1], rows.values.dtype), name="ones"))
    target = _smoothed(ops.place(ones, labels, classes=classes), smoothing, classes) * rows.weight
    return target if rows.ignored is None else ops.where(ops.expand_dims(rows.ignored, axis=-1), 0, target)


def _smoothed(target: Any, smoothing: float, classes: int) -> Any:
    return (1 - smoothing) * target + smoothing / classes if smoothing else target


def _where_it_counts(values: Any, target: Any, rows: arguments.Rows, otherwise: float, each: bool = True) -> Any:
    """The values, but another number in the rows (and each class) that count for nothing, whatever is there."""
    if rows.ignored is None and not rows.has_zero_weights:
        return values
    silent = ops.equal(ops.reduce_sum(target, axis=-1, keepdims=True), 0)
    if rows.has_zero_weights and each:
        silent = ops.logical_or(silent, ops.equal(rows.weight, 0))
    return ops.where(silent, otherwise, values)


def _reduced_rows(loss: Any, rows: arguments.Rows, reduction: str) -> Any:
    per_row(loss, rows.soft if rows.labels is None else rows.labels)
    if reduction == "none":
        return loss if loss.shape == rows.shape else ops.reshape(loss, shape=rows.shape)
    if reduction == "sum" or rows.total is None:
        return ops.reduce_sum(loss) if reduction == "sum" else ops.reduce_mean(loss)
    wide = np.promote_types(loss.dtype, np.float32)  # a sum of float16, and what it is divided by, ends at 65504
    total = ops.reduce_sum(ops.astype(loss, dtype=wide)) / ops.astype(rows.total, dtype=wide)
    return ops.astype(total, dtype=loss.dtype)
