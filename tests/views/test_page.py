"""The page that steps through a loss: what is in its file, and what it shows in Chromium when it is used."""

import ast
import base64
import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from pictures import NETWORKS, network, read

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.views.draw import DARK, STYLE

DESKTOP, PHONE = (1400, 950), (390, 844)
MARKUP = ("<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>")


def wanted(data, name=None):
    return tg.Tensor(data, requires_grad=True, name=name)


def textbook():
    """A 2-3-1 network with a batch of 4, and every number of its forward and backward pass, by hand."""
    rng = np.random.default_rng(1)
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 1))
    x, y = rng.normal(size=(4, 2)), np.array([[0.0], [1], [0], [1]])
    by_hand = {"x": x, "y": y} | {name[-1] + name[7]: p.data for name, p in model.named_parameters()}
    n = SimpleNamespace(**by_hand)
    n.z1 = x @ n.W0 + n.b0
    n.h1 = np.tanh(n.z1)
    n.z2 = n.h1 @ n.W2 + n.b2
    p = 1 / (1 + np.exp(-n.z2))
    n.loss = np.mean(-(y * np.log(p) + (1 - y) * np.log(1 - p)))
    n.d_loss = np.array(1.0)
    n.d_z2 = (p - y) / 4
    n.d_h1, n.d_W2, n.d_b2 = n.d_z2 @ n.W2.T, n.h1.T @ n.d_z2, n.d_z2.sum(axis=0)
    n.d_z1 = n.d_h1 * (1 - n.h1**2)
    n.d_W0, n.d_b0 = x.T @ n.d_z1, n.d_z1.sum(axis=0)
    return tg.losses.sigmoid_binary_cross_entropy(model(tg.Tensor(x, name="x")), y), n


def diamond():
    """a is used four times: 2 sin a a + a^2 cos a + 1 is its gradient."""
    a = wanted(2.0, "a")
    return a * a * np.sin(a) + a


def digits(rows=32):
    """Of the size of digits, without the data."""
    rng = np.random.default_rng(2)
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(64, 32), tg.nn.Tanh(), tg.nn.Dense(32, 10))
    x = tg.Tensor(rng.normal(size=(rows, 64)), name="x")
    return tg.nn.SoftmaxCrossEntropy()(model(x), rng.integers(0, 10, rows))


def shared_maps():
    """A tensor that is shown as a heat map, and used twice."""
    w = wanted(np.linspace(-1, 1, 60).reshape(6, 10), "w")
    return (w * w).sum() + (3 * w).sum()


