"""Programs: what is printed runs on NumPy alone and gives the loss and the gradients that the engine gives."""

import numpy as np
import pytest
from samples import SAMPLES

import tinygrad_ce as tg
from tinygrad_ce.core import REGISTRY
from tinygrad_ce.program import Program
from tinygrad_ce.program.passes import drop_dead_code, remove_identities, share_common_subexpressions, simplified


def run(program, loss):
    """What the printed program answers, for the arrays that went into the loss."""
    namespace = {}
    exec(program.text(exact=True), namespace)
    assert "tinygrad_ce" not in program.text(exact=True)
    with np.errstate(all="ignore"):
        answers = namespace["step"](*(x.example for x in program.inputs))
    return dict(zip(program.outputs, answers if isinstance(answers, tuple) else (answers,), strict=True))


def assert_printed_equals_eager(loss, leaves, rtol=1e-12):
    eager = tg.gradients(loss, list(leaves.values()))
    for program in (Program.of_loss(loss), simplified(Program.of_loss(loss))):
        answers = run(program, loss)
        np.testing.assert_allclose(answers["loss"], loss.data, rtol=rtol)
        for (name, leaf), expected in zip(leaves.items(), eager, strict=True):
            got = np.asarray(answers[f"d_{name}"])
            assert got.shape == leaf.shape
            assert got.dtype == leaf.dtype
            scale = max(1.0, np.abs(expected).max(initial=0))
            np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * scale)


CASES = [
    (name, i) for name in sorted(REGISTRY) if name in SAMPLES for i, sample in enumerate(SAMPLES[name]) if sample.wrt
]


@pytest.mark.parametrize(("name", "i"), CASES)
def test_every_primitive_prints_what_it_does(name, i):
    sample = SAMPLES[name][i]
    leaves = {f"x{k}": tg.Tensor(sample.inputs[k], requires_grad=True, name=f"x{k}") for k in sample.wrt}
    values = [leaves.get(f"x{k}", x) for k, x in enumerate(sample.inputs)]
    with np.errstate(all="ignore"):
        out = REGISTRY[name](*values, **sample.params)
        if out.size == 0 or not out.requires_grad:
            return
        weights = np.linspace(0.5, 1.5, out.size).reshape(out.shape)
        loss = (out * weights).sum()
        assert_printed_equals_eager(loss, leaves)


def network(dtype, *layers):
    tg.seed(0)
    return tg.nn.Sequential(*layers).astype(dtype)


def leaves_of(model):
    return {name.removeprefix("layers."): p for name, p in model.named_parameters()}


X = np.random.default_rng(0).normal(size=(8, 3))
Y = np.arange(8) % 4
TARGETS = np.eye(4)[Y]
LOSSES = {
    "softmax": (tg.losses.softmax_cross_entropy, Y),
    "smoothed": (lambda z, y: tg.losses.softmax_cross_entropy(z, y, label_smoothing=0.1, weight=[1, 2, 3, 4]), Y),
    "ignoring": (lambda z, y: tg.losses.softmax_cross_entropy(z, y, ignore_index=2), Y),
    "soft": (tg.losses.softmax_cross_entropy, TARGETS),
    "probabilities": (lambda z, y: tg.losses.cross_entropy(tg.ops.softmax(z), y, fused=False), Y),
    "sigmoid": (tg.losses.sigmoid_binary_cross_entropy, TARGETS),
    "mse": (tg.losses.mse, TARGETS),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["Tanh", "ReLU", "Sigmoid"])
def test_a_network_prints_what_it_does(activation, loss, dtype):
    layers = tg.nn.Dense(3, 5), getattr(tg.nn, activation)(), tg.nn.Dense(5, 4)
    model = network(dtype, *layers)
    function, targets = LOSSES[loss]
    targets = targets if targets is Y else targets.astype(dtype)
    cost = function(model(tg.Tensor(X.astype(dtype), name="x")), targets)
    leaves = {f"{name.split('.')[1]}{name.split('.')[0]}": p for name, p in leaves_of(model).items()}
    assert_printed_equals_eager(cost, leaves, rtol=1e-12 if dtype == np.float64 else 2e-5)


