"""The exercise: backward passes written by hand are called right, and each of a list of mistakes is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_ce as tg
from tinygrad_ce.views.textbook import FUNCTIONS, one_hot

settings.register_profile("exercise", deadline=None, max_examples=25)
settings.load_profile("exercise")


# ---- networks, with a backward pass that a student might write


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def logistic(z):
    return 1 / (1 + np.exp(-z))


class Network:
    """A loss, the values of its forward pass, and its gradients by hand: `v` and `g`, by the names of the program."""

    def __init__(self, loss, v, g):
        self.loss, self.v, self.g = loss, v, g

    def exercise(self):
        return tg.exercise(self.loss)

    def verdict(self, **answer):
        """What a new exercise says of one answer."""
        ((name, array),) = answer.items()
        return self.exercise().check(**{name: array})[name]


def batch_norm_network(rows=8, n_in=3, hidden=5, classes=4, activation="tanh", seed=0, dtype=np.float64, order=np.sum):
    """Dense, batch norm, activation, Dense, softmax cross-entropy. order: how the student sums up."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, n_in)).astype(dtype)
    y = rng.integers(classes, size=rows)
    layer = {"tanh": tg.nn.Tanh(), "relu": tg.nn.ReLU(), "sigmoid": tg.nn.Sigmoid()}[activation]
    model = tg.nn.Sequential(tg.nn.Dense(n_in, hidden), tg.nn.BatchNorm(hidden), layer, tg.nn.Dense(hidden, classes))
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    model.astype(dtype)
    logits = model(tg.Tensor(x, name="x")).named("logits")
    loss = tg.losses.softmax_cross_entropy(logits, y)

    v = {"x": x, "y": y}
    v["W0"], v["b0"], v["scale1"], v["shift1"], v["W3"], v["b3"] = (p.data for p in model.parameters())
    v["z1"] = x @ v["W0"] + v["b0"]
    v["t1"], v["t2"] = v["z1"].mean(axis=0), v["z1"].var(axis=0)
    v["t3"], v["t4"] = v["z1"] - v["t1"], v["t2"] + dtype(1e-5)
    v["t5"] = np.sqrt(v["t4"])
    v["t6"] = v["t3"] / v["t5"]
    v["t7"] = v["t6"] * v["scale1"]
    v["t8"] = v["t7"] + v["shift1"]
    forward = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "sigmoid": logistic}[activation]
    h = v["h1"] = forward(v["t8"])
    slope = {"tanh": 1 - h * h, "relu": (v["t8"] > 0).astype(dtype), "sigmoid": h * (1 - h)}[activation]
    v["p"], v["onehot"] = softmax(h @ v["W3"] + v["b3"]), np.eye(classes, dtype=dtype)[y]

    g = {"d_loss": 1.0, "d_logits": (v["p"] - v["onehot"]) / rows}
    g["d_W3"], g["d_b3"] = h.T @ g["d_logits"], order(g["d_logits"], axis=0)
    g["d_h1"] = g["d_logits"] @ v["W3"].T
    g["d_t8"] = g["d_t7"] = g["d_h1"] * slope
    g["d_shift1"] = order(g["d_t8"], axis=0)
    g["d_scale1"] = order(g["d_t7"] * v["t6"], axis=0)
    g["d_t6"] = g["d_t7"] * v["scale1"]
    g["d_t5"] = order(-g["d_t6"] * v["t3"] / v["t4"], axis=0)
    g["d_t4"] = g["d_t2"] = g["d_t5"] / (2 * v["t5"])
    g["d_t3"] = g["d_t6"] / v["t5"]
    g["d_t1"] = -order(g["d_t3"], axis=0)
    n, d_n = v["t6"], g["d_t6"]
    g["d_z1"] = (d_n - d_n.mean(axis=0) - n * (d_n * n).mean(axis=0)) / v["t5"]  # the three terms on paper
    g["d_W0"], g["d_b0"] = x.T @ g["d_z1"], order(g["d_z1"], axis=0)
    return Network(loss, v, g)


def textbook_network(rows=6, seed=1):
    """Dense, ReLU, Dense, Softmax, CrossEntropy, each differentiated for itself."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, 2)), np.arange(rows) % 3
    model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.ReLU(), tg.nn.Dense(4, 3), tg.nn.Softmax())
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    loss = tg.losses.cross_entropy(model(tg.Tensor(x, name="x")), y, fused=False)
    W0, b0, W2, b2 = (p.data for p in model.parameters())
    z1 = x @ W0 + b0
    h1 = np.maximum(z1, 0)
    z2 = h1 @ W2 + b2
    p1, onehot = softmax(z2), np.eye(3)[y]
    g = {"d_loss": 1.0, "d_t5": 1 / rows, "d_t4": np.full(rows, 1 / rows), "d_t3": np.full(rows, -1 / rows)}
    g["d_t2"] = np.full((rows, 3), -1 / rows)
    g["d_t1"] = g["d_p1"] = -onehot / p1 / rows
    g["d_z2"] = (p1 - onehot) / rows
    g["d_W2"], g["d_b2"], g["d_h1"] = h1.T @ g["d_z2"], g["d_z2"].sum(0), g["d_z2"] @ W2.T
    g["d_z1"] = g["d_h1"] * (z1 > 0)
    g["d_W0"], g["d_b0"] = x.T @ g["d_z1"], g["d_z1"].sum(0)
    return Network(loss, {"x": x, "z1": z1, "h1": h1, "z2": z2, "p1": p1, "W2": W2, "onehot": onehot}, g)


def binary_network(rows=7, fused=True, seed=2):
    """Dense, Sigmoid, Dense, Sigmoid, binary cross-entropy."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, 2)), rng.integers(2, size=(rows, 1)).astype(float)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Sigmoid(), tg.nn.Dense(3, 1), tg.nn.Sigmoid())
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    loss = tg.losses.binary_cross_entropy(model(tg.Tensor(x, name="x")), y, fused=fused)
    W0, b0, W2, b2 = (p.data for p in model.parameters())
    h1 = logistic(x @ W0 + b0)
    p = logistic(h1 @ W2 + b2)
    g = {"d_loss": 1.0, "d_z2": (p - y) / rows}
    if not fused:
        g["d_t5"] = np.full((rows, 1), 1 / rows)
        g["d_t4"] = g["d_t1"] = g["d_t3"] = -g["d_t5"]
        g["d_t2"] = -(1 - y) / rows / (1 - p)
        g["d_h2"] = (p - y) / (p * (1 - p)) / rows
    g["d_W2"], g["d_b2"], g["d_h1"] = h1.T @ g["d_z2"], g["d_z2"].sum(0), g["d_z2"] @ W2.T
    g["d_z1"] = g["d_h1"] * h1 * (1 - h1)
    g["d_W0"], g["d_b0"] = x.T @ g["d_z1"], g["d_z1"].sum(0)
    return Network(loss, {"x": x, "z1": x @ W0 + b0, "h1": h1, "p": p, "y": y}, g)


NETWORKS = {
    "batch norm and tanh": batch_norm_network,
    "batch norm and relu": lambda: batch_norm_network(activation="relu"),
    "batch norm and sigmoid": lambda: batch_norm_network(activation="sigmoid"),
    "two rows": lambda: batch_norm_network(rows=2, n_in=1, hidden=1, classes=2),
    "float32": lambda: batch_norm_network(dtype=np.float32),
    "textbook": textbook_network,
    "binary": binary_network,
    "binary, unfused": lambda: binary_network(fused=False),
}


@pytest.fixture(scope="module")
def net():
    return batch_norm_network()


# ---- right answers


@pytest.mark.parametrize("name", NETWORKS)
def test_a_whole_backward_pass_by_hand_is_right(name):
    network = NETWORKS[name]()
    exercise = network.exercise()
    assert set(exercise.names) == set(network.g)
    report = exercise.check(network.g)
    assert report, report
    assert [verdict.name for verdict in report] == list(network.g)
    assert all(verdict.mistake is None and verdict.message == "right" for verdict in report)
    assert report.summary == f"{len(network.g)} of {len(network.g)} right"
    assert "wrong" not in repr(exercise)
    assert "right" in exercise.hint()


