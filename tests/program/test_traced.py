"""Steps as programs: the footguns one by one (what a step may do, and what is refused with the way out)."""

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
from fresh import said

import tinygrad_ce as tg
from tinygrad_ce.optim import SGD, Adam, AdamW, Cosine, Optimizer, RMSprop, clip_grad_norm
from tinygrad_ce.program import simplified as passes
from tinygrad_ce.program import traced
from tinygrad_ce.program.straight import Number

X = np.random.default_rng(0).normal(size=(4, 3))
Y = np.array([0, 1, 2, 1])
BATCHES = [(np.random.default_rng(k).normal(size=(4, 3)),) for k in range(3)]
LABELLED = [(x, np.roll(Y, k)) for k, (x,) in enumerate(BATCHES)]


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
    found += [np.array(a) for o in things.optimizers for state in o.state for a in state]
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


# ---- four ways to run a step


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
    exec(program.source, namespace)

    def run(*arrays):
        given = iter(arrays)
        values = [next(given) if x.role == "input" else asked(x) for x in program.inputs]
        numbers = [read(1)[0].item() for read in program.numbers.values()]
        answers = namespace["step"](*values, *numbers)
        answers = [np.array(a) for a in (answers if isinstance(answers, tuple) else (answers,))]
        for kept, new in zip(program.updates, answers[len(program.outputs) :], strict=True):
            kept.home.write(new)
        for optimizer in program.optimizers:
            optimizer.steps += 1
        return tuple(answers[: len(program.outputs)])

    return run


def asked(value):
    if value.home is not None:
        return value.home.read()
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


# ---- numbers taken out of tensors are refused, with the way out

w, b = parameter(), parameter([0.5, 0.5, 0.5], "b")
OUTSIDE = tg.Tensor([1.0, 2.0, 3.0], name="OUTSIDE")
count_calls = iter(range(1000)).__next__


def branches(x):
    loss = (x * w).sum()
    if loss > 1:
        loss = loss * 2
    return loss


def loops(x):
    loss = (x * w).sum()
    while loss < 100:
        loss = loss * 2
    return loss


def asserts(x):
    loss = (x * w).sum()
    assert loss < 1e9
    return loss


CHOOSE, TENSORS = r"where\(condition, a, b\)", "compute with tensors all the way"
PASS, RETURN = "pass it to the step as an input", "return the tensor itself"

