"""The forms of a notebook without one: escaped, without colours of their own, bounded in size."""

import builtins
import re
from dataclasses import replace
from tempfile import TemporaryDirectory
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.report.parts import PrintedText

HOSTILE = "<script>alert(1)</script>\x1b&\"'"


def text_of(shown):
    """What a reader sees; its form is well-formed."""
    return "".join(fromstring(shown._repr_html_()).itertext())


def hostile_dataset():
    X = np.arange(60.0).reshape(20, 3)
    names = (HOSTILE, "b" * 200, "c")
    return tg.data.Dataset(X, np.arange(20) % 2, names, (HOSTILE, "no"), HOSTILE, np.ones(3, bool))


class Hostile(tg.nn.Module):
    def __init__(self):
        self.layers = {HOSTILE: tg.nn.Dense(2, 3)}

    def forward(self, x):
        raise AssertionError("a form runs no model")

    def __repr__(self):
        return HOSTILE


def trained(epochs=3):
    data = tg.data.moons(40, seed=0)
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.Tanh(), tg.nn.Dense(4, 2))
    trainer = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.SGD(model.parameters(), lr=0.1))
    trainer.fit(data, epochs=epochs, seed=0, validation=data)
    return trainer


def hostile_moons():
    return replace(tg.data.moons(40, seed=1), class_names=(HOSTILE, "no"))


def numbers():
    return tg.data.Dataset(np.arange(8.0).reshape(4, 2), np.arange(4.0), ("a", "b"), (), HOSTILE, np.ones(2, bool))


def trained_on_numbers():
    model = tg.nn.Dense(2, 1)
    return tg.Trainer(model, tg.nn.MSE(), tg.optim.SGD(model.parameters(), lr=0.01))


def saved():
    with TemporaryDirectory() as folder:
        trained().save(f"{folder}/moons.safetensors")
        return tg.load(f"{folder}/moons.safetensors")


def program():
    w = tg.Tensor([1.0, 2.0], requires_grad=True, name="w")
    return tg.trace(lambda x: (w * x).sum(), np.ones(2))


def explained_row():
    sklearn = pytest.importorskip("tinygrad_ce.sklearn")
    pandas = pytest.importorskip("pandas")
    data = tg.data.moons(40, seed=0)
    network = sklearn.MLPClassifier((4,), max_iter=3, tol=1e3, n_iter_no_change=1)
    X = pandas.DataFrame(data.X, columns=[HOSTILE, "b" * 200])
    return network.fit(X, data.y).explain_row(X, 0)


def wrong_gradcheck():
    @tg.primitive
    def cube_with_a_slip(x):
        return x**3

    @cube_with_a_slip.vjp("x")
    def cube_x(g, out, x):
        return g * 2 * x * x

    with pytest.raises(tg.check.GradcheckError) as error:
        tg.check.gradcheck(cube_with_a_slip, np.array([1.0, 2.0]), order=1)
    del tg.core.REGISTRY["cube_with_a_slip"]
    return error.value.report


SHOWN = {
    "tensor": lambda: tg.Tensor([1.0, np.nan], requires_grad=True, name=HOSTILE),
    "result": lambda: (tg.Tensor([1.0], requires_grad=True, name=HOSTILE) * 2).sum(),
    "empty tensor": lambda: tg.Tensor(np.zeros((0, 3))),
    "dataset": hostile_dataset,
    "regression": lambda: tg.data.Dataset(np.zeros((2, 1)), np.array([0.5, 1.5]), ("a",), (), "two", np.array([True])),
    "module": Hostile,
    "layer": lambda: tg.nn.Tanh(),
    "summary": lambda: tg.nn.Sequential(tg.nn.Dense(2, 3)).summary(),
    "text": lambda: PrintedText(HOSTILE),
    "history": lambda: trained().history,
    "empty history": tg.History,
    "trainer": trained,
    "new trainer": lambda: tg.Trainer(m := Hostile(), tg.losses.mse, tg.optim.SGD(m.parameters(), lr=0.1)),
    "preparation": lambda: tg.data.standardize(hostile_dataset())[0].preparation,
    "report": lambda: trained().report(tg.data.moons(40, seed=1)),
    "regression report": lambda: trained_on_numbers().report(numbers()),
    "hardest": lambda: trained().hardest(hostile_moons()),
    "saved": saved,
    "rates": lambda: tg.train.find_learning_rate(trained(), tg.data.moons(40, seed=0), high=1e4),
    "program": program,
    "row": explained_row,
    "exercise": lambda: tg.exercise((tg.Tensor([1.0], requires_grad=True, name="w") * 2).sum()),
}