def test_the_names_come_in_an_order_in_which_one_can_compute_them(net):
    exercise = net.exercise()
    assert exercise.names[:5] == ["d_loss", "d_logits", "d_W3", "d_b3", "d_h1"]
    assert exercise.names[-3:] == ["d_z1", "d_W0", "d_b0"]
    assert exercise.shapes["d_W0"] == (3, 5)
    numbers = {name: np.asarray(array).shape for name, array in net.g.items()}
    assert exercise.shapes == numbers


def test_a_weight_that_is_used_twice_comes_after_both_uses():
    w = tg.Tensor(np.array([[0.5, 1.0], [2.0, -1.0]]), requires_grad=True, name="w")
    loss = ((tg.Tensor(np.ones((3, 2))) @ w).tanh() @ w).sum()
    names = tg.exercise(loss).names
    assert names[-1] == "d_w"
    assert names == ["d_loss", "d_z2", "d_h1", "d_z1", "d_w"]


KINDS = {
    "list": lambda a: np.asarray(a).tolist(),
    "tensor": lambda a: tg.Tensor(np.asarray(a)),
    "float32": lambda a: np.asarray(a, np.float32),
    "list of float32": lambda a: np.asarray(a, np.float32).tolist(),
    "strided": lambda a: np.repeat(np.asarray(a), 2, axis=-1)[..., ::2] if np.ndim(a) else a,
    "Fortran order": lambda a: np.asarray(a, order="F"),
    "longdouble": lambda a: np.asarray(a, np.longdouble),
}


@pytest.mark.parametrize("kind", KINDS)
def test_right_answers_may_come_as_anything_with_numbers(net, kind):
    assert net.exercise().check({name: KINDS[kind](array) for name, array in net.g.items()})


def test_whole_numbers_and_booleans_are_numbers():
    x = tg.Tensor([1.0, -2.0, 3.0], requires_grad=True, name="x")
    exercise = tg.exercise((x.relu() * 1).sum())
    assert exercise.check(d_x=[1, 0, 1])
    assert exercise.check(d_x=np.array([True, False, True]))
    assert not exercise.check(d_x=[1, 1, 1])


def sums_backwards(a, axis):
    """A sum in another order, as a loop from the last to the first."""
    total = np.zeros_like(np.take(a, 0, axis=axis))
    for i in reversed(range(a.shape[axis])):
        total = total + np.take(a, i, axis=axis)
    return total


@given(
    rows=st.integers(2, 12),
    n_in=st.integers(1, 6),
    hidden=st.integers(1, 6),
    classes=st.integers(2, 5),
    activation=st.sampled_from(["tanh", "relu", "sigmoid"]),
    seed=st.integers(0, 2**32 - 1),
    single=st.booleans(),
    kind=st.sampled_from(["list", "tensor", "float32", "list of float32", "strided"]),
    order=st.sampled_from([np.sum, sums_backwards]),
)
def test_a_right_answer_is_never_called_wrong(rows, n_in, hidden, classes, activation, seed, single, kind, order):
    dtype = np.float32 if single else np.float64
    network = batch_norm_network(rows, n_in, hidden, classes, activation, seed, dtype, order)
    report = network.exercise().check({name: KINDS[kind](array) for name, array in network.g.items()})
    assert report, report


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 9), size=st.sampled_from([1e-30, 1e-6, 1, 1e6]))
def test_nonsense_is_never_called_right(seed, rows, size):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 2))
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    loss = tg.losses.softmax_cross_entropy(model(x), rng.integers(2, size=rows)) * size
    exercise = tg.exercise(loss)
    loss.backward()
    for parameter in model.parameters():
        right = parameter.grad
        for wrong in (
            rng.normal(size=right.shape) * np.abs(right).max(),
            right + np.abs(right).max() * 1e-3,
            np.where(np.abs(right) == np.abs(right).max(), right * 1.001, right),
            np.zeros_like(right),
            -right,
            np.roll(right, 1, axis=-1) * 1.5,
        ):
            verdict = exercise.check({parameter: wrong}).verdicts[0]
            assert not verdict.right
            assert verdict.mistake
            assert verdict.message
        assert exercise.check({parameter: right})


def test_round_numbers_are_not_taken_for_float32():
    """[0.5, 0.25] has few digits in any dtype, and is held to those of float64."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    loss = (x * [0.5001, 0.25]).sum()
    assert not tg.exercise(loss).check(d_x=[0.5, 0.25])
    assert tg.exercise(loss).check(d_x=np.array([0.5, 0.25], np.float32))


def test_the_smallest_of_many_numbers_counts_too():
    """One badly scaled feature does not hide that the gradient of another was forgotten."""
    x = np.array([[1e6, 1e-3], [2e6, -3e-3]])
    w = tg.Tensor(np.array([[1e-6], [1.0]]), requires_grad=True, name="w")
    loss = (tg.Tensor(x) @ w).sum()
    right = x.T @ np.ones((2, 1))
    assert tg.exercise(loss).check(d_w=right)
    assert not tg.exercise(loss).check(d_w=right * [[1], [0]])


def test_a_gradient_that_is_zero_but_for_rounding(net):
    """The bias in front of a batch norm: every student's rounding is another one, and a plain 0 is right too."""
    largest = np.abs(net.g["d_z1"]).max()
    for right in (np.zeros(5), np.full(5, 1e-17), -net.g["d_b0"], [0, 0, 0, 0, 0]):
        assert net.verdict(d_b0=right).right
    for wrong in (np.full(5, 1e-9), net.g["d_z1"].mean(axis=0) + 1e-3 * largest, np.ones(5)):
        verdict = net.verdict(d_b0=wrong)
        assert not verdict.right
        assert verdict.mistake == "unknown"


def test_a_gradient_that_is_exactly_zero():
    """A dead ReLU: nothing comes back, and nothing divides by it."""
    x = tg.Tensor([[-1.0, -2.0], [-0.5, -3.0]], requires_grad=True, name="x")
    loss = x.relu().mean()
    assert tg.exercise(loss).check(d_x=np.zeros((2, 2)))
    verdict = tg.exercise(loss).check(d_x=[[1.0, 2.0], [3.0, 4.0]])["d_x"]
    assert verdict.mistake == "unknown"
    assert tg.exercise(loss).check(d_x=np.full((2, 2), 0.25))["d_x"].mistake in ("no derivative", "mask")


def test_zeros_for_a_tiny_gradient_are_wrong():
    for size in (1e-12, 1e-100, 1e-300):
        x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
        loss = (x * size).sum()
        assert tg.exercise(loss).check(d_x=[size, size])
        assert tg.exercise(loss).check(d_x=[0.0, 0.0])["d_x"].mistake == "zeros"


def test_a_difference_that_nearly_cancels_is_judged_by_its_own_size():
    """x - y in float64: the gradient 1e-9 is left of two shares of size 1, and 0 is not it."""
    x = tg.Tensor([3.0], requires_grad=True, name="x")
    loss = (x * (1 + 1e-9) - x).sum()
    assert tg.exercise(loss).check(d_x=[(1 + 1e-9) - 1])
    assert not tg.exercise(loss).check(d_x=[0.0])
    assert not tg.exercise(loss).check(d_x=[1.01e-9])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_p_minus_y_is_right_also_where_the_model_is_sure(dtype):
    """The engine's gradient keeps all digits there; p - y on paper loses them, and is right all the same."""
    z = tg.Tensor(np.array([[12, 0, -1], [-2, 11, 0]], dtype), requires_grad=True, name="z")
    loss = tg.losses.softmax_cross_entropy(z, np.array([0, 1]))
    exercise = tg.exercise(loss)
    right = (softmax(z.data) - one_hot(np.array([0, 1]), 3)) / 2
    assert exercise.check(d_z=right.astype(dtype))
    assert exercise.check(d_z=right.astype(dtype) * 2)["d_z"].mistake == "mean"
    assert not exercise.check(d_z=right * 1.1)


def test_ties_of_a_maximum():
    x = tg.Tensor([2.0, 2.0, 1.0], requires_grad=True, name="x")
    exercise = tg.exercise(tg.ops.exp(x).max() * 3)
    assert exercise.check(d_x=np.exp([2, 2, 1]) * [1.5, 1.5, 0])
    assert not exercise.check(d_x=np.exp([2, 2, 1]) * [3, 0, 0])


# ---- planted mistakes


