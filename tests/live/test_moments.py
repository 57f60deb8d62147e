"""Moments: checks are read or refused, what the explanations say is true, and each can be solved on the page."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.live import live
from tinygrad_ce.live.checks import check_tree
from tinygrad_ce.live.moment_networks import moment_networks
from tinygrad_ce.live.moments import Moment, State
from tinygrad_ce.live.offers import LOSSES_OF_CLASSES, OF_MOMENTS, model_of
from tinygrad_ce.live.twelve import twelve

TITLES = [moment.title for moment in twelve()]


# ---- checks


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ("los < 0.3", "names los, which is not measured: did you mean loss? There are accuracy, "),
        ("grd('W0', 0, 1) > 0", "names grd, which is not measured: did you mean grad? There are abs, "),
        ("loss", "has 'loss' where a condition belongs: write a condition such as loss < 0.3"),
        ("loss <", "is no expression of Python: write a condition such as loss < 0.3"),
        ("loss in (1, 2)", "compares with in or is: write one of < <= > >= == !="),
        ("loss < 'low'", "has \"'low'\" where a number belongs"),
        ("loss < True", "has 'True' where a number belongs"),
        ("loss.real < 1", "has 'loss.real' where a number belongs"),
        ("(lambda: 1)() < 2", "where a number belongs"),
        ("abs(loss, 1) < 2", "calls abs with 2 arguments: it takes 1"),
        ("grad(loss, 1) < 2", 'calls grad with loss: write grad("W0", 1, 0)'),
        ("grad_norm('W0', 1) < 2", "calls grad_norm with 2 arguments: it takes 1"),
        ("__import__('os') == 1", "names __import__"),
    ],
)
def test_a_check_that_the_page_cannot_evaluate_is_refused_in_one_line(check, words):
    with pytest.raises(ValueError, match=r"^Moment: the check ") as raised:
        Moment("t", "q", 1.0, [State("s")], "do", check, "because")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_check_becomes_a_tree():
    assert check_tree("0 < loss < 2 * best_test_loss and not steps == 3") == [
        "and",
        ["and", ["<", "0", "less than", 0, ["loss"]],
         ["<", "the loss of the training rows", "less than", ["loss"], ["*", 2, ["best_test_loss"]]]],
        ["not", "steps == 3", ["==", "the number of training steps", "exactly", ["steps"], 3]],
    ]  # fmt: skip


def test_a_moment_whose_answer_cannot_be_chosen_is_refused():
    whole = twelve()[0]
    with pytest.raises(ValueError, match="answer is 'perhaps', which is not among answers"):
        replace(whole, answer="perhaps")
    with pytest.raises(ValueError, match="without answers, answer must be a number, not 'perhaps'"):
        replace(whole, answer="perhaps", answers=())
    with pytest.raises(ValueError, match="states is empty"):
        replace(whole, states=())
    with pytest.raises(ValueError, match=r"come with an activation .tanh, relu, sigmoid., a loss"):
        moment_networks((replace(whole, states=[replace(whole.states[0], activation="gelu")]),))


# ---- what the explanations say, by the Python engine


class Trial:
    """A state of a moment in the Python engine."""

    def __init__(self, title, state=0):
        self.state = twelve()[TITLES.index(title)].states[state]
        tg.seed(self.state.seed)
        self.model = model_of(self.state.activation, self.state.loss, self.state.hidden, 2, 2)
        loss, one_hot = (LOSSES_OF_CLASSES | OF_MOMENTS)[self.state.loss], self.state.loss == "squared error"
        self.loss = lambda z, y: loss(z, np.eye(2)[y] if one_hot else y)
        for name, parameter in self.parameters.items():
            parameter.data[...] = self.state.weights.get(name, self.state.scale * parameter.data)
        rows = len(self.state.data) - self.state.test
        self.X, self.y = self.state.data.X[:rows].astype(float), self.state.data.y[:rows]

    @property
    def layers(self):
        return [layer for layer in self.model.layers if isinstance(layer, tg.nn.Dense)]

    @property
    def parameters(self):
        named = [(f"{letter}{2 * n}", layer) for n, layer in enumerate(self.layers) for letter in "Wb"]
        return {name: getattr(layer, name[0]) for name, layer in named}

    def measured(self, X=None, y=None):
        X, y = (self.X, self.y) if X is None else (X, y)
        z = self.model(X)
        return self.loss(z, y).item(), (z.data.argmax(axis=1) == y).mean()

    def gradients(self, rows=slice(None)):
        loss = self.loss(self.model(self.X[rows]), self.y[rows])
        arrays = tg.gradients(loss, list(self.parameters.values()))
        return dict(zip(self.parameters, [np.asarray(getattr(g, "data", g)) for g in arrays], strict=True))

    def train(self, steps, rate=None):
        optimizer = tg.optim.SGD(self.model.parameters(), lr=rate or self.state.rate)
        for _ in range(steps):
            self.loss(self.model(self.X), self.y).backward()
            optimizer.step()
            optimizer.zero_grad()
        return self.measured()[0]


def test_one_weight_mends_the_loss():
    trial = Trial("One weight by hand")
    assert trial.measured()[0] > 1
    trial.parameters["W0"].data[0, 0] = 2.6
    assert trial.measured()[0] < 0.01


def test_the_number_to_be_foretold_is_the_gradient_times_the_move():
    trial, moment = Trial("The gradient is a slope"), twelve()[1]
    slope = trial.gradients()["W0"][1, 1]
    assert slope == pytest.approx(-0.191, abs=5e-4)
    before = trial.measured()[0]
    trial.parameters["W0"].data[1, 1] = 0.1
    assert trial.measured()[0] - before == pytest.approx(moment.answer, rel=0.01)
    trial.parameters["W0"].data[1, 1] = 2.0
    assert trial.measured()[0] - before != pytest.approx(2 * slope, rel=0.3)  # far away the slope is another one


def test_nine_of_forty_rows_pull_the_other_way():
    trial = Trial("One row against the batch")
    pulls = [trial.gradients([row])["W0"][1, 1] / 40 for row in range(40)]
    assert sum(pulls) == pytest.approx(trial.gradients()["W0"][1, 1])
    assert sum(pull > 0 for pull in pulls) == 9
    assert sum(pulls) < 0


def test_zeros_stay_and_one_weight_wakes_one_neuron():
    trial = Trial("All weights 0")
    assert trial.train(50) == pytest.approx(np.log(2), abs=1e-15)
    assert all((p.data == 0).all() for p in trial.parameters.values())
    trial.parameters["W0"].data[0, 0] = 0.5
    assert trial.train(50) < 0.4
    assert (trial.parameters["W0"].data[:, 1:] == 0).all()


def test_eight_times_the_weights_saturate():
    trial = Trial("Weights × 8", 1)
    h1 = np.tanh(trial.X @ trial.parameters["W0"].data)
    h2 = np.tanh(h1 @ trial.parameters["W2"].data)
    assert np.mean([1 - h1 * h1 <= 0.05, 1 - h2 * h2 <= 0.05]) == pytest.approx(0.65)
    assert trial.measured()[0] > 10 * Trial("Weights × 8", 0).measured()[0]


def test_rate_20_jumps_and_a_smaller_one_learns():
    trial = Trial("Rate 20")
    losses = [trial.train(1) for _ in range(20)]
    assert max(losses) > 5
    assert sum(b > a for a, b in pairwise(losses)) > 5
    assert Trial("Rate 20").train(400, rate=1) < 0.2


def test_a_dead_relu_has_no_gradient_until_its_bias_is_raised():
    trial = Trial("A dead ReLU")
    trial.train(20)
    assert trial.gradients()["b0"][1] == 0
    assert (trial.gradients()["W0"][:, 1] == 0).all()
    trial.parameters["b0"].data[1] = 1.0
    assert trial.gradients()["b0"][1] != 0
    assert trial.train(20) < 0.32


def test_eight_sigmoids_leave_a_seventeen_thousandth():
    sigmoids, tanhs = Trial("Eight sigmoids", 0), Trial("Eight sigmoids", 1)
    norms = [np.linalg.norm(gradient) for gradient in sigmoids.gradients().values()]
    assert norms[0] / norms[-2] == pytest.approx(1 / 17_000, rel=0.05)
    assert sigmoids.train(100) == pytest.approx(np.log(2), abs=1e-3)
    assert tanhs.train(100) < 0.3


def test_cross_entropy_mends_a_confident_mistake_and_squared_error_does_not():
    squared, crossed = Trial("A confident mistake", 0), Trial("A confident mistake", 1)
    assert abs(squared.gradients()["W0"]).max() < abs(crossed.gradients()["W0"]).max() / 1000
    squared.train(400)
    crossed.train(20)
    assert (squared.measured()[1], crossed.measured()[1]) == (0, 1)


def test_two_softmaxes_have_a_floor():
    trial = Trial("Softmax twice")
    assert twelve()[TITLES.index("Softmax twice")].answer == pytest.approx(np.log(1 + 1 / np.e), abs=5e-4)
    assert np.log(1 + 1 / np.e) < trial.train(500) < 0.32
    assert trial.measured()[1] == 1


def test_flipped_labels_are_learned_by_heart():
    flipped, true = Trial("Flipped labels", 0), Trial("Flipped labels", 1)
    test = flipped.state.data.X[30:].astype(float), flipped.state.data.y[30:]
    flipped.train(50)
    best = flipped.measured(*test)[0]
    assert flipped.train(950) < 0.01
    true.train(1000)
    assert flipped.measured()[1] == true.measured()[1] == 1
    assert flipped.measured(*test)[0] > 2 * best > 10 * true.measured(*test)[0]


# ---- on the page


@pytest.fixture(scope="module")
def of_iris():
    """A page whose own rows are others than those of the moments."""
    model = tg.nn.Sequential(tg.nn.Dense(4, 3), tg.nn.Tanh(), tg.nn.Dense(3, 3))
    trainer = tg.Trainer(model, tg.losses.softmax_cross_entropy, tg.optim.Adam(model.parameters(), lr=0.01))
    return live(trainer, tg.data.iris().take(range(0, 150, 5)))


def predict(page, moment):
    if moment.answers:
        page.get_by_label(moment.answer, exact=True).check()
    else:
        page.get_by_label("Your number").fill(str(moment.answer))
    page.locator("#moment-guess").click()


def train(page, steps):
    for _ in range(steps):
        page.locator("#one").click()


def train_until_solved(page, speed="10"):
    page.locator("#speed").select_option(speed)
    page.locator("#play").click()
    page.locator("#moment-verdict strong").wait_for()
    page.locator("#play").click()


def press(page, words):
    page.locator(".moment-buttons").get_by_role("button", name=words, exact=True).click()


def move_marked(page, presses):
    """Moves the marked weight by so many presses of a key."""
    script = "(({ name, index }) => cellName(name, printed.shapeIn(name), index))(session.selected)"
    name = page.evaluate(script)
    page.locator(f'[role=slider][aria-label^="{name},"]').focus()
    for _ in range(abs(presses)):
        page.keyboard.press("ArrowUp" if presses > 0 else "ArrowDown")


def point_at_rows(page):
    for row in range(40):
        page.locator("#points .point").nth(row).hover(force=True)
        if page.locator("#moment-verdict strong").count():
            return


def set_rate(page, rate):
    page.locator("#rate").fill(str(rate))
    page.keyboard.press("Enter")


def step_through(page):
    while page.locator("#figures").inner_text().startswith("step 0"):
        page.locator("#inside").click()


AGAIN = "rate 20, from the start"
SOLUTIONS = {
    "One weight by hand": lambda page: move_marked(page, 36),
    "The gradient is a slope": lambda page: move_marked(page, 2),
    "One row against the batch": point_at_rows,
    "Inside one step": step_through,
    "All weights 0": lambda page: (train(page, 3), move_marked(page, 3), train_until_solved(page)),
    "Weights × 8": lambda page: (press(page, "weights × 8"), train_until_solved(page)),
    "Rate 20": lambda page: (train(page, 3), press(page, AGAIN), set_rate(page, 2), train_until_solved(page)),
    "A dead ReLU": lambda page: (train(page, 20), move_marked(page, 40), train_until_solved(page)),
    "Eight sigmoids": lambda page: (train(page, 3), press(page, "two tanhs"), train_until_solved(page)),
    "A confident mistake": lambda page: (train(page, 3), press(page, "cross-entropy"), train_until_solved(page)),
    "Softmax twice": lambda page: train_until_solved(page, "100"),
    "Flipped labels": lambda page: train_until_solved(page, "100"),
}  # fmt: skip


KEPT = "JSON.stringify([snapshot(), session.history, session.data.rows, page.data, page.own, page.settings])"


def test_each_moment_says_not_yet_and_is_solved_by_what_it_asks_for(opened_live, of_iris):
    page = opened_live(of_iris)
    train(page, 2)
    before = page.evaluate(KEPT)
    page.locator("#moment-list").get_by_role("button", name=TITLES[0]).click()
    for number, moment in enumerate(twelve()):
        assert page.locator("#moment-title").inner_text() == f"{number + 1}. {moment.title}"
        first = Trial(moment.title).measured()[0]
        assert page.evaluate("session.step.outputs.loss[0]") == pytest.approx(first, rel=1e-12), moment.title
        predict(page, moment)
        said = page.locator("#moment-verdict").inner_text()
        assert re.fullmatch(r"Not yet: [^{}*<>=]+\.", said), moment.title  # words, no formula
        SOLUTIONS[moment.title](page)
        verdict = re.escape(f"✓ Solved. You foretold it. {moment.explanation}")
        verdict = re.sub(r"\\{\w+\\}", r"-?[\\d.]+", verdict)
        assert re.fullmatch(verdict, page.locator("#moment-verdict").inner_text()), moment.title
        assert page.locator("#moments-title").inner_text() == f"Moments: {number + 1} of 12 solved"
        if number < 11:
            page.locator("#moment-next").click()
    page.locator("#moment-leave").click()
    assert page.evaluate(KEPT) == before
    assert page.evaluate("document.activeElement.textContent") == f"{TITLES[-1]} ✓"


def test_a_wrong_guess_is_said_after_the_moment_is_solved_and_no_guess_before(opened_live, of_iris):
    page = opened_live(of_iris)
    page.locator("#moment-list").get_by_role("button", name="The gradient is a slope").click()
    move_marked(page, 2)
    page.locator("#moment-guess").click()
    assert page.locator("#guess-form .wrong").inner_text() == "Type a number, such as 0.5."
    page.get_by_label("Your number").fill("0.5")
    page.keyboard.press("Enter")
    assert "You said: 0.5. It is: -0.0191. " in page.locator("#moment-verdict").inner_text()


def test_a_teacher_writes_a_moment_for_ones_own_network(opened_live):
    moment = Moment(
        "Larger <b>weights</b>",
        "Does a seed change the loss?",
        answers=["yes & no", "<i>yes</i>"],
        answer="<i>yes</i>",
        states=[State("<u>seed 5</u>", seed=5, weights={"b0": [1, 2, 3]}, select=("W0", 1, 2), rate=0.5)],
        task="Train 2 steps.",
        check='weight("W0", 1, 2) != 0 and grad_norm("W2") > 0 and steps >= 2 and (rate == 0.5 or rows < 0)',
        explanation="</script>",
    )
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 2))
    trainer = tg.Trainer(model, tg.losses.softmax_cross_entropy, tg.optim.SGD(model.parameters(), lr=0.1))
    page = opened_live(live(trainer, tg.data.moons(12, seed=0), moments=[moment]))
    page.locator("#moment-list button").click()
    assert page.evaluate("[...session.step.state.b0]") == [1, 2, 3]
    assert page.evaluate("session.selected") == {"name": "W0", "index": 5}
    predict(page, moment)
    words = "Not yet: the number of training steps is 0, and should be at least 2."
    assert page.locator("#moment-verdict").inner_text() == words
    train(page, 2)
    assert page.locator("#moment-verdict").inner_text() == "✓ Solved. You foretold it. </script>"
    page.locator("#reset").click()
    assert page.evaluate("[session.count, ...session.step.state.b0]") == [0, 1, 2, 3]


def test_a_page_without_moments_has_no_panel_of_them(opened_live):
    model = tg.nn.Sequential(tg.nn.Dense(2, 2))
    trainer = tg.Trainer(model, tg.losses.softmax_cross_entropy, tg.optim.SGD(model.parameters()))
    page = opened_live(live(trainer, tg.data.moons(12, seed=0), moments=[]))
    assert page.locator("#moments-panel").is_hidden()
