"""Single mistakes in backward passes as courses set them, with the forward pass in NumPy."""

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.assignments.recorded import recorded
from tinygrad_ce.exercises.backward_program import of_source
from tinygrad_ce.exercises.examiner import Examiner


def drawn(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


def tanh_network(X, W, V, y):
    z = X @ W
    h = np.tanh(z)
    u = h @ V
    o = 1 / (1 + np.exp(-u))
    return ((o - y) ** 2).mean()


def relu_network(X, W, V, y):
    z = X @ W
    h = np.maximum(z, 0)
    u = h @ V
    o = 1 / (1 + np.exp(-u))
    return ((o - y) ** 2).mean()


LAYERS = {"X": drawn(6, 3), "W": drawn(3, 4), "V": drawn(4, 2), "y": drawn(6, 2)}
Z = LAYERS["X"] @ LAYERS["W"]
TANH, RELU = np.tanh(Z), np.maximum(Z, 0)


def upstream(h):
    """(u, o, d_o, d_h) of the network with this hidden layer."""
    u = h @ LAYERS["V"]
    o = 1 / (1 + np.exp(-u))
    d_o = 2 * (o - LAYERS["y"]) / o.size
    return u, o, d_o, (d_o * o * (1 - o)) @ LAYERS["V"].T


@pytest.mark.parametrize(
    ("slope", "mistake", "answer"),
    [
        ("tanh", "wrong derivative", upstream(TANH)[3] * TANH * (1 - TANH)),
        ("tanh", "wrong derivative", upstream(TANH)[3] * (TANH > 0)),
        ("tanh", "wrong value", upstream(TANH)[3] * (1 - np.tanh(TANH) ** 2)),
        ("relu", "wrong derivative", upstream(RELU)[3] * Z),
        ("relu", "wrong derivative", upstream(RELU)[3] * RELU),
        ("relu", "wrong derivative", upstream(RELU)[3] * (1 - RELU**2)),
        ("relu", "wrong derivative", upstream(RELU)[3] * RELU * (1 - RELU)),
    ],
)
def test_the_slope_of_another_function_is_told(slope, mistake, answer):
    report = tg.exercise(recorded({"tanh": tanh_network, "relu": relu_network}[slope], LAYERS)).check(d_z=answer)
    assert report["d_z"].mistake == mistake, report


def sigmoid_output(u, y):
    o = 1 / (1 + np.exp(-u))
    return ((o - y) ** 2).mean()


@pytest.mark.parametrize(
    ("mistake", "local"),
    [
        ("wrong derivative", lambda u, o: 1 - o**2),
        ("wrong value", lambda u, o: u * (1 - u)),
        ("wrong value", lambda u, o: 1 / (1 + np.exp(-o)) * (1 - 1 / (1 + np.exp(-o)))),
    ],
)
def test_the_slope_of_a_sigmoid(mistake, local):
    u, o, d_o, _ = upstream(TANH)
    report = tg.exercise(recorded(sigmoid_output, {"u": u, "y": LAYERS["y"]})).check(d_u=d_o * local(u, o))
    assert report["d_u"].mistake == mistake, report


def logistic(X, w, y):
    z = X @ w
    p = 1 / (1 + np.exp(-z))
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        ("at the probabilities", lambda p, y: -y / p),
        ("wrong value", lambda p, y: (p > 0.5) - y),
    ],
)
def test_a_wrong_error_of_logistic_regression(mistake, error):
    X, w, y = drawn(8, 3), drawn(3), np.array([0, 1, 1, 0, 0, 1, 0, 1.0])
    p = 1 / (1 + np.exp(-X @ w))
    report = tg.exercise(recorded(logistic, {"X": X, "w": w, "y": y})).check(d_z=error(p, y) / 8)
    assert report["d_z"].mistake == mistake, report


def softmax_regression(X, W, b, y, reg):
    z = X @ W + b
    e = np.exp(z)
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean() + 0.5 * reg * (W * W).sum()