def test_batch_norm_dropout_and_embedding_print_what_they_do():
    model = network(np.float64, tg.nn.Embedding(4, 3), tg.nn.BatchNorm(3), tg.nn.Dropout(0.5), tg.nn.Dense(3, 4))
    model.train()
    cost = tg.losses.softmax_cross_entropy(model(Y), Y)
    program = simplified(Program.of_loss(cost))
    answers = run(program, cost)
    parameters = [p for _, p in model.named_parameters()]
    eager = tg.gradients(cost, parameters)
    gradients = [value for name, value in answers.items() if name != "cost"]
    assert len(gradients) == len(parameters)
    for expected in eager:
        assert any(g.shape == expected.shape and np.allclose(g, expected, rtol=1e-12) for g in gradients)


def test_a_small_network_prints_what_a_student_would_write():
    model = network(np.float64, tg.nn.Dense(3, 5), tg.nn.Tanh(), tg.nn.Dense(5, 4))
    text = tg.source(tg.losses.softmax_cross_entropy(model(tg.Tensor(X, name="x")), Y))
    step = text[text.index("def step(") :]
    for line in (
        "def step(x, W0, b0, W2, b2, y):",
        "# forward",
        "z1 = np.dot(x, W0) + b0",
        "h1 = np.tanh(z1)",
        "z2 = np.dot(h1, W2) + b2",
        "e = np.exp(z2 - z2.max(axis=1, keepdims=True))",
        "p = e / e.sum(axis=1, keepdims=True)",
        "n = len(y)",
        "loss = -np.log(p[np.arange(n), y]).mean()",
        "# backward",
        "one_hot = np.eye(4)[y]",
        "d_z2 = (p - one_hot) / n",
        "d_W2 = h1.T @ d_z2",
        "d_b2 = d_z2.sum(axis=0)",
        "d_h1 = d_z2 @ W2.T",
        "d_z1 = d_h1 * (1 - h1 * h1)",
        "d_W0 = x.T @ d_z1",
        "return loss, d_W0, d_b0, d_W2, d_b2",
    ):
        assert sum(line in row for row in step.splitlines()) == 1, line
    assert len(step.splitlines()) < 22
    assert all(len(row) <= 120 for row in text.splitlines())


def test_names_of_the_user_are_kept_and_never_clash():
    a = tg.Tensor(2.0, requires_grad=True, name="my.weird-name")
    b = tg.Tensor(3.0, requires_grad=True, name="my.weird-name")
    hidden = (a * b).named("loss")
    cost = hidden + tg.Tensor(1.0, requires_grad=True, name="lambda") + tg.Tensor(1.0, requires_grad=True)
    program = simplified(Program.of_loss(cost))
    answers = run(program, cost)
    assert "    loss = " in program.text(exact=True)  # the user's name
    assert sorted(float(v) for k, v in answers.items() if k.startswith("d_")) == [1, 1, 2, 3]
    assert answers["cost"] == 8


def test_a_name_that_looks_like_a_gradient_is_not_overwritten():
    """The local gradient of x is not called d_x where the user has a d_x."""
    a, d_x, x, t1 = (
        tg.Tensor(v, requires_grad=True, name=name) for v, name in ((2.0, "a"), (5.0, "d_x"), (3.0, "x"), (0.5, "t1"))
    )
    cost = np.tanh(a * d_x * x * t1 / 30)
    assert_printed_equals_eager(cost, {"a": a, "d_x": d_x, "x": x})


