"""Callbacks: plain functions, classes with events, where they are called, what they change, how they end."""

import math
import signal

import numpy as np
import pytest
from train.trainings import Everything, Recorder, X, Y, network, neuron, trainer

import tinygrad_ce as tg
from tinygrad_ce import optim, source_lines
from tinygrad_ce.train import Callback, NotFiniteError

# ---- plain functions


@pytest.mark.parametrize("second_answer", [None, False, 1.0, np.ones(2)], ids=str)
def test_callbacks_get_trainer_and_figures_and_only_true_stops(second_answer):
    """An accuracy of 1.0, say, is an answer that a lambda gives by the way."""
    calls = []

    def first(t, row):
        calls.append(("first", t, row["epoch"]))
        return row["epoch"] == 2

    def second(t, row):
        calls.append(("second", t, row["epoch"]))
        return second_answer

    run = trainer()
    history = run.fit(X, Y, epochs=5, callbacks=[first, second])
    assert calls == [(name, run, epoch) for epoch in (1, 2) for name in ("first", "second")]
    assert history.stopped == "callback"
    assert len(history) == 2


def test_an_error_in_a_callback_is_the_users_to_see_and_ctrl_c_works_again():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError):
        trainer().fit(X, Y, callbacks=lambda t, row: 1 / 0)
    assert signal.getsignal(signal.SIGINT) is before


# ---- classes with events


def written_by_hand(epochs, batch_size, seed, clip_norm=None):
    """The same training and what each event has to see, in NumPy: softmax regression has a gradient that one knows."""
    start = neuron().model
    W, b, generator = start.W.data.copy(), start.b.data.copy(), np.random.default_rng(seed)
    events = [("before_fit", 0, 0, None)]
    for epoch in range(1, epochs + 1):
        total, right = 0.0, 0
        for batch, (rows, targets) in enumerate(tg.data.batches(X, Y, batch_size, seed=generator), start=1):
            events.append(("before_batch", epoch, batch, rows.tolist(), targets.tolist()))
            z = rows @ W + b
            p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
            loss = -np.log(p[np.arange(len(p)), targets]).mean()
            events.append(("after_loss", epoch, batch, z, loss, W.copy()))
            d_z = (p - np.eye(2)[targets]) / len(p)
            d_W, d_b = rows.T @ d_z, d_z.sum(axis=0)
            events.append(("after_backward", epoch, batch, d_W, W.copy()))
            if clip_norm is not None:
                factor = min(1, clip_norm / math.sqrt((d_W**2).sum() + (d_b**2).sum()))
                d_W, d_b = d_W * factor, d_b * factor
            W, b = W - 0.1 * d_W, b - 0.1 * d_b
            events.append(("after_step", epoch, batch, d_W, W))
            total, right = total + loss * len(p), right + (z.argmax(axis=1) == targets).sum()
        figures = {"epoch": epoch, "loss": total / len(X), "accuracy": right / len(X), "lr": 0.1}
        events.append(("after_epoch", epoch, batch, figures, epoch))
    return [*events, ("after_fit", epochs, batch, "finished")]


@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize("batch_size", [16, 64])
def test_each_event_comes_in_its_order_with_the_state_of_its_place(batch_size, clip_norm):
    recorder = Recorder()
    neuron().fit(X, Y, epochs=2, batch_size=batch_size, seed=3, clip_norm=clip_norm, callbacks=recorder)
    expected = written_by_hand(2, batch_size, 3, clip_norm)
    assert [event[:3] for event in recorder.events] == [event[:3] for event in expected]
    for mine, theirs in zip(recorder.events, expected, strict=True):
        for seen, value in zip(mine[3:], theirs[3:], strict=True):
            if isinstance(value, dict):
                assert seen == pytest.approx(value, rel=1e-12)
            elif isinstance(value, (float, np.ndarray)):
                np.testing.assert_allclose(seen, value, rtol=1e-11, atol=1e-14, err_msg=str(mine[:3]))
            else:
                assert seen == value


