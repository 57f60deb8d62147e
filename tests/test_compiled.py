"""The backbone: steps run one by one, recorded, printed and compiled learn the same. Loops also run as plain Python.

Numba takes a second for each program, so that most programs here run as the generated text, without its @jit.
"""

import ast
import os
import re
import signal
import threading
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import SAMPLES, primitives

numba = pytest.importorskip("numba")

import tinygrad_ce as tg  # noqa: E402
from tinygrad_ce import losses, nn, optim, train  # noqa: E402
from tinygrad_ce.core import REGISTRY, primitive  # noqa: E402
from tinygrad_ce.kernels import gemm  # noqa: E402
from tinygrad_ce.program import CannotLower, compiled, epochs, loops  # noqa: E402
from tinygrad_ce.program.compiled import Compiled  # noqa: E402
from tinygrad_ce.program.recorded import of_loss  # noqa: E402
from tinygrad_ce.program.simplified import simplified  # noqa: E402
from tinygrad_ce.train import NotFiniteError, Trainer  # noqa: E402

jitted = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="the loops run as Python")
PLAIN = {"multiply": gemm.multiplied, "add_rows": gemm.rows_added, "take_rows": gemm.rows_taken}


def as_python(text):
    """The generated function `run` without Numba: the name under which it is kept, and the function."""
    names = {}
    exec(compile(text.replace("@jit\n", ""), "<lowered>", "exec"), names)
    names.update({name: function for name, function in PLAIN.items() if name in names})
    return "none", np.errstate(all="ignore")(names["run"])


@contextmanager
def loops_as_python():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled.files, "function_of", as_python)
        patch.setattr(compiled.files, "seal", lambda name: None)
        yield


@pytest.fixture
def in_python():
    with loops_as_python():
        yield


@pytest.fixture
def of_ones_own():
    """Primitives of a test are gone after it."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def assert_close(got, expected, exactness):
    """Equal shapes and dtypes, and numbers that differ by rounding, relative to the largest of the array."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(got, expected, rtol=exactness, atol=exactness * scale)


# ---- every primitive

CASES = [(name, i) for name in sorted(primitives()) for i, sample in enumerate(SAMPLES[name]) if sample.wrt]
WITHOUT_LOOPS = "mask|writes into an array|loops would give"


def loss_of_sample(name, sample, dtype=np.float64):
    """Some number made of what a primitive gives, and the inputs that have a gradient; None if there is none."""
    sample = sample.with_arrays(lambda x: x.astype(dtype))
    leaves = {f"x{k}": tg.Tensor(sample.inputs[k], requires_grad=True, name=f"x{k}") for k in sample.wrt}
    out = REGISTRY[name](*(leaves.get(f"x{k}", x) for k, x in enumerate(sample.inputs)), **sample.params)
    if out.size == 0 or not out.requires_grad:
        return None, leaves
    return (out * np.linspace(0.5, 1.5, out.size, dtype=out.dtype).reshape(out.shape)).sum(), leaves


@pytest.mark.usefixtures("in_python")
@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_the_loops_of_every_primitive_give_its_gradients(name):
    lowered = 0
    for sample in (s for s in SAMPLES[name] if s.wrt):
        with np.errstate(all="ignore"):
            loss, leaves = loss_of_sample(name, sample)
            if loss is None:
                continue
            expected = [loss.data, *tg.gradients(loss, list(leaves.values()))]
            program = simplified(of_loss(loss))
        try:
            answers = dict(zip(program.outputs, Compiled(program).step(*examples(program)), strict=True))
        except CannotLower as error:
            if not re.search(WITHOUT_LOOPS, str(error)):
                raise
            continue
        for key, value in zip(["loss", *(f"d_{x}" for x in leaves)], expected, strict=True):
            assert_close(answers[key], value, 1e-9 if value.dtype == np.float64 else 1e-4)
        lowered += 1
    assert lowered or name == "scatter_add"


def examples(program):
    return [x.example for x in program.arguments]


# ---- steps of a training, in four ways

STEPS, ROWS = 20, 6
rng = np.random.default_rng(5)
X = rng.normal(size=(STEPS, ROWS, 3))
Y = rng.integers(0, 4, (STEPS, ROWS))
SOME = np.where(rng.random((STEPS, ROWS)) < 0.3, -1, Y)
SOME[:, 0] = 1  # in each batch one that counts
SOFT = rng.dirichlet(np.ones(4), (STEPS, ROWS))
BINARY = (rng.random((STEPS, ROWS, 4)) < 0.5).astype(float)
NUMBERS = rng.normal(size=(STEPS, ROWS, 4))
MANY = rng.integers(0, 60, (STEPS, ROWS))
BARELY = rng.integers(0, 48, (STEPS, ROWS))
WORDS = rng.integers(0, 7, (STEPS, ROWS, 2))


def mlp(activation=nn.Tanh, *end, classes=4):
    return lambda: [nn.Dense(3, 5), activation(), nn.Dense(5, classes), *end]


class Case(NamedTuple):
    """A training: its layers, loss, data and optimizer."""

    layers: Callable[[], list[Any]]
    loss: Callable[[Any, Any], Any] = losses.softmax_cross_entropy
    y: np.ndarray = Y
    optimizer: Callable[..., Any] = partial(optim.SGD, lr=0.1)
    clip: float | None = None
    x: np.ndarray = X


