"""Programs as JavaScript: every primitive, random graphs, other sizes of the batch, stages, names, what is refused."""

import re

import numpy as np
import pytest
from program.in_node import coded, decoded, job, needs_node, run_in_node
from program.loops_as_python import BINARY_STEPS, TRAININGS, UNARY, Graph, Training, assert_close, examples
from program.test_compiled_steps import CASES, NEVER_IN_LOOPS, WITHOUT_LOOPS, loss_of_sample
from program.traced_steps import learning, parameter
from samples import SAMPLES

import tinygrad_ce as tg
from tinygrad_ce.core import REGISTRY, primitive
from tinygrad_ce.optim import SGD, Adam
from tinygrad_ce.program import CannotLower, Program
from tinygrad_ce.program.javascript_loops_text import RESERVED, functions
from tinygrad_ce.program.passes import simplified


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """Runs jobs, all of a test in one process."""
    return lambda jobs: run_in_node(jobs, tmp_path_factory.mktemp("node"))


# ---- every primitive

SAMPLES_EACH = 6  # the first ones: of each primitive every argument and the most usual options


@needs_node
def test_every_primitive_gives_its_gradients(node):
    jobs, expected = [], []
    for name, i in [(name, i) for name, i in CASES if i < SAMPLES_EACH]:
        with np.errstate(all="ignore"):
            loss, leaves = loss_of_sample(name, SAMPLES[name][i])
            if loss is None:
                continue
            gradients = tg.gradients(loss, list(leaves.values()))
            wanted = {"loss": loss.data, **{f"d_{x}": g for x, g in zip(leaves, gradients, strict=True)}}
            program = Program.of(simplified(Program.of_loss(loss)))
        try:
            jobs.append(job(program, [examples(program)]))
            expected.append((name, i, wanted))
        except CannotLower as error:
            if not re.search(WITHOUT_LOOPS, str(error)):
                raise
    assert {name for name, _ in CASES} - {name for name, _, _ in expected} <= NEVER_IN_LOOPS
    for (name, i, wanted), answer in zip(expected, node(jobs), strict=True):
        assert "error" not in answer, (name, i, answer)
        for key, value in wanted.items():
            exactness = 1e-12 if value.dtype == np.float64 else 1e-5
            got = answer["outputs"][0][key]
            np.testing.assert_allclose(got, value.reshape(-1), exactness, exactness, err_msg=f"{name} {i} {key}")


# ---- random graphs

EVERYTHING = [(name, k) for k, name in enumerate(sorted(UNARY))]
EVERYTHING += [(name, 3 * k, 5 * k + 1) for k, name in enumerate(sorted(BINARY_STEPS))]


def random_graph(seed):
    rng = np.random.default_rng(seed)
    chosen = [EVERYTHING[k] for k in rng.integers(0, len(EVERYTHING), rng.integers(2, 9))]
    return [(name, *rng.integers(0, 30, len(places)).tolist()) for name, *places in chosen]


@needs_node
def test_steps_on_random_graphs_are_the_same(node):
    graphs = [random_graph(seed) for seed in range(25)]
    jobs = [job((g := Graph(graph, k)).program(), g.batches) for k, graph in enumerate(graphs)]
    for k, (graph, answer) in enumerate(zip(graphs, node(jobs), strict=True)):
        theirs = Graph(graph, k)
        assert "error" not in answer, (graph, answer)
        for outputs, batch in zip(answer["outputs"], theirs.batches, strict=True):
            assert_close(next(iter(outputs.values())), theirs.step(*batch)[0].data.reshape(-1), 1e-11)
        for name, array in answer["state"].items():
            expected = theirs.learnt().get(name, array)  # the optimizer's memory is in it, too
            assert_close(array, expected.reshape(-1), 1e-11)


# ---- other sizes of the batch


SIZES = (1, 2, 33)
SOME = sorted(
    {*[*TRAININGS][::3], "batch norm", "layer norm", "sigmoid bce", "embedding", "clipped"} - {"dropout", "all at once"}
)


def batches_of(training, rows):
    return [[np.resize(array, (rows, *array.shape[1:])) for array in batch] for batch in training.batches[:2]]


def any_size(program):
    return "batch: any number of rows, 6 if none is given" in program.javascript


@needs_node
def test_the_batch_is_a_parameter(node):
    programs = [Training(TRAININGS[name]).program() for name in SOME]
    assert [name for name, program in zip(SOME, programs, strict=True) if not any_size(program)] == []
    for rows in SIZES:
        trainings = [Training(TRAININGS[name]) for name in SOME]
        jobs = [job(p, batches_of(t, rows), rows) for p, t in zip(programs, trainings, strict=True)]
        for name, training, answer in zip(SOME, trainings, node(jobs), strict=True):
            if rows == 1 and name == "batch norm":
                continue  # one row has no variance, and the layer refuses it
            assert answer.get("batch") == rows, (name, answer)
            for outputs, batch in zip(answer["outputs"], batches_of(training, rows), strict=True):
                for got, expected in zip(outputs.values(), training.step(*batch), strict=True):
                    assert_close(got, expected.data.reshape(-1), 1e-11)


