"""The page in Chromium: the numbers that each step shows, and the controls."""

import re

import numpy as np
import pytest
from views.page.losses import diamond, four, go_to, marked, rows, shared_maps, shown, textbook


def count(page):
    """The number of its step."""
    return int(shown(page).count.split()[0])


def joined(*pieces):
    """A formula: texts, and numbers that stand in parentheses where they are negative and something stands before."""
    text = ""
    for piece in pieces:
        number = piece if isinstance(piece, str) else four(piece)
        text += f"({number})" if number is not piece and number.startswith("-") and text else number
    return text


def product(row, column):
    """A sum of products with its numbers."""
    pieces = []
    for a, b in zip(row, column, strict=True):
        pieces += [" + "] * bool(pieces) + [a, " * ", b]
    return pieces


def test_every_step_shows_the_numbers_that_are_computed_by_hand(opened):
    loss, n = textbook()
    page = opened(loss)
    local = "local derivative"
    steps = [  # each with the name of its result, and what stands beside it
        ("Forward: z1 = np.dot(x, W0) + b0", "z1", {"x (4, 2)": n.x, "W0 (2, 3)": n.W0, "b0 (3,)": n.b0}),
        ("Forward: h1 = np.tanh(z1)", "h1", {"z1 (4, 3)": n.z1}),
        ("Forward: z2 = np.dot(h1, W2) + b2", "z2", {"h1 (4, 3)": n.h1, "W2 (3, 1)": n.W2, "b2 (1,)": n.b2}),
        ("Forward: loss = ", "loss", {"z2 (4, 1)": n.z2, "y (4, 1)": n.y}),
        ("Backward starts: d_loss = 1", None, {}),
        ("Backward: from loss to z2", "d_z2", {"upstream d_loss": 1, f"{local} (4, 1)": n.d_z2}),
        ("Backward: from z2 to h1", "d_h1", {"upstream d_z2 (4, 1)": n.d_z2, f"{local} (4, 3)": [n.W2[:, 0]] * 4}),
        ("Backward: from z2 to W2", "d_W2", {"upstream d_z2 (4, 1)": n.d_z2, "h1 (4, 3)": n.h1}),
        ("Backward: from z2 to b2", "d_b2", {"upstream d_z2 (4, 1)": n.d_z2}),
        ("Backward: from h1 to z1", "d_z1", {"upstream d_h1 (4, 3)": n.d_h1, f"{local} (4, 3)": 1 - n.h1**2}),
        ("Backward: from z1 to W0", "d_W0", {"upstream d_z1 (4, 3)": n.d_z1, "x (4, 2)": n.x}),
        ("Backward: from z1 to b0", "d_b0", {"upstream d_z1 (4, 3)": n.d_z1}),
    ]
    for name in ("W0", "b0", "W2", "b2"):
        old, gradient = getattr(n, name), getattr(n, f"d_{name}")
        setattr(n, f"{name} after the update", old - 0.1 * gradient)
        operands = {f"{name} {old.shape}": old, f"d_{name} {old.shape}": gradient}
        steps.append((f"Update: {name} = {name} - lr * d_{name}", f"{name} after the update", operands))
    for number, (headline, name, tables) in enumerate(steps):
        now = shown(page)
        assert now.headline.startswith(headline)
        expected = {caption: rows(array) for caption, array in tables.items()}
        if name is not None:
            array = np.asarray(getattr(n, name))
            expected[f"{name} {array.shape}".removesuffix(" ()")] = rows(array)
            assert [line.split(" = ")[0].strip() for line in now.lines] == [name.split()[0]]
            cell = re.match(r"\w+(?:\[([\d, ]+)\])? = ", now.filled[0])[1]
            assert now.filled[0].endswith(f" = {four(array[tuple(map(int, cell.split(', ')))] if cell else array)}")
        assert now.tables == expected
        assert now.count == f"{number + 1} of {len(steps)}"
        assert now.slider == str(number)
        page.keyboard.press("ArrowRight")
    assert shown(page).count == "16 of 16"  # it stays at the end


