"""What can be done to the session, and that nothing else changes: the engine and NumPy say what must come out."""

import numpy as np
import pytest
from live.training import LAYERS, STATE, assert_same_numbers, rows, tanh_network, tanh_page, train, trainer_of

import tinygrad_ce as tg
from tinygrad_ce.live import live

LOSS = "session.step.outputs.loss[0]"
WORDS = "document.getElementById('say').textContent"


@pytest.fixture
def page(opened_live):
    return opened_live(tanh_page())


def loss_of(trainer, X, y):
    return trainer.loss(trainer.model(tg.Tensor(X)), y).item()


def test_a_changed_weight_gives_the_engines_loss_and_a_what_if_leaves_no_trace(page):
    trainer, (training, _) = trainer_of(tanh_network()), rows()
    before = page.evaluate(STATE)
    page.evaluate("globalThis.kept = snapshot(); setWeight('W0', 5, 1.75); setWeight('b4', 1, -3)")
    trainer.model.layers[0].W.data[1, 1] = 1.75
    trainer.model.layers[4].b.data[1] = -3
    assert page.evaluate(LOSS) == pytest.approx(loss_of(trainer, training.X, training.y), rel=1e-13)
    page.evaluate("restore(kept)")
    assert page.evaluate(STATE) == before


def test_changed_rows_are_computed_with_at_once(page):
    trainer, (training, _) = trainer_of(tanh_network()), rows()
    X, y = training.X.copy(), training.y.copy()
    page.evaluate("movePoint(3, 1, 2.5); flipClass(7); addPoint([0.25, -1.5], 1); removePoint(0); removePoint(70)")
    X[3, 1] = 2.5
    y[7] = 1 - y[7]
    X, y = np.vstack([X[1:], [[0.25, -1.5]]]), np.append(y[1:], 1)
    assert page.evaluate(LOSS) == pytest.approx(loss_of(trainer, X, y), rel=1e-13)
    assert page.evaluate("[session.data.rows, session.rows.length, session.data.test.size]") == [79, 60, 19]
    assert page.evaluate("session.settings.batch") == 60  # the full batch, as before
    page.evaluate("trainSteps(20)")
    train(trainer, X, y, 20)
    state, names = page.evaluate(STATE), page.evaluate(LAYERS)
    for name, parameter in zip(names, trainer.optimizer.parameters, strict=True):
        np.testing.assert_allclose(state[name], parameter.data.ravel(), rtol=1e-11)


def test_the_last_training_row_stays(page):
    page.evaluate("for (let i = 0; i < 59; i++) removePoint(session.rows[0])")
    page.evaluate("removePoint(session.rows[0])")
    assert page.evaluate("session.rows.length") == 1
    assert "last training row stays" in page.evaluate(WORDS)


def test_a_frozen_weight_keeps_its_value_and_the_others_learn(page):
    before = page.evaluate(STATE)
    page.evaluate("freeze('W2', 6); trainSteps(30)")
    after = page.evaluate(STATE)
    assert after["W2"][6] == before["W2"][6]
    assert all(a != b for i, (a, b) in enumerate(zip(after["W2"], before["W2"], strict=True)) if i != 6)
    page.evaluate("setWeight('W2', 6, 0.5); trainSteps(3)")
    assert page.evaluate("session.step.state.W2[6]") == 0.5
    page.evaluate("freeze('W2', 6); trainSteps(1)")
    assert page.evaluate("session.step.state.W2[6]") != 0.5


@pytest.mark.parametrize("batch", [60, 16])
def test_a_step_line_by_line_is_a_step(page, batch):
    page.evaluate(f"choose({{ batch: {batch}, rate: 0.5 }}); globalThis.kept = snapshot(); trainStep(); trainStep()")
    whole = page.evaluate(STATE)
    page.evaluate("restore(kept)")
    before = page.evaluate(STATE)
    lines = page.evaluate("session.network.lines")
    for number, line in enumerate(lines):
        page.evaluate("stepInside()")
        assert page.evaluate("[session.line, session.rows.length]") == [number, batch]
        state = page.evaluate(STATE)
        done = {row["name"] for row in lines[: number + 1] if row["phase"] == "update"}
        assert {name for name in state if state[name] != before[name]} == done & set(state), line
    page.evaluate("stepInside()")
    assert page.evaluate("[session.line, session.rows.length, session.count]") == [None, 60, 1]
    page.evaluate("for (let i = 0; i < 9; i++) stepInside()")
    page.evaluate("trainStep()")  # what was not finished begins anew
    assert page.evaluate(STATE) == whole


def test_leaving_a_step_in_its_update_takes_the_update_back(page):
    page.evaluate("trainStep()")
    before = page.evaluate(STATE)
    page.evaluate(
        "while (session.line === null || session.network.lines[session.line].phase !== 'update') stepInside()"
    )
    page.evaluate("stepInside(); stepInside()")
    assert page.evaluate(STATE) != before
    page.evaluate("setWeight('W0', 0, session.step.state.W0[0])")
    assert page.evaluate("session.count") in (1, [1])
    after = page.evaluate(STATE)
    assert after["W4"] == before["W4"]
    assert after["b0"] == before["b0"]


def test_reset_brings_the_first_numbers_back(page):
    before, loss = page.evaluate(STATE), page.evaluate(LOSS)
    page.evaluate("setWeight('W0', 0, 9); freeze('W0', 0); trainSteps(50); reset()")
    assert page.evaluate(STATE) == before
    assert page.evaluate("[session.count, session.frozen.size, session.history.steps.length]") == [0, 0, 1]
    assert page.evaluate(LOSS) == loss


