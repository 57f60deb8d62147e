"""The command tinygrad-ce, end to end: what it prints, what it writes, and what it refuses without leaving a trace."""

import importlib.util
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import tinygrad_ce as tg
from tinygrad_ce import cli
from tinygrad_ce.cli import views

PNG = b"\x89PNG"
PAGES = ["graph_before.svg", "graph_trained.svg", "step_before.html", "step_trained.html"]
WRITTEN = sorted([*PAGES, "boundary.png", "confusion.png", "history.png", "model.safetensors", "run.json"])


def run(*arguments):
    """The exit code, and all that was printed, as one line of words."""
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


def refused(*arguments):
    code, said = run(*arguments)
    assert code != 0
    assert "Traceback" not in said
    return said


def files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else None


@pytest.fixture
def csv(tmp_path):
    """Sixty rows with a number, a text column and two classes, which the text column tells apart."""
    generator = np.random.default_rng(0)
    lines = ["length,colour,kind"]
    for i in range(60):
        yes = i % 2 == 0
        lines.append(f"{generator.normal(3 if yes else 0):.3f},{('red', 'green')[yes]},{('no', 'yes')[yes]}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


# ---- train


def test_train_prints_and_writes_everything(tmp_path):
    out = tmp_path / "new" / "folder"
    code, said = run("train", "moons", "--epochs", 3, "--hidden", "8,4", "--seed", 7, "--lr", 0.005, "--out", out)
    assert code == 0
    for words in ("moons", "Dense(2, 8)", "Dense(8, 4)", "training rows", "accuracy", "test", "run.json"):
        assert words in said
    assert files(out) == WRITTEN
    assert (out / "history.png").read_bytes().startswith(PNG)
    assert (out / "boundary.png").read_bytes().startswith(PNG)
    record = json.loads((out / "run.json").read_text())
    assert record["settings"] == {
        "data": "moons", "target": None, "drop": "", "missing": "error", "delimiter": None, "decimal": None,
        "day_first": None, "encoding": "utf-8", "most_levels": 20, "hidden": "8,4", "activation": "tanh",
        "loss": "auto", "optimizer": "adam", "lr": 0.005, "epochs": 3, "batch_size": 32, "patience": None, "seed": 7,
        "dtype": "float32",
    }  # fmt: skip
    assert record["history"]["epoch"] == [1, 2, 3]
    assert record["loss"] == "softmax-cross-entropy"
    assert set(record["figures"]) == {"training", "validation", "test"}
    assert set(record["figures"]["test"]) == {"loss", "accuracy"}
    assert record["figures"]["validation"]["loss"] == pytest.approx(record["history"]["val_loss"][-1])
    assert record["parameters"] == 2 * 8 + 8 + 8 * 4 + 4 + 4 * 2 + 2
    assert record["versions"]["tinygrad_ce"] == tg.__version__
    assert {"numpy", "numba", "python"} <= set(record["versions"])


def test_the_same_settings_give_the_same_figures(tmp_path):
    for name in ("a", "b"):
        assert run("train", "iris", "--epochs", 2, "--out", tmp_path / name)[0] == 0
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("a", "b")]
    assert records[0] == records[1]
    assert files(tmp_path / "a") == sorted({*WRITTEN} - {"boundary.png"})  # iris has 4 features


def test_a_second_run_replaces_the_files_of_the_first(tmp_path):
    run("train", "moons", "--epochs", 1, "--out", tmp_path)
    (tmp_path / "mine.txt").write_text("kept")
    assert run("train", "moons", "--epochs", 2, "--out", tmp_path)[0] == 0
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["epochs"] == 2
    assert files(tmp_path) == sorted([*WRITTEN, "mine.txt"])


@pytest.mark.parametrize(("name", "least"), [("digits", 0.97), ("spirals", 0.98), ("moons", 0.98)])
def test_default_settings_reach_the_promised_accuracy(tmp_path, name, least):
    assert run("train", name, "--out", tmp_path)[0] == 0
    assert json.loads((tmp_path / "run.json").read_text())["figures"]["test"]["accuracy"] >= least


