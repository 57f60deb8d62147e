"""Names in printed programs: those that the user gave come first, each gradient has its own, and the text runs."""

import numpy as np
import pytest
from program.loops_as_python import loops_as_python
from program.traced_steps import BATCHES, as_compiled, assert_equals_eager, learning, parameter, world

import tinygrad_ce as tg
from tinygrad_ce.optim import Adam
from tinygrad_ce.program import Program
from tinygrad_ce.program.lowered import lowered
from tinygrad_ce.program.names import tidy


def number(value, name):
    return tg.Tensor(value, requires_grad=True, name=name)


def lines(text):
    """The lines of the step of a program, without shapes and spaces at their ends."""
    step = text[text.index("def step(") :]
    return [line.split("#")[0].strip() for line in step.splitlines() if line.split("#")[0].strip()]


def run(text, *arrays):
    """What a printed program answers."""
    namespace = {}
    exec(text, namespace)
    return namespace["step"](*arrays)


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("layers.0.W", "W0"),
        ("blocks.2.inner.1.b", "b2_1"),
        ("x1*w1", "x1w1"),
        ("x1*w1 + x2*w2", "x1w1_x2w2"),
        ("first layer", "first_layer"),
        ("2nd", "x2nd"),
        ("lambda", "lambda_"),
        ("σ(z)", "σz"),
        ("***", "x"),
    ],
)
def test_a_name_becomes_one_that_can_stand_in_a_program(name, printed):
    assert tidy(name) == printed
    assert printed.isidentifier()


def test_names_of_products_are_kept_apart_from_those_of_their_factors():
    """The neuron of Karpathy's lecture on micrograd."""
    x1, x2, w1, w2 = number(2.0, "x1"), number(0.0, "x2"), number(-3.0, "w1"), number(1.0, "w2")
    total = ((x1 * w1).named("x1*w1") + (x2 * w2).named("x2*w2")).named("x1*w1 + x2*w2")
    n = (total + number(6.8813735870195432, "b")).named("n")
    text = tg.source(n.tanh().named("o"))
    assert lines(text)[1:6] == [
        "x1w1 = x1 * w1",
        "x2w2 = x2 * w2",
        "x1w1_x2w2 = x1w1 + x2w2",
        "n = x1w1_x2w2 + b",
        "o = np.tanh(n)",
    ]
    o, d_x1, d_w1, d_x2, d_w2, d_b = run(text, 2.0, -3.0, 0.0, 1.0, 6.8813735870195432)
    np.testing.assert_allclose([o, d_x1, d_w1, d_x2, d_w2, d_b], [0.5**0.5, -1.5, 1.0, 0.5, 0.0, 0.5], atol=1e-12)


def test_each_term_of_a_sum_has_a_gradient_of_its_name():
    a, b, c, f = number(2.0, "a"), number(-3.0, "b"), number(10.0, "c"), number(-2.0, "f")
    d = ((a * b).named("e") + c).named("d")
    text = tg.source((d * f).named("L"))
    assert {"d_e = d_d", "d_c = d_d"} <= {*lines(text)}
    assert lines(text)[-1] == "return L, d_a, d_b, d_c, d_f"
    assert run(text, 2.0, -3.0, 10.0, -2.0) == (-8.0, 6.0, -4.0, -2.0, 4.0)


def test_a_gradient_of_a_term_is_used_by_its_name():
    a, c = number(2.0, "a"), number(10.0, "c")
    text = tg.source(np.tanh((a * a).named("e") + np.exp(c).named("g")))
    assert "d_c = d_g * g" in lines(text)
    assert any(line.endswith("= d_e * a") for line in lines(text))


def test_an_automatic_name_gives_way_to_the_users():
    W = number(np.ones((2, 3)), "W")
    text = tg.source(tg.ops.relu(np.tanh(np.ones((4, 2)) @ W)).named("h1").sum())
    assert "h1 = np.maximum(h2, 0)" in lines(text)