def test_a_cell_that_is_clicked_shows_how_it_is_computed(opened):
    loss, n = textbook()
    page = opened(loss)

    def clicked(step, cell):
        go_to(page, step)
        page.get_by_role("button", name=f"cell [{', '.join(map(str, cell))}]:").click()
        return shown(page).filled[0]

    for i, j in ((0, 0), (3, 1), (2, 2)):
        sum_of_products = product(n.x[i], n.W0[:, j])
        expected = joined(*sum_of_products, " + ", n.b0[j], " = ", n.z1[i, j])
        assert clicked("Forward: z1", (i, j)) == f"z1[{i}, {j}] = " + mended(expected)
        assert clicked("Forward: h1", (i, j)) == f"h1[{i}, {j}] = tanh({four(n.z1[i, j])}) = {four(n.h1[i, j])}"
        h = n.h1[i, j]
        expected = mended(joined(n.d_h1[i, j], " * (1 - ", h, " * ", h, ") = ", n.d_z1[i, j]))
        assert clicked("Backward: from h1 to z1", (i, j)) == f"d_z1[{i}, {j}] = {expected}"
    for k, j in ((0, 0), (1, 2)):
        expected = mended(joined(*product(n.x[:, k], n.d_z1[:, j]), " = ", n.d_W0[k, j]))
        assert clicked("Backward: from z1 to W0", (k, j)) == f"d_W0[{k}, {j}] = {expected}"
    p = 1 / (1 + np.exp(-n.z2))
    expected = mended(joined("(sigmoid(", n.z2[1, 0], ") - ", n.y[1, 0], ") / 4 = ", n.d_z2[1, 0]))
    assert clicked("Backward: from loss to z2", (1, 0)) == f"d_z2[1, 0] = {expected}".replace(
        f"sigmoid(({four(n.z2[1, 0])}))", f"sigmoid({four(n.z2[1, 0])})"
    )
    assert four((p[1, 0] - 1) / 4) == four(n.d_z2[1, 0])


def mended(formula):
    """The result of a formula stands without parentheses."""
    return re.sub(r"= \((-[^)]*)\)$", r"= \1", formula)


def test_values_and_gradients_appear_in_the_picture_when_they_are_computed(opened):
    loss, n = textbook()
    page = opened(loss)
    visible = """([name, kind]) => {
      const card = cards.get(nodes.findIndex((node) => node.name === name));
      const panel = card.querySelector(`.panel.${kind}`);
      if (getComputedStyle(panel).visibility !== "visible") return null;
      return [...panel.querySelectorAll("text[data-cell]")].map((text) => text.textContent);
    }"""

    def seen(name, kind):
        return page.evaluate(visible, [name, kind])

    def three(array):
        return [f"{x + 0.0:.3g}" for x in np.ravel(array)]

    go_to(page, "Forward: h1")
    assert seen("W0", "value") == three(n.W0)
    assert seen("h1", "value") == three(n.h1)
    assert seen("z2", "value") is None
    assert seen("loss", "gradient") is None
    go_to(page, "Backward starts")
    assert seen("loss", "value") == three(n.loss)
    assert seen("loss", "gradient") == ["1"]
    assert seen("z2", "gradient") is None
    go_to(page, "Backward: from z2 to W2")
    assert seen("z2", "gradient") == three(n.d_z2)
    assert seen("W2", "gradient") == three(n.d_W2)
    assert seen("b2", "gradient") is None
    assert marked(page, "now") == {"W2"}


def test_shares_of_a_tensor_that_is_used_four_times_add_up_one_by_one(opened):
    page = opened(diamond())
    a = 2.0
    shares = [1.0, a * a * np.cos(a), np.sin(a) * a, np.sin(a) * a]  # the youngest operation first
    seen = []
    while shown(page).count != "12 of 13":
        page.keyboard.press("ArrowRight")
        now = shown(page)
        if " to a, share" in now.headline:
            seen.append(now)
    assert [now.headline.split(", ")[1] for now in seen] == [f"share {k} of 4" for k in (1, 2, 3, 4)]
    for k, now in enumerate(seen, start=1):
        terms = " + ".join(f"({four(s)})" if s < 0 and j else four(s) for j, s in enumerate(shares[:k])) + " = "
        rest = f"{4 - k} more to come" if k < 4 else "complete"
        assert now.filled[-1] == f"so far d_a = {terms if k > 1 else ''}{four(sum(shares[:k]))}; {rest}"
        assert now.tables["this share of d_a"] == [[four(shares[k - 1])]]
        assert now.tables["d_a so far"] == [[four(sum(shares[:k]))]]
        assert now.rule[0].startswith("d_a += ")
    page.keyboard.press("ArrowLeft")
    card = page.locator(".tg-graph .node").first
    assert card.locator(".panel.gradient text[data-cell]").text_content() == f"{sum(shares[:3]):.3g}"
    page.keyboard.press("End")
    assert card.locator(".panel.gradient text[data-cell]").text_content() == f"{sum(shares):.3g}"
    loss = diamond()
    loss.backward()
    assert four(sum(shares)) == four(loss.inputs[1].grad)


