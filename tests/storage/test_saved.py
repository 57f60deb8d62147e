"""What a file is used for: asked about new rows, in the words of their table, and trained further."""

import csv
from threading import Thread

import numpy as np
import pytest
from fresh import printed

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.storage import architecture

HOUSES = [(40 + 7 * k % 90, "abc"[k % 3], 100_000 + 3_000 * (7 * k % 90) + 20_000 * (k % 3)) for k in range(60)]


def table(path, rows, *names):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """A CSV of houses, and the file of a model for their prices."""
    folder = tmp_path_factory.mktemp("houses")
    path = table(folder / "houses.csv", HOUSES, "area", "town", "price")
    train, _ = tg.data.standardize(*tg.data.split(tg.data.from_csv(path, "price", regression=True)), targets=True)
    tg.seed(0)
    model = nn.Sequential(nn.Dense(train.n_features, 8), nn.Tanh(), nn.Dense(8, 1))
    trainer = tg.Trainer(model, nn.MSE(), optim.Adam(model.parameters(), lr=0.02))
    trainer.fit(train, epochs=150, seed=0)
    trainer.save(folder / "model")
    return folder


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    """The same houses, and the file of a model for their towns."""
    folder = tmp_path_factory.mktemp("towns")
    path = table(folder / "houses.csv", [(x, p, t) for x, t, p in HOUSES], "area", "price", "town")
    train, _ = tg.data.standardize(*tg.data.split(tg.data.from_csv(path, "town")))
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 16), nn.Tanh(), nn.Dense(16, 3))
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.Adam(model.parameters(), lr=0.05))
    trainer.fit(train, epochs=100, seed=0)
    trainer.save(folder / "model")
    return folder


def test_numbers_come_back_in_the_units_of_the_table(houses):
    saved = tg.load(houses / "model")
    new = table(houses / "new.csv", [(area, town) for area, town, _ in HOUSES], "area", "town")
    prices = saved.predict(new)
    right = np.array([price for *_, price in HOUSES])
    assert prices.shape == (60,)
    assert np.abs(prices - right).max() < 0.15 * np.ptp(right)
    again = saved.predict(houses / "houses.csv")  # the target may be there
    np.testing.assert_array_equal(again, prices)
    part = saved.preparation.dataset(houses / "houses.csv")
    np.testing.assert_array_equal(saved.predict(part), prices)
    np.testing.assert_array_equal(saved.predict(part.X), prices)
    np.testing.assert_array_equal(saved.trainer.predict(part.X), saved(part.X).data)
    scaled = saved(part.X).data[:, 0]
    np.testing.assert_allclose(prices, np.polyval(np.polyfit(scaled, prices, 1), scaled), rtol=1e-9)


def test_classes_come_back_by_their_names_and_with_probabilities(towns):
    pandas = pytest.importorskip("pandas")
    saved = tg.load(towns / "model")
    frame = pandas.DataFrame(HOUSES, columns=["area", "town", "price"])
    names = saved.predict(frame.drop(columns="town"))
    assert {*names} <= {"a", "b", "c"}
    assert (names == frame["town"]).mean() > 0.8
    shares = saved.predict_proba(towns / "houses.csv")
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert [saved.preparation.class_names[i] for i in shares.argmax(axis=1)] == [*names]
    with pytest.raises(ValueError, match=r"new.*price|price"):
        saved.predict(frame[["area"]])


def test_another_process_answers_alike(towns):
    saved = tg.load(towns / "model")
    code = f"""
        import tinygrad_ce as tg
        print(*tg.load({str(towns / "model")!r}).predict({str(towns / "houses.csv")!r}))
    """
    assert printed(code) == [*saved.predict(towns / "houses.csv")]


def test_without_a_loss_the_highest_score_is_the_class(towns, tmp_path):
    saved = tg.load(towns / "model")
    tg.save(tmp_path / "a", saved.model, preparation=saved.preparation)
    again = tg.load(tmp_path / "a")
    np.testing.assert_array_equal(again.predict(towns / "houses.csv"), saved.predict(towns / "houses.csv"))
    with pytest.raises(ValueError, match=r"holds no loss, which says how scores become probabilities: tg\.save\("):
        again.predict_proba(towns / "houses.csv")
    with pytest.raises(ValueError, match=r"holds no loss and no optimizer: write trainer\.save\(path\)"):
        _ = again.trainer
    tg.save(tmp_path / "b", saved.model, loss=saved.loss)
    with pytest.raises(ValueError, match=r"holds no optimizer: write trainer"):
        _ = tg.load(tmp_path / "b").trainer
    with pytest.raises(ValueError, match=r"holds no preparation, which turns a table into features"):
        tg.load(tmp_path / "b").predict(towns / "houses.csv")


def test_a_single_score_without_a_loss_is_no_class(tmp_path):
    part, _ = tg.data.standardize(*tg.data.split(tg.data.moons(40, seed=0)))
    tg.save(tmp_path / "a", nn.Dense(2, 1), preparation=part.preparation)
    with pytest.raises(ValueError, match=r"one score a row.*loss="):
        tg.load(tmp_path / "a").predict(part.X)


