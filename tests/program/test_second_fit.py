"""What was compiled stays with the Trainer: a second fit uses it again, unless what it depends on has changed."""

import copy
import gc
import pickle
import weakref
from contextlib import nullcontext

import numpy as np
import pytest
from program.loops_as_python import DATA, SIDES, assert_close, learnt_by

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.ops import tanh
from tinygrad_ce.program import epochs

pytestmark = pytest.mark.usefixtures("in_python")

rng = np.random.default_rng(8)
SCALE = 1.0


class Holder:
    """An object of the user's, which is no module."""

    def __init__(self):
        self.factor = 1.0


class Layer(nn.Module):
    """Refers to numbers, arrays and tensors in many places."""

    slope = 1.0

    def __init__(self):
        self.inner = nn.Dense(2, 2)
        self.others = np.array([nn.Dense(2, 2), None], dtype=object)
        self.factor, self.factors, self.holder = 1.0, {"a": [1.0]}, Holder()
        self.mask, self.shift = np.ones(2), None
        self.rows = np.empty(1, dtype=object)
        self.rows[0] = tg.Tensor([0.0, 0.0], requires_grad=True)
        self.numbers, self.many = np.array([1.0, 2.0]), np.ones((100, 100))
        self.constant = tg.Tensor([1.0, 2.0])

    def forward(self, x):
        z = self.others[0](self.inner(x)) * (self.factor * self.factors["a"][0] * self.holder.factor * SCALE)
        z = z * self.mask * (float(self.numbers[0] * self.many[9, 9]) * self.slope * float(self.constant.data[0]))
        z = z + self.rows[0] if self.shift is None else z - self.rows[0]
        return z if self.training else z * 2


class Loss(nn.Module):
    """A loss with a number, an array of weights and a mode."""

    def __init__(self):
        self.factor, self.weight = 1.0, np.array([1.0, 2.0])

    def forward(self, z, y):
        return tg.losses.softmax_cross_entropy(z, y, weight=self.weight) * (self.factor if self.training else 2.0)


def trainer(make=optim.SGD, **options):
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 2), nn.Tanh(), nn.BatchNorm(2), Layer(), nn.Dropout(0.2))
    return tg.Trainer(model, Loss(), make(model.parameters(), lr=0.1, **options))


def momentum():
    return trainer(momentum=0.5)


@pytest.fixture
def traced(monkeypatch):
    """The sizes of the batches that were traced."""
    sizes, trace_step = [], epochs.trace_step

    def counted(step, *examples, **options):
        sizes.append(len(examples[0]))
        return trace_step(step, *examples, **options)

    monkeypatch.setattr(epochs, "trace_step", counted)
    return sizes


def assert_as_eager(make, change, **options):
    """Two fits with a change between them: compiled as step by step."""
    runs = []
    for way in (True, False):
        run = make()
        kept = {"epochs": 1, "batch_size": 25, "seed": 3}
        run.fit(DATA, SIDES, compile=way, **kept)
        with change(run) or nullcontext():
            history = run.fit(**{"X": DATA, "y": SIDES, "compile": way} | kept | options)
        assert history.compiled is way
        runs.append((history["loss"], learnt_by(run)))
    np.testing.assert_allclose(runs[0][0], runs[1][0], rtol=1e-9)
    for name, array in runs[1][1].items():
        assert_close(runs[0][1][name], array, 1e-9)


def set_to(path, value):
    """Set an attribute of the trainer: "model.layers.0.W"."""

    def change(run):
        *parents, name = path.split(".")
        for parent in parents:
            run = run[int(parent)] if parent.isdigit() else getattr(run, parent)
        setattr(run, name, value)

    return change


def _nothing(run):
    pass


def _parameters(run):
    for parameter in run.model.parameters():
        parameter.data *= 0.5


def _replaced_array(run):
    run.model[0].W.data = run.model[0].W.data * 0.5


def _evaluated(run):
    run.model.eval()
    run.evaluate(DATA, SIDES)
    run.predict(DATA)


def _restored(run):
    state = run.optimizer.state()
    run.optimizer.restore(state | {"steps": 0, "updates": np.zeros_like(state["updates"])})


