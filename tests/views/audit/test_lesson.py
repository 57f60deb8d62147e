"""The table of verdicts, the table that fits a screen, and the sentence at its top."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from views.audit.networks import X, Y, audited, loss_of, network

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce.report.text import as_text
from tinygrad_ce.views.audit import VERDICTS, audit
from tinygrad_ce.views.audit.findings import folded

ROOT = Path(__file__).parents[3]


def test_the_docs_print_the_table_of_verdicts():
    text = (ROOT / "docs/reference/views.md").read_text()
    for verdict in VERDICTS:
        cells = (verdict.name, verdict.threshold, verdict.meaning, verdict.source)
        assert f"| {' | '.join(cells)} |" in text
    assert len(re.findall(r"(?m)^\| (?!verdict|--)", text)) == len(VERDICTS)


def test_every_verdict_says_when_it_holds_why_and_where_that_is_from():
    for verdict in VERDICTS:
        assert all((verdict.name, verdict.threshold, verdict.meaning, verdict.source))
    assert len({verdict.name for verdict in VERDICTS}) == len(VERDICTS)


DEEP = {
    "sigmoids": (nn.Sigmoid, 20, {}),
    "a hundred tanhs": (nn.Tanh, 100, {}),
    "exploding": (nn.ReLU, 40, {"scale": 3}),
    "dead": (nn.ReLU, 60, {"bias": -30}),
    "every size another": (nn.ReLU, 0, {"sizes": (6, *range(5, 75), 3)}),
}


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("lr", [None, 0.1])
def test_a_deep_model_gives_one_table_that_fits_a_screen(name, lr):
    activation, depth, options = DEEP[name]
    found = audited(network(activation, **{"sizes": (6, *[16] * depth, 3), **options}), lr)
    lines = as_text(found.parts, 80).splitlines()
    assert len(lines) <= 28  # with three illnesses and their cures
    assert next(n for n, line in enumerate(lines) if line.startswith("layer ")) <= 7
    assert max(map(len, lines)) <= 80
    assert sum(len(group) for group in folded(found.rows)) == len(found.rows)


def test_layers_that_are_alike_are_folded_with_their_smallest_and_largest_figures():
    found = audited(network(nn.Tanh, (6, *[16] * 20, 3)), 0.1)
    text = as_text(found.parts, 100)
    shares = [row.share for row in found.rows[2:40:2]]
    assert re.search(r"layers\.2 to layers\.38: ", text)
    assert re.search(r"19 x Dense\(16, 16\) ", text)
    assert f"to {max(shares):.2g} " in text
    one_is_dead = network(nn.ReLU, (6, *[16] * 20, 3), init="he_normal")
    one_is_dead[8].b.data -= 30
    for layer in one_is_dead[10:-1:2]:
        layer.W.data = 0.22 * abs(layer.W.data)  # those behind it are alive, though all rows are alike
        layer.b.data += 1
    groups = [[row.path for row in group] for group in folded(audited(one_is_dead).rows)]
    assert ["layers.9"] in groups
    assert ["layers.1", "layers.3", "layers.5", "layers.7"] in groups


def test_a_sigmoid_divides_the_gradient_by_about_four():
    tg.seed(0)
    sizes = [(6, 16), *pairwise([16] * 11)]
    layers = [layer for n_in, n_out in sizes for layer in (nn.Dense(n_in, n_out), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Dense(16, 3))
    found = audited(model)
    gradients, z, x = [], None, tg.Tensor(X)
    for layer in model.layers:
        x = layer(x)
        if isinstance(layer, nn.Sigmoid):
            gradients.append((z, x))
        z = x
    pairs = tg.gradients(tg.losses.softmax_cross_entropy(x, Y), [tensor for pair in gradients for tensor in pair])
    norms = np.array([np.linalg.norm(g) for g in pairs]).reshape(-1, 2)  # before and after each sigmoid
    factor = np.exp(np.log(norms[:, 1] / norms[:, 0]).mean())
    assert 4 < factor < 5
    assert f"On the gradient's way back each Sigmoid divides it by {factor:.3g}" in found.lesson
    assert found.lesson.endswith(f": after 11 of them {found.rows[0].share:.2g} of it is left.")
    for row, (before, after) in zip(found.rows[1::2], norms, strict=True):
        assert row.factor == pytest.approx(before / after, rel=1e-9)
    assert found.lesson in " ".join(str(found).split())


def test_factors_count_what_a_layer_hands_back_and_no_shortcut():
    class Residual(nn.Module):
        def __init__(self):
            tg.seed(0)
            self.first, self.inner, self.last = nn.Dense(6, 8), nn.Dense(8, 8), nn.Dense(8, 3)

        def forward(self, x):
            h = self.first(x)
            return self.last(self.inner(h) + h)

    model = Residual()
    rows = {row.path: row for row in audited(model).rows}
    h = model.first(X)
    sum_of_both = model.inner(h) + h
    (g,) = tg.gradients(tg.losses.softmax_cross_entropy(model.last(sum_of_both), Y), [sum_of_both])
    assert rows["inner"].factor == pytest.approx(np.linalg.norm(g @ model.inner.W.data.T) / np.linalg.norm(g))
    assert rows["first"].factor is None  # its inputs are data


def test_each_illness_has_its_sentence():
    dead = audited(network(nn.ReLU, bias=-30))
    z = X @ network().layers[0].W.data - 30
    inputs = f"are all negative there ({z.min():.3g} to {z.max():.3g})"
    assert dead.lesson == f"layers.1's ReLU is 100 % dead: its inputs {inputs}."
    saturated = audited(network(nn.Sigmoid, scale=30))
    sentence = r"layers\.1's Sigmoid is \d\d\.\d % saturated: its inputs lie between -\S+ and \S+\."
    assert re.fullmatch(sentence, saturated.lesson)
    update = audited(network(), 5.0)
    ratio = update.rows[0].update_per_weight
    assert f"by {ratio:.3g} of its size, {ratio * 1000:.3g} times what is healthy" in update.lesson
    exploding = audited(network(nn.ReLU, (6, *[64] * 10, 3), scale=6))
    assert re.search(r"each Dense multiplies it by \S+ and each ReLU divides it", exploding.lesson)
    assert "times as much arrives" in exploding.lesson
    model = network(nn.Tanh, (6, 8, 8, 3))
    model.layers[2].W.data[1, 1] = np.nan
    assert audited(model).lesson == "It begins in layers.2: its parameters."
    assert audited(network(init="zeros")).lesson == "It begins in layers.0: it is 0."
    assert audited(network()).lesson == ""


def test_a_share_is_100_percent_only_where_it_is_all():
    model = network(nn.ReLU, (6, 250, 3), bias=-30)
    model.layers[0].b.data[-1] = 30  # one is alive
    found = audited(model)
    assert found.rows[1].dead == pytest.approx(99.6)
    assert "layers.1's ReLU is 99.6 % dead" in found.lesson
    assert re.search(r"layers\.1  ReLU\(\) +99\.6 % ", str(found))
    assert re.search(r"layers\.1  ReLU\(\) +100 % ", str(audited(network(nn.ReLU, (6, 250, 3), bias=-30))))


def test_details_have_the_figures_that_the_table_leaves_out():
    found = audited(network(nn.Tanh, (6, 8, 8, 3)), 0.1)
    short, details = str(found), str(found.details)
    for row in found.rows:
        assert f"{row.spread:.2g}" in details
        assert row.outputs.rstrip() in details
        assert row.outputs not in short
    assert "gradient\n" not in short
    empty = audit(model := network(), loss_of(model))
    assert "update" not in str(empty.details)


class Block(nn.Module):
    def __init__(self):
        self.first, self.relu, self.second = nn.Dense(8, 8), nn.ReLU(), nn.Dense(8, 8)

    def forward(self, x):
        return x + self.second(self.relu(self.first(x)))


class Recurrent(nn.Module):
    def __init__(self, scale):
        self.first, self.again, self.last = nn.Dense(6, 8), nn.Dense(8, 8), nn.Dense(8, 3)
        self.again.W.data *= scale

    def forward(self, x):
        h = self.first(x)
        for _ in range(15):
            h = self.again(h)
        return self.last(h)


def test_factors_are_told_only_if_they_make_what_arrives():
    """Beside a shortcut, or in a layer that is used again and again, no factor says what each layer does."""
    tg.seed(0)
    residual = audited(nn.Sequential(nn.Dense(6, 8), *[Block() for _ in range(10)], nn.Dense(8, 3)))
    assert (residual.verdict, residual.lesson) == ("fine", "")
    exploding = audited(Recurrent(6.0))
    share = exploding.rows[0].share
    assert share > 1e3
    assert exploding.lesson.startswith("The gradient has several ways back to first: ")
    assert exploding.lesson.endswith(f": {share:.2g} times as much arrives.")


@pytest.mark.parametrize("depth", [3, 30])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.ReLU, nn.SiLU])
@pytest.mark.parametrize("normalised", [False, True])
def test_the_factors_of_the_sentence_multiply_to_what_arrives(depth, activation, normalised):
    tg.seed(0)
    layers = []
    for n_in, n_out in pairwise([6, *[16] * depth]):
        layers += [nn.Dense(n_in, n_out), *([nn.BatchNorm(n_out)] if normalised else []), activation()]
    model = nn.Sequential(*layers, nn.Dense(16, 3), nn.Sigmoid())  # behind the last layer with parameters
    found = audit(model, tg.losses.mse(model(X), np.eye(3)[Y]))
    way = re.search(r"On the gradient's way back (.*): after (\d+) (\S+)", found.lesson)
    factors = re.findall(r"each (\w+) (multiplies|divides) it by ([\d.e+-]+)", way[1]) if way else []
    if factors:
        end = min((row for row in found.rows if row.share and row.gradient), key=lambda row: row.share)
        end = end if "vanishing" in found.illnesses else found.rows[0]
        passed = [row for row in found.rows[:-1] if row.order > end.order]
        named = [row for row in passed if row.layer.split("(")[0] == factors[0][0]]
        assert int(way[2]) == len(passed if way[3] == "layers" else named)
        power = {"multiplies": 1, "divides": -1}
        said = sum(
            power[verb] * np.log(float(factor)) * sum(row.layer.split("(")[0] == kind for row in passed)
            for kind, verb, factor in factors
        )
        assert abs(said - np.log(end.share)) < (1 + normalised) * np.log(1.25) + 0.005 * len(passed)  # kinds not named


def test_a_loss_that_gives_back_0_is_the_cause_itself():
    model = network()
    model.layers[2].b.data[0] = 800
    found = audited(model, 0.1, y=np.zeros(40, int))
    assert (found.loss, found.verdict) == (0, "no gradient: layers.0, layers.2")
    assert found.lesson == "It begins in layers.0: the loss gives back 0."


def test_a_layer_in_many_places_names_a_few_and_says_what_it_is():
    tg.seed(0)
    shared = nn.Dense(16, 16)
    layers = [layer for _ in range(20) for layer in (shared, nn.Tanh())]
    found = audited(nn.Sequential(nn.Dense(6, 16), *layers, nn.Dense(16, 3)), 0.1)
    row = next(row for row in found.rows if row.uses == 20)
    assert row.name == "layers.1, layers.3, layers.5 and 17 more  Dense(16, 16) x20"
    text = " ".join(as_text(found.parts, 80).split())
    assert "layers.1, layers.3, layers.5 and 17 more" in text
    assert "x20" in text
    assert "layers.33" not in text
