"""Data, options, models and losses that do not fit are refused, and the message says what to pass."""

import numpy as np
import pandas as pd
import pytest
from train.trainings import X, Y, trainer

from tinygrad_ce import data, nn, optim
from tinygrad_ce.train import Trainer


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": -1}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"patience": 0}, "patience"),
        ({"patience": "soon"}, "patience"),
        ({"clip_norm": 0}, "clip_norm"),
        ({"clip_norm": "small"}, "clip_norm"),
        ({"clip_norm": np.inf}, "fit: clip_norm=inf must be a positive, finite number"),
        ({"validation": (X,)}, "validation is a tuple of 1; it must be a pair"),
        ({"validation": 3}, "validation is an int; it must be a pair"),
        ({"validation": X}, "validation"),
        ({"validation": (X[:0], Y[:0])}, "rows"),
        ({"validation": (X, Y[:5])}, "rows"),
        ({"callbacks": 3}, "callbacks"),
        ({"callbacks": [3]}, "callbacks"),
        ({"seed": "a"}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_bad_options_are_refused_by_name_before_anything_is_learnt(options, name):
    run = trainer()
    before = run.model.state()
    with pytest.raises((ValueError, TypeError), match=name):
        run.fit(X, Y, **options)
    for path, array in run.model.state().items():
        np.testing.assert_array_equal(array, before[path])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:5], r"50 rows .*\(5,\)"),
        (X[:0], Y[:0], "no rows"),
        (X, None, "target"),
        (None, Y, "rows"),
        (X, Y + 2, "there are 2 classes"),
        (X, Y.astype(float), r"astype\(int\)"),
        (X, Y[:, None], "ravel"),
        (np.zeros((50, 3)), Y, r"inner sizes 3 and 2.*layers\.0\.W"),
        (X.astype(str), Y, "X|numbers"),
        (X + 1j, Y, "X|numbers"),
    ],
    ids=["rows", "empty", "no y", "no X", "labels", "floats", "column", "features", "text", "complex"],
)
def test_bad_data_say_what_is_wrong(x, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        trainer().fit(x, y, epochs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, nn.MSE(), None), "model"),
        ((nn.Dense(2, 2), 3, None), "loss"),
        ((nn.Dense(2, 2), nn.MSE(), 0.1), "optimizer"),
    ],
    ids=["model", "loss", "optimizer"],
)
def test_a_trainer_checks_what_it_is_made_of(arguments, message):
    with pytest.raises(TypeError, match=f"Trainer: {message}"):
        Trainer(*arguments)


def test_an_optimizer_of_another_model_is_refused():
    with pytest.raises(ValueError, match="no parameter of this model"):
        Trainer(nn.Dense(2, 2), nn.MSE(), optim.SGD(nn.Dense(2, 2).parameters()))


def test_a_loss_for_each_row_is_no_loss_to_train_with():
    with pytest.raises(ValueError, match='reduction="mean"'):
        trainer(nn.SoftmaxCrossEntropy(reduction="none")).fit(X, Y)


@pytest.mark.parametrize("answer", [3.0, None, np.zeros(())], ids=str)
def test_a_loss_that_answers_with_no_tensor_is_told(answer):
    with pytest.raises(TypeError, match="loss"):
        trainer(lambda predictions, targets: answer).fit(X, Y)


def test_what_stands_where_the_targets_should_is_named():
    dataset = data.from_frame(pd.DataFrame({"a": [1.0, 2.0, 3.0], "y": ["p", "q", "p"]}), "y")
    with pytest.raises(TypeError, match=r"fit: y is the number 10; beside a Dataset, write epochs=10"):
        trainer().fit(dataset, 10)
    with pytest.raises(TypeError, match=r"X is a DataFrame, and y is missing: .*tg\.data\.from_frame"):
        trainer().fit(pd.DataFrame({"a": [1.0], "y": [0]}))


def test_one_row_alone_is_told_how_it_becomes_rows():
    model = nn.Dense(2, 3)
    with pytest.raises(ValueError, match=r"one row alone is X\[None\]"):
        Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=0.1)).predict(np.zeros(2))
