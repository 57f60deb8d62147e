"""Where a training shows its progress: a terminal, a file, a notebook of Jupyter's or marimo's."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.train import progress

X, Y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2


def fit(epochs=50, **options):
    model = tg.nn.Sequential(tg.nn.Dense(2, 2))
    trainer = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.1))
    return trainer.fit(X, Y, epochs=epochs, progress=True, seed=0, compile=False, **options)


class Output:
    """What a notebook shows of one display: each new content takes the place of the last."""

    def __init__(self, content):
        self.contents = [content]

    def update(self, content, raw):
        assert raw
        self.contents.append(content)


@pytest.fixture
def outputs(monkeypatch):
    """All outputs of a notebook of Jupyter's."""
    outputs = []

    def display(content, raw, display_id):
        assert raw
        assert display_id
        outputs.append(Output(content))
        return outputs[-1]

    shell = SimpleNamespace(kernel="a kernel", compile=None)
    ipython = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return outputs


def test_a_file_gets_one_line(capsys):
    fit()
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (1, "")
    assert "50/50" in out


def test_jupyter_gets_one_output_that_is_replaced(outputs, capsys):
    history = fit()
    (output,) = outputs
    last = f"epoch 50/50  loss {history['loss'][-1]:.4f}  accuracy {history['accuracy'][-1]:.4f}"
    assert output.contents[0]["text/plain"] == "epoch 0/50"
    assert output.contents[-1]["text/plain"] == last
    assert last in output.contents[-1]["text/html"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("pause", "updates"), [(0, 50 + 1), (1e9, 1)])
def test_jupyter_is_not_told_of_each_short_epoch(outputs, monkeypatch, pause, updates):
    monkeypatch.setattr(progress, "PAUSE", pause)
    fit()
    assert len(outputs[0].contents) == 1 + updates


def test_an_error_leaves_the_last_figures(outputs):
    def fail(trainer, row):
        raise RuntimeError("a callback fails")

    with pytest.raises(RuntimeError, match="a callback fails"):
        fit(callbacks=[fail])
    assert outputs[0].contents[-1]["text/plain"].startswith("epoch 1/50  loss ")


def test_marimo_shows_its_own_bar(monkeypatch, capsys):
    said = []

    class Bar:
        def __init__(self, total, title, **options):
            said.append((total, title))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            said.append("end")

        def update(self, subtitle):
            said.append(subtitle)

    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    marimo = SimpleNamespace(running_in_notebook=lambda: True, status=SimpleNamespace(progress_bar=Bar))
    monkeypatch.setitem(sys.modules, "marimo", marimo)
    history = fit(epochs=2)
    assert said[0] == (2, "epochs")
    assert said[2:] == [f"loss {history['loss'][1]:.4f}  accuracy {history['accuracy'][1]:.4f}", "end"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("outputs")
def test_a_remark_is_no_error_in_a_notebook(capsys):
    progress.announce("compiled")
    assert capsys.readouterr() == ("compiled\n", "")


def test_a_remark_elsewhere_is_beside_the_results(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    progress.announce("compiled")
    assert capsys.readouterr() == ("", "compiled\n")