@pytest.mark.parametrize("loss", ["softmax-cross-entropy", "cross-entropy", "sigmoid-bce", "bce", "mse"])
def test_every_loss_trains(tmp_path, loss):
    code, _ = run("train", "moons", "--epochs", 8, "--loss", loss, "--hidden", "16", "--lr", 0.02, "--out", tmp_path)
    assert code == 0
    assert json.loads((tmp_path / "run.json").read_text())["figures"]["test"]["accuracy"] > 0.75
    assert "boundary.png" in files(tmp_path)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "momentum", "rmsprop", "adagrad"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_optimizer_trains_in_both_precisions(optimizer, dtype):
    assert run("train", "blobs", "--epochs", 1, "--optimizer", optimizer, "--dtype", dtype, "--hidden", "4")[0] == 0


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "softplus"])
def test_every_activation_trains(activation):
    assert run("train", "xor", "--epochs", 1, "--activation", activation, "--hidden", "4")[0] == 0


def test_a_network_without_hidden_layers():
    code, said = run("train", "iris", "--epochs", 1, "--hidden", "")
    assert code == 0
    assert "Dense(4, 3)" in said


def test_a_csv_with_a_text_column_trains(csv, tmp_path):
    out = tmp_path / "out"
    code, said = run("train", csv, "--target", "kind", "--epochs", 30, "--out", out)
    assert code == 0
    assert "no" in said
    record = json.loads((out / "run.json").read_text())
    assert record["data"]["features"] == ["length", "colour=green", "colour=red"]
    assert record["data"]["classes"] == ["no", "yes"]
    assert record["figures"]["test"]["accuracy"] == 1.0
    assert record["settings"]["data"] == str(csv)
    assert record["settings"]["target"] == "kind"


# ---- check and gradients


@pytest.mark.parametrize("loss", ["softmax-cross-entropy", "cross-entropy", "sigmoid-bce", "bce", "mse"])
def test_check_compares_the_derivatives_of_the_very_model(loss):
    code, said = run("check", "moons", "--hidden", "5,3", "--loss", loss, "--rows", 8)
    assert code == 0
    for words in ("first and second derivatives", "right", "Dense(2, 5)", "layers.0.W", "8 rows", loss):
        assert words in said


def test_check_of_a_csv(csv):
    code, said = run("check", csv, "--target", "kind", "--hidden", "3", "--activation", "sigmoid")
    assert code == 0
    assert "right" in said


def test_check_fails_aloud_where_a_rule_is_wrong(monkeypatch):
    monkeypatch.setattr(tg.ops.tanh, "rules", [lambda g, out, x: g * (1 - out)])
    said = refused("check", "moons", "--hidden", "3")
    assert "WRONG" in said
    assert "layers.0.W" in said


def test_source_prints_a_program_that_runs_on_numpy_alone():
    arguments = ["source", "moons", "--hidden", "6", "--batch-size", "16", "--dtype", "float64", "--optimizer", "sgd"]
    said = CliRunner().invoke(cli.app, arguments).output
    assert "    d_W0 = x.T @ d_z1 " in said
    namespace = {}
    exec(said, namespace)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(16, 2)), generator.integers(0, 2, 16)
    W0, b0, W2, b2 = (generator.normal(size=shape) for shape in ((2, 6), 6, (6, 2), 2))
    loss, updated, *_ = namespace["step"](x, y, W0, b0, W2, b2, 1.0)
    d_W0 = W0 - updated  # for a learning rate of 1
    nudged = W0.copy()
    nudged[1, 3] += 1e-6
    higher = namespace["step"](x, y, nudged, b0, W2, b2, 1.0)[0]
    assert (higher - loss) / 1e-6 == pytest.approx(d_W0[1, 3], rel=1e-4, abs=1e-8)


def test_source_prints_the_loops_too():
    said = CliRunner().invoke(cli.app, ["source", "moons", "--hidden", "6", "--lowered"]).output
    assert "# h1 = np.tanh(z1)" in said
    assert "for s in range(steps):" in said
    compile(said, "loops", "exec")


def test_source_prints_an_es_module():
    said = CliRunner().invoke(cli.app, ["source", "moons", "--hidden", "6", "--javascript"]).output
    assert "export function createStep" in said
    assert "W0" in said


def test_source_prints_one_form_at_a_time():
    code, said = run("source", "moons", "--lowered", "--javascript")
    assert code == 2
    assert "one of --lowered, --exact and --javascript" in said


