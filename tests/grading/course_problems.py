"""Problems as courses assign them: a teacher's forward pass in NumPy, and the arguments that it is run on.

Where `forward` returns an output and a cache, students get `dout`, the gradient of the output, as in CS231n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.assignments import Assignment
from tinygrad_ce.assignments.recorded import recorded


@dataclass(frozen=True)
class CourseProblem:
    """forward: of the teacher; None for the step of an optimizer. inputs: from a generator and sizes to arguments.

    solution: a right answer. asked: the names of what is asked for, if it is not the gradients of all arguments.
    """

    forward: Callable[..., Any] | None
    inputs: Callable[..., dict[str, Any]]
    solution: Callable[..., Any] | None = None
    asked: tuple[str, ...] = field(default=())

    def assignment(self) -> Assignment:
        """As a teacher would have written it."""
        arguments = self.inputs(np.random.default_rng(0))
        floating = [f"d_{name}" for name, array in arguments.items() if np.asarray(array).dtype.kind == "f"]
        points = dict.fromkeys(self.asked or floating, 1.0)
        return Assignment("problem", "", "", "", self.forward, self.solution, self.inputs, points)

    def loss(self, arguments: dict[str, Any]) -> tg.Tensor:
        """The graph of one call; where an output is asked for, the loss whose gradient at the output is `dout`."""
        inside = {name: array for name, array in arguments.items() if name != "dout"}
        out = recorded(self.forward, inside)
        return (out * arguments["dout"]).sum() if "dout" in arguments else out

    def arguments(self, generator: np.random.Generator, **sizes: int) -> dict[str, Any]:
        """Those of `forward` and, where it computes no loss, the gradient of its output."""
        arguments = self.inputs(generator, **sizes)
        out = self.forward(**arguments)
        shape = np.shape(out[0] if isinstance(out, tuple) else out)
        return {**arguments, "dout": generator.normal(size=shape)} if shape else arguments


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# ---- CS231n: layers


def affine_forward(x, w, b):
    out = x.reshape(len(x), -1) @ w + b
    return out, (x, w, b)


def affine_inputs(generator, n=5, height=2, width=3, outputs=4):
    return {
        "x": generator.normal(size=(n, height, width)),
        "w": generator.normal(size=(height * width, outputs)),
        "b": generator.normal(size=outputs),
    }


def batch_norm_forward(x, gamma, beta):
    mean = x.mean(axis=0)
    var = ((x - mean) ** 2).mean(axis=0)
    std = np.sqrt(var + 1e-5)
    x_hat = (x - mean) / std
    out = gamma * x_hat + beta
    return out, (x, x_hat, mean, var, std, gamma)


def layer_norm_forward(x, gamma, beta):
    mean = x.mean(axis=1, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=1, keepdims=True)
    std = np.sqrt(var + 1e-5)
    x_hat = (x - mean) / std
    out = gamma * x_hat + beta
    return out, (x, x_hat, mean, var, std, gamma)


def norm_inputs(generator, n=6, features=4):
    return {
        "x": generator.normal(size=(n, features)),
        "gamma": generator.normal(size=features),
        "beta": generator.normal(size=features),
    }


def dropout_forward(x, mask):
    out = x * mask / 0.8
    return out, (x, mask)


def dropout_inputs(generator, n=6, features=4):
    return {"x": generator.normal(size=(n, features)), "mask": generator.random((n, features)) < 0.8}


# ---- classifiers and their losses


def softmax_classifier(x, W, b, y):
    z = x @ W + b
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean()


def classifier_inputs(generator, n=6, features=3, classes=4):
    return {
        "x": generator.normal(size=(n, features)),
        "W": generator.normal(size=(features, classes)),
        "b": generator.normal(size=classes),
        "y": generator.integers(classes, size=n),
    }


def softmax_loss(z, y):
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean()


def score_inputs(generator, n=6, classes=4):
    return {"z": generator.normal(size=(n, classes)), "y": generator.integers(classes, size=n)}


def smoothed_loss(z, y):
    classes = z.shape[1]
    target = 0.9 * np.eye(classes)[y] + 0.1 / classes
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(target * log_p).sum(axis=1).mean()


CLASS_WEIGHTS = np.array([1.0, 3.0, 0.5, 2.0])


def weighted_loss(z, y):
    weights = CLASS_WEIGHTS[y]
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(weights * log_p[np.arange(len(y)), y]).sum() / weights.sum()


def svm_loss(z, y):
    rows = np.arange(len(y))
    correct = z[rows, y]
    margins = np.maximum(z - correct.reshape(-1, 1) + 1, 0)
    return (margins.sum() - len(y)) / len(y)


def neuron(x, w, b, y):
    z = x @ w + b
    p = 1 / (1 + np.exp(-z))
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()


def neuron_inputs(generator, n=6, features=3):
    return {
        "x": generator.normal(size=(n, features)),
        "w": generator.normal(size=features),
        "b": generator.normal(),
        "y": generator.integers(2, size=n),
    }


def two_layers(x, W1, b1, W2, b2, y):
    z1 = x @ W1 + b1
    h1 = np.maximum(z1, 0)
    z2 = h1 @ W2 + b2
    e = np.exp(z2 - z2.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean()


def two_layer_inputs(generator, n=7, features=3, hidden=5, classes=4):
    return {
        "x": generator.normal(size=(n, features)),
        "W1": generator.normal(size=(features, hidden)),
        "b1": generator.normal(size=hidden),
        "W2": generator.normal(size=(hidden, classes)),
        "b2": generator.normal(size=classes),
        "y": generator.integers(classes, size=n),
    }


# ---- regression: fast.ai, weight decay, momentum


def linear_regression(x, w, b, t):
    out = x @ w + b
    return ((out[:, 0] - t) ** 2).mean()


def ridge_regression(x, w, b, t):
    out = x @ w + b
    return ((out[:, 0] - t) ** 2).mean() + 0.5 * 0.3 * (w**2).sum()


def regression_inputs(generator, n=6, features=3):
    return {
        "x": generator.normal(size=(n, features)),
        "w": generator.normal(size=(features, 1)),
        "b": generator.normal(size=1),
        "t": generator.normal(size=n),
    }


def momentum_step(w, dw, v):
    v = 0.9 * v - 0.01 * dw
    return {"v": v, "w": w + v}


def momentum_inputs(generator, n=4, features=3):
    return {name: generator.normal(size=(n, features)) for name in ("w", "dw", "v")}


# ---- needle: one operation each


def batched_matmul(A, B):
    return A @ B


def matmul_inputs(generator, batch=5, n=2, inner=3, outputs=4):
    return {"A": generator.normal(size=(batch, n, inner)), "B": generator.normal(size=(inner, outputs))}


def broadcast_to(a):
    return np.broadcast_to(a, (a.shape[0], 4))


def column_inputs(generator, n=3):
    return {"a": generator.normal(size=(n, 1))}


def logsumexp(Z):
    largest = Z.max(axis=1, keepdims=True)
    total = np.exp(Z - largest).sum(axis=1)
    return np.log(total) + largest[:, 0]


def logsumexp_inputs(generator, n=5, classes=3):
    return {"Z": generator.normal(size=(n, classes))}


# ---- recurrent networks, attention, embeddings, pooling


def recurrent(x1, x2, h0, Wx, Wh):
    a1 = x1 @ Wx + h0 @ Wh
    h1 = np.tanh(a1)
    a2 = x2 @ Wx + h1 @ Wh
    h2 = np.tanh(a2)
    return h2


def recurrent_inputs(generator, n=5, features=2, hidden=3):
    return {
        "x1": generator.normal(size=(n, features)),
        "x2": generator.normal(size=(n, features)),
        "h0": generator.normal(size=(n, hidden)),
        "Wx": generator.normal(size=(features, hidden)),
        "Wh": generator.normal(size=(hidden, hidden)),
    }


def attention(Q, K, V):
    S = Q @ K.T / np.sqrt(Q.shape[1])
    e = np.exp(S - S.max(axis=1, keepdims=True))
    P = e / e.sum(axis=1, keepdims=True)
    return P @ V


def causal_attention(Q, K, V):
    causal = np.tril(np.ones((len(Q), len(Q))))
    S = Q @ K.T / np.sqrt(Q.shape[1])
    e = np.exp(S - S.max(axis=1, keepdims=True)) * causal
    P = e / e.sum(axis=1, keepdims=True)
    return P @ V


def attention_inputs(generator, tokens=5, width=3, values=4):
    return {
        "Q": generator.normal(size=(tokens, width)),
        "K": generator.normal(size=(tokens, width)),
        "V": generator.normal(size=(tokens, values)),
    }


def embedding(E, ids):
    return E[ids]


def embedding_inputs(generator, tokens=8, words=5, width=3):
    return {"E": generator.normal(size=(words, width)), "ids": generator.integers(words - 1, size=tokens)}


def max_pool(x):
    return x.reshape(x.shape[0], -1, 2).max(axis=2)


def pool_inputs(generator, n=4, pairs=3):
    return {"x": generator.normal(size=(n, 2 * pairs))}


def unit_rows(x):
    norm = np.sqrt((x**2).sum(axis=1, keepdims=True))
    return x / norm


def row_inputs(generator, n=5, features=3):
    return {"x": generator.normal(size=(n, features))}


# ---- zero to hero


def bowl(a, b, c):
    d = a * b + c
    e = d + a
    return np.tanh(e) * d


def scalar_inputs(generator):
    return {name: generator.normal() for name in "abc"}


def probabilities(logits, Y):
    counts = np.exp(logits)
    counts_sum = counts.sum(axis=1, keepdims=True)
    counts_sum_inv = counts_sum**-1
    probs = counts * counts_sum_inv
    logprobs = np.log(probs)
    return -logprobs[np.arange(len(Y)), Y].mean()


def cmp_inputs(generator, n=6, classes=4):
    return {"logits": generator.normal(size=(n, classes)), "Y": generator.integers(classes, size=n)}


AFFINE = CourseProblem(affine_forward, affine_inputs)
BATCH_NORM = CourseProblem(batch_norm_forward, norm_inputs)
LAYER_NORM = CourseProblem(layer_norm_forward, norm_inputs)
DROPOUT = CourseProblem(dropout_forward, dropout_inputs)
CLASSIFIER = CourseProblem(softmax_classifier, classifier_inputs, asked=("d_z", "d_W", "d_b"))
SOFTMAX_LOSS = CourseProblem(softmax_loss, score_inputs)
SMOOTHED = CourseProblem(smoothed_loss, score_inputs)
WEIGHTED = CourseProblem(weighted_loss, score_inputs)
SVM = CourseProblem(svm_loss, score_inputs)
NEURON = CourseProblem(neuron, neuron_inputs, asked=("d_z", "d_w", "d_b"))
TWO_LAYERS = CourseProblem(two_layers, two_layer_inputs, asked=("d_z2", "d_W2", "d_b2", "d_z1", "d_W1", "d_b1"))
REGRESSION = CourseProblem(linear_regression, regression_inputs, asked=("d_out", "d_w", "d_b"))
RIDGE = CourseProblem(ridge_regression, regression_inputs, asked=("d_w", "d_b"))
MOMENTUM = CourseProblem(None, momentum_inputs, momentum_step, asked=("v", "w"))
MATMUL = CourseProblem(batched_matmul, matmul_inputs)
BROADCAST = CourseProblem(broadcast_to, column_inputs)
LOGSUMEXP = CourseProblem(logsumexp, logsumexp_inputs)
RECURRENT = CourseProblem(recurrent, recurrent_inputs, asked=("d_a2", "d_Wx", "d_Wh"))
ATTENTION = CourseProblem(attention, attention_inputs, asked=("d_P", "d_S", "d_Q", "d_K", "d_V"))
CAUSAL = CourseProblem(causal_attention, attention_inputs)
EMBEDDING = CourseProblem(embedding, embedding_inputs)
MAX_POOL = CourseProblem(max_pool, pool_inputs)
UNIT_ROWS = CourseProblem(unit_rows, row_inputs)
BOWL = CourseProblem(bowl, scalar_inputs)
CMP = CourseProblem(
    probabilities,
    cmp_inputs,
    asked=("d_logprobs", "d_probs", "d_counts_sum_inv", "d_counts_sum", "d_counts", "d_logits"),
)