cross_entropy = losses.softmax_cross_entropy
bce = losses.sigmoid_binary_cross_entropy
SGD, Adam, RMSprop = optim.SGD, optim.Adam, optim.RMSprop
EACH = np.linspace(0.5, 1.5, 4)
TRAININGS = {
    "logistic regression": Case(lambda: [nn.Dense(3, 4)]),
    "tanh": Case(mlp(nn.Tanh)),
    "relu": Case(mlp(nn.ReLU)),
    "sigmoid": Case(mlp(nn.Sigmoid)),
    "softplus": Case(mlp(nn.Softplus)),
    "class weights": Case(mlp(), lambda z, y: cross_entropy(z, y, weight=[1, 2, 3, 4])),
    "smoothed": Case(mlp(nn.ReLU), lambda z, y: cross_entropy(z, y, label_smoothing=0.1)),
    "smoothed and weighted": Case(mlp(), lambda z, y: cross_entropy(z, y, label_smoothing=0.2, weight=[1, 0, 3, 4])),
    "ignoring": Case(mlp(), lambda z, y: cross_entropy(z, y, ignore_index=-1), SOME),
    "ignoring, weighted and smoothed": Case(
        mlp(), lambda z, y: cross_entropy(z, y, ignore_index=-1, label_smoothing=0.1, weight=[1, 2, 3, 4]), SOME
    ),
    "soft targets": Case(mlp(nn.Softplus), cross_entropy, SOFT),
    "soft targets, weighted": Case(mlp(), lambda z, y: cross_entropy(z, y, weight=[1, 2, 3, 4]), SOFT),
    "summed": Case(mlp(), lambda z, y: cross_entropy(z, y, reduction="sum"), optimizer=partial(SGD, lr=0.01)),
    "each row by itself": Case(mlp(), lambda z, y: (cross_entropy(z, y, reduction="none") ** 2).mean()),
    "many classes": Case(mlp(classes=60), y=MANY),
    "as many classes as few": Case(mlp(classes=48), y=BARELY),
    "probabilities": Case(mlp(nn.Tanh, nn.Softmax()), losses.cross_entropy),
    "probabilities, not fused": Case(mlp(nn.Tanh, nn.Softmax()), partial(losses.cross_entropy, fused=False)),
    "sigmoid bce": Case(mlp(nn.Sigmoid), bce, BINARY),
    "sigmoid bce, weighted": Case(mlp(), lambda z, y: bce(z, y, weight=EACH), BINARY),
    "sigmoid bce, positives count more": Case(mlp(), lambda z, y: bce(z, y, pos_weight=[1, 2, 3, 4]), BINARY),
    "bce": Case(mlp(nn.Tanh, nn.Sigmoid()), losses.binary_cross_entropy, BINARY),
    "bce, not fused": Case(mlp(nn.Tanh, nn.Sigmoid()), partial(losses.binary_cross_entropy, fused=False), BINARY),
    "mse": Case(mlp(), losses.mse, NUMBERS),
    "mse, weighted": Case(mlp(nn.ReLU), lambda z, y: losses.mse(z, y, weight=EACH), NUMBERS),
    "dropout": Case(lambda: [nn.Dense(3, 8), nn.Dropout(0.5), nn.Tanh(), nn.Dropout(0.2), nn.Dense(8, 4)]),
    "batch norm": Case(lambda: [nn.Dense(3, 5), nn.BatchNorm(5), nn.Tanh(), nn.Dense(5, 4)]),
    "layer norm": Case(lambda: [nn.Dense(3, 5), nn.LayerNorm(5), nn.ReLU(), nn.Dense(5, 4)]),
    "embedding": Case(lambda: [nn.Embedding(7, 3), nn.Flatten(), nn.Tanh(), nn.Dense(6, 4)], x=WORDS),
    "weight decay": Case(mlp(), optimizer=partial(SGD, lr=0.1, weight_decay=0.1)),
    "momentum": Case(mlp(), optimizer=partial(SGD, lr=0.05, momentum=0.9)),
    "nesterov": Case(mlp(), optimizer=partial(SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "adam": Case(mlp(), optimizer=partial(Adam, lr=0.01)),
    "adam with decay": Case(mlp(), optimizer=partial(Adam, lr=0.01, weight_decay=0.1)),
    "adamw": Case(mlp(), optimizer=partial(optim.AdamW, lr=0.01, weight_decay=0.1)),
    "rmsprop": Case(mlp(), optimizer=partial(RMSprop, lr=0.01, weight_decay=0.01)),
    "step decay": Case(mlp(), optimizer=partial(SGD, lr=optim.StepDecay(0.5, every=6, factor=0.3))),
    "cosine": Case(mlp(), optimizer=partial(Adam, lr=optim.Cosine(0.05, steps=15, final=0.001))),
    "warm-up": Case(mlp(), optimizer=partial(RMSprop, lr=optim.WarmUp(optim.StepDecay(0.02, every=5), steps=4))),
    "clipped": Case(mlp(), clip=0.05),
    "clipped sometimes": Case(mlp(), losses.mse, NUMBERS, partial(SGD, lr=0.3, momentum=0.5), clip=1.0),
    "all at once": Case(
        lambda: [nn.Dense(3, 6), nn.BatchNorm(6), nn.ReLU(), nn.Dropout(0.3), nn.Dense(6, 4)],
        lambda z, y: cross_entropy(z, y, label_smoothing=0.1),
        optimizer=partial(SGD, lr=optim.Cosine(0.1, steps=20), momentum=0.9, weight_decay=0.01),
        clip=1.0,
    ),
}


class Training:
    """One training of a case, from its beginning; the same each time."""

    def __init__(self, case, dtype=np.float64):
        tg.seed(0)
        self.case = case
        self.model = nn.Sequential(*case.layers()).astype(dtype)
        self.model.train()
        generator = np.random.default_rng(7)
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.generator = generator
        self.optimizer = case.optimizer(self.model.parameters())
        cast = [array.astype(dtype) if array.dtype.kind == "f" else array for array in (case.x, case.y)]
        self.batches = list(zip(*cast, strict=True))

    def step(self, x, y):
        self.optimizer.zero_grad()
        predictions = self.model(x)
        loss = self.case.loss(predictions, y)
        loss.backward()
        if self.case.clip is not None:
            optim.clip_grad_norm(self.optimizer.parameters, self.case.clip)
        self.optimizer.step()
        return loss, predictions

    def program(self):
        return tg.trace(self.step, *self.batches[0])

    def learnt(self):
        """All that lives from step to step."""
        memory = {f"memory {i} {k}": x for i, s in enumerate(self.optimizer.state) for k, x in enumerate(s)}
        return {**self.model.state(), **{name: x.copy() for name, x in memory.items()}}


def eager(training, steps):
    return [tuple(x.data for x in training.step(*batch)) for batch in training.batches[:steps]]


def recorded(training, steps):
    program = training.program()
    return [program.run(*batch) for batch in training.batches[:steps]]


def printed(training, steps):
    """The printed step with nothing but NumPy; what it gives for the parameters is what it is given next."""
    program, names = training.program(), {}
    assert "tinygrad_ce" not in program.source
    exec(program.source, names)
    kept = {x: x.home.read().copy() for x in program.inputs if x.home is not None}
    numbers = [read(steps) for read in program.numbers.values()]
    found = []
    for k, batch in enumerate(training.batches[:steps]):
        given = dict(zip(program.arguments, batch, strict=True)) | kept
        others = {x: x.draw() if x.draw else x.example for x in program.inputs if x not in given}
        given |= others
        answers = names["step"](*(given[x] for x in program.inputs), *(n[k].item() for n in numbers))
        found.append(answers[: len(program.outputs)])
        kept |= zip(program.updates, map(np.asarray, answers[len(program.outputs) :]), strict=True)
    for x, array in kept.items():
        x.home.write(array)
    return found


def in_loops(training, steps):
    with loops_as_python():
        program = Compiled(training.program())
        return [program.step(*batch) for batch in training.batches[:steps]]


def by_numba(training, steps):
    step = tg.compile(training.step)
    found = [step(*batch) for batch in training.batches[:steps]]
    assert [type(program) for program in step.programs.values()] == [Compiled]
    return found


def assert_same_training(way, case, dtype=np.float64, steps=STEPS):
    exactness = 1e-9 if dtype == np.float64 else 1e-4
    ours, theirs = Training(case, dtype), Training(case, dtype)
    answers, expected = way(ours, steps), eager(theirs, steps)
    for mine, wanted in zip(answers, expected, strict=True):
        for got, array in zip(mine, wanted, strict=True):
            assert_close(got, array, exactness)
    learnt = ours.learnt()
    assert learnt.keys() == theirs.learnt().keys()
    for name, array in theirs.learnt().items():
        assert_close(learnt[name], array, exactness)
    if way is not printed:
        assert ours.optimizer.steps == theirs.optimizer.steps == steps


ways = pytest.mark.parametrize("way", [recorded, printed, in_loops], ids=lambda way: way.__name__)


@ways
@pytest.mark.parametrize("name", TRAININGS)
def test_twenty_steps_learn_what_eager_ones_do(name, way):
    assert_same_training(way, TRAININGS[name])


@ways
@pytest.mark.parametrize("name", TRAININGS)
def test_steps_in_float32_stay_there(name, way):
    assert_same_training(way, TRAININGS[name], np.float32, steps=4)


COMPILED = [
    ("tanh", np.float64),
    ("adam", np.float32),
    ("all at once", np.float64),
    ("embedding", np.float64),
    ("soft targets, weighted", np.float32),
    ("sigmoid bce, positives count more", np.float64),
    ("many classes", np.float32),
]


@pytest.mark.parametrize(("name", "dtype"), COMPILED)
def test_compiled_steps_learn_what_eager_ones_do(name, dtype):
    assert_same_training(by_numba, TRAININGS[name], dtype)


@ways
def test_masks_of_dropout_agree_bit_for_bit(way):
    case = Case(lambda: [nn.Dropout(0.5), nn.Dense(3, 4), nn.Dropout(0.3)], lambda z, y: z.sum())
    ours, theirs = Training(case), Training(case)
    for (_, mine), (_, expected) in zip(way(ours, STEPS), eager(theirs, STEPS), strict=True):
        np.testing.assert_array_equal(mine == 0, expected == 0)
    mine, expected = (training.model[0].generator.random() for training in (ours, theirs))
    assert mine == expected


PRODUCTS = Case(
    lambda: [nn.Dense(70, 37), nn.Tanh(), nn.Dense(37, 19)],
    losses.mse,
    rng.normal(size=(3, 13, 19)),
    x=rng.normal(size=(3, 13, 70)),
)
LONG = Case(lambda: [nn.Dense(5, 3)], losses.mse, rng.normal(size=(3, 1601, 3)), x=rng.normal(size=(3, 1601, 5)))


@pytest.mark.parametrize(("case", "dtype"), [(PRODUCTS, np.float64), (PRODUCTS, np.float32), (LONG, np.float64)])
def test_compiled_products_of_all_sizes_equal_those_of_numpy(case, dtype):
    assert_same_training(by_numba, case, dtype, steps=3)


@pytest.mark.parametrize("way", [in_loops, by_numba])
def test_large_products_are_left_to_the_blas(way, monkeypatch):
    monkeypatch.setattr(loops, "SMALL_PRODUCT", 0)
    monkeypatch.setattr(compiled, "_lowered", {})
    assert Training(TRAININGS["tanh"]).program().lowered.count("_rows)") >= 5
    assert_same_training(way, TRAININGS["tanh"])


@ways
def test_a_step_written_by_hand_without_layers(way):
    class ByHand(Training):
        def __init__(self):
            self.w = tg.Tensor(np.zeros((3, 4)), requires_grad=True, name="w")
            self.b = tg.Tensor(np.zeros(4), requires_grad=True, name="b")
            self.optimizer = SGD([self.w, self.b], lr=0.5)
            self.batches = list(zip(X, Y, strict=True))

        def step(self, x, y):
            self.optimizer.zero_grad()
            p = tg.ops.softmax(x @ self.w + self.b)
            loss = -tg.ops.pick(np.log(p), y).mean()
            loss.backward()
            self.optimizer.step()
            return loss, p

    ours, theirs = ByHand(), ByHand()
    for mine, expected in zip(way(ours, STEPS), eager(theirs, STEPS), strict=True):
        for got, array in zip(mine, expected, strict=True):
            assert_close(got, array, 1e-9)
    assert_close(ours.w.data, theirs.w.data, 1e-9)
    assert_close(ours.b.data, theirs.b.data, 1e-9)


def answers_of_old_weights(way, shape):
    """What a step gives that returns its weights, as they were, in some shape; and what they were."""

    class Looking(Training):
        def step(self, x, y):
            before = self.model.layers[0].W.reshape(*shape)
            loss, _ = super().step(x, y)
            return loss, before

    case, expected = TRAININGS["logistic regression"], []
    theirs = Training(case)
    for batch in theirs.batches[:3]:
        expected.append(theirs.model.layers[0].W.data.reshape(shape).copy())
        theirs.step(*batch)
    return [answers[1] for answers in way(Looking(case), 3)], expected


@ways
def test_what_is_answered_is_what_was_before_the_update(way):
    answers, expected = answers_of_old_weights(way, (3, 4))
    for got, array in zip(answers, expected, strict=True):
        assert_close(got, array, 1e-9)


@pytest.mark.parametrize("shape", [(4, 3), (1, 3, 4), (12,)])
def test_what_is_answered_may_have_another_shape(shape):
    answers, expected = answers_of_old_weights(in_loops, shape)
    for got, array in zip(answers, expected, strict=True):
        assert_close(got, array, 1e-9)


@pytest.mark.parametrize("way", [in_loops, by_numba])
def test_nan_goes_where_it_goes_in_numpy(way):
    class Nans(Graph):
        def step(self, x, *_):
            p = self.inputs[2]
            parts = np.maximum(p, x), np.minimum(p, x), np.clip(x * p, -1, 1), tg.ops.relu(x * p)
            reduced = np.max(x + p, axis=0), np.min(x + p, axis=0), np.max(x + p), np.where(x > p, x, p)
            return tuple(parts + reduced)

    ours, theirs = Nans([], 0), Nans([], 0)
    for training in (ours, theirs):
        training.batches[0][0][1, 0] = np.nan
    expected = eager(theirs, 1)[0]
    for got, array in zip(way(ours, 1)[0], expected, strict=True):
        np.testing.assert_array_equal(got, array)
    assert [int(np.isnan(array).sum()) for array in expected] == [1, 1, 1, 1, 1, 1, 1, 0]


# ---- random graphs


def flat(a):
    """As a (3, 2) matrix."""
    return np.broadcast_to(np.mean(a, axis=0) if a.ndim == 3 else a, (3, 2))


UNARY: dict[str, Callable[..., Any]] = {
    "sin": lambda a, **_: np.sin(a),
    "tanh": lambda a, **_: np.tanh(a),
    "sigmoid": lambda a, **_: tg.ops.sigmoid(a),
    "softplus": lambda a, **_: tg.ops.softplus(a),
    "relu": lambda a, **_: tg.ops.relu(a + 0.217),
    "bell": lambda a, **_: np.exp(-a * a),
    "log1p": lambda a, **_: np.log1p(a * a),
    "root": lambda a, **_: np.sqrt(1 + a * a),
    "cube": lambda a, **_: (0.5 * a) ** 3,
    "absolute": lambda a, **_: np.abs(a - 0.123),
    "centred": lambda a, **_: a - np.mean(a),
    "sum": lambda a, **_: np.sum(a, axis=0, keepdims=True) if a.ndim else a,
    "mean": lambda a, **_: a * np.mean(a, axis=-1, keepdims=True) if a.ndim else a,
    "max": lambda a, tilt, **_: np.max(a + tilt, axis=-1, keepdims=True) * a,
    "min": lambda a, tilt, **_: np.min(a + tilt, axis=-2, keepdims=True) + a,
    "variance": lambda a, **_: a + np.var(a, axis=-1, keepdims=True) if a.ndim else a,
    "flip": lambda a, **_: a[..., ::-1] if a.ndim else a,
    "part": lambda a, **_: a[..., -1:] * a[..., :1] if a.ndim else a,
    "rows": lambda a, rows, **_: flat(a)[rows],
    "rows twice": lambda a, rows, **_: flat(a)[rows] * a,
    "picked": lambda a, labels, **_: np.expand_dims(tg.ops.pick(flat(a), labels), -1),
    "reshaped": lambda a, **_: np.reshape(np.ravel(np.transpose(flat(a))), (3, 2)),
    "softmax": lambda a, **_: tg.ops.softmax(a, axis=-1) if a.ndim else a,
    "log_softmax": lambda a, **_: tg.ops.log_softmax(flat(a), axis=0),
    "logsumexp": lambda a, **_: tg.ops.logsumexp(a, axis=-1, keepdims=True) if a.ndim else a,
    "clip": lambda a, **_: np.clip(a, -0.9, 0.9),
    "narrow": lambda a, **_: tg.ops.astype(tg.ops.astype(a * 0.5, dtype=np.dtype(np.float64)), dtype=a.dtype),
    "crossed": lambda a, labels, **_: cross_entropy(flat(a), labels, label_smoothing=0.1),
}
BINARY_STEPS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b, **_: a + b,
    "sub": lambda a, b, **_: a - 0.5 * b,
    "mul": lambda a, b, **_: a * b,
    "div": lambda a, b, **_: a / (2 + np.sin(b)),
    "maximum": lambda a, b, **_: np.maximum(a, b + 0.31),
    "where": lambda a, b, **_: np.where(np.cos(a + b) > 0.5, a, b),
    "pow": lambda a, b, **_: (1 + a * a) ** np.tanh(b),
    "stack": lambda a, b, **_: np.sum(np.stack([flat(a), flat(b), flat(a * b)], axis=1), axis=1),
    "join": lambda a, b, **_: np.concatenate([flat(a), flat(b)], axis=0)[1:4],
    "matmul": lambda a, b, **_: flat(a) @ np.transpose(flat(b)) @ flat(b) * 0.2,
    "einsum": lambda a, b, **_: np.einsum("ij,kj->ki", flat(a), flat(b))[:, :2],
    "logaddexp": lambda a, b, **_: np.logaddexp(a, b),
}
SHAPES = [(), (2,), (3, 2), (3, 1), (1, 2), (2, 3, 2)]
PLACES = st.integers(0, 30)
GRAPHS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), PLACES),
        st.tuples(st.sampled_from(sorted(BINARY_STEPS)), PLACES, PLACES),
    ),
    min_size=1,
    max_size=8,
)