def _running_average(run):
    run.model[2].running_mean = np.array([3.0, 4.0])


READ_ANEW = {
    "nothing": _nothing,
    "the numbers of parameters": _parameters,
    "the array of a parameter": _replaced_array,
    "the learning rate": set_to("optimizer.lr", 0.3),
    "a schedule": set_to("optimizer.lr", optim.StepDecay(0.4, every=1, factor=0.5)),
    "evaluated between": _evaluated,
    "an optimizer's state": _restored,
    "a running average": _running_average,
}


@pytest.mark.parametrize("make", [trainer, momentum])
@pytest.mark.parametrize("name", READ_ANEW)
def test_what_each_step_reads_anew_is_not_traced_again(name, make, traced):
    assert_as_eager(make, READ_ANEW[name])
    assert traced == [25]


def _another_parameter(run):
    run.model[0].b = tg.Tensor([0.5, -0.5], requires_grad=True)
    run.optimizer = optim.SGD(run.model.parameters(), lr=0.1)


def _another_layer(run):
    run.model.layers[1] = nn.ReLU()


def _another_layer_in_an_array(run):
    run.model[3].others[0] = nn.Dense(2, 2)
    run.optimizer = optim.SGD(run.model.parameters(), lr=0.1)


def _another_model(run):
    run.model = trainer().model
    run.optimizer = optim.SGD(run.model.parameters(), lr=0.1)


def _the_loss_evaluates(run):
    run.loss.eval()


def _frozen(run):
    run.model[0].W.requires_grad = False


def _less_is_learnt(run):
    run.optimizer = optim.SGD(run.model[3].parameters(), lr=0.1)


def _fewer_parameters(run):
    optimizer = run.optimizer
    for name in ("parameters", "memory", "missed"):
        setattr(optimizer, name, getattr(optimizer, name)[2:])


def _updated_unequally_often(run):
    state = run.optimizer.state()
    run.optimizer.restore(state | {"updates": np.arange(len(state["updates"])) % 2})


def _another_memory(run):
    run.optimizer.memory = [tuple(type(v)(v.data * 2, v.name) for v in each) for each in run.optimizer.memory]


def _another_variable(run):
    run.model[2].variables = {name: type(v)(v.data + 1, v.name) for name, v in run.model[2].variables.items()}


def _a_number_in_a_dict(run):
    run.model[3].factors["a"][0] = 2.0


def _a_number_in_an_array(run):
    run.model[3].numbers[0] = 2.0


def _a_number_in_a_large_array(run):
    run.model[3].many[9, 9] = 2.0


def _a_number_in_a_tensor(run):
    run.model[3].constant.data[0] = 2.0


def _a_weight_in_place(run):
    run.loss.weight[0] = 5.0


def _another_forward(run):
    patch = pytest.MonkeyPatch()
    patch.setattr(nn.Tanh, "forward", lambda self, x: tanh(x) * 2)
    return _undone(patch)


def _another_rule(run):
    patch = pytest.MonkeyPatch()
    patch.setattr(tanh, "rules", [lambda g, out, x: g])
    return _undone(patch)


def _a_global_number(run):
    patch = pytest.MonkeyPatch()
    patch.setitem(globals(), "SCALE", 3.0)
    return _undone(patch)


def _a_number_of_a_class(run):
    patch = pytest.MonkeyPatch()
    patch.setattr(Layer, "slope", 2.0)
    return _undone(patch)


def _reloaded_code(run):
    patch = pytest.MonkeyPatch()
    patch.setattr(Loss.forward, "__code__", (lambda self, z, y: tg.losses.softmax_cross_entropy(z, y) * 4).__code__)
    return _undone(patch)


class _undone:
    def __init__(self, patch):
        self.patch = patch

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.patch.undo()


class Halved(optim.Optimizer):
    """An optimizer of the user's."""

    def update(self, param, grad, state, lr, step):
        return param - lr * 0.5 * grad, state