@pytest.mark.parametrize("kind", SHOWN)
def test_a_form_is_escaped_closed_and_has_no_colours(kind):
    shown = SHOWN[kind]()
    html = shown._repr_html_()
    tags = {element.tag for element in fromstring(html).iter()}
    assert tags <= {"div", "p", "pre", "table", "thead", "tbody", "tr", "th", "td", "img", "b"}
    assert "\x1b" not in html
    styles = " ".join(re.findall(r'style="([^"]*)"', html))  # a tensor may be called #242170
    assert re.search(r"(?<![-\w])(color|background)\s*:|#[0-9a-f]{6}\b", styles) is None
    assert html.count("<th") == html.count("<thead") + html.count("<th scope=")  # whose title each is
    assert "object at 0x" not in repr(shown)
    assert len(repr(shown)) < 3_000


@pytest.mark.parametrize("kind", ["preparation", "report", "regression report", "hardest", "saved", "row"])
def test_what_has_columns_is_a_table(kind):
    assert "<table" in SHOWN[kind]()._repr_html_()
    assert "<pre" not in SHOWN[kind]()._repr_html_()


def test_printed_lines_are_in_letters_of_one_width():
    assert "font-family: monospace" in PrintedText("a  b")._repr_html_()


def test_a_report_shows_in_tables_what_it_prints():
    report = trained().report(hostile_moons())
    html = text_of(report)
    assert [name for name in ("macro avg", "weighted avg", "ROC AUC", "was true") if name not in html] == []
    words = {
        word for part in report.parts for row in getattr(part, "rows", ()) for cell in row for word in cell.split()
    }
    assert {*re.findall(r"\d+\.\d+", str(report))} - words <= {f"{report.accuracy:.2f}"}


def test_optimizers_and_compiled_steps_say_what_they_are():
    trainer = trained()
    assert repr(trainer.optimizer) == "SGD(4 parameters, lr=0.1, 6 steps taken)"
    assert repr(tg.compile(program)) == "CompiledStep(program)"
    assert repr(program()) == "Program(x, w: 2 instructions; print(program) shows them)"
    assert trainer.report(tg.data.moons(40)).parts[0].header[1] == "precision"


def test_a_preparation_prints_its_summary():
    preparation = SHOWN["preparation"]()
    assert str(preparation) == preparation.summary()


def test_a_tensor_shows_its_gradient_beside_its_values():
    w = tg.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, name="w")
    assert "gradient" not in w._repr_html_()
    (w * w).sum().backward()
    text = text_of(w)
    assert "Tensor w" in text
    assert "shape (2, 3), float64" in text
    assert str(w.data) in text
    assert str(w.grad) in text
    assert text.index("value") < text.index("gradient")


def test_many_values_are_shortened():
    assert len(tg.Tensor(np.zeros((300, 300)), requires_grad=True)._repr_html_()) < 3_000


def test_a_dataset_shows_first_rows_and_counts():
    text = text_of(tg.data.iris())
    for name in (*tg.data.iris().feature_names, *tg.data.iris().class_names):
        assert name in text
    assert "the first 5 of 150 rows" in text
    assert re.search(r"rows by class: setosa 50, versicolor 50, virginica 50", text)
    digits = tg.data.digits()._repr_html_()
    assert "… 52 more" in digits
    assert len(digits) < 20_000


