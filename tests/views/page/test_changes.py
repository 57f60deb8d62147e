"""The page in Chromium: numbers that are changed, the steps of a training, and the way back."""

import numpy as np
import pytest
from views.page.losses import DESKTOP, card_of, diamond, four, go_to, shown, textbook, wanted

import tinygrad_ce as tg

LEAVES = "leaves.map((n) => [...valueOf(n).numbers])"


def network(weights=None):
    """A small classifier, its optimizable parameters from these arrays if there are any, and its loss."""
    tg.seed(3)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 2))
    for parameter, data in zip(model.parameters(), weights or [], strict=False):
        parameter.data[...] = data
    x = tg.Tensor(np.random.default_rng(0).normal(size=(5, 2)), name="x")
    return model, tg.losses.softmax_cross_entropy(model(x), np.array([0, 1, 0, 1, 1]))


def numbers_of(page, name, kind="value"):
    node = f"nodes.findIndex((node) => node.name === '{name}')"
    return np.array(page.evaluate(f"[...{kind}Of({node}).numbers]"))


def change(page, leaf, place, text):
    page.select_option("#leaf", label=leaf)
    if place:
        page.fill("#place", place)
        page.press("#place", "Enter")
    page.fill("#value", text)
    page.press("#value", "Enter")


def test_a_changed_weight_gives_the_numbers_of_the_engine_and_the_way_back_is_exact(opened):
    loss, n = textbook()
    page = opened(loss)
    before, original = page.evaluate(LEAVES), float(loss.item())
    change(page, "W0", "1, 2", "1.25")
    n.W0[1, 2], old = 1.25, n.W0[1, 2]
    z1 = n.x @ n.W0 + n.b0
    h1 = np.tanh(z1)
    p = 1 / (1 + np.exp(-(h1 @ n.W2 + n.b2)))
    new = np.mean(-(n.y * np.log(p) + (1 - n.y) * np.log(1 - p)))
    d_W0 = n.x.T @ ((p - n.y) / 4 @ n.W2.T * (1 - h1**2))
    np.testing.assert_allclose(numbers_of(page, "h1"), h1.ravel(), rtol=1e-12)
    np.testing.assert_allclose(numbers_of(page, "W0", "gradient"), d_W0.ravel(), rtol=1e-12)
    said = page.text_content("#difference")
    foretold = n.d_W0[1, 2] * (1.25 - old)
    name = page.evaluate("nodes[data.loss].name")
    difference = new - original
    assert said.startswith(f"{name} {four(original)} → {four(new)}: {difference:+.3g}")
    assert f"the gradient foretold {foretold:+.3g} " in said
    assert card_of(page, "W0").locator(".panel.value text[data-cell='5']").text_content() == "1.25"
    assert go_to(page, "Forward: h1").tables["h1 (4, 3)"][0] == [four(x) for x in h1[0]]
    page.locator("#headline").click()
    page.keyboard.press("o")
    assert page.evaluate(LEAVES) == before
    assert page.text_content("#difference") == ""
    assert page.is_disabled("#original")
    n.W0[1, 2] = old


def test_dragging_computes_at_once(opened):
    page = opened(diamond())
    box = page.locator("#drag").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 20, middle, steps=3)
    a = numbers_of(page, "a")[0]
    assert a > 3
    np.testing.assert_allclose(numbers_of(page, "loss"), a * a * np.sin(a) + a, rtol=1e-12)
    page.mouse.up()
    page.click("#original")
    assert numbers_of(page, "a")[0] == 2


