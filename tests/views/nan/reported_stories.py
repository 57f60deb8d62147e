"""`tg.why_nan` on stories from public reports: each was worked out by hand from the report, before the search saw it.

The docstring of a story is the title and the address of the report. What must be said is what any right answer says:
the operation, its line, its cell, the numbers, and an idea of the cure ("a|b": one of these words is enough).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from views.nan.leaves import wanted
from views.nan.story import story

import tinygrad_ce as tg
from tinygrad_ce import nn, ops
from tinygrad_ce.core import Tensor


def filled(layer: nn.Dense, W: Any, b: Any = 0.0) -> nn.Dense:
    """A Dense layer with these weights."""
    layer.W.data[...] = W
    assert layer.b is not None
    layer.b.data[...] = b
    return layer


# ---- only the gradient is not finite: a branch or an element that was not taken


@story(None, "exp", "100", "inf|overflow", cure="where", index=(), operands={"x": 100})
def where_and_an_exp_of_100_in_float32() -> Tensor:
    """`torch.where` produces nan in backward pass: https://github.com/pytorch/pytorch/issues/68425"""
    a = wanted(100.0, dtype=np.float32)
    return np.where(a.data <= 0, np.exp(a), 1 + a)  # here


@story(None, "sqrt", "-1", "negative|needs x >= 0", cure="where", index=(0,), operands={"x": -1})
def where_and_a_root_of_a_negative_number() -> Tensor:
    """torch.where backward propagates NaN gradient from inactive sqrt branch:
    https://github.com/pytorch/pytorch/issues/187297"""
    x = wanted([-1.0, -4.0])
    root = np.sqrt(x)  # here
    return np.where(x > 0, root, x).sum()


@story(None, "log2", "0", "inf", cure="where", index=(0,), operands={"x": 0})
def where_and_a_log2_of_zero() -> Tensor:
    """Backward bypassing for torch.where: https://github.com/pytorch/pytorch/issues/108618"""
    x = wanted([0.0, 2.0, 3.0])
    bits = np.log2(x)  # here
    return np.where(x > 2, bits, 2 * x).sum()


@story(None, "div", "0 / 0", cure="where", index=(0,), operands={"a": 0, "b": 0})
def where_and_a_sinc_at_zero() -> Tensor:
    """Use double-where trick to avoid NaNs in grad(sinc): https://github.com/jax-ml/jax/pull/1722"""
    x = wanted([0.0, 1.0])
    ratio = np.sin(x) / x  # here
    return np.where(x.data == 0, 1.0, ratio).sum()


@story(None, "div", "1 / 0", cure="where|mask|before|first", index=(0,), operands={"a": 1, "b": 0})
def a_division_by_zero_that_an_index_leaves_out() -> Tensor:
    """x.grad should be 0 but get NaN after x/0: https://github.com/pytorch/pytorch/issues/4132"""
    x, divisor = wanted([1.0, 1.0]), np.array([0.0, 1.0])
    y = x / divisor  # here
    return y[divisor != 0].sum()


@story(None, "exp", "100", "inf|overflow", cure="softplus|where|logaddexp", index=(1,), operands={"x": 100})
def a_softplus_by_hand_that_an_index_leaves_out_in_float32() -> Tensor:
    """NaN gradients not properly masked: https://github.com/pytorch/pytorch/issues/17455"""
    x = wanted([0.0, 100.0], dtype=np.float32)
    e = np.exp(x)  # here
    return np.log(e + 1)[0]


