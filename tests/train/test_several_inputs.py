"""Several inputs and outputs: tuples and dicts of arrays wherever X and y go, each error naming the part."""

import warnings

import numpy as np
import pytest
from program.loops_as_python import loops_as_python
from train.trainings import X, Y

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.check import gradcheck_model
from tinygrad_ce.train import Callback, Trainer

IMAGES, TEXTS = X, np.random.default_rng(3).normal(size=(50, 3))
NUMBERS = X.sum(axis=1, keepdims=True) + TEXTS[:, :1]
INPUTS = {"tuple": (IMAGES, TEXTS), "dict": {"text": TEXTS, "image": IMAGES}}
TARGETS = {"tuple": (Y, NUMBERS), "dict": {"kind": Y, "number": NUMBERS}}
forms = pytest.mark.parametrize("form", ["tuple", "dict"])


class TwoInputs(nn.Module):
    """A class from both inputs, and a number from both."""

    def __init__(self, form, dropout=0.0):
        tg.seed(0)
        self.image, self.text = nn.Dense(2, 4), nn.Dense(3, 4)
        self.kind, self.number = nn.Dense(4, 2), nn.Dense(4, 1)
        self.drop, self.form = nn.Dropout(dropout), form

    def forward(self, image, text):
        hidden = self.drop(tg.ops.tanh(self.image(image) + self.text(text)))
        answers = self.kind(hidden), self.number(hidden)
        return dict(zip(("kind", "number"), answers, strict=True)) if self.form == "dict" else answers


def loss(answers, targets, reduction="mean"):
    (kind, number), (label, amount) = (x.values() if isinstance(x, dict) else x for x in (answers, targets))
    wrong = tg.losses.mse(number, amount, reduction=reduction)
    wrong = wrong[:, 0] if reduction == "none" else wrong
    return tg.losses.softmax_cross_entropy(kind, label, reduction=reduction) + wrong


def trainer(form, **options):
    model = TwoInputs(form, **options)
    return Trainer(model, loss, optim.Adam(model.parameters(), lr=0.05))


def both(form):
    return INPUTS[form], TARGETS[form]


# ---- the loop


@forms
def test_fit_is_the_loop_that_one_would_write_by_hand(form):
    ours = trainer(form)
    history = ours.fit(*both(form), epochs=3, batch_size=16, seed=5, validation=both(form))
    model = TwoInputs(form)
    optimizer, generator = optim.Adam(model.parameters(), lr=0.05), np.random.default_rng(5)
    for _ in range(3):
        order = generator.permutation(50)
        for start in range(0, 50, 16):
            rows = order[start : start + 16]
            optimizer.zero_grad()
            answers = model(image=IMAGES[rows], text=TEXTS[rows])
            loss(answers, (Y[rows], NUMBERS[rows])).backward()
            optimizer.step()
    for mine, theirs in zip(ours.model.parameters(), model.parameters(), strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)
    right = loss(model.eval()(IMAGES, TEXTS), (Y, NUMBERS)).item()
    np.testing.assert_allclose(history["val_loss"][-1], right, rtol=1e-12)
    assert "accuracy" not in history.columns  # which of the answers would it be of?


@forms
@pytest.mark.parametrize("weights", [None, np.arange(50) % 3 + 0.5], ids=["alike", "weighted"])
def test_compiled_epochs_do_the_same(form, weights):
    learnt = []
    for compile in (False, True):
        run = trainer(form, dropout=0.2)
        with loops_as_python(), warnings.catch_warnings():
            warnings.simplefilter("error")
            history = run.fit(
                *both(form), epochs=3, batch_size=16, seed=5, compile=compile, sample_weight=weights, batch_losses=True
            )
        assert history.compiled is compile
        learnt.append((run.model.state(), history))
    (state, history), (other, others) = learnt
    for name, array in state.items():
        np.testing.assert_allclose(other[name], array, rtol=1e-9)
    np.testing.assert_allclose(others["loss"], history["loss"], rtol=1e-12)
    np.testing.assert_allclose(others.batch_losses, history.batch_losses, rtol=1e-9)


def test_a_dict_in_another_order_is_another_program():
    """The compiled step takes arrays one after the other; here both inputs have one shape."""

    class Difference(nn.Module):
        def __init__(self):
            tg.seed(0)
            self.dense = nn.Dense(2, 1)

        def forward(self, a, b):
            return self.dense(a) - self.dense(2 * b)

    model, a, b = Difference(), X, X[::-1].copy()
    run = Trainer(model, nn.MSE(), optim.SGD(model.parameters(), lr=1e-3))
    with loops_as_python():
        for data in ({"a": a, "b": b}, {"b": b, "a": a}):
            before = run.evaluate(data, NUMBERS)["loss"]
            history = run.fit(data, NUMBERS, epochs=1, batch_size=50, compile=True)
            np.testing.assert_allclose(history["loss"][0], before, rtol=1e-12)