def run_graph(graph, inputs, tilt, rows, labels):
    """Each step adds a value made of earlier ones; the result sums up the last three."""
    values = list(inputs)
    for name, *operands in graph:
        chosen = [values[i % len(values)] for i in operands]
        values.append(np.tanh((UNARY | BINARY_STEPS)[name](*chosen, tilt=tilt, rows=rows, labels=labels)) * 1.5)
    return sum((np.sum(np.sin(value + 0.1)) for value in values[-3:]), start=0.0)


class Graph(Training):
    """Steps on a random graph, whose inputs are its parameters."""

    def __init__(self, graph, seed, dtype=np.float64):
        rng = np.random.default_rng(seed)
        self.graph = graph
        self.inputs = [
            tg.Tensor(np.asarray(rng.normal(size=shape), dtype), requires_grad=True, name=f"p{i}")
            for i, shape in enumerate(SHAPES)
        ]
        self.batches = [
            (rng.normal(size=(3, 2)).astype(dtype), rng.integers(-3, 3, 3), rng.integers(0, 2, 3)) for _ in range(3)
        ]
        self.optimizer = SGD(self.inputs, lr=0.1, momentum=0.9)

    def step(self, *arrays):
        self.optimizer.zero_grad()
        loss = run_graph(self.graph, self.inputs, *arrays)
        loss.backward()
        self.optimizer.step()
        return (loss,)

    def learnt(self):
        return {x.name: x.data for x in self.inputs}