@pytest.mark.parametrize(
    ("leaf", "place", "text", "word"),
    [
        ("W0", "0, 0", "abc", "“abc” is no number; nothing was changed"),
        ("W0", "0, 0", "", "“” is no number; nothing was changed"),
        ("W0", "7, 0", "1", ""),
        ("y", "1", "0.5", "y holds whole numbers; nothing was changed"),
        ("y", "1", "9", "nothing was changed"),
    ],
)
def test_what_is_no_number_gets_a_word_and_changes_nothing(opened, leaf, place, text, word):
    page = opened(network()[1])
    before = page.evaluate(LEAVES)
    if leaf == "W0" and place == "7, 0":
        page.select_option("#leaf", label=leaf)
        page.fill("#place", place)
        page.press("#place", "Enter")
        assert page.text_content("#wrong") == "W0 has shape (2, 3): write a place in it, counted from 0"
    else:
        change(page, leaf, place, text)
        assert page.text_content("#wrong").endswith(word)
    assert page.evaluate(LEAVES) == before
    assert np.isfinite(numbers_of(page, "loss")).all()


def test_a_target_can_be_changed(opened):
    page = opened(network()[1])
    change(page, "y", "1", "0")
    model, _ = network()
    x = np.random.default_rng(0).normal(size=(5, 2))
    expected = tg.losses.softmax_cross_entropy(model(x), np.array([0, 0, 0, 1, 1])).item()
    np.testing.assert_allclose(numbers_of(page, "loss"), expected, rtol=1e-12)
    assert "no gradient is computed for data" in page.text_content("#difference")


def test_numbers_that_are_not_finite_show_where_they_came_from(opened):
    x = wanted([1.0, 2.0], "x")
    page = opened((np.log(x) * x).sum())
    assert not page.is_visible("#spoiled")
    change(page, "x", "1", "0")
    assert page.text_content("#spoiled").startswith("the first number that is not finite: t1[1] = -inf")
    page.keyboard.press("End")
    page.click("#spoiled")
    assert shown(page).filled == ["t1[1] = log(0) = -inf"]
    page.click("#original")
    assert not page.is_visible("#spoiled")


