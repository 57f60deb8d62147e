"""The rows of a live page: what the background, points, table and pictures show, and how they are changed."""

import numpy as np
import pytest
from live.training import nn, numbers, rows, stack, tanh_network, tanh_page, trainer_of

import tinygrad_ce as tg
from tinygrad_ce.live import live

CLASSES = ["upper", "lower"]


@pytest.fixture
def page(opened_live):
    return opened_live(tanh_page())


def loss_of(X, y, model=None):
    """The engine's loss."""
    return tg.losses.softmax_cross_entropy((model or tanh_network())(tg.Tensor(np.asarray(X))), np.asarray(y)).item()


def assert_loss(page, X, y):
    """The page's loss is the engine's of these training rows."""
    assert page.evaluate("session.step.outputs.loss[0]") == pytest.approx(loss_of(X, y), rel=1e-12)


def centre(page, row):
    """Where a point stands on the screen."""
    page.locator("#points").scroll_into_view_if_needed()
    box = page.locator("#points .point").nth(row).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def free_point(page):
    """A row whose point is not covered by another."""
    page.locator("#points").scroll_into_view_if_needed()
    return page.evaluate("""points.nodes.findIndex((node, row) => {
        const box = node.getBoundingClientRect();
        return row > 3 && document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === node;
    })""")


def place_of(page, point):
    """Where two numbers stand on the screen."""
    page.locator("#points").scroll_into_view_if_needed()
    box = page.locator("#points").bounding_box()
    low, side = page.evaluate("[plane.low, plane.side]")
    x, y = (np.asarray(point) - low) / side
    return box["x"] + x * box["width"], box["y"] + (1 - y) * box["height"]


def test_the_background_is_the_class_that_the_model_predicts(page):
    page.evaluate("trainSteps(30); redraw()")
    pixels = np.reshape(page.evaluate('[...at("answers").getContext("2d").getImageData(0, 0, 40, 40).data]'), (1600, 4))
    model = tanh_network()
    trainer_of(model).fit(rows()[0], epochs=30, batch_size=60, compile=False)
    low, side = page.evaluate("[plane.low, plane.side]")
    places = (np.arange(40) + 0.5) / 40 * side
    X = np.stack(np.meshgrid(low[0] + places, low[1] + places[::-1]), axis=-1).reshape(-1, 2)
    logits = model(tg.Tensor(X)).data
    sure = np.abs(logits[:, 0] - logits[:, 1]) > 1e-9
    assert sure.sum() > 1590
    orange = pixels[:, 0].astype(int) > pixels[:, 2]
    assert (orange == (logits.argmax(axis=1) == 1))[sure].all()


def test_a_point_that_is_dragged_is_computed_with_at_once(page):
    training, _ = rows()
    row = free_point(page)
    page.mouse.move(*centre(page, row))
    page.mouse.down()
    page.mouse.move(*place_of(page, (0.2, 0.9)))
    page.mouse.up()
    page.mouse.move(*place_of(page, (1.5, 1)))  # let go: it follows no more
    X = training.X.copy()
    X[row] = page.evaluate(f"[...featuresOf({row})]")
    side = page.evaluate("plane.side")
    assert np.abs(X[row] - (0.2, 0.9)).max() < 0.01 * side
    assert_loss(page, X, training.y)


def test_a_click_adds_a_point_of_the_chosen_class_and_a_second_click_no_other(page):
    training, _ = rows()
    page.locator("#data-panel input[type=radio]").nth(1).check()
    low, side = page.evaluate("[plane.low, plane.side]")
    point = np.add(low, (0.06 * side, 0.06 * side))
    page.mouse.dblclick(*place_of(page, point))
    assert page.evaluate("[session.data.rows, session.rows.length, session.data.y.at(-1)]") == [81, 61, 1]
    added = page.evaluate("[...featuresOf(80)]")
    assert np.abs(added - point).max() < 0.01 * side
    assert_loss(page, [*training.X, added], [*training.y, 1])
    page.get_by_role("button", name="add a point").click()
    assert page.evaluate("points.nodes.length") == 82


def test_a_double_click_flips_a_class(page):
    training, _ = rows()
    row = free_point(page)
    page.mouse.dblclick(*centre(page, row))
    y = training.y.copy()
    y[row] = 1 - y[row]
    assert page.evaluate("[...session.data.y]")[:60] == y.tolist()
    assert_loss(page, training.X, y)


def test_keys_move_flip_and_delete_points_and_go_from_one_to_the_next(page):
    training, _ = rows()
    page.evaluate("points.nodes[0].focus()")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("session.row") == 1
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    X, y = training.X.copy(), training.y.copy()
    X[1] += 0.02 * page.evaluate("plane.side")
    assert page.evaluate("[...featuresOf(1)]") == pytest.approx(X[1].tolist())
    page.keyboard.press("f")
    y[1] = 1 - y[1]
    assert page.evaluate("session.data.y[1]") == y[1]
    assert_loss(page, [X[0], page.evaluate("[...featuresOf(1)]"), *X[2:]], y)
    page.keyboard.press("Delete")
    assert page.evaluate("document.activeElement === points.nodes[1]")
    assert_loss(page, [X[0], *X[2:]], [y[0], *y[2:]])
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("session.row") == 78  # round to the last one


def test_noise_moves_the_points_from_where_they_were_and_goes_back(page):
    first = page.evaluate("[...session.data.x]")
    slider = page.get_by_label("noise", exact=True)
    slider.fill("0.5")
    noisy = page.evaluate("[...session.data.x]")
    assert np.std(np.subtract(noisy, first)) > 0.01
    page.get_by_role("button", name="other noise").click()
    other = page.evaluate("[...session.data.x]")
    assert other != noisy
    slider.fill("0.2")
    slider.fill("0.5")
    assert page.evaluate("[...session.data.x]") == other
    slider.fill("0")
    assert page.evaluate("[...session.data.x]") == first


