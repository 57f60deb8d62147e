"""A notebook is run, and every output looked at: no warning, figures as pictures, tables as HTML, lines as cells."""

import base64
import json
import re
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "first_notebook.ipynb"
CELLS = ["".join(c["source"]) for c in json.loads(EXAMPLE.read_text())["cells"] if c["cell_type"] == "code"]
MORE = {
    "tensor": "x",
    "model": "model",
    "watch": """watch = tg.views.Watch(test.X, test.y)
history = trainer.fit(train, epochs=2, validation=test, callbacks=[watch], compile=False)
watch""",
    "watch.plot": "watch.plot()",
    "history": "history",
    "history.plot": "history.plot()",
    "trainer": "trainer",
    "gradcheck": "tg.check.gradcheck_model(small, tg.nn.SoftmaxCrossEntropy(), train.X[:4], train.y[:4])",
    "exercise": "task = tg.exercise(loss); task",
    "hint": "task.hint('d_loss')",
    "report": "task.check(d_loss=2.0)",
    "source": "tg.source(loss)",
    "compiled": "print(trainer.fit(train, epochs=3, compile='auto', progress=True).compiled)",
    "explain": "tg.explain(small.parameters()[0], loss)",
    "why_nan": """import numpy as np
z = tg.Tensor([0.0, 1.0], requires_grad=True, name="z")
with np.errstate(all="ignore"):
    bad = tg.ops.log(z).sum()
tg.why_nan(bad)""",
}
WRONG = {
    "twice": """p = tg.ops.softmax(tg.Tensor(np.zeros((4, 3)), requires_grad=True))

tg.losses.softmax_cross_entropy(p, [0, 1, 2, 0])""",
    "written": """v = tg.Tensor([1.0, 2.0], requires_grad=True, name="v")
total = (v * v).sum()
total.backward()
tg.optim.SGD([v], lr=0.1).step()
total.backward()""",
    "unconverged": """from tinygrad_ce.sklearn import MLPClassifier
network = MLPClassifier((4,), max_iter=2).fit(train.X, train.y)""",
}
TABLES = (*("tensor", "model", "watch", "history", "trainer", "exercise", "report", "explain", "why_nan"),)


@pytest.fixture(scope="module")
def notebook(client_of):
    return client_of(*CELLS, *MORE.values(), *WRONG.values()).execute()


@pytest.fixture(scope="module")
def outputs(notebook):
    """By the name of a further cell, or the text of one of the example, its outputs."""
    return dict(zip([*CELLS, *MORE, *WRONG], (cell.outputs for cell in notebook.cells), strict=True))


def the_only(outputs):
    (output,) = outputs
    return output["data"]


def number_of(name):
    """The number of a further cell: In [number]."""
    return len(CELLS) + [*MORE, *WRONG].index(name) + 1


def test_nothing_warns_and_nothing_fails(outputs):
    for name in [*CELLS, *MORE]:
        for output in outputs[name]:
            assert output["output_type"] in ("execute_result", "display_data", "stream"), name
            assert output.get("name") != "stderr", (name, output)


def test_the_examples_every_result_shows_itself(outputs):
    shown = [[output["data"] for output in outputs[cell]] for cell in CELLS]
    assert all("text/html" in data[-1] or "image/png" in data[-1] for data in shown)
    assert [len(data) for data in shown] == [2 if "progress=True" in cell else 1 for cell in CELLS]


@pytest.mark.parametrize("name", ["watch.plot", "history.plot", *(cell for cell in CELLS if "plot_" in cell)])
def test_a_figure_is_a_picture_shown_once(outputs, name):
    png = base64.b64decode(the_only(outputs[name])["image/png"])
    assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_html(outputs, name):
    data = the_only(outputs[name])
    assert '<table style="' in data["text/html"]
    assert 'scope="' in data["text/html"]
    assert "object at 0x" not in data["text/plain"]


def test_gradcheck_says_its_verdict(outputs):
    data = the_only(outputs["gradcheck"])
    assert "gradcheck, first and second derivatives, in float64: right" in data["text/html"]
    assert data["text/plain"].startswith("gradcheck, first and second derivatives, in float64: right\n")


@pytest.mark.parametrize("name", ["hint", "source"])
def test_a_text_has_its_lines(outputs, name):
    data = the_only(outputs[name])
    assert "\\n" not in data["text/plain"]
    assert len(data["text/plain"].splitlines()) > 1
    assert "<pre" in data["text/html"]


def test_progress_is_one_output_with_the_last_figures(outputs):
    (cell,) = (cell for cell in CELLS if "progress=True" in cell)
    line = outputs[cell][0]["data"]
    assert re.fullmatch(r"epoch 60/60  loss \d\.\d{4}  accuracy \d\.\d{4}", line["text/plain"])
    assert '<progress value="60" max="60"' in line["text/html"]
    assert "widget" not in str(outputs[cell][0]["data"].keys())
    assert [output["output_type"] for output in outputs["compiled"]] == ["display_data", "stream"]


@pytest.mark.parametrize("name", ["tg.draw(loss)", "tg.step_through(loss)"])
def test_a_graph_carries_a_picture_for_notebooks_that_are_not_trusted(outputs, name):
    pytest.importorskip("resvg_py")
    data = the_only(outputs[name])
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert "data:image/" in data["text/html"]
    assert sum(map(len, data.values())) < 500_000


def test_a_line_is_one_of_a_cell(outputs):
    (explained,) = (cell for cell in CELLS if "tg.explain" in cell)
    place = f"cell {CELLS.index(explained) + 1}, line 2"
    assert place in the_only(outputs[explained])["text/html"]
    assert place in the_only(outputs[explained])["text/plain"]
    assert place in the_only(outputs["tg.step_through(loss)"])["text/html"]
    broke = the_only(outputs["why_nan"])
    assert f"cell {number_of('why_nan')}, line 4  bad = tg.ops.log(z).sum()" in broke["text/plain"]
    for name in CELLS:
        assert "ipykernel_" not in str(outputs[name])


def test_a_warning_names_its_cell(outputs):
    cell = f"cell {number_of('twice')}"
    (said,) = (output["text"] for output in outputs["twice"] if output["output_type"] == "stream")
    assert said.startswith(f"{cell}:3: UserWarning: softmax is applied twice: at {cell}, line 1, and again by ")
    assert f"at {cell}, line 3" in said


def test_a_training_that_has_not_converged_names_its_cell(outputs):
    (said,) = outputs["unconverged"]
    assert said["text"].startswith(f"cell {number_of('unconverged')}:2: ConvergenceWarning: MLPClassifier: max_iter=2 ")


def test_an_error_names_its_cell(outputs):
    (error,) = outputs["written"]
    assert error["output_type"] == "error"
    assert f"at cell {number_of('written')}, line 4" in error["evalue"]


def test_a_cell_that_runs_again_has_its_new_number(client_of):
    client = client_of("import tinygrad_ce as tg", "tg.why_nan(tg.ops.log(tg.Tensor([0.0], requires_grad=True)).sum())")
    with client.setup_kernel():
        for index in (0, 1, 1):
            client.execute_cell(client.nb.cells[index], index)
            shown = str(client.nb.cells[1].outputs)
            assert index == 0 or f"cell {client.nb.cells[1].execution_count}, line 1" in shown
    assert client.nb.cells[1].execution_count == 3