def hand_written_loop(epochs, change=lambda *_: None):
    """The loop of the README, with the parameters that it learns."""
    model = network(dropout=0.3)
    optimizer, generator = optim.Adam(model.parameters(), lr=0.05), np.random.default_rng(5)
    model.layers[2].generator = generator
    for epoch in range(1, epochs + 1):
        for xs, ys in tg.data.batches(X, Y, 16, seed=generator):
            optimizer.zero_grad()
            loss = tg.losses.softmax_cross_entropy(model(xs), ys)
            loss.backward()
            change(epoch, model)
            optimizer.step()
    return model.state()


def fit_with(callbacks, epochs=3, **options):
    run = trainer(make=optim.Adam, lr=0.05, dropout=0.3)
    history = run.fit(X, Y, epochs=epochs, batch_size=16, seed=5, callbacks=callbacks, **options)
    return run.model.state(), history


@pytest.mark.parametrize("callbacks", [(), [Everything()]], ids=["none", "every event"])
def test_the_parameters_are_those_of_the_hand_written_loop_bit_for_bit(callbacks):
    learnt, _ = fit_with(callbacks)
    np.testing.assert_equal(learnt, hand_written_loop(3))


def test_gradients_that_a_callback_changes_are_what_the_optimizer_takes():
    def halve(epoch, model):
        for parameter in model.parameters():
            parameter.grad = parameter.grad / 2 if epoch == 2 else parameter.grad

    class Halve(Callback):
        def after_backward(self, loop):
            halve(loop.epoch, loop.model)

    learnt, _ = fit_with([Halve()])
    np.testing.assert_equal(learnt, hand_written_loop(3, halve))


def test_a_loss_that_a_callback_replaces_is_differentiated_and_recorded():
    """Twice the loss with half the learning rate is the same training, and SGD is exact for powers of two."""

    class Double(Callback):
        def after_loss(self, loop):
            loop.loss = loop.loss * 2

    doubled, plain = neuron(lr=0.25), neuron(lr=0.5)
    twice = doubled.fit(X, Y, epochs=2, seed=1, callbacks=Double())["loss"]
    once = plain.fit(X, Y, epochs=2, seed=1)["loss"]
    np.testing.assert_equal(doubled.model.state(), plain.model.state())
    np.testing.assert_allclose(twice, 2 * np.array(once), rtol=1e-14)


def test_rows_and_targets_that_a_callback_replaces_are_trained_on():
    class Flip(Callback):
        def before_batch(self, loop):
            loop.rows, loop.targets = -loop.rows, 1 - loop.targets

    flipped, plain = neuron(), neuron()
    assert (
        flipped.fit(X, Y, epochs=2, seed=1, callbacks=Flip())["loss"] == plain.fit(-X, 1 - Y, epochs=2, seed=1)["loss"]
    )
    np.testing.assert_equal(flipped.model.state(), plain.model.state())


def test_the_metrics_of_an_epoch_can_be_read_while_it_runs():
    running = []

    class Read(Callback):
        def after_step(self, loop):
            running.append(loop.metrics.figures())

    history = neuron().fit(X, Y, epochs=2, batch_size=16, callbacks=Read())
    assert len(running) == 8
    assert [running[3], running[7]] == [
        {"loss": loss, "accuracy": accuracy}
        for loss, accuracy in zip(history["loss"], history["accuracy"], strict=True)
    ]


def test_a_callback_adds_a_column_to_the_history():
    class Largest(Callback):
        def after_epoch(self, loop):
            loop.history.append({"largest": abs(loop.model.W.data).max()})

    run = neuron()
    history = run.fit(X, Y, epochs=3, callbacks=Largest())
    assert len(history["largest"]) == len(history) == 3
    assert history["largest"][-1] == abs(run.model.W.data).max()


def test_several_callbacks_come_in_their_order_and_clean_up_in_the_opposite_one():
    calls = []

    class Named(Callback):
        def __init__(self, name):
            self.name = name

        def before_fit(self, loop):
            calls.append(f"{self.name} begins")

        def after_epoch(self, loop):
            calls.append(self.name)

        def after_fit(self, loop):
            calls.append(f"{self.name} ends")

    def plain(_, row):
        calls.append("plain")

    neuron().fit(X, Y, epochs=1, callbacks=[Named("a"), plain, Named("b")])
    assert calls == ["a begins", "b begins", "a", "plain", "b", "b ends", "a ends"]


