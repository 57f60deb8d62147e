"""What fit and Trainer refuse before anything is learnt, and in which words; and what they take after all."""

import re

import numpy as np
import pytest
import scipy.sparse
from train.trainings import X, Y, network, trainer

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.train import NotFiniteError, Trainer

# ---- what a Trainer is made of


def parts():
    model = nn.Dense(2, 2)
    return model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=0.1)


MODEL, LOSS, OPTIMIZER = parts()
ORDER = re.escape("Trainer(model, loss, optimizer)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.Dense, LOSS, OPTIMIZER), r"model is the class Dense; .*Dense\(\.\.\.\)"),
        ((MODEL, nn.MSE, OPTIMIZER), r"loss is the class MSE; .*tg\.nn\.MSE\(\)"),
        ((MODEL, nn.SoftmaxCrossEntropy, OPTIMIZER), r"tg\.nn\.SoftmaxCrossEntropy\(\)"),
        ((MODEL, "mse", OPTIMIZER), r"loss is 'mse'; .*tg\.nn\.MSE\(\)"),
        ((MODEL, "binary_crossentropy", OPTIMIZER), r"tg\.nn\.BCE\(\)"),
        ((MODEL, "cross_entropy", OPTIMIZER), r"tg\.nn\.SoftmaxCrossEntropy\(\)"),
        ((MODEL, LOSS, optim.Adam), r"optimizer is the class Adam; pass tg\.optim\.Adam\(model\.parameters\(\), lr="),
        ((MODEL, LOSS, "adam"), r"optimizer is 'adam'; pass tg\.optim\."),
        ((MODEL, LOSS, MODEL.parameters()), r"optimizer is list; pass tg\.optim\."),
        ((MODEL, OPTIMIZER, LOSS), rf"loss is the optimizer SGD; the order is {ORDER}"),
        ((LOSS, MODEL, OPTIMIZER), rf"model is SoftmaxCrossEntropy, .*the order is {ORDER}"),
        ((OPTIMIZER, MODEL, LOSS), rf"model is SGD, .*the order is {ORDER}"),
        ((tg.losses.mse, MODEL, OPTIMIZER), "model is function"),
        ((OPTIMIZER, LOSS, MODEL), rf"the order is {ORDER}"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_wrong_argument_is_answered_with_what_to_type(arguments, message):
    with pytest.raises(TypeError, match=f"^Trainer: .*{message}"):
        Trainer(*arguments)


def test_parameters_that_no_optimizer_moves_are_named():
    model = network()
    with pytest.warns(
        UserWarning, match=r"does not hold layers\.0\.W, layers\.0\.b, which will not be trained"
    ) as said:
        Trainer(model, LOSS, optim.SGD(model[2].parameters()))
    assert len(said) == 1
    frozen = network()
    for parameter in frozen[0].parameters():
        parameter.requires_grad = False
    Trainer(frozen, LOSS, optim.SGD(frozen.parameters()))  # that is how to say it: no warning


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((nn.Dense(2, 2), nn.Tanh), r"Sequential: layer 1 is the class Tanh; write Tanh\(\)"),
        ((nn.Dense,), r"Sequential: layer 0 is the class Dense; write Dense\(\.\.\.\)"),
        (([nn.Dense(2, 2), nn.Tanh()],), r"Sequential: layer 0 is list.*Sequential\(\*layers\)"),
        (("relu",), "Sequential: layer 0 is str"),
    ],
    ids=["class", "class with sizes", "list", "text"],
)
def test_layers_that_are_none_are_answered_with_what_to_type(layers, message):
    with pytest.raises(TypeError, match=message):
        nn.Sequential(*layers)


# ---- a last batch of one row


def normalized(middle=None):
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 4), middle or nn.BatchNorm(4), nn.Dense(4, 2))
    return Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters()))


@pytest.mark.parametrize(
    ("rows", "batch_size", "message"),
    [
        (50, 7, r"50 rows in batches of 7 leave a last batch of one row.*batch_size=8, or .*X\[:-1\]"),
        (33, 32, r"33 rows in batches of 32 .*batch_size=33"),
        (50, 1, r"50 rows in batches of 1 leave one row in each.*batch_size=2$"),
        (21, 4, r"batch_size=6"),  # 5 leaves one row too
        (1, 32, "only one row"),
    ],
)
def test_batch_norm_refuses_a_last_batch_of_one_row_before_the_first_step(rows, batch_size, message):
    run = normalized()
    before = run.model.state()
    for compile in (False, True):
        with pytest.raises(ValueError, match=rf"fit: .*{message}") as caught:
            run.fit(X[:rows], Y[:rows], batch_size=batch_size, compile=compile)
    for name, array in run.model.state().items():
        np.testing.assert_array_equal(array, before[name])
    assert run.optimizer.steps == 0
    cure = re.search(r"batch_size=(\d+)", str(caught.value))
    if cure:
        run.fit(X[:rows], Y[:rows], batch_size=int(cure[1]), epochs=1)


