"""What a picture says: every node and edge, the engine's own numbers, heat maps of large arrays, and names as text."""

import base64
import io
import re
import struct
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from fused import ready_gradient
from hypothesis import given, settings
from pictures import NETWORKS, SVG, Reader, network, read

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.report.words import format_number, range_of
from tinygrad_ce.views.picture import element, heat_map

BLUE, WHITE, ORANGE, GREY = (33, 102, 172), (247, 247, 247), (213, 94, 0), (128, 128, 128)


def wanted(data, name=None):
    return tg.Tensor(data, requires_grad=True, name=name)


def drawn(loss):
    return Reader(tg.draw(loss).svg)


def node_of(loss, tensor):
    """The number of a tensor's card."""
    graph = read(loss)
    node = graph.node_of(tensor)
    assert node is not None
    return graph.nodes.index(node)


def decoded(address):
    """A PNG's pixels, (height, width, 3), read by Matplotlib."""
    image = pytest.importorskip("matplotlib.image")
    head, data = address.split(",", 1)
    assert head == "data:image/png;base64"
    return np.round(image.imread(io.BytesIO(base64.b64decode(data))) * 255).astype(int)[..., :3]


def numbers(array):
    """As they are shown in a card: three digits; the signs of zeros and of booleans are left away."""
    array = np.ravel(array)
    return [str(bool(x)) for x in array] if array.dtype == bool else [f"{x + 0.0:.3g}" for x in array]


def is_small(array):
    return np.prod(np.shape(array)[:-1], initial=1) <= 4 and (np.shape(array) or (1,))[-1] <= 4


# ---- nodes, edges, numbers


@settings(deadline=None, max_examples=20)
@given(NETWORKS)
def test_every_node_edge_and_number_of_random_networks(steps):
    with np.errstate(all="ignore"):
        loss = network(steps, columns=4)
        loss.backward()
        picture, graph = drawn(loss), read(loss)
    reached, waiting = {}, [loss]
    while waiting:  # the graph once more, from the tensors themselves
        tensor = waiting.pop()
        if tensor.serial not in reached:
            reached[tensor.serial] = tensor
            waiting += [x for x in tensor.inputs if isinstance(x, tg.Tensor) and x.requires_grad]
    cards = {n: node.tensor for n, node in enumerate(graph.nodes) if node.kind != "data"}
    assert {tensor.serial for tensor in cards.values()} == set(reached)
    for n, tensor in cards.items():
        assert (picture.numbers(n, "value"), picture.numbers(n, "gradient")) == (
            (numbers(tensor.data), numbers(tensor.grad)) if is_small(tensor.data) else (None, None)
        )
    for n, node in enumerate(graph.nodes):
        if node.kind == "data":
            assert picture.panel(n, "gradient") is None
            use = node.uses[0]
            given_to = use.target.tensor.inputs[use.position]
            array = given_to.data if isinstance(given_to, tg.Tensor) else np.asarray(given_to)
            assert picture.numbers(n, "value") == (numbers(array) if is_small(array) else None)
    used = [x for t in reached.values() for x in t.inputs if isinstance(x, tg.Tensor) and x.requires_grad]
    solid = [wire for wire in picture.wires.values() if "still" not in wire.get("class", "")]
    assert len(solid) == len(used)


def test_a_tensor_that_is_used_twice_has_two_edges():
    a = wanted([1.0, 2.0], "a")
    picture = drawn((a + a).sum())
    assert [picture.label(n).text for n in picture.wires] == ["a", "b", "x"]
    assert picture.line(0)[0] == picture.line(1)[0]
    assert picture.line(0)[-1] != picture.line(1)[-1]


def test_data_parameters_results_and_the_loss_are_told_apart():
    w, x = wanted([1.0, 2.0], "w"), tg.Tensor([3.0, 4.0], name="x")
    loss = (np.tanh(w * x)).sum()
    picture = drawn(loss)
    assert [card.get("class") for card in picture.cards.values()] == [
        "node parameter",
        "node data",
        "node result",
        "node result",
        "node loss",
    ]
    assert [picture.said(n)[:3] for n in range(5)] == [
        ["w", "(2,)", "parameter"],
        ["x", "(2,)", "data"],
        ["t1", "(2,)", "= w * x"],
        ["h1", "(2,)", "= np.tanh(t1)"],
        ["loss", "= h1.sum()", f"{np.tanh([3, 8]).sum():.3g}"],
    ]
    still = ["still" in wire.get("class") for wire in picture.wires.values()]
    assert still == [False, True, False, False]


