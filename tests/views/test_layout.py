"""Where things stand in a picture: nothing overlaps, boxes hold what is theirs, wires run on and around the cards."""

from itertools import combinations, pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pictures import NETWORKS, SVG, Area, Reader, area, network, read, text_area

import tinygrad_ce as tg
from tinygrad_ce.views.columns import Box, Wire
from tinygrad_ce.views.layout import arrange

# ---- the layout by itself: boxes in groups in groups, and wires from earlier ones to later ones

SIZES = st.tuples(st.integers(40, 160), st.integers(40, 160))  # as of cards


@st.composite
def plans(draw):
    """A group that holds all, the cards, and the wires between them.

    A group is opened and closed while cards are made, as a module is called: so no wire leaves it and comes back.
    """
    top = Box()
    cards, wires, opened = [], [], [top]
    for _ in range(draw(st.integers(1, 12))):
        move = draw(st.sampled_from(("open", "close", "stay", "stay")))
        if move == "open" and len(opened) < 4:
            group = Box(least=draw(st.integers(0, 200)))
            opened[-1].children.append(group)
            opened.append(group)
        elif move == "close" and len(opened) > 1 and opened[-1].children:
            opened.pop()
        card = Box(*map(float, draw(SIZES)))
        opened[-1].children.append(card)
        for source in draw(st.lists(st.sampled_from(cards), max_size=3)) if cards else ():
            wires.append(Wire(source, card, draw(st.integers(0, 70))))
        for _ in range(draw(st.integers(0, 3))):
            above = Box(*map(float, draw(SIZES)))
            card.above.append(above)
            wires.append(Wire(above, card, draw(st.integers(0, 30))))
            cards.append(above)
        cards.append(card)
    return top, cards, wires


def place(box):
    return Area(box.x, box.y, box.width, box.height)


def inside(group):
    """All cards in a group, and in those that it holds."""
    for child in group.children:
        if child.children:
            yield from inside(child)
        else:
            yield child
            yield from child.above


def all_groups(group):
    for child in group.children:
        if child.children:
            yield child
            yield from all_groups(child)


WIDTHS = st.sampled_from((inf, 900.0, 300.0))  # of a row


@settings(deadline=None, max_examples=150)
@given(plans(), WIDTHS)
def test_cards_and_groups_of_any_plan_have_their_own_place(plan, width):
    top, cards, wires = plan
    arrange(top, wires, width)
    assert {id(card) for card in inside(top)} == {id(card) for card in cards}
    for a, b in combinations(cards, 2):
        assert not place(a).meets(place(b))
    groups = list(all_groups(top))
    for group in [top, *groups]:
        own = {id(card) for card in inside(group)}
        for card in cards:
            assert place(group).holds(place(card)) == (id(card) in own)
            assert place(group).meets(place(card)) == (id(card) in own)
    for a, b in combinations(groups, 2):
        nested = any(x is b for x in all_groups(a)) or any(x is a for x in all_groups(b))
        assert place(a).meets(place(b)) == nested


@settings(deadline=None, max_examples=150)
@given(plans(), WIDTHS)
def test_wires_of_any_plan_run_on_and_around_the_cards(plan, width):
    top, cards, wires = plan
    arrange(top, wires, width)
    for wire in wires:
        (x, y), (end_x, end_y) = wire.points[0], wire.points[-1]
        source, target = place(wire.source), place(wire.target)
        down = wire.source in wire.target.above
        if down:
            assert (x, y) == (source.x + source.width / 2, source.y + source.height)
            assert end_y == target.y
            assert target.x < end_x < target.x + target.width
        else:
            assert (x, end_x) == (source.x + source.width, target.x)
            assert source.y < y < source.y + source.height
            assert target.y < end_y < target.y + target.height
        for (x, y), (next_x, next_y) in pairwise(wire.points):
            assert next_y >= y if down else next_x >= x or (next_y == y and width < inf)
            left, high, thin = min(x, next_x), min(y, next_y), 0.01
            covered = (
                Area(left - thin, high, abs(next_x - x) + 2 * thin, abs(next_y - y))
                if down
                else Area(left, high - thin, abs(next_x - x), abs(next_y - y) + 2 * thin)
            )
            for card in cards:  # a curve from here to there does not leave what it covers
                assert not place(card).meets(covered, 0)


def test_who_stands_above_is_side_by_side_and_whose_wire_leaves_stands_higher():
    below, far = Box(100, 40), Box(50, 40)
    left, right = Box(60, 30), Box(60, 80)
    below.above += [left, right]
    wires = [Wire(left, below), Wire(right, below), Wire(left, far), Wire(below, far)]
    arrange(Box(children=[below, far]), wires)
    assert left.x + left.width < right.x
    assert right.y + right.height < below.y
    height = left.y + left.height / 2
    assert height < right.y
    assert {y for x, y in wires[2].points if x <= right.x + right.width} == {height}
    assert left.y > 0


