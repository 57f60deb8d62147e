"""No right answer is called wrong: a thousand of them, computed in other ways, in other orders and in float32."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from grading import course_problems as course
from grading.course_problems import CourseProblem, softmax
from graphs import drawn_inputs, recorded_graph, run_graph
from random_programs import drawn_graph

import tinygrad_ce as tg

# ---- in what order a student sums


def backwards(a, axis, keepdims=False):
    """From the last to the first."""
    return np.add.reduce(np.flip(a, axis), axis=axis, keepdims=keepdims)


def one_by_one(a, axis, keepdims=False):
    """A loop that adds in place."""
    total = np.zeros_like(np.take(a, 0, axis=axis))
    for part in np.moveaxis(a, axis, 0):
        total += part
    return np.expand_dims(total, axis) if keepdims else total


def by_a_product(a, axis, keepdims=False):
    """A product with ones."""
    total = np.tensordot(np.moveaxis(a, axis, -1), np.ones(a.shape[axis], a.dtype), 1)
    return np.expand_dims(total, axis) if keepdims else total


SUMS = [np.sum, backwards, one_by_one, by_a_product]

# ---- right backward passes: each a function of the arguments and of how it sums


def affine_einsum(total, x, w, b, dout):
    d_x = np.einsum("no,fo->nf", dout, w).reshape(x.shape)
    return {"d_x": d_x, "d_w": np.einsum("nf,no->fo", x.reshape(len(x), -1), dout), "d_b": total(dout, 0)}


def affine_rows(total, x, w, b, dout):
    d_w = np.zeros_like(w)
    for row, d_row in zip(x.reshape(len(x), -1), dout, strict=True):
        d_w += np.outer(row, d_row)
    return {"d_x": np.stack([w @ d_row for d_row in dout]).reshape(x.shape), "d_w": d_w, "d_b": total(dout, 0)}


def norm_chain(axis):
    """Batch norm (axis 0) or layer norm (axis 1), every step for itself."""

    def gradients(total, x, gamma, beta, dout):
        n = x.shape[axis]
        centred = x - total(x, axis, keepdims=True) / n
        inverse = 1 / np.sqrt(total(centred**2, axis, keepdims=True) / n + x.dtype.type(1e-5))
        d_hat = dout * gamma
        d_inverse = total(d_hat * centred, axis, keepdims=True)
        d_centred = d_hat * inverse
        d_centred += centred * (-(inverse**3) * d_inverse / n)
        d_x = d_centred - total(d_centred, axis, keepdims=True) / n
        return {"d_x": d_x, "d_gamma": total(dout * (centred * inverse), 0), "d_beta": total(dout, 0)}

    return gradients


def norm_formula(axis):
    """The three terms on paper; the variance is E[x x] - E[x] E[x]."""

    def gradients(total, x, gamma, beta, dout):
        n = x.shape[axis]
        mean = total(x, axis, keepdims=True) / n
        variance = total(x * x, axis, keepdims=True) / n - mean * mean
        std = np.sqrt(variance + x.dtype.type(1e-5))
        hat = (x - mean) / std
        d = dout * gamma
        d_x = (n * d - total(d, axis, keepdims=True) - hat * total(d * hat, axis, keepdims=True)) / (n * std)
        return {"d_x": d_x, "d_gamma": total(dout * hat, 0), "d_beta": total(dout, 0)}

    return gradients


def dropout_where(total, x, mask, dout):
    return {"d_x": np.where(mask, dout * x.dtype.type(1.25), 0)}


def dropout_divided(total, x, mask, dout):
    return {"d_x": (mask / x.dtype.type(0.8)) * dout}


def onehot(y, classes, dtype):
    return np.eye(classes, dtype=dtype)[y]


def classifier_fused(total, x, W, b, y):
    d_z = (softmax(x @ W + b) - onehot(y, len(b), x.dtype)) / len(y)
    return {"d_z": d_z, "d_W": x.T @ d_z, "d_b": total(d_z, 0)}


def classifier_divided_last(total, x, W, b, y):
    """In place, and the mean at the very end."""
    p = np.exp(x @ W + b)
    p /= total(p, 1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return {"d_z": p / len(y), "d_W": np.einsum("nf,nc->fc", x, p) / len(y), "d_b": total(p, 0) / len(y)}


def classifier_rows(total, x, W, b, y):
    """A Jacobian for each row."""
    d_z = np.zeros((len(x), len(b)), x.dtype)
    d_W = np.zeros_like(W)
    for i, row in enumerate(x):
        p = softmax(row @ W + b)
        d_p = np.zeros_like(p)
        d_p[y[i]] = -1 / p[y[i]] / len(y)
        d_z[i] = (np.diag(p) - np.outer(p, p)) @ d_p
        d_W += np.outer(row, d_z[i])
    return {"d_z": d_z, "d_W": d_W, "d_b": total(d_z, 0)}


def softmax_of_logarithms(total, z, y):
    """p from log p, and the gradient of log p."""
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(total(np.exp(shifted), 1, keepdims=True))
    d_log_p = -onehot(y, z.shape[1], z.dtype) / len(y)
    return {"d_z": d_log_p - np.exp(log_p) * total(d_log_p, 1, keepdims=True)}


def softmax_unshifted(total, z, y):
    e = np.exp(z)
    return {"d_z": (e / total(e, 1, keepdims=True) - onehot(y, z.shape[1], z.dtype)) / len(y)}


def smoothed_fused(total, z, y):
    target = z.dtype.type(0.9) * onehot(y, z.shape[1], z.dtype) + z.dtype.type(0.1) / z.shape[1]
    return {"d_z": (softmax(z) - target) / len(y)}


def smoothed_apart(total, z, y):
    d = softmax(z) - z.dtype.type(0.1) / z.shape[1]
    d[np.arange(len(y)), y] -= z.dtype.type(0.9)
    return {"d_z": d / len(y)}


def weighted_fused(total, z, y):
    w = course.CLASS_WEIGHTS.astype(z.dtype)[y]
    return {"d_z": (softmax(z) - onehot(y, z.shape[1], z.dtype)) * w[:, None] / total(w, 0)}


def hinge_counted(total, z, y):
    rows = np.arange(len(y))
    d = (z - z[rows, y][:, None] + 1 > 0).astype(z.dtype)
    d[rows, y] = 0
    d[rows, y] = -total(d, 1)
    return {"d_z": d / len(y)}


def hinge_loops(total, z, y):
    d = np.zeros_like(z)
    for i, right in enumerate(y):
        for j in range(z.shape[1]):
            if j != right and z[i, j] - z[i, right] + 1 > 0:
                d[i, j] += 1 / len(y)
                d[i, right] -= 1 / len(y)
    return {"d_z": d}


def neuron_fused(total, x, w, b, y):
    d_z = (1 / (1 + np.exp(-(x @ w + b))) - y) / len(y)
    d_z = d_z.astype(x.dtype)
    return {"d_z": d_z, "d_w": total(x * d_z[:, None], 0), "d_b": total(d_z, 0)}


def neuron_chain(total, x, w, b, y):
    p = 1 / (1 + np.exp(-(x @ w + b)))
    d_p = -(y / p - (1 - y) / (1 - p)) / len(y)
    d_z = (d_p * (p * (1 - p))).astype(x.dtype)
    return {"d_z": d_z, "d_w": x.T @ d_z, "d_b": total(d_z, 0)}


def neuron_tanh(total, x, w, b, y):
    """The sigmoid as a tanh of the half."""
    d_z = (0.5 * (np.tanh(0.5 * (x @ w + b)) + 1) - y) / len(y)
    d_z = d_z.astype(x.dtype)
    return {"d_z": d_z, "d_w": np.einsum("n,nf->f", d_z, x), "d_b": total(d_z, 0)}


def layers_fused(total, x, W1, b1, W2, b2, y):
    z1 = x @ W1 + b1
    h1 = z1 * (z1 > 0)
    d_z2 = (softmax(h1 @ W2 + b2) - onehot(y, len(b2), x.dtype)) / len(y)
    d_z1 = np.where(z1 > 0, d_z2 @ W2.T, 0)
    gradients = {"d_z2": d_z2, "d_W2": h1.T @ d_z2, "d_b2": total(d_z2, 0)}
    return {**gradients, "d_z1": d_z1, "d_W1": x.T @ d_z1, "d_b1": total(d_z1, 0)}


def layers_turned(total, x, W1, b1, W2, b2, y):
    """With columns for rows, as the books of mathematicians have it."""
    A = W1.T @ x.T + b1[:, None]
    H = np.maximum(A, 0)
    E = np.exp(W2.T @ H + b2[:, None])
    D2 = (E / total(E, 0, keepdims=True) - onehot(y, len(b2), x.dtype).T) / len(y)
    D1 = W2 @ D2
    D1[A <= 0] = 0
    gradients = {"d_z2": D2.T, "d_W2": H @ D2.T, "d_b2": total(D2, 1)}
    return {**gradients, "d_z1": D1.T, "d_W1": (D1 @ x).T, "d_b1": total(D1, 1)}


def layers_rows(total, x, W1, b1, W2, b2, y):
    """A row at a time, added up in place, the mean at the end."""
    found = {name: np.zeros_like(a) for name, a in (("d_W1", W1), ("d_b1", b1), ("d_W2", W2), ("d_b2", b2))}
    d_z1, d_z2 = [], []
    for row, label in zip(x, y, strict=True):
        z1 = row @ W1 + b1
        d2 = softmax(np.maximum(z1, 0) @ W2 + b2)
        d2[label] -= 1
        d1 = W2 @ d2 * (z1 > 0)
        found["d_W2"] += np.outer(np.maximum(z1, 0), d2)
        found["d_b2"] += d2
        found["d_W1"] += np.outer(row, d1)
        found["d_b1"] += d1
        d_z1.append(d1)
        d_z2.append(d2)
    found |= {"d_z1": np.array(d_z1), "d_z2": np.array(d_z2)}
    return {name: array / len(y) for name, array in found.items()}


def regression_matrix(total, x, w, b, t):
    d_out = 2 * (x @ w + b - t[:, None]) / len(t)
    return {"d_out": d_out, "d_w": x.T @ d_out, "d_b": total(d_out, 0)}


def regression_normal_equations(total, x, w, b, t):
    """The products of the features first."""
    n = len(t)
    d_w = 2 / n * (x.T @ x @ w + b * total(x, 0)[:, None] - x.T @ t[:, None])
    out = x @ w + b
    return {"d_out": 2 / n * (out - t[:, None]), "d_w": d_w, "d_b": 2 / n * total(out - t[:, None], 0)}


def ridge_matrix(total, x, w, b, t):
    found = regression_matrix(total, x, w, b, t)
    return {"d_w": x.dtype.type(0.3) * w + found["d_w"], "d_b": found["d_b"]}


def matmul_summed(total, A, B, dout):
    return {"d_A": dout @ B.T, "d_B": total(np.swapaxes(A, 1, 2) @ dout, 0)}


def matmul_flat(total, A, B, dout):
    flat, d_flat = A.reshape(-1, A.shape[2]), dout.reshape(-1, dout.shape[2])
    return {"d_A": np.einsum("bno,io->bni", dout, B), "d_B": flat.T @ d_flat}


def broadcast_summed(total, a, dout):
    return {"d_a": total(dout, 1, keepdims=True)}


def logsumexp_softmax(total, Z, dout):
    e = np.exp(Z)
    return {"d_Z": dout[:, None] * e / total(e, 1, keepdims=True)}


def logsumexp_difference(total, Z, dout):
    largest = Z.max(axis=1, keepdims=True)
    return {"d_Z": dout[:, None] * np.exp(Z - largest - np.log(total(np.exp(Z - largest), 1, keepdims=True)))}


def recurrent_unrolled(total, x1, x2, h0, Wx, Wh, dout):
    h1 = np.tanh(x1 @ Wx + h0 @ Wh)
    h2 = np.tanh(x2 @ Wx + h1 @ Wh)
    d_a2 = dout - dout * h2 * h2
    d_a1 = (1 - h1) * (1 + h1) * (d_a2 @ Wh.T)
    return {"d_a2": d_a2, "d_Wx": x1.T @ d_a1 + x2.T @ d_a2, "d_Wh": h1.T @ d_a2 + h0.T @ d_a1}


def recurrent_stacked(total, x1, x2, h0, Wx, Wh, dout):
    """Both steps in one product."""
    h1 = np.tanh(x1 @ Wx + h0 @ Wh)
    d_a2 = dout / np.cosh(x2 @ Wx + h1 @ Wh) ** 2
    d_a1 = (d_a2 @ Wh.T) * (1 - h1**2)
    d = np.vstack([d_a1, d_a2])
    return {"d_a2": d_a2, "d_Wx": np.vstack([x1, x2]).T @ d, "d_Wh": np.vstack([h0, h1]).T @ d}


def attention_fused(total, Q, K, V, dout):
    scale = Q.dtype.type(1 / math.sqrt(Q.shape[1]))
    P = softmax(Q @ K.T * scale)
    d_P = dout @ V.T
    d_S = P * (d_P - total(d_P * P, 1, keepdims=True))
    return {"d_P": d_P, "d_S": d_S, "d_Q": d_S @ K * scale, "d_K": d_S.T @ Q * scale, "d_V": P.T @ dout}


def attention_rows(total, Q, K, V, dout):
    """A Jacobian for each row; the queries scaled beforehand."""
    scaled = Q / np.sqrt(Q.shape[1]).astype(Q.dtype)
    P = softmax(scaled @ K.T)
    d_P = np.einsum("iv,jv->ij", dout, V)
    d_S = np.stack([(np.diag(p) - np.outer(p, p)) @ d for p, d in zip(P, d_P, strict=True)])
    d_Q = (d_S @ K) / np.sqrt(Q.shape[1]).astype(Q.dtype)
    return {"d_P": d_P, "d_S": d_S, "d_Q": d_Q, "d_K": d_S.T @ scaled, "d_V": np.einsum("ij,iv->jv", P, dout)}


def attention_by_the_output(total, Q, K, V, dout):
    """The sum in softmax's gradient is that of dout times the output (as FlashAttention has it)."""
    scale = Q.dtype.type(1 / math.sqrt(Q.shape[1]))
    P = softmax(Q @ K.T * scale)
    d_P = dout @ V.T
    d_S = P * (d_P - total(dout * (P @ V), 1, keepdims=True))
    return {"d_P": d_P, "d_S": d_S, "d_Q": d_S @ K * scale, "d_K": (Q.T @ d_S).T * scale, "d_V": P.T @ dout}


