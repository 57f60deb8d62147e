"""The promise: losses, gradients and kernels are at most 4 ulp from the exact value, which mpmath has to 60 digits.

One class of each row leads the others by a gap: in the first rows the right one, in the others a wrong one. What
cancels in the question itself (mass * p - target, where both are as large) counts in ulp of the larger of the two.
"""

from dataclasses import dataclass
from functools import cache

import mpmath as mp
import numpy as np
import pytest

numba = pytest.importorskip("numba")

import tinygrad_ce as tg  # noqa: E402
from tinygrad_ce import kernels, ops  # noqa: E402
from tinygrad_ce.core import REGISTRY  # noqa: E402
from tinygrad_ce.kernels import attach  # noqa: E402
from tinygrad_ce.kernels.attach import MIN_ELEMENTS  # noqa: E402
from tinygrad_ce.losses import sigmoid_binary_cross_entropy, softmax_cross_entropy  # noqa: E402

PROMISE = 4  # ulp
CLASSES = [2, 3, 10, 48, 49, 1000]
GAPS = {np.float64: (0, 1, 5, 20, 40, 200, 700), np.float32: (0, 5, 20, 40, 80)}
dtypes = pytest.mark.parametrize("dtype", GAPS, ids=lambda dtype: dtype.__name__)


@pytest.fixture(autouse=True)
def sixty_digits():
    with mp.workdps(60):
        yield


@pytest.fixture(params=["kernels", "bodies"])
def way(request, monkeypatch):
    """Every test that asks for it runs with the Numba kernels, then with the NumPy bodies."""
    if request.param == "bodies":
        monkeypatch.setattr(attach, "FUSED", {})
        for name in ("xent", "soft_xent", "sigmoid_xent"):
            for op in (REGISTRY[name], REGISTRY[f"{name}_grad"]):
                monkeypatch.setattr(op, "run", op.body)
    return request.param


def exactly(numbers):
    """Floats as numbers of mpmath."""
    return [mp.mpf(float(x)) for x in numbers]


@dataclass(frozen=True)
class Exact:
    """Exact numbers as sums of two floats, and how large a number is whose last place counts."""

    high: np.ndarray
    low: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, numbers, scale=0.0):
        high = [float(x) for x in numbers]
        low = [float(x - h) for x, h in zip(numbers, high, strict=True)]
        return cls(np.array(high), np.array(low), np.maximum(np.abs(high), scale))

    def ulps(self, got):
        """The largest distance, in units of the last place."""
        got = np.asarray(got).ravel()
        assert np.isfinite(got).all()
        error = np.abs((got.astype(np.float64) - self.high) - self.low)
        return float(np.max(error / np.spacing(self.size.astype(got.dtype))))


def reductions(losses, slopes, scales, count):
    """For each reduction the exact loss and gradient."""
    every, total, over = Exact.of(slopes, scales), mp.fsum(losses), float(count)
    mean = Exact.of([x / count for x in slopes], np.array(scales) / over)
    return {
        "none": (Exact.of(losses), every),
        "mean": (Exact.of([total / count]), mean),
        "sum": (Exact.of([total]), every),
    }


def run(loss, z, targets, **options):
    """The loss as an array, and its gradient (of the sum, where there are several)."""
    logits = tg.Tensor(z, requires_grad=True)
    out = loss(logits, targets, **options)
    (slope,) = tg.gradients(out, [logits], gradient=np.ones(out.shape, out.dtype))
    assert out.dtype == slope.dtype == z.dtype
    return out.data, slope


def above(errors):
    """What breaks the promise: nothing."""
    return {what: error for what, error in errors.items() if not error <= PROMISE}


# ---- softmax cross-entropy


@dataclass(frozen=True)
class Row:
    """A row of logits, of which one leads, with exact numbers: sums of terms of one sign, so that nothing cancels."""

    z: np.ndarray
    leader: int
    exps: list
    others: object  # the sum of all exps but the leader's

    def loss(self, target):
        top = mp.mpf(float(self.z[self.leader]))
        gaps = mp.fsum(t * (top - mp.mpf(float(x))) for t, x in zip(target, self.z, strict=True) if t)
        return gaps + mp.fsum(target) * mp.log1p(self.others / self.exps[self.leader])

    def slope(self, target, classes):
        """The gradient at these classes, and the larger of its two terms."""
        mass, rest = mp.fsum(target), mp.fsum(target[: self.leader] + target[self.leader + 1 :])
        unit = mass / (self.others + self.exps[self.leader])
        slopes, scales = [], []
        for c in classes:
            share = self.exps[c] * unit
            slopes.append(rest - self.others * unit if c == self.leader else share - target[c])
            scales.append(max(float(share), float(target[c])))
        return slopes, scales


