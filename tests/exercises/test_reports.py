"""The exercise: what it does to the graph, the names in it, its reports, hints and solutions."""

from __future__ import annotations

import numpy as np
import pytest
from exercises.networks import NETWORKS, batch_norm_network, without
from fused import ready_gradient

import tinygrad_ce as tg
from tinygrad_ce.ancestry import edges
from tinygrad_ce.exercises import Report, Verdict
from tinygrad_ce.program.textbook import one_hot

# ---- what it does to the graph


def test_gradients_are_hidden_and_can_be_put_back(net):
    network = batch_norm_network()
    network.loss.backward()
    tensors = _tensors(network.loss)
    before = [tensor.grad.copy() for tensor in tensors]
    exercise = network.exercise()
    assert all(tensor.grad is None for tensor in tensors)
    assert exercise.check(network.g)
    assert all(tensor.grad is None for tensor in tensors)
    exercise.reveal()
    for tensor, grad in zip(tensors, before, strict=True):
        np.testing.assert_array_equal(tensor.grad, grad)


def test_revealed_without_a_backward_pass():
    network = batch_norm_network()
    network.exercise().reveal()
    for tensor in _tensors(network.loss):
        name = tensor.name and f"d_{tensor.name}"
        if name in network.g:
            np.testing.assert_allclose(tensor.grad, network.g[name], rtol=1e-9)
        assert tensor.grad is not None


def _tensors(loss):
    found, stack = {}, [loss]
    while stack:
        tensor = stack.pop()
        found[tensor.serial] = tensor
        stack += [x for x, _ in edges(tensor)]
    return list(found.values())


def test_nothing_else_changes():
    network = batch_norm_network()
    data = {tensor.serial: tensor.data.copy() for tensor in _tensors(network.loss)}
    ready = [ready_gradient(tensor) is None for tensor in _tensors(network.loss)]
    np.random.seed(3)
    tg.seed(3)
    exercise = network.exercise()
    exercise.check({name: np.ones(shape) for name, shape in exercise.shapes.items()})
    exercise.hint()
    exercise.solution()
    drawn, ours = np.random.random(), tg.nn.init.generator().random()
    np.random.seed(3)
    tg.seed(3)
    assert (drawn, ours) == (np.random.random(), tg.nn.init.generator().random())
    for tensor in _tensors(network.loss):
        np.testing.assert_array_equal(tensor.data, data[tensor.serial])
    assert ready == [ready_gradient(tensor) is None for tensor in _tensors(network.loss)]
    network.loss.backward()
    assert exercise.check({tensor: tensor.grad for tensor in _tensors(network.loss)})


def test_what_was_handed_in_is_not_changed_and_may_change_later(net):
    answer = net.g["d_logits"] * 8
    kept = answer.copy()
    exercise = net.exercise()
    exercise.check(d_logits=answer)
    np.testing.assert_array_equal(answer, kept)
    answer[...] = 0
    assert exercise.check(d_b3=kept.sum(axis=0))["d_b3"].mistake == "upstream"


def test_parameters_that_have_been_changed():
    """After an optimizer's step no gradient by hand can be right: that is said, instead of calling it wrong."""
    network = batch_norm_network()
    exercise = network.exercise()
    weight = next(t for t in _tensors(network.loss) if t.name == "layers.0.W")
    weight.data[...] += 0.1
    with pytest.raises(ValueError, match="W0 was changed after the exercise was made"):
        exercise.check(network.g)
    with pytest.raises(ValueError, match=r"W0.* changed after the loss was computed"):
        tg.exercise(network.loss)


# ---- names


def test_parameters_may_be_called_by_their_path_or_be_given_themselves(net):
    exercise = net.exercise()
    for key in ("d_W0", "W0", "layers.0.W", "d_layers.0.W", "layers_0_W", "d_layers_0_W"):
        assert exercise.check({key: net.g["d_W0"]}).verdicts[0].name == "d_W0"
    weight = next(t for t in _tensors(net.loss) if t.name == "layers.0.W")
    assert exercise.check({weight: net.g["d_W0"]})
    assert exercise.check(layers_0_W=net.g["d_W0"], d_b0=net.g["d_b0"])


def test_a_report_knows_the_names_that_were_used(net):
    report = net.exercise().check({"layers.0.W": net.g["d_W0"]})
    assert report["layers.0.W"] is report["d_W0"]


