"""A network that is trained already becomes an estimator: the same probabilities, and a fit that goes on."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

import tinygrad_ce as tg
from tinygrad_ce.sklearn import MLPClassifier, MLPRegressor

TRAIN, TEST = tg.data.standardize(*tg.data.split(tg.data.moons(120, seed=0)))
NAMES = np.array(TRAIN.class_names)  # "upper", "lower": not in the order of the alphabet
ENDS = {
    "two scores": ((2,), tg.nn.SoftmaxCrossEntropy),
    "two probabilities": ((2, tg.nn.Softmax()), tg.nn.CrossEntropy),
    "log-odds": ((1,), tg.nn.SigmoidBCE),
    "a probability": ((1, tg.nn.Sigmoid()), tg.nn.BCE),
}


def trainer(end):
    tg.seed(0)
    (outputs, *rest), loss = ENDS[end]
    model = tg.nn.Sequential(tg.nn.Dense(2, 8), tg.nn.Tanh(), tg.nn.Dense(8, outputs), *rest)
    trainer = tg.Trainer(model, loss(), tg.optim.Adam(model.parameters(), lr=0.02))
    trainer.fit(TRAIN, epochs=5, seed=0)
    return trainer


@pytest.mark.parametrize("end", ENDS)
def test_it_gives_the_probabilities_of_the_trainer(end):
    trained = trainer(end)
    estimator = MLPClassifier.from_trained(trained)
    np.testing.assert_allclose(estimator.predict_proba(TEST.X), trained.predict_proba(TEST.X), rtol=1e-12)
    assert estimator.predict(TEST.X).tolist() == NAMES[trained.predict(TEST.X)].tolist()
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.predict_proba(TEST.X), estimator.predict_proba(TEST.X))


@pytest.mark.parametrize("end", ENDS)
def test_it_goes_on_from_there_and_leaves_the_trainer_alone(end):
    trained = trainer(end)
    before = trained.predict_proba(TEST.X)
    estimator = MLPClassifier.from_trained(trained, learning_rate_init=0.02, random_state=0)
    first = estimator.partial_fit(TRAIN.X, NAMES[TRAIN.y]).loss_
    for _ in range(20):
        estimator.partial_fit(TRAIN.X, NAMES[TRAIN.y])
    assert estimator.loss_ < first < np.log(2)
    np.testing.assert_array_equal(trained.predict_proba(TEST.X), before)
    assert not hasattr(clone(estimator), "module_")


def test_a_regressor_gives_the_numbers():
    model = tg.nn.Sequential(tg.nn.Dense(3, 4), tg.nn.Tanh(), tg.nn.Dense(4, 1))
    X = np.random.default_rng(0).normal(size=(7, 3))
    estimator = MLPRegressor.from_trained(model)
    np.testing.assert_array_equal(estimator.predict(X), model(X).data[:, 0])
    assert estimator.partial_fit(X, X.sum(axis=1)).loss_ > 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"classes=\['a', 'b', 'c'\], and the network has 2 outputs: pass 2 names"):
        MLPClassifier.from_trained(tg.nn.Dense(2, 2), ["a", "b", "c"])
    for wrong in (["a", "a"], 2):
        with pytest.raises(ValueError, match=r"has 2 outputs: pass 2 names that differ"):
            MLPClassifier.from_trained(tg.nn.Dense(2, 2), wrong)
    with pytest.raises(TypeError, match=r"from_trained: the model is str"):
        MLPClassifier.from_trained("model.safetensors")
    with pytest.raises(TypeError, match=r"no matrix of weights"):
        MLPRegressor.from_trained(tg.nn.Tanh())


def test_several_yes_or_no_outputs_are_labels(tmp_path):
    y = np.stack([TRAIN.y, TRAIN.X[:, 0] > 0, TRAIN.X[:, 1] > 0], axis=1).astype(float)
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 8), tg.nn.Tanh(), tg.nn.Dense(8, 3))
    trained = tg.Trainer(model, tg.nn.SigmoidBCE(), tg.optim.Adam(model.parameters(), lr=0.02))
    trained.fit(TRAIN.X, y, epochs=5, seed=0)
    trained.save(tmp_path / "model")
    for source in (trained, tg.load(tmp_path / "model")):
        estimator = MLPClassifier.from_trained(source)
        np.testing.assert_allclose(estimator.predict_proba(TEST.X), trained.predict_proba(TEST.X), rtol=1e-12)
        np.testing.assert_array_equal(estimator.predict(TEST.X), trained.predict(TEST.X))
        assert estimator.partial_fit(TRAIN.X, y.astype(int)).out_activation_ == "logistic"


@pytest.mark.parametrize("is_saved", [False, True])
@pytest.mark.parametrize("end", ["numbers", *ENDS])
def test_a_network_for_something_else_is_refused(end, is_saved, tmp_path):
    model = tg.nn.Sequential(tg.nn.Dense(2, 1))
    other = tg.Trainer(model, tg.nn.MSE(), tg.optim.SGD(model.parameters(), lr=0.1))
    trained = other if end == "numbers" else trainer(end)
    wrong, right = (MLPClassifier, "MLPRegressor") if end == "numbers" else (MLPRegressor, "MLPClassifier")
    if is_saved:
        tg.save(tmp_path / "model", trained.model, loss=trained.loss)
        trained = tg.load(tmp_path / "model")
    with pytest.raises(ValueError, match=rf"trained on (numbers|classes|binary).*: {right}\.from_trained"):
        wrong.from_trained(trained)
    assert wrong.from_trained(trained.model).predict(TEST.X).shape[:1] == (len(TEST),)