def test_what_a_loss_has_prepared_is_said():
    z = tg.Tensor(np.random.default_rng(0).normal(size=(8, 4)), requires_grad=True, name="z")
    assert "prepared" not in tg.source(tg.losses.softmax_cross_entropy(z, Y))
    assert "# y, w: as the loss has prepared" in tg.source(tg.losses.softmax_cross_entropy(z, Y, ignore_index=1))
    assert "# y, w: as the loss has prepared" in tg.source(tg.losses.softmax_cross_entropy(z, Y, weight=[1, 2, 3, 4]))


def test_a_gradient_that_is_another_one_or_a_constant_is_answered_too():
    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="x")
    y = tg.Tensor([3.0, 4.0], requires_grad=True, name="y")
    answers = run(simplified(Program.of_loss((x + y).sum())), None)
    np.testing.assert_array_equal(answers["d_x"], [1, 1])
    np.testing.assert_array_equal(answers["d_y"], [1, 1])
    alone = tg.Tensor(5.0, requires_grad=True, name="x")
    np.testing.assert_array_equal(run(simplified(Program.of_loss(alone * 1)), None)["d_x"], 1)


def test_each_pass_leaves_what_is_computed_as_it_was():
    x = tg.Tensor(X, requires_grad=True, name="x")
    cost = (tg.ops.exp(x) * tg.ops.exp(x)).reshape(8, 3).sum()
    tg.ops.exp(x).sum()  # nobody needs this one
    program = Program.of_loss(cost)
    expected = tg.gradients(cost, x)
    sizes = {}
    for run_pass in (lambda p: p, remove_identities, share_common_subexpressions, drop_dead_code):
        changed = run_pass(program)
        assert isinstance(changed, Program)
        answers = run(changed, cost)
        np.testing.assert_allclose(answers["d_x"], expected, rtol=1e-13)
        np.testing.assert_allclose(answers["cost"], cost.data, rtol=1e-13)
        sizes[getattr(run_pass, "__name__", "")] = len(changed.instructions)
    assert sizes["remove_identities"] < sizes["<lambda>"]
    assert sizes["share_common_subexpressions"] < sizes["<lambda>"]


def test_what_cannot_be_printed_says_why():
    with pytest.raises(TypeError, match="only a Tensor"):
        tg.source(np.ones(3))
    with pytest.raises(ValueError, match="no history"):
        tg.source(tg.Tensor(1.0))
    with pytest.raises(ValueError, match="single number"):
        tg.source(tg.Tensor([1.0, 2.0], requires_grad=True) * 2)
    with tg.no_grad(), pytest.raises(ValueError, match="no_grad"):
        tg.source(tg.Tensor(1.0, requires_grad=True) * 2)


def test_printing_leaves_the_graph_and_its_gradients_alone():
    x = tg.Tensor(2.0, requires_grad=True)
    cost = x * x
    first = tg.source(cost)
    assert x.grad is None
    assert tg.source(cost) == first
    cost.backward()
    assert x.grad == 4


FACTOR = 3.0


@tg.primitive
def swish_for_print(x):
    return x * tg.ops.sigmoid(x) * FACTOR


@swish_for_print.vjp("x")
def swish_for_print_x(g, out, x):
    s = tg.ops.sigmoid(x)
    return g * FACTOR * (s + x * s * (1 - s))


def test_a_primitive_of_ones_own_prints_with_what_it_calls():
    w = tg.Tensor(X, requires_grad=True, name="w")
    assert_printed_equals_eager(swish_for_print(w).sum(), {"w": w})
    assert "tg." not in tg.source(swish_for_print(w).sum())


def test_what_a_rule_does_to_an_array_is_printed():
    """x is no tensor, and its transpose is the rule's affair."""
    model = network(np.float64, tg.nn.Dense(3, 4))
    for x in (X, np.ones((8, 3))):
        text = tg.source(tg.losses.softmax_cross_entropy(model(x), Y))
        assert "d_W0 = x.T @ d_z1" in text
        assert "def step(x, W0, b0, y):" in text
