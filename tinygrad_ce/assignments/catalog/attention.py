"""Attention by hand

Each position of a sequence asks with its query `q`, and every position answers with its key `k` and its value `v`.
The scores are `s = q @ k.T / sqrt(width)`, softmax along each row makes weights `a` of them, and the output of a
position is the weighted mean of the values: `o = a @ v`. The loss is half the mean of `(o - target)^2`. Compute the
gradients for `o`, `v`, `a`, `s`, `q` and `k`.
"""

import numpy as np

POINTS = {"d_o": 1, "d_v": 1, "d_a": 1, "d_s": 3, "d_q": 1, "d_k": 1}

HINTS = {
    "d_o": ["The derivative of (o - target)^2 / 2 is o - target. The mean is over all numbers of o."],
    "d_v": ["o is a product of two matrices, a @ v. The gradient of the second one: the first, transposed, times d_o."],
    "d_a": ["The gradient of the first factor of a @ v: d_o times the second, transposed."],
    "d_s": [
        "In a row of softmax, each weight depends on each score: a larger score takes from the weights of all others.",
        "The derivative of a[i] for s[j] is a[i] (1 - a[i]) where i = j, and -a[i] a[j] elsewhere. "
        "Sum over the weights.",
        "In each row: a times (d_a minus the sum of d_a * a over the row, with keepdims=True).",
    ],
    "d_q": ["s is q @ k.T divided by a number. Do not forget to divide."],
    "d_k": [
        "k stands transposed in q @ k.T. Compute the gradient of k.T first, then transpose it.",
        "d_s, transposed, times q, and divided as s is.",
    ],
}


def inputs(generator, positions=5, width=4, outputs=3):
    """Arguments of `forward`: a query, a key and a value for each position."""
    return {
        "q": generator.normal(size=(positions, width)),
        "k": generator.normal(size=(positions, width)),
        "v": generator.normal(size=(positions, outputs)),
        "target": generator.normal(size=(positions, outputs)),
    }


def forward(q, k, v, target):
    """The loss."""
    s = q @ k.T / np.sqrt(q.shape[1])
    e = np.exp(s - s.max(axis=1, keepdims=True))
    a = e / e.sum(axis=1, keepdims=True)
    o = a @ v
    return ((o - target) ** 2).mean() / 2


def gradients(q, k, v, target):
    """The gradients by hand."""
    s = q @ k.T / np.sqrt(q.shape[1])
    e = np.exp(s - s.max(axis=1, keepdims=True))
    a = e / e.sum(axis=1, keepdims=True)
    o = a @ v
    d_o = (o - target) / o.size
    d_v = a.T @ d_o
    d_a = d_o @ v.T
    d_s = a * (d_a - (d_a * a).sum(axis=1, keepdims=True))
    d_q = d_s @ k / np.sqrt(q.shape[1])
    d_k = d_s.T @ q / np.sqrt(q.shape[1])
    return {"d_o": d_o, "d_v": d_v, "d_a": d_a, "d_s": d_s, "d_q": d_q, "d_k": d_k}
