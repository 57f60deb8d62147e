"""Momentum

Gradient descent with momentum keeps a velocity `v` for each weight. In each step the velocity is first `momentum`
times the old one plus the gradient, and then the weight goes against it: `W` minus `rate` times the new velocity. The
model is `z = x @ W`, and its loss half the mean of `(z - target)^2` over all numbers. Compute the gradient `d_W`, and
the velocity and the weight after *two* steps, `v2` and `W2`. The gradient of the second step is that of the moved
weights.
"""

POINTS = {"d_W": 1, "v2": 2, "W2": 2}

HINTS = {
    "d_W": [
        "The gradient for z is (z - target), divided by how many numbers z has.",
        "What went in, transposed, times the gradient for z.",
    ],
    "v2": [
        "First do one whole step: a velocity v1 and weights W1. Then compute the gradient again, at W1.",
        "v1 = momentum * v + d_W, and W1 = W - rate * v1. "
        "v2 is made of v1 and the new gradient, as v1 is of v and d_W.",
    ],
    "W2": ["From W1, against the velocity v2: the whole new velocity, not only the new gradient."],
}


def inputs(generator, n=6, features=3, outputs=2):
    """Arguments: n rows, the weights, their velocity, and the two settings of the optimizer."""
    return {
        "x": generator.normal(size=(n, features)),
        "W": generator.normal(size=(features, outputs)),
        "v": generator.normal(size=(features, outputs)),
        "target": generator.normal(size=(n, outputs)),
        "rate": 0.1,
        "momentum": 0.9,
    }


def gradients(x, W, v, target, rate, momentum):
    """Two steps by hand."""
    d_W = x.T @ (x @ W - target) / target.size
    v1 = momentum * v + d_W
    W1 = W - rate * v1
    d_W1 = x.T @ (x @ W1 - target) / target.size
    v2 = momentum * v1 + d_W1
    W2 = W1 - rate * v2
    return {"d_W": d_W, "v2": v2, "W2": W2}
