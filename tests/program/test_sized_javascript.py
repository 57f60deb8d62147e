"""Steps of all sizes in one script, with the updates of several optimizers: after some steps all is as in Python."""

import json
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from program.in_node import NODE, coded, job, needs_node, run_in_node

import tinygrad_ce as tg
from tinygrad_ce import losses, nn, optim
from tinygrad_ce.program import CannotLower
from tinygrad_ce.program.javascript_sizes import formula
from tinygrad_ce.program.scripts_text import as_script
from tinygrad_ce.program.slices import sized_javascript, update_alone

OPTIMIZERS = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: optim.SGD(parameters, lr=0.05, momentum=0.9),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.01),
    "RMSprop": lambda parameters: optim.RMSprop(parameters, lr=0.01),
}


def training(sizes, optimizer, activation=nn.Tanh):
    """A network of two hidden layers, its step and its data."""
    tg.seed(1)
    widths = [2, sizes["w1"], sizes["w2"], 3]
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Dense(a, b), activation())]
    model = nn.Sequential(*layers[:-1])
    rule = OPTIMIZERS[optimizer](model.parameters())

    def step(x, y):
        rule.zero_grad()
        loss = losses.softmax_cross_entropy(model(x), y)
        loss.backward()
        rule.step()
        return loss.named("loss")

    x = np.random.default_rng(2).normal(size=(sizes["batch"], 2))
    return model, rule, step, (x, np.arange(len(x)) % 3)


def programs(sizes, activation=nn.Tanh):
    found = {}
    for name in OPTIMIZERS:
        model, _, step, data = training(sizes, name, activation)
        found[name] = tg.trace(step, *data, models=[model])
    return found


@pytest.fixture(scope="module")
def sized():
    return sized_javascript(programs, ["w1", "w2"])


SIZES = [{"batch": 9, "w1": 4, "w2": 8}, {"batch": 1, "w1": 1, "w2": 1}, {"batch": 37, "w1": 37, "w2": 3}]
STEPS = 20


@needs_node
def test_every_size_and_optimizer_trains_as_in_python(sized, tmp_path):
    jobs, expected = [], []
    for sizes in SIZES:
        for optimizer in OPTIMIZERS:
            model, _, step, data = training(sizes, optimizer)
            program = tg.trace(step, *data, models=[model])
            stages = ("forward", "backward", optimizer)
            jobs.append(job(program, [data] * STEPS, sizes["batch"], stages, sized.text) | {"sizes": sizes})
            found = [step(*data).item() for _ in range(STEPS)]
            expected.append((sizes, optimizer, found, {name: array.copy() for name, array in program.state.items()}))
    for (sizes, optimizer, found, state), answer in zip(expected, run_in_node(jobs, tmp_path), strict=True):
        assert "error" not in answer, (sizes, optimizer, answer)
        where = f"{optimizer} {sizes} "
        np.testing.assert_allclose([x["loss"][0] for x in answer["outputs"]], found, 1e-12, err_msg=where)
        for name, array in state.items():
            np.testing.assert_allclose(answer["state"][name], array.reshape(-1), 1e-12, 1e-15, err_msg=where + name)


def test_shapes_are_in_terms_of_the_sizes(sized):
    assert sized.shapes["x"] == ["batch", 2]
    assert sized.shapes["W2"] == sized.shapes["d_W2"] == sized.shapes["m_W2"] == ["w1", "w2"]
    assert sized.shapes["h2"] == ["batch", "w2"]
    assert sized.shapes["loss"] == []


@needs_node
def test_every_named_value_is_in_the_buffers(sized, tmp_path):
    sizes = SIZES[0]
    model, _, step, data = training(sizes, "Adam")
    program = tg.trace(step, *data, models=[model])
    lengths = {i.result.name: i.result.example.size for i in program.instructions if i.section != "update"}
    named = {name: length for name, length in lengths.items() if not name.startswith("_")}
    assert {"z1", "h2", "loss", "d_z3", "d_h1", "d_W0"} <= {*named}
    check = {"sizes": sizes, "check": named | {"W0": 8, "m_W4": 24}}
    (answer,) = run_in_node([job(program, [data], 9, ("forward", "backward"), sized.text) | check], tmp_path)
    assert "error" not in answer, answer


