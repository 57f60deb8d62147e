"""Generated loops that run as plain Python, and trainings that are run in several ways."""

import re
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

numba = pytest.importorskip("numba")

import tinygrad_ce as tg  # noqa: E402 (what follows is skipped without Numba)
from tinygrad_ce import losses, nn, optim  # noqa: E402
from tinygrad_ce.kernels import gemm  # noqa: E402
from tinygrad_ce.program import run  # noqa: E402
from tinygrad_ce.program.run import Compiled  # noqa: E402
from tinygrad_ce.train import Trainer  # noqa: E402
from tinygrad_ce.variable import write  # noqa: E402

jitted = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="the loops run as Python")
PLAIN = {"multiply": gemm.multiplied, "add_rows": gemm.rows_added, "take_rows": gemm.rows_taken}
PLAIN |= {"multiply_rows": gemm.some_rows_multiplied, "multiply_terms": gemm.some_terms_multiplied}


def as_python(text):
    """The generated function `run` without Numba: the name under which it is kept, and the function."""
    names = {}
    text = re.sub(r"^(@jit|\w+ = linked.*)\n", "", text, flags=re.MULTILINE)
    exec(compile(text, "<lowered>", "exec"), names)
    names.update({name: function for name, function in PLAIN.items() if name in names})
    return "none", np.errstate(all="ignore")(names["run"])


@contextmanager
def loops_as_python():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.code_cache, "function_of", as_python)
        patch.setattr(run.code_cache, "seal", lambda name: None)
        yield


def assert_close(got, expected, exactness):
    """Equal shapes and dtypes, and numbers that differ by rounding, relative to the largest of the array."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(got, expected, rtol=exactness, atol=exactness * scale)


def examples(program):
    return [x.example for x in program.arguments]


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
    "adagrad": Case(mlp(), optimizer=partial(optim.AdaGrad, lr=0.05, weight_decay=0.01)),
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
        memory = {f"memory {i} {k}": x.data for i, s in enumerate(self.optimizer.memory) for k, x in enumerate(s)}
        return {**self.model.state(), **{name: x.copy() for name, x in memory.items()}}


def eager(training, steps):
    return [tuple(x.data for x in training.step(*batch)) for batch in training.batches[:steps]]


def recorded(training, steps):
    program = training.program()
    return [program.run(*batch) for batch in training.batches[:steps]]


def printed(training, steps, exact=True):
    """The printed step with nothing but NumPy; what it gives for the parameters is what it is given next."""
    program, names = training.program(), {}
    text = program.text(exact)
    assert "tinygrad_ce" not in text
    exec(text, names)
    kept = {x: x.variable.data.copy() for x in program.inputs if x.variable is not None}
    numbers = [read(steps) for read in program.numbers.values()]
    found = []
    for k, batch in enumerate(training.batches[:steps]):
        given = dict(zip(program.arguments, batch, strict=True)) | kept
        others = {x: x.draw() if x.draw else x.example for x in program.inputs if x not in given}
        given |= others
        answers = names["step"](*(given[x] for x in program.inputs), *(n[k].item() for n in numbers))
        found.append(answers[: len(program.outputs)])
        kept |= zip(program.updates, map(np.asarray, answers[len(program.outputs) :]), strict=True)
    for x in program.updates:
        write(x.variable, kept[x])
    return found


def textbook(training, steps):
    """The step as a textbook prints it."""
    return printed(training, steps, exact=False)


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
    if way not in (printed, textbook):
        assert ours.optimizer.steps == theirs.optimizer.steps == steps


ways = pytest.mark.parametrize("way", [recorded, printed, textbook, in_loops], ids=lambda way: way.__name__)


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


DATA = rng.normal(size=(50, 2))
SIDES = (DATA[:, 0] * DATA[:, 1] > 0).astype(int)
DESCENT = partial(SGD, lr=0.2)


def small(*middle, n_out=2, end=()):
    return [nn.Dense(2, 6), *middle, nn.Tanh(), nn.Dense(6, n_out), *end]


def trainer(layers=small, loss=None, make=DESCENT, dtype=np.float64):
    tg.seed(0)
    model = nn.Sequential(*layers()).astype(dtype)
    return Trainer(model, loss or nn.SoftmaxCrossEntropy(), make(model.parameters()))


def learnt_by(run):
    memory = {f"memory {i} {k}": x.data.copy() for i, s in enumerate(run.optimizer.memory) for k, x in enumerate(s)}
    return {**run.model.state(), **memory, "steps": np.array(run.optimizer.steps)}