def without(g, v, *lost):
    """d_z1 without some of its three shares."""
    rows = len(v["x"])
    shares = {
        "mean": np.broadcast_to(g["d_t1"] / rows, v["z1"].shape),
        "variance": g["d_t2"] * 2 * v["t3"] / rows,
        "itself": g["d_t3"],
    }
    return sum(share for name, share in shares.items() if name not in lost)


BATCH_NORM = {  # the mistake, what it says, the gradient, and what a student who makes it hands in
    "the mean forgotten": ("mean", "off by the factor 8", "d_logits", lambda v, g: v["p"] - v["onehot"]),
    "the mean forgotten, further down": ("mean", "divides by 8", "d_W0", lambda v, g: 8 * g["d_W0"]),
    "the mean twice": ("mean twice", "off by the factor 1/8", "d_h1", lambda v, g: g["d_h1"] / 8),
    "y - p": ("sign", "wrong sign", "d_logits", lambda v, g: (v["onehot"] - v["p"]) / 8),
    "y - p, and the mean": ("mean and sign", "besides", "d_logits", lambda v, g: v["onehot"] - v["p"]),
    "no one-hot": ("target", "one_hot(y, 4) was not subtracted", "d_logits", lambda v, g: v["p"] / 8),
    "no one-hot and no mean": ("target and mean", "besides", "d_logits", lambda v, g: v["p"]),
    "transposed": ("transpose", "(4, 5) instead of (5, 4)", "d_W3", lambda v, g: g["d_logits"].T @ v["h1"]),
    "transposed, and the mean": ("transpose and mean", "factor 8", "d_W3", lambda v, g: 8 * g["d_W3"].T),
    "pre-activations": ("wrong operand", "t8 was taken where h1", "d_W3", lambda v, g: v["t8"].T @ g["d_logits"]),
    "a bias not summed": ("not summed", "not summed over axis 0", "d_b3", lambda v, g: g["d_logits"]),
    "a bias averaged": ("averaged", "averaged over axis 0", "d_b3", lambda v, g: g["d_logits"].mean(axis=0)),
    "the wrong axis": ("wrong axis", "over axis 1 instead", "d_shift1", lambda v, g: g["d_t8"].sum(axis=1)),
    "all axes": ("wrong axis", "over all axes instead", "d_shift1", lambda v, g: g["d_t8"].sum()),
    "kept dimensions": ("shape", "the numbers are right", "d_b3", lambda v, g: g["d_b3"][None]),
    "no derivative": ("no derivative", "derivative of tanh is missing", "d_t8", lambda v, g: g["d_h1"]),
    "no upstream": ("no upstream", "d_h1, which comes from above", "d_t8", lambda v, g: 1 - v["h1"] ** 2),
    "at z": ("wrong value", "at t8 instead of h1", "d_t8", lambda v, g: g["d_h1"] * (1 - v["t8"] ** 2)),
    "1 - h": ("missing factor", "the factor h1 is missing", "d_t8", lambda v, g: g["d_h1"] * (1 - v["h1"])),
    "1 + h h": ("sign", "added instead of subtracted", "d_t8", lambda v, g: g["d_h1"] * (1 + v["h1"] ** 2)),
    "h h": ("missing term", "the term 1 is missing", "d_t8", lambda v, g: -g["d_h1"] * v["h1"] ** 2),
    "no scale": ("no derivative", "derivative of mul is missing", "d_t6", lambda v, g: g["d_t7"]),
    "scale without n": ("missing factor", "t6 is missing", "d_scale1", lambda v, g: g["d_t8"].sum(axis=0)),
    "times": ("inverse", "multiplied with t5", "d_t3", lambda v, g: g["d_t6"] * v["t5"]),
    "the 2 of a root": ("missing factor", "the factor 2 is missing", "d_t4", lambda v, g: g["d_t5"] / v["t5"]),
    "no minus": ("sign", "minus", "d_t1", lambda v, g: g["d_t3"].sum(axis=0)),
    "no mean": ("missing share", "t1 = z1.mean(axis=0)", "d_z1", lambda v, g: without(g, v, "mean")),
    "no variance": ("missing share", "t2 = np.var(z1, axis=0)", "d_z1", lambda v, g: without(g, v, "variance")),
    "neither": ("missing share", "2 contributions are missing", "d_z1", lambda v, g: without(g, v, "mean", "variance")),
    "a sign in a share": (
        *("sign", "the share through t1", "d_z1"),
        lambda v, g: without(g, v, "mean") - g["d_t1"] / 8,
    ),
    "a mean in a share": (
        *("mean", "the share through t1", "d_z1"),
        lambda v, g: without(g, v, "mean") + g["d_t1"],
    ),
    "a 2 in a share": (
        *("missing factor", "the factor 2 is missing, in the share through t2", "d_z1"),
        lambda v, g: without(g, v, "variance") + g["d_t2"] * v["t3"] / 8,
    ),
    "further up: no mean": ("missing share", "from d_z1 on", "d_W0", lambda v, g: v["x"].T @ without(g, v, "mean")),
    "further up: tanh": (
        *("no derivative", "right from d_t8 on, but there: the derivative of tanh is missing", "d_shift1"),
        lambda v, g: g["d_h1"].sum(axis=0),
    ),
    "some other factor": ("factor", "3.3 times", "d_W0", lambda v, g: 3.3 * g["d_W0"]),
    "rounded": ("nearly", "of the largest number at most", "d_W0", lambda v, g: g["d_W0"].round(3)),
    "one cell": ("nearly", "1 of 15 numbers, most at [2, 1]", "d_W0", lambda v, g: g["d_W0"] + _cell(2, 1) * 1e-3),
    "one column": ("unknown", "all outside of column 2", "d_W0", lambda v, g: g["d_W0"] * [1, 1, 3, 1, 1]),
    "nonsense": ("unknown", "none of the usual", "d_W0", lambda v, g: np.sin(np.arange(15.0)).reshape(3, 5)),
    "nothing yet": ("zeros", "all numbers are 0", "d_W0", lambda v, g: np.zeros((3, 5))),
    "NaN": ("not finite", "1 of 15 numbers is NaN or infinite", "d_W0", lambda v, g: g["d_W0"] / (1 - _cell(0, 0))),
    "another shape": ("shape", "shape (2, 3) instead of (3, 5)", "d_W0", lambda v, g: np.ones((2, 3))),
}  # fmt: skip


def _cell(i, j):
    cell = np.zeros((3, 5))
    cell[i, j] = 1
    return cell


@pytest.mark.parametrize("name", BATCH_NORM)
def test_a_planted_mistake_is_named(net, name):
    mistake, words, gradient, hand_in = BATCH_NORM[name]
    with np.errstate(all="ignore"):
        answer = hand_in(net.v, net.g)
    verdict = net.verdict(**{gradient: answer})
    assert not verdict.right
    assert (verdict.name, verdict.mistake) == (gradient, mistake), verdict
    assert words in verdict.message


@pytest.mark.parametrize("name", BATCH_NORM)
def test_a_planted_mistake_is_named_in_float32(name):
    """With the rounding of float32 in the graph and in the answer."""
    network = batch_norm_network(dtype=np.float32)
    mistake, words, gradient, hand_in = BATCH_NORM[name]
    with np.errstate(all="ignore"):
        answer = np.asarray(hand_in(network.v, network.g), np.float32)
    verdict = network.verdict(**{gradient: answer})
    assert verdict.mistake == mistake, verdict
    assert words in verdict.message