@pytest.mark.parametrize("name", ["dropout", "all at once"])
def test_masks_are_inputs_of_any_size(name):
    program = Training(TRAININGS[name]).program()
    assert any_size(program)
    (mask, *_) = [x.name for x in program.inputs if x.role == "random"]
    assert f"$inputs={{x,y,{mask}" in program.javascript


def test_a_step_of_one_size_says_why():
    w = parameter()
    text = tg.trace(lambda x: (x.reshape(2, 6) * (w * w).sum()).sum(), np.ones((4, 3))).javascript
    assert "// batch: 4. " in text
    assert 'if(batch!==4)throw new RangeError("this step was traced with batch 4 and has no other: ' in text


# ---- stages, errors, names


def classifier():
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.Tanh(), tg.nn.Dense(4, 3))
    optimizer = Adam(model.parameters(), lr=0.1)
    return model, learning(lambda x, y: tg.losses.softmax_cross_entropy(model(x), y), optimizer)


X, Y = np.random.default_rng(0).normal(size=(5, 2)), np.array([0, 1, 2, 1, 0])


@needs_node
def test_stages(node):
    _, step = classifier()
    program = tg.trace(step, X, Y)
    before = {name: array.copy() for name, array in program.state.items()}
    stages = [("forward",), ("forward", "backward"), ("forward", "backward", "update"), ("step",)]
    answers = node([job(program, [(X, Y)], stages=each) for each in stages])
    expected = step(X, Y).item()
    for answer, each in zip(answers, stages, strict=True):
        np.testing.assert_allclose([*answer["outputs"][0].values()], [[expected]], rtol=1e-14)
        changed = [
            name for name, array in answer["state"].items() if not np.array_equal(array, before[name].reshape(-1))
        ]
        assert bool(changed) == (each[-1] in ("update", "step"))
    assert [*answers[3]["state"]] == [*program.state]


@needs_node
def test_only_the_update_changes_running_averages(node):
    training = Training(TRAININGS["batch norm"])
    program = training.program()
    (answer,) = node([job(program, training.batches[:1], stages=("forward", "backward"))])
    for name, array in program.state.items():
        np.testing.assert_array_equal(answer["state"][name], array.reshape(-1), err_msg=name)


@needs_node
def test_losses_keep_their_digits_where_the_model_is_confident(node):
    logits = np.array([[40.0, 0.0, -3.0], [-1.0, 30.0, 2.0], [0.5, 1.0, 0.7]])
    labels, soft = np.array([0, 1, 2]), np.array([[1 - 1e-9, 1e-9, 0], [0, 1, 0], [0.2, 0.3, 0.5]])
    hard = np.eye(3)[labels]
    losses = [
        lambda z: tg.losses.softmax_cross_entropy(z, labels),
        lambda z: tg.losses.softmax_cross_entropy(z, labels, weight=[1.0, 2.0, 3.0]),
        lambda z: tg.losses.softmax_cross_entropy(z, soft),
        lambda z: tg.losses.softmax_cross_entropy(z, hard, reduction="sum"),
        lambda z: tg.losses.sigmoid_binary_cross_entropy(z, hard),
    ]
    jobs, expected = [], []
    for loss_of in losses:
        z = tg.Tensor(logits, requires_grad=True, name="z")
        loss = loss_of(z)
        program = Program.of(simplified(Program.of_loss(loss)))
        jobs.append(job(program, [examples(program)]))
        expected.append((loss.data, tg.gradients(loss, [z])[0]))
    for (loss, gradient), answer in zip(expected, node(jobs), strict=True):
        assert "error" not in answer, answer
        np.testing.assert_allclose(answer["outputs"][0]["loss"], [loss], rtol=4e-15)
        np.testing.assert_allclose(answer["outputs"][0]["d_z"], gradient.reshape(-1), rtol=4e-15)


@needs_node
def test_a_step_that_only_predicts(node):
    model, _ = classifier()
    program = tg.trace(model, X)
    answer, more = node([job(program, [(X,)], stages=("forward",)), job(program, [(X[:2],)], batch=2)])
    assert_close(answer["outputs"][0]["out"], model(X).data.reshape(-1), 1e-14)
    assert_close(more["outputs"][0]["out"], model(X[:2]).data.reshape(-1), 1e-14)


