"""What tinygrad_ce is, in thirty small tests with numbers from paper: read them first, from top to bottom."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_ce as tg

# ---- a tensor, an operation, its rule


def test_a_tensor_is_an_array_that_may_ask_for_a_gradient() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    assert x.data.tolist() == [1.0, 2.0]
    assert (x.shape, x.dtype, x.name) == ((2,), np.float64, "x")
    assert x.grad is None


def test_an_operation_remembers_how_its_result_was_made() -> None:
    x = tg.Tensor(3.0, requires_grad=True)
    y = x * 4.0
    assert y.item() == 12.0
    assert y.op is tg.ops.mul
    assert y.inputs[0] is x


def test_the_rule_of_a_product_is_the_other_factor() -> None:
    a, b = tg.Tensor(3.0, requires_grad=True), tg.Tensor(4.0, requires_grad=True)
    (a * b).backward()
    assert a.grad == 4.0  # d(a b) / da = b
    assert b.grad == 3.0  # d(a b) / db = a


def test_numpy_works_on_tensors() -> None:
    x = tg.Tensor([0.0, 0.0], requires_grad=True)
    np.sum(np.exp(x)).backward()
    assert x.grad.tolist() == [1.0, 1.0]  # exp is its own derivative, and exp(0) = 1


# ---- the walk back


def test_the_chain_rule_multiplies_along_a_path() -> None:
    x = tg.Tensor(2.0, requires_grad=True)
    square = x * x
    (square * 5.0).backward()
    assert square.grad == 5.0  # each tensor on the way keeps its gradient, too
    assert x.grad == 5.0 * 2 * 2.0


def test_shares_of_a_tensor_that_is_used_twice_add_up() -> None:
    x = tg.Tensor(3.0, requires_grad=True)
    (x * 2.0 + x * 5.0).backward()
    assert x.grad == 2.0 + 5.0


def test_a_second_backward_adds_to_the_first() -> None:
    x = tg.Tensor(3.0, requires_grad=True)
    for _ in range(2):
        (x * 2.0).backward()
    assert x.grad == 4.0  # therefore optimizer.zero_grad() before each step


def test_what_was_broadcast_forward_is_summed_backward() -> None:
    bias = tg.Tensor([1.0, 2.0], requires_grad=True)
    (np.ones((3, 2)) + bias).sum().backward()
    assert bias.grad.tolist() == [3.0, 3.0]  # each of the three rows has used it


def test_the_rule_of_a_matrix_product() -> None:
    x, W = np.array([[1.0, 2.0]]), tg.Tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    (x @ W).sum().backward()
    assert W.grad.tolist() == [[1.0, 1.0], [2.0, 2.0]]  # x.T @ [[1, 1]]


def test_at_its_kink_relu_has_the_slope_zero() -> None:
    x = tg.Tensor([-1.0, 0.0, 1.0], requires_grad=True)
    tg.ops.relu(x).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 1.0]


def test_inside_no_grad_nothing_is_recorded() -> None:
    x = tg.Tensor(3.0, requires_grad=True)
    with tg.no_grad():
        y = x * x
    assert not y.requires_grad
    assert y.op is None


# ---- derivatives of functions


def test_the_derivative_of_a_function_is_a_function() -> None:
    slope = tg.grad(lambda x: x**3)
    assert slope(np.array(2.0)) == 12.0  # 3 x^2


def test_gradients_have_gradients() -> None:
    x = tg.Tensor(2.0, requires_grad=True)
    first = tg.gradients(x**3, x, create_graph=True)
    assert first.item() == 12.0
    assert tg.gradients(first, x) == 12.0  # 6 x


def test_a_numerical_derivative_agrees() -> None:
    def f(x: float) -> float:
        return 1 / (1 + np.exp(-x))

    numerical = (f(1e-5) - f(-1e-5)) / 2e-5
    assert tg.grad(tg.ops.sigmoid)(np.array(0.0)) == pytest.approx(numerical, rel=1e-9)
    assert tg.check.gradcheck(tg.ops.sigmoid, np.array([-1.0, 0.0, 2.0]))


@pytest.mark.usefixtures("registry")
def test_a_primitive_of_your_own_is_a_forward_and_a_rule() -> None:
    @tg.primitive
    def tiny_cube(x):  # type: ignore[no-untyped-def]
        return x * x * x

    @tiny_cube.vjp("x")
    def tiny_cube_x(g, out, x):  # type: ignore[no-untyped-def]
        return g * 3 * x * x

    assert tg.grad(tiny_cube)(np.array(2.0)) == 12.0


# ---- a network


def test_a_dense_layer_is_a_product_and_a_bias() -> None:
    layer = tg.nn.Dense(2, 1)
    layer.W.data[...], layer.b.data[...] = [[2.0], [3.0]], [1.0]
    assert layer(np.array([[10.0, 100.0]])).data.tolist() == [[2 * 10 + 3 * 100 + 1]]


def test_cross_entropy_is_minus_the_logarithm_of_the_right_probability() -> None:
    probabilities = tg.Tensor([[0.25, 0.75]])
    loss = tg.losses.cross_entropy(probabilities, [0])
    assert loss.item() == pytest.approx(np.log(4), rel=1e-15)


def test_its_gradient_after_softmax_is_p_minus_y() -> None:
    logits = tg.Tensor([[0.0, np.log(3)]], requires_grad=True)  # softmax gives 1/4 and 3/4
    tg.losses.softmax_cross_entropy(logits, [0]).backward()
    np.testing.assert_allclose(logits.grad, [[0.25 - 1, 0.75]], rtol=1e-15)


def test_a_confident_model_keeps_all_digits() -> None:
    logits = tg.Tensor([[0.0, -100.0]], requires_grad=True)
    loss = tg.losses.softmax_cross_entropy(logits, [0])
    assert loss.item() == pytest.approx(np.exp(-100.0), rel=1e-15)  # log(1 + e^-100); most libraries say 0


def test_a_step_of_an_optimizer_goes_against_the_gradient() -> None:
    w = tg.Tensor(1.0, requires_grad=True)
    optimizer = tg.optim.SGD([w], lr=0.25)
    (w * w).backward()
    optimizer.step()
    assert w.item() == 1.0 - 0.25 * 2.0


def test_a_training_loop_learns_xor() -> None:
    tg.seed(0)
    x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), [0, 1, 1, 0]
    model = tg.nn.Sequential(tg.nn.Dense(2, 8), tg.nn.Tanh(), tg.nn.Dense(8, 2))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        tg.losses.softmax_cross_entropy(model(x), y).backward()
        optimizer.step()
    assert np.argmax(model(x).data, axis=1).tolist() == y


def test_the_same_seed_gives_the_same_weights() -> None:
    weights = []
    for seed in (7, 7, 8):
        tg.seed(seed)
        weights.append(tg.nn.Dense(3, 3).W.data)
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


# ---- the graph is the program, and it can be looked at


def test_a_loss_is_printed_as_a_program() -> None:
    w = tg.Tensor([2.0, 5.0], requires_grad=True, name="w")
    names: dict[str, object] = {}
    exec(tg.source((w * w).sum().named("loss")), names)
    loss, d_w = names["step"](w.data)  # type: ignore[operator]
    assert loss == 29.0
    assert d_w.tolist() == [4.0, 10.0]


def test_a_training_step_is_traced_and_runs_again() -> None:
    w = tg.Tensor(1.0, requires_grad=True, name="w")
    optimizer = tg.optim.SGD([w], lr=0.5)

    def step(x: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = w * x
        loss.backward()
        optimizer.step()
        return loss

    program = tg.trace(step, np.array(2.0))
    assert "w = w - lr * d_w" in program.source
    assert [float(program.run(np.array(2.0))) for _ in range(3)] == [2.0, 0.0, -2.0]  # w is 1, then 0, then -1


def test_explain_says_where_a_gradient_comes_from() -> None:
    w = tg.Tensor(3.0, requires_grad=True, name="w")
    loss = (w * 2.0 + w * 5.0).named("loss")
    assert "2 + 5 = 7" in str(tg.explain(w, loss))


def test_draw_shows_names_and_numbers() -> None:
    w = tg.Tensor(3.0, requires_grad=True, name="weight")
    picture = tg.draw((w * 14.0).named("answer")).svg
    for text in ("weight", "answer", "42"):
        assert text in picture


# ---- errors teach


def test_the_origin_of_a_nan_is_named() -> None:
    x = tg.Tensor(0.0, requires_grad=True, name="x")
    found = tg.why_nan(np.sqrt(x))  # a root of 0 is fine, but its slope is infinite
    assert found.forward is None
    assert found.backward.op == "sqrt"
    assert "slope of sqrt at 0 is infinite" in str(found)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"matmul: a has shape \(2, 3\) and b has shape \(2, 3\)"):
        tg.Tensor(np.ones((2, 3))) @ tg.Tensor(np.ones((2, 3)))


def test_only_a_scalar_has_a_gradient_without_being_told_of_what() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match="backward"):
        (x * 2.0).backward()
    (x * 2.0).backward(gradient=np.array([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 20.0]


def test_logits_where_probabilities_belong_are_found_out() -> None:
    with pytest.raises(ValueError, match="softmax_cross_entropy"):
        tg.losses.cross_entropy(tg.Tensor([[3.0, -1.0]]), [0])
