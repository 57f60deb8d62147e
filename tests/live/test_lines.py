"""The step as NumPy on the live page: each number of each line, the formulas of cells, and where a NaN came from."""

import re

import numpy as np
import pytest
from live import networks
from live.networks import SET_STATE, as_text

import tinygrad_ce as tg
from tinygrad_ce.live import live

nn = tg.nn
NETWORKS = {
    "tanh, softmax, SGD": lambda: networks.network(5, nn.Tanh, 2),
    "relu, softmax, Adam": lambda: networks.network(4, nn.ReLU, 3, nn.ReLU, 2, optimizer="Adam"),
    "sigmoid, BCE, momentum": lambda: networks.network(3, nn.Sigmoid, 1, loss="sigmoid", optimizer="momentum"),
    "softplus, mse, RMSprop": lambda: networks.network(3, nn.Softplus, 1, loss="mse", optimizer="RMSprop"),
    "gelu, softmax, AdamW": lambda: networks.network(3, nn.GELU, 2, optimizer="AdamW"),
    "no hidden layer, AdaGrad": lambda: networks.network(2, optimizer="AdaGrad"),
}

# Of each line: its text, the formula with its result, the cells of its own table, and the numbers of what it reads.
READ_LINES = """() => session.network.lines.map(({ text, phase, name }, n) => {
  showLine(n);
  const panel = document.getElementById("line-panel");
  const all = (selector) => [...panel.querySelectorAll(selector)];
  const labels = (table) => all(`${table} td button`).map((button) => button.getAttribute("aria-label"));
  const chips = all(".cell-formula .chip").map((chip) => [chip.title, chip.textContent]);
  const formula = panel.querySelector(".cell-formula p")?.innerText;
  return { text, phase, name, cells: labels(".own"), read: labels(".cells:not(.own)"), formula, chips };
})"""


def numpy_arrays(network, page):
    """By line, the arrays before and after it: NumPy runs the printed lines."""
    lines, above = page.evaluate("[session.network.lines, session.network.above]")
    names = {"np": np}
    exec(f"import math\nimport numpy as np\n{above}", names)
    # the page may keep targets as a column, as the loss wants them
    names |= {"x": network.x, "y": network.y, "lr": network.optimizer.lr, "t": 1, "batch": len(network.x)}
    names |= {n: a.copy() for n, a in zip(network.names, network.parameters(), strict=True)}
    state = page.evaluate("Object.fromEntries(Object.entries(session.step.state).map(([n, a]) => [n, [...a]]))")
    for name, numbers in state.items():
        if name not in names:
            names[name] = np.reshape(numbers, names[name.split("_", 1)[1]].shape)
    found = []
    for line in lines:
        before = dict(names)
        exec(line["text"], names)
        found.append((before, dict(names)))
    return found


def value_of(label, arrays):
    """The number of a cell such as W0[1, 2], or of a name alone."""
    name, _, index = label.partition("[")
    if np.ndim(arrays[name]) == 0:
        return arrays[name]  # NumPy broadcasts what the program keeps for each row
    return np.asarray(arrays[name])[tuple(int(i) for i in index.rstrip("]").split(",") if i.strip())]


def as_shown(value):
    text = f"{float(value):.4g}"
    return "0" if text == "-0" else text