def test_operations_of_a_callback_know_their_lines_and_those_of_the_loop_cost_nothing():
    """The plain functions of old, too, and what they do there can be explained."""
    places = {}

    class Compute(Callback):
        def after_step(self, loop):
            places["event"], places["loop"] = (loop.loss * 2).note, loop.loss.note

    def compute(run, row):
        places["function"] = (run.model(X) * 2).note

    neuron().fit(X, Y, epochs=1, callbacks=[Compute(), compute])
    assert places["loop"] is None
    assert places["event"] is not None
    assert places["function"] is not None


# ---- stopping


@pytest.mark.parametrize("event", ["before_batch", "after_loss", "after_backward", "after_step"])
@pytest.mark.parametrize("way", ["stop", "True"])
def test_a_batch_event_ends_training_after_its_batch(event, way):
    """Epoch 2 is not complete, so it is not in the history; four steps of epoch 1 and two of epoch 2 were taken."""

    def end(self, loop):
        if (loop.epoch, loop.batch) == (2, 2):
            return True if way == "True" else loop.stop()
        return None

    stopping, recorder = type("Stopping", (Callback,), {event: end})(), Recorder()
    run = neuron()
    history = run.fit(X, Y, epochs=5, batch_size=16, seed=3, callbacks=[stopping, recorder])
    assert (history.stopped, history["epoch"], run.optimizer.steps) == ("callback", [1], 6)
    expected = written_by_hand(2, 16, 3)
    until = next(k for k, event in enumerate(expected) if event[:3] == ("after_step", 2, 2))
    assert [event[:3] for event in recorder.events[:-1]] == [event[:3] for event in expected[: until + 1]]
    np.testing.assert_allclose(run.model.W.data, expected[until][4], rtol=1e-11)
    assert recorder.events[-1] == ("after_fit", 2, 2, "callback")


@pytest.mark.parametrize("compile", [False, True])
def test_after_an_epoch_stop_ends_training_and_all_are_still_called(compile):
    class Stop(Callback):
        def after_epoch(self, loop):
            if loop.epoch == 2:
                loop.stop()

    seen = []
    history = neuron().fit(
        X, Y, epochs=5, batch_size=25, compile=compile, callbacks=[Stop(), lambda _, row: seen.append(row["epoch"])]
    )
    assert (history.stopped, len(history), seen, history.compiled) == ("callback", 2, [1, 2], compile)


@pytest.mark.parametrize("way", ["stop", "True"])
@pytest.mark.parametrize("compile", [False, True])
def test_training_that_is_stopped_before_it_begins_learns_nothing(compile, way):
    class Never(Callback):
        def before_fit(self, loop):
            return True if way == "True" else loop.stop()

    run = neuron()
    history = run.fit(X, Y, compile=compile, callbacks=Never())
    assert (history.stopped, len(history), run.optimizer.steps) == ("callback", 0, 0)


def test_the_first_reason_to_stop_is_the_one_that_counts():
    class Stop(Callback):
        def after_loss(self, loop):
            loop.stop("diverging")
            signal.raise_signal(signal.SIGINT)

    assert neuron().fit(X, Y, callbacks=Stop()).stopped == "diverging"


@pytest.mark.parametrize("way", ["class", "function"])
def test_the_epoch_that_a_callback_ends_is_no_candidate_for_patience(way):
    """The validation loss falls with each epoch; the fourth would be the best, and a callback ends training there."""
    states = []

    def remember(run, row):
        states.append(run.model.state())
        return row["epoch"] == 4

    class Remember(Callback):
        def after_epoch(self, loop):
            return remember(loop.trainer, loop.figures)

        def after_fit(self, loop):
            states.append(loop.model.state())

    run = neuron()
    callback = Remember() if way == "class" else remember
    history = run.fit(X, Y, epochs=9, seed=0, validation=(X, Y), patience=50, callbacks=callback)
    assert history["val_loss"] == sorted(history["val_loss"], reverse=True)
    np.testing.assert_equal(run.model.state(), states[2])
    if way == "class":
        np.testing.assert_equal(states[-1], states[2])  # after_fit sees what fit leaves behind


