"""The page that steps through a loss: what is in its file."""

import ast
import base64
import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from fused import ready_gradient
from hypothesis import given, settings
from pictures import NETWORKS, network, read
from views.page.losses import MARKUP, diamond, many_operations, network_of_digits, page_of, textbook, wanted

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.views.graph_picture import DARK, STYLE

NODE = shutil.which("node")


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


COMPUTE = """
const data = JSON.parse(require("fs").readFileSync(0, "utf8"));
const kinds = { f8: Float64Array, f4: Float32Array, u1: Uint8Array };
const pass = data.recorded ? null : PROGRAMS.pass();
for (const { name, kind, data: text } of data.arrays) if (text && pass) {
  pass.inputs[name].set(new kinds[kind](Uint8Array.from(Buffer.from(text, "base64")).buffer));
}
if (pass) { pass.forward(); pass.backward(); }
console.log(JSON.stringify(data.arrays.map(({ name }) => {
  const numbers = pass && (pass.inputs[name] ?? pass.outputs[name]);
  return numbers && [numbers.constructor.name, Buffer.from(numbers.slice().buffer).toString("base64")];
})));
"""
KINDS = {"f8": "<f8", "f4": "<f4", "u1": "u1"}
OF_NODE = {"Float64Array": "<f8", "Float32Array": "<f4", "Uint8Array": "u1", "Int32Array": "<i4"}


def content_of(html):
    """What the page knows: the JSON in it, with its arrays as NumPy's, which Node computes by the page's program."""
    texts = Tags(html).texts
    content = json.loads(texts["script data"])
    content["recorded_arrays"] = content["arrays"]
    if content["recorded"]:
        content["arrays"] = [
            np.frombuffer(base64.b64decode(a["data"]), KINDS[a["kind"]]).reshape(a["shape"]) for a in content["arrays"]
        ]
        return SimpleNamespace(**content)
    if NODE is None:
        pytest.skip("no Node")
    script = texts["script"].split('"use strict";')[0] + COMPUTE
    answer = subprocess.run(
        [NODE, "-e", script], input=texts["script data"], check=True, capture_output=True, text=True
    )
    computed = zip(content["arrays"], json.loads(answer.stdout), strict=True)
    content["arrays"] = [
        np.frombuffer(base64.b64decode(data), OF_NODE[kind]).astype("u1" if a["truth"] else None).reshape(a["shape"])
        for a, (kind, data) in computed
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
    assert len(page_of(network_of_digits()).html.encode()) < 3_000_000


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
            np.testing.assert_allclose(content.arrays[node["value"]], tensor.data, rtol=1e-12, atol=1e-14)
        if node["gradient"] is None:
            assert tensor is None or tensor.grad is None
        else:
            np.testing.assert_allclose(content.arrays[node["gradient"]], tensor.grad, rtol=1e-9, atol=1e-12)
    for known, edge in zip(content.edges, graph.edges, strict=True):
        if known["share"] is not None:
            np.testing.assert_allclose(content.arrays[known["share"]], edge.share, rtol=1e-12, atol=1e-15)
    told = [(step["phase"] == "backward", step["node"], step.get("edge")) for step in content.steps]
    updates = [step for step in content.steps if step["phase"] == "update"]
    assert told[: len(told) - len(updates)] == expected_steps(graph)
    assert [graph.nodes[step["node"]].kind for step in updates] == ["parameter"] * len(updates)
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
            assert_same_formula(filled(known["pieces"], content.arrays, index, shape), formula.filled(index))


NUMBER = r"(-?(?:\d+\.?\d*(?:e[-+]\d+)?|inf|nan))"


def assert_same_formula(text, expected):
    """The same signs; the browser sums in another order, so that 0 may be 1e-17."""
    mine, others = (re.split(NUMBER, x.replace("(-", "-").replace(")", "")) for x in (text, expected))
    assert mine[::2] == others[::2]
    numbers = [np.array(x[1::2], float) for x in (mine, others)]
    np.testing.assert_allclose(*numbers, rtol=2e-3, atol=1e-12)


def test_formulas_of_peculiar_losses(losses):
    for loss in losses.values():
        with np.errstate(all="ignore"):
            check_formulas(read(loss), content_of(page_of(loss).html))


def test_only_leaves_bring_their_numbers_in_their_own_kinds():
    flat, table = wanted(np.ones(4), "flat"), wanted(np.ones((2, 2)), "table")
    truth, bytes_ = tg.Tensor(np.ones(4, bool)), tg.Tensor(np.ones(4, np.uint8))
    narrow = wanted(np.ones(4, np.float32), "narrow")
    loss = ops.where(truth, flat, 2.0).sum() + (flat * bytes_).sum() + table.sum() + narrow.sum()
    content = content_of(page_of(loss).html)
    kinds = content.recorded_arrays
    seen = {(tuple(kind["shape"]), kind["kind"], kind["truth"]) for kind in kinds if "data" in kind}
    assert {((4,), "f8", False), ((2, 2), "f8", False), ((4,), "u1", True), ((4,), "f4", False)} <= seen
    assert len(kinds) == len({kind["name"] for kind in kinds})
    leaves = {node["value"] for node in content.nodes if node["kind"] != "result"}
    assert {n for n, kind in enumerate(kinds) if "data" in kind} == leaves
    for node, known in zip(read(loss).nodes, content.nodes, strict=True):
        assert content.arrays[known["value"]].shape == node.value.shape
        assert kinds[known["value"]]["truth"] == (node.value.dtype == bool)


def expected_steps(graph):
    """The youngest operation first, and each of its inputs that wants a gradient, in their order."""
    number = {node.tensor.serial: n for n, node in enumerate(graph.nodes) if node.tensor is not None}
    made = sorted((node.tensor for node in graph.nodes if node.kind == "result"), key=lambda tensor: tensor.serial)
    edges = {(number[e.target.tensor.serial], e.position): n for n, e in enumerate(graph.edges)}
    steps = [(False, number[tensor.serial], None) for tensor in made]
    steps.append((True, number[made[-1].serial], None))
    for tensor in reversed(made):
        for position, x in enumerate(tensor.inputs):
            if isinstance(x, tg.Tensor) and x.requires_grad:
                steps.append((True, number[x.serial], edges[number[tensor.serial], position]))
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
        lines = [source[line] for line in step["lines"] if line < len(source)]
        assigned = [ast.parse(line.strip()).body[0].targets[0].id for line in lines]
        name = content.nodes[step["node"]]["name"]
        if step["phase"] == "forward":
            assert assigned == [name]
        elif step["phase"] == "update":
            assert step["lines"][0] >= len(source)
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
    _, frame, picture = Tags(page._repr_html_()).found
    assert (frame[0], picture[0]) == ("iframe", "img")  # the second for notebooks that are not trusted
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
    ready = ready_gradient(loss)
    html = page_of(loss).html
    assert loss.grad is None
    assert ready_gradient(loss) is ready
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
    assert len(cards) == 6
    assert len(letters) >= 3
    for card in cards:
        for letter in letters:
            light, dark = sorted((luminance(card), luminance(letter)))[::-1]
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (card, letter)