@cache
def below_zero(classes, dtype):
    """Logits from -5 to 0 and their exponentials; the gaps change the leaders only."""
    rows = 8 if classes <= 10 else 4 if classes < 100 else 2
    z = np.random.default_rng(classes).uniform(-5, 0, (rows, classes)).astype(dtype)
    return z, [[mp.exp(x) for x in exactly(row)] for row in z]


@cache
def leading(classes, dtype, gap):
    """Logits in which one class leads, the labels, and the exact rows."""
    z, all_exps = below_zero(classes, dtype)
    z, rows = z.copy(), []
    leaders = np.random.default_rng(gap).integers(0, classes, len(z))
    for i, (leader, exps) in enumerate(zip(leaders.tolist(), all_exps, strict=True)):
        z[i, leader] = np.delete(z[i], leader).max() + dtype(gap)
        exps = [*exps[:leader], mp.exp(mp.mpf(float(z[i, leader]))), *exps[leader + 1 :]]
        rows.append(Row(z[i], leader, exps, mp.fsum(exps[:leader] + exps[leader + 1 :])))
    labels = np.where(np.arange(len(z)) < len(z) / 2, leaders, (leaders + 1) % classes)
    return z, labels, rows


def targets_of(form, z, labels):
    if form == "labels":
        return labels
    if form == "one-hot":
        return (labels[:, None] == np.arange(z.shape[1])).astype(z.dtype)
    return np.random.default_rng(2).dirichlet(np.ones(z.shape[1]), len(z)).astype(z.dtype)


def weights_of(classes, dtype):
    return np.random.default_rng(1).uniform(0.25, 4, classes).astype(dtype)


@cache
def exact_softmax(classes, dtype, gap, soft, smoothing, weighted):
    """The loss of each row, and the gradient with its scale."""
    z, labels, rows = leading(classes, dtype, gap)
    keep, uniform = 1 - mp.mpf(smoothing), mp.mpf(smoothing) / classes
    weights = exactly(weights_of(classes, dtype)) if weighted else [mp.mpf(1)] * classes
    losses, slopes, scales = [], [], []
    for row, q in zip(rows, targets_of("soft" if soft else "one-hot", z, labels), strict=True):
        target = [(keep * x + uniform) * w for x, w in zip(exactly(q), weights, strict=True)]
        slope, scale = row.slope(target, range(classes))
        losses.append(row.loss(target))
        slopes += slope
        scales += scale
    # With labels alone nothing cancels: there the gradient has all its digits.
    return losses, slopes, scales if soft or smoothing else [0.0] * len(slopes)


@cache
def exact_reductions(classes, dtype, gap, soft, smoothing, weighted, by_weight):
    """With labels a mean is divided by their weights, else by the number of rows."""
    labels = leading(classes, dtype, gap)[1]
    count = mp.fsum(exactly(weights_of(classes, dtype)[labels])) if by_weight else mp.mpf(len(labels))
    return reductions(*exact_softmax(classes, dtype, gap, soft, smoothing, weighted), count)


def softmax_errors(classes, dtype, gap, form, smoothing, weighted):
    """The errors of the loss and of the gradient, with each reduction."""
    z, labels, _ = leading(classes, dtype, gap)
    targets, weight = targets_of(form, z, labels), weights_of(classes, dtype) if weighted else None
    exact = exact_reductions(classes, dtype, gap, form == "soft", smoothing, weighted, weighted and form == "labels")
    errors = {}
    for reduction, (losses, slopes) in exact.items():
        options = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction}
        loss, slope = run(softmax_cross_entropy, z, targets, **options)
        errors[f"loss, {reduction}, gap {gap}"] = losses.ulps(loss)
        errors[f"gradient, {reduction}, gap {gap}"] = slopes.ulps(slope)
    return errors


@dtypes
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("form", ["labels", "one-hot", "soft"])
@pytest.mark.parametrize("options", ["plain", "weights", "smoothing", "both"])
def test_softmax_cross_entropy(way, options, form, classes, dtype):
    smoothing, weighted = 0.1 if options in ("smoothing", "both") else 0.0, options in ("weights", "both")
    errors = {}
    for gap in GAPS[dtype]:
        errors |= softmax_errors(classes, dtype, gap, form, smoothing, weighted)
    assert above(errors) == {}


SWEEP = np.random.default_rng(20_261_127)
# dtype, number of classes, gap, form, smoothing, weighted: what a wide sweep has found to be the hardest, and more
CASES = [(np.float64, 3, 33, "labels", 1.0, True), (np.float64, 5, 46, "soft", 0.1, False)]
CASES += [
    (
        dtype,
        int(SWEEP.choice([2, 3, 4, 5, 7, 17, 31, 47, 48, 49, 50, 64, 65, 129, 300, 777])),
        int(SWEEP.integers(0, 700 if dtype is np.float64 else 90)),
        str(SWEEP.choice(["labels", "one-hot", "soft"])),
        float(SWEEP.choice([0, 0.1, 0.3, 1.0])),
        bool(SWEEP.integers(2)),
    )
    for dtype in GAPS
    for _ in range(20)
]