OTHERS = {
    "the diagonal of softmax": (
        *(textbook_network, "only the diagonal", "several of z2", "d_z2"),
        lambda v, g: g["d_p1"] * v["p1"] * (1 - v["p1"]),
    ),
    "softmax without its sum": (
        *(textbook_network, "missing term", "was not subtracted", "d_z2"),
        lambda v, g: g["d_p1"] * v["p1"],
    ),
    "relu without its mask": (
        *(textbook_network, "no derivative", "derivative of relu is missing", "d_z1"),
        lambda v, g: g["d_h1"],
    ),
    "relu's mask of the gradient": (
        *(textbook_network, "wrong operand", "d_h1 was taken where z1 must stand", "d_z1"),
        lambda v, g: g["d_h1"] * (g["d_h1"] > 0),
    ),
    "relu's mask turned round": (
        *(textbook_network, "mask", "changed places", "d_z1"),
        lambda v, g: g["d_h1"] * (v["z1"] <= 0),
    ),
    "relu's mask alone": (
        *(textbook_network, "no upstream", "d_h1", "d_z1"),
        lambda v, g: (v["z1"] > 0).astype(float),
    ),
    "one number for all": (
        *(textbook_network, "shape", "np.broadcast_to", "d_t4"),
        lambda v, g: 1 / 6,
    ),
    "the sigmoid at z": (
        *(binary_network, "wrong value", "at z1 instead of h1", "d_z1"),
        lambda v, g: g["d_h1"] * v["z1"] * (1 - v["z1"]),
    ),
    "no y": (binary_network, "target", "y was not subtracted", "d_z2", lambda v, g: v["p"] / 7),
    "a flat answer": (binary_network, "shape", "(7,) instead of (7, 1)", "d_z2", lambda v, g: g["d_z2"].ravel()),
    "a bias not summed": (binary_network, "not summed", "axis 0", "d_b2", lambda v, g: g["d_z2"]),
    "no sigmoid": (
        *(lambda: binary_network(fused=False), "no derivative", "sigmoid", "d_z2"),
        lambda v, g: g["d_h2"],
    ),
    "one of two terms": (
        *(lambda: binary_network(fused=False), "missing share", "h2 is used 2 times", "d_h2"),
        lambda v, g: -v["y"] / v["p"] / 7,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_planted_mistakes_of_other_networks(name):
    network, mistake, words, gradient, hand_in = OTHERS[name]
    made = network()
    verdict = made.verdict(**{gradient: hand_in(made.v, made.g)})
    assert verdict.mistake == mistake, verdict
    assert words in verdict.message


CLASS_WEIGHTS = np.array([1.0, 2.0, 4.0, 0.5])


def crossed_network(**options):
    """Logits and their softmax cross-entropy: z, the probabilities p, the one-hot target t and its labels y."""
    rng = np.random.default_rng(11)
    z, y = rng.normal(size=(6, 4)), np.array([0, 1, 2, 3, 1, 1])
    loss = tg.losses.softmax_cross_entropy(tg.Tensor(z, requires_grad=True, name="z"), y, **options)
    return loss, z, softmax(z), np.eye(4)[y], y


CROSSED = {  # the mistake, what it says, and what a student who makes it hands in, but for the mean
    "1 from every class": ("target", "in every class", lambda z, p, t, y: p - 1),
    "the true class alone": ("only the true class", "only the true class", lambda z, p, t, y: (p - 1) * t),
    "labels + 1": ("labels", "class y + 1", lambda z, p, t, y: p - np.eye(4)[(y + 1) % 4]),
    "labels - 1": ("labels", "class y - 1", lambda z, p, t, y: p - np.eye(4)[(y - 1) % 4]),
    "classes in reverse": ("labels", "in reverse", lambda z, p, t, y: p - t[:, ::-1]),
    "the slope of a sigmoid": ("wrong derivative", "p * (1 - p)", lambda z, p, t, y: p * (1 - p)),
    "at the probabilities": ("at the probabilities", "behind the softmax", lambda z, p, t, y: -t / p),
    "exp alone": ("not normalised", "its sum over the classes", lambda z, p, t, y: np.exp(z) - t),
    "exp of the gaps": (
        *("not normalised", "its sum over the classes"),
        lambda z, p, t, y: np.exp(z - z.max(axis=1, keepdims=True)) - t,
    ),
    "softmax over the rows": ("wrong axis", "over axis 0", lambda z, p, t, y: np.exp(z) / np.exp(z).sum(axis=0) - t),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CROSSED)
def test_planted_mistakes_in_the_slope_of_a_cross_entropy(name, dtype):
    mistake, words, hand_in = CROSSED[name]
    loss, *values = crossed_network()
    wrong = hand_in(*values).astype(dtype)
    for answer, key in (
        (wrong / 6, mistake),
        (wrong, f"{mistake} and mean"),
        (-wrong / 6, f"{mistake} and sign"),
    ):
        verdict = tg.exercise(loss).check(d_z=answer)["d_z"]
        assert verdict.mistake == key, verdict
        assert words in verdict.message


def test_a_mistake_in_the_slope_of_a_cross_entropy_is_found_from_further_down():
    network = batch_norm_network()
    wrong = (network.v["p"] - 1) / 8
    verdict = network.verdict(d_W3=network.v["h1"].T @ wrong)
    assert verdict.mistake == "target"
    assert "right from d_logits on, but there: 1 was subtracted in every class" in verdict.message


OPTIONS = {  # the options, the mistake, what it says, and what a student who makes it hands in
    "no smoothing": (
        *({"label_smoothing": 0.1}, "smoothing", "label smoothing was forgotten"),
        lambda z, p, t, w: (p - t) / 6,
    ),
    "no weights": (
        *({"weight": CLASS_WEIGHTS}, "weights", "weights of the classes were forgotten"),
        lambda z, p, t, w: (p - t) / 6,
    ),
    "no weights in a sum": (
        *({"weight": CLASS_WEIGHTS, "reduction": "sum"}, "weights", "weights of the classes were forgotten"),
        lambda z, p, t, w: p - t,
    ),
    "divided by N": (
        *({"weight": CLASS_WEIGHTS}, "weights", "divided by the sum of the weights of the labels"),
        lambda z, p, t, w: w * (p - t) / 6,
    ),
    "not divided": (
        *({"weight": CLASS_WEIGHTS}, "weights", "divided by the sum of the weights of the labels"),
        lambda z, p, t, w: w * (p - t),
    ),
    "neither weights nor smoothing": (
        *({"weight": CLASS_WEIGHTS, "label_smoothing": 0.2}, "weights and smoothing", "and the label smoothing too"),
        lambda z, p, t, w: (p - t) / 6,
    ),
    "divided by the ignored ones too": (
        *({"ignore_index": 1}, "mean", "over the rows that are not ignored"),
        lambda z, p, t, w: (p - t) * (1 - t[:, [1]]) / 6,
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_forgotten_smoothing_and_weights(name):
    options, mistake, words, hand_in = OPTIONS[name]
    loss, z, p, t, y = crossed_network(**options)
    verdict = tg.exercise(loss).check(d_z=hand_in(z, p, t, CLASS_WEIGHTS[y][:, None]))["d_z"]
    assert verdict.mistake == mistake, verdict
    assert words in verdict.message


def test_two_classes_that_have_changed_places():
    z, y = np.array([[0.3, -1.0], [2.0, 0.5], [0.1, 0.2]]), np.array([0, 1, 1])
    loss = tg.losses.softmax_cross_entropy(tg.Tensor(z, requires_grad=True, name="z"), y)
    verdict = tg.exercise(loss).check(d_z=(softmax(z) - np.eye(2)[1 - y]) / 3)["d_z"]
    assert verdict.mistake == "labels"
    assert verdict.message.startswith("the two classes have changed places")


def test_mistakes_with_soft_labels():
    rng = np.random.default_rng(3)
    z, q = rng.normal(size=(5, 3)), rng.dirichlet(np.ones(3), size=5)
    loss = tg.losses.softmax_cross_entropy(tg.Tensor(z, requires_grad=True, name="z"), q)
    p = softmax(z)
    for wrong, mistake in (
        (p - np.roll(q, 1, axis=1), "labels"),
        (p - q[:, ::-1], "labels"),
        (-q / p, "at the probabilities"),
        (np.exp(z) - q, "not normalised"),
    ):
        assert tg.exercise(loss).check(d_z=wrong / 5)["d_z"].mistake == mistake


def test_mistakes_in_a_binary_cross_entropy():
    rng = np.random.default_rng(4)
    z, y, w = rng.normal(size=(6, 2)), rng.integers(2, size=(6, 2)), rng.uniform(1, 3, size=(6, 1))
    p, tensor = logistic(z), tg.Tensor(z, requires_grad=True, name="z")
    plain = tg.losses.sigmoid_binary_cross_entropy(tensor, y)
    assert tg.exercise(plain).check(d_z=(p - y) * p * (1 - p) / 12)["d_z"].mistake == "wrong derivative"
    assert tg.exercise(plain).check(d_z=(p - 1 + y) / 12)["d_z"].mistake == "labels"
    loss = tg.losses.sigmoid_binary_cross_entropy(tensor, y, weight=w, pos_weight=3.0)
    for wrong, words in (
        ((1 - y) * p - 3 * y * (1 - p), "weight was forgotten"),
        (w * (p - y), "pos_weight was forgotten"),
        (p - y, "weight and pos_weight were forgotten"),
    ):
        verdict = tg.exercise(loss).check(d_z=wrong / 12)["d_z"]
        assert verdict.mistake == "weights"
        assert verdict.message.startswith(words)


@pytest.mark.parametrize("rows", [3, 4, 7])
def test_the_factors_of_a_mean_of_squares(rows):
    """2 d / N, without its 2, without its mean, and without both."""
    rng = np.random.default_rng(6)
    t, prediction = rng.normal(size=(2, rows, 1))
    loss = tg.losses.mse(tg.Tensor(prediction, requires_grad=True, name="prediction"), t)
    d = prediction - t
    assert tg.exercise(loss).check(d_prediction=2 * d / rows)
    for wrong, mistake, words in (
        (d, "mean and factor", "the mean was forgotten"),
        (2 * d, "mean", "The mean was forgotten"),
        (d / rows, "factor", "the slope of a square has a factor 2"),
    ):
        verdict = tg.exercise(loss).check(d_prediction=wrong)["d_prediction"]
        assert verdict.mistake == mistake, verdict
        assert words in verdict.message
    both = tg.exercise(loss).check(d_prediction=d)["d_prediction"].message
    assert "the factor 2 in the slope of a square" in both


@pytest.mark.parametrize(
    "options", [{"label_smoothing": 0.1}, {"weight": CLASS_WEIGHTS}, {"weight": CLASS_WEIGHTS, "label_smoothing": 0.1}]
)
def test_the_solution_with_smoothing_and_weights_runs(options):
    loss = crossed_network(**options)[0]
    exercise = tg.exercise(loss)
    text = exercise.solution()
    assert "xent_grad" not in text
    assert "xent_grad" not in "".join(exercise.hint("d_z") for _ in range(3))
    arrays = {node.name: node.value for node in exercise._graph.nodes}
    namespace = {"np": np, "softmax": softmax, **FUNCTIONS, **arrays}
    exec(text, namespace)
    assert exercise.check(d_z=namespace["d_z"])


def square_network():
    """Two products with square matrices, where a wrong transposition does not show in the shapes."""
    rng = np.random.default_rng(5)
    x, U, V = (rng.normal(size=(3, 3)) for _ in range(3))
    tU, tV = tg.Tensor(U, requires_grad=True, name="U"), tg.Tensor(V, requires_grad=True, name="V")
    loss = ((tg.Tensor(x, name="x") @ tU).named("a").tanh().named("h") @ tV).named("s")
    h = np.tanh(x @ U)
    d = 2 * (h @ V) / 9
    return (loss * loss).mean(), x, U, V, h, d


SQUARES = {
    "W not transposed": ("transpose", "d_h", lambda x, U, V, h, d: d @ V),
    "x not transposed": ("transpose", "d_V", lambda x, U, V, h, d: h @ d),
    "sides exchanged": ("transpose", "d_V", lambda x, U, V, h, d: d.T @ h),
    "another layer's weights": ("wrong operand", "d_h", lambda x, U, V, h, d: d @ U.T),
    "another layer's inputs": ("wrong operand", "d_V", lambda x, U, V, h, d: x.T @ d),
    "the 2 of a square": ("missing share", "d_s", lambda x, U, V, h, d: d / 2),
}  # fmt: skip


@pytest.mark.parametrize("name", SQUARES)
def test_square_matrices(name):
    loss, *values = square_network()
    mistake, gradient, hand_in = SQUARES[name]
    verdict = tg.exercise(loss).check({gradient: hand_in(*values)})[gradient]
    if name == "the 2 of a square":  # s * s uses s twice: half of the gradient, or one of its shares
        assert verdict.mistake in (mistake, "factor")
        assert "used 2 times" in verdict.message
    else:
        assert verdict.mistake == mistake, verdict


def test_the_two_of_a_square_that_is_one_operation():
    x = tg.Tensor([1.0, 2.0, -3.0], requires_grad=True, name="x")
    verdict = tg.exercise((x**2).sum()).check(d_x=[1.0, 2.0, -3.0])["d_x"]
    assert verdict.mistake == "missing factor"
    assert "the factor 2 is missing" in verdict.message


def lecture_network(rows=8, words=5, context=3, hidden=6):
    """An embedding, two layers with batch norm and the loss in single steps, as in A. Karpathy's lecture "makemore".

    Source: github.com/karpathy/nn-zero-to-hero, part 4, "Becoming a Backprop Ninja": every line there has its gradient.
    """
    rng = np.random.default_rng(0)
    X, Y = rng.integers(words, size=(rows, context)), rng.integers(words, size=rows)
    sizes = {"C": (words, 2), "W1": (2 * context, hidden), "b1": hidden, "gain": (1, hidden), "bias": (1, hidden)}
    sizes |= {"W2": (hidden, words), "b2": words}
    C, W1, b1, gain, bias, W2, b2 = (
        tg.Tensor(rng.normal(size=size), requires_grad=True, name=name) for name, size in sizes.items()
    )
    emb = C[X].named("emb")
    embcat = emb.reshape(rows, -1).named("embcat")
    hprebn = (embcat @ W1 + b1).named("hprebn")
    bnmean = (hprebn.sum(0, keepdims=True) * (1 / rows)).named("bnmean")
    bndiff = (hprebn - bnmean).named("bndiff")
    bndiff2 = (bndiff**2).named("bndiff2")
    bnvar = (bndiff2.sum(0, keepdims=True) * (1 / (rows - 1))).named("bnvar")
    bnvar_inv = ((bnvar + 1e-5) ** -0.5).named("bnvar_inv")
    bnraw = (bndiff * bnvar_inv).named("bnraw")
    hpreact = (gain * bnraw + bias).named("hpreact")
    h = hpreact.tanh().named("h")
    logits = (h @ W2 + b2).named("logits")
    maxes = logits.max(1, keepdims=True).named("maxes")
    norm = (logits - maxes).named("norm")
    counts = norm.exp().named("counts")
    total = counts.sum(1, keepdims=True).named("total")
    total_inv = (total**-1).named("total_inv")
    probs = (counts * total_inv).named("probs")
    loss = -probs.log().named("logprobs")[np.arange(rows), Y].mean()

    steps = (C, W1, W2, gain, emb, embcat, bndiff, bnvar, bnvar_inv, bnraw, h, logits, counts, total, total_inv, probs)
    v = {tensor.name: tensor.data for tensor in (*steps, bias)}
    g = {"d_logprobs": np.where(np.arange(words) == Y[:, None], -1 / rows, 0)}
    g["d_probs"] = g["d_logprobs"] / v["probs"]
    g["d_total_inv"] = (v["counts"] * g["d_probs"]).sum(1, keepdims=True)
    g["d_total"] = -(v["total"] ** -2) * g["d_total_inv"]
    g["d_counts"] = v["total_inv"] * g["d_probs"] + g["d_total"]
    g["d_norm"] = v["counts"] * g["d_counts"]
    g["d_maxes"] = -g["d_norm"].sum(1, keepdims=True)
    g["d_logits"] = (v["probs"] - np.eye(words)[Y]) / rows
    g["d_h"], g["d_W2"] = g["d_logits"] @ v["W2"].T, v["h"].T @ g["d_logits"]
    g["d_b2"] = g["d_logits"].sum(0)
    g["d_hpreact"] = (1 - v["h"] ** 2) * g["d_h"]
    g["d_gain"] = (v["bnraw"] * g["d_hpreact"]).sum(0, keepdims=True)
    g["d_bias"] = g["d_hpreact"].sum(0, keepdims=True)
    g["d_bnraw"] = v["gain"] * g["d_hpreact"]
    g["d_bnvar_inv"] = (v["bndiff"] * g["d_bnraw"]).sum(0, keepdims=True)
    g["d_bnvar"] = -0.5 * (v["bnvar"] + 1e-5) ** -1.5 * g["d_bnvar_inv"]
    g["d_bndiff2"] = np.ones((rows, hidden)) / (rows - 1) * g["d_bnvar"]
    g["d_bndiff"] = v["bnvar_inv"] * g["d_bnraw"] + 2 * v["bndiff"] * g["d_bndiff2"]
    g["d_bnmean"] = -g["d_bndiff"].sum(0, keepdims=True)
    g["d_hprebn"] = (  # the formula on paper, of the lecture's exercise 3
        v["gain"] * v["bnvar_inv"] / rows
        * (rows * g["d_hpreact"] - g["d_bias"] - rows / (rows - 1) * v["bnraw"] * g["d_gain"])
    )  # fmt: skip
    g["d_embcat"], g["d_W1"] = g["d_hprebn"] @ v["W1"].T, v["embcat"].T @ g["d_hprebn"]
    g["d_b1"] = g["d_hprebn"].sum(0)
    g["d_emb"] = g["d_embcat"].reshape(rows, context, 2)
    g["d_C"] = np.zeros((words, 2))
    np.add.at(g["d_C"], X, g["d_emb"])
    v["X"] = X
    return Network(loss, v, g)


def test_every_step_of_a_famous_exercise_is_right():
    network = lecture_network()
    report = network.exercise().check(network.g)
    assert report, report
    assert len(report) == 26


def overwriting(v, g):
    d_C = np.zeros_like(g["d_C"])
    d_C[v["X"]] = g["d_emb"]
    return d_C


LECTURE = {
    "added with =": ("overwritten", "last share has overwritten", "d_C", overwriting),
    "one use of counts": (
        "missing share",
        "counts is used 2 times",
        "d_counts",
        lambda v, g: v["total_inv"] * g["d_probs"],
    ),
    "one use of bndiff": (
        *("missing share", "through bnraw", "d_bndiff"),
        lambda v, g: 2 * v["bndiff"] * g["d_bndiff2"],
    ),
    "the logarithm": ("inverse", "multiplied with probs", "d_probs", lambda v, g: g["d_logprobs"] * v["probs"]),
    "the power": (
        *("exponent", "-1 instead of -2", "d_total"),
        lambda v, g: -(v["total"] ** -1) * g["d_total_inv"],
    ),
    "another power": (
        *("exponent", "-0.5 instead of -1.5", "d_bnvar"),
        lambda v, g: -0.5 * (v["bnvar"] + 1e-5) ** -0.5 * g["d_bnvar_inv"],
    ),
    "the minus": ("sign", "wrong sign", "d_total", lambda v, g: v["total"] ** -2 * g["d_total_inv"]),
    "all n": ("factor", "7/8 of the right one; is 7 divided by", "d_bndiff2", lambda v, g: g["d_bndiff2"] * 7 / 8),
    "all n, in a share": (
        *("factor", "the share through bndiff2", "d_bndiff"),
        lambda v, g: v["bnvar_inv"] * g["d_bnraw"] + 2 * v["bndiff"] * g["d_bndiff2"] * 7 / 8,
    ),
    "a value for a gradient": ("mixed up", "this is h", "d_h", lambda v, g: v["h"]),
    "a gradient for another": ("mixed up", "this is d_gain", "d_bias", lambda v, g: g["d_gain"]),
    "dimensions dropped": ("shape", "(6,) instead of (1, 6)", "d_bias", lambda v, g: g["d_bias"].ravel()),
    "averaged": ("averaged", "averaged over axis 0", "d_bias", lambda v, g: g["d_hpreact"].mean(0, keepdims=True)),
    "one, not one eighth": (
        *("missing factor", "the factor 0.125 is missing", "d_hprebn"),
        lambda v, g: g["d_bndiff"] + g["d_bnmean"],
    ),
    "every label": ("no upstream", "local derivative alone", "d_logprobs", lambda v, g: -8 * g["d_logprobs"]),
}


@pytest.mark.parametrize("name", LECTURE)
def test_slips_in_a_famous_exercise(name):
    network = lecture_network()
    mistake, words, gradient, hand_in = LECTURE[name]
    verdict = network.verdict(**{gradient: hand_in(network.v, network.g)})
    assert verdict.mistake == mistake, verdict
    assert words in verdict.message


def test_at_a_kink_one_is_told_which_slope_is_meant():
    x = tg.Tensor([-1.0, 0.0, 2.0], requires_grad=True, name="x")
    loss = (x.relu() * [3.0, 4.0, 5.0]).sum()
    assert tg.exercise(loss).check(d_x=[0, 0, 5])
    verdict = tg.exercise(loss).check(d_x=[0, 4, 5])["d_x"]
    assert verdict.mistake == "kink"


def test_a_penalty_on_the_weights_is_a_use_of_them():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 1))
    w = tg.Tensor(rng.normal(size=(3, 1)), requires_grad=True, name="w")
    loss = tg.losses.mse(tg.Tensor(x) @ w, y) + 0.5 * (w**2).sum()
    data = 2 * x.T @ (x @ w.data - y) / 6
    assert tg.exercise(loss).check(d_w=data + w.data)
    verdict = tg.exercise(loss).check(d_w=data)["d_w"]
    assert verdict.mistake == "missing share"
    assert "w ** 2" in verdict.message
    verdict = tg.exercise(loss).check(d_w=data / 2 + w.data)["d_w"]
    assert not verdict.right


def test_a_mean_where_the_loss_is_a_sum():
    z = tg.Tensor(np.arange(15.0).reshape(5, 3), requires_grad=True, name="z")
    loss = (z**2).sum()
    verdict = tg.exercise(loss).check(d_z=2 * z.data / 5)["d_z"]
    assert verdict.mistake == "factor"
    assert "5 is the length of an axis" in verdict.message


def test_a_mean_that_only_a_part_has_passed_is_not_the_factor():
    x = tg.Tensor(np.linspace(-1, 2, 5), requires_grad=True, name="x")
    loss = (x**2).mean() + (x**3).sum()
    verdict = tg.exercise(loss).check(d_x=5 * (2 * x.data / 5 + 3 * x.data**2))["d_x"]
    assert verdict.mistake == "factor"
    assert "forgotten" not in verdict.message


def test_an_answer_between_the_right_one_and_a_mistake_is_not_explained():
    x = tg.Tensor(np.array([1, 2, 3], np.float32), requires_grad=True, name="x")
    loss = x.sum() + (x * np.float32(0.0012)).sum()
    assert tg.exercise(loss).check(d_x=np.full(3, 1, np.float32))["d_x"].mistake == "missing share"
    assert tg.exercise(loss).check(d_x=np.full(3, 1.00008, np.float32))["d_x"].mistake == "nearly"


def test_half_of_a_square_is_no_mean():
    z = tg.Tensor([1.0, 2.0, 4.0], requires_grad=True, name="z")
    verdict = tg.exercise((z**2).sum() * 0.5).check(d_z=2 * z.data)["d_z"]
    assert verdict.mistake == "factor"
    assert "mean" not in verdict.message.split("Also fits")[0]


def test_a_batch_of_one_row_has_no_mean_to_forget():
    z = tg.Tensor([[1.0, 2.0, -1.0]], requires_grad=True, name="z")
    loss = tg.losses.softmax_cross_entropy(z, np.array([1]))
    right = softmax(z.data) - [[0, 1, 0]]
    assert tg.exercise(loss).check(d_z=right)
    for wrong in (right * 2, -right, softmax(z.data), right + 1):
        verdict = tg.exercise(loss).check(d_z=wrong)["d_z"]
        assert not verdict.right
        assert "mean" not in verdict.mistake


def test_two_rows_may_be_a_mean_or_a_square():
    """With N = 2 the numbers cannot tell: what is likelier stands first, and the other is told too."""
    p = tg.Tensor([[1.0, 2.0], [-1.0, 3.0]], requires_grad=True, name="p")
    loss = (p**2).sum() / 2
    verdict = tg.exercise(loss).check(d_p=p.data / 2)["d_p"]
    assert verdict.mistake in ("mean twice", "missing factor")
    assert "Also fits" in verdict.message


def test_one_number_alone_is_not_explained_by_any_factor():
    x = tg.Tensor(3.0, requires_grad=True, name="x")
    verdict = tg.exercise(x * x).check(d_x=5.0)["d_x"]
    assert verdict.mistake == "unknown"
    assert "6" not in verdict.message


@pytest.mark.parametrize("name", ["nonsense", "one column", "rounded", "another shape", "kept dimensions", "NaN"])
def test_the_right_numbers_are_not_told(net, name):
    _, _, gradient, hand_in = BATCH_NORM[name]
    with np.errstate(all="ignore"):
        answer = hand_in(net.v, net.g)
    message = net.verdict(**{gradient: answer}).message
    for right in np.ravel(net.g[gradient]):
        if not np.isclose(right, answer, rtol=5e-3).any():
            assert f"{right:.4g}" not in message


# ---- right, given one's own


def test_what_follows_from_a_wrong_gradient_is_told_so(net):
    v = net.v
    d_logits = v["p"] - v["onehot"]
    d_h1 = d_logits @ v["W3"].T
    d_t8 = d_h1 * (1 - v["h1"] ** 2)
    report = net.exercise().check(
        d_logits=d_logits, d_W3=v["h1"].T @ d_logits, d_b3=-d_logits.sum(axis=0), d_h1=d_h1, d_t8=d_t8
    )
    assert [verdict.mistake for verdict in report] == ["mean", "upstream", "mean and sign", "upstream", "upstream"]
    assert report["d_W3"].follows == ("d_logits",)
    assert report["d_t8"].follows == ("d_h1",)
    assert "right, given your own d_logits" in report["d_W3"].message
    assert not report
    assert report.summary == "0 of 5 right"


def test_a_step_that_was_mended_without_going_on_from_it(net):
    d_W0 = net.v["x"].T @ without(net.g, net.v, "mean")
    report = net.exercise().check(d_z1=net.g["d_z1"], d_W0=d_W0)
    assert report["d_z1"].right
    assert report["d_W0"].mistake == "missing share"
    assert "right from d_z1 on, but there" in report["d_W0"].message


def test_a_mistake_of_its_own_on_top_of_a_wrong_upstream(net):
    v = net.v
    wrong = net.g["d_h1"] * np.linspace(1, 2, 5)
    report = net.exercise().check(d_h1=wrong, d_t8=wrong * (1 - v["t8"] ** 2))
    assert report["d_t8"].mistake == "wrong value"


def test_earlier_calls_stay_in_mind_until_they_are_mended(net):
    exercise, v = net.exercise(), net.v
    wrong = np.sin(v["t8"])
    exercise.check(d_t8=wrong)
    assert exercise.check(d_shift1=wrong.sum(axis=0))["d_shift1"].follows == ("d_t8",)
    # several steps further down, with nothing in between handed in
    d_n = wrong * v["scale1"]
    d_z1 = (d_n - d_n.mean(axis=0) - v["t6"] * (d_n * v["t6"]).mean(axis=0)) / v["t5"]
    assert exercise.check(d_W0=v["x"].T @ d_z1)["d_W0"].follows == ("d_t8",)
    assert "wrong (upstream)" in repr(exercise)
    assert exercise.check(d_t8=net.g["d_t8"])
    assert exercise.check(d_shift1=wrong.sum(axis=0))["d_shift1"].mistake != "upstream"
    assert exercise.check(d_W0=net.g["d_W0"])


def test_a_right_answer_stays_right_whatever_is_wrong_above(net):
    report = net.exercise().check(d_h1=net.g["d_h1"] * 5, d_t8=net.g["d_t8"])
    assert [verdict.right for verdict in report] == [False, True]


def test_a_wrong_share_may_come_from_one_of_two_uses():
    x = tg.Tensor([0.3, 0.7], requires_grad=True, name="x")
    a, b = (x * 2).named("a"), x.tanh().named("b")
    exercise = tg.exercise((a * b).sum())
    wrong = np.array([5.0, 6.0])
    follows = wrong * 2 + a.data * (1 - b.data**2)
    assert exercise.check(d_a=wrong, d_x=follows)["d_x"].follows == ("d_a",)


# ---- what it does to the graph


def test_gradients_are_hidden_and_can_be_put_back(net):
    network = batch_norm_network()
    network.loss.backward()
    tensors = _tensors(network.loss)
    before = [tensor.grad.copy() for tensor in tensors]
    exercise = network.exercise()
    assert all(tensor.grad is None for tensor in tensors)
    assert exercise.check(network.g)
    assert all(tensor.grad is None for tensor in tensors)
    exercise.reveal()
    for tensor, grad in zip(tensors, before, strict=True):
        np.testing.assert_array_equal(tensor.grad, grad)


def test_revealed_without_a_backward_pass():
    network = batch_norm_network()
    network.exercise().reveal()
    for tensor in _tensors(network.loss):
        name = tensor.name and f"d_{tensor.name}"
        if name in network.g:
            np.testing.assert_allclose(tensor.grad, network.g[name], rtol=1e-9)
        assert tensor.grad is not None


def _tensors(loss):
    found, stack = {}, [loss]
    while stack:
        tensor = stack.pop()
        found[tensor.number] = tensor
        stack += [x for x, _ in tensor.edges]
    return list(found.values())


def test_nothing_else_changes():
    network = batch_norm_network()
    data = {tensor.number: tensor.data.copy() for tensor in _tensors(network.loss)}
    ready = [tensor.ready is None for tensor in _tensors(network.loss)]
    np.random.seed(3)
    tg.seed(3)
    exercise = network.exercise()
    exercise.check({name: np.ones(shape) for name, shape in exercise.shapes.items()})
    exercise.hint()
    exercise.solution()
    drawn, ours = np.random.random(), tg.nn.init.generator().random()
    np.random.seed(3)
    tg.seed(3)
    assert (drawn, ours) == (np.random.random(), tg.nn.init.generator().random())
    for tensor in _tensors(network.loss):
        np.testing.assert_array_equal(tensor.data, data[tensor.number])
    assert ready == [tensor.ready is None for tensor in _tensors(network.loss)]
    network.loss.backward()
    assert exercise.check({tensor: tensor.grad for tensor in _tensors(network.loss)})


def test_what_was_handed_in_is_not_changed_and_may_change_later(net):
    answer = net.g["d_logits"] * 8
    kept = answer.copy()
    exercise = net.exercise()
    exercise.check(d_logits=answer)
    np.testing.assert_array_equal(answer, kept)
    answer[...] = 0
    assert exercise.check(d_b3=kept.sum(axis=0))["d_b3"].mistake == "upstream"


def test_parameters_that_have_been_changed():
    """After an optimizer's step no gradient by hand can be right: that is said, instead of calling it wrong."""
    network = batch_norm_network()
    exercise = network.exercise()
    weight = next(t for t in _tensors(network.loss) if t.name == "layers.0.W")
    weight.data[...] += 0.1
    with pytest.raises(ValueError, match="W0 was changed after the exercise was made"):
        exercise.check(network.g)
    with pytest.raises(ValueError, match=r"W0.* changed after the loss was computed"):
        tg.exercise(network.loss)


# ---- names


def test_parameters_may_be_called_by_their_path_or_be_given_themselves(net):
    exercise = net.exercise()
    for key in ("d_W0", "W0", "layers.0.W", "d_layers.0.W", "layers_0_W", "d_layers_0_W"):
        assert exercise.check({key: net.g["d_W0"]}).verdicts[0].name == "d_W0"
    weight = next(t for t in _tensors(net.loss) if t.name == "layers.0.W")
    assert exercise.check({weight: net.g["d_W0"]})
    assert exercise.check(layers_0_W=net.g["d_W0"], d_b0=net.g["d_b0"])


def test_a_report_knows_the_names_that_were_used(net):
    report = net.exercise().check({"layers.0.W": net.g["d_W0"]})
    assert report["layers.0.W"] is report["d_W0"]


def test_a_tensor_that_is_called_like_a_gradient():
    x = tg.Tensor([0.5, 1.5], requires_grad=True, name="x")
    other = tg.ops.exp(x).named("d_x")
    loss = (other * x).sum()
    exercise = tg.exercise(loss)
    assert exercise.check({x: np.exp(x.data) * (1 + x.data), other: x.data})
    assert exercise.check({x: np.exp(x.data) * x.data}).verdicts[0].mistake == "missing share"
    assert len(set(exercise.names)) == 4
    namespace = {"np": np, "x": x.data, "d_x": other.data, **{node.name: node.value for node in exercise._graph.nodes}}
    exec(exercise.solution(), namespace)
    assert exercise.check({name: namespace[name] for name in exercise.names})


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("d_logit", "(do you mean d_logits"),
        ("d_W1", "do you mean"),
        ("d_layers.0.w", "do you mean d_W0"),
        ("grad_of_everything", "the names are d_loss, d_logits, d_W3, d_b3, d_h1"),
        ("d_x", "x is data, for which no gradient was asked: make it with requires_grad=True"),
        ("y", "y is data"),
    ],
)
def test_a_wrong_name_is_answered_with_those_there_are(net, asked, words):
    exercise = net.exercise()
    for call in (lambda: exercise.check({asked: 1.0}), lambda: exercise.hint(asked), lambda: exercise.solution(asked)):
        with pytest.raises(ValueError, match="there is no gradient") as caught:
            call()
        assert words in str(caught.value)
        assert "d_scale1" in str(caught.value)