def test_before_backward_it_says_that_there_is_no_gradient():
    w = wanted([1.0, 2.0], "w")
    loss = (w * w).sum()
    before = drawn(loss)
    assert before.caption == "there are no gradients, not yet or no longer: call loss.backward()"
    assert not any("gradient" in text for n in before.cards for text in before.said(n))
    loss.backward()
    after = drawn(loss)
    assert after.caption == ""
    assert after.numbers(0, "gradient") == ["2", "4"]


def test_the_gradients_are_those_of_this_loss_also_where_some_were_there_before():
    w = wanted([1.0, 2.0], "w")
    for _ in range(3):
        loss = (w * w).sum()
        loss.backward()
    assert w.grad.tolist() == [6, 12]
    assert drawn(loss).numbers(0, "gradient") == ["2", "4"]


def test_a_card_names_the_tensor_the_operation_and_the_line():
    class Line(tg.nn.Module):
        def __init__(self):
            self.slope = wanted(2.0)

        def forward(self, x):
            return self.slope * x

    loss = Line()(wanted(3.0, "x")) + 1
    here = f"test_draw.py:{sys._getframe().f_lineno - 1}"
    titles = [card.findtext(f"{SVG}title") for card in drawn(loss).cards.values()]
    line = next(title for title in titles if "slope * x" in title)
    assert "test_draw.py" in line
    assert titles[-1].endswith(f"t1 + 1 (), {here}")


def test_a_module_is_called_as_it_was_written_or_by_its_class():
    class Gate(tg.nn.Module):
        def __init__(self):
            self.inner = tg.nn.Sequential(tg.nn.Dense(2, 2), tg.nn.Sigmoid(), tg.nn.Dense(2, 2), tg.nn.Tanh())

        def forward(self, x):
            return self.inner(x)

    picture = drawn(Gate()(np.ones((1, 2))).sum())
    titles = [module.findtext(f"{SVG}text") for module in picture.modules]
    assert titles == ["Gate", "Sequential", "Dense(2, 2)", "Sigmoid()", "Dense(2, 2)", "Tanh()"]


# ---- heat maps


def test_a_large_tensor_is_a_heat_map_with_its_range():
    x = wanted(np.linspace(-1, 2, 30).reshape(5, 6), "x")
    loss = (x * x).sum()
    loss.backward()
    picture = drawn(loss)
    assert picture.numbers(0, "value") is None
    pixels = decoded(picture.image(0, "value"))
    assert pixels.shape == (5, 6, 3)
    np.testing.assert_array_equal(pixels[4, 5], ORANGE)  # 2, the largest there is
    half = [round(white + (blue - white) / 2) for white, blue in zip(WHITE, BLUE, strict=True)]
    np.testing.assert_array_equal(pixels[0, 0], half)  # -1: half as large
    assert picture.said(0) == ["x", "(5, 6)", "parameter", "-1 … 2", "5 rows × 6", "gradient", "-2 … 4"]
    np.testing.assert_array_equal(decoded(picture.image(0, "gradient")), pixels)  # 2 x, so the same shares


def test_colours_are_the_share_of_the_largest():
    numbers = np.array([[-4.0, -2, 0, 1, 4]])
    pixels = decoded(heat_map(numbers)[0])[0]
    for number, pixel in zip(numbers[0], pixels, strict=True):
        end = np.array(BLUE if number < 0 else ORANGE)
        expected = np.array(WHITE) + (end - np.array(WHITE)) * abs(number) / 4
        assert np.abs(pixel - expected).max() <= 0.51


def test_what_is_not_finite_is_grey_and_counted():
    array = np.array([[1.0, np.nan, np.inf, -np.inf, 0.5]])
    pixels = decoded(heat_map(array)[0])[0]
    np.testing.assert_array_equal(pixels[1:4], [GREY] * 3)
    np.testing.assert_array_equal(pixels[0], ORANGE)
    assert range_of(array) == "0.5 … 1, 3 not finite"
    assert range_of(np.full(3, np.nan)) == "nothing finite"
    assert range_of(np.zeros(0)) == "empty"
    assert range_of(np.array([2.0, 2.0, np.nan])) == "all 2, 1 not finite"


def test_numbers_that_overflow_when_they_are_added_are_averaged_all_the_same():
    array = np.full((1, 200), 1.7e308)
    array[0, :4] = np.inf, -np.inf, -1.7e308, np.nan
    pixels = decoded(heat_map(array)[0])[0]
    np.testing.assert_array_equal(pixels[:2], [GREY] * 2)
    np.testing.assert_array_equal(pixels[2:], [ORANGE] * 62)


