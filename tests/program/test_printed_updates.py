"""An optimizer's update in a printed program: one function with named hyperparameters, called for each parameter."""

import numpy as np
import pytest
from program.traced_steps import (
    X,
    Y,
    a_network,
    after,
    as_compiled,
    as_eager,
    as_printed,
    as_traced,
    assert_equals_eager,
    clipping,
    learning,
    parameter,
    world,
)

import tinygrad_ce as tg
from tinygrad_ce.optim import SGD, AdaGrad, Adam, AdamW, Optimizer, RMSprop

ADAM = """
def adam(W, d_W, m, v, t, lr, beta1=0.9, beta2=0.999, eps=1e-08):
    m = beta1 * m + (1 - beta1) * d_W
    v = beta2 * v + (1 - beta2) * (d_W * d_W)
    root = (v * (1 / (1 - beta2 ** t))) ** 0.5
    change = lr / (1 - beta1 ** t) * m / (root + eps)
    W = W - change
    return W, m, v
"""
MOMENTUM = """
def sgd_momentum(W, d_W, v, lr, momentum=0.9):
    v = momentum * v + d_W
    W = W - lr * v
    return W, v
"""
NESTEROV = """
def nesterov(W, d_W, v, lr, weight_decay=0.01, momentum=0.9):
    d_W = d_W + weight_decay * W
    v = momentum * v + d_W
    direction = d_W + momentum * v
    W = W - lr * direction
    return W, v
"""
DECAYED = """
def sgd(W, d_W, lr, weight_decay=0.01):
    d_W = d_W + weight_decay * W
    W = W - lr * d_W
    return W
"""
RMSPROP = """
def rmsprop(W, d_W, v, lr, decay=0.99, eps=1e-08):
    v = decay * v + (1 - decay) * (d_W * d_W)
    W = W - lr * d_W / (v ** 0.5 + eps)
    return W, v
"""
ADAGRAD = """
def adagrad(W, d_W, v, lr, eps=1e-10):
    v = v + d_W * d_W
    W = W - lr * d_W / (v ** 0.5 + eps)
    return W, v
"""
UPDATES = {
    "adam": (Adam, {}, ADAM),
    "momentum": (SGD, {"momentum": 0.9}, MOMENTUM),
    "nesterov": (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, NESTEROV),
    "decayed": (SGD, {"weight_decay": 0.01}, DECAYED),
    "rmsprop": (RMSprop, {}, RMSPROP),
    "adagrad": (AdaGrad, {}, ADAGRAD),
    "adamw": (AdamW, {}, ADAM.replace("adam(", "adamw(").replace("eps", "weight_decay=0.01, eps", 1).replace(
        "    change", "    W = W - lr * weight_decay * W\n    change", 1
    )),
}  # fmt: skip


def functions(text):
    """The functions of a program, by name, without shapes."""
    parts = [part for part in text.split("\n\n\n") if part.startswith("def ")]
    plain = ["\n".join(line.split("  #")[0].rstrip() for line in part.splitlines()) for part in parts]
    return {part[4 : part.index("(")]: part for part in plain}


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_is_what_a_textbook_says(name):
    make, options, expected = UPDATES[name]
    found = functions(tg.trace(a_network(make, **options).step, X, Y).source)
    called = expected.strip()[4 : expected.strip().index("(")]
    assert found[called] == expected.strip()
    assert sum(f"= {called}(" in line for line in found["step"].splitlines()) == 4
    assert "0.9" not in found["step"]


def test_what_an_optimizer_remembers_has_the_name_of_its_parameter():
    step = functions(tg.trace(a_network(Adam).step, X, Y).source)["step"]
    assert "W0, m_W0, v_W0 = adam(W0, d_W0, m_W0, v_W0, t, lr)" in step
    assert "b2, m_b2, v_b2 = adam(b2, d_b2, m_b2, v_b2, t, lr)" in step


def test_plain_descent_needs_no_function():
    found = functions(tg.trace(a_network(SGD).step, X, Y).source)
    assert "W0 = W0 - lr * d_W0" in found["step"]
    assert "sgd" not in found