@story(None, "softmax", "-inf", "row", cure="-1e9|mask", index=(2, 0))
def attention_with_a_masked_row_that_the_loss_leaves_out() -> Tensor:
    """Fix NaN gradients in multi_head_attention_forward for fully-masked rows:
    https://github.com/pytorch/pytorch/pull/196170"""
    scores = wanted([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    mask = np.array([[0.0, -np.inf, -np.inf], [0.0, 0.0, -np.inf], [-np.inf, -np.inf, -np.inf]])
    weights = ops.softmax(scores + mask)  # here
    attended = weights @ np.array([[1.0], [2.0], [3.0]])
    return attended[:2].sum()


@story(None, "data", "NaN", cure="where|drop|fill|before|mask", index=(1,))
def a_squared_error_of_a_missing_target() -> Tensor:
    """Incorrect gradients in NaN-ignoring MSE: https://github.com/pytorch/pytorch/issues/89543"""
    prediction, y = wanted([0.0, 0.0]), np.array([0.0, np.nan])
    squared = (prediction - y) ** 2  # here
    return np.where(np.isnan(y), 0.0, squared).sum()


@story(None, "exp", "100", "inf|overflow", cure="softplus|clip", index=(0,), operands={"x": 100})
def a_mish_by_hand_that_survives_forward_in_float32() -> Tensor:
    """softplus overflows to inf for large inputs, producing NaN gradients:
    https://github.com/tracel-ai/burn/issues/5373"""
    x = wanted([100.0, 1.0], dtype=np.float32)
    e = np.exp(x)  # here
    return (x * np.tanh(np.log(1 + e))).sum()


@story(None, "logaddexp", "needs a > -inf or b > -inf, and here a = -inf", cure="-1e9|where|mask|finite", index=())
def two_paths_that_are_both_impossible() -> Tensor:
    """Should gradients of logsumexp([-inf, -inf]) be 0s instead NaNs?: https://github.com/jax-ml/jax/issues/6811"""
    x = wanted([1.0, 2.0])
    paths = x + np.array([-np.inf, -np.inf])
    total = np.logaddexp(paths[0], paths[1])  # here
    return np.where(np.isfinite(total.data), total, 0.0) + x.sum()


# ---- only the gradient is not finite: a slope that is infinite


@story(None, "sqrt", "0", "inf", cure="eps|1e-", index=(0, 0), operands={"x": 0})
def distances_of_points_from_each_other() -> Tensor:
    """fix: introduce epsilon for pairwise euclidean: https://github.com/tilman151/rul-adapt/pull/22"""
    points = wanted([[0.0, 0.0], [3.0, 4.0]])
    difference = points[:, None] - points[None]
    distances = np.sqrt((difference * difference).sum(axis=2))  # here
    return distances.mean()


@story(None, "arctan2", "0", cure="eps|1e-|where", index=(1,), operands={"a": 0, "b": 0})
def the_direction_of_a_point_at_the_origin() -> Tensor:
    """torch.angle and torch.atan2 are producing unexpected gradients: https://github.com/pytorch/pytorch/issues/98276"""
    points = wanted([[3.0, 4.0], [0.0, 0.0]])
    angles = np.arctan2(points[:, 1], points[:, 0])  # here
    return angles.sum()


@story(None, "arccos", "1", "inf", cure="clip|clamp", index=(), operands={"x": 1})
def the_angle_of_a_vector_with_itself() -> Tensor:
    """fix NaN gradients in Sphere: https://github.com/geoopt/geoopt/pull/79"""
    u, v = wanted([1.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0])
    cosine = (u * v).sum()
    return np.arccos(cosine)  # here


@story(None, "sqrt", "0 * inf", cure="eps|1e-", index=(), operands={"x": 0})
def the_square_of_the_norm_of_zeros() -> Tensor:
    """Gradient of squared 2-norm returns NaN when input is vector of zeros: https://github.com/jax-ml/jax/issues/4177"""
    x = wanted([0.0, 0.0])
    length = np.sqrt((x * x).sum())  # here
    return length**2


@story(None, "sqrt", "0", "inf", cure="eps|1e-", index=(0,), operands={"x": 0})
def the_gradient_penalty_of_a_critic_whose_units_are_dead() -> Tensor:
    """A bug causing gradient to NaN in WGAN-gp example: https://github.com/keras-team/keras-io/issues/910"""
    critic = nn.Sequential(filled(nn.Dense(2, 3), 0.5, -10.0), nn.ReLU(), filled(nn.Dense(3, 1), 0.5))
    x = wanted([[1.0, 2.0]])
    slope = tg.gradients(critic(x).sum(), x, create_graph=True)
    length = np.sqrt((slope * slope).sum(axis=1))  # here
    return ((length - 1) ** 2).mean()


@story(None, "constant_power", "0.5", "0 * inf", cure="eps|1e-|clip", index=(0,), operands={"x": 0})
def a_focal_loss_with_gamma_below_one() -> Tensor:
    """Focal loss would lead to nan?: https://github.com/kaidic/LDAM-DRW/issues/17"""
    loss = tg.losses.softmax_cross_entropy(wanted([[800.0, 0.0], [1.0, 2.0]]), np.array([0, 1]), reduction="none")
    p = np.exp(-loss)
    return ((1 - p) ** 0.5 * loss).mean()  # here


@story(None, "constant_power", "inf", "0.4167|0.416667|1/2.4|below 1", cure="eps|1e-", index=(0,), operands={"x": 0})
def the_gamma_curve_of_a_black_pixel() -> Tensor:
    """pow() gradients create +inf at 0.0: https://github.com/tensorflow/tensorflow/issues/2295"""
    y = np.clip(wanted([0.0, 0.5]), 0.0, 1.0)
    return (y ** (1 / 2.4)).mean()  # here


@story(None, "log", "0", "inf", cure="eps|1e-|clip|positive|where", index=(0,), operands={"x": 0})
def the_geometric_mean_of_losses_of_which_one_is_0() -> Tensor:
    """feat(scalarization): Add `GeometricMean`: https://github.com/SimplexLab/TorchJD/pull/716"""
    logs = np.log(wanted([0.0, 2.0]))  # here
    return np.exp(logs.mean())


# ---- the loss is not finite: outside of where a function is defined


@story("arccos", "arccos", "1.0000000000000002|above 1|beyond 1|more than 1|larger than 1", cure="clip|clamp")
def the_angle_of_two_vectors_of_length_one() -> Tensor:
    """Eigen Dot product of normalized Vector3fs returns numbers outside -1 .. 1:
    https://github.com/PointCloudLibrary/pcl/issues/1033"""
    a = wanted([1.0, 5.0])
    direction = a / np.sqrt((a * a).sum())
    cosine = (direction * direction).sum()
    return np.arccos(cosine)  # here


@story("log", None, "-0.5", "negative", cure="positive|softplus|exp|negative", index=(1, 0))
def a_poisson_rate_that_a_network_made_negative() -> Tensor:
    """torch.nn.PoissonNLLLoss returns NaN for negative input: https://github.com/pytorch/pytorch/issues/184030"""
    model, counts = filled(nn.Dense(1, 1), 0.5), np.array([[3.0], [1.0]])
    rate = model(np.array([[2.0], [-1.0]]))
    return (rate - counts * np.log(rate)).mean()  # here


@story("log", None, "-2.96", "negative", cure="positive|softplus|exp|negative", index=(0,))
def a_squashed_action_that_was_scaled_too_early() -> Tensor:
    """log() outputs nan in SoftDeterministicPolicyNetwork.sample():
    https://github.com/cpnota/autonomous-learning-library/issues/139"""
    action = 2 * np.tanh(wanted([3.0, 0.0]))
    inside = 1 - action**2 + 1e-6
    return -np.log(inside).sum()  # here


@story("log", "log", "0 * -inf|-inf * 0|log(0)|logarithm of 0", cure="xlogy|kl_divergence|where|eps", index=(0, 1))
def a_divergence_from_a_one_hot_target() -> Tensor:
    """KL-Divergence gives NaN on 0-probabilities: https://github.com/Lightning-AI/torchmetrics/issues/1029"""
    p, q = np.array([[1.0, 0.0, 0.0]]), ops.softmax(wanted([[0.0, 1.0, 2.0]]))
    information = np.log(p / q)  # here
    return (p * information).sum()


@story(
    "log", "log", "0", "1 - #|1 - 1|equal|exactly 1", cure="sigmoid_binary_cross_entropy|logits|clip|1e-7", index=(0,)
)
def an_epsilon_that_float32_rounds_away() -> Tensor:
    """binary cross-entropy can return nan because the epsilon is too small:
    https://github.com/keras-team/keras/issues/377"""
    z, y = wanted([20.0, -1.0], dtype=np.float32), np.array([1.0, 0.0], np.float32)
    p = np.clip(z.sigmoid(), 1e-9, 1 - 1e-9)
    wrong = np.log(1 - p)  # here
    return -(y * np.log(p) + (1 - y) * wrong).mean()


@story("log", "log", "0", "exp", cure="logsumexp", index=(), operands={"x": 0})
def a_mixture_of_gaussians_far_from_the_data() -> Tensor:
    """Mixture Density Network quickly gets to nan loss: https://github.com/keras-team/keras/issues/2586"""
    centre, weight, sigma = wanted([10.0, 20.0]), np.array([0.5, 0.5]), 0.1
    density = weight * np.exp(-((3.0 - centre) ** 2) / (2 * sigma**2))
    likelihood = density.sum()
    return -np.log(likelihood)  # here


@story("log", "log", "0", "softplus", cure="eps|1e-", index=(0,), operands={"x": 0})
def an_epsilon_inside_of_the_softplus() -> Tensor:
    """moving epsilon outside softplus: https://github.com/ShangtongZhang/DeepRL/pull/4"""
    sigma = ops.softplus(wanted([-1000.0, 1.0]) + 1e-5)
    return np.log(sigma).sum()  # here


@story("sub", None, "-inf - (-inf)|-inf - -inf", "row|mask", cure="-1e9|mask|finite", index=(1, 0))
def a_softmax_by_hand_of_a_row_that_is_masked_as_a_whole() -> Tensor:
    """Fix attention_fallback NaN for fully-masked rows: https://github.com/tracel-ai/burn/pull/4697"""
    scores, allowed = wanted([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [False, False]])
    masked = np.where(allowed, scores, -np.inf)
    shifted = masked - masked.max(axis=1, keepdims=True)  # here
    e = np.exp(shifted)
    return (e / e.sum(axis=1, keepdims=True)).sum()


# ---- the loss is not finite: division by 0


@story("div", "div", "0 / 0", cure="maximum|eps|1e-", index=(1,), operands={"a": 0, "b": 0})
def the_mean_over_the_mask_of_each_sample() -> Tensor:
    """loss nan bug: https://github.com/Zhen-Dong/Magic-Me/issues/14"""
    losses, masks = wanted([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    means = (losses * masks).sum(axis=1) / masks.sum(axis=1)  # here
    return means.mean()


@story("div", "div", "0 / 0", cure="maximum|eps|1e-", index=(), operands={"a": 0, "b": 0})
def a_batch_without_labels_where_masked_logits_are_harmless() -> Tensor:
    """Fully-masked batch yields NaN loss: https://github.com/NVIDIA-NeMo/Automodel/issues/3796"""
    logits, allowed = wanted([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]), np.array([True, True, False])
    log_p = ops.log_softmax(np.where(allowed, logits, -np.inf))  # -inf where a class is not allowed: never picked
    labelled = np.zeros(2)
    losses = -log_p[np.arange(2), np.array([0, 1])]
    return (losses * labelled).sum() / labelled.sum()  # here


@story("div", "div", "0 / 0", cure="eps|1e-", index=(), operands={"a": 0, "b": 0})
def a_cosine_of_an_empty_document_beside_a_masked_maximum() -> Tensor:
    """all zero vectors will generate `NaN`: https://github.com/gesistsa/sweater/issues/41"""
    scores, words, query = wanted([[1.0, 2.0], [3.0, 4.0]]), wanted([0.0, 0.0]), np.array([1.0, 2.0])
    masked = np.where(np.array([[True, False], [True, True]]), scores, -np.inf)  # harmless: the maximum is finite
    lengths = np.sqrt((words * words).sum()) * np.sqrt((query * query).sum())
    cosine = (words * query).sum() / lengths  # here
    return masked.max(axis=1).mean() + cosine


@story("div", "div", "0 / 0", cure="eps|1e-", index=(0, 0), operands={"a": 0, "b": 0})
def a_layer_norm_without_eps_of_a_padded_row() -> Tensor:
    """The return value when LayerNormalization takes zero vectors as input:
    https://github.com/tensorflow/tensorflow/issues/61287"""
    norm = nn.LayerNorm(3, eps=0)
    h = norm(wanted([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]))  # here
    return (h * np.array([1.0, 2.0, 4.0])).sum()


@story("div", None, "0 / 0", cure="eps|1e-", index=(), operands={"a": 0, "b": 0})
def the_correlation_with_a_network_that_predicts_a_constant() -> Tensor:
    """Preventing NaN output from pearson correlation loss function:
    https://github.com/NVIDIA-Genomics-Research/AtacWorks/pull/104"""
    model = nn.Sequential(filled(nn.Dense(1, 1), -1.0), nn.ReLU())
    y = np.array([[1.0], [2.0], [6.0]])
    prediction = model(np.array([[1.0], [2.0], [3.0]]))
    p, t = prediction - prediction.mean(), y - y.mean()
    lengths = np.sqrt((p * p).sum()) * np.sqrt((t * t).sum())
    return 1 - (p * t).sum() / lengths  # here


@story("div", "div", "1 / 0", cure="eps|1e-|maximum|0", index=(0, 0), operands={"a": 1, "b": 0})
def a_softmax_at_temperature_zero() -> Tensor:
    """Problem with setting temp=0.0: https://github.com/suno-ai/bark/issues/270"""
    logits, temperature = wanted([[1.0, 2.0]]), 0.0
    scaled = logits / temperature  # here
    return (ops.softmax(scaled) * np.array([1.0, 2.0])).sum()


@story("div", "div", "1 / 0", "sigmoid", cure="logits|clip|eps|sigmoid_binary_cross_entropy", index=(0,))
def the_logit_of_a_sure_probability() -> Tensor:
    """Loss going NaN because of log(0):
    https://github.com/maxvfischer/keras-image-segmentation-loss-functions/pull/1"""
    p = wanted([40.0, 1.0]).sigmoid()
    odds = p / (1 - p)  # here
    return np.log(odds).mean()


# ---- the loss is not finite: too large for the dtype


@story("exp", "exp", "100", "float32|88.72", cure="clip|clamp|smaller", index=(0,), operands={"x": 100})
def a_policy_ratio_with_an_advantage_of_zero_in_float32() -> Tensor:
    """Clamp PPO ratio exponentials to fix NaN logits: https://github.com/radixark/miles/pull/1363"""
    new, old = wanted([0.0, -1.0], dtype=np.float32), np.array([-100.0, -1.0], np.float32)
    advantage = np.array([0.0, 1.0], np.float32)
    ratio = np.exp(new - old)  # here
    clipped = np.clip(ratio, 0.8, 1.2)
    return -np.minimum(ratio * advantage, clipped * advantage).mean()


@story("exp", "exp", "1000", "709.78|1.798e+308", cure="clip|clamp|smaller", index=(0, 0), operands={"x": 1000})
def the_variance_of_an_encoder_that_is_not_bounded() -> Tensor:
    """Numerical instability in VAE: https://github.com/vanderschaarlab/synthcity/issues/331"""
    encoder = filled(nn.Dense(1, 2), [[1000.0, 1.0]])
    h = encoder(np.array([[1.0]]))
    log_variance, mean = h[:, :1], h[:, 1:]
    variance = np.exp(log_variance)  # here
    return -0.5 * (1 + log_variance - mean**2 - variance).mean()


@story("prod", "prod", "float32|3.403e+38", cure="log|float64|smaller", index=())
def the_ratio_of_a_whole_image_in_float32() -> Tensor:
    """Log prob Computation: https://github.com/jannerm/ddpo/issues/10"""
    ratios = wanted(np.full(16384, 1.01), dtype=np.float32)
    return np.prod(ratios)  # here


@story("constant_power", None, "1.798e+308|float64", cure="learning rate")
def a_line_that_is_fitted_to_features_that_are_not_scaled() -> Tensor:
    """Linear Regression and The Exploding Gradients:
    https://thepalindrome.org/p/linear-regression-and-the-exploding-gradients"""
    x, y, w = np.array([300.0, 500.0]), np.array([1.0, 2.0]), wanted([0.0], "w")
    for _ in range(100):
        loss = ((w * x - y) ** 2).mean()  # here
        if not np.isfinite(loss.data):
            break
        w = wanted(w.data - 0.1 * tg.gradients(loss, w), "w")
    return loss


# ---- what came in was not finite


@story("data", "data", "row 1", "NaN", cure="drop|fill", index=(1, 0))
def a_network_on_a_table_with_a_gap() -> Tensor:
    """Pruning off NaN values in the gradient graph still produces NaN gradients:
    https://github.com/pytorch/pytorch/issues/23156"""
    model = nn.Sequential(filled(nn.Dense(2, 3), 0.5), nn.Tanh(), filled(nn.Dense(3, 1), 0.5))
    X, y = np.array([[1.0, 2.0], [np.nan, 3.0], [4.0, 5.0]]), np.ones((3, 1))
    prediction = model(X)  # here
    return tg.losses.mse(prediction, y)


@story("data", "data", "inf", cure="log(0)|eps|1e-|clip|drop|fill", index=(0, 1))
def gumbel_noise_of_a_sample_at_the_edge() -> Tensor:
    """Sampling method for Gumbel distribution: https://github.com/chainer/chainer/pull/1839"""
    uniform = np.array([[0.5, 1.0]])
    with np.errstate(divide="ignore"):
        noise = -np.log(-np.log(uniform))
    choice = ops.softmax(wanted([[1.0, 2.0]]) + noise)  # here
    return (choice * np.array([1.0, 2.0])).sum()
