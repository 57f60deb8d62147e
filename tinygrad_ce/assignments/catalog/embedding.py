"""An embedding

Words are numbers from 0 on, and each has a row of a table `E`: its vector. A sentence of several words is the mean of
their vectors, `m`, which gets scores `z = m @ W + b`, softmax, and the mean of `-log p` of the right classes as a
loss. Compute the gradients for `z`, `W`, `b`, `m` and `E`. A word may stand in several sentences, and twice in one.
"""

import numpy as np

POINTS = {"d_z": 1, "d_W": 1, "d_b": 1, "d_m": 1, "d_E": 3}

HINTS = {
    "d_z": ["Softmax with cross-entropy: the probabilities, 1 less for the right class, and the mean over sentences."],
    "d_W": ["What went into the layer, transposed, times what comes back out of it. What went in is m."],
    "d_b": ["b is added to every row: sum over them."],
    "d_m": ["m went through W, so that its gradient comes back through W, transposed."],
    "d_E": [
        "Looking up copies a row. So the gradient of that row is the sum of what comes back from all its copies.",
        "Each word of a sentence gets the gradient of the sentence's m, divided by the number of its words.",
        "d_E[words] += ... adds only once where a word stands twice. np.add.at(d_E, words, ...) adds every time.",
    ],
}


def inputs(generator, n=5, words=4, vocabulary=6, features=3, classes=3):
    """Arguments of `forward`: n sentences of the same number of words, and the parameters."""
    return {
        "sentences": generator.integers(vocabulary, size=(n, words)),
        "E": generator.normal(size=(vocabulary, features)),
        "W": generator.normal(size=(features, classes)),
        "b": generator.normal(size=classes),
        "y": generator.integers(classes, size=n),
    }


def forward(sentences, E, W, b, y):
    """The loss."""
    v = E[sentences]  # (n, words, features)
    m = v.mean(axis=1)
    z = m @ W + b
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean()


def gradients(sentences, E, W, b, y):
    """The gradients by hand."""
    v = E[sentences]
    m = v.mean(axis=1)
    z = m @ W + b
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    one_hot = np.eye(W.shape[1])[y]
    d_z = (p - one_hot) / len(y)
    d_W = m.T @ d_z
    d_b = d_z.sum(axis=0)
    d_m = d_z @ W.T
    d_v = np.broadcast_to(d_m[:, np.newaxis, :], v.shape) / v.shape[1]
    d_E = np.zeros_like(E)
    np.add.at(d_E, sentences, d_v)
    return {"d_z": d_z, "d_W": d_W, "d_b": d_b, "d_m": d_m, "d_E": d_E}
