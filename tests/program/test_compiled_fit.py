"""A compiled `fit` against the ordinary one: histories, parameters, errors, Ctrl-C; and which are compiled."""

import re
import signal
import threading
from functools import partial

import numpy as np
import pytest
from program.loops_as_python import (
    DATA,
    SGD,
    SIDES,
    TRAININGS,
    Adam,
    Case,
    Training,
    Y,
    assert_close,
    assert_same_training,
    cross_entropy,
    in_loops,
    learnt_by,
    mlp,
    printed,
    recorded,
    small,
    trainer,
)

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.program import epochs
from tinygrad_ce.train import NotFiniteError, Trainer
from tinygrad_ce.train import compiled as compiled_training

rng = np.random.default_rng(5)


# ---- fit

COLUMN = SIDES[:, None].astype(float)
HALF = np.where(np.arange(50) % 5 == 3, -1, SIDES)


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
@pytest.mark.filterwarnings("ignore:Trainer. the optimizer does not hold")  # it is meant
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


@pytest.mark.parametrize("way", [recorded, printed, in_loops])  # the textbook form divides by the norm
def test_a_gradient_of_zero_is_clipped_without_a_warning(way):
    assert_same_training(way, Case(mlp(), lambda z, y: (z * 0).sum(), clip=1.0), steps=2)


# ---- Ctrl-C


def ctrl_c(*_):
    signal.raise_signal(signal.SIGINT)


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
    costs = dict.fromkeys(compiled_training.SECONDS, 0) | {"saved by a step": 1, "compiling": 7}
    monkeypatch.setattr(compiled_training, "SECONDS", costs)
    short, long = (trainer().fit(DATA, SIDES, epochs=n, batch_size=16, seed=0) for n in (1, 2))
    assert (short.compiled, long.compiled) == (False, True)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("compiled: 8 steps")
    assert not trainer().fit(DATA, SIDES, epochs=2, batch_size=16, compile=False).compiled
    assert trainer().fit(DATA, SIDES, epochs=1, batch_size=16, compile=True).compiled
    assert capsys.readouterr() == ("", "")


def test_auto_stays_step_by_step_where_callbacks_would_have_it_traced_again_and_again(monkeypatch):
    looking = "looking in each epoch for what callbacks have changed"
    for seconds, whole in ((50, False), (1, True)):
        costs = dict.fromkeys(compiled_training.SECONDS, 0) | {"saved by a step": 1, looking: seconds}
        monkeypatch.setattr(compiled_training, "SECONDS", costs)
        assert trainer().fit(DATA, SIDES, epochs=2, batch_size=16, callbacks=lambda *_: None).compiled is whole


def test_auto_weighs_what_there_is_to_save_and_looks_at_no_clock(monkeypatch):
    def least_epochs(layers, size=8, callbacks=False):
        model = nn.Sequential(*[nn.Dense(size, size) for _ in range(layers)])
        saved = [compiled_training.seconds_saved(model, epochs, 1000, callbacks) for epochs in range(200)]
        assert saved == sorted(saved)
        return next(epochs for epochs, seconds in enumerate(saved) if seconds > 0)

    monkeypatch.delattr("time.perf_counter")
    few, many, large, watched = least_epochs(1), least_epochs(10), least_epochs(1, 300), least_epochs(1, 8, True)
    assert large < few <= watched
    assert many < few
    assert 10 < many < few < 100  # thousands of steps


@pytest.mark.parametrize("wrong", ["yes", None, 1.5, "Auto"])
def test_compile_is_true_false_or_auto(wrong):
    with pytest.raises(ValueError, match=r'compile=.* must be True, False or "auto"'):
        trainer().fit(DATA, SIDES, compile=wrong)
