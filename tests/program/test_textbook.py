"""The textbook print: what it says, and that it runs on NumPy alone and gives what the engine gives."""

import inspect

import numpy as np
import pytest
from samples import SAMPLES
from typer.testing import CliRunner

import tinygrad_ce as tg
from tinygrad_ce import cli
from tinygrad_ce.core import REGISTRY
from tinygrad_ce.program import Program, textbook
from tinygrad_ce.program.ir import Function, Instruction, Value
from tinygrad_ce.program.numpy_text import as_numpy
from tinygrad_ce.program.passes import simplified

DTYPES = {np.float64: 1e-12, np.float32: 2e-5}  # and how near the engine a well conditioned form must be


def lines(text):
    """The lines of the step, without comments and spaces at their ends."""
    step = text[text.index("def step(") :]
    return [line.split("#")[0].strip() for line in step.splitlines() if line.split("#")[0].strip()]


def answers_of(program):
    """What the printed text answers, by name, with nothing but NumPy."""
    text = program.text()
    assert "tinygrad_ce" not in text
    assert text.count("def ") == 1, "a function stands above the step"
    namespace = {}
    exec(text, namespace)
    with np.errstate(all="ignore"):
        answers = namespace["step"](*(x.example.copy() for x in program.inputs))
    return dict(zip(program.outputs, answers if isinstance(answers, tuple) else (answers,), strict=True))


def assert_text_equals_engine(loss, leaves, rtol):
    """The loss and the gradients of these leaves: numbers, shapes and dtypes."""
    with np.errstate(all="ignore"):
        gradients = tg.gradients(loss, list(leaves.values()))
        program = simplified(Program.of_loss(loss))
    answers = answers_of(program)
    for name, expected in {"loss": loss.data, **{f"d_{k}": g for k, g in zip(leaves, gradients, strict=True)}}.items():
        found = np.asarray(answers[name])
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), name
        size = max(1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0))
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * size, err_msg=program.text())


def named(values, name, dtype=np.float64):
    return tg.Tensor(np.asarray(values, dtype), requires_grad=True, name=name)


# ---- every primitive

CASES = [(name, i) for name in sorted(REGISTRY) if name in SAMPLES for i, s in enumerate(SAMPLES[name]) if s.wrt]
OVERFLOW = {"softplus": 709, "logsumexp": 709}  # what their forms give up, as they say


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "i"), CASES)
def test_every_primitive_runs_as_it_is_printed(name, i, dtype):
    sample = SAMPLES[name][i]
    inputs = [x.astype(dtype) if getattr(x, "dtype", None) == np.float64 else x for x in sample.inputs]
    if name in OVERFLOW and inputs[0].max(initial=0) > OVERFLOW[name]:
        return
    leaves = {f"x{k}": tg.Tensor(inputs[k], requires_grad=True, name=f"x{k}") for k in sample.wrt}
    with np.errstate(all="ignore"):
        out = REGISTRY[name](*(leaves.get(f"x{k}", x) for k, x in enumerate(inputs)), **sample.params)
        if out.size == 0 or not out.requires_grad:
            return
        weights = np.linspace(0.5, 1.5, out.size).reshape(out.shape).astype(out.dtype)
        loss = (out * weights).sum()
    assert_text_equals_engine(loss, leaves, 1e-12 if dtype == np.float64 else 1e-4)


def test_a_form_takes_the_arguments_of_its_operation():
    for name, form in textbook.FORMS.items():
        mine, its = inspect.signature(form).parameters, inspect.signature(REGISTRY[name].body).parameters
        assert [*mine][: len(its)] == [*its], name
        assert {*mine} - {*its} <= {"dtype"}, name