def assert_same_graph(graph, seed, every_way, dtype=np.float64):
    exactness = 1e-9 if dtype == np.float64 else 1e-3
    theirs = Graph(graph, seed, dtype)
    expected = eager(theirs, 3)
    for way in every_way:
        ours = Graph(graph, seed, dtype)
        for mine, wanted in zip(way(ours, 3), expected, strict=True):
            assert_close(mine[0], wanted[0], exactness)
        for name, array in theirs.learnt().items():
            assert_close(ours.learnt()[name], array, exactness)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(graph=GRAPHS, seed=st.integers(0, 2**32 - 1))
def test_steps_on_random_graphs_are_the_same_in_every_way(graph, seed):
    assert_same_graph(graph, seed, [recorded, printed, in_loops])


@settings(deadline=None, max_examples=40, derandomize=True)
@given(graph=GRAPHS, seed=st.integers(0, 2**32 - 1))
def test_gradients_of_random_graphs_are_the_same_in_every_way(graph, seed):
    given = Graph(graph, seed)
    loss = run_graph(graph, given.inputs, *given.batches[0])
    expected = dict(zip((f"d_{x.name}" for x in given.inputs), tg.gradients(loss, given.inputs), strict=True))
    program, names = simplified(of_loss(loss)), {}
    exec(program.source, names)
    with loops_as_python():
        found = [program.run(*examples(program)), Compiled(program).step(*examples(program))]
    found.append(names["step"](*examples(program)))
    for answers in (dict(zip(program.outputs, x, strict=True)) for x in found):
        assert_close(answers["loss"], loss.data, 1e-9)
        for name, gradient in expected.items():
            assert_close(answers.get(name, np.zeros_like(gradient)), gradient, 1e-9)