def test_points_that_are_moved_by_hand_keep_that_under_noise(page):
    first = page.evaluate("[...session.data.x]")
    slider = page.get_by_label("noise", exact=True)
    slider.fill("0.5")
    page.evaluate("movePoint(3, 0, session.data.x[6] + 0.25)")
    slider.fill("0")
    first[6] += 0.25
    assert page.evaluate("[...session.data.x]") == pytest.approx(first, rel=1e-12)


def test_a_row_that_is_pointed_at_says_its_class_and_its_loss(page):
    training, _ = rows()
    assert "Point at a row" in page.locator("#row-words").text_content()
    page.evaluate("points.nodes[7].dispatchEvent(new PointerEvent('pointerenter'))")
    predicted = int(tanh_network()(tg.Tensor(training.X[7:8])).data.argmax())
    loss = loss_of(training.X[7:8], training.y[7:8])
    words = f"Row 7: {CLASSES[training.y[7]]}, predicted {CLASSES[predicted]}, loss {loss:.4g}."
    assert page.locator("#row-words").text_content() == words
    page.evaluate("points.nodes[7].dispatchEvent(new PointerEvent('pointerleave'))")
    assert page.evaluate("session.row") is None
    hollow = page.evaluate("points.nodes.map((node, row) => [row, node.classList.contains('test')])")
    assert [row for row, test in hollow if test] == [*range(60, 80)]


def test_the_worst_pictures_stand_first(opened_live):
    digits = tg.data.digits()
    model = stack(lambda: nn.Dense(64, 16), nn.ReLU, lambda: nn.Dense(16, 10))
    page = opened_live(live(trainer_of(model), digits))
    page.evaluate("trainSteps(3); redraw()")
    count, y = page.evaluate("[session.rows.length, [...session.step.inputs.y]]")
    z = np.reshape(page.evaluate("[...session.step.buffers[session.network.output]]"), (count, 10))
    own = z[np.arange(count), np.array(y, int)]
    z[np.arange(count), np.array(y, int)] = -np.inf
    worst = np.argsort(own - z.max(axis=1), kind="stable")[:12]
    assert page.evaluate("listed.rows") == [page.evaluate(f"session.rows[{i}]") for i in worst]
    first = page.locator(".example").first
    words = f"{int(y[worst[0]])} → {z[worst[0]].argmax()} ✗"
    assert first.text_content() == words
    first.click()
    assert page.evaluate(f"session.data.y[session.rows[{worst[0]}]]") == (y[worst[0]] + 1) % 10


def test_in_a_table_a_number_is_typed_over(opened_live):
    iris = tg.data.iris()
    page = opened_live(live(trainer_of(stack(lambda: nn.Dense(4, 3))), iris))
    page.locator("#listed tbody button").nth(2).click()
    row = page.evaluate("listed.chosen")
    assert page.locator("#chosen-row").text_content().startswith(f"The numbers of row {row}:")
    field = page.get_by_role("textbox", name="petal length (cm)")
    assert field.input_value() == f"{page.evaluate(f'featuresOf({row})[2]'):.4g}"
    before = page.evaluate("session.step.outputs.loss[0]")
    field.fill("1e400")
    field.press("Enter")
    assert "outside" in page.locator("#listed-wrong").text_content()
    assert page.evaluate("session.step.outputs.loss[0]") == before
    field.fill("2.5")
    field.press("Enter")
    assert page.locator("#listed-wrong").text_content() == ""
    assert page.evaluate(f"featuresOf({row})[2]") == 2.5
    assert page.evaluate("session.step.outputs.loss[0]") != before


def test_numbers_stand_against_their_predictions(opened_live):
    model = stack(lambda: nn.Dense(3, 6), nn.Tanh, lambda: nn.Dense(6, 1))
    data = numbers()
    page = opened_live(live(trainer_of(model, tg.losses.mse), data, test=numbers(10)))
    left, _, width, _ = page.evaluate("points.frame")
    predicted = model(tg.Tensor(data.X)).data[:, 0]
    for row in (0, 20, 49):
        across, up = page.evaluate(f"placeOf({row}, {predicted.tolist()})")
        shown = page.locator("#points .point").nth(row).get_attribute("transform")
        assert shown.startswith(f"translate({across:.2f} {up:.2f})")
        assert across == pytest.approx(100 * (data.y[row] - left) / width)
        assert up == pytest.approx(100 - 100 * (predicted[row] - left) / width)


def test_one_feature_has_a_curve_through_the_plane_of_input_and_number(opened_live):
    x = np.linspace(-2, 2, 30).reshape(-1, 1)
    model = stack(lambda: nn.Dense(1, 6), nn.Tanh, lambda: nn.Dense(6, 1))
    wave = tg.data.Dataset(x, np.sin(2 * x[:, 0]), ("x",), (), "wave", np.ones(1, bool))
    page = opened_live(live(trainer_of(model, tg.losses.mse), wave, test=wave))
    left, bottom, width, height = page.evaluate("points.frame")
    places = left + (np.arange(40) + 0.5) / 40 * width
    up = 100 - 100 * (model(tg.Tensor(places.reshape(-1, 1))).data[:, 0] - bottom) / height
    path = page.locator("#fit").get_attribute("d")[1:].split("L")
    assert [float(place.split(",")[1]) for place in path] == pytest.approx(up.tolist(), abs=0.006)
    page.evaluate("movePointTo(4, [0.5, 0.75])")
    assert page.evaluate("[session.data.x[4], session.data.y[4]]") == [0.5, 0.75]
