"""The model and the program that leave the page go on in Python where the page stood."""

import re

import numpy as np
import pytest
from live.training import STATE, rows, tanh_page

import tinygrad_ce as tg

PREDICTIONS = "(x) => [...evaluate(Float64Array.from(x))[session.network.output]]"
NETWORKS = {
    "one's own": "trainSteps(30)",
    "another, with Adam": "chooseNetwork({ activation: 'relu', hidden: [3, 5] });"
    "choose({ optimizer: 'Adam', rate: 0.02 }); trainSteps(30)",
    "two probabilities, with momentum": "chooseNetwork({ loss: 'squared error', hidden: [6] });"
    "choose({ optimizer: 'momentum' }); trainSteps(30)",
    "one logit": "chooseNetwork({ loss: 'binary cross-entropy', hidden: [] });"
    "choose({ optimizer: 'RMSprop', rate: 0.01 }); trainSteps(30)",
}


@pytest.fixture
def page(opened_live):
    return opened_live(tanh_page())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_downloaded_model_predicts_the_same(page, tmp_path, name):
    page.evaluate(NETWORKS[name])
    page.locator("#keep > summary").click()
    with page.expect_download() as download:
        page.locator("#download-model").click()
    path = tmp_path / "model.safetensors"
    download.value.save_as(path)
    assert download.value.suggested_filename == "model.safetensors"
    X = rows()[1].X
    loaded = tg.load(path)
    np.testing.assert_allclose(
        np.ravel(loaded.model.eval()(tg.Tensor(X)).data), page.evaluate(PREDICTIONS, X.ravel().tolist()), rtol=1e-12
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_the_python_program_goes_on_as_the_page_does(page, capsys, name):
    page.evaluate(NETWORKS[name] + "; movePoint(3, 0, 0.1 + 0.2); setWeight('b0', 0, 1 / 3)")
    program = page.evaluate("asPython()")
    state, arrays = page.evaluate(STATE), page.evaluate("session.network.saved.arrays")
    before, fit = re.split(r"^(?=trainer\.fit)", program, flags=re.MULTILINE)
    names = {}
    exec(compile(before, "goes_on.py", "exec"), names)  # it is the page's own text
    for path, array in names["model"].state().items():
        assert array.ravel().tolist() == state[arrays[path]], path
    loss = page.evaluate("session.step.outputs.loss[0]")
    assert float(capsys.readouterr().out.split()[-1]) == pytest.approx(loss, rel=1e-12)
    exec(compile(fit, "goes_on.py", "exec"), names)
    page.evaluate("trainSteps(20)")
    state = page.evaluate(STATE)
    for path, array in names["model"].state().items():
        np.testing.assert_allclose(array.ravel(), state[arrays[path]], rtol=1e-8, atol=1e-10)


def test_the_program_says_bits_that_python_reads_back(page):
    numbers = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1e21, 1e-7, np.inf, -np.inf, np.nan, 1 / 3]
    text = page.evaluate("(numbers) => pythonArray(Float64Array.from(numbers), [5, 2])", numbers)
    array = eval(text, {"np": np, "inf": np.inf, "nan": np.nan})
    assert array.tobytes() == np.array(numbers).tobytes()
    assert array.shape == (5, 2)