def test_cache_lists_and_clears_compiled_steps(tmp_path, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr("tinygrad_ce.cache._found", tmp_path)
    monkeypatch.setattr("tinygrad_ce.program.code_cache._loaded", {})
    w = tg.Tensor([1.0, 2.0], requires_grad=True, name="w")
    tg.compile(lambda x: (x * w).sum())([3.0, 4.0])
    code, said = run("cache")
    assert code == 0
    assert "1 compiled step" in said
    assert str(tmp_path) in said.replace("\n", "")
    code, said = run("cache", "--clear")
    assert code == 0
    assert "removed 1 compiled step" in said
    assert not list(tmp_path.rglob("step_*"))
    assert "0 compiled steps" not in run("cache")[1]


def test_cache_without_a_directory_says_so(monkeypatch):
    monkeypatch.setattr("tinygrad_ce.cache._found", None)
    code, said = run("cache")
    assert code == 1
    assert "nothing is kept" in said


def test_gradients_prints_every_parameter():
    code, said = run("gradients", "moons", "--hidden", "6", "--seed", 3)
    assert code == 0
    for words in (
        "layers.0.W",
        "(2, 6)",
        "layers.0.b",
        "(6,)",
        "layers.2.W",
        "(6, 2)",
        "norm",
        "min",
        "max",
        "32 rows",
    ):
        assert words in said
    assert re.search("[▁▂▃▄▅▆▇█]", said)
    assert said == run("gradients", "moons", "--hidden", "6", "--seed", 3)[1]


def test_gradients_are_those_of_the_batch(monkeypatch):
    shown = {}
    real = views.gradient_table

    def noting(named):
        named = list(named)
        shown.update({name: p.grad.copy() for name, p in named})
        return real(named)

    monkeypatch.setattr(views, "gradient_table", noting)
    said = run("gradients", "moons", "--hidden", "", "--dtype", "float64", "--seed", 0, "--batch-size", 1000)[1]
    train, *_ = tg.data.standardize(*tg.data.split(tg.data.moons(seed=0), 0.6, 0.2, 0.2, seed=0))
    tg.seed(0)
    layer = tg.nn.Dense(2, 2)
    z = train.X @ layer.W.data
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    error = (p - np.eye(2)[train.y]) / len(train)
    np.testing.assert_allclose(shown["layers.0.W"], train.X.T @ error, rtol=1e-10)
    np.testing.assert_allclose(shown["layers.0.b"], error.sum(axis=0), atol=1e-14)
    loss = -np.log(p[np.arange(len(p)), train.y]).mean()
    assert f"loss {loss:.6f}" in said


def test_gradients_after_some_training():
    code, said = run("gradients", "moons", "--hidden", "4", "--epochs", 2)
    assert code == 0
    assert "after 2 epochs" in said


# ---- explain, draw, step


def by_hand(seed=0):
    """The gradient of the only layer of a network for the whole of its training data, by hand."""
    train, *_ = tg.data.standardize(*tg.data.split(tg.data.moons(seed=seed), 0.6, 0.2, 0.2, seed=seed))
    tg.seed(seed)
    layer = tg.nn.Dense(2, 2)
    z = train.X @ layer.W.data
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return train.X.T @ ((p - np.eye(2)[train.y]) / len(train))


WHOLE = ("--hidden", "", "--dtype", "float64", "--batch-size", "1000")


def test_explain_prints_the_graph_with_its_gradients(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    code, said = run("explain", "moons", "--hidden", "3", "--seed", 3)
    assert code == 0
    for words in ("moons, 32 rows, before training", "np.dot(x, W0) + b0", "np.tanh(z1)", "layers.0.W", "loss"):
        assert words in said


@pytest.mark.parametrize("name", ["W0", "layers.0.W"])
def test_explain_of_one_number_gives_its_gradient(name):
    code, said = run("explain", "moons", *WHOLE, "--of", name, "--at", "1,0")
    assert code == 0
    assert "d_W0 = x.T @ d_loss" in said or "x.T @ d_z1" in said
    assert f"{by_hand()[1, 0]:.4g}" in said


def test_draw_writes_the_picture_that_was_asked_for(tmp_path):
    for name in ("graph.svg", "deep/er/graph.html"):
        code, said = run("draw", "moons", *WHOLE, "--out", tmp_path / name)
        assert code == 0
        assert "moons, 300 rows, before training" in said
        text = (tmp_path / name).read_text()
        assert "<svg" in text
        assert f"{by_hand()[1, 0]:.3g}" in text  # the gradient of W0 is small enough to be shown as numbers


def test_step_writes_a_page_and_can_train_first(tmp_path):
    code, said = run("step", "moons", "--hidden", "3", "--epochs", 1, "--out", tmp_path / "page.html")
    assert code == 0
    assert "after 1 epochs" in said
    assert "<script" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_training_is_the_same_with_and_without_pictures(tmp_path):
    for name, hidden in (("a", "5"), ("b", ",".join(["2"] * 400))):
        code, said = run("train", "moons", "--epochs", 1, "--hidden", hidden, "--out", tmp_path / name)
        assert code == 0
    assert (
        "no graph_before.svg and step_before.html" in said
    )  # 400 layers cannot be drawn, and are trained all the same
    assert files(tmp_path / "b") == sorted({*WRITTEN} - {*PAGES})


def test_version():
    assert run("--version") == (0, f"tinygrad_ce {tg.__version__}")


# ---- refusals


def test_an_unknown_data_set_is_answered_with_the_nearest_name():
    said = refused("train", "moon")
    assert "moon" in said
    assert "did you mean 'moons'" in said


BAD = {
    "lr negative": (["moons", "--lr", "-1"], "lr"),
    "lr zero": (["moons", "--lr", "0"], "lr"),
    "lr nan": (["moons", "--lr", "nan"], "lr"),
    "lr text": (["moons", "--lr", "fast"], "lr"),
    "hidden text": (["moons", "--hidden", "16,x"], "--hidden '16,x'"),
    "hidden zero": (["moons", "--hidden", "16,0"], "--hidden '16,0'"),
    "hidden negative": (["moons", "--hidden=-3"], "--hidden '-3'"),
    "hidden comma": (["moons", "--hidden", "16,"], "--hidden '16,'"),
    "epochs": (["moons", "--epochs", "0"], "epochs"),
    "batch size": (["moons", "--batch-size", "0"], "--batch-size 0"),
    "seed": (["moons", "--seed", "-1"], "seed"),
    "bce of three": (["iris", "--loss", "bce"], "two classes, and iris has 3"),
    "sigmoid-bce of three": (["iris", "--loss", "sigmoid-bce"], "two classes, and iris has 3"),
    "activation": (["moons", "--activation", "gelu"], "gelu"),
    "loss": (["moons", "--loss", "hinge"], "hinge"),
    "optimizer": (["moons", "--optimizer", "lion"], "lion"),
    "dtype": (["moons", "--dtype", "int8"], "int8"),
    "target of a built-in": (["moons", "--target", "y"], "--target"),
    "no such file": (["nowhere.csv", "--target", "y"], "nowhere.csv"),
}


@pytest.mark.parametrize("which", BAD)
def test_a_refused_training_says_why_and_leaves_no_files(which, tmp_path):
    arguments, words = BAD[which]
    out = tmp_path / "out"
    assert words in refused("train", *arguments, "--out", out)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        ("a,kind\n1,x\n2,y\n", [], "--target"),
        ("a,kind\n1,x\n2,y\n", ["--target", "sort"], "no column 'sort'"),
        ("a,kind\n1,x\n,y\n", ["--target", "kind"], "line 3, column 'a'"),
        ("a,kind\n1,x\n2,x\n", ["--target", "kind"], "only one class"),
        ("a,kind\n", ["--target", "kind"], "no rows"),
        ("", ["--target", "kind"], "empty"),
        ("a,kind\n1,x\n2\n", ["--target", "kind"], "line 3"),
    ],
    ids=["no target", "other target", "missing", "one class", "no rows", "empty", "ragged"],
)
def test_a_refused_csv_says_where_and_leaves_no_files(content, arguments, words, tmp_path):
    path, out = tmp_path / "bad.csv", tmp_path / "out"
    path.write_text(content, encoding="utf-8")
    assert words in refused("train", path, *arguments, "--out", out)
    assert files(tmp_path) == ["bad.csv"]