@pytest.mark.parametrize(("dtype", "classes", "gap", "form", "smoothing", "weighted"), CASES)
def test_softmax_cross_entropy_of_any_shape_gap_and_options(way, dtype, classes, gap, form, smoothing, weighted):
    assert above(softmax_errors(classes, dtype, gap, form, smoothing, weighted)) == {}


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="slow as Python")
@dtypes
def test_softmax_cross_entropy_of_many_classes(way, dtype):
    """The gradient at a sample of the classes, at the label and at the leader."""
    sample = np.random.default_rng(3).choice(32_000, 200, replace=False).tolist()
    errors = {}
    for gap in GAPS[dtype]:
        z, labels, rows = leading(32_000, dtype, gap)
        loss, slope = run(softmax_cross_entropy, z, labels, reduction="none")
        losses = []
        for i, (row, label) in enumerate(zip(rows, labels.tolist(), strict=True)):
            target = [0] * 32_000
            target[label] = 1
            losses.append(row.loss(target))
            at = [label, row.leader, *sample]
            errors[f"gradient, row {i}, gap {gap}"] = Exact.of(row.slope(target, at)[0]).ulps(slope[i, at])
        errors[f"loss, gap {gap}"] = Exact.of(losses).ulps(loss)
    assert above(errors) == {}


@pytest.mark.parametrize(("smoothing", "weight"), [(1.0, 1.0), (0.1, 1e-3), (0.1, 0.0)])
def test_a_label_that_is_less_wanted_than_the_other_classes(way, smoothing, weight):
    z, labels, rows = leading(10, np.float64, 20)
    weights = np.ones(10)
    weights[labels] = weight
    loss, slope = run(softmax_cross_entropy, z, labels, weight=weights, label_smoothing=smoothing, reduction="none")
    errors = {}
    for i, (row, label) in enumerate(zip(rows, labels.tolist(), strict=True)):
        target = [mp.mpf(smoothing) / 10 * w for w in exactly(weights)]
        target[label] += (1 - mp.mpf(smoothing)) * mp.mpf(weight)
        errors[f"loss {i}"] = Exact.of([row.loss(target)]).ulps(loss[i])
        errors[f"gradient {i}"] = Exact.of(*row.slope(target, range(10))).ulps(slope[i])
    assert above(errors) == {}


# ---- sigmoid binary cross-entropy


def exact_sigmoid(x, y, pos_weight, weight):
    """Loss, gradient and (for a soft target) the larger of its two terms, of one logit."""
    positive, negative = weight * pos_weight * y, weight * (1 - y)
    loss = positive * mp.log1p(mp.exp(-x)) + negative * mp.log1p(mp.exp(x))
    up, down = negative / (1 + mp.exp(-x)), positive / (1 + mp.exp(x))
    return loss, up - down, float(max(up, down)) if up and down else 0.0


def sigmoid_errors(dtype, gap, y, pos_weight, weighted):
    generator = np.random.default_rng(gap)
    sizes = gap + generator.uniform(0, 1, 12)
    z = np.concatenate([sizes, -sizes]).astype(dtype)
    targets, weight = np.full(24, y, dtype), generator.uniform(0.25, 4, 24).astype(dtype)
    several = exactly(weight) if weighted else [mp.mpf(1)] * 24
    positive = mp.mpf(float(dtype(pos_weight or 1)))
    exact = [exact_sigmoid(x, t, positive, w) for x, t, w in zip(exactly(z), exactly(targets), several, strict=True)]
    errors = {}
    for reduction, (losses, slopes) in reductions(*zip(*exact, strict=True), 24).items():
        options = {"weight": weight if weighted else None, "pos_weight": pos_weight, "reduction": reduction}
        loss, slope = run(sigmoid_binary_cross_entropy, z, targets, **options)
        errors[f"loss, {reduction}, gap {gap}"] = losses.ulps(loss)
        errors[f"gradient, {reduction}, gap {gap}"] = slopes.ulps(slope)
    return errors