def test_an_automatic_name_gives_way_in_a_traced_step_too():
    W, V = number(np.ones((2, 3)), "W"), number(np.ones((3, 1)), "V")

    def step(x):
        h = np.tanh(x @ W)
        o = ((tg.ops.relu(h).named("h1") + h).named("x1*w1") @ V).sum().named("o")
        o.backward()
        return o, h.named("loss")

    text = tg.trace(step, np.ones((4, 2))).source
    assert lines(text)[-1] == "return o, loss"
    assert {"h1 = np.maximum(loss, 0)", "x1w1 = h1 + loss", "o = z2.sum()"} <= {*lines(text)}


def test_the_loss_is_called_loss_only_where_it_has_no_name():
    W = number(np.ones(3), "W")
    assert lines(tg.source((W * W).sum()))[-1] == "return loss, d_W"
    assert lines(tg.source((W * W).sum().named("cost")))[-1] == "return cost, d_W"


def picked(x):
    return x[0, 1]


def weighed(x):
    return tg.ops.einsum("ij,ij->", x, np.arange(6.0).reshape(2, 3))


REDUCED = [
    picked,
    weighed,
    np.max,
    np.mean,
    np.std,
    np.trace,
    lambda x: tg.ops.logsumexp(x[1], axis=0),
    lambda x: x.T[2][1],
]