def test_a_box_below_a_wider_one_keeps_its_width_and_stands_in_its_middle():
    wide, box = Box(200, 30), Box(80, 40)
    box.above.append(wide)
    arrange(Box(children=[box]), [Wire(wide, box)])
    assert box.width == 80
    assert box.x + 40 == wide.x + 100


# ---- pictures of random networks

MANY = [("joined", 3, 1), ("joined", 5, 0), ("block in a block", 0, 1), ("double", 0, 0), ("dropout", 0, 0)]


@settings(deadline=None, max_examples=30)
@given(NETWORKS, st.sampled_from((2, 5)), st.booleans())
@example(MANY, 3, True)
def test_pictures_of_random_networks(steps, columns, with_gradients):
    with np.errstate(all="ignore"):
        loss = network(steps, columns=columns)
        if with_gradients:
            loss.backward()
        picture, graph = Reader(tg.draw(loss).svg), read(loss)
    cards_have_their_own_place(picture, graph)
    modules_hold_what_is_theirs(picture, graph)
    wires_run_on_and_around(picture, graph)
    texts_have_their_own_place(picture)


def cards_have_their_own_place(picture, graph):
    assert set(picture.cards) == set(range(len(graph.nodes)))
    for n in picture.cards:
        assert picture.area.holds(picture.card(n), 0)
    for a, b in combinations([picture.card(n) for n in picture.cards], 2):
        assert not a.meets(b)


def modules_hold_what_is_theirs(picture, graph):
    """Each call of a module has one box, with exactly the operations of that call, and what goes into those only."""
    number = {node: n for n, node in enumerate(graph.nodes)}
    calls = {}
    for node in graph.nodes:
        for call in node.modules:
            calls.setdefault(id(call), set()).add(number[node])
    held = [{n for n in picture.cards if box.holds(picture.card(n))} for box in picture.boxes()]
    operations = [{n for n in inside if graph.nodes[n].kind == "result"} for inside in held]
    assert sorted(map(sorted, operations)) == sorted(map(sorted, calls.values()))
    for box, inside in zip(picture.boxes(), held, strict=True):
        assert picture.area.holds(box, 0)
        assert {n for n in picture.cards if box.meets(picture.card(n))} == inside
        for n in inside:
            node = graph.nodes[n]
            assert node.kind == "result" or any(number[edge.target] in inside for edge in node.uses)
    for (a, in_a), (b, in_b) in combinations(zip(picture.boxes(), held, strict=True), 2):
        assert a.meets(b) == bool(in_a & in_b)
        if a.meets(b):
            assert a.holds(b) or b.holds(a)


def wires_run_on_and_around(picture, graph):
    number = {node: n for n, node in enumerate(graph.nodes)}
    edges = {n: (number[edge.source], number[edge.target]) for n, edge in enumerate(graph.edges)}
    assert set(picture.wires) == set(edges)
    boxes, cards = picture.boxes(), {n: picture.card(n) for n in picture.cards}
    for n, (source, target) in edges.items():
        line, a, b = picture.line(n), cards[source], cards[target]
        (x, y), (end_x, end_y) = line[0], line[-1]
        on_right = abs(x - a.x - a.width) < 0.15 and a.y < y < a.y + a.height
        below = abs(y - a.y - a.height) < 0.15 and a.x < x < a.x + a.width
        assert on_right or below
        if on_right:
            assert abs(end_x - b.x) < 0.15
            assert b.y < end_y < b.y + b.height
            back = [(y, next_y) for (x, y), (next_x, next_y) in pairwise(line) if next_x < x - 0.15]
            assert all(abs(y - next_y) < 0.15 for y, next_y in back), "only between two rows does a wire go to the left"
        else:
            assert abs(end_y - b.y) < 0.15
            assert b.x < end_x < b.x + b.width
            assert all(y <= next_y + 0.15 for (_, y), (_, next_y) in pairwise(line))
        foreign = [box for box in boxes if not box.holds(a) and not box.holds(b)]
        for point in line:
            assert picture.area.has(point)
            assert not any(card.has(point, 0.3) for card in cards.values()), graph.edges[n]
            assert not any(box.has(point, 0.3) for box in foreign), graph.edges[n]
        label = text_area(picture.label(n))
        assert picture.label(n).text == graph.edges[n].argument
        assert not any(card.meets(label) for card in cards.values())
    labels = [text_area(picture.label(n)) for n in edges]
    shares = [share_area(share) for n in edges if (share := picture.share(n)) is not None]
    assert len(shares) == sum(edge.share is not None for edge in graph.edges)
    assert not any(card.meets(share) for card in cards.values() for share in shares)
    assert not any(a.meets(b, 1) for a, b in combinations(labels + shares, 2))
    ends = [picture.line(n)[-1] for n in edges]
    assert len(set(ends)) == len(ends)  # also where one tensor comes twice