@needs_node
def test_another_size_of_the_same_network_shares_its_state(node):
    model, step = classifier()
    program = tg.trace(step, X, Y)
    two = [X[3:], Y[3:]]
    more = {"batch": 2, "inputs": {x.name: coded(rows) for x, rows in zip(program.arguments, two, strict=True)}}
    (answer,) = node([job(program, [(X, Y)] * 3) | {"then": more}])
    for _ in range(3):
        step(X, Y)
    expected = tg.losses.softmax_cross_entropy(model(two[0]), two[1]).item()
    np.testing.assert_allclose([*decoded(answer["more"]).values()], [[expected]], rtol=1e-13)


@needs_node
def test_what_is_outside_is_an_error(node):
    model, step = classifier()
    labels = tg.trace(step, X, Y)
    smooth = tg.trace(lambda x, y: tg.losses.softmax_cross_entropy(model(x), y, label_smoothing=0.1), X, Y)
    w = parameter(np.arange(6.0))
    places = tg.trace(learning(lambda k: w[k].sum(), SGD([w])), Y)
    jobs = [job(labels, [(X, Y - 1)]), job(smooth, [(X, Y + 1)]), job(places, [(Y + 6,)]), job(places, [(Y - 6,)])]
    found = [answer.get("error") for answer in node(jobs)]
    assert found[0] == "RangeError: row 0 has label -1 of 3 classes"
    assert found[1] == "RangeError: row 2 has label 3 of 3 classes"
    assert found[2] == "RangeError: an index is outside of the array that it takes elements from"
    assert found[3] is None  # from the end


NAMES = [
    *sorted(RESERVED),
    *functions(),
    "v1",
    "i",
    "s",
    "size",
    "order",
    "run",
    "é",
    "名前",
    "</script>",
    "a b",
    "n",
    "q",
    "_",
    "__proto__",
]


@needs_node
def test_every_name_is_harmless(node):
    groups = [NAMES[k : k + 25] for k in range(0, len(NAMES), 25)]
    jobs, expected = [], []
    for names in groups:
        parameters = [parameter(name=name) for name in names]

        def loss(x, y, parameters=parameters):
            return tg.losses.softmax_cross_entropy(sum(tg.ops.tanh(x * p) for p in parameters), y)

        step, batch = learning(loss, SGD(parameters, 0.1)), (np.ones((2, 3)), np.array([0, 2]))
        program = tg.trace(step, *batch)
        assert "</" not in program.javascript
        jobs.append(job(program, [batch] * 2))
        expected.append([step(*batch).item() for _ in range(2)])
    for names, wanted, answer in zip(groups, expected, node(jobs), strict=True):
        assert "error" not in answer, (names, answer)
        got = [next(iter(outputs.values()))[0] for outputs in answer["outputs"]]
        np.testing.assert_allclose(got, wanted, rtol=1e-13)
        assert len(answer["state"]) == len(names)
        plain = {"q", "n", "let", "var", "Math", "arguments", "undefined", "Float64Array"}  # and so in the program
        assert plain & {*names} <= {*answer["state"]}


@primitive
def wobble(x):
    return np.sinc(x)


wobble.constant_in("x")


def test_a_function_without_loops_is_refused_by_name():
    with pytest.raises(
        CannotLower, match=r"wobble: its body uses np\.sinc.*become JavaScript: absolute, .*, exp, .*, where"
    ):
        tg.trace(lambda x: (wobble(x) + 1).sum(), np.ones(3)).javascript  # noqa: B018


@needs_node
def test_accuracy_of_its_own_functions(node):
    """Against mpmath, in ulp: exp, tanh, erf and erfc; also where they overflow, vanish or have no value."""
    mpmath = pytest.importorskip("mpmath")
    x = np.concatenate([np.linspace(-6, 6, 301), np.logspace(-300, 2.8, 200), -np.logspace(-12, 2.8, 200)])
    ends = np.array([0.0, np.inf, -np.inf, np.nan, 710, -746, 1e-320])
    for name in ("exp", "tanh", "erf", "erfc"):
        with np.errstate(all="ignore"):
            program = tg.trace(REGISTRY[name], np.concatenate([x, ends]))
        (answer,) = node([job(program, [(np.concatenate([x, ends]),)])])
        got = answer["outputs"][0]["out"]
        with mpmath.workdps(40), np.errstate(all="ignore"):
            exact = [getattr(mpmath, name)(mpmath.mpf(float(v))) for v in x]
            worst = 0.0
            for mine, right in zip(got, exact, strict=False):
                near = float(right)
                if 1e-300 < abs(near) < 1e300:
                    worst = max(worst, float(abs(mpmath.mpf(float(mine)) - right) / np.spacing(abs(near))))
            assert worst <= ULP[name], name
            np.testing.assert_allclose(got[len(x) :], REGISTRY[name](ends), rtol=1e-14)


ULP = {"exp": 1, "tanh": 3, "erf": 8, "erfc": 20}
