"""Softmax and cross-entropy

A linear classifier gives each row scores `z = x @ W + b`, softmax makes probabilities of them, `p = exp(z) /
sum(exp(z))` in each row, and the loss is the mean of `-log p` of the right classes. Compute the gradients of the loss
for `z`, `W` and `b`.
"""

import numpy as np

POINTS = {"d_z": 2, "d_W": 1, "d_b": 1}

HINTS = {
    "d_z": [
        "Write the loss of one row without softmax: log(sum(exp(z))) - z[y]. Differentiate both terms.",
        "The derivative of log(sum(exp(z))) is p. What is that of z[y], in the column y and in the others?",
        "p with 1 subtracted in the column of the right class; and the mean has its part in it.",
    ],
    "d_W": [
        "Every row of x meets every column of W. W has the shape (features, classes): which product has that?",
        "The product of x, transposed, with d_z.",
    ],
    "d_b": ["b is added to every row. What is spread going forward is summed going back: over which axis?"],
}


def inputs(generator, n=6, features=3, classes=4):
    """Arguments of `forward`: n rows, and the parameters."""
    return {
        "x": generator.normal(size=(n, features)),
        "W": generator.normal(size=(features, classes)),
        "b": generator.normal(size=classes),
        "y": generator.integers(classes, size=n),
    }


def forward(x, W, b, y):
    """The loss."""
    z = x @ W + b
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean()


def gradients(x, W, b, y):
    """The gradients by hand."""
    z = x @ W + b
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    one_hot = np.eye(W.shape[1])[y]
    d_z = (p - one_hot) / len(y)
    d_W = x.T @ d_z
    d_b = d_z.sum(axis=0)
    return {"d_z": d_z, "d_W": d_W, "d_b": d_b}