def test_two_tensors_of_one_name():
    a, b = (tg.Tensor([1.0, 2.0], requires_grad=True, name="w") for _ in range(2))
    exercise = tg.exercise((a * b * 3).sum())
    assert {"d_w", "d_w_2"} <= set(exercise.names)
    with pytest.raises(ValueError, match="'w' may be any of d_w"):
        exercise.check({"w": 1})
    assert exercise.check({a: b.data * 3, b: a.data * 3})


@pytest.mark.parametrize(
    ("answers", "kind", "words"),
    [
        ({}, ValueError, "nothing was given"),
        ({"d_W0": None}, TypeError, "d_W0 is None"),
        ({"d_W0": "right"}, TypeError, "must be real numbers"),
        ({"d_W0": 1j}, TypeError, "must be real numbers"),
        ({"d_W0": [[1, 2], [3]]}, TypeError, "d_W0 cannot be read as an array"),
        ({"d_W0": object()}, TypeError, "must be real numbers"),
        ({"d_W0": 1, "W0": 1}, ValueError, "d_W0 was given twice"),
        (np.ones(3), TypeError, "by their names: write check(d_loss=...)"),
        ({3: 1}, TypeError, "by its name or its tensor, not by int"),
        ({tg.Tensor(1.0, name="other"): 1}, ValueError, "other is no tensor of this graph"),
    ],
)
def test_what_cannot_be_checked(net, answers, kind, words):
    with pytest.raises(kind) as caught:
        net.exercise().check(answers)
    assert words in str(caught.value)


