"""One neuron

A neuron weighs its inputs, `z = x @ w + b`, and answers with the probability `p = sigmoid(z) = 1 / (1 + exp(-z))`.
The loss is half the mean of the squared errors: `loss = mean((p - y)^2) / 2`. Compute the gradients of the loss for
`p`, `z`, `w` and `b`, by the chain rule, one step after the other.
"""

import numpy as np

POINTS = {"d_p": 1, "d_z": 2, "d_w": 1, "d_b": 1}

HINTS = {
    "d_p": [
        "The derivative of (p - y)^2 / 2 for p is p - y. How many rows share the mean?",
    ],
    "d_z": [
        "Chain rule: d_z is d_p times the derivative of the sigmoid, number by number.",
        "The derivative of the sigmoid can be written with its result p alone.",
        "sigmoid' = p (1 - p).",
    ],
    "d_w": [
        "z is x @ w + b: a weight touches every row. What does w[0] do to z[0], to z[1], ...?",
        "d_w[k] is the sum over all rows i of x[i, k] d_z[i]: a product of a matrix and a vector.",
    ],
    "d_b": ["b is added to every row, so that it gets a share from each of them."],
}


def inputs(generator, n=6, features=3):
    """Arguments of `forward`: n rows, what is right for them, and the parameters."""
    return {
        "x": generator.normal(size=(n, features)),
        "w": generator.normal(size=features),
        "b": generator.normal(size=()),
        "y": generator.integers(2, size=n).astype(float),
    }


def forward(x, w, b, y):
    """The loss."""
    z = x @ w + b
    p = 1 / (1 + np.exp(-z))
    return ((p - y) ** 2).mean() / 2


def gradients(x, w, b, y):
    """The gradients by hand."""
    z = x @ w + b
    p = 1 / (1 + np.exp(-z))
    d_p = (p - y) / len(y)
    d_z = d_p * p * (1 - p)
    d_w = x.T @ d_z
    d_b = d_z.sum()
    return {"d_p": d_p, "d_z": d_z, "d_w": d_w, "d_b": d_b}