@pytest.mark.parametrize("command", ["check", "gradients", "source", "explain", "draw", "step"])
@pytest.mark.parametrize("which", ["hidden text", "bce of three", "activation", "no such file"])
def test_the_other_commands_refuse_the_same(command, which):
    arguments, words = BAD[which]
    assert words in refused(command, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "moons", "--rows", "0"], "--rows 0"),
        (["gradients", "moons", "--epochs", "-1"], "--epochs -1"),
        (["explain", "moons", "--of", "W1"], "--of 'W1': there are x, W0, layers.0.W,"),
        (["explain", "moons", "--of", "W0", "--at", "a"], "--at 'a'"),
        (["explain", "moons", "--of", "W0", "--at", "9,9999"], "9999"),
        (["explain", "moons", "--at", "0,0"], "--of"),
        (["draw", "moons", "--out", "new/graph.jpg"], ".svg or .png or .html"),
        (["step", "moons", "--out", "step.svg"], ".html"),
        (["draw", "moons", "--out", "."], "."),
    ],
    ids=["rows", "epochs", "of", "at", "at out of range", "at without of", "ending", "page ending", "folder"],
)
def test_their_own_options_are_checked_too(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in refused(*arguments)
    assert files(tmp_path) == []


def test_out_that_is_a_file_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    assert "is a file" in refused("train", "moons", "--epochs", 1, "--out", path)
    assert "file" in refused("train", "moons", "--epochs", 1, "--out", path / "below")
    assert path.read_text() == "mine"


def test_out_that_cannot_be_written_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode, **_: mode != os.W_OK)
    monkeypatch.setattr(tg.Trainer, "fit", lambda *_, **__: pytest.fail("trained before the folder was checked"))
    assert "cannot be written" in refused("train", "moons", "--epochs", 1, "--out", tmp_path)
    assert files(tmp_path) == []