def test_losses_that_have_no_exercise():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    for loss, kind, words in (
        (tg.Tensor(1.0), ValueError, "has no history"),
        (x * x, ValueError, "a loss is a single number"),
        (1.0, TypeError, "a loss is a Tensor"),
    ):
        with pytest.raises(kind) as caught:
            tg.exercise(loss)
        assert words in str(caught.value)
        assert str(caught.value).startswith("tg.exercise: ")
    with pytest.raises(RuntimeError, match="being traced"):
        tg.trace(lambda x: tg.exercise((x**2).sum()), np.ones(3))


def test_a_gradient_that_is_not_finite_itself():
    x = tg.Tensor([0.0, 4.0], requires_grad=True, name="x")
    with np.errstate(all="ignore"):
        loss = tg.ops.sqrt(x).sum()
        exercise = tg.exercise(loss)
        assert exercise.check(d_x=[np.inf, 0.25])
        assert exercise.check(d_x=[np.inf, 0.5])["d_x"].mistake == "not finite"
        verdict = exercise.check(d_x=[1.0, 0.25])["d_x"]
    assert not verdict.right
    assert "tg.why_nan" in verdict.message


# ---- reports, hints, solutions


def test_the_report_as_text_and_as_html(net):
    report = net.exercise().check(d_loss=1, d_logits=net.g["d_logits"] * 8, d_W3=net.g["d_W3"] * 8)
    text = str(report)
    assert text == repr(report)
    assert text.startswith("d_loss    right\nd_logits  wrong (mean): off by the factor 8")
    assert text.endswith("1 of 3 right")
    assert max(map(len, text.splitlines())) <= 100
    assert text.isascii()
    assert len(report) == 3
    assert str(report["d_loss"]) == "d_loss  right"
    page = report._repr_html_()
    assert page.startswith("<table>")
    assert "np.log(softmax(logits))" in page
    with pytest.raises(KeyError, match="d_b3 was not checked"):
        report["d_b3"]