def test_one_row_is_enough_where_no_batch_norm_sees_it_alone():
    normalized(nn.LayerNorm(4)).fit(X, Y, batch_size=7, epochs=1)
    run = normalized()
    run.fit(X, Y, batch_size=25, epochs=1, validation=(X[:1], Y[:1]))
    run.evaluate(X, Y, batch_size=7)  # evaluation normalizes with the running averages
    run.predict(X[:1])
    tg.seed(0)
    model = nn.Sequential(nn.Embedding(5, 3), nn.BatchNorm(3), nn.Flatten(), nn.Dense(6, 2))  # two words in each row
    words = np.arange(10).reshape(5, 2) % 5
    Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters())).fit(words, Y[:5], batch_size=4, epochs=1)


# ---- validation


def test_a_validation_loss_of_nan_is_no_early_stop():
    spoiled = X.copy()
    spoiled[3] = np.nan
    with pytest.raises(NotFiniteError, match=r"validation loss is nan in epoch 1.*patience=2.*isnan"):
        trainer().fit(X, Y, epochs=9, validation=(spoiled, Y), patience=2)
    seen = trainer().fit(X, Y, epochs=2, validation=(spoiled, Y))  # nothing is decided by it, and it is seen
    assert np.isnan(seen["val_loss"]).all()
    assert seen.stopped == "finished"


def test_an_infinite_validation_loss_only_counts_as_worse():
    def loss(p, y):
        return tg.losses.mse(p, y) / (1.0 if len(y) == 25 else 0.0)

    with np.errstate(divide="ignore"):
        history = trainer(loss).fit(X, np.eye(2)[Y], epochs=9, batch_size=25, validation=(X, np.eye(2)[Y]), patience=2)
    assert (history.stopped, len(history)) == ("early", 2)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ((np.zeros((5, 3)), Y[:5]), r"fit: the rows of validation have shape \(3,\), those of X have shape \(2,\)"),
        ((np.zeros((5, 2, 1)), Y[:5]), r"rows of validation have shape \(2, 1\)"),
        ((X[:0], Y[:0]), r"fit: validation: there are no rows"),
        ((X, Y[:4]), r"fit: validation: X has 50 rows and y has shape \(4,\)"),
        ((X, np.array(["a", "b"])[Y]), r"fit: validation: y must hold numbers"),
        (0.2, r"validation is a float; it must be a pair \(X, y\)"),
        ((X, Y, X), r"fit: validation: sample_weight has shape \(50, 2\), and X has 50 rows"),
        ((X, Y, Y, Y), "must be a pair"),
    ],
    ids=["columns", "axes", "empty", "rows", "text", "share", "three", "four"],
)
def test_a_validation_that_does_not_fit_is_refused_before_the_first_epoch(validation, message):
    run = trainer()
    before = run.model.state()
    with pytest.raises((ValueError, TypeError), match=message):
        run.fit(X, Y, validation=validation)
    for name, array in run.model.state().items():
        np.testing.assert_array_equal(array, before[name])


class Mean(nn.Module):
    """A model that takes rows of any length."""

    def __init__(self):
        self.layer = nn.Dense(1, 2)

    def forward(self, x):
        return self.layer(np.mean(x, axis=1, keepdims=True))


def test_a_validation_of_another_shape_is_taken_where_the_model_takes_it():
    run = Trainer(model := Mean(), nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters()))
    assert "val_loss" in run.fit(X, Y, epochs=1, validation=(np.zeros((5, 7)), Y[:5])).columns


# ---- data of other kinds


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.coo_array, scipy.sparse.csc_matrix])
def test_sparse_data_are_answered_with_toarray(make):
    run = trainer()
    for call in (lambda x, y: run.fit(x, y), run.evaluate, lambda x, y: run.predict(x)):
        with pytest.raises(TypeError, match=r"X is a sparse .*X\.toarray\(\)"):
            call(make(X), Y)
    with pytest.raises(TypeError, match=r"y is a sparse .*y\.toarray\(\)"):
        run.fit(X, make(np.eye(2)[Y]))
    run.fit(make(X).toarray(), Y, epochs=1)


@pytest.mark.parametrize(
    "y",
    [["cat", "dog"] * 25, np.array(["cat", "dog"] * 25, dtype=object), np.array([b"x"] * 50), Y + 1j],
    ids=["list", "objects", "bytes", "complex"],
)
def test_targets_that_are_no_numbers_are_answered_with_np_unique(y):
    with pytest.raises(
        TypeError, match=r"fit: y must hold numbers, and has dtype .*np\.unique\(y, return_inverse=True\)"
    ):
        trainer().fit(X, y)


@pytest.mark.parametrize("x", [X.astype(str), X.astype(object), X + 1j], ids=["text", "objects", "complex"])
def test_inputs_that_are_no_real_numbers_are_refused_with_their_dtype(x):
    with pytest.raises(TypeError, match=r"X must hold real numbers, and has dtype"):
        trainer().fit(x, Y)