SOFTMAX = {"X": drawn(6, 4), "W": drawn(4, 3), "b": drawn(3), "y": np.array([0, 2, 1, 1, 2, 0]), "reg": 0.3}


def softmax_gradients(X, W, b, y, reg):
    e = np.exp(X @ W + b)
    d_z = (e / e.sum(axis=1, keepdims=True) - np.eye(3)[y]) / 6
    return d_z, X.T @ d_z, d_z.sum(axis=0)


@pytest.mark.parametrize(
    ("name", "mistake", "words", "change"),
    [
        ("d_z", "factor", "1/3 of", lambda d_z, d_W, d_b: d_z / 3),
        ("d_W", "sign", "t8 = W * W", lambda d_z, d_W, d_b: d_W - 0.3 * SOFTMAX["W"]),
        ("d_W", "factor", "is twice", lambda d_z, d_W, d_b: d_W + 0.6 * SOFTMAX["W"]),
        ("d_b", "extra term", "plus reg * b", lambda d_z, d_W, d_b: d_b + 0.3 * SOFTMAX["b"]),
    ],
)
def test_softmax_regression_with_weight_decay(name, mistake, words, change):
    answer = change(*softmax_gradients(**SOFTMAX))
    exercise = tg.exercise(recorded(softmax_regression, SOFTMAX))
    verdict = exercise.check({name: answer})[name]
    assert verdict.mistake == mistake, verdict
    assert words.replace("t8 = ", "") in verdict.message


def recurrent(x1, x2, h0, W, U, b):
    h1 = np.tanh(x1 @ W + h0 @ U + b)
    h2 = np.tanh(x2 @ W + h1 @ U + b)
    return (h2**2).sum() / 2


STEPS = {"x1": drawn(4, 3), "x2": drawn(4, 3) * 2, "h0": drawn(4, 5), "W": drawn(3, 5), "U": drawn(5, 5), "b": drawn(5)}


def recurrent_gradients(x1, x2, h0, W, U, b):
    """(h1, h2, d_h1, the gradients before tanh in each step)."""
    h1 = np.tanh(x1 @ W + h0 @ U + b)
    h2 = np.tanh(x2 @ W + h1 @ U + b)
    d_r2 = h2 * (1 - h2**2)
    d_h1 = d_r2 @ U.T
    return h1, h2, d_h1, (d_h1 * (1 - h1**2), d_r2)


def test_all_shares_changed_alike():
    *_, steps = recurrent_gradients(**STEPS)
    report = tg.exercise(recorded(recurrent, STEPS)).check(d_b=sum(x.mean(axis=0) for x in steps))
    assert report["d_b"].mistake == "averaged", report
    assert "each of 2 shares" in report["d_b"].message


def test_a_term_too_many():
    _, h2, d_h1, _ = recurrent_gradients(**STEPS)
    report = tg.exercise(recorded(recurrent, STEPS)).check(d_h1=d_h1 + h2)
    assert report["d_h1"].mistake == "extra term", report


def test_another_array_in_a_line_above():
    h1, h2, d_h1, _ = recurrent_gradients(**STEPS)
    answer = STEPS["h0"].T @ (d_h1 * (1 - h2**2)) + h1.T @ (h2 * (1 - h2**2))
    report = tg.exercise(recorded(recurrent, STEPS)).check(d_U=answer)
    assert report["d_U"].mistake in ("wrong value", "wrong operand"), report
    assert "h2 was taken where h1 must stand" in report["d_U"].message


def embedded(E, ids, W, y):
    e = E[ids]
    z = e @ W
    return ((z - y) ** 2).mean() / 2