def test_names_are_escaped_in_html():
    tensor = tg.Tensor([1.0, -2.0], requires_grad=True, name="<script>alert(1)</script>")
    exercise = tg.exercise((tg.ops.where(tensor.data > 0, tensor, 0) * 2).sum())
    (name,) = (n for n in exercise.names if n.startswith("d_") and exercise.shapes[n] == (2,) and "script" in n)
    page = exercise.check({tensor: [2.0, 2.0]})._repr_html_()
    assert "<script" not in page
    verdict = tg.views.exercise.Verdict("d_<b>", False, "<i>", "a < b")
    page = tg.views.exercise.Report({"d_<b>": verdict})._repr_html_()
    assert "<b>" not in page
    assert "<i>" not in page
    assert "a &lt; b" in page
    assert name.isidentifier()


def test_the_line_of_the_users_code_is_told(net):
    message = net.verdict(d_logits=net.g["d_logits"] * 8).message
    assert "test_exercise.py:" in message
    assert "(BatchNorm, test_exercise.py:" in net.verdict(d_z1=without(net.g, net.v, "mean")).message


def test_hints_get_stronger_and_go_on_to_the_next(net):
    exercise = net.exercise()
    assert "d_loss" in exercise.hint()
    exercise.check(d_loss=1.0, d_logits=net.g["d_logits"], d_W3=net.g["d_W3"], d_b3=net.g["d_b3"])
    first, second, third, again = (exercise.hint() for _ in range(4))
    assert all("of 3 for d_h1, shape (8, 5)" in hint for hint in (first, second, third))
    assert "h1 is used once:" in first
    assert "logits = np.dot(h1, W3) + b3" in first
    assert "start from d_logits" in first
    assert "W3 (5, 4)" in second
    assert "a product of matrices" in second
    assert "@" not in first + second
    assert "d_h1 = d_logits @ ___.T" in third
    assert "W3 (5, 4)" in third
    assert again == third
    assert repr(first) == str(first)
    several = exercise.hint("d_z1")
    assert "z1 is used 3 times, so that 3 shares add up" in several
    exercise.check(d_h1=net.g["d_h1"])
    assert "hint 1 of 3 for d_t8" in exercise.hint()


