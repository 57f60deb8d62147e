"""Layer normalisation

Layer norm brings each row, alone, to mean 0 and variance 1: `n = (x - mean) / sqrt(variance + 1e-5)` with the mean
and the variance of the row over its columns. Then `a = n * scale + shift`, with one scale and one shift for each
column. The loss is half the mean of `(a - target)^2` over all numbers. Compute the gradients for `a`, `scale`,
`shift`, `n` and `x`. Mind the axes: the norm goes along the rows, and the parameters are shared by them.
"""

import numpy as np

POINTS = {"d_a": 1, "d_scale": 1, "d_shift": 1, "d_n": 1, "d_x": 3}

HINTS = {
    "d_a": ["The derivative of (a - target)^2 / 2 is a - target. The mean is over all numbers: over rows and columns."],
    "d_scale": ["scale has one number for each column, used in every row: which axis is summed over?"],
    "d_shift": ["As for scale, and shift is not multiplied by anything."],
    "d_n": ["n is multiplied by scale, number by number."],
    "d_x": [
        "x is used three times: by itself, in the mean of its row, and in the variance of its row.",
        "It is the rule of batch norm with the axes turned: all means are over the columns, and keep their dimension.",
        "d_x = (d_n - its mean - n * the mean of d_n * n) / s, each mean along the row, with keepdims=True.",
    ],
}


def inputs(generator, n=5, features=4):
    """Arguments of `forward`: n rows, what is aimed at, and the parameters."""
    return {
        "x": generator.normal(size=(n, features)),
        "scale": generator.normal(size=features),
        "shift": generator.normal(size=features),
        "target": generator.normal(size=(n, features)),
    }


def forward(x, scale, shift, target):
    """The loss."""
    centred = x - x.mean(axis=1, keepdims=True)
    variance = (centred**2).mean(axis=1, keepdims=True)
    s = np.sqrt(variance + 1e-5)
    n = centred / s
    a = n * scale + shift
    return ((a - target) ** 2).mean() / 2


def gradients(x, scale, shift, target):
    """The gradients by hand."""
    centred = x - x.mean(axis=1, keepdims=True)
    variance = (centred**2).mean(axis=1, keepdims=True)
    s = np.sqrt(variance + 1e-5)
    n = centred / s
    a = n * scale + shift
    d_a = (a - target) / a.size
    d_scale = (d_a * n).sum(axis=0)
    d_shift = d_a.sum(axis=0)
    d_n = d_a * scale
    d_x = (d_n - d_n.mean(axis=1, keepdims=True) - n * (d_n * n).mean(axis=1, keepdims=True)) / s
    return {"d_a": d_a, "d_scale": d_scale, "d_shift": d_shift, "d_n": d_n, "d_x": d_x}
