"""The live page's verdicts are those of tg.audit, for the same numbers."""

import numpy as np
import pytest
from live import networks
from live.networks import SET_STATE, as_text
from live.training import tanh_page

import tinygrad_ce as tg
from tinygrad_ce.live.verdicts import ACTIVATIONS, audit_content
from tinygrad_ce.views import audit as audit_module

nn = tg.nn
NETWORKS = {
    "tanh, SGD": lambda: networks.network(5, nn.Tanh, 4, nn.Tanh, 2),
    "relu, Adam": lambda: networks.network(6, nn.ReLU, 5, nn.ReLU, 2, optimizer="Adam"),
    "five sigmoids, momentum": lambda: networks.network(*[3, nn.Sigmoid] * 5, 1, loss="sigmoid", optimizer="momentum"),
    "softplus, RMSprop, mse": lambda: networks.network(4, nn.Softplus, 1, loss="mse", optimizer="RMSprop"),
    "relu, five rows, AdaGrad": lambda: networks.network(6, nn.ReLU, 2, optimizer="AdaGrad", rows=5),
    "linear, AdamW": lambda: networks.network(2, optimizer="AdamW"),
}


def states(arrays):
    """By name, parameters in which a network may find itself."""

    def changed(array, k, value):
        array = array.copy()
        array.flat[k] = value
        return array

    weights = [array.ndim == 2 for array in arrays]
    yield "fresh", arrays, 1
    yield "times 8", [8 * a for a in arrays], 1
    yield "times 300", [300 * a for a in arrays], 1
    yield "zeros", [0 * a for a in arrays], 1
    yield "small", [1e-3 * a for a in arrays], 1
    yield "tiny first", [1e-9 * a if k == 0 else a for k, a in enumerate(arrays)], 1
    yield "exploding", [a if k == len(arrays) - 2 else 40 * a for k, a in enumerate(arrays)], 1
    yield "large last", [1e5 * a if k == len(arrays) - 2 else a for k, a in enumerate(arrays)], 1
    yield "negative biases", [a if w else a - 50 for a, w in zip(arrays, weights, strict=True)], 1
    yield "positive biases", [a if w else a + 50 for a, w in zip(arrays, weights, strict=True)], 1
    yield "NaN", [changed(arrays[0], 1, np.nan), *arrays[1:]], 1
    yield "infinite bias", [*arrays[:-1], changed(arrays[-1], 0, np.inf)], 1
    yield "overflowing", [1e200 * a for a in arrays], 1
    yield "huge rate", arrays, 1e4
    yield "tiny rate", arrays, 1e-7


FIGURES = {
    "saturated": "saturated", "dead": "dead", "gradient": "gradient", "perWeight": "gradient_per_weight",
    "update": "update_per_weight", "share": "share",
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_verdicts_and_figures_are_those_of_audit(name, opened_live):
    network = NETWORKS[name]()
    page = opened_live(network.page())
    rate, found = network.optimizer.lr, set()
    fresh = network.parameters()
    for state, arrays, factor in states(fresh):
        network.set_parameters(arrays)
        network.optimizer.lr = rate * factor
        with np.errstate(all="ignore"):
            expected = tg.audit(network.model, network.step_loss(), network.optimizer)
        page.evaluate("(rate) => { session.settings.rate = rate; }", rate * factor)
        page.evaluate(SET_STATE, {n: as_text(a) for n, a in zip(network.names, arrays, strict=True)})
        shown = page.evaluate("audited()")
        assert shown["verdict"] == expected.verdict, state
        for ours, theirs in zip(shown["rows"], expected.rows, strict=True):
            assert (ours["path"], ours["layer"]) == (theirs.path, theirs.layer)
            assert (ours["verdict"], ours["reason"]) == (theirs.verdict, theirs.reason), state
            assert ours["rows"] == theirs.rows
            if theirs.verdict == "not finite":
                continue  # what is flat or dead among numbers that are none is no figure
            for figure, field in FIGURES.items():
                want = getattr(theirs, field)
                if want is None:
                    assert ours[figure] is None, (state, figure)
                else:
                    np.testing.assert_allclose(ours[figure], want, rtol=1e-9, err_msg=f"{state}: {figure}")
        found |= {row.verdict for row in expected.rows}
    assert len(found) > 2


def test_the_words_of_a_verdict_stand_on_the_page_with_its_cure(opened_live):
    network = networks.network(5, nn.Tanh, 2)
    page = opened_live(network.page())
    network.set_parameters([300 * array for array in network.parameters()])
    page.evaluate(SET_STATE, {n: as_text(a) for n, a in zip(network.names, network.parameters(), strict=True)})
    page.evaluate("redraw()")
    expected = tg.audit(network.model, network.step_loss(), network.optimizer)
    item = page.locator(".verdicts li").nth(1)
    assert item.locator("summary").inner_text() == "layers.1 Tanh(): ⚠ saturated"
    assert f"saturated {expected.rows[1].saturated:.0f} % · dead {expected.rows[1].dead:.0f} %" in item.inner_text()
    assert not item.locator("p").is_visible()
    item.locator("summary").click()
    assert item.locator("p").inner_text() == audit_module.CURES["saturated"]
    whole = page.locator(".whole-verdict")
    assert whole.get_attribute("role") == "status"
    assert whole.inner_text() == f"In all: {expected.verdict}"


def test_thresholds_are_those_of_audit_and_curves_those_of_the_activations():
    content = audit_content()
    assert content["cures"] == audit_module.CURES
    assert content["thresholds"]["exploding"] == audit_module.verdicts.EXPLODING
    slopes = {"Tanh": 1.0, "Sigmoid": 0.25, "ReLU": 1.0, "Softplus": 1.0}
    assert {kind.__name__ for kind in ACTIVATIONS} == set(slopes)
    for name, largest in slopes.items():
        assert content["curves"][name]["largest"] == pytest.approx(largest, rel=1e-6)
        assert content["curves"][name]["both_sides"] == (name in ("Tanh", "Sigmoid"))


class Bare(nn.Module):
    """A model that has no layer of the package."""

    def __init__(self):
        self.W = nn.Dense(2, 2).W

    def forward(self, x):
        return x @ self.W


def test_a_model_without_layers_trains_too_and_a_nan_in_it_is_said(opened_live):
    tg.seed(3)
    model = Bare()
    network = networks.Network(
        model, networks.LOSSES["softmax"], tg.optim.SGD(model.parameters(), lr=0.3), np.eye(2), np.array([0, 1])
    )
    page = opened_live(network.page())
    page.evaluate("trainStep(); redraw()")
    network.step_loss().backward()
    network.optimizer.step()
    np.testing.assert_allclose(page.evaluate("[...session.step.state.W]"), model.W.data.ravel(), rtol=1e-12)
    assert page.evaluate("audited().verdict") == "fine"
    page.evaluate("setWeight('W', 0, NaN)")
    assert page.evaluate("audited().verdict") == "not finite: the loss itself"


def test_a_layer_is_written_with_the_widths_that_were_chosen(opened_live):
    page = opened_live(tanh_page())
    page.evaluate("choose({ hidden: [3, 5] })")
    assert "Dense(2, 3)" in page.locator("#verdicts-panel").inner_text()
    page.evaluate("choose({ hidden: [6, 5] })")
    words = page.locator("#verdicts-panel").inner_text()
    assert "Dense(2, 6)" in words
    assert "Dense(6, 5)" in words
