"""The audit as text."""

import io
import sys

import numpy as np
import pytest
from views.audit.networks import KINDS, PLANTED, X, Y, audited, network, trained

from tinygrad_ce import nn
from tinygrad_ce.report import words as text
from tinygrad_ce.views import Watch

rng = np.random.default_rng(7)


@pytest.mark.parametrize("illness", PLANTED)
def test_tables_fit_a_hundred_columns(illness):
    make, lr, _ = PLANTED[illness]
    found = audited(make(), lr)
    assert str(found) == repr(found)
    assert max(map(len, str(found).splitlines())) <= 100
    assert max(map(len, str(found.details).splitlines())) <= 100
    assert all(row.path in str(found.details) for row in found.rows)
    assert {row.verdict for row in found.rows} <= set(KINDS)


class Greek(nn.Dense):
    def __init__(self):
        super().__init__(6, 3)

    def __repr__(self):
        return "β-layer"


def test_a_terminal_that_knows_ascii_only_gets_ascii(monkeypatch):
    found = audited(Greek(), 0.1)
    watch = Watch(X, Y)
    trained(watch, model=Greek())
    assert "█" in str(found.details)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    printed, table = str(found) + str(found.details), str(watch)
    monkeypatch.undo()
    assert printed.isascii()
    assert table.isascii()
    assert "\\u03b2-layer" in printed
    assert "@" in printed


def test_without_an_optimizer_there_is_no_column_for_updates():
    without, given_one = str(audited(network())), str(audited(network(), 0.1))
    assert "update\n" not in without
    assert "tg.audit(model, loss, optimizer)" in without
    assert "tg.audit(model, loss, optimizer)" not in given_one
    titles = [next(line for line in text.splitlines() if line.startswith("layer ")) for text in (given_one, without)]
    assert len(titles[0]) > len(titles[1])


class Named(nn.Module):
    def __init__(self):
        self.parts = {
            "<script>alert(1)</script>": nn.Dense(6, 3),
            "[red]brackets[/red]": nn.Tanh(),
            "x" * 90: nn.Tanh(),
        }

    def forward(self, x):
        for part in self.parts.values():
            x = part(x)
        return x

    def __repr__(self):
        return "<b>Named</b>"


def test_names_are_escaped_in_html_and_not_read_as_markup():
    found = audited(Named())
    html = found._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "[red]brackets[/red]" in str(found)
    assert str(found.details).count("[red]brackets[/red]") == 2  # in the tables of both directions
    assert max(map(len, str(found).splitlines())) <= 100
    watch = Watch(X, Y)
    trained(watch, model=Named())
    assert "<script>" not in watch._repr_html_()
    assert max(map(len, watch.table().splitlines())) <= 100
    watch.plot()


def test_html_has_every_figure():
    found = audited(network(scale=30), 0.1)
    html, details = found._repr_html_(), found.details._repr_html_()
    assert html.count("<tr>") == 1 + len(found.rows)
    assert "<b>saturated</b>" in html
    assert f"{found.rows[0].update_per_weight:.2g}" in html
    assert f"{found.rows[0].gradient:.2g}" in details
    assert found.rows[1].outputs.replace(" ", "\u00a0") in details


def test_histograms_keep_their_spaces_in_html():
    """Also where styles are taken away, as on GitHub: a space that does not break is never left out."""
    found = audited(network(scale=30), 0.1)
    row = next(row for row in found.rows if " " in row.outputs)
    assert row.outputs.replace(" ", "\u00a0") in found.details._repr_html_()
    assert row.outputs not in found.details._repr_html_()
    assert "\u00a0" not in str(found.details)


def test_the_histogram_counts_the_outputs():
    row = audited(network()).rows[0]
    z = X @ network().layers[0].W.data
    counts, _ = np.histogram(z, bins=12)
    assert [" ▁▂▃▄▅▆▇█".index(bar) for bar in row.outputs] == np.ceil(counts / counts.max() * 8).tolist()


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1.0, 1e200, 1.7e308])
@pytest.mark.parametrize("values", [[-1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
def test_histograms_of_numbers_of_any_size(values, size):
    assert text.histogram(np.array(values) * size, bins=2) == "▄█"
    assert text.histogram(np.nextafter(np.array([1.0, 1.0]) * size, [0, 2e308]), bins=2) == "██"
