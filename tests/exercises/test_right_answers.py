"""The exercise: backward passes written by hand are called right, also after a wrong gradient of one's own."""

from __future__ import annotations

import numpy as np
import pytest
from exercises.networks import NETWORKS, batch_norm_network, softmax, without
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_ce as tg
from tinygrad_ce.program.textbook import one_hot

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


@settings(max_examples=25)
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


@settings(max_examples=10)
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


@pytest.mark.parametrize("single", ["x", "w", "v"])
def test_one_array_in_float32_is_a_rounding_on_the_way(single):
    """NumPy goes on in float64 from there, so that the dtype of what is handed in does not tell."""
    rng = np.random.default_rng(0)
    v = {"x": rng.normal(size=(20, 3)), "w": rng.normal(size=(3, 4)), "v": rng.normal(size=4)}
    given = {name: tg.Tensor(array, requires_grad=True, name=name) for name, array in v.items()}
    exercise = tg.exercise((((given["x"] @ given["w"]).tanh() @ given["v"]) ** 2).mean())
    v[single] = v[single].astype(np.float32)
    h = np.tanh(v["x"] @ v["w"])
    d_out = 2 * (h @ v["v"]) / 20
    d_z = np.outer(d_out, v["v"]) * (1 - h * h)
    right = {"d_x": d_z @ v["w"].T, "d_w": v["x"].T @ d_z, "d_v": h.T @ d_out}
    assert {array.dtype for array in right.values()} == {np.dtype(np.float64)}
    assert exercise.check(right)
    for name, array in right.items():
        assert not exercise.check({name: array * (1 + 1e-6)})
        assert not exercise.check({name: array + 1e-6 * np.abs(array).max()})
        one = np.where(np.abs(array) == np.abs(array).max(), array * (1 + 1e-6), array)
        assert not exercise.check({name: one})


def test_lists_of_float32_that_do_not_tell_are_judged_as_those_beside_them(net):
    """What float32 leaves of the bias in front of a batch norm has few digits, as round numbers have."""
    single = batch_norm_network(dtype=np.float32).g
    rest = np.array([2.0**-27, -(2.0**-26), 0, 2.0**-28, 2.0**-27])
    assert net.exercise().check(d_W0=single["d_W0"].tolist(), d_b0=rest.tolist())
    assert net.exercise().check(d_W0=single["d_W0"], d_b0=rest.tolist())
    assert not net.exercise().check(d_W0=net.g["d_W0"], d_b0=rest.tolist())
    assert not net.exercise().check(d_W0=single["d_W0"], d_b0=np.full(5, 1e-9 / 3))


def test_the_place_that_is_told_is_one_that_is_wrong():
    """Not the one with the largest error, where so much of an error may be rounding."""
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    message = tg.exercise((x * [1e6, 1.0]).sum()).check(d_x=[1e6 + 1e-3, 1.00001])["d_x"].message
    assert "1 of 2 numbers, most at [1]" in message


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


# ---- right, given one's own


def test_what_follows_from_a_wrong_gradient_is_told_so(net):
    v = net.v
    d_logits = v["p"] - v["onehot"]
    d_h1 = d_logits @ v["W3"].T
    d_t8 = d_h1 * (1 - v["h1"] ** 2)
    report = net.exercise().check(
        d_logits=d_logits, d_W3=v["h1"].T @ d_logits, d_b3=-d_logits.sum(axis=0), d_h1=d_h1, d_t8=d_t8
    )
    assert [verdict.mistake for verdict in report] == ["mean", "upstream", "sign", "upstream", "upstream"]
    assert report["d_W3"].follows == ("d_logits",)
    assert report["d_t8"].follows == ("d_h1",)
    assert "right, given your own d_logits" in report["d_W3"].message
    assert report["d_b3"].message.startswith("given your own d_logits, ")
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
