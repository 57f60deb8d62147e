"""Binary cross-entropy

A neuron answers each row with the probability `p = 1 / (1 + exp(-z))` of a yes, where `z = x @ w + b`. The loss is
the mean of `-(y log p + (1 - y) log(1 - p))`: minus the logarithm of the probability of what is true. Compute the
gradients of the loss for `p`, `z`, `w` and `b`. That for `z` is short, once it is simplified.
"""

import numpy as np

POINTS = {"d_p": 1, "d_z": 2, "d_w": 1, "d_b": 1}

HINTS = {
    "d_p": [
        "Differentiate both logarithms. In each row only one of the two terms is not 0.",
        "The derivative of log(1 - p) is -1 / (1 - p). And the mean divides by the number of rows.",
    ],
    "d_z": [
        "Chain rule: d_p times the derivative of the sigmoid, p (1 - p).",
        "Multiply it out: p and 1 - p cancel. Take first a row with y = 1, then one with y = 0.",
        "What is left is the difference of what was answered and what is true, divided as the mean is.",
    ],
    "d_w": ["Each row adds its x[i] times d_z[i]: as a product of a matrix and a vector."],
    "d_b": ["b is added to every row, so that it gets a share from each of them."],
}


def inputs(generator, n=6, features=3):
    """Arguments of `forward`: n rows, yes (1) or no (0) for each, and the parameters."""
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
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()


def gradients(x, w, b, y):
    """The gradients by hand."""
    z = x @ w + b
    p = 1 / (1 + np.exp(-z))
    n = len(y)
    d_p = ((1 - y) / (1 - p) - y / p) / n
    d_z = (p - y) / n
    d_w = x.T @ d_z
    d_b = d_z.sum()
    return {"d_p": d_p, "d_z": d_z, "d_w": d_w, "d_b": d_b}