def embedding_added(total, E, ids, dout):
    d_E = np.zeros_like(E)
    np.add.at(d_E, ids, dout)
    return {"d_E": d_E}


def embedding_product(total, E, ids, dout):
    return {"d_E": onehot(ids, len(E), E.dtype).T @ dout}


def pool_by_index(total, x, dout):
    d_x = np.zeros((*dout.shape, 2), x.dtype)
    np.put_along_axis(d_x, x.reshape(d_x.shape).argmax(axis=2)[..., None], dout[..., None], axis=2)
    return {"d_x": d_x.reshape(x.shape)}


def unit_rows_projected(total, x, dout):
    norm = np.sqrt(total(x * x, 1, keepdims=True))
    u = x / norm
    return {"d_x": (dout - u * total(u * dout, 1, keepdims=True)) / norm}


def unit_rows_two_shares(total, x, dout):
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    d_x = dout / norm
    d_x -= x * (total(x * dout, 1, keepdims=True) / norm**3)
    return {"d_x": d_x}


def cmp_lines(total, logits, Y):
    n = len(Y)
    counts = np.exp(logits)
    counts_sum = total(counts, 1, keepdims=True)
    probs = counts / counts_sum
    d_logprobs = np.zeros_like(logits)
    d_logprobs[range(n), Y] = -1 / n
    d_probs = d_logprobs / probs
    d_inv = total(counts * d_probs, 1, keepdims=True)
    d_sum = -d_inv / counts_sum**2
    d_counts = d_probs / counts_sum + d_sum
    found = {"d_logprobs": d_logprobs, "d_probs": d_probs, "d_counts_sum_inv": d_inv, "d_counts_sum": d_sum}
    return {**found, "d_counts": d_counts, "d_logits": (softmax(logits) - onehot(Y, logits.shape[1], logits.dtype)) / n}