def test_a_tensor_that_is_called_like_a_gradient():
    x = tg.Tensor([0.5, 1.5], requires_grad=True, name="x")
    other = tg.ops.exp(x).named("d_x")
    loss = (other * x).sum()
    exercise = tg.exercise(loss)
    assert exercise.check({x: np.exp(x.data) * (1 + x.data), other: x.data})
    assert exercise.check({x: np.exp(x.data) * x.data}).verdicts[0].mistake == "missing share"
    assert len(set(exercise.names)) == 4
    namespace = {"np": np, "x": x.data, "d_x": other.data, **{node.name: node.value for node in exercise._graph.nodes}}
    exec(exercise.solution(), namespace)
    assert exercise.check({name: namespace[name] for name in exercise.names})


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("d_logit", "(do you mean d_logits"),
        ("d_W1", "do you mean"),
        ("d_layers.0.w", "do you mean d_W0"),
        ("grad_of_everything", "the names are d_loss, d_logits, d_W3, d_b3, d_h1"),
        ("d_x", "x is data, for which no gradient was asked: make it with requires_grad=True"),
        ("y", "y is data"),
    ],
)
def test_a_wrong_name_is_answered_with_those_there_are(net, asked, words):
    exercise = net.exercise()
    for call in (lambda: exercise.check({asked: 1.0}), lambda: exercise.hint(asked), lambda: exercise.solution(asked)):
        with pytest.raises(ValueError, match="there is no gradient") as caught:
            call()
        assert words in str(caught.value)
        assert "d_scale1" in str(caught.value)


def test_two_tensors_of_one_name():
    a, b = (tg.Tensor([1.0, 2.0], requires_grad=True, name="w") for _ in range(2))
    exercise = tg.exercise((a * b * 3).sum())
    assert {"d_w", "d_w_2"} <= set(exercise.names)
    with pytest.raises(ValueError, match="'w' may be any of d_w"):
        exercise.check({"w": 1})
    assert exercise.check({a: b.data * 3, b: a.data * 3})


@pytest.mark.parametrize(
    ("answers", "kind", "words"),
    [
        ({}, ValueError, "nothing was given"),
        ({"d_W0": None}, TypeError, "d_W0 is None"),
        ({"d_W0": "right"}, TypeError, "must be real numbers"),
        ({"d_W0": 1j}, TypeError, "must be real numbers"),
        ({"d_W0": [[1, 2], [3]]}, TypeError, "d_W0 cannot be read as an array"),
        ({"d_W0": object()}, TypeError, "must be real numbers"),
        ({"d_W0": 1, "W0": 1}, ValueError, "d_W0 was given twice"),
        (np.ones(3), TypeError, "by their names: write check(d_loss=...)"),
        ({3: 1}, TypeError, "by its name or its tensor, not by int"),
        ({tg.Tensor(1.0, name="other"): 1}, ValueError, "other is no tensor of this graph"),
    ],
)
def test_what_cannot_be_checked(net, answers, kind, words):
    with pytest.raises(kind) as caught:
        net.exercise().check(answers)
    assert words in str(caught.value)


def test_losses_that_have_no_exercise():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    for loss, kind, words in (
        (tg.Tensor(1.0), ValueError, "has no history"),
        (x * x, ValueError, "a loss is a single number"),
        (1.0, TypeError, "a loss is a Tensor"),
    ):
        with pytest.raises(kind) as caught:
            tg.exercise(loss)
        assert words in str(caught.value)
        assert str(caught.value).startswith("tg.exercise: ")
    with pytest.raises(RuntimeError, match="being traced"):
        tg.trace(lambda x: tg.exercise((x**2).sum()), np.ones(3))


def test_a_gradient_that_is_not_finite_itself():
    x = tg.Tensor([0.0, 4.0], requires_grad=True, name="x")
    with np.errstate(all="ignore"):
        loss = tg.ops.sqrt(x).sum()
        exercise = tg.exercise(loss)
        assert exercise.check(d_x=[np.inf, 0.25])
        assert exercise.check(d_x=[np.inf, 0.5])["d_x"].mistake == "not finite"
        verdict = exercise.check(d_x=[1.0, 0.25])["d_x"]
    assert not verdict.right
    assert "tg.why_nan" in verdict.message


# ---- reports, hints, solutions