@needs_node
def test_optimizers_share_what_they_remember_and_a_state_can_be_passed_on(sized, tmp_path):
    path = tmp_path / "shared.mjs"
    path.write_text(
        sized.text
        + """
const s = createStep({ batch: 3, sizes: { w1: 2, w2: 2 } });
const other = createStep({ batch: 7, sizes: s.sizes, state: s.state });
const wrong = [{}, { w1: 2 }, { w1: 0, w2: 1 }, { w1: 1.5, w2: 1 }].map((sizes) => {
  try { return createStep({ batch: 3, sizes }); } catch (error) { return `${error.name}: ${error.message}`; }
});
console.log(JSON.stringify([
  Object.keys(s.updates), Object.keys(s.state).every((name) => s.state[name] === other.state[name]),
  s.buffers.m_W0 === s.state.m_W0, Object.keys(s.state).length, wrong,
]));
""",
        encoding="utf-8",
    )
    done = subprocess.run([NODE, path], check=True, capture_output=True, text=True)
    wrong = [f"RangeError: {size}" for size in ("w1 undefined", "w2 undefined", "w1 0", "w1 1.5")]
    assert json.loads(done.stdout) == [[*OPTIMIZERS], True, True, 18, wrong]


@needs_node
def test_a_script_of_several_programs_has_each_function_once(sized, tmp_path):
    relu = sized_javascript(lambda sizes: programs(sizes, nn.ReLU), ["w1", "w2"]).text
    script = as_script({"a": sized.text, "<b>": relu, "fixed": str(programs(SIZES[0])["SGD"].javascript)})
    assert script.count("function multiply(") == script.count("const POWERS=") == 1
    assert script.count("Math.sqrt(") == 2  # Adam's and RMSprop's loops, which both programs call
    assert "<b>" not in script
    assert len(script) < len(sized.text) + len(relu) * 0.4 + 6000
    path = tmp_path / "script.js"
    path.write_text(script + '\nconsole.log(PROGRAMS["<b>"]({ batch: 3, sizes: { w1: 2, w2: 2 } }).buffers.z2.length);')
    assert subprocess.run([NODE, path], check=True, capture_output=True, text=True).stdout == "6\n"


def test_what_cannot_be_sized_is_refused():
    with pytest.raises(ValueError, match=r"widths=\['batch'\] must be up to 8 different names"):
        sized_javascript(programs, ["batch"])

    def by_rows(sizes):
        w = tg.Tensor([1.0], requires_grad=True, name="w")
        return {"SGD": tg.trace(lambda x: (x * w * float(sizes["batch"] ** 3 + 1)).sum(), np.ones(sizes["batch"]))}

    with pytest.raises(CannotLower, match="depends on the sizes in a way that is not known"):
        sized_javascript(by_rows)


@needs_node
@pytest.mark.parametrize("name", [*OPTIMIZERS])
def test_an_update_alone_is_that_of_the_optimizer(name, tmp_path):
    rng = np.random.default_rng(0)
    W, b, other = (tg.Tensor(rng.normal(size=n), requires_grad=True) for n in ((3, 2), 2, 4))
    other.grad = np.ones(4)
    rule = OPTIMIZERS[name]([W, b, other])
    program = update_alone(rule, {"__proto__": W, "W": b}, taken=["v_W"])
    assert W.name is b.name is None
    assert W.grad is None
    assert other.grad is not None
    assert {"__proto__", "d___proto__", "W", "d_W"} <= {*program.state}
    assert "v_W" not in program.state
    steps = job(program, [()] * STEPS, stages=("update",))
    gradients = {"d___proto__": rng.normal(size=(3, 2)), "d_W": rng.normal(size=2)}
    steps["state"] |= {x: coded(gradient) for x, gradient in gradients.items()}
    (answer,) = run_in_node([steps], tmp_path)
    before = other.data.copy()
    other.grad = None
    for _ in range(STEPS):
        W.grad, b.grad = gradients.values()
        rule.step()
    for x, array in program.state.items():
        expected = gradients.get(x, array).reshape(-1)
        np.testing.assert_allclose(answer["state"][x], expected, 1e-12, 1e-15, err_msg=x)
    np.testing.assert_array_equal(other.data, before)


SETS = tuple(tuple({"batch": n, "w1": a, "w2": b}.items()) for n, a, b in ((37, 59, 67), (46, 58, 62), (53, 61, 71)))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (lambda n, a, b: 12, "12"),
        (lambda n, a, b: n, "batch"),
        (lambda n, a, b: a, "$w1"),
        (lambda n, a, b: 2 * a * b, "2 * $w1 * $w2"),
        (lambda n, a, b: n * a - 1, "(batch * $w1 - 1)"),
        (lambda n, a, b: 1 / (3 * n), "(1 / (3 * batch))"),
        (lambda n, a, b: 0.7 / a, "(0.7 / $w1)"),
        (lambda n, a, b: n / (n - 1), "(batch / (batch - 1))"),
        (lambda n, a, b: a**2, "($w1 * $w1)"),
    ],
)
def test_numbers_become_formulas_of_sizes(number, text):
    column = tuple(repr(number(*(size for _, size in sizes))) for sizes in SETS)
    assert formula(column, SETS) == text