def test_heat_maps_add_up_too(opened):
    page = opened(shared_maps())
    w = np.linspace(-1, 1, 60).reshape(6, 10)
    panel = page.locator(".tg-graph .node").first.locator(".panel.gradient")
    go_to(page, "Backward: from t3 to w, share 1 of 3")
    assert panel.locator("text").last.text_content() == "all 3"
    first = panel.locator("image").get_attribute("href")
    go_to(page, "Backward: from t1 to w, share 2 of 3")
    partly = 3 + w
    assert panel.locator("text").last.text_content() == f"{partly.min():.3g} … {partly.max():.3g}"
    assert panel.locator("image").get_attribute("href") != first
    now = go_to(page, "Backward: from t1 to w, share 3 of 3")
    assert panel.locator("text").last.text_content() == "1 … 5"  # 3 + 2 w
    assert now.filled[-1] == "so far d_w[0, 0] = 3 + (-1) + (-1) = 1; complete"


def test_buttons_and_keys(opened):
    page = opened(diamond())
    buttons = ("next", "next", "back", "last", "next", "first", "back")
    keys = ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "Home", "ArrowLeft")
    for button, expected in zip(buttons, (2, 3, 2, 13, 13, 1, 1), strict=True):
        page.click(f"#{button}")
        assert count(page) == expected
    for key, expected in zip(keys, (2, 3, 2, 13, 13, 1, 1), strict=True):
        page.keyboard.press(key)
        assert count(page) == expected
    page.keyboard.press("Control+ArrowRight")  # the browser's own
    assert count(page) == 1
    before = page.locator(".tg-graph").bounding_box()["width"]
    page.click("#larger")
    assert page.locator(".tg-graph").bounding_box()["width"] == pytest.approx(1.25 * before, abs=0.1)
    page.click("#smaller")
    assert page.locator(".tg-graph").bounding_box()["width"] == pytest.approx(before, abs=0.1)


def test_the_slider_by_mouse_and_by_keyboard(opened):
    page = opened(diamond())
    box = page.locator("#slider").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, middle, steps=4)
    halfway = int(shown(page).slider)
    assert halfway in (5, 6, 7)
    assert shown(page).count == f"{halfway + 1} of 13"
    page.mouse.move(box["x"] + box["width"] - 2, middle, steps=4)
    page.mouse.up()
    assert shown(page).headline == "Update: a = a - lr * d_a"
    page.focus("#slider")
    page.keyboard.press("ArrowLeft")
    assert shown(page).count == "12 of 13"
    assert page.get_attribute("#slider", "aria-valuetext") == "Backward: from t1 to a, share 4 of 4"
    page.keyboard.press("Home")
    assert shown(page).count == "1 of 13"


def test_playing_goes_on_by_itself_until_the_end(opened):
    page = opened(diamond())
    page.clock.install(time=0)
    page.clock.pause_at(1000)  # else the machine's own time would run on beside it
    page.reload()
    page.keyboard.press(" ")
    assert page.text_content("#play") == "Pause"
    page.clock.run_for(1300)
    assert count(page) == 2
    page.clock.run_for(2400)
    assert count(page) == 4
    page.keyboard.press(" ")
    page.clock.run_for(5000)
    assert (count(page), page.text_content("#play")) == (4, "Play")
    page.click("#play")
    page.select_option("#speed", label="very fast")
    page.clock.run_for(250)
    assert count(page) == 6
    page.select_option("#speed", label="slow")
    page.clock.run_for(2300)
    assert count(page) == 6
    page.clock.run_for(200)
    assert count(page) == 7
    page.keyboard.press("ArrowRight")  # who steps by hand wants to stay there
    page.clock.run_for(5000)
    assert (count(page), page.text_content("#play")) == (8, "Play")
    page.click("#play")
    page.focus("#slider")
    page.keyboard.press("ArrowLeft")
    page.clock.run_for(5000)
    assert (count(page), page.text_content("#play")) == (7, "Play")
    page.select_option("#speed", label="fast")
    page.click("#play")
    page.clock.run_for(60_000)
    assert (count(page), page.text_content("#play")) == (13, "Play")
    page.click("#play")  # once more, from the start
    assert count(page) == 1
    assert page.get_attribute("#headline", "aria-live") == "off"
    page.clock.run_for(600)
    assert count(page) == 2