def test_the_report_as_text_and_as_html(net):
    report = net.exercise().check(d_loss=1, d_logits=net.g["d_logits"] * 8, d_W3=net.g["d_W3"] * 8)
    text = str(report)
    assert text == repr(report)
    assert text.startswith("  d_loss    right\n  d_logits  wrong (mean): off by the factor 8")
    assert text.endswith("1 of 3 right")
    assert max(map(len, text.splitlines())) <= 100
    assert text.isascii()
    assert len(report) == 3
    assert str(report["d_loss"]) == "d_loss  right"
    page = report._repr_html_()
    assert "<table" in page
    assert '<th scope="row"' in page
    assert "np.log(softmax(logits)[" in page
    with pytest.raises(KeyError, match="d_b3 was not checked"):
        report["d_b3"]


def test_names_are_escaped_in_html():
    tensor = tg.Tensor([1.0, -2.0], requires_grad=True, name="<script>alert(1)</script>")
    exercise = tg.exercise((tg.ops.where(tensor.data > 0, tensor, 0) * 2).sum())
    (name,) = (n for n in exercise.names if n.startswith("d_") and exercise.shapes[n] == (2,) and "script" in n)
    page = exercise.check({tensor: [2.0, 2.0]})._repr_html_()
    assert "<script" not in page
    verdict = Verdict("d_<b>", False, "<i>", "a < b")
    page = Report({"d_<b>": verdict})._repr_html_()
    assert "<b>" not in page
    assert "<i>" not in page
    assert "a &lt; b" in page
    assert name.isidentifier()


def test_the_line_of_the_users_code_is_told(net):
    message = net.verdict(d_logits=net.g["d_logits"] * 8).message
    assert "networks.py:" in message
    assert "(BatchNorm, networks.py:" in net.verdict(d_z1=without(net.g, net.v, "mean")).message


def test_hints_get_stronger_and_go_on_to_the_next(net):
    exercise = net.exercise()
    assert "d_loss" in exercise.hint()
    exercise.check(d_loss=1.0, d_logits=net.g["d_logits"], d_W3=net.g["d_W3"], d_b3=net.g["d_b3"])
    first, second, third, again = (exercise.hint() for _ in range(4))
    assert all("of 3 for d_h1, shape (8, 5)" in hint for hint in (first, second, third))
    assert "h1 is used once:" in first
    assert "logits = np.dot(h1, W3) + b3" in first
    assert "start from d_logits" in first
    assert "W3 (5, 4)" in second
    assert "a product of matrices" in second
    assert "@" not in first + second
    assert "d_h1 = d_logits @ ___.T" in third
    assert "W3 (5, 4)" in third
    assert again == third
    assert repr(first) == str(first)
    several = exercise.hint("d_z1")
    assert "z1 is used 3 times, so that 3 shares add up" in several
    exercise.check(d_h1=net.g["d_h1"])
    assert "hint 1 of 3 for d_t8" in exercise.hint()


@pytest.mark.parametrize("name", NETWORKS)
def test_hints_tell_no_numbers(name):
    network = NETWORKS[name]()
    exercise = network.exercise()
    for gradient, right in network.g.items():
        hints = "".join(exercise.hint(gradient) for _ in range(3))
        for number in np.ravel(right):
            if abs(number) not in (0, 1) and not np.isclose(abs(number) % 0.5, 0):
                assert f"{abs(number):.4g}" not in hints.replace("1e-05", "")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_solution_runs_and_is_right(name):
    network = NETWORKS[name]()
    exercise = network.exercise()
    text = exercise.solution()
    names = {node.name: node.value for node in exercise._graph.nodes}
    functions = {name: op.body for name, op in tg.core.REGISTRY.items()}
    namespace = {"np": np, "one_hot": one_hot, **functions, **names}
    exec(text, namespace)
    assert exercise.check({gradient: namespace[gradient] for gradient in exercise.names})
    for gradient in exercise.names:
        assert exercise.solution(gradient).split(" = ")[0].splitlines()[-1] == gradient
    assert repr(text) == str(text)


def test_the_solution_of_one(net):
    assert net.exercise().solution("d_W3") == "d_W3 = h1.T @ d_logits  # (5, 4)"
    assert net.exercise().solution("layers.3.W") == "d_W3 = h1.T @ d_logits  # (5, 4)"


def test_the_status_of_an_exercise(net):
    exercise = net.exercise()
    exercise.check(d_loss=1, d_logits=net.g["d_logits"] * 8)
    lines = repr(exercise).splitlines()
    assert lines[0] == "18 gradients to compute, in the order of the backward pass:"
    assert lines[1].split() == ["d_loss", "()", "right"]
    assert lines[2].split() == ["d_logits", "(8,", "4)", "wrong", "(mean)"]
    assert lines[3].split() == ["d_W3", "(5,", "4)"]
