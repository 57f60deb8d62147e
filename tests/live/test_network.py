"""The picture of the network: what its neurons and edges show is the engine's, and each weight can be changed."""

import numpy as np
import pytest
from live.training import numbers, rows, stack, tanh_network, tanh_page, trainer_of

import tinygrad_ce as tg
from tinygrad_ce.live import live

nn = tg.nn
EDGE = "drawing.edges.find((one) => one.text === {!r})"
SHADES = {"negative": (33, 102, 172), "zero": (247, 247, 247), "positive": (213, 94, 0)}  # of views/picture.py


@pytest.fixture
def page(opened_live):
    return opened_live(tanh_page())


def engine(**changed):
    """The model of the page, with some of its weights changed: {"layers.0.W": (index, value)}."""
    model = tanh_network()
    for path, (index, value) in changed.items():
        dict(model.named_parameters())[path].data[index] = value
    return model


def loss_and_gradients(model, X=None, y=None):
    """The engine's loss over the training rows, and the gradient of each parameter."""
    training, _ = rows()
    loss = tg.losses.softmax_cross_entropy(
        model(tg.Tensor(training.X if X is None else X)), training.y if y is None else y
    )
    for parameter in model.parameters():
        parameter.grad = None
    loss.backward()
    return loss.item(), [np.array(parameter.grad) for parameter in model.parameters()]


def state_of(page, name):
    return np.array(page.evaluate(f"[...session.step.state.{name}]"))


def text_of(page, text):
    """The number that stands at the edge that is selected."""
    shown = page.locator("#edge-number").text_content()
    assert shown.startswith(f"{text} = ")
    return shown.removeprefix(f"{text} = ")


def focus(page, text):
    page.evaluate(f"{EDGE.format(text)}.handle.focus()")


def test_an_edge_that_is_dragged_changes_the_loss_as_the_engine_says(page):
    page.locator("#network-panel").scroll_into_view_if_needed()
    x, y = page.evaluate("""() => {
        const { handle } = drawing.edges.find((one) => one.text === "W0[1, 3]");
        for (let share = 0.2; share < 0.8; share += 0.01) {
          const point = handle.getPointAtLength(share * handle.getTotalLength()).matrixTransform(handle.getScreenCTM());
          if (document.elementFromPoint(point.x, point.y) === handle) return [point.x, point.y];
        }
    }""")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y - 15)
    page.mouse.move(x, y - 30)
    page.mouse.up()
    page.mouse.move(x, y - 90)  # let go: it follows no more
    value = tanh_network().layers[0].W.data[1, 3] + 0.5
    assert state_of(page, "W0")[7] == value
    loss, _ = loss_and_gradients(engine(**{"layers.0.W": ((1, 3), value)}))
    assert page.evaluate("session.step.outputs.loss[0]") == pytest.approx(loss, rel=1e-12)
    assert text_of(page, "W0[1, 3]") == f"{value:.4g}"


def test_arrow_keys_change_a_weight_and_go_to_the_next(page):
    focus(page, "W0[0, 0]")
    start = state_of(page, "W0")[0]
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowDown")
    assert state_of(page, "W0")[0] == pytest.approx(start + 0.09)
    page.keyboard.press("ArrowRight")
    assert page.evaluate("session.selected") == {"name": "W0", "index": 4}  # from the second input to the same neuron
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("session.selected") == {"name": "W0", "index": 0}