REFUSED = {
    "if loss > 1": (branches, CHOOSE),
    "while": (loops, CHOOSE),
    "assert": (asserts, CHOOSE),
    "bool(t)": (lambda x: x * bool(x.sum() > 0), CHOOSE),
    "float(t)": (lambda x: x * float(x.sum()), CHOOSE),
    "int(t)": (lambda x: x * int(x.sum()), CHOOSE),
    "t.item()": (lambda x: x * x.sum().item(), CHOOSE),
    "the item of a parameter": (lambda x: x * w.sum().item(), CHOOSE),
    "math.exp(t)": (lambda x: x * math.exp(x.sum()), CHOOSE),
    "max(t, 1)": (lambda x: max(x.sum(), 1.0), CHOOSE),
    "0 < t < 1": (lambda x: 0 < x.sum() < 1, CHOOSE),
    "a format": (lambda x: (x.sum(), f"{x.sum():.2f}")[0], CHOOSE),
    "np.asarray(t)": (lambda x: x * np.asarray(x).max(), CHOOSE),
    "np.array of a parameter's result": (lambda x: np.asarray((x * w).detach()).sum(), CHOOSE),
    "a branch on .data": (lambda x: x * 2 if x.data.std() > 0.1 and x.data[:, 0].std() > 0 else x * 3, CHOOSE),
    "a branch on .data with more in it": (lambda x: (x * 2).sum() if x.data[:, 0].std() else x.sum(), CHOOSE),
    "a number taken from .data": (lambda x: x * float(x.data.sum()), TENSORS),
    "a number from .data as an option": (lambda x: x.sum(axis=int(x.data[:, 0].std() > 0)), TENSORS),
    "a random number": (lambda x: x * random.random(), TENSORS),
    "a number that counts the calls": (lambda x: x * count_calls(), TENSORS),
    "a NumPy number from .data": (lambda x: x * x.data.sum(), "a number taken out of .data"),
    "a constant array from outside": (lambda x: x * np.full(3, 2.0), PASS),
    "a closure's array": (lambda x: (x * X).sum(), PASS),
    "a closure's labels": (lambda x: tg.losses.softmax_cross_entropy(x * w, Y), PASS),
    "a closure's targets": (lambda x: tg.losses.mse(x * w, X), PASS),
    "a closure's mask": (lambda x: tg.ops.where(X > 0, x, 0.0).sum(), PASS),
    "a closure's indices": (lambda x: x[np.array([0, 1])].sum(), PASS),
    "another Tensor without gradient": (lambda x: (x * OUTSIDE).sum(), PASS),
    "a Tensor made in the step": (lambda x: x * tg.Tensor(2.0), PASS),
    "random numbers": (lambda x: x + np.random.default_rng(0).normal(size=3), PASS),
    "an array computed with NumPy on .data": (lambda x: x * np.tanh(x.data), "not on .data"),
    "a part of .data": (lambda x: x * x.data[0], "not on .data"),
    "returning a float": (lambda x: 2.0, RETURN),
    "returning an array": (lambda x: (x * w).data, RETURN),
    "returning a gradient": (lambda x: ((x * w).sum().backward(), w.grad)[1], RETURN),
    "returning a dictionary": (lambda x: {"loss": x.sum()}, RETURN),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_program_cannot_hold_is_refused_with_the_way_out(name):
    step, way_out = REFUSED[name]
    before = w.data.copy()
    for attempt in (lambda: tg.trace(step, X), lambda: tg.compile(step)(X)):
        with pytest.raises(tg.TraceError, match=way_out):
            attempt()
    np.testing.assert_array_equal(w.data, before)
    assert w.grad is None


def test_after_a_refusal_everything_is_as_usual():
    with pytest.raises(tg.TraceError):
        tg.trace(branches, X)
    assert float(branches(tg.Tensor(X)).detach()) == branches(tg.Tensor(X)).data
    assert bool(tg.Tensor(2.0) > 1)


def test_an_array_of_a_tensor_with_a_gradient_is_refused_as_always():
    for step in (lambda x: np.asarray(x * w).sum(), lambda x: x * np.asarray(w)):
        with pytest.raises(TypeError, match="would lose its gradient"):
            tg.trace(step, X)


def test_an_error_of_the_step_itself_is_raised_and_nothing_is_changed():
    things = a_line(Adam)

    def fails(x):
        things.step(x)
        raise KeyError("mine")

    before = living(things)
    with pytest.raises(KeyError, match="mine"):
        tg.trace(fails, X)
    for x, y in zip(living(things), before, strict=True):
        np.testing.assert_array_equal(x, y)
    assert things.parameters[0].grad is None
    assert (tg.Tensor(1.0) + 1).item() == 2


BAKED = {
    "the first row": lambda x: x * float(x.data[0, 0]),
    "a parameter": lambda x: x * w / float(w.data.max()),
}


@pytest.mark.parametrize("name", BAKED)
def test_a_number_taken_from_data_that_both_traces_share_is_refused(name):
    with pytest.raises(tg.TraceError):
        tg.trace(BAKED[name], X)


@pytest.mark.parametrize("x", [np.array(2.0), X[:1]], ids=["no axes", "one row"])
def test_a_number_taken_from_a_single_row_is_refused(x):
    with pytest.raises(tg.TraceError):
        tg.trace(lambda x: x * float(x.data.sum()), x)


def test_a_branch_on_data_that_chooses_what_is_returned_is_refused():
    def step(x):
        double, triple = x * 2, x * 3
        return double if x.data[:, 0].std() > 0 else triple

    with pytest.raises(tg.TraceError):
        tg.trace(step, X)


@pytest.mark.parametrize("gradient", [lambda x: float(x.data.mean()), lambda x: np.array(x.data.sum())])
def test_a_number_from_data_as_the_gradient_of_backward_is_refused(gradient):
    optimizer = SGD([parameter()])

    def step(x):
        loss = (x * optimizer.parameters[0]).sum()
        optimizer.zero_grad()
        loss.backward(gradient(x))
        optimizer.step()
        return loss

    with pytest.raises(tg.TraceError):
        tg.trace(step, X)


def test_an_argument_as_the_gradient_of_backward_is_followed():
    def make():
        p = parameter()
        optimizer = SGD([p])

        def step(x, scale):
            loss = (x * p).sum()
            optimizer.zero_grad()
            loss.backward(scale)
            optimizer.step()
            return loss

        return world(step, [p], optimizer)

    assert_equals_eager(make, [(X, np.array(s)) for s in (2.0, 0.0, -1.0)])


def test_class_weights_computed_from_the_data_are_refused():
    def step(x, y):
        return tg.losses.softmax_cross_entropy(x * w, y, weight=1.0 + np.bincount(y.data, minlength=3))

    with pytest.raises(tg.TraceError):
        tg.trace(step, X, Y)


def test_class_weights_from_outside_belong_to_the_loss():
    p = parameter()
    for weight in ([1.0, 2.0, 3.0], np.array([0.0, 1.0, 1.0])):
        program = tg.trace(lambda x, y, c=weight: tg.losses.softmax_cross_entropy(x * p, y, weight=c), X, Y)
        expected = tg.losses.softmax_cross_entropy(tg.Tensor(X) * p, Y[::-1], weight=weight)
        np.testing.assert_allclose(program.run(X, Y[::-1]), expected.data, rtol=1e-12)


def test_a_first_row_that_the_loss_ignores_is_no_obstacle():
    """The second trace has that row everywhere."""
    program = tg.trace(lambda x, y: tg.losses.softmax_cross_entropy(x * w, y, ignore_index=0), X, Y)
    expected = tg.losses.softmax_cross_entropy(tg.Tensor(X) * w, Y, ignore_index=0)
    np.testing.assert_allclose(program.run(X, Y), expected.data, rtol=1e-12)


def test_shapes_constants_and_whole_arrays_may_be_used():
    step = {
        "shapes": lambda x: x.sum() / x.shape[0] / len(x) * 2 * math.pi,
        "a Python number": lambda x: (x * 2 + True).sum(),
        "what is detached": lambda x: ((x * w).detach() * x).sum(),
        "all of .data": lambda x: (x * x.data).sum(),
        "no_grad": lambda x: (tg.ops.tanh(x) * w).sum(),
        "where": lambda x: tg.ops.where(x > 0, x, -x).sum(),
    }
    for name, each in step.items():
        program = tg.trace(each, X)
        np.testing.assert_allclose(program.run(X - 1), each(tg.Tensor(X - 1)).data, rtol=1e-12, err_msg=name)


# ---- parameters are changed by optimizers only


def by_hand(p, when):
    def step(x):
        if when == "before":
            p.data *= 0.5
        loss = (x * p).sum()
        p.grad = None
        loss.backward()
        if when == "in place":
            p.data -= 0.1 * p.grad
        elif when == "another array":
            p.data = p.data - 0.1 * p.grad
        return loss

    return step


@pytest.mark.parametrize("when", ["in place", "another array", "before"])
def test_an_update_by_hand_is_refused_and_undone(when):
    p = parameter()
    with pytest.raises(tg.TraceError, match=r"call it instead of changing .data"):
        tg.trace(by_hand(p, when), X)
    np.testing.assert_array_equal(p.data, [1, 2, 3])
    assert p.grad is None


def test_writing_to_an_argument_changes_no_array_of_the_user():
    mine = X.copy()

    def step(x):
        x.data -= 1.0
        return (x * w).sum()

    try:
        program = tg.trace(step, mine)
    except (tg.TraceError, ValueError):
        program = None
    np.testing.assert_array_equal(mine, X)
    assert program is None or program.run(X) == step(tg.Tensor(X.copy())).data


def test_writing_to_a_result_is_refused():
    def step(x):
        h = x * w
        h.data *= 2
        return h.sum()

    with pytest.raises((tg.TraceError, ValueError)):
        tg.trace(step, X)


def test_a_gradient_from_before_is_refused():
    p = parameter()
    optimizer = SGD([p])
    (p * 2).sum().backward()

    def step(x):
        loss = (x * p).sum()
        loss.backward()
        optimizer.step()
        return loss

    with pytest.raises(tg.TraceError, match=r"w has a gradient from before this step: call optimizer.zero_grad"):
        tg.trace(step, X)


def with_another(use):
    """A step after which a parameter that has no part in it is used with a gradient from before."""
    p, other = parameter(), parameter(name="other")
    other.grad = np.ones(3)
    optimizer = SGD([p, other])

    def step(x):
        p.grad = None
        loss = (x * p).sum()
        loss.backward()
        use(optimizer)
        return loss

    return step


def test_a_gradient_from_before_of_another_parameter_is_refused_by_the_update():
    with pytest.raises(tg.TraceError, match="other"):
        tg.trace(with_another(lambda optimizer: optimizer.step()), X)


def test_a_gradient_from_before_of_another_parameter_is_refused_by_clipping():
    with pytest.raises(tg.TraceError, match="other"):
        tg.trace(with_another(lambda optimizer: clip_grad_norm(optimizer.parameters, 1.0)), X)


def test_a_step_that_never_calls_zero_grad_is_refused_or_adds_up():
    def make():
        p = parameter()
        optimizer = SGD([p])

        def step(x):
            loss = (x * p).sum()
            loss.backward()
            optimizer.step()
            return loss

        return world(step, [p], optimizer)

    try:
        tg.trace(make().step, X)
    except tg.TraceError:
        return
    assert_equals_eager(make, BATCHES, ways=[as_traced])


def test_two_steps_of_one_optimizer_are_refused():
    things = a_line()

    def step(x):
        things.step(x)
        things.optimizers[0].step()

    with pytest.raises(tg.TraceError, match="two steps in one; trace a step with one"):
        tg.trace(step, X)


def test_a_parameter_in_two_optimizers_that_both_step_is_refused():
    p = parameter()
    with pytest.raises(tg.TraceError, match="updated twice"):
        tg.trace(learning(lambda x: (x * p).sum(), SGD([p]), Adam([p])), X)


@pytest.mark.parametrize("use", [lambda p, x: (p * x).sum(), lambda p, x: p, lambda p, x: p.detach()])
def test_a_parameter_is_not_used_after_its_update(use):
    things = a_line()

    def step(x):
        things.step(x)
        return use(things.parameters[0], x)

    with pytest.raises(tg.TraceError, match="let the optimizer's step be the last line"):
        tg.trace(step, X)
    np.testing.assert_array_equal(things.parameters[0].data, [1, 2, 3])


@pytest.mark.parametrize("way", [as_traced, as_printed, as_compiled])
def test_a_parameter_from_before_its_update_is_returned_as_it_was(way):
    p = parameter()
    optimizer = SGD([p])

    def step(x):
        before = p.reshape(3)
        loss = (x * p).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, before

    run = way(step, X)
    answer = plain(tuple(run(X)))
    np.testing.assert_array_equal(answer[1], [1, 2, 3])
    np.testing.assert_allclose(p.data, [1, 2, 3] - 0.1 * X.sum(0))


# ---- tracing changes nothing


@pytest.mark.parametrize("make", [SGD, Adam])
def test_tracing_changes_nothing(make):
    things = a_network(make, tg.nn.BatchNorm(5), tg.nn.Dropout(0.5))
    things.step(tg.Tensor(X), tg.Tensor(Y))
    before, random_state = living(things), tg.nn.init.generator().bit_generator.state
    homes = [p.data for p in things.parameters]
    mine = X.copy(), Y.copy()
    tg.trace(things.step, *mine)
    for x, y in zip(living(things), before, strict=True):
        np.testing.assert_array_equal(x, y)
    assert tg.nn.init.generator().bit_generator.state == random_state
    assert all(p.grad is None for p in things.parameters)
    assert all(p.data is home for p, home in zip(things.parameters, homes, strict=True))
    np.testing.assert_array_equal(mine[0], X)
    np.testing.assert_array_equal(mine[1], Y)


@pytest.mark.parametrize("number", [np.float64(2), np.int64(2), np.sqrt(6.0), np.float32(0.5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_numpy_number_that_is_always_the_same_keeps_its_dtype(number, dtype):
    x = X.astype(dtype)
    expected = (tg.Tensor(x) * number).data
    for way in (as_traced, as_printed, as_compiled):
        (answer,) = plain(way(lambda x: x * number, x)(x))
        np.testing.assert_allclose(answer, expected, rtol=1e-7)
        assert answer.dtype == expected.dtype, way


@pytest.mark.parametrize("way", [as_traced, as_printed, as_compiled])
def test_gradients_without_a_graph_are_numbers_to_backward(way):
    def penalised(x):
        loss = (x * w * w).sum()
        return loss + (tg.gradients(loss, w) ** 2).sum()

    np.testing.assert_allclose(plain(way(penalised, X)(X))[0], plain(penalised(tg.Tensor(X)))[0], rtol=1e-12)


def test_what_a_model_changes_while_it_runs_is_refused_and_undone():
    class Counting(tg.nn.Module):
        def __init__(self):
            self.line, self.calls, self.generator = tg.nn.Dense(3, 2), 0, np.random.default_rng(0)

        def forward(self, x):
            self.calls += 1
            self.generator.normal()
            return self.line(x)

    model = Counting()
    state = model.generator.bit_generator.state
    with pytest.raises(tg.TraceError, match="changes calls of"):
        tg.trace(lambda x: model(x), X)
    assert model.calls == 0
    assert model.generator.bit_generator.state == state


def test_a_fixed_array_of_a_model_is_part_of_its_program():
    class Masked(tg.nn.Module):
        def __init__(self):
            self.line, self.mask = tg.nn.Dense(3, 2), np.array([1.0, 0.0, 2.0])

        def forward(self, x):
            return self.line(x * self.mask)

    model = Masked()
    for way in (as_traced, as_printed, as_compiled):
        np.testing.assert_allclose(plain(way(lambda x: model(x), X)(X))[0], model(X).data, rtol=1e-12)


def test_a_compiled_step_follows_the_mode_of_its_model():
    model = tg.nn.Sequential(tg.nn.Dense(3, 4), tg.nn.Dropout(0.5))
    compiled = tg.compile(model)
    assert (plain(compiled(X))[0] == 0).any()
    model.eval()
    np.testing.assert_allclose(plain(compiled(X))[0], model(X).data, rtol=1e-12)


def test_arguments_may_be_named():
    def weighed(x, weight):
        return (x * weight).sum()

    assert tg.compile(weighed)(X, weight=X) == pytest.approx((X * X).sum())


LAYERS = "batchnorm", "dropout"


def test_what_tracing_fixes_is_listed():
    layers = tg.nn.BatchNorm(5), tg.nn.Dropout(0.5)
    things = a_network(SGD, *layers)
    shapes = "shapes and dtypes: x (4, 3) float64, y (4,) int64"
    mode = "the mode of {} layers: {}"
    assert tg.trace(things.step, X, Y).fixed == [shapes, *(mode.format(layer, "training") for layer in LAYERS)]
    for layer in layers:
        layer.eval()
    assert tg.trace(things.step, X, Y).fixed == [shapes, *(mode.format(layer, "evaluation") for layer in LAYERS)]
    assert tg.trace(lambda: (w * w).sum()).fixed == []


def test_that_dropout_is_off_is_listed():
    off = tg.nn.Dropout(0.5)
    off.eval()
    assert "dropout" in " ".join(tg.trace(lambda x: off(x).sum(), X).fixed)


# ---- arguments and answers


def test_arrays_that_do_not_fit_are_refused_by_name():
    program = tg.trace(lambda points, labels: (points * w).sum() + labels.sum(), X, Y)
    for arrays in ((), (X,), (X, Y, Y)):
        with pytest.raises(TypeError, match=rf"takes 2 arrays \(points, labels\), and {len(arrays)} were passed"):
            program.run(*arrays)
    with pytest.raises(ValueError, match=r"points has shape \(3, 3\).*trace again.*tg.compile"):
        program.run(X[:3], Y)
    with pytest.raises(ValueError, match=r"labels has shape \(4,\) and dtype float64"):
        program.run(X, Y.astype(float))
    with pytest.raises(ValueError, match=r"points has shape .* and dtype float32"):
        program.run(X.astype(np.float32), Y)
    assert program.run(tg.Tensor(X), Y) == program.run(X.tolist(), Y.tolist())


def test_compile_traces_again_for_another_shape_and_dtype():
    p = parameter(name="p")
    seen = []

    def step(x):
        seen.append((x.shape, x.dtype))
        return (x * p).sum()

    compiled = tg.compile(step)
    for x in (X, X[:2], X.astype(np.float32), X + 1, X[:2] + 1):
        np.testing.assert_allclose(compiled(x), (x * p.data).sum(), rtol=1e-6)
    kinds = [((4, 3), np.float64), ((2, 3), np.float64), ((4, 3), np.float32)]
    assert seen == [kind for kind in kinds for _ in range(2)]


def test_wrong_examples_and_steps_are_told_by_python():
    with pytest.raises(TypeError, match="argument"):
        tg.trace(lambda x: x.sum())
    with pytest.raises(TypeError, match="argument"):
        tg.trace(lambda x: x.sum(), X, X)
    with pytest.raises(TypeError, match="cannot be called"):
        tg.compile(3)


def test_a_step_without_arguments():
    program = tg.trace(lambda: (w * w).sum())
    assert program.run() == 14
    assert tg.compile(lambda: (w * w).sum())() == 14
    with pytest.raises(TypeError, match="takes 0 arrays"):
        program.run(X)


@pytest.mark.parametrize("way", [as_traced, as_compiled])
def test_a_step_that_returns_nothing_still_learns(way):
    things, twin = a_line(), a_line()
    assert way(lambda x: (things.step(x), None)[1], X)(X) is None
    twin.step(tg.Tensor(X))
    np.testing.assert_allclose(things.parameters[0].data, twin.parameters[0].data, rtol=1e-12)


@pytest.mark.parametrize("way", [as_traced, as_compiled])
def test_a_step_that_computes_nothing(way):
    assert way(lambda x: None, X)(X) is None
    np.testing.assert_array_equal(way(lambda x: x, X)(X + 1), X + 1)


def test_a_step_that_returns_several():
    def step(x):
        scores = x * w
        return scores.sum(), scores, scores, x, w

    for way in (as_traced, as_compiled):
        answers = way(step, X)(X + 1)
        assert isinstance(answers, tuple)
        for got, expected in zip(answers, step(tg.Tensor(X + 1)), strict=True):
            np.testing.assert_allclose(got, expected.data, rtol=1e-12)
    (alone,) = tg.trace(lambda x: (x.sum(),), X).run(X)
    assert alone == X.sum()
    assert isinstance(tg.trace(lambda x: [x.sum(), x], X).run(X), tuple)


def test_answers_and_arguments_are_not_the_parameters_memory():
    for way in (as_traced, as_compiled):
        run = way(lambda x: (x * 1, w), X)
        for array in run(X):
            array[...] = 77
        np.testing.assert_array_equal(w.data, [1, 2, 3])
        np.testing.assert_array_equal(run(X)[1], [1, 2, 3])


def test_an_empty_tuple_stays_one():
    assert tg.trace(lambda x: (), X).run(X) == ()


def test_the_same_array_may_be_passed_twice():
    for way in ALL:
        run = way(lambda a, b: (a * a * b).sum(), X, X)
        np.testing.assert_allclose(plain(tuple(plain(run(X, X + 1))))[0], (X * X * (X + 1)).sum(), rtol=1e-12)


def test_the_data_of_the_same_array_is_that_of_each_argument():
    program = tg.trace(lambda a, b: a * a.data + b * b.data * 2, X, X)
    np.testing.assert_array_equal(program.run(X, X + 1), X * X + (X + 1) * (X + 1) * 2)


def test_a_step_may_take_any_number_of_arrays():
    program = tg.trace(lambda *arrays: arrays[0] * arrays[1], X, X)
    assert [x.name for x in program.arguments] == ["x1", "x2"]
    np.testing.assert_array_equal(program.run(X, X + 1), X * (X + 1))


def test_the_gradient_of_an_argument_is_there_for_a_tensor_that_wants_it():
    def step(x):
        loss = (x * x).sum()
        loss.backward()
        return loss, tg.Tensor(x.grad)

    loss, gradient = tg.trace(step, tg.Tensor(X, requires_grad=True)).run(X)
    np.testing.assert_allclose(gradient, 2 * X, rtol=1e-12)
    assert loss == (X * X).sum()


def test_an_argument_that_is_a_parameter_elsewhere_is_only_an_array():
    program = tg.trace(lambda x: (x * w).sum(), w)
    assert program.run(w) == 14
    assert [x.role for x in program.inputs] == ["input", "kept"]


# ---- names


def named(name):
    """A step with an argument of this name, whose program has a learning rate, a step count and helpers."""
    p = parameter()
    optimizer = Adam([p], lr=0.1)
    namespace = {"p": p, "optimizer": optimizer, "tg": tg}
    exec(
        f"def made({name}, other):\n"
        f"    loss = tg.ops.tanh(({name} * p)[:, 0:2].mean(axis=0) * other).mean()\n"
        "    optimizer.zero_grad()\n    loss.backward()\n    optimizer.step()\n    return loss",
        namespace,
    )
    return world(namespace["made"], [p], optimizer)


FINE = ["lr", "t", "loss", "np", "lambda_", "step", "out", "d_w", "t1", "t_1", "w", "X", "prod", "len", "_", "tanh"]
ONLY_COMPILED = ["s", "i", "order", "steps", "numbers", "run", "jit", "sum_v", "v", "math", "float64"]
PAIRS = [(np.random.default_rng(k).normal(size=(4, 3)), np.array([0.5, -1.0])) for k in range(2)]


@pytest.mark.parametrize("name", [*FINE, "count", "filled", "slice"])
def test_no_name_of_an_argument_clashes_in_what_is_printed(name):
    assert_equals_eager(lambda: named(name), PAIRS)


@pytest.mark.parametrize("name", ["plus", "range"])
def test_no_name_of_an_argument_hides_what_the_loops_call(name):
    namespace = {"w": w}
    exec(f"def made({name}):\n    return ({name} * w).sum()", namespace)
    np.testing.assert_allclose(tg.compile(namespace["made"])(X[0]), (X[0] * w.data).sum())


def test_no_name_of_many_arguments_clashes_in_the_loops():
    """All in one program, which is compiled once."""
    names = list(dict.fromkeys([*FINE, *ONLY_COMPILED]))
    p = parameter()
    optimizer = Adam([p], lr=0.1)
    namespace = {"p": p, "optimizer": optimizer}
    terms = " + ".join(f"{k} * {name}" for k, name in enumerate(names, start=1))
    exec(
        f"def made({', '.join(names)}):\n    total = ((({terms}) * p).sum() * 0.01).tanh()\n"
        "    optimizer.zero_grad()\n    total.backward()\n    optimizer.step()\n    return total",
        namespace,
    )
    arrays = [np.array([k % 3, 1.0, -k % 5]) / 10 for k in range(len(names))]
    expected = sum(k * a for k, a in enumerate(arrays, start=1))
    got = tg.compile(namespace["made"])(*arrays)
    np.testing.assert_allclose(got, np.tanh((expected * [1, 2, 3]).sum() * 0.01), rtol=1e-12)
    np.testing.assert_allclose(p.data, [1, 2, 3] - 0.1 * np.sign(expected), rtol=1e-6)


def test_names_that_are_no_names_of_python_are_made_such():
    odd = [parameter(name=name) for name in ("lambda", "None", "a b.3", "2", "", "__", "for.0")]
    program = tg.trace(lambda x: sum((x * p).sum() for p in odd), X)
    namespace = {}
    exec(program.source, namespace)
    assert len({x.name for x in program.inputs}) == 8
    assert namespace["step"](X, *(p.data for p in odd)) == program.run(X)


def test_a_name_that_python_cannot_read_is_made_readable():
    squared = parameter(name="x²")
    namespace = {}
    exec(tg.trace(lambda x: (x * squared).sum(), X).source, namespace)
    np.testing.assert_allclose(namespace["step"](X, squared.data), (X * squared.data).sum())


# ---- numbers that are given anew for each step


def schedule_changes(things, k):
    optimizer = things.optimizers[0]
    if k == 1:
        optimizer.lr = 0.5
    elif k == 2:
        optimizer.lr = Cosine(0.3, steps=5)
        optimizer.steps = 40


@pytest.mark.parametrize("make", [SGD, Adam, AdamW, RMSprop])
@pytest.mark.parametrize("lr", [0.1, Cosine(1.0, steps=4)], ids=["constant", "cosine"])
def test_the_learning_rate_and_the_step_count_are_never_baked_in(make, lr):
    assert_equals_eager(lambda: a_line(make, lr=lr), BATCHES, schedule_changes, rtol=1e-9)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_nor_are_they_in_compiled_loops(make):
    assert_equals_eager(lambda: a_line(make, lr=0.1), BATCHES, schedule_changes, [as_compiled], rtol=1e-9)


def test_parameters_are_read_where_they_live():
    def moved(things, k):
        p = things.parameters[0]
        if k == 1:
            p.data[...] = -1
        elif k == 2:
            p.data = np.array([5.0, 6.0, 7.0])

    assert_equals_eager(lambda: a_line(SGD, momentum=0.9), BATCHES, moved, ALL)


class Uphill(Optimizer):
    """An optimizer of one's own, with the sign in front of the learning rate."""

    def __init__(self, parameters, rate_of):
        self.rate_of = rate_of
        super().__init__(parameters, 0.1)

    def update(self, param, grad, state, lr, step):
        return param + self.rate_of(lr, step) * grad, ()


BY_OWN = {"0 - lr": lambda lr, step: 0 - lr, "a power": lambda lr, step: lr * (1 - 0.9**step) ** 0.5}
LOSES = {"-lr": lambda lr, step: -lr, "math.sqrt": lambda lr, step: lr * math.sqrt(step), "abs": lambda lr, _: abs(lr)}


@pytest.mark.parametrize("rate", [*BY_OWN, *(pytest.param(name) for name in LOSES)])
def test_an_optimizer_of_ones_own_computes_with_the_learning_rate_or_is_refused(rate):
    p, rate_of = parameter(), (BY_OWN | LOSES)[rate]
    optimizer = Uphill([p], rate_of)
    try:
        program = tg.trace(learning(lambda x: (x * p).sum(), optimizer), X)
    except tg.TraceError:
        assert rate in LOSES
        return
    optimizer.lr, optimizer.steps = 0.7, 3
    program.run(X)
    np.testing.assert_allclose(p.data, [1, 2, 3] + rate_of(0.7, 4) * X.sum(0), rtol=1e-12)


# ---- what steps may do


def two_optimizers():
    p, q = parameter(), parameter([0.5, -0.5, 1.0], "q")
    optimizers = Adam([p], lr=0.1), Adam([q], lr=0.01)
    return world(learning(lambda x: tg.ops.tanh(x * p + q).sum(), *optimizers), [p, q], *optimizers)


def two_losses():
    p = parameter()
    optimizer = SGD([p], momentum=0.9)

    def step(x):
        first, second = tg.ops.tanh(x * p).sum(), ((x - p) * (x - p)).mean()
        optimizer.zero_grad()
        first.backward()
        second.backward()
        optimizer.step()
        return first, second

    return world(step, [p], optimizer)


def frozen():
    p, still = parameter(), parameter([0.5, -0.5, 1.0], "still")
    optimizer = SGD([p])
    return world(learning(lambda x: tg.ops.tanh(x * p * still).sum(), optimizer), [p, still], optimizer)


def tied():
    table = tg.Tensor(np.linspace(-1, 1, 9).reshape(3, 3), requires_grad=True, name="table")
    optimizer = SGD([table])
    return world(learning(lambda x: (tg.ops.tanh(x @ table) @ table.T).sum(), optimizer), [table], optimizer)


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


def watched():
    p = parameter()
    optimizer = SGD([p])

    def step(x):
        with tg.no_grad():
            target = tg.ops.tanh(x * p)
        loss = ((x * p - target) * (x * p - target)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, target

    return world(step, [p], optimizer)


def unused():
    p, far = parameter(), parameter(name="far")
    optimizer = Adam([p, far])
    return world(learning(lambda x: tg.ops.tanh(x * p).sum(), optimizer), [p, far], optimizer)


STEPS = {
    "two optimizers": two_optimizers,
    "two losses": two_losses,
    "a frozen parameter": frozen,
    "tied weights": tied,
    "clipping, above": lambda: clipping(0.1),
    "clipping, below": lambda: clipping(1e3),
    "no_grad": watched,
    "a parameter without gradient": unused,
}


@pytest.mark.parametrize("name", [*STEPS, pytest.param("a gradient penalty")])
def test_a_step_equals_the_eager_one(name):
    assert_equals_eager((STEPS | {"a gradient penalty": penalised})[name], BATCHES)


@pytest.mark.parametrize("name", ["two optimizers", "two losses", "a frozen parameter", "clipping, above", "no_grad"])
def test_a_compiled_step_equals_the_eager_one(name):
    assert_equals_eager(STEPS[name], BATCHES, ways=[as_compiled], rtol=1e-9)


def test_a_frozen_parameter_is_read_anew():
    def thawed(things, k):
        things.parameters[1].data[...] = k

    assert_equals_eager(frozen, BATCHES, thawed)


@pytest.mark.parametrize("way", [as_traced, as_printed])
def test_batch_norm_and_dropout_are_those_of_the_eager_step(way):
    def make():
        return a_network(SGD, tg.nn.BatchNorm(5), tg.nn.Dropout(0.5))

    def reseeded(things, k):
        tg.seed(k)

    assert_equals_eager(make, LABELLED, reseeded, [way], rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [SGD, Adam])
def test_the_dtype_of_parameters_stays(make, dtype):
    batches = [(x.astype(dtype),) for (x,) in BATCHES]
    rtol = 1e-9 if dtype == np.float64 else 1e-5
    assert_equals_eager(lambda: a_line(make, dtype, lr=0.1), batches, rtol=rtol)


def test_clipping_gradients_that_are_zero_warns_of_nothing():
    assert_equals_eager(lambda: clipping(1.0, factor=0.0), BATCHES)


def clips_and(use):
    p = parameter()
    optimizer = SGD([p])

    def step(x):
        loss = (x * p).sum()
        optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm([p], 1.0)
        return use(loss, norm)

    return step


def test_the_norm_is_not_used_as_a_number():
    with pytest.raises(tg.TraceError):
        tg.trace(clips_and(lambda loss, norm: loss * 2 if norm > 0 else loss), X)


def test_the_norm_may_be_computed_with():
    traced_step = tg.trace(clips_and(lambda loss, norm: loss * norm), X)
    np.testing.assert_allclose(traced_step.run(X), clips_and(lambda loss, norm: loss * norm)(tg.Tensor(X)).data)


def test_an_array_from_outside_is_refused_after_clipping_too():
    with pytest.raises(tg.TraceError):
        tg.trace(clips_and(lambda loss, norm: loss * np.full(3, 2.0)), X)


# ---- what is printed


def test_the_update_is_printed_as_one_would_write_it():
    text = tg.trace(a_network(SGD).step, X, Y).source
    step = text[text.index("def step(") :].splitlines()
    assert len(step) <= 30
    assert all(len(line) <= 120 for line in text.splitlines())
    assert step[0] == "def step(x, y, W0, b0, W2, b2, lr):"
    update = step[step.index("    # update") + 1 :]
    assert [line.split("#")[0].strip() for line in update] == [
        "W0 = W0 - lr * d_W0",
        "b0 = b0 - lr * d_b0",
        "W2 = W2 - lr * d_W2",
        "b2 = b2 - lr * d_b2",
        "return loss, W0, b0, W2, b2",
    ]


def test_adam_is_printed_with_its_step_count():
    text = tg.trace(a_network(Adam).step, X, Y).source
    step = text[text.index("def step(") :].splitlines()
    assert step[0].endswith("lr, t):")
    assert sum("lr / (1 - 0.9 ** t)" in line for line in step) == 4
    assert sum("1 - 0.999 ** t" in line for line in step) == 4
    assert all(len(line) <= 120 for line in text.splitlines())


def test_a_program_is_its_text():
    program = tg.trace(a_line().step, X)
    assert str(program) == program.source
    assert tg.trace(a_line().step, X).source == program.source


def test_what_is_printed_runs_with_numpy_alone():
    things = a_network(Adam)
    program = tg.trace(things.step, X, Y)
    values = [*(asked(x) for x in program.inputs[2:]), 0.001, 1]
    given = ", ".join(f"np.array({np.asarray(v).tolist()})" for v in (X, Y, *values))
    words = said(
        program.source + f"\nanswers = step({given})\nimport sys\nprint(float(answers[0]).hex())\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('tinygrad_ce', 'numba', 'scipy')])"
    ).split("\n")
    np.testing.assert_allclose(float.fromhex(words[0]), program.run(X, Y), rtol=1e-12)
    assert words[1] == "[]"


# ---- passes

PASSES = [passes.without_idle, passes.with_constants_folded, passes.with_equals_shared, passes.without_unused]


def wasteful():
    """A step in which every pass finds something."""
    p = parameter()
    optimizer = Adam([p], lr=0.1, weight_decay=0.01)

    def loss_of(x):
        (x * 5).sum()
        h = tg.ops.tanh(x * p).reshape(4, 3).astype(float)
        return (h * tg.ops.tanh(x * p)).sum() * 2 / 3

    return world(learning(loss_of, optimizer), [p], optimizer)


class CastSGD(SGD):
    """The last instruction of its update does nothing."""

    def update(self, *arguments):
        new, state = super().update(*arguments)
        return tg.ops.astype(new, dtype=np.dtype(float)), state


PROGRAMS = {
    "an idle update": (lambda: a_line(CastSGD), (X,)),
    "wasteful": (wasteful, (X,)),
    "two optimizers": (two_optimizers, (X,)),
    "clipping": (lambda: clipping(0.1), (X,)),
    "a network": (lambda: a_network(Adam), (X, Y)),
    "batch norm": (lambda: a_network(SGD, tg.nn.BatchNorm(5), momentum=0.9), (X, Y)),
}


def outcome(make, arrays, *some):
    things = make()
    program = traced._traced(things.step, arrays)
    before = len(program.instructions)
    for each in some:
        program = each(program)
    answers = [plain(program.run(*arrays)) for _ in range(2)]
    return [a for answer in answers for a in answer] + living(things), len(program.instructions) - before


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_pass_changes_what_a_step_does(name):
    expected, _ = outcome(*PROGRAMS[name])
    for some in (*((each,) for each in PASSES), PASSES, PASSES[::-1], PASSES * 2):
        got, _ = outcome(*PROGRAMS[name], *some)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


@pytest.mark.parametrize("each", [p for p in PASSES if p is not passes.with_constants_folded])
def test_each_pass_finds_something(each):
    assert outcome(wasteful, (X,), each)[1] < 0


def test_every_pass_leaves_its_program_as_it_was():
    program = traced._traced(wasteful().step, (X,))
    before = list(program.instructions), dict(program.outputs), dict(program.updates), list(program.inputs)
    for each in PASSES:
        each(program)
    assert before == (program.instructions, program.outputs, program.updates, program.inputs)


def test_a_number_that_no_instruction_needs_is_not_asked_for():
    assert list(tg.trace(a_line(SGD).step, X).numbers) == ["lr"]
    assert list(tg.trace(a_line(Adam).step, X).numbers) == ["lr", "t"]
    assert list(tg.trace(two_optimizers().step, X).numbers) == ["lr", "t", "lr_2", "t_2"]


def test_zero_and_minus_zero_are_two_numbers():
    positive, negative = tg.trace(lambda x: (x * 0.0, x * -0.0), np.ones(2)).run(np.ones(2))
    assert not np.signbit(positive).any()
    assert np.signbit(negative).all()


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (x.astype(np.float32).sum(), x.sum()),
        lambda x: (x.sum(axis=0), x.sum(axis=1)),
        lambda x: ((x > 0) * True, (x > 0) * 1, (x > 0) * 1.0),
        lambda x: (x - w, w - x),
    ],
)
def test_what_only_looks_alike_is_not_shared(step):
    x = X[:3]
    for got, expected in zip(tg.trace(step, x).run(x), step(tg.Tensor(x)), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected.data)


def test_what_is_alike_is_computed_once():
    program = tg.trace(lambda x: tg.ops.tanh(x * w) + tg.ops.tanh(x * w), X)
    assert [i.op.name for i in program.instructions] == ["mul", "tanh", "add"]


def test_a_gradient_that_is_a_constant_does_not_make_the_learning_rate_one():
    def make():
        p = parameter(1.0)
        optimizer = SGD([p], lr=0.1)
        return world(learning(lambda: p * 3.0, optimizer), [p], optimizer)

    assert_equals_eager(make, [()] * 3, schedule_changes, ALL)


# ---- numbers with a text

NUMBERS = {
    "lr + 2": lambda n: n + 2,
    "2 + lr": lambda n: 2 + n,
    "lr - 2": lambda n: n - 2,
    "2 - lr": lambda n: 2 - n,
    "lr * 3.0": lambda n: n * 3.0,
    "3.0 * lr": lambda n: 3.0 * n,
    "lr / 4": lambda n: n / 4,
    "4 / lr": lambda n: 4 / n,
    "lr ** 2": lambda n: n**2,
    "0.9 ** lr": lambda n: 0.9**n,
    "lr / (1 - 0.9 ** lr)": lambda n: n / (1 - 0.9**n),
    "(lr + 1) * (lr - 1)": lambda n: (n + 1) * (n - 1),
    "lr - (lr - 1)": lambda n: n - (n - 1),
    "(2 ** lr) ** 3": lambda n: (2**n) ** 3,
    "lr + -1": lambda n: n + -1,
}


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_knows_how_it_was_computed(text):
    number = NUMBERS[text](Number(0.5, "lr"))
    assert isinstance(number, Number)
    assert number.text == text
    for value in (0.5, 2.5):
        assert eval(number.text, {}, {"lr": value}) == pytest.approx(NUMBERS[text](value), rel=1e-15)
    assert float(number) == NUMBERS[text](0.5)


def test_a_negative_number_is_put_in_parentheses():
    assert eval(((-2) ** Number(2.0, "lr")).text, {}, {"lr": 2.0}) == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_take_a_number_for_a_plain_one(dtype):
    array, number = np.array([1, 2], dtype), Number(0.1, "lr")
    for f in (np.add, np.subtract, np.multiply, np.divide, np.power):
        for got, expected in ((f(array, number), f(array, 0.1)), (f(number, array), f(0.1, array))):
            assert type(got) is np.ndarray
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, expected)
    assert (array * number).dtype == (number * array).dtype == dtype
    assert (array - number / (1 - 0.9**number)).dtype == dtype
    array *= number
    np.testing.assert_array_equal(array, np.array([1, 2], dtype) * 0.1)


def test_a_number_meets_a_tensor_as_itself():
    p = parameter(dtype=np.float32)
    for result in (p * Number(0.5, "lr"), Number(0.5, "lr") * p, p - Number(0.5, "lr")):
        assert result.dtype == np.float32
        assert sum(isinstance(x, Number) for x in result.inputs) == 1


def test_a_number_and_what_is_no_number():
    with pytest.raises(TypeError):
        Number(0.5, "lr") + "x"
    assert [1, 2, 3][int(Number(1.0, "t"))] == 2
    assert Number(0.5, "lr") == 0.5