def test_a_history_names_its_best_epoch():
    history = tg.History()
    for epoch, loss in enumerate([3.0, 1.0, 2.0], start=1):
        history.append({"epoch": epoch, "loss": loss})
    rows = re.findall(r"<tr>(.*?)</tr>", history._repr_html_())
    assert [re.sub("<[^>]*>", " ", row).split() for row in rows] == [
        ["epoch", "loss"], ["first", "1", "3"], ["best", "2", "1"], ["last", "3", "2"]
    ]  # fmt: skip


def test_without_matplotlib_a_history_is_a_table(monkeypatch):
    history = trained().history
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name.split(".")[0] in ("matplotlib", "resvg_py"):
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    html = history._repr_html_()
    assert "<img" not in html
    assert "<table" in html
    assert "tinygrad_ce[plot]" in html
    loss = (tg.Tensor([1.0], requires_grad=True) * 2).sum()
    assert tg.draw(loss)._repr_png_() is None
    assert "<svg" in tg.draw(loss)._repr_svg_()
    assert '<img src="data:image/svg+xml' in tg.step_through(loss)._repr_html_()


def test_gradcheck_lists_what_is_wrong(registry):
    report = wrong_gradcheck()
    text = text_of(report)
    assert "WRONG" in text
    assert text.count("[0]") == 1
    assert repr(report) == str(report)


def test_a_figure_is_a_picture_of_its_own():
    pytest.importorskip("matplotlib")
    figure = trained().history.plot()
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_huge_graph_is_named_and_not_shown(monkeypatch):
    drawing = tg.draw((tg.Tensor([1.0], requires_grad=True) * 2).sum())
    page = tg.step_through((tg.Tensor([1.0], requires_grad=True) * 2).sum())
    monkeypatch.setattr("tinygrad_ce.views.draw.LARGEST_IN_NOTEBOOK", 1000)
    monkeypatch.setattr("tinygrad_ce.views.pages.LARGEST_IN_NOTEBOOK", 1000)
    assert drawing._repr_html_() is drawing._repr_svg_() is drawing._repr_png_() is None
    assert re.search(r"\d\.\d MB: \.save", repr(drawing))
    shown = page._repr_html_()
    assert "<iframe" not in shown
    assert len(shown) < 500
    assert re.search(r"MB, too much for a notebook: \.save\(&quot;step\.html&quot;\)", shown)


def test_the_picture_of_a_graph_fits_its_cell():
    html = tg.draw((tg.Tensor([1.0], requires_grad=True) * 2).sum())._repr_html_()
    assert re.search(
        r'<img src="data:image/svg\+xml;base64,[^"]*" alt="the graph of [^"]*" style="max-width: 100%', html
    )


def test_the_letters_of_a_wide_graph_can_be_read():
    x = tg.Tensor([1.0], requires_grad=True)
    for _ in range(60):
        x = x * 1.5
    drawing = tg.draw(x.sum())
    (natural,) = re.findall(r'<svg [^>]* width="(\d+)"', drawing.svg)
    (least,) = re.findall(r"min-width: (\d+)px", drawing._repr_html_())
    assert int(natural) > 1_000
    assert int(least) == round(0.4 * int(natural))


def test_a_summary_is_text_and_table():
    summary = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh()).summary()
    assert isinstance(summary, str)
    assert repr(summary) == str(summary) == f"{summary}"
    assert "layers.0  Dense(2, 3)   (N, 3)                  9" in summary.splitlines()
    assert [row[-1] for row in summary.parts[1].rows] == ["9", "0", "9"]


def test_a_class_of_ones_own_may_have_a_form_of_its_own():
    class Mine(tg.nn.Module):
        def _repr_html_(self):
            return "mine"

    assert Mine()._repr_html_() == "mine"