OPTIMIZERS = {
    "none": None,
    "SGD": lambda p: tg.optim.SGD(p, lr=0.3, momentum=0.9),
    "nesterov": lambda p: tg.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: tg.optim.Adam(p, lr=0.05),
    "RMSprop": lambda p: tg.optim.RMSprop(p),
    "a schedule": lambda p: tg.optim.SGD(p, lr=tg.optim.StepDecay(0.5, every=2, factor=0.5)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_of_the_training_are_those_of_the_engine(opened, name):
    model, loss = network()
    make = OPTIMIZERS[name]
    optimizer = make(model.parameters()) if make else None
    page = opened(None, html=tg.step_through(loss, optimizer).html)
    before = page.evaluate(LEAVES)
    assert all(parameter.grad is None for parameter in model.parameters())
    optimizer = optimizer or tg.optim.SGD(model.parameters(), lr=0.1)
    for count in range(1, 6):
        page.keyboard.press("n")
        optimizer.zero_grad()
        x = np.random.default_rng(0).normal(size=(5, 2))
        tg.losses.softmax_cross_entropy(model(x), np.array([0, 1, 0, 1, 1])).backward()
        optimizer.step()
        for label, parameter in zip(("W0", "b0", "W2", "b2"), model.parameters(), strict=True):
            np.testing.assert_allclose(numbers_of(page, label), parameter.data.ravel(), rtol=1e-12, atol=1e-15)
        assert page.text_content("#trained") == f"{count} step{'s' * (count > 1)} taken"
        assert shown(page).headline.startswith("Forward")
    page.keyboard.press("o")
    assert page.evaluate(LEAVES) == before
    assert page.text_content("#trained") == "0 steps taken"


def test_the_rate_is_the_pages(opened):
    loss, n = textbook()
    page = opened(loss)
    page.fill("#rate", "2")
    page.press("#rate", "Enter")
    now = go_to(page, "Update: W2")
    assert now.filled[0].split(" = ")[1].count(" - 2 * ") == 1
    new = n.W2 - 2 * n.d_W2
    assert now.tables["W2 after the update (3, 1)"] == [[four(x)] for x in new.ravel()]
    page.fill("#rate", "fast")
    page.press("#rate", "Enter")
    assert page.text_content("#wrong").startswith("“fast” is no learning rate")


class Idle(tg.optim.SGD):
    """An optimizer whose step changes nothing."""

    def step(self):
        pass


def test_an_optimizer_that_changes_nothing_is_named_on_the_page():
    w = wanted([1.0, 2.0])
    html = tg.step_through((w * w).sum(), Idle([w], lr=0.1)).html
    assert "No training here: the step() of Idle changes no parameter" in html


def test_a_number_that_became_longer_stays_in_its_card(opened):
    b = wanted([0.0], "b")
    loss = tg.losses.sigmoid_binary_cross_entropy(np.ones((2, 1)) + b, np.ones((2, 1)))
    page = opened(loss, html=tg.step_through(loss, tg.optim.SGD([b], lr=0.1)).html)
    page.keyboard.press("End")
    card = page.locator(".tg-graph .node").filter(has_text="parameter")
    body, text = card.locator("rect.body").bounding_box(), card.locator(".panel.value text").bounding_box()
    assert body["x"] <= text["x"]
    assert text["x"] + text["width"] <= body["x"] + body["width"]


class Halving(tg.optim.Optimizer):
    """An optimizer of one's own that knows no learning rate, and leaves vectors as they are."""

    def update(self, param, grad, state, lr, step):
        return (param if param.ndim else param - 0.5 * grad), ()


def test_an_update_without_a_learning_rate_and_a_parameter_that_stays_as_it_is(opened):
    w, v = wanted(3.0, "w"), wanted([1.0, 2.0], "v")
    loss = (w * v).sum()
    page = opened(loss, html=tg.step_through(loss, Halving([w, v], lr=0.1)).html)
    assert not page.locator("#rate").is_visible()
    page.keyboard.press("End")
    now = shown(page)
    assert now.headline == "Update: w = w - 0.5 * d_w"
    assert now.filled == ["w = 3 - 1.5 = 1.5"]
    assert page.evaluate("steps.filter((step) => step.phase === 'update').length") == 1


def test_other_optimizers_are_refused():
    loss, _ = textbook()
    with pytest.raises(ValueError, match=r"tg\.step_through: the optimizer has none of the parameters of this loss"):
        tg.step_through(loss, tg.optim.SGD([wanted([1.0])], lr=0.1))
    many = [tg.Tensor(float(n), requires_grad=True, name=f"w{n}") for n in range(9)]
    with pytest.raises(ValueError, match=r"this loss \(w0, w1, w2, w3 and 5 more\)"):
        tg.step_through(sum(many), tg.optim.SGD([wanted([1.0])], lr=0.1))
    with pytest.raises(TypeError, match=r"optimizer='moons' is a text; for a heading write title='moons'"):
        tg.step_through(loss, "moons")
    with pytest.raises(TypeError, match=r"optimizer=3 is no optimizer"):
        tg.step_through(loss, 3)


def interpolated():
    """An operation whose body calls a function of NumPy that has no loops."""

    @tg.primitive
    def doubled_on_the_page(x):
        """Twice the number, by a table."""
        return np.interp(x, [0.0, 10.0], [0.0, 20.0])

    @doubled_on_the_page.vjp("x")
    def doubled_on_the_page_x(g, out, x):
        return g * 2.0

    del tg.core.REGISTRY["doubled_on_the_page"]
    return doubled_on_the_page


def test_what_javascript_cannot_hold_is_shown_with_recorded_numbers(opened):
    w = wanted([3.0, 1.0, 2.0], "w")
    page = opened((interpolated()(w) * w).sum(), DESKTOP)
    assert page.text_content("#why").startswith("These are recorded numbers, which cannot be changed: ")
    assert "np.interp" in page.text_content("#why")
    assert "doubled_on_the_page" in page.text_content("#why")
    assert not page.is_visible("#numbers")
    assert not page.is_visible("#training")
    assert shown(page).tables["t1 (3,)"] == [["6", "2", "4"]]
    page.keyboard.press("o")
    page.keyboard.press("n")
    page.keyboard.press("End")
    assert shown(page).headline.startswith("Backward")