def same(text, value):
    """The number as Python writes it; the last digit may differ where it is rounded from half."""
    return text == as_shown(value) or float(text) == pytest.approx(float(value), rel=5.1e-4, abs=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_line_shows_the_numbers_that_numpy_computes(name, opened_live):
    network = NETWORKS[name]()
    page = opened_live(network.page())
    arrays = numpy_arrays(network, page)
    exact = total = formulas = 0
    for line, (before, after) in zip(page.evaluate(READ_LINES), arrays, strict=True):
        for where, labels in ((after, line["cells"]), (before, line["read"])):
            for label in labels:
                cell, text = label.split(" is ")
                value = value_of(cell, where)
                assert same(text, value), (line["text"], label, value)
                exact += text == as_shown(value)
                total += 1
        assert line["cells"] or "gelu" in name, line["text"]
        if line["phase"] != "update":
            for title, text in line["chips"]:
                assert same(text.strip("()"), value_of(title, before)), (line["text"], title)
        formulas += line["formula"] is not None
    assert total > 100
    assert exact >= 0.99 * total
    assert formulas >= (0.7 if "gelu" in name else 1) * len(arrays)


@pytest.mark.parametrize("name", ["relu, softmax, Adam", "sigmoid, BCE, momentum", "softplus, mse, RMSprop"])
def test_gradients_and_updates_shown_are_those_of_the_engine(name, opened_live):
    network = NETWORKS[name]()
    page = opened_live(network.page())
    network.step_loss().backward()
    gradients = [parameter.grad.copy() for parameter in network.model.parameters()]
    network.optimizer.step()
    lines = {line["name"]: line for line in page.evaluate(READ_LINES)}
    for parameter, gradient, own in zip(network.model.parameters(), gradients, network.names, strict=True):
        for shown, array in ((f"d_{own}", gradient), (own, parameter.data)):
            for label in lines[shown]["cells"]:
                cell, text = label.split(" is ")
                assert same(text, value_of(cell.removeprefix("d_"), {own: np.asarray(array)})), label


def test_a_formula_with_its_numbers_gives_the_result_beside_it(opened_live):
    network = networks.network(4, nn.Tanh, 2, rows=4)
    page = opened_live(network.page())
    whole = 0
    for line in page.evaluate(READ_LINES):
        if line["phase"] == "update" or "…" in line["formula"] or "where" in line["formula"]:
            continue
        _, formula, result = re.split(r" = ", line["formula"])
        words = {name: getattr(np, name) for name in ("exp", "log", "tanh")} | {"max": max}
        assert float(eval(formula, words)) == pytest.approx(float(result), rel=0.02, abs=2e-3), line["formula"]
        whole += 1
    assert whole > 12


def test_a_sum_of_many_rows_shows_three_terms_and_the_last(opened_live):
    network = networks.network(4, nn.Tanh, 2, rows=12)
    page = opened_live(network.page())
    line = next(line for line in page.evaluate(READ_LINES) if line["name"] == "d_W0")
    titles = [title for title, _ in line["chips"]]
    assert titles == [f"{array}[{row}, 0]" for row in (0, 1, 2, 11) for array in ("x", "d_z1")]
    assert line["formula"].startswith("d_W0[0, 0] = ")
    assert " + … + " in line["formula"]


def test_a_number_of_a_formula_leads_to_its_own_line_and_arrow_keys_go_on(opened_live):
    network = networks.network(4, nn.Tanh, 2, rows=12)
    page = opened_live(network.page())
    page.locator("#program-panel button", has_text="h1 = np.tanh").click()
    page.locator("#line-panel .cell-formula button.chip").click()
    assert page.locator("#line-panel .line-head").inner_text().startswith("forward z1 = np.dot")
    page.locator(".own [tabindex='0']").focus()
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert page.locator("#line-panel .cell-formula code").first.inner_text() == "z1[1, 1] = "
    assert page.locator(":focus").get_attribute("aria-label").startswith("z1[1, 1] is ")
    page.locator("#line-panel .cell-formula button.chip").first.click()
    assert page.locator("#line-panel .line-head").inner_text().startswith("x")
    assert "no line of the step computes it" in page.locator("#line-panel .line-head").inner_text()


def test_a_row_that_is_pointed_at_is_the_row_of_the_line(opened_live):
    page = opened_live(networks.network(4, nn.Tanh, 2, rows=12).page())
    page.evaluate("session.row = 7; redraw()")
    assert page.locator("#line-panel .cell-formula code").first.inner_text() == "z1[7, 0] = "


def test_inside_a_step_each_line_is_marked_and_update_lines_keep_their_formula(opened_live):
    network = networks.network(3, nn.Tanh, 2, rows=12, optimizer="momentum")
    page = opened_live(network.page())
    arrays = numpy_arrays(network, page)
    for n, (_, after) in enumerate(arrays):
        page.evaluate("stepInside()")
        current = page.locator("#program-panel [aria-current='step']")
        assert current.count() == 1
        assert current.inner_text().removeprefix("▶ ") == page.evaluate("session.network.lines[session.line].text")
        if page.evaluate("session.network.lines[session.line].phase") == "update":
            own = page.locator(".own td button").first.get_attribute("aria-label")
            cell, text = own.split(" is ")
            assert same(text, value_of(cell, after)), n
            result = page.locator(".cell-formula strong").last.inner_text()
            assert same(result, value_of(cell, after)), n
    page.evaluate("stepInside()")
    assert page.locator("#program-panel [aria-current='step']").count() == 0


def test_phases_are_told_apart_by_words_and_by_the_line_beside_them(opened_live):
    page = opened_live(networks.network(3, nn.Tanh, 2).page())
    assert page.locator("#program-panel .badge").all_inner_texts() == ["forward", "backward", "update"]
    styles = page.evaluate(
        """["forward", "backward", "update"].map((phase) => {
          const style = getComputedStyle(document.querySelector(`.program .line.${phase}`));
          return [style.borderLeftStyle, style.borderLeftColor];
        })"""
    )
    assert len({style for style, _ in styles}) == len({colour for _, colour in styles}) == 3


# ---- NaN and infinity


class Own(nn.Module):
    """A layer, and a function of what it gives."""

    def __init__(self, function):
        self.dense = nn.Dense(2, 2)
        self.function = function

    def forward(self, x):
        return self.function(self.dense(x))


def own_network(function):
    tg.seed(1)
    model = Own(function)
    x = np.random.default_rng(0).normal(size=(8, 2))
    data = tg.data.Dataset(x, np.arange(8) % 2, ("a", "b"), ("no", "yes"), "small", np.array([True, True]))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    trainer = tg.Trainer(model, tg.losses.softmax_cross_entropy, optimizer)
    with np.errstate(all="ignore"):
        return model, data, live(trainer, data, test=data, moments=[])


SPOILED = {
    "overflow of exp": (lambda z: tg.ops.exp(z * 1000), r"exp\(\d+\.?\d*\) is larger than a number can be.*overflows"),
    "log of a negative number": (tg.ops.log, r"the logarithm of -0\.\d+, a negative number, does not exist"),
    "log of 0": (lambda z: tg.ops.log(z - z), r"log\(0\) is -inf"),
    "0 / 0": (lambda z: (z - z) / (z - z), r"0 / 0 has no value"),
    "divided by 0": (lambda z: z / (z - z), r"-?\d.* was divided by 0"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_the_line_that_made_the_first_nan_is_marked_with_the_reason(name, opened_live):
    function, words = SPOILED[name]
    model, data, live_page = own_network(function)
    page = opened_live(live_page)
    sentence = page.locator("#say").inner_text()
    assert re.search(words, sentence), sentence
    marked = page.locator("#program-panel [data-spoiled]")
    assert marked.count() == 1
    with np.errstate(all="ignore"):
        loss = tg.losses.softmax_cross_entropy(model(data.X), data.y)
        index = re.search(r"\[(\d+), (\d+)\]", sentence)
        assert index, sentence
        assert f"element [{index[1]}, {index[2]}]" in " ".join(str(tg.why_nan(loss)).split())
    assert f"row {index[1]} of the data" in sentence


def test_infinite_weights_came_out_of_the_update(opened_live):
    network = networks.network(3, nn.Tanh, 2)
    page = opened_live(network.page())
    arrays = network.parameters()
    arrays[0][1, 2] = np.inf
    page.evaluate(SET_STATE, {n: as_text(a) for n, a in zip(network.names, arrays, strict=True)})
    page.evaluate("session.count = 1; session.spoiled = null; compute(); redraw()")
    sentence = page.locator("#say").inner_text()
    assert "W0[1, 2] is inf after the update" in sentence
    assert page.locator("#program-panel [data-spoiled]").inner_text().startswith("W0 = W0 - lr * d_W0")
    page.evaluate(SET_STATE, {n: as_text(a) for n, a in zip(network.names, network.parameters(), strict=True)})
    page.evaluate("redraw()")
    assert page.locator("#say").inner_text() == ""


# ---- everything together


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_panels_have_no_faults_that_axe_knows(width, scheme, opened_live):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = opened_live(networks.network(4, nn.Tanh, 2).page(), (width, 800), scheme)
    page.evaluate("session.selected = { name: 'W0', index: 1 }; showLine(1)")
    for panel in ("program", "line", "verdicts", "edge"):
        found = axe.Axe().run(page, context=f"#{panel}-panel")
        assert found.response["violations"] == [], found.generate_report()


def test_hostile_names_stay_text(opened_live):
    network = networks.network(3, nn.Tanh, 2)
    y = network.y
    names = ('<img src=x onerror="alert(1)">', "</script><script>alert(2)</script>")
    data = tg.data.Dataset(network.x, y, names, ("<i>no</i>", '"yes"'), "<b>moons", np.array([True, True]))
    page = opened_live(live(tg.Trainer(network.model, network.loss, network.optimizer), data, test=data, moments=[]))
    page.evaluate("session.selected = { name: 'W0', index: 1 }; redraw()")
    assert names[0] in page.locator("#edge-panel").inner_text()
    assert page.locator("main img, main script").count() == 0