def test_after_an_error_the_last_parameters_stay_not_the_best():
    states = []

    class Fail(Callback):
        def after_epoch(self, loop):
            states.append(loop.model.state())
            assert loop.epoch < 4, "enough"

    run = neuron(lr=0.5)
    with pytest.raises(AssertionError, match="enough"):
        run.fit(X, Y, epochs=9, seed=0, validation=(X, 1 - Y), patience=50, callbacks=Fail())
    np.testing.assert_equal(run.model.state(), states[3])


# ---- errors


EVENTS = ["before_fit", "before_batch", "after_loss", "after_backward", "after_step", "after_epoch", "after_fit"]


@pytest.mark.parametrize("progress", [False, True])
@pytest.mark.parametrize("event", EVENTS)
def test_an_error_in_an_event_leaves_everything_as_it_was(event, progress):
    def fail(self, loop):
        raise ZeroDivisionError

    ended = []

    class Clean(Callback):
        def after_fit(self, loop):
            ended.append(loop.stopped)

    run = trainer(dropout=0.5)
    own = run.model.layers[2].generator = np.random.default_rng(8)
    handler, inner = signal.getsignal(signal.SIGINT), source_lines.state().inner
    failing = type("Failing", (Callback,), {event: fail})()
    with pytest.raises(ZeroDivisionError):
        run.fit(X, Y, epochs=2, progress=progress, callbacks=[Clean(), failing], validation=(X, Y))
    assert signal.getsignal(signal.SIGINT) is handler
    assert source_lines.state().inner is inner
    assert run.model.layers[2].generator is own
    assert all(module.training for module in run.model.modules())
    assert ended == [None if event != "after_fit" else "finished"]


@pytest.mark.parametrize("compile", [False, True])
def test_after_an_error_dropout_draws_from_its_own_generator_again(compile):
    run = trainer(dropout=0.5)
    x = X.copy()
    x[-1] = np.nan
    with pytest.raises(NotFiniteError):
        run.fit(x, Y, batch_size=50, compile=compile)
    assert run.model.layers[2].generator is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_or_gradient_that_a_callback_spoils_does_not_reach_the_parameters(value):
    class SpoilLoss(Callback):
        def after_loss(self, loop):
            if (loop.epoch, loop.batch) == (1, 3):
                loop.loss = loop.loss * value

    class SpoilGradient(Callback):
        def after_backward(self, loop):
            if (loop.epoch, loop.batch) == (1, 3):
                loop.model.W.grad[0, 0] = value

    class Keep(Callback):
        def before_batch(self, loop):
            self.state, self.batch = loop.model.state(), loop.batch

    for spoil, message in ((SpoilLoss(), "the loss is"), (SpoilGradient(), "the gradient of W is not")):
        run, keep = neuron(), Keep()
        with np.errstate(all="ignore"), pytest.raises(NotFiniteError, match=f"{message}.* in epoch 1, batch 3"):
            run.fit(X, Y, batch_size=10, callbacks=[spoil, keep], clip_norm=1.0)
        assert keep.batch == 3
        np.testing.assert_equal(run.model.state(), keep.state)


def test_an_event_that_does_not_exist_is_refused_with_the_nearest_one():
    with pytest.raises(TypeError, match=r"Mine\.after_bacward would never be called.*did you mean 'after_backward'"):
        type("Mine", (Callback,), {"after_bacward": lambda self, loop: None})
    with pytest.raises(TypeError, match=r"on_train_end would never be called: the events are before_fit, .*after_fit;"):
        type("Mine", (Callback,), {"on_train_end": lambda self, loop: None})
    type("Mine", (Callback,), {"largest": lambda self: 0, "_after": lambda self: 0, "after_all": 3})  # not events


def test_a_class_in_place_of_an_object_is_told_apart():
    with pytest.raises(TypeError, match=r"callbacks holds the class Everything; pass an object: Everything\(\)"):
        neuron().fit(X, Y, callbacks=[Everything])
