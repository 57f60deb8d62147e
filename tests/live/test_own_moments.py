"""Moments of one's own are refused in one line; and after a moment one's own session is as if there had been none."""

import pytest

import tinygrad_ce as tg
from tinygrad_ce.live import Moment, State, live

DATA = tg.data.moons(12, seed=0)


def page_with(dropout=False, batch_size=None, **moment):
    model = tg.nn.Sequential(
        tg.nn.Dense(2, 3), tg.nn.Tanh(), *([tg.nn.Dropout(0.5)] if dropout else []), tg.nn.Dense(3, 2)
    )
    trainer = tg.Trainer(model, tg.losses.softmax_cross_entropy, tg.optim.SGD(model.parameters(), lr=0.1))
    if not moment:
        return live(trainer, DATA, batch_size=batch_size)
    whole = {"title": "t", "question": "q", "answer": 1, "task": "do", "check": "loss < 1", "explanation": "why"}
    return live(trainer, DATA, moments=[Moment(**whole | {"states": [State("s")]} | moment)])


OFFERED = {"activation": "tanh", "loss": "cross-entropy"}
REFUSED = {
    "select of no array": ({"select": ("W9", 0, 0)}, "marks W9, which its network does not have: there are W0, b0"),
    "select outside": ({"select": ("W0", 2, 0)}, r"marks W0 at \(2, 0\): its shape is \(2, 3\)"),
    "select without place": ({"select": "W0"}, r'select is .W0.: write .* such as \("W0", 1, 0\)'),
    "weights of no array": ({"weights": {"V": [1]}}, "sets V, which its network does not have: there are W0, b0"),
    "weights of other size": ({"weights": {"b0": [1]}}, r"sets b0 to 1 numbers, and its shape is \(3,\)"),
    "weights of other widths": (
        OFFERED | {"hidden": (5,), "weights": {"b0": [1, 2, 3]}},
        r"sets b0 to 3 numbers, and its shape is \(5,\)",
    ),
    "width without list": (OFFERED | {"hidden": 4}, r"hidden is 4: write .* such as hidden=\(4, 4\)"),
    "too deep": (OFFERED | {"hidden": (2,) * 9}, "asks for tanh/cross-entropy/9, which this page does not hold"),
    "rate": ({"rate": "fast"}, "rate is 'fast': write a number from 0 on"),
    "batch": ({"batch": 0}, "batch is 0: write a whole number of rows from 1 on"),
    "optimizer": ({"optimizer": "sgd"}, "has optimizer 'sgd': choose one of SGD, momentum, Adam, RMSprop"),
    "test rows": (OFFERED | {"hidden": (), "data": DATA, "test": 12}, "has 12 rows, and test=12 of them: leave"),
    "data": ({"data": [1]}, "data is list: write a Dataset"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_state_that_the_page_cannot_be_set_to_is_refused(name):
    settings, words = REFUSED[name]
    with pytest.raises(ValueError, match=f"^(State|Moment 't': state) 's':? {words}") as raised:
        page_with(states=[State("s", **settings)])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"question": None}, "Moment: question is None: write a text"),
        ({"answers": "yes"}, "Moment: answers is 'yes': write a list, as in answers="),
        ({"states": State("s")}, "Moment: states holds what is no State: write a list"),
        ({"not_yet": "more"}, "Moment: not_yet is a text, for a check of 1 conditions: give a list"),
        ({"not_yet": ["a", "b"]}, "Moment: not_yet is 2 sentences, for a check of 1 conditions"),
        ({"explanation": "it is {los}"}, "names los, which is not measured: did you mean loss"),
    ],
)
def test_a_moment_of_wrong_parts_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        page_with(**wrong)


def test_what_is_missing_is_said_in_the_moments_words(opened_live):
    check, sentences = "steps >= 1 and rate < 0.1", ["no step yet", "the rate is {rate}: {not a measure}"]
    page = opened_live(page_with(check=check, not_yet=sentences))
    page.locator("#moment-list button").click()
    page.get_by_label("Your number").fill("1")
    page.keyboard.press("Enter")
    assert page.locator("#moment-verdict").inner_text() == "Not yet: no step yet."
    page.locator("#one").click()
    assert page.locator("#moment-verdict").inner_text() == "Not yet: the rate is 0.1: {not a measure}."


STATE = "JSON.stringify([session.count, session.history, arraysOf(session.step.state)])"


@pytest.mark.parametrize("batch_size", [None, 5])
def test_ones_own_session_goes_on_as_if_there_had_been_no_moment(opened_live, batch_size):
    """With Dropout: the masks of the coming step are part of what comes back."""
    page = opened_live(page_with(dropout=True, batch_size=batch_size))
    page.evaluate("for (let i = 0; i < 6; i++) trainStep()")
    wanted = page.evaluate(f"(session.history = {{}}, {STATE})")
    page.evaluate("reset(); for (let i = 0; i < 3; i++) trainStep(); stepInside(); stepInside();")
    page.evaluate("openMoment(3); choose({ rate: 3 }); chooseNetwork({ hidden: [5, 5] }); reset(); trainStep()")
    page.locator("#keep summary").click()
    page.locator("#copy-link").click()
    assert "go back to your network first" in page.locator("#say").inner_text()
    page.evaluate("addPoint([0, 1], 1); removePoint(0); choose({ seed: 9 }); openMoment(8); stepInside()")
    page.evaluate("leaveMoment()")
    assert page.locator("#say").inner_text() == ""
    page.evaluate("for (let i = 0; i < 3; i++) trainStep()")
    assert page.evaluate(f"(session.history = {{}}, {STATE})") == wanted
