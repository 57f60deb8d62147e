"""Networks, each with a backward pass that a student might write."""

from __future__ import annotations

import numpy as np

import tinygrad_ce as tg


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def logistic(z):
    return 1 / (1 + np.exp(-z))


class Network:
    """A loss, the values of its forward pass, and its gradients by hand: `v` and `g`, by the names of the program."""

    def __init__(self, loss, v, g):
        self.loss, self.v, self.g = loss, v, g

    def exercise(self):
        return tg.exercise(self.loss)

    def verdict(self, **answer):
        """What a new exercise says of one answer."""
        ((name, array),) = answer.items()
        return self.exercise().check(**{name: array})[name]


def batch_norm_network(rows=8, n_in=3, hidden=5, classes=4, activation="tanh", seed=0, dtype=np.float64, order=np.sum):
    """Dense, batch norm, activation, Dense, softmax cross-entropy. order: how the student sums up."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, n_in)).astype(dtype)
    y = rng.integers(classes, size=rows)
    layer = {"tanh": tg.nn.Tanh(), "relu": tg.nn.ReLU(), "sigmoid": tg.nn.Sigmoid()}[activation]
    model = tg.nn.Sequential(tg.nn.Dense(n_in, hidden), tg.nn.BatchNorm(hidden), layer, tg.nn.Dense(hidden, classes))
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    model.astype(dtype)
    logits = model(tg.Tensor(x, name="x")).named("logits")
    loss = tg.losses.softmax_cross_entropy(logits, y)

    v = {"x": x, "y": y}
    v["W0"], v["b0"], v["scale1"], v["shift1"], v["W3"], v["b3"] = (p.data for p in model.parameters())
    v["z1"] = x @ v["W0"] + v["b0"]
    v["t1"], v["t2"] = v["z1"].mean(axis=0), v["z1"].var(axis=0)
    v["t3"], v["t4"] = v["z1"] - v["t1"], v["t2"] + dtype(1e-5)
    v["t5"] = np.sqrt(v["t4"])
    v["t6"] = v["t3"] / v["t5"]
    v["t7"] = v["t6"] * v["scale1"]
    v["t8"] = v["t7"] + v["shift1"]
    forward = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "sigmoid": logistic}[activation]
    h = v["h1"] = forward(v["t8"])
    slope = {"tanh": 1 - h * h, "relu": (v["t8"] > 0).astype(dtype), "sigmoid": h * (1 - h)}[activation]
    v["p"], v["onehot"] = softmax(h @ v["W3"] + v["b3"]), np.eye(classes, dtype=dtype)[y]

    g = {"d_loss": 1.0, "d_logits": (v["p"] - v["onehot"]) / rows}
    g["d_W3"], g["d_b3"] = h.T @ g["d_logits"], order(g["d_logits"], axis=0)
    g["d_h1"] = g["d_logits"] @ v["W3"].T
    g["d_t8"] = g["d_t7"] = g["d_h1"] * slope
    g["d_shift1"] = order(g["d_t8"], axis=0)
    g["d_scale1"] = order(g["d_t7"] * v["t6"], axis=0)
    g["d_t6"] = g["d_t7"] * v["scale1"]
    g["d_t5"] = order(-g["d_t6"] * v["t3"] / v["t4"], axis=0)
    g["d_t4"] = g["d_t2"] = g["d_t5"] / (2 * v["t5"])
    g["d_t3"] = g["d_t6"] / v["t5"]
    g["d_t1"] = -order(g["d_t3"], axis=0)
    n, d_n = v["t6"], g["d_t6"]
    g["d_z1"] = (d_n - d_n.mean(axis=0) - n * (d_n * n).mean(axis=0)) / v["t5"]  # the three terms on paper
    g["d_W0"], g["d_b0"] = x.T @ g["d_z1"], order(g["d_z1"], axis=0)
    return Network(loss, v, g)


def textbook_network(rows=6, seed=1):
    """Dense, ReLU, Dense, Softmax, CrossEntropy, each differentiated for itself."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, 2)), np.arange(rows) % 3
    model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.ReLU(), tg.nn.Dense(4, 3), tg.nn.Softmax())
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    loss = tg.losses.cross_entropy(model(tg.Tensor(x, name="x")), y, fused=False)
    W0, b0, W2, b2 = (p.data for p in model.parameters())
    z1 = x @ W0 + b0
    h1 = np.maximum(z1, 0)
    z2 = h1 @ W2 + b2
    p1, onehot = softmax(z2), np.eye(3)[y]
    g = {"d_loss": 1.0, "d_t3": np.full(rows, 1 / rows), "d_t2": np.full(rows, -1 / rows)}
    g["d_t1"] = np.full((rows, 3), -1 / rows)
    g["d_p1"] = -onehot / p1 / rows
    g["d_z2"] = (p1 - onehot) / rows
    g["d_W2"], g["d_b2"], g["d_h1"] = h1.T @ g["d_z2"], g["d_z2"].sum(0), g["d_z2"] @ W2.T
    g["d_z1"] = g["d_h1"] * (z1 > 0)
    g["d_W0"], g["d_b0"] = x.T @ g["d_z1"], g["d_z1"].sum(0)
    return Network(loss, {"x": x, "z1": z1, "h1": h1, "z2": z2, "p1": p1, "W2": W2, "onehot": onehot}, g)