FIXED = {
    "an optimizer of the same kind": lambda run: setattr(run, "optimizer", optim.SGD(run.model.parameters(), lr=0.3)),
    "the parameters of the optimizer": _fewer_parameters,
    "an array instead of None": set_to("model.3.shift", np.zeros(2)),
    "another optimizer": lambda run: setattr(run, "optimizer", optim.Adam(run.model.parameters(), lr=0.1)),
    "an optimizer of another class": lambda run: setattr(run, "optimizer", Halved(run.model.parameters(), lr=0.1)),
    "an optimizer for fewer parameters": _less_is_learnt,
    "a hyperparameter": set_to("optimizer.momentum", 0.9),
    "weight decay": set_to("optimizer.weight_decay", 0.1),
    "another loss": set_to("loss", nn.SoftmaxCrossEntropy(label_smoothing=0.1)),
    "a function for a loss": set_to("loss", lambda z, y: tg.losses.softmax_cross_entropy(z, y) * 3),
    "a number of the loss": set_to("loss.factor", 3.0),
    "the mode of the loss": _the_loss_evaluates,
    "the weights of the loss": set_to("loss.weight", np.array([3.0, 1.0])),
    "the weights of the loss in place": _a_weight_in_place,
    "the model": _another_model,
    "a parameter": _another_parameter,
    "a layer": _another_layer,
    "a layer in an array": _another_layer_in_an_array,
    "a layer more": lambda run: run.model.layers.append(nn.ReLU()),
    "a rate of dropout": set_to("model.4.p", 0.6),
    "a number of a layer": set_to("model.3.factor", 2.0),
    "a number in a dict": _a_number_in_a_dict,
    "a number of an object": set_to("model.3.holder.factor", 2.0),
    "a number in an array": _a_number_in_an_array,
    "a number in a large array": _a_number_in_a_large_array,
    "a number in a tensor": _a_number_in_a_tensor,
    "an array of a layer": set_to("model.3.mask", np.array([0.0, 1.0])),
    "a global number": _a_global_number,
    "a number of a class": _a_number_of_a_class,
    "a frozen parameter": _frozen,
    "the memory of an optimizer": _another_memory,
    "the running averages": _another_variable,
    "what a layer of ours computes": _another_forward,
    "a rule": _another_rule,
    "the code of a function": _reloaded_code,
}


@pytest.mark.parametrize("name", FIXED)
def test_what_tracing_has_fixed_is_traced_again(name, traced):
    assert_as_eager(trainer if name == "an optimizer of the same kind" else momentum, FIXED[name])
    assert traced == [25, 25]


def test_counts_of_updates_that_differ_from_now_on(traced):
    assert_as_eager(lambda: trainer(optim.Adam), _updated_unequally_often)
    assert traced == [25, 25]


def test_a_body_that_depends_on_a_number_of_the_users(traced, monkeypatch):
    monkeypatch.setattr(tg.core, "REGISTRY", {**tg.core.REGISTRY})
    strength = [1.0]

    @tg.core.primitive
    def stronger(x):
        return x * strength[0]

    @stronger.vjp("x")
    def stronger_x(g, out, x):
        return g * strength[0]

    def make():
        tg.seed(0)
        strength[0] = 1.0
        model = nn.Sequential(nn.Dense(2, 2), stronger)
        return tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=0.1))

    assert_as_eager(make, lambda run: strength.__setitem__(0, 3.0))
    assert traced == [25, 25]


OTHER_DATA = {
    "other rows": ({"X": DATA[::-1] * 2, "y": SIDES[::-1].copy()}, [25]),
    "fewer rows": ({"X": DATA[:25], "y": SIDES[:25]}, [25]),
    "a short batch": ({"X": DATA[:40], "y": SIDES[:40]}, [25, 15]),
    "another batch size": ({"batch_size": 10}, [25, 10]),
    "one-hot targets": ({"y": np.eye(2)[SIDES]}, [25, 25]),
    "labels of 32 bits": ({"y": SIDES.astype(np.int32)}, [25, 25]),
    "clipped": ({"clip_norm": 0.1}, [25, 25]),
    "watched": ({"validation": (DATA, SIDES), "patience": 3}, [25]),
}


@pytest.mark.parametrize("name", OTHER_DATA)
def test_other_data_and_options_are_traced_where_shapes_or_meaning_change(name, traced):
    options, sizes = OTHER_DATA[name]
    assert_as_eager(trainer, _nothing, **options)
    assert traced == sizes