def cmp_in_place(total, logits, Y):
    """counts' gradient by a shorter way, logits' from it."""
    n, counts = len(Y), np.exp(logits)
    counts_sum = total(counts, 1, keepdims=True)
    d_counts = np.broadcast_to(1 / counts_sum / n, logits.shape).copy()
    d_counts[range(n), Y] -= 1 / counts[range(n), Y] / n
    d_sum = np.full_like(counts_sum, 1 / n) / counts_sum
    return {"d_counts_sum": d_sum, "d_counts": d_counts, "d_logits": d_counts * counts}


RIGHT: dict[str, tuple[CourseProblem, list[Callable[..., Any]]]] = {
    "affine": (course.AFFINE, [affine_einsum, affine_rows]),
    "batch norm": (course.BATCH_NORM, [norm_chain(0), norm_formula(0)]),
    "layer norm": (course.LAYER_NORM, [norm_chain(1), norm_formula(1)]),
    "dropout": (course.DROPOUT, [dropout_where, dropout_divided]),
    "classifier": (course.CLASSIFIER, [classifier_fused, classifier_divided_last, classifier_rows]),
    "softmax loss": (course.SOFTMAX_LOSS, [softmax_of_logarithms, softmax_unshifted]),
    "smoothed": (course.SMOOTHED, [smoothed_fused, smoothed_apart]),
    "weighted": (course.WEIGHTED, [weighted_fused]),
    "svm": (course.SVM, [hinge_counted, hinge_loops]),
    "neuron": (course.NEURON, [neuron_fused, neuron_chain, neuron_tanh]),
    "two layers": (course.TWO_LAYERS, [layers_fused, layers_turned, layers_rows]),
    "regression": (course.REGRESSION, [regression_matrix, regression_normal_equations]),
    "ridge": (course.RIDGE, [ridge_matrix]),
    "matmul": (course.MATMUL, [matmul_summed, matmul_flat]),
    "broadcast": (course.BROADCAST, [broadcast_summed]),
    "logsumexp": (course.LOGSUMEXP, [logsumexp_softmax, logsumexp_difference]),
    "recurrent": (course.RECURRENT, [recurrent_unrolled, recurrent_stacked]),
    "attention": (course.ATTENTION, [attention_fused, attention_rows, attention_by_the_output]),
    "embedding": (course.EMBEDDING, [embedding_added, embedding_product]),
    "max pooling": (course.MAX_POOL, [pool_by_index]),
    "unit rows": (course.UNIT_ROWS, [unit_rows_projected, unit_rows_two_shares]),
    "cmp": (course.CMP, [cmp_lines, cmp_in_place]),
}