EVERYTHING = [(name, k) for k, name in enumerate(sorted(UNARY.keys() - {"max", "min"}))]  # for these, see below
EVERYTHING += [(name, 3 * k, 5 * k + 1) for k, name in enumerate(sorted(BINARY_STEPS))]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_graph_of_half_of_everything_compiles(dtype):
    graph = EVERYTHING[::2] if dtype == np.float64 else EVERYTHING[1::2]
    assert_same_graph(graph, 3, [recorded, printed, in_loops, by_numba], dtype)


@jitted
def test_the_largest_element_gets_its_gradient_where_it_is_computed_again():
    class Largest(Graph):
        def step(self, x, *_):
            self.optimizer.zero_grad()
            h = self.inputs[2] * 1.7
            loss = np.max(h + x, axis=1).sum() + (h**2).sum()
            loss.backward()
            self.optimizer.step()
            return (loss,)

    for seed in range(5):
        ours, theirs = Largest([], seed), Largest([], seed)
        by_numba(ours, 1)
        eager(theirs, 1)
        assert_close(ours.learnt()["p2"], theirs.learnt()["p2"], 1e-9)


# ---- fit

DATA = rng.normal(size=(50, 2))
SIDES = (DATA[:, 0] * DATA[:, 1] > 0).astype(int)
COLUMN = SIDES[:, None].astype(float)
HALF = np.where(np.arange(50) % 5 == 3, -1, SIDES)


DESCENT = partial(SGD, lr=0.2)


def small(*middle, n_out=2, end=()):
    return [nn.Dense(2, 6), *middle, nn.Tanh(), nn.Dense(6, n_out), *end]


def trainer(layers=small, loss=None, make=DESCENT, dtype=np.float64):
    tg.seed(0)
    model = nn.Sequential(*layers()).astype(dtype)
    return Trainer(model, loss or nn.SoftmaxCrossEntropy(), make(model.parameters()))


def learnt_by(run):
    memory = {f"memory {i} {k}": x for i, s in enumerate(run.optimizer.state) for k, x in enumerate(s)}
    return {**run.model.state(), **memory, "steps": np.array(run.optimizer.steps)}


def assert_same_fit(ours, theirs, mine, expected, exactness=1e-9):
    """Two trainings and their histories."""
    assert mine.compiled
    assert not expected.compiled
    assert (mine.stopped, list(mine.columns), len(mine)) == (expected.stopped, list(expected.columns), len(expected))
    for name, column in expected.columns.items():
        np.testing.assert_allclose(mine[name], column, rtol=exactness, atol=exactness, err_msg=name)
    learnt = learnt_by(ours)
    for name, array in learnt_by(theirs).items():
        assert_close(learnt[name], array, exactness)


def fit_both(made, x=DATA, y=SIDES, exactness=1e-9, **options):
    options = {"epochs": 4, "batch_size": 16, "seed": 3} | options
    ours, theirs = made(), made()
    mine, expected = ours.fit(x, y, compile=True, **options), theirs.fit(x, y, compile=False, **options)
    assert_same_fit(ours, theirs, mine, expected, exactness)
    return ours, mine


HISTORIES = {
    "sgd": (trainer, {}),
    "even batches": (trainer, {"batch_size": 25}),
    "one batch": (trainer, {"batch_size": 64}),
    "one row at a time": (trainer, {"batch_size": 1, "epochs": 2}),
    "a last batch of one row": (trainer, {"batch_size": 7}),
    "momentum": (partial(trainer, make=partial(SGD, lr=0.1, momentum=0.9, weight_decay=0.01)), {}),
    "adam": (partial(trainer, make=partial(Adam, lr=0.02)), {}),
    "schedules": (partial(trainer, make=partial(Adam, lr=optim.WarmUp(optim.Cosine(0.1, steps=9), 3))), {}),
    "clipped": (trainer, {"clip_norm": 0.2}),
    "dropout": (partial(trainer, lambda: small(nn.Dropout(0.5))), {}),
    "batch norm and dropout": (partial(trainer, lambda: small(nn.BatchNorm(6), nn.Dropout(0.3))), {}),
    "dropout in even batches": (partial(trainer, lambda: small(nn.Dropout(0.5))), {"batch_size": 25}),
    "batch norm in even batches": (partial(trainer, lambda: small(nn.BatchNorm(6))), {"batch_size": 25}),
    "validation": (trainer, {"validation": (DATA[:10], SIDES[:10])}),
    "one-hot": (trainer, {"y": np.eye(2)[SIDES]}),
    "probabilities": (partial(trainer, lambda: small(end=[nn.Softmax()]), nn.CrossEntropy()), {}),
    "weighted": (partial(trainer, loss=nn.SoftmaxCrossEntropy(weight=[1, 3], label_smoothing=0.1)), {}),
    "ignoring": (partial(trainer, loss=nn.SoftmaxCrossEntropy(ignore_index=-1)), {"y": HALF}),
    "bce": (partial(trainer, lambda: small(n_out=1), nn.SigmoidBCE()), {"y": COLUMN}),
    "bce of probabilities": (partial(trainer, lambda: small(n_out=1, end=[nn.Sigmoid()]), nn.BCE()), {"y": COLUMN}),
    "mse": (partial(trainer, lambda: small(n_out=1), nn.MSE()), {"y": DATA[:, :1] ** 2}),
    "integers": (partial(trainer, lambda: [nn.Embedding(5, 3), nn.Dense(3, 2)]), {"x": np.arange(50) % 5}),
    "labels of 32 bits": (trainer, {"y": SIDES.astype(np.int32)}),
    "truths": (partial(trainer, lambda: small(n_out=1), nn.SigmoidBCE()), {"y": COLUMN == 1}),
    "another order in memory": (trainer, {"x": np.asfortranarray(DATA)}),
}


@pytest.mark.usefixtures("in_python")
@pytest.mark.parametrize("name", HISTORIES)
def test_a_compiled_fit_gives_the_parameters_and_the_history_of_the_eager_one(name):
    made, options = HISTORIES[name]
    _, history = fit_both(made, **options)
    assert history.stopped == "finished"


@pytest.mark.usefixtures("in_python")
def test_a_compiled_fit_in_float32():
    run, _ = fit_both(partial(trainer, make=partial(Adam, lr=0.02), dtype=np.float32), exactness=1e-4)
    assert all(array.dtype == np.float32 for array in run.model.state().values())


def test_a_fit_by_numba_with_a_short_batch():
    fit_both(partial(trainer, lambda: small(nn.BatchNorm(6), nn.Dropout(0.3))), clip_norm=1.0)


def test_a_fit_by_numba_in_float32():
    fit_both(partial(trainer, make=partial(Adam, lr=0.02), dtype=np.float32), batch_size=25, exactness=1e-4)


@pytest.mark.usefixtures("in_python")
@pytest.mark.parametrize("batch_size", [16, 25])
@pytest.mark.parametrize("middle", [(), (nn.Dropout(0.3),)], ids=["plain", "dropout"])
@pytest.mark.parametrize("patience", [1e-12, 1e-3, 1e3])
def test_portions_of_any_length_learn_the_same(patience, middle, batch_size, monkeypatch):
    monkeypatch.setattr(epochs, "PATIENCE", patience)
    fit_both(partial(trainer, lambda: small(*middle)), batch_size=batch_size, epochs=5)