# ---- losses, with every option

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(6, 4))
Y = np.array([0, 3, 1, 2, 2, 0])
SOFT = RNG.dirichlet(np.ones(4), size=6)
WEIGHT = np.array([1.0, 2.0, 0.5, 3.0])
HARD_OPTIONS = [
    {"weight": weight, "label_smoothing": smoothing, "ignore_index": ignored}
    for weight in (None, WEIGHT)
    for smoothing in (0.0, 0.1)
    for ignored in (None, 2, -1, -100)
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", HARD_OPTIONS, ids=str)
def test_the_softmax_cross_entropy_of_labels(options, reduction, dtype):
    z, y = named(Z, "z", dtype), Y.copy()
    if options["ignore_index"] is not None:
        y[[1, 4]] = options["ignore_index"]
    for loss in (
        tg.losses.softmax_cross_entropy(z, y, reduction=reduction, **options),
        tg.losses.cross_entropy(tg.ops.softmax(z), y, reduction=reduction, **options),
    ):
        loss = loss if reduction != "none" else (loss * np.arange(6).astype(dtype)).sum()
        assert_text_equals_engine(loss, {"z": z}, DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", [{}, {"weight": WEIGHT}, {"label_smoothing": 0.2}], ids=str)
def test_the_softmax_cross_entropy_of_soft_labels(options, reduction, dtype):
    z = named(Z, "z", dtype)
    loss = tg.losses.softmax_cross_entropy(z, SOFT.astype(dtype), reduction=reduction, **options)
    loss = loss if reduction != "none" else (loss * np.arange(6).astype(dtype)).sum()
    assert_text_equals_engine(loss, {"z": z}, DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", [{}, {"pos_weight": 3.0}, {"weight": WEIGHT}, {"pos_weight": WEIGHT}], ids=str)
def test_the_binary_cross_entropy(options, reduction, dtype):
    z = named(Z, "z", dtype)
    for loss in (
        tg.losses.sigmoid_binary_cross_entropy(z, SOFT.astype(dtype), reduction=reduction, **options),
        tg.losses.binary_cross_entropy(tg.ops.sigmoid(z), SOFT.astype(dtype), reduction=reduction, **options),
        tg.losses.binary_cross_entropy(tg.ops.sigmoid(z), SOFT.astype(dtype), reduction=reduction, fused=False),
    ):
        loss = loss if reduction != "none" else (loss * np.arange(24).reshape(6, 4).astype(dtype)).sum()
        assert_text_equals_engine(loss, {"z": z}, DTYPES[dtype])


OTHER_LOSSES = {
    "nll": lambda z, **o: tg.losses.nll(tg.ops.log_softmax(z), Y, **o),
    "nll, one by one": lambda z, **o: tg.losses.nll(tg.ops.log_softmax(z), Y, fused=False, **o),
    "cross_entropy, one by one": lambda z, **o: tg.losses.cross_entropy(tg.ops.softmax(z), Y, fused=False, **o),
    "kl_divergence": lambda z, **o: tg.losses.kl_divergence(tg.ops.softmax(z), SOFT.astype(z.dtype), **o),
    "kl_divergence of labels": lambda z, **o: tg.losses.kl_divergence(tg.ops.softmax(z), Y, **o),
    "mse": lambda z, **o: tg.losses.mse(z, SOFT.astype(z.dtype), **o),
    "huber": lambda z, **o: tg.losses.huber(z, SOFT.astype(z.dtype), **o),
    "hinge": lambda z, **o: tg.losses.hinge(z, np.sign(SOFT - 0.3).astype(z.dtype), **o),
    "along axis 0": lambda z, **o: tg.losses.softmax_cross_entropy(z, Y[:4], axis=0, **o),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", OTHER_LOSSES)
def test_the_other_losses(name, reduction, dtype):
    z = named(Z, "z", dtype)
    assert_text_equals_engine(OTHER_LOSSES[name](z, reduction=reduction), {"z": z}, DTYPES[dtype])


# ---- layers

LAYERS = {
    **{name: getattr(tg.nn, name) for name in ("Tanh", "Sigmoid", "ReLU", "GELU", "SiLU", "LeakyReLU", "Softmax")},
    "BatchNorm": lambda: tg.nn.BatchNorm(4),
    "LayerNorm": lambda: tg.nn.LayerNorm(4),
    "Dropout": lambda: tg.nn.Dropout(0.5),
    "Residual": lambda: tg.nn.Residual(tg.nn.Tanh()),
    "Flatten": tg.nn.Flatten,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name, dtype):
    tg.seed(0)
    model = tg.nn.Sequential(LAYERS[name]()).astype(dtype)
    z = named(Z, "z", dtype)
    loss = (model(z) * np.linspace(-1, 1, 24).reshape(6, 4).astype(dtype)).sum()
    assert_text_equals_engine(loss, {"z": z}, DTYPES[dtype] * 10)


def test_an_embedding_is_an_indexing_and_its_gradient_adds_up():
    table = named(np.arange(12.0).reshape(4, 3), "W")
    twice = (table[Y[:4]] * table[Y[2:]]).sum()  # two arrays of zeros, and each is written into
    assert_text_equals_engine(twice, {"W": table}, 1e-12)
    text = lines(tg.source((table[Y[:4]] ** 2).sum()))
    assert text[-3:] == ["d_W = np.zeros((4, 3))", "np.add.at(d_W, indices, d_t1)", "return loss, d_W"]
    assert "t1 = W[indices]" in text


# ---- what is printed


def test_the_network_of_the_readme():
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 8), tg.nn.Tanh(), tg.nn.Dense(8, 2)).astype(np.float64)
    optimizer, loss_of = tg.optim.SGD(model.parameters(), lr=0.5), tg.nn.SoftmaxCrossEntropy()
    data = tg.data.moons(32, seed=0)

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    text = tg.trace(step, data.X.astype(np.float64), data.y).source
    assert text.split("def step")[0].split() == ["import", "numpy", "as", "np"]
    assert len(text.splitlines()) <= 40
    printed = lines(text)
    assert printed[1:12] == [
        "z1 = np.dot(x, W0) + b0",
        "h1 = np.tanh(z1)",
        "z2 = np.dot(h1, W2) + b2",
        "e = np.exp(z2 - z2.max(axis=1, keepdims=True))",
        "p = e / e.sum(axis=1, keepdims=True)",
        "n = len(y)",
        "loss = -np.log(p[np.arange(n), y]).mean()",
        "one_hot = np.eye(2)[y]",
        "d_z2 = (p - one_hot) / n",
        "d_h1 = d_z2 @ W2.T",
        "d_W2 = h1.T @ d_z2",
    ]
    assert "d_z1 = d_h1 * (1 - h1 * h1)" in printed


def test_the_binary_network():
    text = lines(tg.source(tg.losses.sigmoid_binary_cross_entropy(named(Z, "z"), SOFT)))
    assert text[1:] == [
        "p = 1 / (1 + np.exp(-z))",
        "loss = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()",
        "n = z.size",
        "d_z = (p - y) / n",
        "return loss, d_z",
    ]


def test_options_are_printed_where_they_are_used():
    plain = tg.source(tg.losses.softmax_cross_entropy(named(Z, "z"), Y))
    for word in ("weight", "target", "label", "upstream", "w[", "0.0"):
        assert word not in plain
    weighted = lines(tg.source(tg.losses.softmax_cross_entropy(named(Z, "z"), Y, weight=WEIGHT)))
    assert {"weight = w[y]", "d_z = weight[:, None] * (p - one_hot)"} <= {*weighted}
    smoothed = lines(tg.source(tg.losses.softmax_cross_entropy(named(Z, "z"), Y, label_smoothing=0.1)))
    assert {"target = (1 - 0.1) * one_hot + 0.1 / 4", "d_z = (p - target) / n"} <= {*smoothed}
    assert "loss = -(target * np.log(p)).sum(axis=-1).mean()" in smoothed
    assert sum("one_hot = " in line for line in smoothed) == 1  # made once, in the forward pass


def test_what_a_form_gives_up_is_said_once():
    h = tg.ops.sigmoid(tg.ops.sigmoid(named(Z, "z"))) * 3.0
    text = tg.source(tg.losses.softmax_cross_entropy(h @ np.eye(4), Y))
    for note in ("overflows for z < -709", "p - 1 loses digits", "log(p) loses digits", "1 - h loses digits"):
        assert text.count(note) == 1, note
    assert all(len(line) <= 120 for line in text.splitlines())
    assert "exact" not in tg.source((named(Z, "z") ** 2).sum())


def test_exact_is_the_engines_own_form():
    loss = tg.losses.softmax_cross_entropy(named(Z, "z"), Y)
    text = tg.source(loss, exact=True)
    assert "loss = xent(z, y, 1.0, reduction='mean')" in lines(text)
    assert "exact" not in text
    assert text == simplified(Program.of_loss(loss)).text(exact=True)
    assert tg.source(loss) == simplified(Program.of_loss(loss)).source


def test_the_names_of_a_form_give_way_to_the_users():
    n, p, one_hot = named(np.ones((6, 3)), "n"), named(np.ones((3, 4)), "p"), named(np.ones(4), "one_hot")
    loss = tg.losses.softmax_cross_entropy(n @ p + one_hot, Y)
    assert_text_equals_engine(loss, {"n": n, "p": p, "one_hot": one_hot}, 1e-12)
    assert "d_t1 = (p2 - one_hot2) / n2" in lines(tg.source(loss))
    weight = named(Z, "weight")
    assert_text_equals_engine(tg.losses.softmax_cross_entropy(weight, Y, weight=WEIGHT), {"weight": weight}, 1e-12)


def test_no_name_is_a_riddle():
    layers = tg.nn.Dense(4, 5), tg.nn.BatchNorm(5), tg.nn.GELU(), tg.nn.Dense(5, 4)
    text = tg.source(tg.losses.softmax_cross_entropy(tg.nn.Sequential(*layers)(Z), Y))
    assert not any(line.startswith(("t_", "_")) for line in lines(text))


def test_a_number_is_no_array_of_equal_numbers():
    x = named([1.0, 2.0, 4.0], "x")
    assert lines(tg.source((x * x).mean()))[3] == "d_t1 = 1 / 3"
    assert lines(tg.source(x.sum()))[2:] == ["d_x = np.ones(3)", "return loss, d_x"]
    assert lines(tg.source(x.sum() * 3.0))[-2:] == ["d_x = np.full(3, 3.0)", "return loss, d_x"]
    single = named([1.0, 2.0, 4.0], "x", np.float32)
    for loss in ((single * single).mean(), single.sum(), tg.ops.relu(single).mean(), single.mean() * 0.3):
        assert_text_equals_engine(loss, {"x": single}, 1e-6)


def test_what_was_made_of_a_parameter_before_its_update_is_not_taken_for_it_afterwards():
    w = Value("w", np.array([0.5, -1.0]), "state")
    h, updated, slope = (Value(name, w.example) for name in ("h", "w", "slope"))
    instructions = [
        Instruction(tg.ops.tanh, (w,), {}, h, "forward"),
        Instruction(tg.ops.sub, (w, h), {}, updated, "update"),
        Instruction(tg.ops.tanh_slope, (updated,), {}, slope, "update"),
    ]
    namespace = {}
    exec(as_numpy(Function([w], instructions, {"slope": slope}, {w: updated})), namespace)
    found, new = namespace["step"](w.example)
    np.testing.assert_allclose(new, w.example - np.tanh(w.example))
    np.testing.assert_allclose(found, 1 - np.tanh(new) ** 2, rtol=1e-12)


def test_a_batch_of_another_size_runs_through_the_printed_network():
    """Nothing of a mean over rows is a literal."""
    z = named(Z, "z")
    namespace = {}
    exec(tg.source(tg.losses.softmax_cross_entropy(z, Y)), namespace)
    loss, d_z = namespace["step"](Z[:3], Y[:3])
    shorter = named(Z[:3], "z")
    expected = tg.losses.softmax_cross_entropy(shorter, Y[:3])
    np.testing.assert_allclose(loss, expected.data, rtol=1e-12)
    np.testing.assert_allclose(d_z, tg.gradients(expected, shorter), rtol=1e-12)


def test_a_constant_of_the_program_is_told_from_a_number_that_happens_to_be_one():
    scale, z = named(1.0, "scale"), named(Z, "z")
    loss = tg.losses.softmax_cross_entropy(z, Y) * scale
    program = simplified(Program.of_loss(loss))
    namespace = {}
    exec(program.text(), namespace)
    by_name = {"scale": np.array(3.0), "z": Z, "y": Y}
    answers = namespace["step"](*(by_name[x.name] for x in program.inputs))
    found = dict(zip(program.outputs, answers, strict=True))["d_z"]
    np.testing.assert_allclose(found, 3 * tg.gradients(tg.losses.softmax_cross_entropy(z, Y), z), rtol=1e-12)


def test_the_command_line_prints_both():
    arguments = ["source", "moons", "--hidden", "6", "--optimizer", "sgd"]
    textbook_text, exact = (CliRunner().invoke(cli.app, [*arguments, *more]).output for more in ([], ["--exact"]))
    assert "d_z2 = (p - one_hot) / n" in lines(textbook_text)
    assert any(line.startswith("d_z2 = xent_grad(") for line in lines(exact))