@pytest.mark.parametrize("name", NETWORKS)
def test_hints_tell_no_numbers(name):
    network = NETWORKS[name]()
    exercise = network.exercise()
    for gradient, right in network.g.items():
        hints = "".join(exercise.hint(gradient) for _ in range(3))
        for number in np.ravel(right):
            if abs(number) not in (0, 1) and not np.isclose(abs(number) % 0.5, 0):
                assert f"{abs(number):.4g}" not in hints.replace("1e-05", "")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_solution_runs_and_is_right(name):
    network = NETWORKS[name]()
    exercise = network.exercise()
    text = exercise.solution()
    names = {node.name: node.value for node in exercise._graph.nodes}
    functions = {name: op.body for name, op in tg.core.REGISTRY.items()}
    namespace = {"np": np, "one_hot": one_hot, **functions, **names}
    exec(text, namespace)
    assert exercise.check({gradient: namespace[gradient] for gradient in exercise.names})
    for gradient in exercise.names:
        assert exercise.solution(gradient).split(" = ")[0].splitlines()[-1] == gradient
    assert repr(text) == str(text)


def test_the_solution_of_one(net):
    assert net.exercise().solution("d_W3") == "d_W3 = h1.T @ d_logits  # (5, 4)"
    assert net.exercise().solution("layers.3.W") == "d_W3 = h1.T @ d_logits  # (5, 4)"


def test_the_status_of_an_exercise(net):
    exercise = net.exercise()
    exercise.check(d_loss=1, d_logits=net.g["d_logits"] * 8)
    lines = repr(exercise).splitlines()
    assert lines[0] == "18 gradients to compute, in the order of the backward pass:"
    assert lines[1].split() == ["d_loss", "()", "right"]
    assert lines[2].split() == ["d_logits", "(8,", "4)", "wrong", "(mean)"]
    assert lines[3].split() == ["d_W3", "(5,", "4)"]