@forms
@pytest.mark.parametrize("batch_size", [7, 50])
def test_answers_come_back_as_the_model_gives_them(form, batch_size):
    run = trainer(form)
    predicted, expected = run.predict(INPUTS[form], batch_size=batch_size), run.model.eval()(IMAGES, TEXTS)
    assert type(predicted) is type(expected)
    for key in expected if form == "dict" else (0, 1):
        np.testing.assert_allclose(predicted[key], expected[key].data, rtol=1e-13)
    right = loss(expected, (Y, NUMBERS)).item()
    np.testing.assert_allclose(run.evaluate(*both(form), batch_size=batch_size)["loss"], right, rtol=1e-12)


@forms
def test_two_inputs_and_one_answer_have_classes(form):
    class OneAnswer(TwoInputs):
        def forward(self, image, text):
            return super().forward(image, text)[0]

    model = OneAnswer("tuple")
    run = Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=0.1))
    for compile in (False, True):
        with loops_as_python():
            history = run.fit(INPUTS[form], Y, epochs=1, compile=compile, validation=(INPUTS[form], Y))
        assert history["val_accuracy"][-1] == (run.predict(INPUTS[form]) == Y).mean()
        assert "accuracy" in history.columns
    assert run.predict_proba(INPUTS[form]).shape == (50, 2)
    assert run.confusion_matrix(INPUTS[form], Y).sum() == 50


def test_a_callback_sees_the_same_tuples_and_dicts():
    class Look(Callback):
        def before_batch(self, loop):
            assert {name: x.shape for name, x in loop.rows.items()} == {"text": (25, 3), "image": (25, 2)}
            assert {name: x.shape for name, x in loop.targets.items()} == {"kind": (25,), "number": (25, 1)}

    trainer("dict").fit(*both("dict"), epochs=1, batch_size=25, callbacks=Look())


def test_floating_inputs_are_turned_to_the_dtype_of_the_parameters():
    run = trainer("dict")
    run.model.astype(np.float32)
    run.fit(*both("dict"), epochs=1)
    assert {x.dtype for x in run.predict(INPUTS["dict"]).values()} == {np.dtype(np.float32)}


def test_a_model_of_several_inputs_is_checked_numerically():
    few = {name: array[:4] for name, array in INPUTS["dict"].items()}
    targets = {name: array[:4] for name, array in TARGETS["dict"].items()}
    gradcheck_model(TwoInputs("dict"), loss, few, targets)


# ---- what is one array, and what several


def test_a_list_is_one_array_whatever_is_in_it():
    model = nn.Dense(2, 2)
    run = Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters()))
    for rows in (X.tolist(), [*X], tuple(map(tuple, X.tolist())), tuple(X.tolist())):
        assert run.evaluate(rows, list(Y)) == run.evaluate(rows, tuple(Y.tolist())) == run.evaluate(X, Y)
    with pytest.raises(ValueError, match=r"cannot become an array.*go into a tuple, or a dict"):
        run.fit([IMAGES, TEXTS], Y)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ({"image": IMAGES, "text": TEXTS[:12]}, Y, r"X\['image'\] has 50 rows and X\['text'\] has 12"),
        ((IMAGES, TEXTS[:12]), Y, r"X\[0\] has 50 rows and X\[1\] has 12"),
        (INPUTS["dict"], Y[:12], r"X has 50 rows and y has shape \(12,\)"),
        (INPUTS["dict"], {"kind": Y[:12]}, r"X has 50 rows and y\['kind'\] has shape \(12,\)"),
        (INPUTS["dict"], (Y, NUMBERS[:12]), r"y\[0\] has 50 rows and y\[1\] has 12"),
        ({"image": IMAGES, "text": TEXTS.astype(str)}, Y, r"X\['text'\] must hold real numbers"),
        (INPUTS["dict"], {"kind": Y.astype(str)}, r"y\['kind'\] must hold numbers.*np\.unique"),
        ({"image": IMAGES, "text": 3}, Y, r"X\['text'\] is an int; it must be an array of rows"),
        ({}, Y, r"X is a dict with the keys \[\]"),
        ({0: IMAGES}, Y, r"X is a dict with the keys \[0\]; they must be the names of the model's inputs"),
        ((IMAGES[:0], TEXTS[:0]), (Y[:0], Y[:0]), "no rows"),
        ({"image": IMAGES, "txt": TEXTS}, TARGETS["tuple"], "unexpected keyword argument 'txt'"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_errors_name_the_part(method, x, y, message):
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        getattr(trainer("tuple"), method)(x, y)
    assert "\n" not in str(caught.value)


def test_weights_of_several_outputs_have_no_classes():
    with pytest.raises(ValueError, match="these targets are several arrays"):
        trainer("dict").fit(*both("dict"), class_weight="balanced")


def test_validation_with_other_columns_is_refused_before_the_first_epoch():
    with pytest.raises(ValueError, match=r"rows of validation have shape \{\"X\['text'\]\": \(2,\)"):
        trainer("dict").fit(*both("dict"), validation=({"text": IMAGES, "image": IMAGES}, TARGETS["dict"]))


def test_pictures_and_labels_need_one_array():
    model = nn.Dense(2, 2)
    run = Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters()))
    with pytest.raises(ValueError, match=r"2 features, and these have shape \(50, 2\), \(50, 3\)"):
        run.plot_boundary(INPUTS["tuple"], Y)
    with pytest.raises(TypeError, match="y is a dict of arrays; pass the one with the class indices"):
        run.confusion_matrix(X, TARGETS["dict"])
