"""The eager step by hand: as a good student writes it, with our kernels, and as closures on a tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import our_kernels
from benchmarks.side_by_side import Contender


def parameters_of(weights: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Copies of the weights, and biases of zeros."""
    return [W.copy() for W in weights], [np.zeros(W.shape[1], W.dtype) for W in weights]


def textbook(X: np.ndarray, y: np.ndarray, weights: list[np.ndarray], lr: float) -> Contender:
    """NumPy only: softmax, one-hot labels, the mean of -sum(one_hot * log p); then the chain rule backwards."""
    (W0, W1, W2), (b0, b1, b2) = parameters_of(weights)
    n = len(X)
    identity = np.eye(W2.shape[1], dtype=W2.dtype)

    def step() -> Any:
        nonlocal W0, W1, W2, b0, b1, b2
        h0 = np.tanh(X @ W0 + b0)
        h1 = np.tanh(h0 @ W1 + b1)
        z = h1 @ W2 + b2
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        one_hot = identity[y]
        loss = -np.sum(one_hot * np.log(p)) / n

        d_z = (p - one_hot) / n
        d_h1 = d_z @ W2.T * (1 - h1 * h1)
        d_h0 = d_h1 @ W1.T * (1 - h0 * h0)
        W2 -= lr * (h1.T @ d_z)
        b2 -= lr * d_z.sum(axis=0)
        W1 -= lr * (h0.T @ d_h1)
        b1 -= lr * d_h1.sum(axis=0)
        W0 -= lr * (X.T @ d_h0)
        b0 -= lr * d_h0.sum(axis=0)
        return loss

    return step


def with_our_kernels(X: np.ndarray, y: np.ndarray, weights: list[np.ndarray], lr: float) -> Contender:
    """The same chain rule, but our kernels compute the loss with its gradient, and the updates; products are np.dot."""
    (W0, W1, W2), (b0, b1, b2) = parameters_of(weights)
    ones = np.ones(len(X), X.dtype)

    def step() -> Any:
        h0 = np.tanh(np.dot(X, W0) + b0)
        h1 = np.tanh(np.dot(h0, W1) + b1)
        loss, d_z = our_kernels.cross_entropy(np.dot(h1, W2) + b2, y)

        d_h1 = np.dot(d_z, W2.T) * (1 - h1 * h1)
        d_h0 = np.dot(d_h1, W1.T) * (1 - h0 * h0)
        gradients = (
            *(np.dot(X.T, d_h0), np.dot(ones, d_h0)),
            *(np.dot(h0.T, d_h1), np.dot(ones, d_h1)),
            *(np.dot(h1.T, d_z), np.dot(ones, d_z)),
        )
        for parameter, gradient in zip((W0, b0, W1, b1, W2, b2), gradients, strict=True):
            our_kernels.sgd(parameter, gradient, lr)
        return loss

    return step


class Node:
    """An array and its gradient; operations leave a closure on the tape that passes gradients on."""

    __slots__ = ("data", "grad")

    def __init__(self, data: Any) -> None:
        self.data, self.grad = data, None


def closures(X: np.ndarray, y: np.ndarray, weights: list[np.ndarray], lr: float) -> Contender:
    """A tape of closures as micrograd has, on arrays and with our kernels: no rules, no checks, no names."""
    pairs = [(Node(W), Node(b)) for W, b in zip(*parameters_of(weights), strict=True)]
    ones = np.ones(len(X), X.dtype)
    tape: list[Callable[[], None]] = []

    def affine(x: Node, W: Node, b: Node) -> Node:
        out = Node(np.dot(x.data, W.data) + b.data)

        def pull_back() -> None:
            W.grad, b.grad = np.dot(x.data.T, out.grad), np.dot(ones, out.grad)
            if x is not data:
                x.grad = np.dot(out.grad, W.data.T)

        tape.append(pull_back)
        return out

    def tanh(x: Node) -> Node:
        out = Node(np.tanh(x.data))

        def pull_back() -> None:
            x.grad = out.grad * (1 - out.data * out.data)

        tape.append(pull_back)
        return out

    def cross_entropy(z: Node) -> Node:
        loss, gradient = our_kernels.cross_entropy(z.data, y)
        out = Node(loss)

        def pull_back() -> None:
            z.grad = gradient

        tape.append(pull_back)
        return out

    data = Node(X)

    def step() -> Any:
        h = data
        for i, (W, b) in enumerate(pairs):
            h = affine(h, W, b)
            if i + 1 < len(pairs):
                h = tanh(h)
        cost = cross_entropy(h)
        while tape:
            tape.pop()()
        for pair in pairs:
            for node in pair:
                our_kernels.sgd(node.data, node.grad, lr)
        return cost.data

    return step