def test_a_value_in_the_place_of_its_gradient():
    arguments = {"E": drawn(6, 3), "ids": np.array([1, 4, 1, 0, 4]), "W": drawn(3, 2), "y": drawn(5, 2)}
    answer = np.zeros((6, 3))
    np.add.at(answer, arguments["ids"], arguments["E"][arguments["ids"]])
    report = tg.exercise(recorded(embedded, arguments)).check(d_E=answer)
    assert report["d_E"].mistake == "wrong upstream", report


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("mistake", "change"),
    [
        ("missing term", lambda d, n, s, mean, other: d / s),
        ("missing term", lambda d, n, s, mean, other: (d - mean(d)) / s),
        ("inverse", lambda d, n, s, mean, other: (d - mean(d) - n * mean(d * n)) * s),
        ("missing factor", lambda d, n, s, mean, other: (d - mean(d) - n * d * n) / s),
        ("wrong axis", lambda d, n, s, mean, other: (d - other(d) - n * mean(d * n)) / s),
    ],
)
def test_the_gradient_of_a_normalisation_on_paper(axis, mistake, change):
    arguments = {"x": drawn(5, 6), "g": drawn(1, 6), "t": drawn(5, 6) * drawn(5, 1)}
    centred = arguments["x"] - arguments["x"].mean(axis=axis, keepdims=True)
    s = np.sqrt((centred**2).mean(axis=axis, keepdims=True) + 1e-5)
    mean, other = (lambda x: x.mean(axis, keepdims=True)), (lambda x: x.mean(1 - axis, keepdims=True))
    answer = change(arguments["g"] * arguments["t"], centred / s, s, mean, other)

    def layer(x, g, t):
        centred = x - x.mean(axis=axis, keepdims=True)
        s = np.sqrt((centred**2).mean(axis=axis, keepdims=True) + 1e-5)
        n = centred / s
        return (n * (g * t)).sum()

    report = tg.exercise(recorded(layer, arguments)).check(d_x=answer)
    assert report["d_x"].mistake == mistake, report


def test_what_is_always_zero_is_no_missing_upstream():
    arguments = {"x": drawn(6, 4), "g": drawn(4), "t": drawn(6, 4) * 2}

    def layer(x, g, t):
        centred = x - x.mean(axis=0)
        n = centred / np.sqrt((centred**2).mean(axis=0) + 1e-5)
        out = n * g
        return (out * t).sum()

    centred = arguments["x"] - arguments["x"].mean(axis=0)
    n = centred / np.sqrt((centred**2).mean(axis=0) + 1e-5)
    report = tg.exercise(recorded(layer, arguments)).check(d_g=arguments["t"].sum(axis=0) * n.sum(axis=0))
    assert report["d_g"].mistake == "zeros", report


def adam(w, g, v, rate, beta1, beta2):
    v2 = beta2 * v + (1 - beta2) * g**2
    corrected = v2 / (1 - beta2)
    w2 = w - rate * g / (np.sqrt(corrected) + beta1)
    return {"v2": v2, "w2": w2}


def test_another_number_of_the_arguments():
    arguments = {"w": drawn(4), "g": drawn(4) * 2, "v": drawn(4) ** 2, "rate": 0.1, "beta1": 0.9, "beta2": 0.99}
    v2 = adam(**arguments)["v2"]
    answer = arguments["w"] - 0.1 * arguments["g"] / (np.sqrt(v2 / (1 - 0.9)) + 0.9)
    verdict = Examiner(of_source(adam, arguments)).judge({"w2": answer})["w2"]
    assert verdict.mistake == "wrong operand", verdict
    assert "beta1 was taken where beta2 must stand" in verdict.message


def velocity(v, g, momentum):
    v2 = momentum * v + g
    return {"v2": v2}


def test_a_factor_of_one_term_taken_for_both():
    arguments = {"v": drawn(4), "g": drawn(5)[:4], "momentum": 0.9}
    answer = 0.9 * (arguments["v"] + arguments["g"])
    verdict = Examiner(of_source(velocity, arguments)).judge({"v2": answer})["v2"]
    assert verdict.mistake == "misplaced", verdict
