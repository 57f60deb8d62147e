"""Forty functions as students write them, each with the mistake that it contains; no right one is among them.

They were written down from what courses assign (CS231n, Deep Learning Systems, Zero to Hero, D2L, fast.ai, transformers
by hand) before the search for mistakes was; an entry is not changed so that a search finds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from grading.course_problems import (
    AFFINE,
    ATTENTION,
    BATCH_NORM,
    BOWL,
    BROADCAST,
    CAUSAL,
    CLASS_WEIGHTS,
    CLASSIFIER,
    CMP,
    DROPOUT,
    EMBEDDING,
    LAYER_NORM,
    LOGSUMEXP,
    MATMUL,
    MAX_POOL,
    MOMENTUM,
    NEURON,
    RECURRENT,
    REGRESSION,
    RIDGE,
    SMOOTHED,
    SOFTMAX_LOSS,
    SVM,
    TWO_LAYERS,
    UNIT_ROWS,
    WEIGHTED,
    CourseProblem,
    softmax,
)


@dataclass(frozen=True)
class Planted:
    """A student's function. wrong: the gradient with the mistake. keys: those by which a fair judge may name it."""

    student: Any
    problem: CourseProblem
    wrong: str
    keys: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the function or class."""
        return self.student.__name__

    def is_named_by(self, key: str | None) -> bool:
        """Whether a verdict says what the mistake is; "a and b" is "b and a"."""
        return key is not None and {*key.split(" and ")} in [{*accepted.split(" and ")} for accepted in self.keys]


PLANTED: list[Planted] = []


def planted(problem: CourseProblem, wrong: str, *keys: str) -> Callable[[Any], Any]:
    """Puts a function into the list."""

    def keep(student: Any) -> Any:
        PLANTED.append(Planted(student, problem, wrong, keys))
        return student

    return keep


# ---- CS231n: affine, dropout, norms


@planted(AFFINE, "d_w", "transpose")
def affine_sides_exchanged(dout, cache):
    x, w, _ = cache
    dx = (dout @ w.T).reshape(x.shape)
    dw = dout.T @ x.reshape(len(x), -1)
    db = dout.sum(axis=0)
    return dx, dw, db


@planted(AFFINE, "d_x", "shape")
def affine_not_shaped_back(dout, cache):
    x, w, _ = cache
    dx = dout @ w.T
    dw = x.reshape(len(x), -1).T @ dout
    db = dout.sum(axis=0)
    return dx, dw, db


@planted(DROPOUT, "d_x", "missing factor", "factor", "no derivative")
def dropout_not_scaled(dout, cache):
    _, mask = cache
    return dout * mask


@planted(BATCH_NORM, "d_x", "missing share")
def batch_norm_without_the_mean(dout, cache):
    x, x_hat, mean, var, std, gamma = cache
    n = len(x)
    d_beta = dout.sum(axis=0)
    d_gamma = (dout * x_hat).sum(axis=0)
    d_x_hat = dout * gamma
    d_var = (d_x_hat * (x - mean) * -0.5 * (var + 1e-5) ** -1.5).sum(axis=0)
    d_x = d_x_hat / std + d_var * 2 * (x - mean) / n
    return d_x, d_gamma, d_beta


@planted(BATCH_NORM, "d_gamma", "wrong operand", "wrong value")
def batch_norm_gamma_with_x(dout, cache):
    x, x_hat, _, _, std, gamma = cache
    n = len(x)
    d_beta = dout.sum(axis=0)
    d_gamma = (dout * x).sum(axis=0)
    d_x_hat = dout * gamma
    d_x = (n * d_x_hat - d_x_hat.sum(axis=0) - x_hat * (d_x_hat * x_hat).sum(axis=0)) / (n * std)
    return d_x, d_gamma, d_beta


@planted(BATCH_NORM, "d_x", "no derivative", "missing factor")
def batch_norm_alt_without_gamma(dout, cache):
    x, x_hat, _, _, std, _ = cache
    n = len(x)
    d_beta = dout.sum(axis=0)
    d_gamma = (dout * x_hat).sum(axis=0)
    d_x = (n * dout - d_beta - x_hat * d_gamma) / (n * std)
    return d_x, d_gamma, d_beta


@planted(BATCH_NORM, "d_gamma", "factor")
def batch_norm_of_a_sample(x, gamma, beta, dout):
    mean, std = x.mean(axis=0), np.sqrt(x.var(axis=0, ddof=1) + 1e-5)
    x_hat = (x - mean) / std
    return {"d_gamma": (dout * x_hat).sum(axis=0), "d_beta": dout.sum(axis=0)}


@planted(BATCH_NORM, "d_x", "wrong operand", "wrong value", "exponent")
def batch_norm_by_the_variance(dout, cache):
    x, x_hat, mean, var, _, gamma = cache
    n = len(x)
    d_x_hat = dout * gamma
    d_var = (d_x_hat * (x - mean) * -0.5 * (var + 1e-5) ** -1.5).sum(axis=0)
    d_x_mean = d_x_hat / (var + 1e-5) + d_var * 2 * (x - mean) / n
    d_x = d_x_mean - d_x_mean.mean(axis=0)
    return d_x, (dout * x_hat).sum(axis=0), dout.sum(axis=0)


@planted(LAYER_NORM, "d_x", "wrong axis")
def layer_norm_over_the_batch(dout, cache):
    _, x_hat, _, _, std, gamma = cache
    d_gamma, d_beta = (dout * x_hat).sum(axis=0), dout.sum(axis=0)
    d_x_hat = dout * gamma
    d_x = (d_x_hat - d_x_hat.mean(axis=0) - x_hat * (d_x_hat * x_hat).mean(axis=0)) / std
    return d_x, d_gamma, d_beta


@planted(LAYER_NORM, "d_x", "missing share")
def layer_norm_without_the_variance(dout, cache):
    _, x_hat, _, _, std, gamma = cache
    d_gamma, d_beta = (dout * x_hat).sum(axis=0), dout.sum(axis=0)
    d_x_hat = dout * gamma
    d_x = (d_x_hat - d_x_hat.mean(axis=1, keepdims=True)) / std
    return d_x, d_gamma, d_beta


# ---- CS231n: losses


@planted(CLASSIFIER, "d_z", "only the diagonal", "only the true class")
def softmax_times_one_minus_softmax(x, W, b, y):
    p = softmax(x @ W + b)
    d_p = -np.eye(W.shape[1])[y] / p / len(y)
    d_z = d_p * p * (1 - p)
    return {"d_z": d_z, "d_W": x.T @ d_z, "d_b": d_z.sum(axis=0)}


@planted(CLASSIFIER, "d_W", "mean and sign")
def naive_loop_never_divided(x, W, b, y):
    d_W = np.zeros_like(W)
    for i in range(len(x)):
        p = softmax(x[i] @ W + b)
        for j in range(W.shape[1]):
            d_W[:, j] += ((j == y[i]) - p[j]) * x[i]
    return {"d_W": d_W}


@planted(SOFTMAX_LOSS, "d_z", "not finite")
def softmax_not_shifted(z, y):
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return {"d_z": p / len(y)}


@planted(SOFTMAX_LOSS, "d_z", "shape")
def one_row_squeezed(z, y):
    d_z = softmax(z) - np.eye(z.shape[1])[y]
    return {"d_z": np.squeeze(d_z) / len(y)}


@planted(SMOOTHED, "d_z", "smoothing", "wrong operand", "target")
def smoothing_forgotten(z, y):
    p = softmax(z)
    p[np.arange(len(y)), y] -= 1
    return {"d_z": p / len(y)}


@planted(WEIGHTED, "d_z", "weights", "factor")
def weights_over_the_number_of_rows(z, y):
    p = softmax(z)
    p[np.arange(len(y)), y] -= 1
    return {"d_z": CLASS_WEIGHTS[y][:, None] * p / len(y)}


@planted(SVM, "d_z", "missing share")
def hinge_without_the_right_class(z, y):
    margins = np.maximum(0, z - z[np.arange(len(y)), y][:, None] + 1)
    return {"d_z": (margins > 0) / len(y)}


@planted(SVM, "d_z", "missing factor", "missing share", "not summed")
def hinge_never_counted(z, y):
    rows = np.arange(len(y))
    margins = np.maximum(0, z - z[rows, y][:, None] + 1)
    margins[rows, y] = 0
    d_z = (margins > 0).astype(float)
    d_z[rows, y] = -1
    return {"d_z": d_z / len(y)}


# ---- one neuron, two layers


@planted(NEURON, "d_z", "missing factor", "twice", "extra factor", "wrong derivative", "no derivative")
def sigmoid_differentiated_twice(x, w, b, y):
    p = 1 / (1 + np.exp(-(x @ w + b)))
    d_z = (p - y) / len(y) * p * (1 - p)
    return {"d_z": d_z, "d_w": x.T @ d_z, "d_b": d_z.sum()}


@planted(TWO_LAYERS, "d_z1", "wrong operand")
def relu_of_the_gradient(x, W1, b1, W2, b2, y):
    h1 = np.maximum(x @ W1 + b1, 0)
    d_z2 = (softmax(h1 @ W2 + b2) - np.eye(len(b2))[y]) / len(y)
    d_z1 = d_z2 @ W2.T
    d_z1[d_z1 <= 0] = 0
    d_W1, d_b1, d_W2, d_b2 = x.T @ d_z1, d_z1.sum(axis=0), h1.T @ d_z2, d_z2.sum(axis=0)
    return {"d_z2": d_z2, "d_W2": d_W2, "d_b2": d_b2, "d_z1": d_z1, "d_W1": d_W1, "d_b1": d_b1}


@planted(TWO_LAYERS, "d_W2", "wrong operand")
def weights_with_what_is_before_relu(x, W1, b1, W2, b2, y):
    z1 = x @ W1 + b1
    d_z2 = (softmax(np.maximum(z1, 0) @ W2 + b2) - np.eye(len(b2))[y]) / len(y)
    d_z1 = d_z2 @ W2.T * (z1 > 0)
    d_W1, d_b1, d_W2, d_b2 = x.T @ d_z1, d_z1.sum(axis=0), z1.T @ d_z2, d_z2.sum(axis=0)
    return {"d_z2": d_z2, "d_W2": d_W2, "d_b2": d_b2, "d_z1": d_z1, "d_W1": d_W1, "d_b1": d_b1}


@planted(TWO_LAYERS, "d_b1", "wrong axis")
def bias_summed_over_the_features(x, W1, b1, W2, b2, y):
    z1 = x @ W1 + b1
    h1 = np.maximum(z1, 0)
    d_z2 = (softmax(h1 @ W2 + b2) - np.eye(len(b2))[y]) / len(y)
    d_z1 = d_z2 @ W2.T * (z1 > 0)
    d_W1, d_b1, d_W2, d_b2 = x.T @ d_z1, d_z1.sum(axis=1), h1.T @ d_z2, d_z2.sum(axis=0)
    return {"d_z2": d_z2, "d_W2": d_W2, "d_b2": d_b2, "d_z1": d_z1, "d_W1": d_W1, "d_b1": d_b1}


# ---- regression, weight decay, momentum


@planted(REGRESSION, "d_out", "shape")
def targets_broadcast_to_a_square(x, w, b, t):
    out = x @ w + b
    d_out = 2 * (out - t) / len(t)
    return {"d_out": d_out, "d_w": x.T @ d_out, "d_b": d_out.sum(axis=0)}


@planted(RIDGE, "d_w", "factor", "missing factor")
def decay_without_its_half(x, w, b, t):
    d_out = 2 * (x @ w + b - t[:, None]) / len(t)
    return {"d_w": x.T @ d_out + 2 * 0.3 * w, "d_b": d_out.sum(axis=0)}


@planted(MOMENTUM, "v", "sign")
def momentum_uphill(w, dw, v):
    v = 0.9 * v + 0.01 * dw
    return {"v": v, "w": w + v}


# ---- Deep Learning Systems: operations


@planted(MATMUL, "d_B", "not summed")
def matmul_not_summed_over_the_batch(out_grad, node):
    a, b = node.inputs
    return out_grad @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ out_grad


@planted(BROADCAST, "d_a", "shape")
def broadcast_without_keepdims(out_grad, node):
    return out_grad.sum(axis=1)


@planted(LOGSUMEXP, "d_Z", "no upstream")
def logsumexp_without_what_comes_from_above(out_grad, node):
    return softmax(node.inputs[0])


# ---- D2L: a recurrent network, unrolled


@planted(RECURRENT, "d_Wh", "missing share")
def only_the_last_step(x1, x2, h0, Wx, Wh, dout):
    h1 = np.tanh(x1 @ Wx + h0 @ Wh)
    d_a2 = dout * (1 - np.tanh(x2 @ Wx + h1 @ Wh) ** 2)
    d_a1 = d_a2 @ Wh.T * (1 - h1**2)
    return {"d_a2": d_a2, "d_Wx": x1.T @ d_a1 + x2.T @ d_a2, "d_Wh": h1.T @ d_a2}


@planted(RECURRENT, "d_a2", "wrong value")
def tanh_of_nothing(x1, x2, h0, Wx, Wh, dout):
    h1 = np.tanh(x1 @ Wx + h0 @ Wh)
    a2 = x2 @ Wx + h1 @ Wh
    d_a2 = dout * (1 - a2**2)
    d_a1 = d_a2 @ Wh.T * (1 - h1**2)
    return {"d_a2": d_a2, "d_Wx": x1.T @ d_a1 + x2.T @ d_a2, "d_Wh": h0.T @ d_a1 + h1.T @ d_a2}


# ---- a transformer by hand


@planted(ATTENTION, "d_Q", "missing factor", "factor", "no derivative")
def attention_not_scaled_back(Q, K, V, dout):
    P = softmax(Q @ K.T / math.sqrt(Q.shape[1]))
    d_P = dout @ V.T
    d_S = P * (d_P - (d_P * P).sum(axis=1, keepdims=True))
    d_K = d_S.T @ Q / math.sqrt(Q.shape[1])
    return {"d_P": d_P, "d_S": d_S, "d_Q": d_S @ K, "d_K": d_K, "d_V": P.T @ dout}


@planted(ATTENTION, "d_S", "only the diagonal")
def attention_without_jacobian(Q, K, V, dout):
    P = softmax(Q @ K.T / math.sqrt(Q.shape[1]))
    d_P = dout @ V.T
    d_S = d_P * P * (1 - P)
    scale = math.sqrt(Q.shape[1])
    return {"d_P": d_P, "d_S": d_S, "d_Q": d_S @ K / scale, "d_K": d_S.T @ Q / scale, "d_V": P.T @ dout}


@planted(ATTENTION, "d_K", "transpose and missing factor", "transpose and factor", "transpose and no derivative")
def keys_like_queries(Q, K, V, dout):
    P = softmax(Q @ K.T / math.sqrt(Q.shape[1]))
    d_P = dout @ V.T
    d_S = P * (d_P - (d_P * P).sum(axis=1, keepdims=True))
    d_Q = d_S @ K / math.sqrt(Q.shape[1])
    return {"d_P": d_P, "d_S": d_S, "d_Q": d_Q, "d_K": d_S @ Q, "d_V": P.T @ dout}


@planted(CAUSAL, "d_V", "mask", "missing factor", "wrong operand", "wrong value")
def looking_into_the_future(Q, K, V, dout):
    P = softmax(Q @ K.T / math.sqrt(Q.shape[1]))
    return {"d_V": P.T @ dout}


@planted(EMBEDDING, "d_E", "overwritten")
def embedding_written_over(E, ids, dout):
    d_E = np.zeros_like(E)
    d_E[ids] = dout
    return {"d_E": d_E}


@planted(MAX_POOL, "d_x", "kink")
def every_largest_gets_all(x, dout):
    pairs = x.reshape(len(x), -1, 2)
    d_x = (pairs == pairs.max(axis=2, keepdims=True)) * dout[:, :, None]
    return {"d_x": d_x.reshape(x.shape)}


@planted(UNIT_ROWS, "d_x", "missing share")
def the_length_held_constant(x, dout):
    return {"d_x": dout / np.sqrt((x**2).sum(axis=1, keepdims=True))}


# ---- zero to hero: micrograd, and the exercise of every line


class Number:
    """The right class of single numbers, of which two wrong ones are made."""

    def __init__(self, data, children=()):
        self.data, self.grad, self.children = data, 0.0, children
        self._backward = lambda: None

    def __add__(self, other):
        other = other if isinstance(other, Number) else type(self)(other)
        out = type(self)(self.data + other.data, (self, other))

        def _backward():
            self.grad += out.grad
            other.grad += out.grad

        out._backward = _backward
        return out

    def __mul__(self, other):
        other = other if isinstance(other, Number) else type(self)(other)
        out = type(self)(self.data * other.data, (self, other))

        def _backward():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._backward = _backward
        return out

    __radd__, __rmul__ = __add__, __mul__

    def tanh(self):
        out = type(self)(math.tanh(self.data), (self,))

        def _backward():
            self.grad += (1 - out.data**2) * out.grad

        out._backward = _backward
        return out

    def backward(self):
        order, seen = [], set()

        def visit(v):
            if v not in seen:
                seen.add(v)
                for child in v.children:
                    visit(child)
                order.append(v)

        visit(self)
        self.grad = 1.0
        for v in reversed(order):
            v._backward()


@planted(BOWL, "d_a", "overwritten", "missing share")
class AssignedNumber(Number):
    """`=` where `+=` must stand."""

    def __mul__(self, other):
        other = other if isinstance(other, Number) else type(self)(other)
        out = type(self)(self.data * other.data, (self, other))

        def _backward():
            self.grad = other.data * out.grad
            other.grad = self.data * out.grad

        out._backward = _backward
        return out


@planted(BOWL, "d_c", "exponent", "missing factor", "wrong value")
class OneMinusNumber(Number):
    """1 - t where 1 - t * t must stand."""

    def tanh(self):
        out = type(self)(math.tanh(self.data), (self,))

        def _backward():
            self.grad += (1 - out.data) * out.grad

        out._backward = _backward
        return out


@planted(CMP, "d_counts_sum_inv", "not summed")
def broadcast_without_its_sum(logits, Y):
    n = len(Y)
    counts = np.exp(logits)
    counts_sum = counts.sum(1, keepdims=True)
    probs = counts / counts_sum
    d_logprobs = np.zeros_like(logits)
    d_logprobs[range(n), Y] = -1.0 / n
    d_probs = d_logprobs / probs
    d_counts_sum_inv = counts * d_probs
    d_counts_sum = -(counts_sum**-2) * d_counts_sum_inv
    d_counts = d_probs / counts_sum + d_counts_sum
    return {"d_logprobs": d_logprobs, "d_probs": d_probs, "d_counts_sum_inv": d_counts_sum_inv, "d_counts": d_counts}