def many_operations(n=500):
    a = t = wanted(2.0, "a")
    for _ in range(n // 4):
        t = (t * 0.9 + a) * np.sin(t)
    return t


def peculiar():
    """Losses with numbers, shapes and operations that are not those of every day."""
    rng, losses = np.random.default_rng(0), {}
    tg.seed(0)
    x = wanted([1.0, 0.0, -1.0, 2.0], "x")
    losses["nan"] = (np.log(x) * x).sum()
    losses["inf"] = (np.exp(x * 800) / x).sum()
    losses["float32"] = (np.tanh(wanted(np.ones((2, 2), np.float32), "x") @ np.ones((2, 2), np.float32))).mean()
    losses["integers"] = (x * np.arange(4) + np.arange(4)).sum()
    losses["booleans"] = ops.where(x > 0.5, x * x, -x).sum()
    losses["0-d"] = wanted(3.0, "s") * wanted(2.0, "t")
    losses["empty"] = (wanted(np.zeros((0, 3)), "e") * 2).sum() + wanted(1.0, "k")
    losses["3-d"] = (wanted(rng.normal(size=(2, 3, 4)), "y") @ wanted(rng.normal(size=(2, 4, 2)), "m")).sum()
    losses["large 3-d"] = (wanted(rng.normal(size=(3, 6, 9)), "y") ** 2).mean()
    losses["a row"] = (wanted(rng.normal(size=(1, 200)), "r") ** 2).sum()
    losses["a vector"] = (wanted(rng.normal(size=200), "r") ** 2).sum()
    losses["a long vector"] = (wanted(rng.normal(size=40_000), "r") ** 2).sum()
    losses["a batch of 1"] = tg.losses.softmax_cross_entropy(tg.nn.Dense(3, 2)(rng.normal(size=(1, 3))), [1])
    z = wanted(rng.normal(size=(4, 3)), "z")
    losses["fused"] = tg.losses.cross_entropy(ops.softmax(z), [0, 1, 2, 1])
    losses["unfused"] = tg.losses.cross_entropy(ops.softmax(z), [0, 1, 2, 1], fused=False)
    layers = tg.nn.Dense(3, 4), tg.nn.BatchNorm(4), tg.nn.ReLU(), tg.nn.Dropout(0.5), tg.nn.LayerNorm(4)
    model = tg.nn.Sequential(*layers, tg.nn.Dense(4, 2))
    losses["norms and dropout"] = tg.losses.softmax_cross_entropy(model(rng.normal(size=(5, 3))), [0, 1, 0, 1, 1])
    losses["embedding"] = (tg.nn.Dense(3, 2)(tg.nn.Embedding(7, 3)(np.array([1, 5, 1, 0])))).mean()
    losses["a user's primitive"] = users_primitive()(wanted([1.0, 2.0, -3.0], "u")).sum()
    losses["joined"] = (ops.concatenate(*[wanted(np.ones((2, 2)), f"c{n}") for n in range(9)]) ** 2).sum()
    losses["largest"] = wanted(rng.normal(size=(3, 4)), "x").max(axis=1).sum()
    losses["chosen cells"] = np.log(ops.softmax(z))[np.arange(4), [0, 1, 2, 1]].mean()
    losses["an operation and itself"] = (lambda b: b + b)(wanted(2.0, "a") * 3.0)
    for name in (*MARKUP, "a&b\"c'd", "n" * 300, "😀 שלום"):
        losses[f"named {name[:12]}"] = (wanted([1.0, 2.0], name) * tg.Tensor([3.0, 4.0], name=name)).sum().named(name)
    return losses


def users_primitive():
    @tg.primitive
    def cube_of_the_page(x, *, times=3):
        """Three <b>times</b> </script><script>alert(1)</script> & more."""
        return x**times

    @cube_of_the_page.vjp("x")
    def cube_of_the_page_x(g, out, x, *, times):
        return g * times * x ** (times - 1)

    del tg.core.REGISTRY["cube_of_the_page"]  # other tests ask every primitive for samples
    return cube_of_the_page


@pytest.fixture(scope="module")
def losses():
    with np.errstate(all="ignore"):
        return peculiar()


def page_of(loss):
    with np.errstate(all="ignore"):
        return tg.step_through(loss)


# ---- the file


class Tags(HTMLParser):
    """The elements of a page: their names, attributes and texts."""

    def __init__(self, html):
        super().__init__()
        self.found, self.texts, self.open = [], {}, None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.open = tag + (f" {dict(attributes)['id']}" if "id" in dict(attributes) else "")

    def handle_data(self, text):
        self.texts[self.open] = self.texts.get(self.open, "") + text


def content_of(html):
    """What the page knows: the JSON in it, with its arrays as NumPy's."""
    content = json.loads(Tags(html).texts["script data"])
    kinds = {"f8": "<f8", "f4": "<f4", "u1": "u1"}
    content["arrays"] = [
        np.frombuffer(base64.b64decode(a["data"]), kinds[a["kind"]]).reshape(a["shape"]) for a in content["arrays"]
    ]
    return SimpleNamespace(**content)


def test_it_is_one_file_that_fetches_nothing():
    html = page_of(textbook()[0]).html
    tags = Tags(html)
    assert {"link", "img", "iframe", "object", "base"}.isdisjoint(tag for tag, _ in tags.found)
    for tag, attributes in tags.found:
        assert "src" not in attributes
        assert tag == "image" or attributes.get("href", "#").startswith("#")
    addresses = set(re.findall(r"\b\w+://[^\"'\s<)]*", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of a language, which nobody fetches
    policy = next(a["content"] for tag, a in tags.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "url(" not in html
    assert "@import" not in html


def test_the_page_of_a_small_network_is_small_and_that_of_digits_not_large():
    assert len(page_of(textbook()[0]).html.encode()) < 150_000
    assert len(page_of(digits()).html.encode()) < 3_000_000


def test_nodes_and_arrays_are_the_engines():
    loss, by_hand = textbook()
    content = content_of(page_of(loss).html)
    nodes = {node["name"]: node for node in content.nodes}
    assert list(nodes) == ["x", "W0", "b0", "z1", "h1", "W2", "b2", "z2", "y", "loss"]
    for name, node in nodes.items():
        np.testing.assert_allclose(content.arrays[node["value"]], getattr(by_hand, name), rtol=1e-12, atol=1e-15)
        if name in ("x", "y"):
            assert node["gradient"] is None
        else:
            gradient = content.arrays[node["gradient"]]
            np.testing.assert_allclose(gradient, getattr(by_hand, f"d_{name}"), rtol=1e-9, atol=1e-15)


@settings(deadline=None, max_examples=12)
@given(NETWORKS)
def test_all_numbers_steps_and_formulas_of_random_networks(steps):
    with np.errstate(all="ignore"):
        loss = network(steps)
        graph, content = read(loss), content_of(tg.step_through(loss).html)
        loss.backward()
    tensors = [node.tensor for node in graph.nodes]
    for tensor, node in zip(tensors, content.nodes, strict=True):
        if tensor is not None:
            np.testing.assert_array_equal(content.arrays[node["value"]], tensor.data)
        if node["gradient"] is None:
            assert tensor is None or tensor.grad is None
        else:
            np.testing.assert_allclose(content.arrays[node["gradient"]], tensor.grad, rtol=1e-9, atol=1e-12)
    for known, edge in zip(content.edges, graph.edges, strict=True):
        if known["share"] is not None:
            np.testing.assert_array_equal(content.arrays[known["share"]], edge.share)
    assert [(step["backward"], step["node"], step.get("edge")) for step in content.steps] == expected_steps(graph)
    check_formulas(graph, content)


def check_formulas(graph, content):
    """The page puts together what `Formula.filled` says, for every cell."""
    formulas = [(node, known) for node, known in zip(graph.nodes, content.nodes, strict=True) if node.formula]
    formulas += [(edge, known) for edge, known in zip(graph.edges, content.edges, strict=True) if edge.formula]
    for item, known in formulas:
        formula = item.formula.readable
        shape = formula.value.shape
        assert known["text"] == formula.text
        for index in np.ndindex(shape) if formula.value.size < 60 else [tuple(n - 1 for n in shape)]:
            assert filled(known["pieces"], content.arrays, index, shape) == formula.filled(index)


def test_formulas_of_peculiar_losses(losses):
    for loss in losses.values():
        with np.errstate(all="ignore"):
            check_formulas(read(loss), content_of(page_of(loss).html))


def test_arrays_that_are_equal_are_there_once_but_only_if_they_have_one_shape_and_kind():
    flat, table = wanted(np.ones(4), "flat"), wanted(np.ones((2, 2)), "table")
    truth, bytes_ = tg.Tensor(np.ones(4, bool)), tg.Tensor(np.ones(4, np.uint8))
    narrow = wanted(np.ones(4, np.float32), "narrow")
    loss = ops.where(truth, flat, 2.0).sum() + (flat * bytes_).sum() + table.sum() + narrow.sum()
    html = page_of(loss).html
    content = content_of(html)
    kinds = json.loads(Tags(html).texts["script data"])["arrays"]
    seen = {(tuple(kind["shape"]), kind["kind"], kind["truth"]) for kind in kinds}
    assert {((4,), "f8", False), ((2, 2), "f8", False), ((4,), "u1", True), ((4,), "f4", False)} <= seen
    assert len(kinds) == len({json.dumps(kind) for kind in kinds})
    for node, known in zip(read(loss).nodes, content.nodes, strict=True):
        assert content.arrays[known["value"]].shape == node.value.shape
        assert kinds[known["value"]]["truth"] == (node.value.dtype == bool)


def expected_steps(graph):
    """The youngest operation first, and each of its inputs that wants a gradient, in their order."""
    number = {node.tensor.number: n for n, node in enumerate(graph.nodes) if node.tensor is not None}
    made = sorted((node.tensor for node in graph.nodes if node.kind == "result"), key=lambda tensor: tensor.number)
    edges = {(number[e.target.tensor.number], e.position): n for n, e in enumerate(graph.edges)}
    steps = [(False, number[tensor.number], None) for tensor in made]
    steps.append((True, number[made[-1].number], None))
    for tensor in reversed(made):
        for position, x in enumerate(tensor.inputs):
            if isinstance(x, tg.Tensor) and x.requires_grad:
                steps.append((True, number[x.number], edges[number[tensor.number], position]))
    return steps


def filled(pieces, arrays, index, shape):
    """The text of a formula with the numbers of one cell, as the page puts it together."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if "table" in piece:
            place = piece["table"][int(np.ravel_multi_index(index, shape)) if index else 0]
        else:
            place = piece["start"] + int(np.dot(piece["steps"], index)) if index else piece["start"]
        value = arrays[piece["array"]].flat[place]
        number = str(bool(value)) if arrays[piece["array"]].dtype == np.uint8 else f"{value + 0.0:.4g}"
        text += f"({number})" if number.startswith("-") and not piece["leads"] else number
    return text


@pytest.mark.parametrize("make", [lambda: textbook()[0], diamond, lambda: many_operations(12)])
def test_the_lines_of_a_step_are_those_in_which_its_numbers_are_computed(make):
    loss = make()
    content, source = content_of(page_of(loss).html), read(loss).source
    for step in content.steps:
        assigned = [ast.parse(source[line].strip()).body[0].targets[0].id for line in step["lines"]]
        name = content.nodes[step["node"]]["name"]
        if not step["backward"]:
            assert assigned == [name]
        elif "edge" not in step:
            assert assigned == []  # where it starts, nothing is computed
        else:  # and perhaps a part of a long sum
            assert f"d_{name}" in assigned or not any(line.strip().startswith(f"d_{name} = ") for line in source)
            assert all(other == f"d_{name}" or re.fullmatch(r"t_\d+", other) for other in assigned)


def test_names_are_text(losses):
    for name in (*(f"named {name[:12]}" for name in MARKUP), "a user's primitive"):
        tags = Tags(page_of(losses[name]).html)
        assert [tag for tag, _ in tags.found].count("script") == 2
        assert "img" not in [tag for tag, _ in tags.found]


def test_notebooks_show_it_in_a_frame_of_its_own():
    page = page_of(diamond())
    assert repr(page) == '<a page that steps through loss, 5 nodes: .save("step.html")>'
    (frame,) = Tags(page._repr_html_()).found
    assert frame[0] == "iframe"
    assert frame[1]["srcdoc"] == page.html == unescape(re.search('srcdoc="([^"]*)"', page._repr_html_())[1])


def test_saved_as_html_only(tmp_path):
    page = page_of(diamond())
    assert page.save(tmp_path / "step.html") == tmp_path / "step.html"
    assert (tmp_path / "step.html").read_text(encoding="utf-8") == page.html
    assert page.save(str(tmp_path / "step.HTM")).exists()
    with pytest.raises(ValueError, match=r"save: step.svg must end in .html"):
        page.save(tmp_path / "step.svg")


def test_bad_input_is_refused():
    w = wanted([1.0, 2.0], "w")
    with pytest.raises(TypeError, match=r"tg\.step_through: a loss is a Tensor .* this is list"):
        tg.step_through([1.0])
    with pytest.raises(ValueError, match=r"tg\.step_through: w has no history"):
        tg.step_through(w)
    with pytest.raises(ValueError, match="single number"):
        tg.step_through(w * 2)
    too_large = many_operations(1600)
    with pytest.raises(ValueError, match=r"1,601 nodes.*tg\.explain"):
        tg.step_through(too_large)
    with pytest.raises(RuntimeError, match="is being traced"):
        tg.trace(lambda w: [(w * w).sum(), tg.step_through((w * w).sum())][0], w)


def test_it_changes_nothing_and_needs_no_backward():
    loss, by_hand = textbook()
    ready = loss.ready
    html = page_of(loss).html
    assert loss.grad is None
    assert loss.ready is ready
    loss.backward()
    np.testing.assert_allclose(loss.inputs[0].grad, by_hand.d_z2)
    assert page_of(loss).html == html


def luminance(colour):
    """Of a colour, as WCAG 2.2 defines it."""
    shares = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("style", [STYLE, DARK], ids=["light", "dark"])
def test_letters_stand_out_from_every_card(style):
    cards = re.findall(r"rect\.(?:body|paper) \{ fill: (#\w{6})", style)
    letters = re.findall(r"text[.\w, -]*\{[^}]*fill: (#\w{6})", style)
    assert len(cards) == 5
    assert len(letters) >= 3
    for card in cards:
        for letter in letters:
            light, dark = sorted((luminance(card), luminance(letter)))[::-1]
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (card, letter)


# ---- in Chromium


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    alone = (
        *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--disable-quic", "--disable-background-networking"),
    )
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=chromium, args=list(alone))


@pytest.fixture(scope="module")
def contexts(browser):
    """A function that gives a context of the browser, with the network off: one for each size and scheme."""
    known = {}

    def context(size, scheme):
        if (size, scheme) not in known:
            viewport = {"width": size[0], "height": size[1]}
            known[size, scheme] = browser.new_context(viewport=viewport, color_scheme=scheme, offline=True)
        return known[size, scheme]

    return context


@pytest.fixture
def opened(contexts, tmp_path):
    """A function that opens the page of a loss from disk; nothing may be said in the console, and nothing fetched."""
    pages, said = [], []

    def heard(page):
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda r: None if r.url.startswith(("file://", "data:")) else said.append(r.url))
        pages.append(page)
        return page

    def open_page(loss, size=DESKTOP, scheme="light", html=None, page=None):
        page = page or heard(contexts(size, scheme).new_page())
        path = tmp_path / "step.html"
        path.write_text(html or page_of(loss).html, encoding="utf-8")
        page.goto(path.as_uri())
        return page

    yield open_page
    for page in pages:
        page.close()
    assert said == []


READ = """() => {
  const texts = (selector) => [...document.querySelectorAll(selector)].map((x) => x.textContent);
  const tables = [...document.querySelectorAll("#detail figure")].map((figure) => [
    figure.querySelector("figcaption").textContent,
    [...figure.querySelectorAll("tr")].map((row) => [...row.querySelectorAll("td")].map((cell) => cell.textContent)),
  ]);
  return {
    headline: document.getElementById("headline").textContent, filled: texts(".filled"), rule: texts(".rule"),
    tables: Object.fromEntries(tables), lines: texts("#program .now"),
    detail: document.getElementById("detail").innerText,
    count: document.getElementById("count").textContent, slider: document.getElementById("slider").value,
  };
}"""


def shown(page):
    """What the page shows of its step."""
    return SimpleNamespace(**page.evaluate(READ))


def count(page):
    """The number of its step."""
    return int(shown(page).count.split()[0])


GO_TO = """(headline) => {
  document.getElementById("first").click();
  for (let n = 0; n < steps.length; n++) {
    if (document.getElementById("headline").textContent.startsWith(headline)) return true;
    document.getElementById("next").click();
  }
  return false;
}"""


def go_to(page, headline):
    """Step on from the start until this step."""
    assert page.evaluate(GO_TO, headline), headline
    return shown(page)


def four(number):
    """As the page shows numbers: four digits, and no sign of zeros."""
    return f"{number + 0.0:.4g}"


def rows(array):
    """The texts of a table."""
    array = np.asarray(array)
    table = array.reshape(1, -1) if array.ndim < 2 else array.reshape(-1, array.shape[-1])
    return [[four(number) for number in row] for row in table]


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
    for number, (headline, name, tables) in enumerate(steps):
        now = shown(page)
        assert now.headline.startswith(headline)
        expected = {caption: rows(array) for caption, array in tables.items()}
        if name is not None:
            array = np.asarray(getattr(n, name))
            expected[f"{name} {array.shape}".removesuffix(" ()")] = rows(array)
            assert [line.split(" = ")[0].strip() for line in now.lines] == [name]
            assert now.filled[0].endswith(f" = {four(array.flat[np.abs(array).argmax()])}")
        assert now.tables == expected
        assert now.count == f"{number + 1} of {len(steps)}"
        assert now.slider == str(number)
        page.keyboard.press("ArrowRight")
    assert shown(page).count == "12 of 12"  # it stays at the end


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
    page.keyboard.press("End")
    for _ in range(7):
        page.keyboard.press("ArrowLeft")
    seen = []
    while shown(page).count != "12 of 12":
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
    assert panel.locator("text").last.text_content() == "3 … 3"
    first = panel.locator("image").get_attribute("href")
    go_to(page, "Backward: from t1 to w, share 2 of 3")
    partly = 3 + w
    assert panel.locator("text").last.text_content() == f"{partly.min():.3g} … {partly.max():.3g}"
    assert panel.locator("image").get_attribute("href") != first
    now = go_to(page, "Backward: from t1 to w, share 3 of 3")
    assert panel.locator("text").last.text_content() == "1 … 5"  # 3 + 2 w
    assert now.filled[-1].endswith(" = 5; complete")


def test_buttons_and_keys(opened):
    page = opened(diamond())
    buttons = ("next", "next", "back", "last", "next", "first", "back")
    keys = ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "Home", "ArrowLeft")
    for button, expected in zip(buttons, (2, 3, 2, 12, 12, 1, 1), strict=True):
        page.click(f"#{button}")
        assert count(page) == expected
    for key, expected in zip(keys, (2, 3, 2, 12, 12, 1, 1), strict=True):
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
    assert halfway in (5, 6)
    assert shown(page).count == f"{halfway + 1} of 12"
    page.mouse.move(box["x"] + box["width"] - 2, middle, steps=4)
    page.mouse.up()
    assert shown(page).headline == "Backward: from t1 to a, share 4 of 4"
    page.focus("#slider")
    page.keyboard.press("ArrowLeft")
    assert shown(page).count == "11 of 12"
    assert page.get_attribute("#slider", "aria-valuetext") == "Backward: from t1 to a, share 3 of 4"
    page.keyboard.press("Home")
    assert shown(page).count == "1 of 12"


def test_playing_goes_on_by_itself_until_the_end(opened):
    page = opened(diamond())
    page.clock.install()
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
    assert (count(page), page.text_content("#play")) == (12, "Play")
    page.click("#play")  # once more, from the start
    assert count(page) == 1
    assert page.get_attribute("#headline", "aria-live") == "off"
    page.clock.run_for(600)
    assert count(page) == 2


def marked(page, kind):
    """The names of the cards that are shown in a way of their own."""
    script = "(kind) => [...cards].filter(([, card]) => card.classList.contains(kind)).map(([n]) => nodes[n].name)"
    return set(page.evaluate(script, kind))


def dimmed(page):
    return marked(page, "off")


def card_of(page, name):
    return page.locator(f".tg-graph .node[data-node='{page.evaluate('nodes.map((node) => node.name)').index(name)}']")


def steps_of(page):
    """The headlines of all steps that are followed, which every step on the way says."""
    page.keyboard.press("Home")
    found = [shown(page).headline]
    while shown(page).slider != page.get_attribute("#slider", "max"):
        page.keyboard.press("ArrowRight")
        found.append(shown(page).headline)
    return found


def test_a_pinned_node_shows_only_its_paths(opened):
    loss, _ = textbook()
    page = opened(loss)
    page.keyboard.press("End")
    card_of(page, "z1").locator("text.name").click()
    assert dimmed(page) == {"x", "W0", "b0", "W2", "b2", "y"}
    assert card_of(page, "z1").get_attribute("aria-pressed") == "true"
    assert page.text_content("#unpin") == "unpin z1"
    assert shown(page).headline == "Backward: from h1 to z1"  # the last step before
    assert [headline.split(" = ")[0] for headline in steps_of(page)] == [
        *("Forward: z1", "Forward: h1", "Forward: z2", "Forward: loss", "Backward starts: d_loss"),
        *("Backward: from loss to z2", "Backward: from z2 to h1", "Backward: from h1 to z1"),
    ]
    page.click("#unpin")
    assert dimmed(page) == set()
    assert shown(page).headline == "Backward: from h1 to z1"
    assert shown(page).count == "10 of 12"
    assert not page.is_visible("#unpin")
    card_of(page, "W2").focus()
    page.keyboard.press("Enter")
    assert dimmed(page) == {"x", "W0", "b0", "z1", "h1", "b2", "y"}
    page.keyboard.press(" ")
    assert dimmed(page) == set()
    page.keyboard.press(" ")
    assert page.text_content("#unpin") == "unpin W2"
    page.focus("#slider")
    page.keyboard.press("Escape")
    assert dimmed(page) == set()
    card_of(page, "b0").locator("text.name").click()
    card_of(page, "b0").locator("text.name").click()  # once more lets go
    assert dimmed(page) == set()


def test_a_pinned_cell_is_followed(opened):
    loss, n = textbook()
    page = opened(loss)
    page.keyboard.press("End")
    card_of(page, "W0").locator(".panel.value text[data-cell='4']").click()  # row 1, column 1
    assert shown(page).headline == "Backward: from z1 to W0"
    assert shown(page).filled[0].startswith("d_W0[1, 1] = ")
    assert shown(page).filled[0].endswith(f"= {four(n.d_W0[1, 1])}")
    assert card_of(page, "W0").locator("text.chosen").all_text_contents() == [
        f"{n.W0[1, 1]:.3g}",
        f"{n.d_W0[1, 1]:.3g}",
    ]
    page.get_by_role("button", name="cell [0, 2]:").press("Enter")
    assert shown(page).filled[0].startswith("d_W0[0, 2] = ")
    assert card_of(page, "W0").locator("text.chosen").first.text_content() == f"{n.W0[0, 2]:.3g}"
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("cell [0, 2]")


def test_cells_of_heat_maps(opened):
    loss = digits(12)
    page = opened(loss)
    loss.backward()
    z1 = loss.inputs[0].inputs[0].inputs[0]
    x, weights = (value.data for value in z1.inputs[:2])
    d_z1 = z1.grad
    go_to(page, "Backward: from h1 to z1")
    result = page.locator("#detail figure.result")
    canvas = result.locator("canvas")
    box = canvas.bounding_box()
    canvas.click(position={"x": 20.5 / 32 * box["width"], "y": 7.5 / 12 * box["height"]})
    assert shown(page).filled[0].startswith("d_z1[7, 20] = ")
    assert shown(page).filled[0].endswith(f" = {four(d_z1[7, 20])}")
    assert result.locator("th").all_text_contents() == ["18", "19", "20", "21", "22", "5", "6", "7", "8", "9"]
    assert result.locator("td button").all_text_contents() == [four(g) for g in d_z1[5:10, 18:23].ravel()]
    row, column = result.get_by_label("row"), result.get_by_label("column")
    assert (row.input_value(), column.input_value()) == ("7", "20")
    row.fill("0")
    row.press("Enter")
    assert shown(page).filled[0].startswith("d_z1[0, 20] = ")
    column.fill("99")  # there is no such column: the last one
    column.press("Enter")
    assert shown(page).filled[0].startswith("d_z1[0, 31] = ")
    assert shown(page).filled[0].endswith(f" = {four(d_z1[0, 31])}")
    row.fill("-3")
    row.press("Tab")
    assert row.input_value() == "0"
    result.get_by_role("button", name="cell [2, 29]:").click()
    assert shown(page).filled[0].startswith("d_z1[2, 29] = ")
    go_to(page, "Forward: z1")
    operand = page.locator("#detail figure", has_text="W0 (64, 32)")
    assert operand.locator("table").count() == 0
    assert operand.locator("p").text_content() == f"{weights.min():.3g} … {weights.max():.3g}"
    operand.get_by_role("button", name="show cells of W0 (64, 32)").click()
    at = np.unravel_index(np.abs(weights).argmax(), weights.shape)
    assert operand.locator("td.chosen").text_content() == four(weights[at])
    operand.get_by_label("row").fill("60")
    operand.get_by_label("row").press("Enter")
    assert operand.locator("td.chosen").text_content() == four(weights[60, at[1]])
    operand.get_by_role("button", name="hide cells").click()
    assert operand.locator("table").count() == 0
    page.locator("#detail figure", has_text="x (12, 64)").locator("canvas").click(position={"x": 1.5, "y": 1.5})
    inputs = page.locator("#detail figure", has_text="x (12, 64)")
    assert inputs.locator("td.chosen").text_content() == four(x[0, 0])


def test_the_colours_of_heat_maps_are_those_of_the_numbers(opened):
    page = opened(shared_maps())
    go_to(page, "Forward: t1")
    pixels = page.evaluate("""() => {
      const canvas = document.querySelector("#detail figure.result canvas"), [x, y] = [canvas.width, canvas.height];
      return [x, y, ...canvas.getContext("2d").getImageData(0, 0, x, y).data];
    }""")
    assert pixels[:2] == [10, 6]
    squares = np.linspace(-1, 1, 60).reshape(6, 10) ** 2
    white, orange = np.array([247, 247, 247]), np.array([213, 94, 0])
    expected = white + (orange - white) * squares[..., None]
    assert np.abs(np.reshape(pixels[2:], (6, 10, 4))[..., :3] - expected).max() <= 1


NUMBERS = (0.0, -0.0, 1, -1, 0.5, 1234.5, 0.015625, 99995, 9999.5, 0.00012345, 1e-5, 1e22, 1e300, 5e-324)


def test_numbers_are_written_as_python_writes_them(opened):
    page = opened(diamond())
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=500) * 10.0 ** rng.integers(-12, 12, 500)
    halves = rng.integers(-40_000, 40_000, 500) / 2.0 ** rng.integers(0, 12, 500)  # many are just between two
    numbers = [float(x) for x in (*NUMBERS, *drawn, *halves)]
    for digits in (3, 4):
        texts = page.evaluate(f"(numbers) => numbers.map((x) => written(x, {digits}, false))", numbers)
        assert texts == [f"{x + 0.0:.{digits}g}" for x in numbers]
    spoiled = page.evaluate("[NaN, Infinity, -Infinity].map((x) => written(x, 4, false))")
    assert spoiled == ["nan", "inf", "-inf"]
    assert page.evaluate("[written(1, 4, true), written(0, 4, true)]") == ["True", "False"]


ALL_STEPS = """() => steps.map((_, n) => {
  go(n);
  return document.getElementById("step").innerText + document.getElementById("program").innerText;
})"""


def test_peculiar_losses_are_stepped_through(opened, losses):
    page = None
    for name, loss in losses.items():
        page = opened(loss, page=page)
        texts = page.evaluate(ALL_STEPS)
        assert len(texts) >= 3
        for text in texts:
            assert not re.search(r"undefined|\[object|NaN|null|Infinity", text), (name, text)
        assert page.evaluate("document.querySelectorAll('img, script').length") == 2


def test_what_is_shown_of_peculiar_numbers(opened, losses):
    page = opened(losses["nan"])
    now = shown(page)
    assert now.tables["t1 (4,)"] == [["0", "-inf", "nan", "0.6931"]]
    assert now.filled == ["t1[1] = log(0) = -inf"]  # what is spoiled is looked at first
    page = opened(losses["a user's primitive"], page=page)
    assert shown(page).detail.startswith(
        "cube_of_the_page: Three <b>times</b> </script><script>alert(1)</script> & more; at test_page.py:"
    )
    page = opened(losses["booleans"], page=page)
    assert go_to(page, "Forward: t3").tables["condition (4,)"] == [["True", "False", "False", "True"]]
    page = opened(losses["embedding"], page=page)
    assert shown(page).tables["indices (4,)"] == [["1", "5", "1", "0"]]
    page = opened(losses["empty"], page=page)
    assert "empty" in shown(page).detail
    page = opened(losses["0-d"], page=page)
    assert shown(page).filled == ["loss = 3 * 2 = 6"]
    page = opened(losses["large 3-d"], page=page)
    result = page.locator("#detail figure.result")
    result.get_by_label("axis 0").fill("2")
    result.get_by_label("axis 0").press("Enter")
    assert re.match(r"t1\[2, \d, \d\] = ", shown(page).filled[0])


def test_a_graph_of_500_operations(opened):
    loss = many_operations()
    page = opened(loss)
    loss.backward()
    a = next(node.tensor for node in read(loss).nodes if node.name == "a")
    page.keyboard.press("End")
    now = shown(page)
    assert now.count == "1251 of 1251"
    assert now.headline == "Backward: from t1 to a, share 127 of 127"
    assert now.tables["d_a so far"] == [[four(a.grad)]]
    assert now.filled[-1].endswith(f" = {four(a.grad)}; complete")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert shown(page).count == "1248 of 1251"
    picture = page.locator("#picture").bounding_box()
    for step in ("0", "250", "500", "1250"):  # the picture moves along
        page.fill("#slider", step)
        current = page.locator(".tg-graph .node.now").bounding_box()
        assert picture["x"] <= current["x"]
        assert current["x"] + current["width"] <= picture["x"] + picture["width"]
        assert picture["y"] <= current["y"]
        assert current["y"] + current["height"] <= picture["y"] + picture["height"]


@pytest.mark.parametrize("make", [lambda: textbook()[0], digits], ids=["numbers", "heat maps"])
def test_on_a_phone_nothing_is_wider_than_the_screen(opened, make):
    page = opened(make(), PHONE)
    for number in range(12):
        page.evaluate(f"go({number})")
        for button in page.locator("#detail button", has_text="show cells").all()[:1]:
            button.click()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE[0]
        small = page.evaluate("""() => [...document.querySelectorAll("button, select, input")]
          .map((x) => [x, x.getBoundingClientRect()]).filter(([x, box]) => !x.hidden && box.height < 24)
          .map(([x, box]) => [x.textContent, box.height])""")
        assert small == []
    page.click("#first")
    assert shown(page).count == "1 of 12"


def test_light_and_dark(opened):
    backgrounds = {}
    for scheme in ("light", "dark"):
        page = opened(diamond(), scheme=scheme)
        backgrounds[scheme] = page.evaluate("""() => [
          getComputedStyle(document.body).backgroundColor,
          getComputedStyle(document.querySelector(".tg-graph .result rect.body")).fill,
        ]""")
    assert backgrounds == {
        "light": ["rgb(255, 255, 255)", "rgb(255, 255, 255)"],
        "dark": ["rgb(13, 17, 23)", "rgb(22, 27, 34)"],
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def checked(page):
        results = axe.run(page)
        assert results.violations_count == 0, results.generate_report()
        unsure = {rule["id"] for rule in results.response["incomplete"]}
        assert unsure <= {"color-contrast"}  # of letters over lines; see the test of the picture's colours

    page = opened(diamond(), scheme=scheme)
    checked(page)
    page.keyboard.press("End")
    checked(page)
    page = opened(digits(), PHONE, scheme)
    go_to(page, "Backward: from h1 to z1")
    page.locator("#detail button", has_text="show cells").first.click()
    checked(page)
    card_of(page, "b0").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    checked(page)


def test_the_keyboard_reaches_everything(opened):
    page = opened(diamond())
    reached = []
    for _ in range(24):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("""() => {
              const x = document.activeElement;
              return x.id || x.getAttribute("aria-label") || x.className;
            }""")
        )
    expected = ["skip", "picture", *(f"pin {name}" for name in ("a", "t1", "t2", "t3", "loss"))]
    expected += ["next", "play", "back", "first", "last", "slider", "speed", "smaller", "larger", "cell : 4"]
    assert set(expected) <= set(reached)
    assert reached.index("skip") == 0
    page.keyboard.press("Home")
    page.focus(".skip")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "first"


def test_it_works_in_a_notebook(opened):
    frame_html = page_of(diamond())._repr_html_()
    page = opened(None, html=f"<!doctype html><meta charset='utf-8'><h1>a notebook</h1>{frame_html}")
    frame = page.frame_locator("iframe")
    frame.locator("#last").click()
    assert frame.locator("#headline").text_content() == "Backward: from t1 to a, share 4 of 4"
    frame.locator("#play").focus()
    page.keyboard.press("Home")
    assert frame.locator("#count").text_content() == "1 of 12"
    assert page.locator("iframe").bounding_box()["height"] == 900


# ---- what users have stumbled over


def test_after_a_click_with_the_mouse_the_space_bar_plays(opened):
    loss, _ = textbook()
    page = opened(loss)
    card_of(page, "W0").click(position={"x": 5, "y": 5})
    assert page.locator("#unpin").is_visible()
    page.keyboard.press(" ")
    assert page.locator("#play").text_content() == "Pause"
    page.keyboard.press(" ")
    assert page.locator("#play").text_content() == "Play"
    assert page.locator("#unpin").is_visible()
    page.locator("#next").click()
    page.keyboard.press(" ")
    assert page.locator("#play").text_content() == "Pause"


def is_in_sight(page, locator, frame):
    inner, outer = locator.bounding_box(), page.locator(frame).bounding_box()
    return outer["x"] <= inner["x"] + inner["width"] / 2 <= outer["x"] + outer["width"] and (
        outer["y"] <= inner["y"] + inner["height"] / 2 <= outer["y"] + outer["height"]
    )


def test_the_node_of_the_step_stays_in_sight_while_zooming(opened):
    loss, _ = textbook()
    page = opened(loss)
    page.keyboard.press("End")
    for _ in range(5):
        page.locator("#larger").click()
        assert is_in_sight(page, page.locator(".node.now rect.body"), "#picture")
    page.locator("#whole").click()
    picture, svg = page.locator("#picture").bounding_box(), page.locator(".tg-graph").bounding_box()
    assert svg["width"] <= picture["width"]
    assert svg["height"] <= picture["height"]


@pytest.mark.parametrize("size", [(1280, 720), (1300, 800), (1920, 1080)])
def test_nothing_needs_to_be_scrolled_on_a_projector(opened, size):
    loss, _ = textbook()
    page = opened(loss, size)
    for number in range(12):
        page.evaluate(f"go({number})")
        for seen in ("#picture", "#controls", "#headline", ".filled >> nth=0", "pre span.now >> nth=0"):
            if page.locator(seen).count():
                box = page.locator(seen).bounding_box()
                assert box["y"] >= 0
                assert box["y"] + box["height"] <= size[1], seen


def test_a_partial_sum_that_is_wider_than_the_whole_has_room(opened):
    a = tg.Tensor(2.0, requires_grad=True, name="a")
    page = opened(a * a + np.sin(a))
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    text = card_of(page, "a").locator(".panel.gradient text[data-cell]")
    assert text.text_content() == f"{np.cos(2):.3g}"
    inner, card = text.bounding_box(), card_of(page, "a").locator("rect.body").bounding_box()
    assert card["x"] < inner["x"] < inner["x"] + inner["width"] < card["x"] + card["width"]


def test_a_range_that_is_wider_than_that_of_the_whole_has_room(opened):
    w = wanted(np.linspace(-1, 1, 64).reshape(64, 1), "w")
    page = opened((w * 12345678.0).sum() + (w * -12345678.0).sum() + w.sum())
    for number in range(page.evaluate("steps.length")):
        page.evaluate(f"go({number})")
        inner = card_of(page, "w").locator(".panel.gradient text").last.bounding_box()
        card = card_of(page, "w").locator("rect.body").bounding_box()
        assert inner["x"] + inner["width"] < card["x"] + card["width"]


def test_the_lines_of_the_program_are_wrapped(opened):
    loss, _ = textbook()
    page = opened(loss, (1280, 720))
    assert page.evaluate("document.querySelector('pre').scrollWidth <= document.querySelector('pre').clientWidth")


def test_the_space_bar_plays_after_a_click_on_a_cell_but_belongs_to_what_the_keyboard_has_reached(opened):
    page = opened(textbook()[0])
    page.locator("#detail td button").nth(2).click()
    page.keyboard.press(" ")
    assert page.text_content("#play") == "Pause"
    page.keyboard.press(" ")
    page.focus("summary")
    page.keyboard.press(" ")
    assert page.evaluate("document.querySelector('details').open")
    assert page.text_content("#play") == "Play"
    page.locator("#detail td button").nth(2).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.matches('#detail td button')")
