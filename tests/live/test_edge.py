"""One weight on the live page: its gradient as a sum over rows, as a finite difference, and what the update will do."""

import re

import numpy as np
import pytest
from live import networks

import tinygrad_ce as tg

nn = tg.nn
NETWORKS = {
    "tanh": lambda: networks.network(4, nn.Tanh, 2),
    "sigmoid, BCE": lambda: networks.network(3, nn.Sigmoid, 3, nn.Sigmoid, 1, loss="sigmoid", optimizer="RMSprop"),
    "softplus, mse": lambda: networks.network(3, nn.Softplus, 1, loss="mse", optimizer="AdamW"),
    "relu": lambda: networks.network(4, nn.ReLU, 2, optimizer="Adam"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_of_every_weight_is_the_sum_of_its_terms_and_the_finite_difference(name, opened_live):
    network = NETWORKS[name]()
    page = opened_live(network.page())
    entries = "Object.entries({ ...session.step.state, ...session.step.buffers })"
    state = f"JSON.stringify({entries}.map(([name, array]) => [name, [...array]]))"
    before = page.evaluate(state)
    network.step_loss().backward()
    for own, parameter in zip(network.names, network.model.parameters(), strict=True):
        for index, gradient in enumerate(parameter.grad.ravel().tolist()):
            terms, difference = page.evaluate("([n, k]) => [termsOf(n, k), finiteDifference(n, k).slope]", [own, index])
            assert [term["row"] for term in terms] == [*range(len(network.x))]
            assert sum(term["term"] for term in terms) == pytest.approx(gradient, rel=1e-11, abs=1e-16)
            for term in terms[:3]:
                if term["factors"]:
                    assert np.prod(term["factors"]) == term["term"]
            assert difference == pytest.approx(gradient, rel=1e-6, abs=5e-11), (own, index)
    assert page.evaluate(state) == before


def test_the_rows_that_push_most_stand_first_and_choose_the_row(opened_live):
    network = networks.network(4, nn.Tanh, 2)
    page = opened_live(network.page())
    network.step_loss().backward()
    page.evaluate("session.selected = { name: 'W2', index: 1 }; redraw()")
    with tg.no_grad():
        hidden = np.asarray(network.model.layers[1](network.model.layers[0](network.x)).data)
    z = network.model(network.x).data
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    d_z = (p - np.eye(2)[network.y]) / len(z)
    terms = hidden[:, 0] * d_z[:, 1]
    order = np.argsort(-np.abs(terms))
    shown = [text for text in page.locator("#edge-panel .term").all_inner_texts() if text]
    for text, row in zip(shown, order[:3], strict=True):
        assert text == f"row {row}: {hidden[row, 0]:.4g} × {d_z[row, 1]:.4g} = {terms[row]:.4g}"
    rest = terms.sum() - terms[order[:3]].sum()
    assert f"… 9 more, {rest:.4g} together" in page.locator("#edge-panel").inner_text()
    page.locator("#edge-panel .term").nth(1).click()
    assert page.evaluate("session.row") == order[1]
    assert page.locator("#edge-panel .term").nth(1).get_attribute("aria-pressed") == "true"
    page.evaluate(f"session.row = {order[-1]}; redraw()")
    assert page.locator("#edge-panel .term").nth(3).inner_text().startswith(f"row {order[-1]}: ")


@pytest.mark.parametrize("optimizer", networks.OPTIMIZERS)
def test_what_the_next_update_will_do_is_what_it_does(optimizer, opened_live):
    network = networks.network(3, nn.Tanh, 2, optimizer=optimizer)
    network.step_loss().backward()
    network.optimizer.step()
    network.optimizer.zero_grad()  # a memory that is not empty
    page = opened_live(network.page())
    before = network.parameters()
    network.step_loss().backward()
    network.optimizer.step()
    for own, old, new in zip(network.names, before, network.parameters(), strict=True):
        page.evaluate("(name) => { session.selected = { name, index: 1 }; redraw(); }", own)
        words = page.locator("#edge-panel").inner_text()
        assert f"{old.flat[1]:.4g} → {new.flat[1]:.4g}" in words
        result = page.locator("#edge-panel .cell-formula strong").last.inner_text()
        assert float(result) == pytest.approx(new.flat[1], rel=5.1e-4, abs=1e-12)
    page.evaluate("trainStep(); redraw()")
    assert page.evaluate("session.step.state.W0[1]") == pytest.approx(network.parameters()[0].flat[1], rel=1e-12)


def test_a_weight_is_typed_and_what_is_no_number_gets_a_word_beside_it(opened_live):
    network = networks.network(3, nn.Tanh, 2)
    page = opened_live(network.page())
    page.evaluate("session.selected = { name: 'W0', index: 2 }; redraw()")
    field = page.locator("#edge-value")
    field.fill("half")
    field.press("Enter")
    assert "type a number" in page.locator("#edge-word").inner_text()
    assert field.get_attribute("aria-invalid") == "true"
    arrays = network.parameters()
    assert page.evaluate("session.step.state.W0[2]") == arrays[0].flat[2]
    field.fill("0.5")
    field.press("Enter")
    assert page.locator("#edge-word").inner_text() == ""
    arrays[0].flat[2] = 0.5
    network.set_parameters(arrays)
    assert page.evaluate("session.step.outputs.loss[0]") == pytest.approx(network.step_loss().item(), rel=1e-12)


def test_the_finite_difference_is_written_beside_the_gradient(opened_live):
    network = networks.network(3, nn.Tanh, 2)
    page = opened_live(network.page())
    page.evaluate("session.selected = { name: 'b2', index: 1 }; redraw()")
    page.get_by_role("button", name="finite difference").click()
    words = page.locator("#edge-panel").inner_text()
    slope, gradient = re.search(r"2e-05 = (\S+), .*the gradient is (\S+)\.", words.replace("\n", " ")).groups()
    assert float(slope) == pytest.approx(float(gradient), rel=2e-6)
    page.evaluate("setWeight('b2', 1, 0.3)")
    assert "the gradient is" not in page.locator("#edge-panel").inner_text()  # of another weight than it is now


def test_a_frozen_weight_says_so(opened_live):
    page = opened_live(networks.network(3, nn.Tanh, 2).page())
    page.evaluate("session.selected = { name: 'W0', index: 2 }; freeze('W0', 2)")
    assert "It is frozen at" in page.locator("#edge-panel").inner_text()


def test_every_line_of_every_network_that_can_be_chosen_has_its_formula(opened_live):
    page = opened_live(networks.network(3, nn.Tanh, 2).page())
    missing = page.evaluate(
        """() => {
          const missing = [];
          for (const key of Object.keys(page.networks)) {
            const [activation, loss, depth] = key.split("/");
            if (key === "own" || key.startsWith("moment")) continue;
            for (const optimizer of page.offered.optimizer) {
              choose({ activation, loss, hidden: Array(Number(depth)).fill(3), optimizer });
              const formulas = (n) => printed.formulaOf(n) ?? printed.bodyOf(n)?.every(({ part }) => part);
              session.network.lines.forEach(({ text }, n) => {
                if (!formulas(n)) missing.push(`${key}, ${optimizer}: ${text}`);
              });
              for (const { name, bias } of session.network.weights) {
                if (!termsOf(name, 0) || !termsOf(bias, 0)) missing.push(`${key}: no terms of ${name}`);
              }
            }
          }
          return missing;
        }"""
    )
    assert missing == []