def test_a_very_large_tensor_is_shown_by_means_of_neighbours():
    array = np.repeat(np.repeat([[1.0, -1.0]], 100, axis=0), 100, axis=1)
    address, across, down = heat_map(array)
    pixels = decoded(address)
    assert pixels.shape == (64, 64, 3) == (down, across, 3)
    np.testing.assert_array_equal(pixels[:, :32], np.broadcast_to(ORANGE, (64, 32, 3)))
    np.testing.assert_array_equal(pixels[:, 32:], np.broadcast_to(BLUE, (64, 32, 3)))


@pytest.mark.parametrize("shape", [(), (1,), (4,), (5,), (4, 4), (4, 5), (1, 200), (200, 1), (2, 2, 3), (2, 3, 4)])
def test_every_shape_is_shown_as_numbers_or_as_a_heat_map(shape):
    loss = (wanted(np.random.default_rng(0).normal(size=shape), "x") * 1.5).sum()
    picture = drawn(loss)
    assert (picture.numbers(0, "value") is not None) == is_small(np.empty(shape))
    if not is_small(np.empty(shape)):
        *rows, across = shape
        assert decoded(picture.image(0, "value")).shape == (min(int(np.prod(rows)), 64), min(across, 64), 3)


def test_numbers_have_three_digits():
    values = 0.12345, -1234.5, 1e-9, 3, 0.0, -0.0, np.inf, -np.inf, np.nan, 100.0, True
    texts = ["0.123", "-1.23e+03", "1e-09", "3", "0", "0", "inf", "-inf", "nan", "100", "True"]
    assert [format_number(x, 3) for x in values] == texts


def test_other_kinds_of_numbers_and_nothing_at_all():
    x = wanted(np.array([1.0, 2.0, 3.0], np.float32), "x")
    loss = ops.where(x > 1.5, x, 0).sum() + (wanted(np.zeros((0, 3)), "nothing") * 2).sum()
    picture, graph = drawn(loss), read(loss)
    said = {node.name: picture.said(n) for n, node in enumerate(graph.nodes)}
    assert said["condition"][-3:] == ["False", "True", "True"]
    assert said["nothing"][-1] == "empty"
    rows = tg.nn.Embedding(4, 2)(np.array([3, 1]))
    labels = next(n for n, node in enumerate(read(rows.sum()).nodes) if node.kind == "data")
    assert drawn(rows.sum()).numbers(labels, "value") == ["3", "1"]


def test_the_numbers_of_a_forward_pass_that_went_wrong_are_shown():
    with np.errstate(all="ignore"):
        x = wanted([0.0, -1.0, 1e308], "x")
        loss = (np.log(x) + x * 10).sum()
        loss.backward()
        picture = drawn(loss)
    assert picture.numbers(node_of(loss, loss.inputs[0]), "value") == ["-inf", "nan", "inf"]
    assert picture.numbers(0, "gradient") == ["inf", "9", "10"]


# ---- names are text


def test_an_element_escapes_texts_once_and_leaves_finished_svg_as_it_is():
    text = element("text", "a < b & c", "\0")
    assert text == "<text>a &lt; b &amp; c\\x00</text>"
    assert element("g", text, "<") == f"<g>{text}&lt;</g>"
    mark = element("rect", class_='"><script>', data_node=0, x=1.26, y=np.float64(2), fill=None, text_anchor="")
    read_back = ET.fromstring(mark).attrib
    assert read_back == {"class": '"><script>', "data-node": "0", "x": "1.3", "y": "2.0"}