@dtypes
@pytest.mark.parametrize("y", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("pos_weight", [None, 2.7])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_sigmoid_binary_cross_entropy(way, dtype, y, pos_weight, weighted):
    errors = {}
    for gap in GAPS[dtype]:
        errors |= sigmoid_errors(dtype, gap, y, pos_weight, weighted)
    assert above(errors) == {}


# ---- the functions behind them


def exact_functions(row):
    """softmax, log_softmax and logsumexp of one row."""
    z = exactly(row)
    top = max(z)
    exps, leader = [mp.exp(x - top) for x in z], z.index(top)
    others = mp.fsum(exps[:leader] + exps[leader + 1 :])
    rest = mp.log1p(others)
    return [e / (1 + others) for e in exps], [x - top - rest for x in z], top + rest


LIMITS = {np.float64: 700, np.float32: 80}


@cache
def rows_of_functions(classes, dtype):
    """Rows near 0, wider ones, and of the whole range; some with one leader. Enough for `ops` to take the kernel."""
    limit, count = LIMITS[dtype], -(-MIN_ELEMENTS // classes)
    generator = np.random.default_rng(classes)
    z = generator.uniform(-1, 1, (count, classes)) * generator.choice([1, 10, limit], (count, 1))
    z[::3, 0] = limit * generator.uniform(0, 1, len(z[::3]))
    z = z.astype(dtype)
    return z, *zip(*(exact_functions(row) for row in z), strict=True)


ways = pytest.mark.parametrize("find", [kernels.find, lambda name: getattr(ops, name)], ids=["kernel", "ops"])


@ways
@dtypes
@pytest.mark.parametrize("classes", [2, 10, 48, 49, 1000])
def test_the_softmax_family(find, classes, dtype):
    z, softmax, log_softmax, logsumexp = rows_of_functions(classes, dtype)
    # Where top and log(sum(exp(z - top))) cancel is a test of its own, below.
    large = [i for i, exact in enumerate(logsumexp) if abs(exact) > float(z[i].max()) / 2 > 0]
    errors = {
        "softmax": Exact.of([x for row in softmax for x in row]).ulps(find("softmax")(z, axis=-1)),
        "log_softmax": Exact.of([x for row in log_softmax for x in row]).ulps(find("log_softmax")(z, axis=-1)),
        "logsumexp": Exact.of([logsumexp[i] for i in large]).ulps(find("logsumexp")(z, axis=-1)[large]),
    }
    assert above(errors) == {}


@ways
@dtypes
def test_logsumexp_near_its_zero(find, dtype):
    """-0.7 + log(2.01) = -0.002 cancels in the question itself: it counts in ulp of the larger of the two."""
    z = np.tile(np.array([-0.7, -0.69], dtype), (MIN_ELEMENTS, 1))
    exact = Exact.of([exact_functions(z[0])[2]], 0.7)
    assert above({"logsumexp": exact.ulps(find("logsumexp")(z, axis=-1)[:1])}) == {}


@ways
@dtypes
@pytest.mark.parametrize("share", [1, 0.5], ids=["sigmoid", "tanh"])
def test_the_slopes_of_sigmoid_and_tanh(find, dtype, share):
    """The second is four times the first at twice the number; in both tails, and near 0."""
    generator = np.random.default_rng(6)
    limits = generator.choice([1e-6, 1, 20, LIMITS[dtype]], MIN_ELEMENTS)
    x = (share * generator.uniform(-1, 1, MIN_ELEMENTS) * limits).astype(dtype)
    exps = [mp.exp(-abs(v) / share) for v in exactly(x)]
    exact = Exact.of([e / (1 + e) ** 2 / share**2 for e in exps])
    name = "sigmoid_slope" if share == 1 else "tanh_slope"
    assert above({name: exact.ulps(find(name)(x))}) == {}


@ways
@dtypes
def test_sigmoid_and_softplus(find, dtype):
    generator = np.random.default_rng(4)
    x = (generator.uniform(-1, 1, MIN_ELEMENTS) * generator.choice([1, 20, LIMITS[dtype]], MIN_ELEMENTS)).astype(dtype)
    exps = [mp.exp(-abs(v)) for v in exactly(x)]
    sigmoid = [(1 if v >= 0 else e) / (1 + e) for v, e in zip(x, exps, strict=True)]
    softplus = [max(v, 0) + mp.log1p(e) for v, e in zip(exactly(x), exps, strict=True)]
    errors = {
        "sigmoid": Exact.of(sigmoid).ulps(find("sigmoid")(x)),
        "softplus": Exact.of(softplus).ulps(find("softplus")(x)),
    }
    assert above(errors) == {}


@ways
@dtypes
def test_erf_and_erfc(find, dtype):
    """Near 0, where they bend, and as far as erfc is in the normal range."""
    generator = np.random.default_rng(8)
    x = generator.uniform(-1, 1, 600) * generator.choice([1e-6, 1, 3, 9 if dtype is np.float32 else 26], 600)
    x = x.astype(dtype)
    errors = {
        "erf": Exact.of([mp.erf(v) for v in exactly(x)]).ulps(find("erf")(x)),
        "erfc": Exact.of([mp.erfc(v) for v in exactly(x)]).ulps(find("erfc")(x)),
    }
    assert above(errors) == {}
