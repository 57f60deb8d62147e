"""Dropout

While a network trains, dropout sets some numbers of a hidden layer to 0, by chance, and divides the others by the
probability `keep` that a number stays: so the mean stays as it was. Here the dice have been thrown: `mask` is 1 where
a number stays. `h = tanh(x @ W1 + b1)`, `d = h * mask / keep`, `z2 = d @ W2 + b2`, and the loss is half the mean of
`(z2 - target)^2`. Compute the gradients for `z2`, `W2`, `d`, `h`, `z1` and `W1`. In these names, `d_d` is that of
`d`.
"""

import numpy as np

POINTS = {"d_z2": 1, "d_W2": 1, "d_d": 1, "d_h": 2, "d_z1": 2, "d_W1": 1}

HINTS = {
    "d_z2": ["The derivative of (z2 - target)^2 / 2 is z2 - target. The mean is over all numbers of z2."],
    "d_W2": ["What went into the second layer, transposed, times d_z2. Is what went in h, or d?"],
    "d_d": ["d went through W2: its gradient comes back through W2, transposed."],
    "d_h": [
        "Dropout is a multiplication, number by number. By what?",
        "What was dropped going forward gets no gradient, and what stayed is divided by keep here too.",
    ],
    "d_z1": [
        "The derivative of tanh can be written with its result. Its result is h, not d.",
        "tanh' = 1 - tanh^2.",
    ],
    "d_W1": ["What went into the first layer, transposed, times d_z1."],
}


def inputs(generator, n=6, features=3, hidden=5, outputs=2):
    """Arguments of `forward`: n rows, the thrown dice, and the parameters."""
    return {
        "x": generator.normal(size=(n, features)),
        "W1": generator.normal(size=(features, hidden)),
        "b1": generator.normal(size=hidden),
        "W2": generator.normal(size=(hidden, outputs)),
        "b2": generator.normal(size=outputs),
        "mask": generator.integers(2, size=(n, hidden)),
        "keep": 0.5,
        "target": generator.normal(size=(n, outputs)),
    }


def forward(x, W1, b1, W2, b2, mask, keep, target):
    """The loss."""
    z1 = x @ W1 + b1
    h = np.tanh(z1)
    d = h * mask / keep
    z2 = d @ W2 + b2
    return ((z2 - target) ** 2).mean() / 2


def gradients(x, W1, b1, W2, b2, mask, keep, target):
    """The gradients by hand."""
    z1 = x @ W1 + b1
    h = np.tanh(z1)
    d = h * mask / keep
    z2 = d @ W2 + b2
    d_z2 = (z2 - target) / z2.size
    d_W2 = d.T @ d_z2
    d_d = d_z2 @ W2.T
    d_h = d_d * mask / keep
    d_z1 = d_h * (1 - h**2)
    d_W1 = x.T @ d_z1
    return {"d_z2": d_z2, "d_W2": d_W2, "d_d": d_d, "d_h": d_h, "d_z1": d_z1, "d_W1": d_W1}
