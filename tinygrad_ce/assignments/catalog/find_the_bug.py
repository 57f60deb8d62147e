"""Find the bug

Somebody has written the backward pass of a network of two layers: `h = tanh(x @ W1 + b1)`, scores `z2 = h @ W2 + b2`,
softmax, and the mean of `-log p` of the right classes. The network learns, but badly. One line of `gradients` is
wrong: all shapes fit, and no error is raised. Find it, without guessing: compare with numerical slopes. Change one
number of a parameter by a small step `s` up and down, and see whether `(forward(up) - forward(down)) / (2 * s)` is
what `gradients` says. Then mend the line.
"""

import numpy as np

POINTS = {"d_z2": 0, "d_W2": 0, "d_b2": 0, "d_z1": 4, "d_W1": 0, "d_b1": 0}  # the file as it is must not score

HINTS = {
    "d_z1": [
        "Compare the slopes of W2 and b2 first, then those of W1 and b1: between which lines does it go wrong?",
        "What is the derivative of tanh, written with its result?",
    ],
}

STARTER = """
    z1 = x @ W1 + b1
    h = np.tanh(z1)
    z2 = h @ W2 + b2
    e = np.exp(z2 - z2.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    one_hot = np.eye(W2.shape[1])[y]
    d_z2 = (p - one_hot) / len(y)
    d_W2 = h.T @ d_z2
    d_b2 = d_z2.sum(axis=0)
    d_h = d_z2 @ W2.T
    d_z1 = d_h * (1 - z1**2)
    d_W1 = x.T @ d_z1
    d_b1 = d_z1.sum(axis=0)
    return {"d_z2": d_z2, "d_W2": d_W2, "d_b2": d_b2, "d_z1": d_z1, "d_W1": d_W1, "d_b1": d_b1}
"""


def inputs(generator, n=6, features=3, hidden=5, classes=4):
    """Arguments of `forward`: n rows, and the parameters of both layers."""
    return {
        "x": generator.normal(size=(n, features)),
        "W1": generator.normal(size=(features, hidden)),
        "b1": generator.normal(size=hidden),
        "W2": generator.normal(size=(hidden, classes)),
        "b2": generator.normal(size=classes),
        "y": generator.integers(classes, size=n),
    }


def forward(x, W1, b1, W2, b2, y):
    """The loss."""
    z1 = x @ W1 + b1
    h = np.tanh(z1)
    z2 = h @ W2 + b2
    e = np.exp(z2 - z2.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean()


def gradients(x, W1, b1, W2, b2, y):
    """The gradients by hand, mended."""
    z1 = x @ W1 + b1
    h = np.tanh(z1)
    z2 = h @ W2 + b2
    e = np.exp(z2 - z2.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    one_hot = np.eye(W2.shape[1])[y]
    d_z2 = (p - one_hot) / len(y)
    d_W2 = h.T @ d_z2
    d_b2 = d_z2.sum(axis=0)
    d_h = d_z2 @ W2.T
    d_z1 = d_h * (1 - h**2)
    d_W1 = x.T @ d_z1
    d_b1 = d_z1.sum(axis=0)
    return {"d_z2": d_z2, "d_W2": d_W2, "d_b2": d_b2, "d_z1": d_z1, "d_W1": d_W1, "d_b1": d_b1}