def test_each_clip_norm_has_its_own_program(traced):
    runs = [trainer(), trainer()]
    for norm in (0.1, 0.2, 0.1):
        for run, way in zip(runs, (True, False), strict=True):
            run.fit(DATA, SIDES, batch_size=25, epochs=1, seed=0, clip_norm=norm, compile=way)
    for name, array in learnt_by(runs[1]).items():
        assert_close(learnt_by(runs[0])[name], array, 1e-9)
    assert traced == [25, 25]


def test_both_of_two_programs_with_their_short_batches_are_kept(traced):
    run = trainer()
    for rows in (40, 50, 40, 50):
        assert run.fit(DATA[:rows], SIDES[:rows], batch_size=25, epochs=2, compile=True).compiled
    assert traced == [25, 15]


def test_a_label_that_is_no_class_is_refused_by_the_second_fit_too():
    run = trainer()
    run.fit(DATA, SIDES, batch_size=25, compile=True)
    before = run.model.state()
    with pytest.raises(ValueError, match="2"):
        run.fit(DATA, SIDES * 2, batch_size=25, compile=True)
    for name, array in run.model.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_parameter_of_another_dtype_is_traced_again(traced):
    run = trainer()
    run.fit(DATA, SIDES, batch_size=25, compile=True)
    run.model.astype(np.float32)
    run.optimizer = optim.SGD(run.model.parameters(), lr=0.1)
    assert run.fit(DATA, SIDES, batch_size=25, compile=True).compiled
    assert {p.dtype for p in run.model.parameters()} == {np.dtype(np.float32)}
    assert traced == [25, 25]


def test_callbacks_that_change_nothing_do_not_have_it_traced_again(traced):
    seen = []
    history = trainer().fit(
        DATA, SIDES, batch_size=25, epochs=4, compile=True, callbacks=lambda _, row: seen.append(row["epoch"])
    )
    assert (history.compiled, seen, traced) == (True, [1, 2, 3, 4], [25])


def test_data_are_not_kept_alive():
    run = trainer()
    for _ in range(2):
        X, y = DATA.copy(), SIDES.copy()
        references = [weakref.ref(X), weakref.ref(y)]
        run.fit(X, y, batch_size=25, epochs=1, compile=True)
        del X, y
        gc.collect()
        assert [reference() for reference in references] == [None, None]


def test_a_trainer_is_freed_with_its_programs_at_once():
    run = trainer()
    run.fit(DATA, SIDES, batch_size=25, epochs=1, compile=True)
    gc.collect()
    gc.disable()
    try:
        references = [weakref.ref(run), weakref.ref(run.model[0].W)]
        del run
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])
def test_a_copy_of_a_trainer_learns_for_itself(copied):
    run = trainer()
    run.fit(DATA, SIDES, batch_size=25, epochs=1, compile=True, seed=0)
    other, expected = copied(run), copy.deepcopy(run)
    if copied is copy.copy:
        other.model = copy.deepcopy(run.model)
        other.optimizer = optim.SGD(other.model.parameters(), lr=0.1)
        other.optimizer.restore(run.optimizer.state())
    before = run.model.state()
    other.fit(DATA, SIDES, batch_size=25, epochs=1, compile=True, seed=1)
    expected.fit(DATA, SIDES, batch_size=25, epochs=1, compile=False, seed=1)
    for name, array in run.model.state().items():
        np.testing.assert_array_equal(array, before[name])
    for name, array in learnt_by(expected).items():
        assert_close(learnt_by(other)[name], array, 1e-9)


def test_a_fit_inside_of_a_fit():
    runs = []
    for way in (True, False):
        run = trainer()

        def again(run, row, way=way):
            if row["epoch"] == 1:
                run.fit(DATA, SIDES, batch_size=25, epochs=1, compile=way, seed=1)

        run.fit(DATA, SIDES, batch_size=25, epochs=2, compile=way, seed=0, callbacks=again)
        runs.append(learnt_by(run))
    for name, array in runs[1].items():
        assert_close(runs[0][name], array, 1e-9)