WHOLE = np.random.default_rng(0).integers(0, 2, (50, 2))


@pytest.mark.parametrize(
    ("kind", "first", "compile"),
    [
        *((kind, None, False) for kind in (np.int64, np.uint8, np.int8, bool, np.float16, np.float64, np.longdouble)),
        *((kind, first, False) for kind in (np.int16, bool) for first in (nn.BatchNorm, nn.LayerNorm)),
        *((np.int64, None, True), (bool, nn.BatchNorm, True)),
    ],
)
def test_the_dtype_of_the_parameters_is_that_of_the_predictions(kind, first, compile):
    tg.seed(0)
    norm = [first(2)] if first else []
    model = nn.Sequential(*norm, nn.Dense(2, 2), nn.Tanh(), nn.Dense(2, 2)).astype(np.float32)
    run = Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters()))
    run.fit(WHOLE.astype(kind), Y, epochs=1, batch_size=25, compile=compile, seed=0)
    assert run.predict_proba(WHOLE.astype(kind)).dtype == np.float32
    assert model(WHOLE.astype(kind)).dtype == np.float32 or kind in (np.float64, np.longdouble)
    expected = run.predict_proba(WHOLE.astype(np.float32))
    np.testing.assert_array_equal(run.predict_proba(WHOLE.astype(kind)), expected)


def test_large_integers_are_numbers_and_do_not_wrap():
    layer = nn.Dense(1, 1, init=lambda a, b: np.full((a, b), 2.0))
    np.testing.assert_array_equal(layer(np.array([[200]], np.uint8)).data, [[400.0]])
    np.testing.assert_array_equal(layer([[3]]).data, [[6.0]])
    np.testing.assert_array_equal(layer(tg.Tensor(np.array([[100]], np.int8))).data, [[200.0]])


# ---- options


@pytest.mark.parametrize(
    ("options", "name"),
    [({"patience": True}, "patience"), ({"patience": 2.0}, "patience"), ({"clip_norm": True}, "clip_norm"),
     ({"clip_norm": np.nan}, "clip_norm"), ({"clip_norm": -1}, "clip_norm"), ({"epochs": "3"}, "epochs")],
)  # fmt: skip
def test_options_that_are_none_are_refused(options, name):
    with pytest.raises(ValueError, match=f"fit: {name}="):
        trainer().fit(X, Y, **options)


def test_options_may_be_numbers_of_numpy():
    history = trainer().fit(
        X, Y, epochs=np.int64(2), batch_size=np.int32(25), clip_norm=np.float32(1), patience=np.int8(5)
    )
    assert len(history) == 2


# ---- summaries


class Heads(nn.Module):
    """A module without inner modules, whose answer is one of several."""

    def __init__(self, answer):
        self.W, self.answer = tg.Tensor(np.ones((2, 3)), requires_grad=True), answer

    def forward(self, x):
        return self.answer(x @ self.W, x[:, 0])


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        (lambda a, b: (a, b), "((N, 3), (N))"),
        (lambda a, b: [a, (b, b)], "((N, 3), ((N), (N)))"),
        (lambda a, b: {"mean": a, "spread": b}, "{mean: (N, 3), spread: (N)}"),
        (lambda a, b: a.sum(), "()"),
        (lambda a, b: None, "NoneType"),
        (lambda a, b: 3.0, "float"),
    ],
    ids=["tuple", "list", "dict", "number", "none", "float"],
)
def test_the_summary_of_a_model_whose_answer_is_not_one_array(answer, shape):
    text = Heads(answer).summary(np.ones((4, 2)))
    assert text.parts[1].rows[0][1].replace("(N,)", "(N)") == shape


@pytest.mark.parametrize("named", [False, True])
def test_the_summary_of_a_model_with_two_heads(named):
    class Two(nn.Module):
        def __init__(self):
            self.first, self.second = nn.Dense(2, 3), nn.Dense(2, 1)

        def forward(self, x):
            return {"a": self.first(x), "b": self.second(x)} if named else (self.first(x), self.second(x))

    for text in (Two().summary(), Two().summary(np.ones((4, 2)))):
        assert [*text.parts[1].rows][:2] == [
            ("first  Dense(2, 3)", "(N, 3)", "9"),
            ("second  Dense(2, 1)", "(N, 1)", "3"),
        ]


def test_targets_far_from_what_a_new_model_gives_are_warned_of():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    prices = tg.data.Dataset(X, 300_000 + 50_000 * X[:, 0], ("a", "b"), (), "houses", np.ones(2, bool))

    def fit(dataset):
        model = nn.Dense(2, 1)
        tg.Trainer(model, nn.MSE(), tg.optim.Adam(model.parameters())).fit(dataset, epochs=1, seed=0)

    words = (
        r"'houses' have mean \S*e\+05 and deviation .*: write train, test = tg.data.standardize\(train, test, targets"
    )
    with pytest.warns(UserWarning, match=words):
        fit(prices)
    fit(*tg.data.standardize(prices, targets=True))  # a warning would be an error