def test_where_infinity_first_appeared_is_said(page):
    page.evaluate("choose({ rate: 1.7e308 }); trainSteps(9, 1)")
    spoiled = page.evaluate("session.spoiled")
    trainer, (training, _) = trainer_of(tanh_network(), lr=1.7e308), rows()
    with np.errstate(all="ignore"):
        count, name = first_not_finite(trainer, training)
    assert (spoiled["count"], spoiled["name"]) == (count, name)
    line = page.evaluate("session.network.lines")[spoiled["line"]]
    assert name in line["text"].split("=")[0]
    page.evaluate("redraw()")
    assert f"At step {count} the first number that is not finite is {name}" in page.evaluate(WORDS)
    assert f"Line {spoiled['line'] + 1}, marked ✗, computed it: {line['text']}." in page.evaluate(WORDS)
    page.evaluate("trainSteps(2)")  # goes on, and can be looked at
    page.evaluate("choose({ rate: 0.1 }); reset()")
    assert page.evaluate("session.spoiled") is None
    assert page.evaluate(WORDS) == ""


def first_not_finite(trainer, training):
    """The step and the name of the first parameter, layer's result or loss that is not finite."""
    names = ["W0", "b0", "W2", "b2", "W4", "b4"]
    for count in range(10):
        for name, parameter in zip(names, trainer.model.parameters(), strict=True):
            if not np.isfinite(parameter.data).all():
                return count, name
        h = training.X
        for number in (0, 2, 4):
            layer = trainer.model.layers[number]
            z = h @ layer.W.data + layer.b.data
            if not np.isfinite(z).all():
                return count, f"z{number // 2 + 1}"
            h = np.tanh(z)
        if not np.isfinite(loss_of(trainer, training.X, training.y)):
            return count, "loss"
        train(trainer, training.X, training.y, 1)
    raise AssertionError("all stays finite")


def test_nan_in_a_weight_and_in_the_data_is_found(page):
    page.evaluate("setWeight('W2', 5, NaN)")
    found = page.evaluate("firstNotFinite()")
    assert (found["name"], found["position"]) == ("W2", 5)
    page.evaluate("setWeight('W2', 5, 0); movePoint(2, 1, Infinity)")
    found = page.evaluate("session.spoiled")
    assert (found["line"], found["name"], found["position"]) == (None, "x", 5)


def test_a_network_that_is_not_in_the_page_is_refused(page):
    before = page.evaluate(STATE), page.evaluate("session.settings")
    page.evaluate("choose({ activation: 'no such thing' })")
    assert "no network of no such thing" in page.evaluate(WORDS)
    assert (page.evaluate(STATE), page.evaluate("session.settings")) == before


def test_the_losses_are_thinned_and_keep_their_steps(page):
    page.evaluate("for (let i = 0; i < 5000; i++) trainStep()")
    history = page.evaluate("session.history")
    assert len(history["steps"]) <= 2001
    assert {len(entries) for entries in history.values()} == {len(history["steps"])}
    assert history["steps"][0] == 0
    assert sorted(set(history["steps"])) == history["steps"]


def test_an_optimizer_with_memory_goes_on_where_python_stood(opened_live):
    training, test = rows()
    trainer = trainer_of(tanh_network(), optimizer=tg.optim.Adam)
    train(trainer, training.X, training.y, 7)
    page = opened_live(live(trainer, training, test=test))
    page.evaluate("for (let i = 0; i < 20; i++) trainStep()")
    train(trainer, training.X, training.y, 20)
    assert_same_numbers(page, trainer)


def test_a_new_seed_begins_a_batch_norm_anew(opened_live):
    def network():
        return tg.nn.Sequential(tg.nn.Dense(2, 3, bias=False), tg.nn.BatchNorm(3), tg.nn.Tanh(), tg.nn.Dense(3, 2))

    trainer, data = trainer_of(network()), rows()[0]
    trainer.fit(data, epochs=2, seed=0)
    page = opened_live(live(trainer, data))
    page.evaluate("choose({ seed: 3 })")
    tg.seed(3)
    fresh = network()
    state = page.evaluate(STATE)
    expected = {"W0": fresh[0].W.data, "W3": fresh[3].W.data, "scale1": np.ones(3), "shift1": np.zeros(3)}
    expected |= {"running_mean": np.zeros(3), "running_variance": np.ones(3)}
    for name, array in expected.items():
        assert state[name] == array.ravel().tolist()


def test_a_weight_that_is_not_finite_before_any_step_is_no_lines_doing(page):
    page.evaluate("setWeight('W2', 0, NaN)")
    assert "W2[0, 0] is nan before the first step." in page.evaluate(WORDS)
    page.evaluate("setWeight('W2', 0, 1); movePoint(0, 0, Infinity)")
    assert "x[0, 0] is inf in the data." in page.evaluate(WORDS)


class Bare(tg.nn.Module):
    """A model without layers of the package."""

    def __init__(self):
        self.w = tg.Tensor(np.full((2, 2), 0.5), requires_grad=True)

    def forward(self, x):
        return tg.ops.tanh(x @ self.w)


def test_a_model_without_layers_is_drawn_and_trained(opened_live):
    trainer, (training, _) = trainer_of(Bare()), rows()
    page = opened_live(live(trainer, training, test=training, moments=()))
    page.evaluate("trainSteps(5); redraw()")
    train(trainer, training.X, training.y, 5)
    np.testing.assert_allclose(page.evaluate(STATE)["w"], trainer.model.w.data.ravel(), rtol=1e-12)


def test_the_losses_in_words_are_those_of_what_was_changed_by_hand(page):
    page.evaluate("trainSteps(3); setWeight('W0', 0, 2.5); redraw()")
    now = page.evaluate(f"written({LOSS}, 4)")
    assert f"loss {now}," in page.locator("#curve-train").inner_text()
