"""Two layers

A hidden layer `h = max(0, x @ W1 + b1)` (a ReLU: what is below 0 becomes 0), then scores `z2 = h @ W2 + b2`, softmax,
and the mean of `-log p` of the right classes. Go back through it from the loss: compute the gradients for `z2`, for
the parameters of the second layer, for `h` and `z1`, and for the parameters of the first layer.
"""

import numpy as np

POINTS = {"d_z2": 1, "d_W2": 1, "d_b2": 1, "d_h": 1, "d_z1": 2, "d_W1": 1, "d_b1": 1}

HINTS = {
    "d_z2": [
        "This is softmax with cross-entropy: the probabilities, with 1 subtracted where the right class is.",
        "The loss is a mean over the rows.",
    ],
    "d_W2": ["What went into the layer, transposed, times what comes back out of it. What went in is h."],
    "d_b2": ["A bias is added to every row: sum over them."],
    "d_h": [
        "h went through W2, so that its gradient comes back through W2. Which way round has the shape of h?",
        "d_z2 times W2, transposed.",
    ],
    "d_z1": [
        "The slope of max(0, z1) is 1 where z1 is above 0, and 0 where it is below.",
        "So d_h passes where z1 > 0, and is stopped elsewhere.",
    ],
    "d_W1": ["As for W2, one layer further down: what went in is x."],
    "d_b1": ["As for b2."],
}


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
    h = np.maximum(0, z1)
    z2 = h @ W2 + b2
    e = np.exp(z2 - z2.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean()


def gradients(x, W1, b1, W2, b2, y):
    """The gradients by hand, from the loss down to the first layer."""
    z1 = x @ W1 + b1
    h = np.maximum(0, z1)
    z2 = h @ W2 + b2
    e = np.exp(z2 - z2.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    one_hot = np.eye(W2.shape[1])[y]
    d_z2 = (p - one_hot) / len(y)
    d_W2 = h.T @ d_z2
    d_b2 = d_z2.sum(axis=0)
    d_h = d_z2 @ W2.T
    d_z1 = d_h * (z1 > 0)
    d_W1 = x.T @ d_z1
    d_b1 = d_z1.sum(axis=0)
    return {"d_z2": d_z2, "d_W2": d_W2, "d_b2": d_b2, "d_h": d_h, "d_z1": d_z1, "d_W1": d_W1, "d_b1": d_b1}