def test_binary_answers_have_their_names_and_a_threshold(tmp_path):
    part, _ = tg.data.standardize(*tg.data.split(tg.data.moons(60, seed=0)))
    tg.seed(0)
    model = nn.Dense(2, 1)
    trainer = tg.Trainer(model, nn.SigmoidBCE(), optim.Adam(model.parameters(), lr=0.1))
    trainer.fit(part, epochs=20, seed=0)
    trainer.save(tmp_path / "a")
    saved = tg.load(tmp_path / "a")
    names = np.array(part.class_names)
    np.testing.assert_array_equal(saved.predict(part), names[trainer.predict(part.X)])
    np.testing.assert_array_equal(saved.predict(part, threshold=0.9), names[trainer.predict(part.X, threshold=0.9)])
    np.testing.assert_array_equal(saved.predict_proba(part.X), trainer.predict_proba(part.X))


def test_a_task_that_only_the_targets_tell_is_kept(tmp_path):
    moons = tg.data.moons(60, seed=0)
    model = nn.Dense(2, 2)
    trainer = tg.Trainer(model, nn.MSE(), optim.SGD(model.parameters(), lr=0.1))
    trainer.fit(moons.X, np.eye(2)[moons.y], epochs=2, seed=0)
    trainer.save(tmp_path / "a")
    saved = tg.load(tmp_path / "a")
    assert saved.trainer.task == "classes"
    np.testing.assert_array_equal(saved.predict(moons.X), trainer.predict(moons.X))


def test_calling_it_is_the_models_answer_in_evaluation_mode_and_leaves_no_trace(tmp_path):
    model = nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(3), nn.Dropout(0.9))
    tg.save(tmp_path / "a", model)
    saved = tg.load(tmp_path / "a")
    X = np.random.default_rng(0).random((4, 2))
    out = saved(X)
    np.testing.assert_array_equal(out.data, model.eval()(X).data)
    assert not out.requires_grad
    assert all(module.training for module in saved.model.modules())


def test_the_printed_form_says_what_is_there(towns, tmp_path):
    text = repr(tg.load(towns / "model"))
    assert text == (
        "Saved(Sequential(Dense(2, 16), Tanh(), Dense(16, 3)), loss=SoftmaxCrossEntropy(), optimizer=Adam, "
        "preparation of 2 features, 100 epochs)"
    )
    tg.save(tmp_path / "a", nn.Dense(2, 2), loss=tg.losses.mse)
    assert repr(tg.load(tmp_path / "a")) == "Saved(Dense(2, 2), loss=mse)"


# ---- saved while a fit is running


@pytest.mark.parametrize("compile", [False, True])
def test_a_trainer_that_is_saved_after_an_epoch_goes_on_from_there(tmp_path, compile):
    data = tg.data.moons(70, seed=1)

    def trainer():
        tg.seed(0)
        model = nn.Sequential(nn.Dense(2, 6), nn.BatchNorm(6), nn.Tanh(), nn.Dropout(0.3), nn.Dense(6, 2))
        return tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.Adam(model.parameters(), lr=0.01))

    def save(trainer, figures):
        if figures["epoch"] == 4:
            trainer.save(tmp_path / "a")

    whole = trainer()
    whole.fit(data, epochs=2, batch_size=16, seed=3, compile=compile, batch_losses=True)
    whole.fit(data, epochs=8, batch_size=16, compile=compile, callbacks=save, batch_losses=True)
    saved = tg.load(tmp_path / "a")
    assert saved.history["epoch"] == [1, 2, 3, 4, 5, 6]
    assert len(saved.history.batch_losses) == 6 * 5
    saved.trainer.fit(data, epochs=4, batch_size=16, compile=compile, batch_losses=True)
    for path, array in whole.model.state().items():
        np.testing.assert_array_equal(saved.model.state()[path], array)
    assert saved.history.columns == whole.history.columns
    assert saved.history.batch_losses == whole.history.batch_losses
    assert whole.unfinished is None


class TwoInputs(nn.Module):
    def __init__(self):
        self.first, self.second = nn.Dense(3, 2), nn.Dense(2, 2)

    def forward(self, a, b):
        return self.first(a) + self.second(b)


def test_several_inputs_are_passed_as_a_trainer_takes_them(tmp_path):
    model = TwoInputs()
    tg.save(tmp_path / "model", model)
    saved = tg.load(tmp_path / "model", into=TwoInputs())
    a, b = np.ones((4, 3)), np.ones((4, 2))
    right = model(a, b).data
    for inputs in [(a, b), ((a, b),), ({"b": b, "a": a},)]:
        np.testing.assert_array_equal(saved(*inputs).data, right)


def test_loads_in_several_threads_leave_the_generator_of_weights_where_it_is(tmp_path, monkeypatch):
    """While one thread makes layers, another one draws: what it has drawn must not come again."""
    tg.save(tmp_path / "model", nn.Sequential(nn.Dense(2, 3), nn.Embedding(4, 2)))
    tg.seed(0)
    first, second = (tg.nn.init.he_normal(2, 2) for _ in range(2))
    tg.seed(0)
    drawn, build = [], architecture._build_layer

    def meanwhile(*arguments):
        if not drawn:
            drawn.append(None)
            thread = Thread(target=lambda: drawn.append(tg.nn.init.he_normal(2, 2)))
            thread.start()
            thread.join()
        return build(*arguments)

    monkeypatch.setattr(architecture, "_build_layer", meanwhile)
    tg.load(tmp_path / "model")
    np.testing.assert_array_equal(drawn[1], first)
    np.testing.assert_array_equal(tg.nn.init.he_normal(2, 2), second)


def test_a_class_is_no_model(tmp_path):
    tg.save(tmp_path / "m.safetensors", nn.Dense(2, 1))
    with pytest.raises(TypeError, match=r"load: into is the class Dense; pass one of it: into=Dense\(\.\.\.\)"):
        tg.load(tmp_path / "m.safetensors", into=nn.Dense)
