"""The exercise: mistakes in gradients of losses that were written in NumPy, and in functions that are no gradients."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from exercises.networks import batch_norm_network, softmax

import tinygrad_ce as tg
from tinygrad_ce.assignments.recorded import recorded
from tinygrad_ce.exercises.backward_program import of_graph, of_source
from tinygrad_ce.exercises.examiner import Examiner
from tinygrad_ce.exercises.mutations import ORDER, rewritten, table
from tinygrad_ce.graph.nodes import Graph


def examiner_of(forward, arguments):
    return Examiner(of_graph(Graph(recorded(forward, arguments), "a test")))


# ---- softmax and cross-entropy, step by step

RNG = np.random.default_rng(0)
X, W, B, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(3, 4)), RNG.normal(size=4), np.array([0, 3, 1, 1, 2, 0])
Z = X @ W + B
P, T = softmax(Z), np.eye(4)[Y]
D_Z = (P - T) / 6


def cross_entropy(x, W, b, y):
    z = x @ W + b
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean()


@pytest.fixture(scope="module")
def classifier():
    return examiner_of(cross_entropy, {"x": X, "W": W, "b": B, "y": Y})


def test_the_gradients_of_a_loss_in_numpy_are_right(classifier):
    verdicts = classifier.judge({"d_z": D_Z, "d_W": X.T @ D_Z, "d_b": D_Z.sum(axis=0), "d_x": D_Z @ W.T})
    assert all(verdict.right for verdict in verdicts.values())


STEP_BY_STEP = {  # the mistake, what it says, the gradient, and what is handed in
    "no mean": ("mean", "off by the factor 6", "d_z", P - T),
    "y - p": ("sign", "wrong sign", "d_z", -D_Z),
    "labels": ("labels", "class y + 1", "d_z", (P - np.roll(T, 1, axis=1)) / 6),
    "no target": ("target", "was not subtracted", "d_z", P / 6),
    "1 from every class": ("target", "in every class", "d_z", (P - 1) / 6),
    "over the rows": ("wrong axis", "over axis 0", "d_z", (np.exp(Z) / np.exp(Z).sum(axis=0) - T) / 6),
    "exp alone": ("not normalised", "not divided by its sum", "d_z", (np.exp(Z) - T) / 6),
    "the slope once more": ("wrong derivative", "once more", "d_z", D_Z * P * (1 - P)),
    "further down": ("labels", "right from d_z on, but there", "d_W", X.T @ (P - np.roll(T, 1, axis=1)) / 6),
    "two at once": ("mean and sign", "besides", "d_W", X.T @ (T - P)),
    "averaged": ("averaged", "averaged over axis 0", "d_b", D_Z.mean(axis=0)),
    "transposed": ("transpose", "(4, 3) instead of (3, 4)", "d_W", D_Z.T @ X),
}  # fmt: skip


@pytest.mark.parametrize("name", STEP_BY_STEP)
def test_mistakes_on_paper_are_found_in_a_loss_of_many_steps(classifier, name):
    mistake, words, gradient, answer = STEP_BY_STEP[name]
    verdict = classifier.judge({gradient: answer})[gradient]
    assert verdict.mistake == mistake, verdict
    assert words in verdict.message


def test_a_sigmoid_that_is_written_out():
    w, y = RNG.normal(size=3), np.array([0.0, 1, 1, 0, 1, 0])

    def forward(x, w, y):
        z = x @ w
        p = 1 / (1 + np.exp(-z))
        return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()

    examiner, p = examiner_of(forward, {"x": X, "w": w, "y": y}), 1 / (1 + np.exp(-X @ w))
    assert examiner.judge({"d_z": (p - y) / 6})["d_z"].right
    for answer, mistake in (
        ((p - y) * p * (1 - p) / 6, "wrong derivative"),
        ((p - (1 - y)) / 6, "labels"),
        (p / 6, "missing term"),
    ):
        assert examiner.judge({"d_z": answer})["d_z"].mistake == mistake


# ---- attention by hand

Q, K, V, GOAL = (RNG.normal(size=(4, 3)) for _ in range(4))
A = softmax(Q @ K.T / np.sqrt(3))
D_O = 2 * (A @ V - GOAL)
D_A = D_O @ V.T
D_S = A * (D_A - (D_A * A).sum(axis=1, keepdims=True))


def attention(Q, K, V, goal):
    s = Q @ K.T / np.sqrt(3)
    e = np.exp(s - s.max(axis=1, keepdims=True))
    a = e / e.sum(axis=1, keepdims=True)
    o = a @ V
    return ((o - goal) ** 2).sum()


BY_HAND = {
    "the diagonal": ("only the diagonal", "d_s", A * (1 - A) * D_A),
    "no sum": ("missing term", "d_s", A * D_A),
    "no a": ("missing factor", "d_s", D_A - (D_A * A).sum(axis=1, keepdims=True)),
    "over the queries": ("wrong axis", "d_s", A * (D_A - (D_A * A).sum(axis=0, keepdims=True))),
    "not scaled": ("factor", "d_Q", D_S @ K),
    "a not transposed": ("transpose", "d_V", A @ D_O),
    "Q for K": ("wrong operand", "d_Q", D_S @ Q / np.sqrt(3)),
    "further down": ("only the diagonal", "d_Q", A * (1 - A) * D_A @ K / np.sqrt(3)),
    "not transposed and not scaled": ("transpose and factor", "d_K", D_S @ Q),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_attention_by_hand(name):
    mistake, gradient, answer = BY_HAND[name]
    examiner = examiner_of(attention, {"Q": Q, "K": K, "V": V, "goal": GOAL})
    right = {"d_s": D_S, "d_Q": D_S @ K / np.sqrt(3), "d_K": D_S.T @ Q / np.sqrt(3), "d_V": A.T @ D_O}
    assert all(verdict.right for verdict in examiner.judge(right).values())
    assert examiner.judge({gradient: answer})[gradient].mistake == mistake


def test_a_mistake_in_the_forward_pass_that_a_student_computes_again():
    mask = np.tril(np.ones((4, 4), bool))

    def forward(s, V):
        masked = np.where(mask, s, -1e9)
        e = np.exp(masked - masked.max(axis=1, keepdims=True))
        a = e / e.sum(axis=1, keepdims=True)
        return (a @ V).sum()

    examiner = examiner_of(forward, {"s": Q @ K.T, "V": V})
    ones = np.ones((4, 3))
    assert examiner.judge({"d_V": softmax(np.where(mask, Q @ K.T, -1e9)).T @ ones})["d_V"].right
    verdict = examiner.judge({"d_V": softmax(Q @ K.T).T @ (ones * [1, 1, 1])})["d_V"]
    assert not verdict.right
    assert "in the forward pass" in verdict.message


# ---- functions whose values are no gradients


def adam(w, g, m, v, t):
    """One step."""
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    corrected = m / (1 - 0.9**t)
    size = np.sqrt(v / (1 - 0.999**t))
    w = w - 0.01 * corrected / (size + 1e-8)
    return {"w": w, "m": m, "v": v}


STATE = {name: RNG.uniform(0.5, 1.5, size=5) for name in ("w", "g", "m", "v")} | {"t": 3}
RIGHT = adam(**STATE)
W_OLD, G, M, V_OLD = (STATE[name] for name in ("w", "g", "m", "v"))
CHANGE = W_OLD - RIGHT["w"]

STEPS = {
    "uphill": ("sign", "w", W_OLD + CHANGE),
    "no rate": ("missing factor", "w", W_OLD - 100 * CHANGE),
    "not squared": ("exponent", "v", 0.999 * V_OLD + 0.001 * G),
    "swapped": ("swapped", "m", 0.1 * M + 0.9 * G),
    "only the new": ("missing term", "m", 0.1 * G),
    "not weighted": ("missing factor", "m", M + 0.1 * G),
}


@pytest.mark.parametrize("name", STEPS)
def test_mistakes_in_the_step_of_an_optimizer(name):
    mistake, asked, answer = STEPS[name]
    examiner = Examiner(of_source(adam, STATE))
    assert all(verdict.right for verdict in examiner.judge(RIGHT).values())
    verdict = examiner.judge({asked: answer})[asked]
    assert verdict.mistake == mistake, verdict


def test_what_follows_from_a_wrong_state_is_told_so():
    wrong = 0.1 * M + 0.9 * G
    w = W_OLD - 0.01 * wrong / (1 - 0.9**3) / (np.sqrt(RIGHT["v"] / (1 - 0.999**3)) + 1e-8)
    verdicts = Examiner(of_source(adam, STATE)).judge({"m": wrong, "w": w, "v": RIGHT["v"]})
    assert verdicts["w"].follows == ("m",)
    assert verdicts["v"].right


def test_the_arguments_of_a_function_stay_as_they_are():
    def step(w, g):
        w -= 0.1 * g
        return {"w": w}

    w = np.ones(3)
    examiner = Examiner(of_source(step, {"w": w, "g": np.arange(3.0)}))
    np.testing.assert_array_equal(w, np.ones(3))
    assert examiner.judge({"w": [1, 0.9, 0.8]})["w"].right
    assert examiner.judge({"w": [1, 1.1, 1.2]})["w"].mistake == "sign"


def test_a_function_with_a_loop_is_judged_without_its_lines():
    def powers(x):
        total = np.zeros_like(x)
        for k in range(3):
            total = total + x**k
        return {"total": total}

    x = np.array([1.0, 2.0, 4.0])
    examiner = Examiner(of_source(powers, {"x": x}))
    assert examiner.judge({"total": 1 + x + x**2})["total"].right
    assert examiner.judge({"total": -1 - x - x**2})["total"].mistake == "sign"
    assert examiner.judge({"total": np.array([5.0, 1.0, 2.0])})["total"].mistake == "unknown"


# ---- the table, and what is said


@pytest.mark.parametrize("row", table(), ids=lambda row: f"{ast.unparse(row[0])} as {ast.unparse(row[1])}")
def test_a_row_of_the_table_changes_what_it_matches(row):
    right, wrong, key, _ = row
    before = ast.dump(right)
    changed = {ast.unparse(mutation.tree): mutation for mutation in rewritten(right)}
    assert changed[ast.unparse(wrong)].key in ORDER
    assert key in ORDER
    assert ast.dump(right) == before
    assert "{" not in changed[ast.unparse(wrong)].words


def test_a_name_inside_of_a_loss_is_no_gradient_and_that_is_said():
    with pytest.raises(ValueError, match="p is a step on the way to loss, and not differentiated alone: take d_logits"):
        batch_norm_network().exercise().check(d_p=1.0)


def test_two_changes_in_two_lines():
    x = tg.Tensor(RNG.normal(size=(4, 3)), requires_grad=True, name="x")
    loss = tg.ops.exp(x).named("e").tanh().mean()
    verdict = tg.exercise(loss).check(d_x=-np.exp(x.data) / 12)["d_x"]
    assert verdict.mistake == "no derivative and sign"