# ---- the thousand


def in_float32(arrays):
    """The same in float32; whole numbers and truth values stay."""
    return {k: np.asarray(a, np.float32) if np.asarray(a).dtype.kind == "f" else a for k, a in arrays.items()}


def assert_right(loss: tg.Tensor, answers: list[tuple[str, dict[str, Any]]]) -> int:
    """How many gradients there were among the answers, all of which must be right."""
    exercise = tg.exercise(loss)
    for words, gradients in answers:
        wrong = [verdict for verdict in exercise.check(gradients) if not verdict.right]
        assert not wrong, f"{words}: {wrong[0]}"
    return sum(len(gradients) for _, gradients in answers)


def answers_to(arguments: dict[str, Any], ways: list[Callable[..., Any]], seed: int) -> Iterator[tuple[str, Any]]:
    """Each way with a sum of another order, in float64, with answers rounded to float32, and in float32 throughout."""
    for k, way in enumerate(ways):
        total = SUMS[(seed + k) % len(SUMS)]
        words = f"{way.__name__}, summed by {total.__name__}"
        exact = way(total, **arguments)
        yield words, exact
        yield f"{words}, rounded to float32", in_float32(exact)
        yield f"{words}, in float32", in_float32(way(total, **in_float32(arguments)))


def count_right(name: str) -> int:
    """The right answers to one problem, none of which may be called wrong."""
    problem, ways = RIGHT[name]
    count = 0
    for seed in range(2):
        arguments = problem.arguments(np.random.default_rng(seed))
        count += assert_right(problem.loss(arguments), [*answers_to(arguments, ways, seed)])
    if "n" in inspect.signature(problem.inputs).parameters and name != "batch norm":
        arguments = problem.arguments(np.random.default_rng(3), n=1)
        count += assert_right(problem.loss(arguments), [(way.__name__, way(np.sum, **arguments)) for way in ways])
    arguments = in_float32(problem.arguments(np.random.default_rng(4)))
    return count + assert_right(
        problem.loss(arguments), [(f"{way.__name__}, all in float32", way(np.sum, **arguments)) for way in ways]
    )


