"""The TensorBoard callback: what is in its files, read with the messages of tensorboardX itself."""

import struct
import sys

import numpy as np
import pytest
from train.trainings import X, Y, trainer

import tinygrad_ce as tg
from tinygrad_ce.train import Callback, NotFiniteError

Event = pytest.importorskip("tensorboardX.proto.event_pb2").Event


def values_in(folder):
    """(step, tag, value) of all events in the order in which they were written."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: int(path.suffix[1:])):
        data, position = path.read_bytes(), 0
        while position < len(data):  # each record: its length, a checksum, the event, a checksum
            (length,) = struct.unpack_from("<Q", data, position)
            event = Event.FromString(data[position + 12 : position + 12 + length])
            found += [(event.step, value.tag, value) for value in event.summary.value]
            position += 12 + length + 4
        assert position == len(data)
    return found


def scalars_in(folder):
    return {(step, tag): value.simple_value for step, tag, value in values_in(folder) if not value.HasField("histo")}


def test_the_figures_of_each_epoch(tmp_path):
    run = trainer()
    history = run.fit(
        X, Y, epochs=3, seed=0, validation=(X, Y), callbacks=tg.train.TensorBoard(tmp_path / "runs" / "a")
    )
    tags = {
        "loss/train": "loss",
        "accuracy/train": "accuracy",
        "loss/validation": "val_loss",
        "accuracy/validation": "val_accuracy",
        "lr": "lr",
    }
    expected = {(k + 1, tag): history[name][k] for tag, name in tags.items() for k in range(3)}
    found = scalars_in(tmp_path / "runs" / "a")
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == np.float32(value)  # which the format holds


def test_a_later_fit_goes_on(tmp_path):
    run = trainer()
    board = tg.train.TensorBoard(tmp_path)
    run.fit(X, Y, epochs=2, callbacks=board)
    run.fit(X, Y, epochs=2, callbacks=[board])
    found = scalars_in(tmp_path)
    assert len([*tmp_path.iterdir()]) == 2
    losses = [found[epoch, "loss/train"] for epoch in (1, 2, 3, 4)]
    np.testing.assert_array_equal(losses, np.float32(run.history["loss"]))


def test_histograms_of_parameters_and_gradients(tmp_path):
    run = trainer()
    run.fit(X, Y, epochs=1, batch_size=50, compile=False, callbacks=tg.train.TensorBoard(tmp_path, histograms=True))
    found = {tag: value.histo for step, tag, value in values_in(tmp_path) if value.HasField("histo")}
    named = dict(run.model.named_parameters())
    assert found.keys() == {f"{kind}/{name}" for kind in ("parameters", "gradients") for name in named}
    for name, parameter in named.items():
        for kind, array in (("parameters", parameter.data), ("gradients", parameter.grad)):
            histogram = found[f"{kind}/{name}"]
            assert histogram.num == array.size
            assert (histogram.min, histogram.max) == (array.min(), array.max())
            assert histogram.sum == pytest.approx(array.sum(), rel=1e-9, abs=1e-12)


def test_compiled_epochs_leave_no_gradients_behind(tmp_path):
    run = trainer()
    history = run.fit(X, Y, epochs=2, compile=True, callbacks=tg.train.TensorBoard(tmp_path, histograms=True))
    kinds = {tag.split("/")[0] for _, tag, value in values_in(tmp_path) if value.HasField("histo")}
    assert kinds == ({"parameters"} if history.compiled else {"parameters", "gradients"})


def test_without_histograms_there_are_none(tmp_path):
    trainer().fit(X, Y, epochs=1, callbacks=tg.train.TensorBoard(tmp_path))
    assert not any(value.HasField("histo") for _, _, value in values_in(tmp_path))


class Fails(Callback):
    """Raises in the second epoch."""

    def after_epoch(self, loop):
        if loop.epoch == 2:
            raise RuntimeError("in the second epoch")


def test_the_file_is_closed_after_an_error_too(tmp_path):
    board = tg.train.TensorBoard(tmp_path)
    with pytest.raises(RuntimeError, match="second epoch"):
        trainer().fit(X, Y, epochs=3, callbacks=[board, Fails()])
    assert {step for step, _ in scalars_in(tmp_path)} == {1, 2}  # all that was waiting has been written
    with pytest.raises(NotFiniteError):
        trainer().fit(X * np.nan, Y, callbacks=board)
    assert len([*tmp_path.iterdir()]) == 2


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(OSError, match="runs"):
        trainer().fit(X, Y, epochs=1, callbacks=tg.train.TensorBoard(tmp_path / "runs"))


def test_without_tensorboardx_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'pip install "tinygrad_ce\[tensorboard\]"'):
        tg.train.TensorBoard("runs")