@pytest.mark.usefixtures("in_python")
def test_fit_goes_on_where_the_last_one_ended_in_either_way():
    ours, theirs = (trainer(make=partial(Adam, lr=optim.StepDecay(0.05, every=5))) for _ in range(2))
    for way in (True, False, True):
        mine = ours.fit(DATA, SIDES, epochs=2, batch_size=16, seed=1, compile=way)
        expected = theirs.fit(DATA, SIDES, epochs=2, batch_size=16, seed=1, compile=False)
    assert_same_fit(ours, theirs, mine, expected)


@pytest.mark.usefixtures("in_python")
def test_early_stopping_brings_the_best_back():
    options = {"validation": (DATA[:20], 1 - SIDES[:20]), "patience": 2, "epochs": 20}
    _, history = fit_both(trainer, DATA[20:], SIDES[20:], **options)
    assert history.stopped == "early"


@pytest.mark.usefixtures("in_python")
def test_patience_without_validation_and_a_callback_that_ends_it():
    made = partial(trainer, make=partial(SGD, lr=2.0, momentum=0.9))
    _, history = fit_both(made, patience=2, epochs=30)
    assert history.stopped == "early"
    _, history = fit_both(trainer, callbacks=lambda _, row: row["epoch"] == 2)
    assert (history.stopped, len(history)) == ("callback", 2)


@pytest.mark.usefixtures("in_python")
@pytest.mark.parametrize("batch_size", [16, 25])
def test_callbacks_see_and_change_what_is_learnt(batch_size):
    def changing(run, row):
        seen.append(learnt_by(run))
        run.optimizer.lr = 0.1 / row["epoch"]
        run.model.layers[0].b.data += 0.01
        run.model.layers[1].running_mean[...] = 0.5
        run.model.eval()

    seen = []
    made = partial(trainer, lambda: small(nn.BatchNorm(6)), make=partial(SGD, lr=0.2, momentum=0.5))
    fit_both(made, callbacks=changing, batch_size=batch_size)
    assert len(seen) == 8
    for mine, expected in zip(seen[:4], seen[4:], strict=True):
        for name, array in expected.items():
            assert_close(mine[name], array, 1e-9)


@pytest.mark.usefixtures("in_python")
def test_a_model_may_be_its_own_loss():
    class Energy(nn.Module):
        def __init__(self):
            self.w = tg.Tensor([[1.0], [2.0]], requires_grad=True)

        def forward(self, x):
            return ((tg.ops.matmul(x, self.w) - 1) ** 2).mean()

    def made():
        model = Energy()
        return Trainer(model, lambda energy, _: energy, SGD(model.parameters(), lr=0.1))

    fit_both(made)


@pytest.mark.usefixtures("in_python")
def test_a_part_of_the_model_may_stay_as_it_is():
    def made():
        run = trainer()
        return Trainer(run.model, run.loss, SGD(list(run.model.parameters())[2:], lr=0.2))

    fit_both(made)


# ---- what goes wrong in a compiled fit


def raised_in_both(made, error, x=DATA, y=SIDES, **options):
    """The message, which must be the same, as what is learnt until then."""
    options = {"epochs": 4, "batch_size": 16, "seed": 3} | options
    runs, messages, states = (made(), made()), [], []
    for run, way in zip(runs, (True, False), strict=True):
        with np.errstate(all="ignore"), pytest.raises(error) as caught:
            run.fit(x, y, compile=way, **options)
        messages.append(re.sub(r"#\d+", "#", str(caught.value)))
        states.append(learnt_by(run))
    assert messages[0] == messages[1]
    for name, array in states[1].items():
        assert_close(states[0][name], array, 1e-9)
    return messages[0]


def with_one(value):
    """In the 31st of the rows in the order in which they are taken: never in the first batch."""
    x = DATA.copy()
    x[np.random.default_rng(3).permutation(50)[30], 0] = value
    return x


@pytest.mark.usefixtures("in_python")
@pytest.mark.parametrize("batch_size", [7, 16, 25])
@pytest.mark.parametrize("middle", [(), (nn.Dropout(0.3),)], ids=["plain", "dropout"])
def test_a_nan_in_the_data_is_told_as_in_the_eager_loop(middle, batch_size):
    made = partial(trainer, lambda: small(*middle))
    told = raised_in_both(made, NotFiniteError, with_one(np.nan), batch_size=batch_size)
    assert re.search("the loss is nan in epoch 1, batch [25]", told)


@pytest.mark.usefixtures("in_python")
@pytest.mark.parametrize("patience", [1e-12, 1e3])
@pytest.mark.parametrize("batch_size", [16, 25])
def test_a_run_that_diverges_ends_where_the_eager_one_does(batch_size, patience, monkeypatch):
    monkeypatch.setattr(epochs, "PATIENCE", patience)
    made = partial(trainer, lambda: [nn.Dense(2, 1)], nn.MSE(), partial(SGD, lr=1e6))
    told = raised_in_both(made, NotFiniteError, DATA, DATA[:, :1], batch_size=batch_size, epochs=50)
    assert not re.search("epoch 1,", told)


@pytest.mark.usefixtures("in_python")
def test_a_gradient_that_is_not_finite_is_told_as_in_the_eager_loop():
    made = partial(trainer, loss=lambda z, y: tg.ops.sqrt(z * 0).sum())
    assert "the loss is finite, but the gradient" in raised_in_both(made, NotFiniteError)


@pytest.mark.usefixtures("in_python")
@pytest.mark.parametrize(
    "batch_size",
    [50, 25, 30],
)
def test_parameters_that_the_last_step_spoils_are_seen(batch_size):
    made = partial(trainer, lambda: [nn.Dense(2, 1)], nn.MSE(), partial(SGD, lr=1e308))
    raised_in_both(made, NotFiniteError, DATA * 1e3, DATA[:, :1], batch_size=batch_size, epochs=1)


@pytest.mark.usefixtures("in_python")
@pytest.mark.filterwarnings("ignore:this training runs step by step")
@pytest.mark.parametrize("wrong", [2, -1])
@pytest.mark.parametrize("row", [0, 49])
def test_a_label_that_is_no_class_is_told_as_in_the_eager_loop(row, wrong):
    y = SIDES.copy()
    y[row] = wrong
    assert "class" in raised_in_both(trainer, ValueError, DATA, y)


@pytest.mark.usefixtures("in_python")
@pytest.mark.filterwarnings("ignore:this training runs step by step")
def test_other_bad_data_are_told_as_in_the_eager_loop():
    words = partial(trainer, lambda: [nn.Embedding(5, 3), nn.Dense(3, 2)])
    raised_in_both(words, IndexError, np.full(50, 5))
    made = partial(trainer, lambda: small(n_out=1), nn.SigmoidBCE())
    raised_in_both(made, ValueError, DATA, COLUMN * 2)
    raised_in_both(partial(trainer, lambda: small(nn.BatchNorm(6))), ValueError, batch_size=7)


