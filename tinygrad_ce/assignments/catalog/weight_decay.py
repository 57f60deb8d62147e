"""Weight decay

Large weights are punished: to half the mean of `(z - y)^2`, with `z = x @ w + b`, the loss adds `decay / 2` times the
sum of the squared weights. The bias is not punished. Compute the gradients of the whole loss for `z`, `w` and `b`.
Then see where the name comes from: in a step `w - rate * d_w`, every weight first gets a little smaller, by the
factor `1 - rate * decay`.
"""

POINTS = {"d_z": 1, "d_w": 2, "d_b": 1}

HINTS = {
    "d_z": ["z stands in the first part of the loss only. The mean divides by the number of rows."],
    "d_w": [
        "w is used twice: in z, and in the sum of squares. Both shares are added.",
        "The derivative of decay / 2 * w^2 is decay * w. There is no mean in this part.",
    ],
    "d_b": ["The bias is in z only: sum d_z."],
}


def inputs(generator, n=6, features=3):
    """Arguments of `forward`: n rows, the parameters, and how strong the decay is."""
    return {
        "x": generator.normal(size=(n, features)),
        "w": generator.normal(size=features),
        "b": generator.normal(size=()),
        "y": generator.normal(size=n),
        "decay": 0.25,
    }


def forward(x, w, b, y, decay):
    """The loss."""
    z = x @ w + b
    fit = ((z - y) ** 2).mean() / 2
    return fit + decay / 2 * (w**2).sum()


def gradients(x, w, b, y, decay):
    """The gradients by hand."""
    z = x @ w + b
    d_z = (z - y) / len(y)
    d_w = x.T @ d_z + decay * w
    d_b = d_z.sum()
    return {"d_z": d_z, "d_w": d_w, "d_b": d_b}