def test_every_edge_bias_and_neuron_is_reached_by_keyboard(page):
    weights = sum(parameter.size for parameter in tanh_network().parameters())
    focus(page, "W0[0, 0]")
    reached = set()
    for _ in range(weights):
        reached.add(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        page.keyboard.press("ArrowRight")
    assert len(reached) == weights
    assert "b2[1], bias of h2[1]" in reached
    page.locator(".neuron").first.focus()
    names = set()
    for key in [
        "ArrowDown",
        "ArrowRight",
        "ArrowDown",
        "ArrowDown",
        "ArrowUp",
        "ArrowRight",
        "ArrowRight",
        "ArrowLeft",
    ]:
        page.keyboard.press(key)
        names.add(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert {"x2: look inside", "h1[1]: look inside", "h1[3]: look inside", "lower: look inside"} <= names


def test_a_frozen_weight_is_marked_and_keeps_its_value(page):
    focus(page, "b4[1]")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("f")
    assert page.locator(".lock").count() == 1
    assert "frozen" in page.evaluate("document.activeElement.getAttribute('aria-valuetext')")
    page.evaluate("trainStep(); redraw()")
    assert state_of(page, "b4")[1] == 0.1
    page.get_by_role("button", name="freeze this weight").click()
    assert page.locator(".lock").count() == 0
    page.evaluate("trainStep()")
    assert state_of(page, "b4")[1] != 0.1


def test_edges_show_weights_gradients_and_updates_of_the_engine(page):
    model = tanh_network()
    _, gradients = loss_and_gradients(model)
    focus(page, "W2[2, 1]")
    assert text_of(page, "W2[2, 1]") == f"{model.layers[2].W.data[2, 1]:.4g}"
    page.locator("#edges-show").select_option("gradient")
    assert text_of(page, "d_W2[2, 1]") == f"{gradients[2][2, 1]:.4g}"
    looks = page.evaluate("""drawing.edges.filter((one) => one.name === "W2").map(({ index, line }) =>
        [index, line.classList.contains("negative"), Number(line.getAttribute("stroke-width")),
         getComputedStyle(line).strokeDasharray !== "none"])""")
    assert len(looks) == 16
    for index, negative, width, dashed in looks:
        value = gradients[2].ravel()[index]
        assert negative == dashed == (value < 0)
        assert width == pytest.approx(0.8 + 6 * abs(value) / np.abs(gradients[2]).max(), abs=0.051)
    page.locator("#edges-show").select_option("update")
    assert "nothing was added" in page.locator("#network-caption").text_content()
    page.evaluate("trainStep(); redraw()")
    assert text_of(page, "added to W2[2, 1]") == f"{-0.1 * gradients[2][2, 1]:.4g}"


@pytest.mark.parametrize(("column", "neuron"), [(1, 2), (2, 0), (3, 1)])
def test_a_neurons_picture_is_what_the_engine_answers_in_the_plane(page, column, neuron):
    low, side = page.evaluate("[plane.low, plane.side]")
    places = (np.arange(40) + 0.5) / 40 * side
    X = np.stack(np.meshgrid(low[0] + places, low[1] + places[::-1]), axis=-1).reshape(-1, 2)
    answers = nn.Sequential(*tanh_network().layers[: 2 * column])(tg.Tensor(X)).data
    share = np.clip(answers[:, neuron] / max(1, np.abs(answers).max()), -1, 1)
    ends = np.where((share < 0)[:, None], SHADES["negative"], SHADES["positive"])
    expected = SHADES["zero"] + (ends - np.array(SHADES["zero"])) * np.abs(share)[:, None]
    pixels = page.evaluate(f"""(() => {{
        const {{ canvas }} = drawing.columns[{column}][{neuron}];
        return [...canvas.getContext("2d").getImageData(0, 0, 40, 40).data];
    }})()""")
    assert np.abs(np.reshape(pixels, (-1, 4))[:, :3] - expected).max() <= 1.5


def test_a_row_shows_its_activations_and_its_pull_on_each_weight(page):
    training, _ = rows()
    model = tanh_network()
    focus(page, "W0[0, 2]")
    page.evaluate("pointAt(17)")
    hidden = nn.Sequential(*model.layers[:2])(tg.Tensor(training.X[17:18])).data[0]
    shown = [page.evaluate(f"drawing.columns[1][{k}].label.textContent") for k in range(4)]
    assert shown == [f"h1[{k}] = {value:.3g}" for k, value in enumerate(hidden)]
    _, alone = loss_and_gradients(model, training.X[17:18], training.y[17:18])
    assert text_of(page, "d_W0[0, 2]") == f"{alone[0][0, 2] / 60:.4g}"
    _, gradients = loss_and_gradients(model)
    pulls = page.evaluate("session.rows.map((row) => [...pullOf(row)('W2')])")
    assert np.sum(pulls, axis=0) == pytest.approx(gradients[2].ravel(), rel=1e-9, abs=1e-15)
    page.evaluate("pointAt(65)")
    assert "only measured" in page.locator("#network-caption").text_content()


def test_inside_a_neuron_its_sum_stands_with_numbers_that_can_be_typed_over(page):
    page.evaluate("pointAt(5); pointAt(null)")
    page.get_by_role("button", name="h2[1]: look inside").click()
    page.evaluate("pointAt(5)")
    model = tanh_network()
    before = nn.Sequential(*model.layers[:3])(tg.Tensor(rows()[0].X[5:6])).data[0, 1]
    answer = f"The products add up to {before:.4g}; after the activation h2[1] = {np.tanh(before):.4g}."
    assert page.locator("#neuron-sum").text_content() == answer
    field = page.get_by_label("W2[3, 1]", exact=True)
    assert field.input_value() == f"{model.layers[2].W.data[3, 1]:.4g}"
    field.fill("much")
    field.press("Tab")
    assert page.locator("#neuron-panel .wrong", has_text="type a number").count() == 1
    assert state_of(page, "W2")[13] == model.layers[2].W.data[3, 1]
    field.fill("-1.5")
    field.press("Enter")
    assert state_of(page, "W2")[13] == -1.5
    assert page.locator("#neuron-panel .wrong", has_text="type a number").count() == 0
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("h2[1]")
    assert page.locator("#neuron-panel").is_hidden()


def test_of_many_neurons_those_with_the_largest_gradient_are_shown(opened_live):
    digits = tg.data.digits()
    model = stack(lambda: nn.Dense(64, 64), nn.ReLU, lambda: nn.Dense(64, 10))
    page = opened_live(live(trainer_of(model), digits))
    training = page.evaluate("[session.rows.length, [...session.step.inputs.x], [...session.step.inputs.y]]")
    X, y = np.reshape(training[1], (training[0], 64)), np.array(training[2], int)
    _, gradients = loss_and_gradients(model, X, y)
    largest = np.sort(np.argsort(-np.abs(gradients[0]).sum(axis=0))[:8])
    assert page.evaluate("drawing.columns[1].map(({ neuron }) => neuron)") == largest.tolist()
    assert page.locator("#folds").text_content().endswith("56 more")
    page.locator("#folds select").select_option("16")
    assert page.evaluate("drawing.columns[1].map(({ neuron }) => neuron)") == [*range(16, 24)]
    assert page.evaluate("[drawing.columns[1][0].canvas.width, drawing.columns[1][0].canvas.height]") == [8, 8]
    assert page.locator(".neuron").count() == 1 + 8 + 10


def test_layers_that_are_no_stack_are_shown_as_arrays(opened_live):
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Dense(2, 3), nn.Dense(2, 3)
            self.last = nn.Dense(3, 2)

        def forward(self, x):
            return self.last(self.one(x) * self.other(x))

    page = opened_live(live(trainer_of(Product()), rows()[0]))
    assert page.locator("#folds figcaption").all_text_contents()[:2] == ["W (2, 3)", "b (3,)"]
    page.evaluate("trainStep(); redraw()")
    assert page.locator(".neuron").count() == 0


def test_names_of_others_are_text_and_nothing_else(opened_live):
    training, _ = rows()
    names = ("<img src=x onerror=alert(1)>", "x" * 300)
    hostile = tg.data.Dataset(training.X, training.y, names, ("</script><b>", "שלום"), "<i>moons", training.numeric)
    page = opened_live(live(trainer_of(tanh_network()), hostile), (390, 844))
    assert page.locator("main img, main .label i").count() == 0
    assert page.locator(".neuron").first.get_attribute("title") == names[0]
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_panels_fit_and_are_accessible_at_each_width(opened_live, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened_live(tanh_page(), (width, 900), scheme)
    page.evaluate("trainSteps(5); freeze('W0', 1); session.selected = { name: 'W2', index: 3 }; redraw()")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    lefts = "[...document.querySelectorAll('.column')].slice(0, 3).map((column) => column.getBoundingClientRect().left)"
    assert len({*page.evaluate(lefts)}) == {390: 1, 768: 2, 1280: 3, 1920: 3}[width]
    for opened in ("", "lookInto(2, 1)"):
        page.evaluate(opened)
        results = axe.run(page, {"include": [["#network-panel"], ["#data-panel"]]})
        assert results.violations_count == 0, results.generate_report()


def test_numbers_of_a_network_that_overflowed_are_shown_as_such(page):
    page.evaluate("setWeight('W4', 0, Infinity)")
    assert page.locator("#neurons .edge.spoiled").count() == 1
    focus(page, "W4[0, 0]")
    assert text_of(page, "W4[0, 0]") == "inf"


def test_the_table_of_numbers_has_neurons_with_bars(opened_live):
    model = stack(lambda: nn.Dense(3, 6), nn.Tanh, lambda: nn.Dense(6, 1))
    page = opened_live(live(trainer_of(model, tg.losses.mse), numbers()))
    X, y = page.evaluate("[[...session.step.inputs.x], [...session.step.inputs.y]]")
    X, y = np.reshape(X, (-1, 3)), np.array(y)
    edges = np.sort(y)[[len(y) // 3, 2 * len(y) // 3]]
    thirds = (y >= edges[0]).astype(int) + (y >= edges[1])
    answers = model(tg.Tensor(X)).data[:, 0]
    expected = [answers[thirds == third].mean() for third in range(3)]
    assert page.evaluate("groupMeans(2)(0)") == pytest.approx(expected, rel=1e-9)


def test_the_edge_with_the_largest_gradient_is_selected_at_first_and_when_the_chosen_one_goes(page):
    _, gradients = loss_and_gradients(tanh_network())
    name, index = page.evaluate("[session.selected.name, session.selected.index]")
    weights = {"W0": gradients[0], "W2": gradients[2]}
    assert abs(weights[name].ravel()[index]) == max(np.abs(gradient).max() for gradient in weights.values())
    assert page.locator("#edge-value").is_visible()
    page.evaluate("session.selected = { name: 'W0', index: 7 }; chooseNetwork({ hidden: [1] })")
    assert page.evaluate("session.selected.index < session.step.state[session.selected.name].length")
    assert page.locator("#edge-number").is_visible()
