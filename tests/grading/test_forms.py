"""The forms in which courses write a backward pass: each with a right function and with a wrong one."""

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.grading.forms import gradients_of

GENERATOR = np.random.default_rng(0)
INPUTS = {"x": GENERATOR.normal(size=(5, 3)), "W": GENERATOR.normal(size=(3, 4)), "b": GENERATOR.normal(size=4)}


def affine(x, W, b):
    """The teacher's."""
    return x @ W + b, (x, W, b)


def judged(student):
    """Whether each gradient of the affine layer is right, in the order d_x, d_W, d_b."""
    grade = tg.grade(student, affine, INPUTS)
    return [verdict.right for verdict in grade.verdicts.values()]


ALL_RIGHT, BIAS_WRONG = [True, True, True], [True, True, False]


def of_cache(factor):
    def backward(dout, cache):
        x, W, _ = cache
        return dout @ W.T, x.T @ dout, factor * dout.sum(axis=0)

    return backward


def of_own_cache(factor):
    def forward(x, W, b):
        return x @ W + b, {"x": x, "W": W}

    def backward(dout, cache):
        return {"dx": dout @ cache["W"].T, "dW": cache["x"].T @ dout, "db": factor * dout.sum(axis=0)}

    return forward, backward


def of_layer(factor):
    class Affine:
        def forward(self, x, W, b):
            self.x, self.W = x, W
            return x @ W + b

        def backward(self, dout):
            return dout @ self.W.T, self.x.T @ dout, factor * dout.sum(axis=0)

    return Affine


def of_node(factor):
    class Affine:
        def gradient(self, out_grad, node):
            x, W, _ = node.inputs
            x, W = x.realize_cached_data(), W.cached_data
            return out_grad @ W.T, x.T @ out_grad, factor * out_grad.sum(axis=0)

    return Affine


def of_node_function(factor):
    return of_node(factor)().gradient


def of_arguments(factor):
    def gradients(x, W, b, dout):
        return {"d_x": dout @ W.T, "d_W": x.T @ dout, "d_b": factor * dout.sum(axis=0)}

    return gradients


def of_torch(factor):
    torch = pytest.importorskip("torch")

    class Affine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, W, b):
            ctx.save_for_backward(x, W)
            return x @ W + b

        @staticmethod
        def backward(ctx, g):
            x, W = ctx.saved_tensors
            return g @ W.T, x.T @ g, factor * g.sum(axis=0)

    return Affine


def of_numbers(factor):
    class Value:
        """As in micrograd."""

        def __init__(self, data, before=()):
            self.data, self.grad, self.before, self.back = data, 0.0, before, lambda: None

        def __add__(self, other):
            other = other if isinstance(other, Value) else Value(other)
            out = Value(self.data + other.data, (self, other))

            def back():
                self.grad += out.grad
                other.grad += factor * out.grad if not other.before else out.grad

            out.back = back
            return out

        def __mul__(self, other):
            other = other if isinstance(other, Value) else Value(other)
            out = Value(self.data * other.data, (self, other))

            def back():
                self.grad += other.data * out.grad
                other.grad += self.data * out.grad

            out.back = back
            return out

        __radd__, __rmul__ = __add__, __mul__

        def backward(self):
            order, seen = [], set()

            def visit(v):
                if v not in seen:
                    seen.add(v)
                    for x in v.before:
                        visit(x)
                    order.append(v)

            visit(self)
            self.grad = 1.0
            for v in reversed(order):
                v.back()

    return Value


FORMS = [of_cache, of_own_cache, of_layer, of_node, of_node_function, of_arguments, of_torch, of_numbers]


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_judged(form):
    assert judged(form(1)) == ALL_RIGHT
    assert judged(form(2)) == BIAS_WRONG


def test_micrograd_itself_is_right():
    engine = pytest.importorskip("micrograd.engine")

    def loss(x, w, b):
        out = x @ w + b
        return (out * out).sum() / 4

    inputs = {"x": GENERATOR.normal(size=(4, 3)), "w": GENERATOR.normal(size=3), "b": np.array(0.5)}
    grade = tg.grade(engine.Value, loss, inputs)
    assert grade.score == 3, grade
    assert not grade.remarks


def test_a_case_with_too_many_numbers_for_a_class_of_numbers_says_so():
    grade = tg.grade(of_numbers(1), lambda x: (x * x).sum(), {"x": GENERATOR.normal(size=(50, 50))})
    assert not grade.verdicts["d_x"].right or grade.score == 1  # it is judged on the smaller ones
    inputs = lambda generator: {"x": generator.normal(size=2500)}  # noqa: E731
    grade = tg.grade(of_numbers(1), lambda x: (x * x).sum(), inputs)
    assert "2500 numbers are too many to compute one by one" in grade.verdicts["d_x"].message


@pytest.mark.parametrize("key", ["d_w", "dw", "grad_w", "w_grad", "g_w", "dL_dw", "w"])
def test_gradients_may_have_the_names_that_courses_use(key):
    assert tg.grade(lambda w: {key: 2 * w}, lambda w: (w * w).sum(), {"w": np.ones(3)}).score == 1


def test_two_names_that_may_be_meant_are_none():
    grade = tg.grade(lambda w: {"dw": 2 * w, "grad_w": w}, lambda w: (w * w).sum(), {"w": np.ones(3)})
    assert grade.verdicts["d_w"].message == "d_w may be dw or grad_w: return one of them, as 'd_w'"


def test_arguments_may_be_called_otherwise_in_the_same_order():
    def loss(x, w):
        return (x * w).sum()

    inputs = {"x": np.array([1.0, -2.0]), "w": np.array([3.0, 0.5])}
    assert tg.grade(lambda data, weights: (weights, data), loss, inputs).score == 2
    assert tg.grade(lambda *arrays: (arrays[1], arrays[0]), loss, inputs).score == 2
    assert tg.grade(lambda **arrays: {"d_x": arrays["w"], "d_w": arrays["x"]}, loss, inputs).score == 2
    assert tg.grade(lambda w, x, eps=1e-5: {"d_x": w, "d_w": x}, loss, inputs).score == 2
    grade = tg.grade(lambda w, other: (w, other), loss, inputs)
    assert "there is no argument other: the arguments are x, w" in grade.verdicts["d_x"].message


def test_loss_and_gradients_may_be_returned_together():
    assert tg.grade(lambda w: (3.0, {"d_w": 2 * w}), lambda w: (w * w).sum(), {"w": np.ones(3)}).score == 1


@pytest.mark.parametrize(
    ("student", "words"),
    [
        (3, "int cannot be graded: expected gradients"),
        (dict, "dict has neither gradient nor backward"),
        (of_cache(1), r"backward\(dout, cache\) needs a forward pass"),
        (of_numbers(1), "a class of numbers such as Value needs a forward pass"),
    ],
)
def test_what_is_no_form_is_refused_in_words(student, words):
    with pytest.raises(TypeError, match=words):
        gradients_of(student, None)
