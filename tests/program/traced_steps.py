"""Steps of a training, and the ways to run them: eager, traced, printed, compiled."""

from types import SimpleNamespace

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.optim import SGD, Adam, Cosine, clip_grad_norm
from tinygrad_ce.program.evaluate import tick
from tinygrad_ce.variable import write

X = np.random.default_rng(0).normal(size=(4, 3))
Y = np.array([0, 1, 2, 1])
BATCHES = [(np.random.default_rng(k).normal(size=(4, 3)),) for k in range(3)]


def parameter(values=(1.0, 2.0, 3.0), name="w", dtype=np.float64):
    return tg.Tensor(np.array(values, dtype), requires_grad=True, name=name)


def learning(loss_of, *optimizers):
    """The usual step: zero_grad, backward, step."""

    def step(*arrays):
        loss = loss_of(*arrays)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss

    return step


def world(step, parameters, *optimizers, owners=()):
    """A step, and all that lives from one step to the next."""
    return SimpleNamespace(step=step, parameters=list(parameters), optimizers=optimizers, owners=owners)


def living(things):
    """Copies of all that a step may change."""
    found = [np.array(p.data) for p in things.parameters]
    found += [np.array(a.data) for o in things.optimizers for memory in o.memory for a in memory]
    found += [np.array(o.steps) for o in things.optimizers]
    return found + [np.array(a) for o in things.owners for a in (o.running_mean, o.running_variance)]


def a_line(make=SGD, dtype=np.float64, **options):
    """One parameter, a loss that is no straight line, and an optimizer."""
    w = parameter(dtype=dtype)
    optimizer = make([w], **options)
    return world(learning(lambda x: tg.ops.tanh(x * w).sum(), optimizer), [w], optimizer)


def a_network(make=SGD, *between, **options):
    """Two dense layers and what is between them."""
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(3, 5), *(between or [tg.nn.Tanh()]), tg.nn.Dense(5, 3))
    optimizer = make(model.parameters(), **options)

    def step(x, y):
        loss = tg.losses.softmax_cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    owners = [layer for layer in between if isinstance(layer, tg.nn.BatchNorm)]
    return world(step, model.parameters(), optimizer, owners=owners)


def as_eager(step, *examples):
    return lambda *arrays: step(*(tg.Tensor(a) for a in arrays))


def as_traced(step, *examples):
    return tg.trace(step, *examples).run


def as_compiled(step, *examples):
    return tg.compile(step)


def as_printed(step, *examples):
    """The printed text, given what it asks for; what it answers is written back."""
    program = tg.trace(step, *examples)
    namespace = {}
    exec(program.text(exact=True), namespace)

    def run(*arrays):
        given = iter(arrays)
        values = [next(given) if x.role == "input" else asked(x) for x in program.inputs]
        numbers = [read(1)[0].item() for read in program.numbers.values()]
        answers = namespace["step"](*values, *numbers)
        answers = [np.array(a) for a in (answers if isinstance(answers, tuple) else (answers,))]
        for kept, new in zip(program.updates, answers[len(program.outputs) :], strict=True):
            write(kept.variable, new)
        tick(program)
        return tuple(answers[: len(program.outputs)])

    return run


def asked(value):
    if value.variable is not None:
        return value.variable.data
    return value.example if value.draw is None else value.draw()


def plain(answer):
    answers = answer if isinstance(answer, tuple) else () if answer is None else (answer,)
    return [np.array(a.data if isinstance(a, tg.Tensor) else a) for a in answers]


def nothing(things, k):
    pass


def after(make, how, batches, change=nothing):
    """What some steps answer, and what lives after them. change: what is done to the world before step k."""
    things = make()
    run = how(things.step, *batches[0])
    answers = []
    for k, batch in enumerate(batches):
        change(things, k)
        answers += plain(run(*batch))
    return answers, living(things)


def assert_equals_eager(make, batches, change=nothing, ways=(as_traced, as_printed), rtol=1e-12):
    expected = after(make, as_eager, batches, change)
    for how in ways:
        for mine, theirs in zip(after(make, how, batches, change), expected, strict=True):
            for a, b in zip(mine, theirs, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=how.__name__)


ALL = (as_traced, as_printed, as_compiled)

w, b = parameter(), parameter([0.5, 0.5, 0.5], "b")


def schedule_changes(things, k):
    optimizer = things.optimizers[0]
    if k == 1:
        optimizer.lr = 0.5
    elif k == 2:
        optimizer.lr = Cosine(0.3, steps=5)
        optimizer.steps = 40


def two_optimizers():
    p, q = parameter(), parameter([0.5, -0.5, 1.0], "q")
    optimizers = Adam([p], lr=0.1), Adam([q], lr=0.01)
    return world(learning(lambda x: tg.ops.tanh(x * p + q).sum(), *optimizers), [p, q], *optimizers)


def penalised():
    p = parameter()
    optimizer = SGD([p])

    def loss_of(x):
        loss = tg.ops.tanh(x * p).sum()
        (slope,) = tg.gradients(loss, [p], create_graph=True)
        return loss + (slope * slope).sum()

    return world(learning(loss_of, optimizer), [p], optimizer)


def clipping(max_norm, factor=1.0):
    p, q = parameter(), parameter([0.5, -0.5, 1.0], "q")
    optimizer = SGD([p, q])

    def step(x):
        loss = (tg.ops.tanh(x * p + q) * factor).sum()
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm(optimizer.parameters, max_norm)
        optimizer.step()
        return loss

    return world(step, [p, q], optimizer)