@pytest.mark.usefixtures("in_python")
@pytest.mark.filterwarnings("ignore:this training runs step by step")
@pytest.mark.parametrize("wrong", [-1, 5])
def test_a_word_that_is_not_in_the_table_is_told_as_in_the_eager_loop(wrong):
    words = np.arange(50) % 5
    words[49] = wrong
    raised_in_both(partial(trainer, lambda: [nn.Embedding(5, 3), nn.Dense(3, 2)]), IndexError, words)


@pytest.mark.parametrize("way", [recorded, in_loops])
def test_a_label_that_is_no_class_is_refused_in_every_way(way):
    y = Y.copy()
    y[1, 0] = 9
    with pytest.raises(ValueError, match="class"):
        way(Training(TRAININGS["tanh"]._replace(y=y)), 2)


@ways
def test_a_gradient_of_zero_is_clipped_without_a_warning(way):
    assert_same_training(way, Case(mlp(), lambda z, y: (z * 0).sum(), clip=1.0), steps=2)


# ---- Ctrl-C


def ctrl_c(*_):
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("in_python")
def test_ctrl_c_from_a_callback_ends_a_compiled_fit():
    before = signal.getsignal(signal.SIGINT)
    run = trainer()
    history = run.fit(DATA, SIDES, epochs=50, compile=True, callbacks=lambda t, row: row["epoch"] == 2 and ctrl_c())
    assert signal.getsignal(signal.SIGINT) is before
    assert (history.stopped, history.compiled) == ("interrupted", True)
    assert 2 <= len(history) <= 3
    assert run.optimizer.steps >= 4


@pytest.mark.usefixtures("in_python")
@pytest.mark.parametrize("portion", [1, 2, 5, 6])
def test_ctrl_c_in_the_middle_keeps_the_steps_that_were_made(portion, monkeypatch):
    """As after so many eager steps, of which the last epoch's are in no history."""
    monkeypatch.setattr(epochs, "PATIENCE", 1e-12)
    calls, some = [], epochs.Epochs.some

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == portion:
            ctrl_c()
        return some(*arguments)

    monkeypatch.setattr(epochs.Epochs, "some", interrupted)
    ours, theirs = trainer(), trainer(loss=lambda z, y: theirs_loss(z, y))
    mine = ours.fit(DATA, SIDES, epochs=3, batch_size=16, seed=3, compile=True)
    steps = []

    def theirs_loss(z, y):
        steps.append(len(y))
        if len(steps) == portion:
            ctrl_c()
        return cross_entropy(z, y)

    expected = theirs.fit(DATA, SIDES, epochs=3, batch_size=16, seed=3, compile=False)
    assert (mine.stopped, expected.stopped, len(calls)) == ("interrupted", "interrupted", portion)
    assert ours.optimizer.steps == portion
    np.testing.assert_allclose(mine.columns.get("loss", []), expected.columns.get("loss", []), rtol=1e-9)
    for name, array in learnt_by(theirs).items():
        assert_close(learnt_by(ours)[name], array, 1e-9)


@pytest.mark.usefixtures("in_python")
def test_a_compiled_fit_works_in_another_thread():
    answers = []
    thread = threading.Thread(target=lambda: answers.append(trainer().fit(DATA, SIDES, seed=0, compile=True)["loss"]))
    thread.start()
    thread.join()
    np.testing.assert_allclose(answers[0], trainer().fit(DATA, SIDES, seed=0, compile=False)["loss"], rtol=1e-9)


# ---- which trainings are compiled


@pytest.mark.usefixtures("in_python")
def test_auto_compiles_what_repays_it_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(train, "REPAYS", 8)
    short, long = (trainer().fit(DATA, SIDES, epochs=n, batch_size=16, seed=0) for n in (1, 2))
    assert (short.compiled, long.compiled) == (False, True)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("compiled: 8 steps")
    assert not trainer().fit(DATA, SIDES, epochs=2, batch_size=16, compile=False).compiled
    assert trainer().fit(DATA, SIDES, epochs=1, batch_size=16, compile=True).compiled
    assert capsys.readouterr() == ("", "")


def test_auto_stays_step_by_step_where_callbacks_would_have_it_traced_again_and_again(monkeypatch):
    monkeypatch.setattr(train, "REPAYS", 1)
    for few, whole in ((50, False), (1, True)):
        monkeypatch.setattr(train, "RETRACED", few)
        assert trainer().fit(DATA, SIDES, epochs=2, batch_size=16, callbacks=lambda *_: None).compiled is whole


@pytest.mark.parametrize("wrong", ["yes", None, 1.5, "Auto"])
def test_compile_is_true_false_or_auto(wrong):
    with pytest.raises(ValueError, match=r'compile=.* must be True, False or "auto"'):
        trainer().fit(DATA, SIDES, compile=wrong)


# ---- what has no loops


@pytest.fixture
def without_loops(of_ones_own):
    """A primitive whose body has no loops."""

    @primitive
    def running(x):
        return np.cumsum(x, axis=-1)

    @running.vjp("x")
    def running_x(g, out, x):
        return running(g[..., ::-1])[..., ::-1]

    return running


def test_a_step_without_loops_runs_as_numpy_after_one_warning(without_loops):
    case = Case(lambda: [nn.Dense(3, 4), without_loops])
    ours, theirs = Training(case), Training(case)
    step = tg.compile(ours.step)
    with pytest.warns(UserWarning, match="runs as NumPy.*cumsum") as caught:
        answers = [step(*batch) for batch in ours.batches]
    assert len(caught) == 1
    for mine, expected in zip(answers, eager(theirs, STEPS), strict=True):
        assert_close(mine[0], expected[0], 1e-9)
    for name, array in theirs.learnt().items():
        assert_close(ours.learnt()[name], array, 1e-9)
    with pytest.raises(CannotLower, match=r"running: its body uses np\.cumsum"):
        _ = ours.program().lowered


def test_a_fit_without_loops_runs_step_by_step_after_a_warning(without_loops):
    ours, theirs = (trainer(lambda: small(end=[without_loops])) for _ in range(2))
    with pytest.warns(UserWarning, match="this training runs step by step.*cumsum"):
        mine = ours.fit(DATA, SIDES, epochs=2, seed=3, compile=True)
    expected = theirs.fit(DATA, SIDES, epochs=2, seed=3, compile=False)
    assert not mine.compiled
    assert mine.columns == expected.columns
    for name, array in learnt_by(theirs).items():
        np.testing.assert_array_equal(learnt_by(ours)[name], array)