def share_area(share):
    """Of a number of seven letters, which a page writes there."""
    share.text = "-0.0123"
    return text_area(share)


def texts_have_their_own_place(picture):
    for n, card in picture.cards.items():
        areas = [text_area(text) for text in card.iter(f"{SVG}text")]
        areas += [area(image) for image in card.iter(f"{SVG}image")]
        for one in areas:
            assert picture.card(n).holds(one, 0), picture.said(n)
        for a, b in combinations(areas, 2):
            assert not a.meets(b, 1), picture.said(n)
    for module, box in zip(picture.modules, picture.boxes(), strict=True):
        (title,) = (text_area(text) for text in module.iter(f"{SVG}text"))
        assert box.holds(title, 0)
        assert not any(picture.card(n).meets(title) for n in picture.cards)


# ---- graphs that were looked at by eye, too


def multilayer():
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 2))
    return tg.losses.softmax_cross_entropy(model(tg.Tensor(np.ones((4, 2)), name="x")), [0, 1, 0, 1])


def diamond():
    a = tg.Tensor(2.0, requires_grad=True, name="a")
    return a * a * np.sin(a) + a


def sixty():
    a = t = tg.Tensor(2.0, requires_grad=True, name="a")
    for _ in range(15):
        t = (t * 0.9 + a) * np.sin(t)
    return t


def unrolled():
    """One layer, used again at every step: its parameters have wires to all of them."""
    tg.seed(0)
    cell, h = tg.nn.Dense(2, 2), tg.Tensor(np.ones((1, 2)), requires_grad=True, name="start")
    for _ in range(5):
        h = np.tanh(cell(h))
    return (h * h).mean() + 0.1 * (cell.W * cell.W).sum()


def joined():
    parts = [tg.Tensor(np.ones((1, 2)), requires_grad=True, name=f"part{n}") for n in range(24)]
    return (tg.ops.concatenate(*parts) * tg.ops.concatenate(*parts[::-1])).sum()


def with_long_names():
    @tg.primitive(broadcasts=True)
    def a_primitive_with_a_rather_long_name(probabilities_of_each_class, targets_of_each_row):
        return probabilities_of_each_class * targets_of_each_row

    tg.core.REGISTRY.pop("a_primitive_with_a_rather_long_name")

    @a_primitive_with_a_rather_long_name.vjp("probabilities_of_each_class")
    def rule_of_the_first(g, out, probabilities_of_each_class, targets_of_each_row):
        return g * targets_of_each_row

    @a_primitive_with_a_rather_long_name.vjp("targets_of_each_row")
    def rule_of_the_second(g, out, probabilities_of_each_class, targets_of_each_row):
        return g * probabilities_of_each_class

    x = tg.Tensor([1.0, 2.0], requires_grad=True, name="a name that is much longer than what a card can show")
    return a_primitive_with_a_rather_long_name(np.sin(x), tg.Tensor(3.0, requires_grad=True, name="y")).sum()


@pytest.mark.parametrize("make", [multilayer, diamond, sixty, unrolled, joined, with_long_names])
@pytest.mark.parametrize("after", [False, True], ids=["before backward", "after"])
def test_pictures_of_known_graphs(make, after):
    loss = make()
    if after:
        loss.backward()
    picture, graph = Reader(tg.draw(loss).svg), read(loss)
    cards_have_their_own_place(picture, graph)
    modules_hold_what_is_theirs(picture, graph)
    wires_run_on_and_around(picture, graph)
    texts_have_their_own_place(picture)


def test_a_network_is_read_from_left_to_right():
    picture, graph = Reader(tg.draw(multilayer()).svg), read(multilayer())
    left = {node.name: picture.card(n).x for n, node in enumerate(graph.nodes)}
    assert left["x"] < left["z1"] < left["h1"] < left["z2"] < left["loss"]
    top = {node.name: picture.card(n).y for n, node in enumerate(graph.nodes)}
    assert top["W0"] < top["z1"]
    assert top["b0"] < top["z1"]
    titles = [module.findtext(f"{SVG}text") for module in picture.modules]
    assert titles == ["Sequential", "Dense(2, 3)", "Tanh()", "Dense(3, 2)"]


def test_the_same_graph_gives_the_same_picture():
    loss = unrolled()
    assert tg.draw(loss).svg == tg.draw(loss).svg