def count_right_of_random_programs(seeds: range) -> int:
    """Gradients of random programs, by autograd: those of all leaves that have one, also rounded to float32."""
    count = 0
    for seed in seeds:
        graph, inputs = drawn_graph(seed), drawn_inputs(seed)
        gradients = autograd.grad(lambda xs, graph=graph: run_graph(anp, graph, xs)[0])(inputs)
        loss, _ = recorded_graph(graph, inputs)
        names = tg.exercise(loss).names
        answers = {f"d_leaf{k}": g for k, g in enumerate(gradients) if f"d_leaf{k}" in names}
        count += assert_right(loss, [(f"program {seed}", answers), (f"program {seed}, float32", in_float32(answers))])
    return count


@pytest.mark.parametrize("name", RIGHT)
def test_no_right_function_is_called_wrong(name):
    assert count_right(name) > 0


def test_no_right_gradient_of_a_random_program_is_called_wrong():
    assert count_right_of_random_programs(range(30)) > 100


def graded_wrong(name: str) -> list[str]:
    """What `tg.grade` says of the right functions of a problem that it calls wrong; that must be nothing.

    Left out: a value that a function does not compute, and NaN, which a softmax that is not shifted gives where it
    overflows.
    """
    problem, ways = RIGHT[name]
    wrong = []
    for way in ways:
        graded = tg.grade(_of_arguments(way), problem.assignment())
        other = [v for v in graded.verdicts.values() if not v.right and v.mistake not in ("missing", "not finite")]
        wrong += [f"{way.__name__}: {verdict}" for verdict in other if not verdict.follows]
    return wrong


def _of_arguments(way: Callable[..., Any]) -> Callable[..., Any]:
    def gradients(**arguments):
        with np.errstate(all="ignore"):
            return way(np.sum, **arguments)

    return gradients


@pytest.mark.parametrize("name", ["attention", "batch norm", "max pooling", "logsumexp"])
def test_no_right_function_is_graded_wrong(name):
    """On all inputs that a grade tries: one row, equal numbers, large ones."""
    assert graded_wrong(name) == []