@pytest.mark.parametrize("broken", ["history_figure", "boundary_figure"])
@pytest.mark.parametrize("existing", [False, True])
def test_nothing_is_half_written_where_drawing_fails(tmp_path, monkeypatch, broken, existing):
    out = tmp_path / "out"
    if existing:
        assert run("train", "moons", "--epochs", 1, "--out", out)[0] == 0
        before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fails(*_, **__):
        raise ValueError("the pen is empty")

    monkeypatch.setattr(tg.views.plots, broken, fails)
    assert "the pen is empty" in refused("train", "moons", "--epochs", 2, "--out", out)
    if existing:
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    else:
        assert not files(out)


def test_a_training_that_diverges_ends_with_a_message_and_no_files(tmp_path, monkeypatch):
    def diverging(self, *_, **__):
        raise tg.NotFiniteError("the loss is nan in epoch 2, batch 3")

    monkeypatch.setattr(tg.Trainer, "fit", diverging)
    assert "epoch 2, batch 3" in refused("train", "moons", "--out", tmp_path / "out")
    assert files(tmp_path) == []


# ---- as a program


def program(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "tinygrad_ce", *arguments], capture_output=True, text=True, check=False, **options
    )


def test_as_a_program_its_messages_go_where_they_belong(tmp_path):
    bad = program("train", "moon", cwd=tmp_path)
    assert bad.returncode == 1
    assert bad.stdout == ""
    assert "did you mean" in bad.stderr
    assert "Traceback" not in bad.stderr
    good = program("train", "moons", "--epochs", "1", "--hidden", "4", "--out", "here", cwd=tmp_path)
    assert good.returncode == 0
    if importlib.util.find_spec("numba") is not None and "numba" not in os.environ.get("TINYGRAD_CE_TEST_WITHOUT", ""):
        assert good.stderr == ""  # nobody has to be told that it is slower
    assert files(tmp_path / "here") == WRITTEN


ASCII = [
    ("gradients", "moons"),
    ("explain", "moons"),
    ("explain", "moons", "--of", "W0"),
    ("train", "moons", "--epochs", "1"),
]


@pytest.mark.parametrize("arguments", ASCII)
def test_it_prints_where_the_terminal_knows_only_ascii(arguments, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    result = program(*arguments, "--hidden", "4", cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr[-500:]


def test_markup_in_the_users_names_is_text(tmp_path):
    path = tmp_path / "odd.csv"
    rows = [f"{i},{i * i},{['[/nope]', '[red]x[/red]', ':smile:'][i % 3]}" for i in range(30)]
    path.write_text("\n".join(["a,b,kind", *rows]) + "\n")
    code, out = run("train", path, "--target", "kind", "--epochs", 1)[:2]
    assert code == 0
    assert all(name in out for name in ("[/nope]", "[red]x[/red]", ":smile:"))


@pytest.mark.parametrize("hidden", ["4,4", "1,4", "2,2"])
def test_relus_without_living_inputs_do_not_fail_the_check(hidden):
    assert run("check", "moons", "--activation", "relu", "--hidden", hidden)[0] == 0