def binary_network(rows=7, fused=True, seed=2):
    """Dense, Sigmoid, Dense, Sigmoid, binary cross-entropy."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, 2)), rng.integers(2, size=(rows, 1)).astype(float)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Sigmoid(), tg.nn.Dense(3, 1), tg.nn.Sigmoid())
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    loss = tg.losses.binary_cross_entropy(model(tg.Tensor(x, name="x")), y, fused=fused)
    W0, b0, W2, b2 = (p.data for p in model.parameters())
    h1 = logistic(x @ W0 + b0)
    p = logistic(h1 @ W2 + b2)
    g = {"d_loss": 1.0, "d_z2": (p - y) / rows}
    if not fused:
        g["d_t5"] = np.full((rows, 1), 1 / rows)
        g["d_t4"] = g["d_t2"] = g["d_t3"] = -g["d_t5"]
        g["d_t1"] = -(1 - y) / rows / (1 - p)
        g["d_h2"] = (p - y) / (p * (1 - p)) / rows
    g["d_W2"], g["d_b2"], g["d_h1"] = h1.T @ g["d_z2"], g["d_z2"].sum(0), g["d_z2"] @ W2.T
    g["d_z1"] = g["d_h1"] * h1 * (1 - h1)
    g["d_W0"], g["d_b0"] = x.T @ g["d_z1"], g["d_z1"].sum(0)
    return Network(loss, {"x": x, "z1": x @ W0 + b0, "h1": h1, "p": p, "y": y}, g)


NETWORKS = {
    "batch norm and tanh": batch_norm_network,
    "batch norm and relu": lambda: batch_norm_network(activation="relu"),
    "batch norm and sigmoid": lambda: batch_norm_network(activation="sigmoid"),
    "two rows": lambda: batch_norm_network(rows=2, n_in=1, hidden=1, classes=2),
    "float32": lambda: batch_norm_network(dtype=np.float32),
    "textbook": textbook_network,
    "binary": binary_network,
    "binary, unfused": lambda: binary_network(fused=False),
}


def without(g, v, *lost):
    """d_z1 without some of its three shares."""
    rows = len(v["x"])
    shares = {
        "mean": np.broadcast_to(g["d_t1"] / rows, v["z1"].shape),
        "variance": g["d_t2"] * 2 * v["t3"] / rows,
        "itself": g["d_t3"],
    }
    return sum(share for name, share in shares.items() if name not in lost)