def test_indexing_with_a_mask_runs_as_numpy():
    w = tg.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, name="w")
    step = tg.compile(lambda mask: (w * w)[mask].sum())
    mask = np.array([[True, False, True], [True, False, True]])
    with pytest.warns(UserWarning, match=r"runs as NumPy.*mask"):
        assert step(mask) == 0 + 4 + 9 + 25
    assert step(mask) == 0 + 4 + 9 + 25


def test_a_mask_that_differs_from_step_to_step_is_refused():
    w = tg.Tensor(np.arange(4.0), requires_grad=True, name="w")
    with pytest.raises(tg.TraceError, match="for other data"):
        tg.compile(lambda mask: (w * w)[mask].sum())(np.array([True, False, True, True]))


def test_a_fit_that_cannot_be_traced_runs_step_by_step_after_a_warning():
    made = partial(trainer, loss=lambda z, y: cross_entropy(z, y) * (2.0 if float(z.mean()) > 0 else 1.0))
    ours, theirs = made(), made()
    with pytest.warns(UserWarning, match="this training runs step by step"):
        mine = ours.fit(DATA, SIDES, epochs=2, seed=3, compile=True)
    assert mine.columns == theirs.fit(DATA, SIDES, epochs=2, seed=3, compile=False).columns


# ---- the compiled function itself


def batched(case, dtype=np.float64):
    """The program of many steps, and a call of it that makes so many of them on its example."""
    training = Training(case, dtype)
    program = Compiled(training.program(), batched=True)
    program.prepare()

    def call(steps):
        x, y = training.batches[0]
        outputs = [np.empty(steps * b.size, b.dtype) for b, _ in program.plan.outputs.values()]
        order = np.tile(np.arange(ROWS), steps)
        program.fetch()
        program.function(order, steps, program.numbers(steps), x.reshape(-1), y.reshape(-1), *outputs, *program.fixed)
        return outputs[0]

    return training, program, call


@jitted
@pytest.mark.parametrize("name", ["tanh", "many classes"])
def test_no_step_allocates_memory(name):
    from numba.core.runtime import _nrt_python as nrt
    from numba.core.runtime import rtsys

    _, _, call = batched(TRAININGS[name])
    before = nrt.memsys_stats_enabled()
    nrt.memsys_enable_stats()
    try:
        call(1)
        allocated = []
        for steps in (10, 1000):
            start = rtsys.get_allocation_stats()
            call(steps)
            allocated.append(rtsys.get_allocation_stats().alloc - start.alloc)
    finally:
        if not before:
            nrt.memsys_disable_stats()
    assert allocated[0] == allocated[1]


@pytest.mark.usefixtures("in_python")
def test_many_steps_in_one_call_are_as_many_calls():
    training, program, call = batched(TRAININGS["momentum"])
    found = call(5)
    program.put_back()
    theirs = Training(TRAININGS["momentum"])
    expected = [theirs.step(*theirs.batches[0])[0].data for _ in range(5)]
    assert_close(found, np.array(expected), 1e-9)
    for name, array in theirs.learnt().items():
        assert_close(training.learnt()[name], array, 1e-9)


def test_memory_names_every_role_and_adds_up():
    case = Case(mlp(nn.Tanh, nn.Dropout(0.5)), losses.softmax_cross_entropy, MANY % 4, partial(Adam, lr=0.1))
    program = Training(case._replace(loss=lambda z, y: cross_entropy(z, y, weight=[1, 2, 3, 4]))).program()
    total, *rows = program.memory.splitlines()
    rows = {
        what: int(size.replace(",", ""))
        for size, what in (re.match(r" *([\d,]+) bytes  (.*?):", r).groups() for r in rows)
    }
    assert list(rows) == list(loops.ROLES.values())
    assert all(size > 0 for size in rows.values())
    assert total == f"{sum(rows.values()):,} bytes, allocated once"
    assert rows["the batch"] == ROWS * (3 + 1) * 8
    assert rows["random numbers"] == ROWS * 4 * 8
    parameters = 3 * 5 + 5 + 5 * 4 + 4
    assert rows["parameters and what else lives from step to step"] == 3 * parameters * 8


def test_the_memory_is_what_the_program_holds():
    program = Training(TRAININGS["all at once"]).program()
    with loops_as_python():
        made = Compiled(program)
    apart = sum(array.nbytes for b, array in made.arrays.items() if b.role != "temporary")
    ends = [b.offset + array.nbytes for b, array in made.arrays.items() if b.role == "temporary"]
    assert program.memory.startswith(f"{apart + max(ends):,} bytes, allocated once")


def test_the_gradient_of_the_loss_is_said_in_the_loops():
    assert "# d_z2 = xent_grad(" in Training(TRAININGS["tanh"]).program().lowered


@pytest.mark.parametrize("name", TRAININGS)
def test_the_loops_are_python_with_the_printed_lines_as_comments(name):
    program = Training(TRAININGS[name]).program()
    text = program.lowered
    (run,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert run.name == "run"
    comments = {line.strip() for line in text.splitlines() if line.strip().startswith("# ") and " = " in line}
    said = {ast.unparse(ast.parse(comment[2:])) for comment in comments}
    lines = {ast.unparse(line) for line in ast.parse(program.source).body[-1].body}
    assert said <= lines
    kept = {i.result.name for i in program.instructions} & {b.name for b in compiled.lowered(program).buffers}
    together = {i.result.name for i in program.instructions if i.op.name.endswith("xent_grad")}  # with the loss
    told = {line.split(" = ")[0] for line in said} | together
    assert len(kept) > 6
    assert kept <= told
    for section in ("forward", "backward", "update"):
        assert f"# ---- {section}" in text


@pytest.mark.usefixtures("in_python")
def test_a_parameter_of_another_dtype_or_shape_is_refused_by_its_name():
    training = Training(TRAININGS["tanh"])
    step = tg.compile(training.step)
    step(*training.batches[0])
    weights = training.model.layers[2].W
    weights.data = weights.data.astype(np.float32)
    with pytest.raises(ValueError, match=r"W2 has shape \(5, 4\) and dtype float32 now.*compile it again"):
        step(*training.batches[1])
    weights.data = np.zeros((5, 5))
    with pytest.raises(ValueError, match=r"W2 has shape \(5, 5\)"):
        step(*training.batches[1])


@pytest.mark.usefixtures("in_python")
def test_other_shapes_are_compiled_anew():
    ours, theirs = Training(TRAININGS["all at once"]), Training(TRAININGS["all at once"])
    step = tg.compile(ours.step)
    for k, rows in enumerate((6, 4, 6, 3)):
        x, y = (array[:rows] for array in ours.batches[k])
        assert_close(step(x, y)[0], theirs.step(x, y)[0].data, 1e-9)
    assert len(step.programs) == 3
    for name, array in theirs.learnt().items():
        assert_close(ours.learnt()[name], array, 1e-9)


def test_only_what_can_be_called_is_compiled():
    with pytest.raises(TypeError, match="which cannot be called"):
        tg.compile(3)
