"""Batch normalisation

Batch norm brings each column of a batch to mean 0 and variance 1, and then lets the network scale and shift it: `n =
(x - mean) / sqrt(variance + 1e-5)` with the mean and the variance of the column over the rows, and `a = n * scale +
shift`. The loss is half the mean of `(a - target)^2` over all numbers. Compute the gradients for `a`, `scale`,
`shift`, `n` and `x`. The last one is hard: each row of `x` changes the mean and the variance of all the others.
"""

import numpy as np

POINTS = {"d_a": 1, "d_scale": 1, "d_shift": 1, "d_n": 1, "d_x": 3}

HINTS = {
    "d_a": ["The derivative of (a - target)^2 / 2 is a - target. The mean is over all numbers: over rows and columns."],
    "d_scale": ["scale is used in every row. What is it multiplied by there? Then sum over the rows."],
    "d_shift": ["shift is added to every row: sum over them."],
    "d_n": ["n is multiplied by scale, number by number."],
    "d_x": [
        "x is used three times: by itself, in the mean, and in the variance. All three shares are added.",
        "Take the three shares of one column, with s = sqrt(variance + 1e-5): the first is d_n / s. The mean takes "
        "away the mean of d_n over the rows, divided by s. The variance takes away a multiple of n.",
        "d_x = (d_n - its mean - n * the mean of d_n * n) / s, each mean over the rows.",
    ],
}


def inputs(generator, n=6, features=4):
    """Arguments of `forward`: n rows, what is aimed at, and the parameters."""
    return {
        "x": generator.normal(size=(n, features)),
        "scale": generator.normal(size=features),
        "shift": generator.normal(size=features),
        "target": generator.normal(size=(n, features)),
    }


def forward(x, scale, shift, target):
    """The loss."""
    centred = x - x.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    s = np.sqrt(variance + 1e-5)
    n = centred / s
    a = n * scale + shift
    return ((a - target) ** 2).mean() / 2


def gradients(x, scale, shift, target):
    """The gradients by hand."""
    centred = x - x.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    s = np.sqrt(variance + 1e-5)
    n = centred / s
    a = n * scale + shift
    d_a = (a - target) / a.size
    d_scale = (d_a * n).sum(axis=0)
    d_shift = d_a.sum(axis=0)
    d_n = d_a * scale
    d_x = (d_n - d_n.mean(axis=0) - n * (d_n * n).mean(axis=0)) / s
    return {"d_a": d_a, "d_scale": d_scale, "d_shift": d_shift, "d_n": d_n, "d_x": d_x}