NAMES = [
    *("<script>alert(1)</script>", "a&b\"c'd", "]]>", "</svg>", "π θ", "模型 モデル", "😀", "שלום عربى"),
    *("n" * 500, "a\0b\x07\ud800"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_are_text_and_the_picture_is_well_formed(name, tmp_path):
    class Module(tg.nn.Module):
        def __init__(self):
            self.w = wanted([2.0, 3.0])

        def forward(self, x):
            return self.w * x

        def __repr__(self):
            return name

    loss = Module()(wanted([1.0, 2.0]).named(name)).sum().named(name)
    drawing = tg.draw(loss)
    picture = Reader(drawing.svg)
    shown = "".join(ascii(c)[1:-1] if c < " " or "\ud800" <= c <= "\udfff" else c for c in name)  # as Python writes it
    titles = [card.findtext(f"{SVG}title") for card in picture.cards.values()]
    assert any(shown in title for title in titles)
    assert picture.modules[0].findtext(f"{SVG}title") in (shown, "Module")
    assert {element.tag.removeprefix(SVG) for element in picture.root.iter()} <= {
        *("svg", "style", "g", "title", "rect", "text", "path", "image")
    }
    assert "<script" not in drawing.svg
    assert "<script" not in drawing.save(tmp_path / "graph.html").read_text(encoding="utf-8")
    for n in picture.cards:
        assert all(len(text) < 60 for text in picture.said(n))


# ---- shown and saved


def small():
    w = wanted([1.0, 2.0], "w")
    return (w * w).sum()


def test_notebooks_show_it():
    drawing = tg.draw(small())
    assert drawing._repr_svg_() == drawing.svg
    assert ET.fromstring(drawing.svg).tag == f"{SVG}svg"
    assert "prefers-color-scheme: dark" in drawing.svg
    assert repr(drawing) == '<a picture of loss, 3 nodes: .save("graph.svg"), or ".png", ".html">'


def test_it_is_described_for_those_who_do_not_see_it():
    root = ET.fromstring(tg.draw(small()).svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == "the graph of loss: 3 nodes"


def test_saved_as_svg_and_html(tmp_path):
    drawing = tg.draw(small())
    assert drawing.save(tmp_path / "graph.svg") == tmp_path / "graph.svg"
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == drawing.svg
    page = drawing.save(str(tmp_path / "graph.HTML")).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert drawing.svg in page
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in page


def test_saved_as_png(tmp_path):
    pytest.importorskip("resvg_py")
    image = pytest.importorskip("matplotlib.image")
    drawing = tg.draw(small())
    path = drawing.save(tmp_path / "graph.png")
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    picture = Reader(drawing.svg)
    assert (width, height) == (2 * picture.area.width, 2 * picture.area.height)
    pixels = np.round(image.imread(path) * 255).astype(int)[..., :3]

    def pixel(x, y):
        return tuple(pixels[round(2 * y), round(2 * x)])

    card = picture.card(0)
    assert pixel(card.x + 4, card.y + card.height - 4) == (0xFD, 0xF3, 0xD7)  # a parameter's
    assert pixel(1, 1) == (255, 255, 255)
    inside = pixels[round(2 * card.y) + 4 : round(2 * (card.y + card.height)) - 4]
    inside = inside[:, round(2 * card.x) + 4 : round(2 * (card.x + card.width)) - 4]
    assert (inside.sum(axis=-1) < 150).sum() > 50  # letters


def test_a_png_of_a_long_picture_is_as_large_as_programs_open(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    pytest.importorskip("matplotlib")
    drawing = tg.draw(small())
    area = Reader(drawing.svg).area
    monkeypatch.setattr("tinygrad_ce.views.draw.MOST_PIXELS", 1.5**2 * area.width * area.height)
    path = drawing.save(tmp_path / "graph.png")
    assert struct.unpack(">I", path.read_bytes()[16:20])[0] == pytest.approx(1.5 * area.width, abs=1)
    monkeypatch.setattr("tinygrad_ce.views.draw.MOST_PIXELS", 0.3**2 * area.width * area.height)
    with pytest.raises(ValueError, match=r"save: a PNG of this picture would be .* save it as .svg or .html") as caught:
        drawing.save(tmp_path / "graph.png")
    assert f" {2 * max(area.width, area.height):,.0f} pixels long" in str(caught.value)


def test_a_png_of_many_wires_has_each_piece_of_them_once_and_is_the_same_picture(tmp_path, monkeypatch):
    """Where many wires share a long way, drawing the whole of each took most of the time."""
    resvg_py = pytest.importorskip("resvg_py")
    image = pytest.importorskip("matplotlib.image")
    w, mask = wanted([0.5, 0.25], "w"), tg.Tensor([1.0, 0.0], name="mask")
    t = w
    for n in range(40):
        t = np.tanh(t) * (w if n % 4 else mask)
    drawing = tg.draw(t.sum())
    monkeypatch.setattr("tinygrad_ce.views.draw.MOST_PIXELS", 1_500_000)
    given, draw_all = {}, resvg_py.svg_to_bytes
    monkeypatch.setattr(resvg_py, "svg_to_bytes", lambda **options: given.update(options) or draw_all(**options))
    once = image.imread(drawing.save(tmp_path / "once.png"))
    whole = image.imread(io.BytesIO(bytes(draw_all(**given | {"svg_string": drawing.svg}))))
    pieces = [len(re.findall("[LC]-?[0-9]", svg)) for svg in (given["svg_string"], drawing.svg)]
    assert pieces[0] < pieces[1] / 3
    assert once.shape[0] * once.shape[1] == pytest.approx(1_500_000, rel=0.01)
    assert np.abs(once - whole).mean() < 0.02  # where several lines lie on each other, their edges are darker
    dark = [picture[..., :3].mean(axis=-1) < 0.75 for picture in (once, whole)]
    assert (dark[0] != dark[1]).mean() < 0.03


def test_another_ending_is_refused(tmp_path):
    for name in ("graph.pdf", "graph", "graph.svg.gz"):
        with pytest.raises(ValueError, match=f"save: {name} must end in .svg, .png or .html"):
            tg.draw(small()).save(tmp_path / name)


def test_png_without_the_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(ImportError, match=r'pip install "tinygrad_ce\[plot\]"'):
        tg.draw(small()).save(tmp_path / "graph.png")


# ---- bad input, and what stays as it was


def test_what_has_no_history_is_refused():
    w = wanted([1.0, 2.0], "w")
    with pytest.raises(TypeError, match=r"tg\.draw: an array has no history, .* call the step itself"):
        tg.draw(np.ones(3))
    with pytest.raises(TypeError, match="this is float"):
        tg.draw(1.0)
    with pytest.raises(ValueError, match="w has no history: it was made by you"):
        tg.draw(w)
    with pytest.raises(ValueError, match="depends on nothing with a gradient"):
        tg.draw((tg.Tensor([1.0]) * 2).sum())
    with tg.no_grad(), pytest.raises(ValueError, match="no history"):
        tg.draw((w * w).sum())
    with pytest.raises(ValueError, match=r"single number, and .* has shape \(2,\): reduce it"):
        tg.draw(w * w)


def test_a_traced_step_is_refused():
    def step(w):
        loss = (w * w).sum()
        tg.draw(loss)
        return loss

    with pytest.raises(RuntimeError, match=r"tg\.draw: this step is being traced"):
        tg.trace(step, wanted([1.0, 2.0], "w"))


def test_a_graph_that_is_too_large_is_refused():
    x = wanted(1.0, "x")
    t = x
    for _ in range(1500):
        t = t * 1.001
    with pytest.raises(ValueError, match=r"1,501 nodes, .* take a loss of fewer layers .* tg\.explain"):
        tg.draw(t)


def test_drawing_changes_nothing():
    tg.seed(3)
    model = tg.nn.Sequential(tg.nn.Dense(3, 3), tg.nn.BatchNorm(3), tg.nn.Dropout(0.5), tg.nn.Dense(3, 2))
    loss = tg.losses.softmax_cross_entropy(model(np.ones((4, 3))), [0, 1, 0, 1])
    state, ready = model.state(), ready_gradient(loss)
    random = np.random.default_rng(7)
    before = random.bit_generator.state
    first = tg.draw(loss).svg
    assert ready_gradient(loss) is ready
    assert loss.grad is None
    assert all(parameter.grad is None for parameter in model.parameters())
    assert {path: array.tolist() for path, array in model.state().items()} == {
        path: array.tolist() for path, array in state.items()
    }
    assert random.bit_generator.state == before
    loss.backward()
    grads = [parameter.grad.copy() for parameter in model.parameters()]
    assert tg.draw(loss).svg != first
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad)


def test_a_graph_with_parameters_written_to_since_is_refused():
    w = wanted([1.0, 2.0], "w")
    loss = (w * w).sum()
    loss.backward()
    w.data -= 0.5
    for view in (tg.draw, tg.step_through):
        with pytest.raises(ValueError, match=r"w was written to after the loss was computed \(optimizer\.step\(\)"):
            view(loss)


def test_a_parameter_with_another_array_since_is_shown_as_the_loss_saw_it():
    w = wanted([1.0, 2.0], "w")
    loss = (w * w).sum()
    w.data = w.data * 5
    loss.backward()
    assert read(loss).node_of(w).value.tolist() == [1, 2]
    assert read(loss).node_of(w).gradient.tolist() == w.grad.tolist() == [2, 4]
    assert w.data.tolist() == [5, 10]  # and put back


def test_a_parameter_stands_in_the_box_of_the_module_that_uses_it_first():
    words = tg.nn.Embedding(3, 2)
    picture = drawn(words(np.array([0, 2])).sum())
    assert picture.boxes()[0].holds(picture.card(0))


def test_a_name_that_is_no_name_in_a_program_is_shown_too():
    loss = (wanted([1.0, 2.0], "<b>&") * 2).named("two words").sum()
    picture = drawn(loss)
    assert "parameter <b>&" in picture.said(0)
    assert "two words = b * 2" in picture.said(1)
