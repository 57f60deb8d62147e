"""History as a DataFrame, as a CSV file, and as a picture with the losses of single batches."""

import math

import numpy as np
import pandas as pd
import pytest
from train.trainings import X, Y, trainer

import tinygrad_ce as tg
from tinygrad_ce.train import History


@pytest.fixture(scope="module")
def history():
    run = trainer()
    run.fit(X, Y, epochs=2, seed=0)
    run.fit(X, Y, epochs=3, seed=1, validation=(X, Y))
    return run.history  # val_loss is NaN in the first two epochs


def read(path, history):
    """The file as pandas reads it, to the last digit in all its versions."""
    return pd.read_csv(path, converters=dict.fromkeys([name for name in history.columns if name != "epoch"], float))


def check(frame, history):
    assert frame.index.name == "epoch"
    assert frame.index.tolist() == [1, 2, 3, 4, 5]
    assert list(frame.columns) == [name for name in history.columns if name != "epoch"]
    for name in frame.columns:
        np.testing.assert_array_equal(frame[name].to_numpy(), history[name])  # to the bit; NaN is NaN


def test_to_frame(history):
    check(history.to_frame(), history)
    assert math.isnan(history.to_frame().loc[2, "val_loss"])


def test_to_csv_keeps_every_digit(history, tmp_path):
    history.to_csv(tmp_path / "history.csv")
    check(read(tmp_path / "history.csv", history).set_index("epoch"), history)


def test_numbers_of_all_kinds_survive(tmp_path):
    history = History()
    for epoch, value in enumerate([0.1 + 0.2, 5e-324, 1.7976931348623157e308, np.float32(0.1), math.inf, 3], start=1):
        history.append({"epoch": epoch, "loss": value, "a, b": -value})
    history.to_csv(str(tmp_path / "history.csv"))
    frame = read(tmp_path / "history.csv", history)
    np.testing.assert_array_equal(frame["loss"], np.array(history["loss"], float))
    np.testing.assert_array_equal(frame["a, b"], np.array(history["a, b"], float))


def test_an_empty_history(tmp_path):
    assert len(History().to_frame()) == 0
    History().to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text().strip() == ""


def test_a_file_that_cannot_be_written_is_named(history, tmp_path):
    with pytest.raises(OSError, match=r"nowhere.history\.csv"):
        history.to_csv(tmp_path / "nowhere" / "history.csv")


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("old")
    broken = History()
    broken.append({"epoch": 1, "loss": "no number"})
    with pytest.raises(ValueError, match="no number"):
        broken.to_csv(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["history.csv"]


def test_losses_of_batches_are_added_up_over_fits():
    first, second = History(), History()
    first.batch_losses, second.batch_losses = [3.0, 2.0], [1.0]
    first.extend(second)
    assert first.batch_losses == [3.0, 2.0, 1.0]
    assert second.batch_losses == [1.0]
    assert History().batch_losses == []


@pytest.mark.parametrize(
    ("loss", "targets", "guessing"),
    [
        (tg.nn.SoftmaxCrossEntropy(), np.arange(12) % 3, np.log(3)),
        (tg.nn.SigmoidBCE(), np.eye(3)[np.arange(12) % 3], np.log(2)),
        (tg.nn.MSE(), np.ones((12, 3)), None),
        (tg.nn.SoftmaxCrossEntropy(reduction="sum"), np.arange(12) % 3, None),
    ],
    ids=["classes", "yes or no", "numbers", "a sum"],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_the_loss_of_who_only_guesses_is_a_line(loss, targets, guessing, compiled):
    """A model whose weights are 0 finds all answers equally likely: its loss before training is that line."""
    layer = tg.nn.Dense(2, 3, init=lambda rows, columns: np.zeros((rows, columns)))
    run = tg.Trainer(layer, loss, tg.optim.SGD(layer.parameters(), lr=1e-12))
    history = run.fit(np.ones((12, 2)), targets, epochs=2, batch_size=12, compile=compiled)
    assert history.guessing == pytest.approx(guessing)
    dotted = [line for line in history.plot().axes[0].lines if line.get_linestyle() == ":"]
    assert [line.get_ydata()[0] for line in dotted] == ([] if guessing is None else [pytest.approx(history["loss"][0])])


def test_losses_of_batches_are_drawn_so_that_the_last_stands_over_the_last_epoch():
    history = History()
    for epoch in (1, 2, 3):
        history.append({"epoch": epoch, "loss": 1.0 / epoch, "lr": 0.1})
    assert len(history.plot().axes[0].lines) == 1
    history.batch_losses = np.linspace(2, 0.2, 12).tolist()
    (epochs,) = history.plot().axes
    _, line = epochs.lines
    np.testing.assert_array_equal(line.get_ydata(), history.batch_losses)
    np.testing.assert_allclose(line.get_xdata()[[3, 7, 11]], [1, 2, 3])
    assert epochs.get_xlim()[0] == 0
