"""A run that was kept: asked about new rows, measured on others, gone on with."""

import csv
import json
import re
import shutil
import sys

import numpy as np
import pytest
from cli.commands import content, done, invoke, refused

import tinygrad_ce as tg
from tinygrad_ce import data

pytest.importorskip("matplotlib")
COLOURS = ("green", "red")


def table(path, rows=90, seed=0, target=True):
    """A table of lengths and colours; kind is told by the colour, price is 1000 + 50 * length to a small error."""
    generator = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["length", "colour", *(["kind", "price"] if target else [])])
        for i in range(rows):
            length = generator.normal(20, 4)
            colour = COLOURS[i % 2]
            answers = [f"<b>{colour}</b>", f"{1000 + 50 * length + generator.normal(0, 5):.2f}"]
            writer.writerow([f"{length:.3f}", colour, *(answers if target else [])])
    return path


def rows_of(text):
    return [*csv.reader(text.splitlines())]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a run of classes, a run of numbers, and new rows with and without a target."""
    folder = tmp_path_factory.mktemp("kept")
    known = table(folder / "known.csv")
    table(folder / "test.csv", 40, seed=1)
    table(folder / "new.csv", 7, seed=2, target=False)
    for target, other in (("kind", "price"), ("price", "kind")):
        out = ("--hidden", "8", "--epochs", 60, "--drop", other, "--out", folder / target)
        done("train", known, "--target", target, *out)
    return folder


# ---- predict and evaluate


def test_predictions_are_the_names_of_classes(here):
    printed = rows_of(invoke("predict", here / "kind", here / "new.csv").stdout)
    assert printed[0] == ["prediction"]
    assert [row[0] for row in printed[1:]] == [f"<b>{COLOURS[i % 2]}</b>" for i in range(7)]


def test_the_model_alone_predicts_as_its_folder_does(here, tmp_path):
    alone = shutil.copy(here / "price" / "model.safetensors", tmp_path / "from_a_colleague.safetensors")
    expected = invoke("predict", here / "price", here / "new.csv").stdout
    assert invoke("predict", alone, here / "new.csv").stdout == expected
    said = refused("evaluate", here / "price" / "model.safetensors", here / "test.csv")
    assert f"is a file, and not the folder of a run; write {here / 'price'}" in said


def test_probabilities_are_a_column_for_each_class(here):
    printed = rows_of(invoke("predict", here / "kind", here / "new.csv", "--proba").stdout)
    assert printed[0] == ["prediction", "P(<b>green</b>)", "P(<b>red</b>)"]
    p = np.array([row[1:] for row in printed[1:]], float)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert [row[0] for row in printed[1:]] == [f"<b>{COLOURS[i]}</b>" for i in p.argmax(axis=1)]


def test_predicted_numbers_are_in_the_units_of_the_table(here):
    printed = rows_of(invoke("predict", here / "price", here / "new.csv").stdout)
    lengths = np.array([row[0] for row in rows_of((here / "new.csv").read_text(encoding="utf-8"))[1:]], float)
    predicted = np.array([row[0] for row in printed[1:]], float)
    assert np.abs(predicted - (1000 + 50 * lengths)).mean() < 60


def test_a_column_with_the_target_changes_no_prediction(here, tmp_path):
    with_target = rows_of((here / "test.csv").read_text(encoding="utf-8"))
    without = tmp_path / "without.csv"
    without.write_text("".join(f"{row[0]},{row[1]}\n" for row in with_target))
    for run in ("kind", "price"):
        assert invoke("predict", here / run, here / "test.csv").stdout == invoke("predict", here / run, without).stdout


def test_predictions_are_written_into_a_file(here, tmp_path):
    out = tmp_path / "new" / "predictions.csv"
    said = done("predict", here / "kind", here / "new.csv", "--out", out)
    assert "7 predictions" in said
    assert out.read_text() == invoke("predict", here / "kind", here / "new.csv").stdout


def test_evaluate_measures_what_predict_answers(here):
    truth = [row[2] for row in rows_of((here / "test.csv").read_text(encoding="utf-8"))[1:]]
    answers = [row[0] for row in rows_of(invoke("predict", here / "kind", here / "test.csv").stdout)[1:]]
    share = np.mean([a == b for a, b in zip(truth, answers, strict=True)])
    assert f"{share:.4f}" in done("evaluate", here / "kind", here / "test.csv")


def test_the_figures_of_numbers_are_those_of_scikit_learn(here):
    metrics = pytest.importorskip("sklearn.metrics")
    truth = np.array([row[3] for row in rows_of((here / "test.csv").read_text(encoding="utf-8"))[1:]], float)
    answers = rows_of(invoke("predict", here / "price", here / "test.csv").stdout)[1:]
    predicted = np.array([row[0] for row in answers], float)
    said = done("evaluate", here / "price", here / "test.csv")
    for name in ("RMSE", "MAE", "R2"):
        assert name in said
    loss, *figures = (float(text) for text in re.findall(r" (\d+\.\d{4}|\d+\.\d+)(?= |$)", said))
    right = (metrics.root_mean_squared_error, metrics.mean_absolute_error, metrics.r2_score)
    assert figures == pytest.approx([measure(truth, predicted) for measure in right], abs=1e-3)
    assert loss < 1  # of scaled targets


def test_a_run_of_a_built_in_data_set_predicts_a_table_of_its_columns(tmp_path):
    done("train", "moons", "--epochs", 30, "--hidden", "16", "--lr", 0.03, "--out", tmp_path / "moons")
    moons = data.moons(20, seed=5)
    new = tmp_path / "new.csv"
    new.write_text("x1,x2\n" + "".join(f"{a},{b}\n" for a, b in moons.X))
    answers = [row[0] for row in rows_of(invoke("predict", tmp_path / "moons", new).stdout)[1:]]
    right = [moons.class_names[label] for label in moons.y]
    assert np.mean([a == b for a, b in zip(answers, right, strict=True)]) > 0.8


def test_a_new_level_is_refused_or_ignored(here, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("length,colour\n20,blue\n")
    said = refused("predict", here / "kind", new)
    assert "'colour'" in said
    assert "blue" in said
    assert len(rows_of(invoke("predict", here / "kind", new, "--new-levels", "ignore").stdout)) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("length\n20\n", "'colour'"),
        ("lenght,colour\n20,red\n", "no column 'length'; did you mean 'lenght'"),
        ("length,colour\n20,red\nlong,red\n", "line 3, column 'length'"),
        ("length,colour\n,red\n", "line 2, column 'length'"),
        ("length,colour\n", "no rows"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_one_line(here, tmp_path, text, words):
    new, out = tmp_path / "new.csv", tmp_path / "out.csv"
    new.write_text(text, encoding="utf-8")
    assert words in refused("predict", here / "kind", new, "--out", out)
    assert not out.exists()


def test_a_table_without_the_target_cannot_be_evaluated(here):
    assert "'kind'" in refused("evaluate", here / "kind", here / "new.csv")


def test_numbers_have_no_probabilities(here):
    assert "--proba" in refused("predict", here / "price", here / "new.csv", "--proba")


def test_a_column_that_training_had_not_is_ignored_with_a_warning(here, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("length,colour,weight\n20,red,3\n")
    result = invoke("predict", here / "kind", new)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: ")
    assert result.stderr.count("\n") == 1
    assert "'weight'" in result.stderr


# ---- no run, a damaged run


@pytest.fixture
def run_folder(here, tmp_path):
    """A copy of the run of classes, to be damaged."""
    return shutil.copytree(here / "kind", tmp_path / "copy")


def all_refuse(folder, here):
    """What the commands say that read a run."""
    before = content(folder) if folder.is_dir() else None
    said = {
        refused("predict", folder, here / "new.csv"),
        refused("evaluate", folder, here / "test.csv"),
        refused("report", folder),
        refused("train", "--from", folder, "--epochs", 1),
    }
    assert (content(folder) if folder.is_dir() else None) == before
    assert len(said) == 1
    return said.pop()


def test_a_folder_that_is_no_run_is_refused(here, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "not the folder of a run" in all_refuse(tmp_path / "empty", here)
    assert "not the folder of a run" in all_refuse(tmp_path / "nowhere", here)
    assert "not the folder of a run" in all_refuse(here / "new.csv", here)


@pytest.mark.parametrize("name", ["run.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise"])
def test_a_damaged_run_is_refused(run_folder, here, name, damage):
    path = run_folder / name
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "noise": b"\xff\xfe{[" + whole}[damage])
    assert name in all_refuse(run_folder, here)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": {}}, "the setting 'data' is missing"),
        ({"settings": 3}, "settings is 3"),
        ({"data": []}, "data is []"),
        ({"history": None}, "history is None"),
        ({"loss": ["mse"]}, "loss is ['mse']"),
        ({"history": {"epoch": [1]}}, "two different runs"),
        ([1, 2], "settings is [1, 2]"),
    ],
)
def test_a_record_of_another_form_is_refused(run_folder, here, change, words):
    path = run_folder / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, **change} if isinstance(change, dict) else change))
    assert words in all_refuse(run_folder, here)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lr", "fast", "'lr' is 'fast'"),
        ("epochs", True, "'epochs' is True"),
        ("optimizer", "lion", "'optimizer' is 'lion'"),
        ("momentum", 1, "there is no setting 'momentum' in this version"),
    ],
)
def test_settings_of_another_version_are_refused(run_folder, here, name, value, words):
    path = run_folder / "run.json"
    record = json.loads(path.read_text())
    record["settings"][name] = value
    path.write_text(json.dumps(record))
    assert words in all_refuse(run_folder, here)


# ---- going on


@pytest.fixture
def copied(here, tmp_path):
    """The table, to be changed or removed, and a run of it."""
    path, out = shutil.copy(here / "known.csv", tmp_path / "table.csv"), tmp_path / "out"
    done("train", path, "--target", "price", "--drop", "kind", "--hidden", "", "--epochs", 1, "--out", out)
    return path, out


def test_a_change_of_any_row_is_noticed(copied):
    path, out = copied
    lines = path.read_text().splitlines()
    for row in (1, 2, 3, 30, 90):
        last = str((int(lines[row][-1]) + 1) % 10)
        path.write_text("\n".join([*lines[:row], lines[row][:-1] + last, *lines[row + 1 :]]) + "\n")
        for command in (("report", out), ("train", "--from", out, "--epochs", 1)):
            assert "table.csv has changed since the run" in refused(*command)


def test_a_table_that_is_gone_is_named_with_the_run(copied):
    path, out = copied
    path.unlink()
    for command in (("report", out), ("train", "--from", out, "--epochs", 1)):
        said = refused(*command)
        assert f"the run in {out} was trained on {path}: call the command from the folder where it is" in said


def test_rows_without_the_target_are_sent_to_predict(here):
    assert "tinygrad-ce predict needs none" in refused("evaluate", here / "kind", here / "new.csv")


SETTINGS = ("--hidden", "8", "--dtype", "float64", "--optimizer", "momentum", "--batch-size", 16)


def test_three_epochs_and_four_more_are_seven(tmp_path):
    source = table(tmp_path / "table.csv")
    settings = (source, "--target", "kind", *SETTINGS)
    done("train", *settings, "--epochs", 7, "--out", tmp_path / "once")
    done("train", *settings, "--epochs", 3, "--out", tmp_path / "twice")
    said = done("train", "--from", tmp_path / "twice", "--epochs", 4)
    assert "after 7 epochs" in said
    once, twice = content(tmp_path / "once"), content(tmp_path / "twice")
    assert sorted(once) == sorted(twice)
    assert json.loads(once["run.json"]) == json.loads(twice["run.json"])
    assert once["model.safetensors"] == twice["model.safetensors"]


@pytest.mark.parametrize("later", ["run.json", "model.safetensors"])
def test_a_run_that_was_killed_between_its_two_files_goes_on_from_its_model(tmp_path, later):
    source, out = table(tmp_path / "table.csv"), tmp_path / "out"
    done("train", source, "--target", "kind", *SETTINGS, "--epochs", 2, "--out", out)
    before = content(out)
    done("train", "--from", out, "--epochs", 3)
    after = content(out)
    other = ({"run.json", "model.safetensors"} - {later}).pop()
    (out / other).write_bytes(before[other])
    assert len(rows_of(invoke("predict", out, source).stdout)) == 91
    done("train", "--from", out, "--epochs", 3 if later == "run.json" else 1)
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["epochs"] == len(record["history"]["epoch"]) == (5 if later == "run.json" else 6)
    if later == "run.json":
        assert {name: (out / name).read_bytes() for name in (later, other)} == {n: after[n] for n in (later, other)}


def test_the_folder_that_a_run_goes_on_from_stays_where_there_is_another(tmp_path):
    done("train", "xor", "--hidden", "4", "--epochs", 1, "--out", tmp_path / "a")
    before = content(tmp_path / "a")
    done("train", "--from", tmp_path / "a", "--epochs", 1, "--out", tmp_path / "b")
    assert content(tmp_path / "a") == before
    assert json.loads((tmp_path / "b" / "run.json").read_text())["history"]["epoch"] == [1, 2]
    assert tg.load(tmp_path / "b" / "model.safetensors").history["epoch"] == [1, 2]


def test_a_run_that_goes_on_takes_no_other_settings(run_folder):
    before = content(run_folder)
    said = refused("train", "--from", run_folder, "--lr", 0.1, "--hidden", "3")
    assert "leave out --hidden, --lr" in said or "leave out --lr, --hidden" in said
    assert "leave out DATA" in refused("train", "moons", "--from", run_folder)
    assert content(run_folder) == before


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    source, out = table(tmp_path / "table.csv"), tmp_path / "out"
    done("train", source, "--target", "kind", *SETTINGS, "--epochs", 1, "--out", out)
    before = content(out)
    table(source, seed=9)
    assert "has changed" in refused("train", "--from", out, "--epochs", 1)
    assert "has changed" in refused("report", out)
    source.unlink()
    assert "table.csv: no such file" in refused("train", "--from", out, "--epochs", 1)
    assert content(out) == before


def test_train_without_data_says_what_to_type():
    result = invoke("train")
    assert result.exit_code == 2
    assert "tinygrad-ce train moons" in result.stderr


# ---- which is which


def test_the_pages_say_whether_they_are_of_the_trained_network(here):
    for name, when in (("before", "before training"), ("trained", "after 60 epochs")):
        assert f"known, 32 rows, {when}</h1>" in (here / "kind" / f"step_{name}.html").read_text(encoding="utf-8")
        assert f"known, 32 rows, {when}</text>" in (here / "kind" / f"graph_{name}.svg").read_text(encoding="utf-8")


def test_the_kept_model_is_the_trained_one(here):
    saved = tg.load(here / "kind" / "model.safetensors")
    record = json.loads((here / "kind" / "run.json").read_text())
    test = saved.preparation.dataset(here / "known.csv").astype("float32")
    assert saved.trainer.evaluate(test)["accuracy"] > 0.95
    assert saved.history.columns == record["history"]
    assert record["versions"]["python"].startswith(f"{sys.version_info.major}.")


# ---- other losses, other names, other places


@pytest.mark.parametrize("loss", ["cross-entropy", "sigmoid-bce", "bce", "mse"])
def test_every_loss_of_classes_can_be_asked(tmp_path, loss):
    moons, run = data.moons(40, seed=3), tmp_path / "moons"
    done("train", "moons", "--loss", loss, "--epochs", 15, "--lr", 0.05, "--hidden", "8", "--out", run)
    new = tmp_path / "new.csv"
    new.write_text("x1,x2\n" + "".join(f"{a},{b}\n" for a, b in moons.X))
    answers = [row[0] for row in rows_of(invoke("predict", run, new).stdout)[1:]]
    right = [moons.class_names[label] for label in moons.y]
    assert np.mean([a == b for a, b in zip(answers, right, strict=True)]) > 0.8
    done("report", run)
    if loss == "mse":
        assert "no probabilities" in refused("predict", run, new, "--proba")
        return
    rows = rows_of(invoke("predict", run, new, "--proba").stdout)[1:]
    p = np.array([row[1:] for row in rows], float)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert [moons.class_names[k] for k in p.argmax(axis=1)] == answers


def test_escape_codes_in_names_are_printed_and_written_as_they_are(tmp_path):
    code = "\x1b[31mred\x07"
    source = tmp_path / "table.csv"
    source.write_text("x,kind\n" + "".join(f"{i},{('blue', code)[i % 2]}\n" for i in range(40)))
    done("train", source, "--target", "kind", "--epochs", 1, "--hidden", "2", "--out", tmp_path / "run")
    for command in (("predict", "--proba"), ("evaluate",), ("report",)):
        tables = [] if command[0] == "report" else [source]
        result = invoke(command[0], tmp_path / "run", *tables, *command[1:])
        assert result.exit_code == 0
        assert not any(ord(c) < 32 and c != "\n" for c in result.output)
    assert "\\x1b[31mred\\x07" in invoke("predict", tmp_path / "run", source, "--proba").stdout
    done("predict", tmp_path / "run", source, "--proba", "--out", tmp_path / "out.csv")
    assert f"P({code})" in (tmp_path / "out.csv").read_text(encoding="utf-8")


def test_predictions_that_cannot_be_written_are_refused(here, tmp_path):
    assert ".csv" in refused("predict", here / "kind", here / "new.csv", "--out", tmp_path / "a.txt")
    (tmp_path / "a.csv").mkdir()
    assert "a.csv is a folder" in refused("predict", here / "kind", here / "new.csv", "--out", tmp_path / "a.csv")
    (tmp_path / "file").write_text("mine")
    assert "file" in refused("predict", here / "kind", here / "new.csv", "--out", tmp_path / "file" / "b.csv")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_sample_does_not_replace_a_file(tmp_path):
    path = tmp_path / "my.csv"
    path.write_text("mine")
    assert "exists" in refused("sample", path)
    assert path.read_text() == "mine"
    assert ".csv" in refused("sample", tmp_path / "my.txt")
    done("sample", tmp_path / "new" / "my.csv")
    assert (tmp_path / "new" / "my.csv").read_text(encoding="utf-8") == data.sample_csv()


def test_a_model_of_a_newer_version_is_refused(run_folder, here, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setattr("tinygrad_ce.storage.document.FORMAT", 7)
        done("train", "xor", "--epochs", 1, "--hidden", "2", "--out", run_folder)
    assert "pip install -U tinygrad_ce" in all_refuse(run_folder, here)