@pytest.mark.parametrize("f", REDUCED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_program_whose_loss_is_one_operation_runs(f, dtype):
    """What is upstream of the last operation is the number 1, and a rule may ask for its dtype."""
    x = number(np.array([[0.5, -1.0, 2.0], [1.0, 0.25, -3.0]], dtype), "x")
    loss = f(x)
    loss.backward()
    answers = run(tg.source(loss), *(value.example for value in Program.of_loss(loss).inputs))
    np.testing.assert_allclose(answers[0], loss.data, rtol=1e-6)
    np.testing.assert_allclose(answers[1], x.grad, rtol=1e-6)


def test_a_name_that_can_stand_as_it_is_goes_before_one_that_becomes_it():
    text = tg.source(number(2.0, "w 1") * number(3.0, "w_1") * number(5.0, "w-1"))
    loss, d_w_1, d_w_1_2, d_w1 = run(text, 2.0, 3.0, 5.0)
    assert "step(w_1_2, w_1, w1)" in text
    assert "return loss, d_w_1_2, d_w_1, d_w1" in text
    assert (loss, d_w_1, d_w_1_2, d_w1) == (30.0, 15.0, 10.0, 6.0)


class Net(tg.nn.Module):
    """A model of the user's own, whose forward keeps what it has computed."""

    def __init__(self):
        self.first = tg.Tensor(np.ones((2, 3)), requires_grad=True)
        self.last = tg.Tensor(np.ones((3, 1)), requires_grad=True)

    def forward(self, x):
        scores = x @ self.first
        self.hidden = np.tanh(scores)
        return self.hidden @ self.last


def test_a_variable_names_what_it_holds():
    X, W = np.ones((4, 2)), tg.Tensor(np.ones((2, 3)), requires_grad=True)
    b = tg.Tensor(np.zeros(3), requires_grad=True)
    q = X @ W + b
    cost = (q * q).mean()
    text = tg.source(cost)
    assert lines(text)[:4] == ["def step(X, W, b):", "z1 = X @ W", "q = z1 + b", "t1 = q * q"]
    assert lines(text)[-1] == "return cost, d_W, d_b"
    assert run(text, X, W.data, b.data)[0] == cost.data == 4


def test_a_name_that_was_given_goes_before_a_variable():
    x = number(2.0, "x")
    y = (x * x).named("area")
    z = y * 3.0
    assert lines(tg.source(z))[1:3] == ["area = x * x", "z = area * 3.0"]


def test_the_innermost_variable_wins():
    inner = number(2.0, None)

    def outer_of(x):
        return tg.source(x * x)

    assert "loss = x * x" in lines(outer_of(inner))
    assert "loss = inner * inner" in lines(tg.source(inner * inner))


def test_a_variable_that_was_bound_again_names_the_last_one():
    h = number(2.0, "x")
    for _ in range(3):
        h = np.sin(h)
    assert lines(tg.source(h * h))[1:5] == ["t1 = np.sin(x)", "t2 = np.sin(t1)", "h = np.sin(t2)", "loss = h * h"]


def test_variables_in_a_step_and_in_the_forward_of_a_model_are_names():
    net = Net()

    def step(X):
        answer = net(X)
        risk = (answer * answer).sum()
        risk.backward()
        return risk

    text = tg.trace(step, np.ones((4, 2))).source
    assert lines(text)[:6] == [
        "def step(X, first, last):",
        "scores = X @ first",
        "hidden = np.tanh(scores)",
        "answer = hidden @ last",
        "t1 = answer * answer",
        "risk = t1.sum()",
    ]


@pytest.mark.parametrize("name", ["np", "step", "sum", "lambda_", "d_x", "x", "t1", "loss"])
def test_two_things_never_share_a_name(name):
    """Whatever a variable is called: NumPy, the function, a builtin, another gradient, an automatic name."""
    x = number(2.0, "x")
    namespace = {"x_of_the_user": x, "y": x * x, "tg": tg}
    exec(f"{name} = y * 3.0\ntext = tg.source({name} * y)", namespace)
    assert run(namespace["text"], 2.0) == (48.0, 96.0)


def test_privates_and_what_pytest_calls_its_variables_are_no_names():
    _y = number(2.0, "x") ** 2
    text = tg.source(_y * 3.0)
    assert "t1 = x ** 2" in lines(text)


def test_views_use_the_names_of_the_program():
    x = number(2.0, "x")
    rate = x * x
    total = rate * 3.0 + rate
    assert {"rate", "total"} <= {*str(tg.explain(x, total)).replace(",", " ").replace("=", " ").split()}
    assert ">rate<" in tg.draw(total).svg


def test_names_cost_an_eager_step_nothing(monkeypatch):
    monkeypatch.setattr("tinygrad_ce.program.names.running_frames", lambda: pytest.fail("frames are read"))
    x = number(np.ones(3), "x")
    (x * x).sum().backward()
    tg.optim.Adam([x]).step()


class Plain:
    """An object of the user's that is no module."""

    def __init__(self):
        self.W = number(np.ones((2, 3)), None)

    def __call__(self, x):
        return x @ self.W


def test_a_dictionary_or_an_object_names_its_tensors():
    parameters, net, x = {"V": number(np.ones((3, 1)), None), 3: None}, Plain(), np.ones((4, 2))
    cost = (np.tanh(net(x)) @ parameters["V"]).sum()
    assert lines(tg.source(cost))[0] == "def step(x, W, V):"


def test_a_variable_goes_before_a_dictionary():
    V = number(2.0, None)
    held = {"weight": V}
    assert lines(tg.source(V * V * held["weight"]))[0] == "def step(V):"


def test_the_name_of_fixed_weights_can_stand_in_a_program():
    weights = tg.Tensor([1.0, 2.0, 3.0], name="a b")
    program = tg.trace(
        lambda z, y: tg.losses.softmax_cross_entropy(z, y, weight=weights), np.ones((4, 3)), np.array([0, 1, 2, 1])
    )
    assert "def step(z, y, a_b):" in program.source


# ---- the loops


@pytest.mark.parametrize("name", ["x1_all", "loss_all", "number_0", "sum_v1", "start_8", "lr", "t"])
def test_a_parameter_may_be_called_as_something_in_the_loops(name):
    def make():
        w = parameter(name=name)
        optimizer = Adam([w], lr=0.1)
        return world(learning(lambda x: tg.ops.tanh(x * w).sum(), optimizer), [w], optimizer)

    with loops_as_python():
        assert_equals_eager(make, BATCHES, ways=(as_compiled,))
    compile(lowered(tg.trace(make().step, *BATCHES[0]), batched=True).text, name, "exec")
