"""Graphs that are too large for one picture: their groups, and the pictures in which they fold."""

import re
from itertools import pairwise

import numpy as np
import pytest
from pictures import SVG, Reader, area

import tinygrad_ce as tg
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.views.graph_picture import ROOM, levels
from tinygrad_ce.views.groups import grouped


class Recurrent(tg.nn.Module):
    """h = tanh(W x + V h), once for each time step."""

    def __init__(self):
        self.input, self.hidden, self.readout = tg.nn.Dense(2, 3), tg.nn.Dense(3, 3), tg.nn.Dense(3, 2)

    def forward(self, x):
        h = np.zeros((x.shape[1], 3))
        for row in x:
            h = np.tanh(self.input(row) + self.hidden(h))
        return self.readout(h)


def unrolled(steps=6):
    tg.seed(0)
    model = Recurrent()
    return tg.losses.softmax_cross_entropy(model(np.ones((steps, 2, 2))), [0, 1])


def deep(layers=250):
    tg.seed(0)
    model = tg.nn.Sequential(*[layer for _ in range(layers) for layer in (tg.nn.Dense(3, 3), tg.nn.Tanh())])
    return tg.losses.softmax_cross_entropy(model(np.ones((2, 3))), [0, 1])


def chain(length=500):
    t = x = tg.Tensor(0.5, requires_grad=True, name="x")
    for _ in range(length // 2):
        t = np.tanh(t * x)
    return t


def frames(picture, kind):
    """(title, area) of the frames of one kind."""
    groups = [g for g in picture.root.findall(f"{SVG}g") if g.get("class") == kind]
    return [(g.findtext(f"{SVG}title"), area(g.find(f"{SVG}rect"))) for g in groups]


def test_a_round_of_a_loop_is_a_group_and_what_is_done_once_is_none():
    top = grouped(Graph(unrolled(4), "the test"))
    (recurrent,) = [child for child in top.children if getattr(child, "kind", "") == "module"]
    titles = [getattr(child, "title", child) for child in recurrent.children]
    assert titles == [*(f"step {n} of 4" for n in (1, 2, 3, 4)), "Dense(3, 2)"]
    assert [len(group.results) for group in recurrent.children] == [4, 4, 4, 4, 1]
    once = grouped(Graph((np.sin(tg.Tensor(1.0, requires_grad=True)) * 2 + 1) ** 2, "the test"))
    assert [*once.groups] == [once]


def test_every_time_step_has_a_row_of_its_own():
    picture = Reader(levels(Graph(unrolled(6), "the test"), True)[0].svg())
    steps = frames(picture, "step")
    assert [title for title, _ in steps] == [f"step {n} of 6" for n in range(1, 7)]
    places = [place for _, place in steps]
    assert all(a.y + a.height < b.y for a, b in pairwise(places))


@pytest.mark.parametrize("make", [unrolled, deep, chain])
def test_each_node_is_in_one_picture_and_each_edge_a_wire_in_that_of_its_target(make):
    graph = Graph(make(), "the test")
    pictures = levels(graph, True)
    shown = [n for picture in pictures for n in picture.nodes]
    assert sorted(shown) == list(range(len(graph.nodes)))
    number = {node: n for n, node in enumerate(graph.nodes)}
    wires = {}
    for k, picture in enumerate(pictures):
        drawn = Reader(picture.svg())
        folded = {int(g.get("data-group")) for g in drawn.root.iter(f"{SVG}g") if g.get("class") == "fold"}
        assert folded == {group.number for group in picture.folded}
        for g in drawn.root.iter(f"{SVG}g"):
            if "wire" in g.get("class", "") and g.get("data-edge"):
                wires.setdefault(int(g.get("data-edge")), []).append(k)
    for n, edge in enumerate(graph.edges):
        home = next(k for k, picture in enumerate(pictures) if number[edge.target] in picture.nodes)
        source = pictures[home].card_of[edge.source]
        assert wires.get(n, []) == ([] if source.kind == "fold" else [home])


@pytest.mark.parametrize("make", [deep, chain])
def test_five_hundred_operations_are_read_in_pictures_of_few_cards_and_large_letters(make):
    for picture in levels(Graph(make(), "the test"), True)[:5]:
        assert len(picture.cards) <= 60
        svg = picture.svg()
        assert min(map(float, re.findall(r'font-size="([\d.]+)"', svg))) >= 12
        assert Reader(svg).area.width <= 1.02 * ROOM


@pytest.mark.parametrize("make", [chain, lambda: deep(40)])
def test_a_long_chain_is_whole_on_a_sheet_of_paper(make):
    whole = Reader(tg.draw(make()).svg).area
    assert 1 / 3 < whole.width / whole.height < 3


def test_a_wire_has_a_head_at_each_end_that_a_gradient_passes():
    w = tg.Tensor([1.0, 2.0], requires_grad=True, name="w")
    picture = Reader(tg.draw((np.sin(w) * [3.0, 4.0]).sum()).svg)
    for n, wire in picture.wires.items():
        heads = {path.get("class"): path.get("d") for path in wire.findall(f"{SVG}path")[1:]}
        starts = {kind: tuple(map(float, re.findall(r"-?[\d.]+", path)[:2])) for kind, path in heads.items()}
        line = picture.line(n)
        assert starts["head"] == pytest.approx(line[-1])
        assert ("tail" in starts) == ("still" not in wire.get("class"))
        if "tail" in starts:
            assert starts["tail"] == pytest.approx(line[0])