def two_groups(make=Adam, first=(0.9, 0.999), second=(0.8, 0.99), decay=0.0):
    p, q = parameter(), parameter([0.5, -0.5], "q")
    optimizers = make([p], betas=first), make([q], betas=second, weight_decay=decay)
    return world(learning(lambda x: tg.ops.tanh(x * p).sum() * q.sum(), *optimizers), [p, q], *optimizers)


def test_other_numbers_are_said_in_the_call():
    found = functions(tg.trace(two_groups().step, X[0]).source)
    assert "w, m_w, v_w = adam(w, d_w, m_w, v_w, t, lr)" in found["step"]
    assert "q, m_q, v_q = adam(q, d_q, m_q, v_q, t_2, lr_2, beta1=0.8, beta2=0.99)" in found["step"]


def test_another_rule_is_another_function():
    found = functions(tg.trace(two_groups(decay=0.1).step, X[0]).source)
    assert "d_W = d_W + weight_decay * W" in found["adam_2"]
    assert "= adam_2(q, d_q, m_q, v_q, t_2, lr_2)" in found["step"]
    assert "beta1=0.8, beta2=0.99" in found["adam_2"].splitlines()[0]


class Lion(Optimizer):
    """An optimizer of the user's own, with a number that is called as one of the step is."""

    remembers = ("momentum",)

    def __init__(self, parameters, lr, t, betas):
        self.t, self.betas = t, betas
        super().__init__(parameters, lr)

    def initial_state(self, data):
        return (np.zeros_like(data),)

    def update(self, param, grad, state, lr, step):
        beta1, beta2 = self.betas
        mixed = beta1 * state[0] + (1 - beta1) * grad
        new = param - lr * self.t * tg.ops.tanh(mixed)
        return new, (beta2 * state[0] + (1 - beta2) * grad / step,)


def a_lion():
    return a_network(Lion, lr=0.1, t=3.0, betas=(0.9, 0.99))


def test_an_optimizer_of_ones_own_is_printed_with_its_names():
    found = functions(tg.trace(a_lion().step, X, Y).source)["lion"]
    assert "mixed = beta1 * momentum + (1 - beta1) * d_W" in found
    assert "t_=3.0" in found.splitlines()[0]
    assert "return W, momentum" in found


@pytest.mark.parametrize("make", [a_lion, two_groups, lambda: two_groups(decay=0.1)])
def test_a_printed_update_does_what_the_optimizer_does(make):
    batch = (X, Y) if make is a_lion else (X[0],)
    assert_equals_eager(make, [batch] * 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", UPDATES)
def test_kernels_definitions_texts_and_loops_agree(name, dtype):
    """The gradient is x, to the last bit, so that nothing but the update can differ.

    Kernels and loops may fuse a product and a sum, which NumPy never does.
    """
    make, options, _ = UPDATES[name]

    def a_sum():
        p = parameter(dtype=dtype)
        optimizer = make([p], **options)
        return world(learning(lambda x: (x * p).sum(), optimizer), [p], optimizer)

    batches = [(np.random.default_rng(k).uniform(0.5, 2, size=3).astype(dtype),) for k in range(5)]
    ways = (as_eager, as_traced, as_printed, *([as_compiled] if dtype != np.float16 else []))
    living = {how.__name__: after(a_sum, how, batches)[1] for how in ways}
    for i, traced in enumerate(living["as_traced"]):
        assert {found[i].dtype for found in living.values()} == {traced.dtype}
        np.testing.assert_array_equal(living["as_printed"][i], traced)
        tolerance = 8 * np.finfo(traced.dtype).eps if traced.dtype.kind == "f" else 0
        for found in living.values():
            np.testing.assert_allclose(found[i], traced, rtol=tolerance, atol=tolerance)


def test_clipping_says_what_it_computes():
    step = functions(tg.trace(clipping(0.5).step, X).source)["step"]
    assert "length = np.sqrt(" in step
    assert "shrink = 0.5 / " in step
    assert "norm = length * unit" in step
