"""tinygrad-ce train on tables of one's own: how they are read, what is predicted, what is measured on which rows."""

import json

import numpy as np
import pytest
from cli.commands import done, invoke, refused

from tinygrad_ce.cli import Settings, prepared
from tinygrad_ce.cli.loading import column_names, load
from tinygrad_ce.cli.terminal import in_command_words

GENERATOR = np.random.default_rng(0)
LENGTHS = GENERATOR.normal(20, 4, 80)
FAST = ("--hidden", "4", "--epochs", 2)


def write(path, header, rows, delimiter=","):
    lines = [delimiter.join(header), *(delimiter.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def prices(tmp_path):
    """Lengths, colours and prices: numbers to predict."""
    rows = [(f"{x:.3f}", ("red", "green")[i % 2], f"{50 * x:.2f}") for i, x in enumerate(LENGTHS)]
    return write(tmp_path / "prices.csv", ["length", "colour", "price"], rows)


def test_a_line_break_among_the_names_is_refused_in_one_line(prices):
    said = refused("train", prices, "--target", "price", "--drop", "colour\nlength")
    assert "--drop 'colour\\nlength': write the names on one line" in said


# ---- numbers or classes


def test_a_numeric_target_with_many_values_chooses_regression(prices, tmp_path):
    pytest.importorskip("matplotlib")
    said = done("train", prices, "--target", "price", "--hidden", "8", "--epochs", 80, "--out", tmp_path / "out")
    assert "RMSE" in said
    assert "accuracy" not in said
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["loss"] == "mse"
    assert record["settings"]["loss"] == "auto"
    assert record["data"]["classes"] == []
    assert (tmp_path / "out" / "residuals.png").exists()
    assert not (tmp_path / "out" / "confusion.png").exists()
    test = record["figures"]["test"]
    assert test["R2"] > 0.9
    spread = 50 * LENGTHS.std()
    assert test["RMSE"] == pytest.approx(spread * test["loss"] ** 0.5, rel=0.2)  # in the units of the table
    assert 0.3 * test["RMSE"] < test["MAE"] <= test["RMSE"]


def test_the_targets_are_scaled_by_the_training_rows(prices):
    run = prepared(Settings(str(prices), target="price"))
    assert run.train.y.mean() == pytest.approx(0, abs=1e-12)
    assert run.train.y.std() == pytest.approx(1)
    own = np.sort(np.concatenate([part.preparation.invert(part.y) for part in run.parts.values()]))
    np.testing.assert_allclose(own, np.sort(np.round(50 * LENGTHS, 2)), rtol=1e-12)
    assert run.model.layers[-1].W.shape[1] == 1


@pytest.mark.parametrize(("loss", "is_regression"), [("auto", False), ("mse", True), ("softmax-cross-entropy", False)])
def test_numbers_with_few_values_are_classes_unless_mse_is_asked_for(tmp_path, loss, is_regression):
    path = write(tmp_path / "table.csv", ["a", "grade"], [(x, i % 3) for i, x in enumerate(LENGTHS)])
    assert (load(Settings(str(path), target="grade", loss=loss)).class_names == ()) == is_regression


def test_words_are_no_numbers(prices):
    said = refused("train", prices, "--target", "colour", "--loss", "mse", *FAST)
    assert "'red' is not a number" in said
    assert "--loss mse" in said
    assert "regression" not in said


@pytest.mark.parametrize("loss", ["bce", "sigmoid-bce", "cross-entropy", "softmax-cross-entropy"])
def test_losses_of_classes_refuse_prices(prices, loss):
    assert "--loss mse" in refused("train", prices, "--target", "price", "--loss", loss, *FAST)


@pytest.mark.parametrize("command", ["check", "gradients", "explain", "source"])
def test_the_other_commands_know_numbers_too(prices, command):
    said = done(command, prices, "--target", "price", "--hidden", "3")
    assert said


# ---- how a table is read


def test_what_became_of_each_column_is_printed(tmp_path):
    dates = [f"2025-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(80)]
    rows = [(f"k{i:03d}", x, dates[i], ("yes", "no")[i % 2], "ab"[i % 2]) for i, x in enumerate(LENGTHS)]
    path = write(tmp_path / "table.csv", ["code", "length", "bought", "paid", "kind"], rows)
    result = invoke("train", path, "--target", "kind", *FAST)
    assert result.exit_code == 0, result.output
    for line in ("code", "length", "bought", "paid"):
        assert f"\n{line} " in result.stdout
    for word in ("identifier", "date", "number"):
        assert word in result.stdout
    assert result.stderr == ""  # the summary says what was dropped, and says it once
    assert result.stdout.count("identifier or free text") == 1
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_missing_values_are_refused_dropped_or_filled(tmp_path):
    rows = [(x if i % 10 else "?", 2 * x, "ab"[int(x > 20)]) for i, x in enumerate(LENGTHS)]
    path = write(tmp_path / "table.csv", ["length", "width", "kind"], rows)
    said = refused("train", path, "--target", "kind", *FAST)
    assert "line 2, column 'length'" in said
    assert "--missing" in said
    for policy, count in (("drop", 72), ("mean", 80)):
        run = prepared(Settings(str(path), target="kind", missing=policy))
        assert sum(map(len, run.parts.values())) == count
        assert done("train", path, "--target", "kind", "--missing", policy, *FAST)


def test_a_table_of_a_german_spreadsheet(tmp_path):
    rows = [(f"{1000 + x:.2f}".replace(".", ","), ("rot", "grün")[i % 2]) for i, x in enumerate(LENGTHS)]
    path = tmp_path / "table.csv"
    path.write_bytes(("preis;farbe\n" + "".join(f"{a};{b}\n" for a, b in rows)).encode("cp1252"))
    assert "; --encoding cp1252 reads what Western" in refused("train", path, "--target", "farbe", *FAST)
    options = ("--encoding", "cp1252", "--decimal", ",", "--delimiter", ";")
    assert "grün" in done("train", path, "--target", "farbe", *options, *FAST)
    settings = Settings(str(path), target="farbe", encoding="cp1252", decimal=",", delimiter=";")
    assert np.sort(load(settings).X[:, 0]) == pytest.approx(np.sort(np.round(1000 + LENGTHS, 2)))


def test_columns_are_dropped_and_words_limited(tmp_path):
    words = [f"w{i % 30}" for i in range(80)]
    rows = [(x, words[i], x, "ab"[i % 2]) for i, x in enumerate(LENGTHS)]
    path = write(tmp_path / "table.csv", ["length", "word", '"left, right"', "kind"], rows)
    settings = {"data": str(path), "target": "kind"}
    assert load(Settings(**settings, drop='word,"left, right"')).feature_names == ("length",)
    with pytest.warns(UserWarning, match="'word'"):
        assert load(Settings(**settings, drop='"left, right"')).n_features == 1
    assert load(Settings(**settings, most_levels=30)).n_features == 32
    assert "'nothing'" in refused("train", path, "--target", "kind", "--drop", "nothing", *FAST)
    said = done("train", path, "--target", "kind", "--drop", '"left, right"', *FAST)
    assert "pass --most-levels 30" in said
    assert "as asked with --drop" in said


def test_dates_that_can_be_read_in_two_ways_want_an_option(tmp_path):
    rows = [(f"{1 + i % 12:02d}/{1 + i % 11:02d}/2025", x, "ab"[i % 2]) for i, x in enumerate(LENGTHS)]
    path = write(tmp_path / "table.csv", ["day", "length", "kind"], rows)
    said = refused("train", path, "--target", "kind", *FAST)
    assert "--day-first" in said
    assert "--no-day-first" in said
    first = load(Settings(str(path), target="kind", day_first=True))
    second = load(Settings(str(path), target="kind", day_first=False))
    assert not np.array_equal(first.X, second.X)
    assert done("train", path, "--target", "kind", "--no-day-first", *FAST)


@pytest.mark.parametrize(
    "option",
    [
        ("--drop", "a"), ("--missing", "mean"), ("--delimiter", ";"), ("--decimal", ","), ("--day-first",),
        ("--encoding", "cp1252"), ("--most-levels", 3),
    ],
)  # fmt: skip
def test_options_of_tables_are_not_ignored_for_built_in_data(option):
    assert f"{option[0]} is for a CSV file" in refused("train", "moons", *option)


@pytest.mark.parametrize(
    ("text", "names"),
    [("", []), (" ", []), ("a", ["a"]), ("a, b", ["a", "b"]), ('"a,b",c', ["a,b", "c"]), ('"a""b"', ['a"b'])],
)
def test_names_of_columns_are_written_as_in_a_csv_file(text, names):
    assert column_names(text) == names


def test_messages_say_what_is_typed_here():
    words = 'x: pass missing="mean", drop=[...] columns, day_first=True or day_first=False, most_levels=3'
    assert in_command_words(words) == (
        'x: pass --missing "mean", --drop columns, --day-first or --no-day-first, --most-levels 3'
    )
    assert in_command_words("give it another row, or pass stratify=False") == "give it another row"
    assert in_command_words("column 'missing=x'") == "column 'missing=x'"  # the user's own words


# ---- which rows


@pytest.mark.parametrize("name", ["moons", "iris", "digits"])
def test_the_three_parts_are_all_rows_once(name):
    run = prepared(Settings(name))
    sizes = np.array([len(part) for part in run.parts.values()])
    np.testing.assert_allclose(sizes / sizes.sum(), [0.6, 0.2, 0.2], atol=0.01)
    whole = load(Settings(name))
    scale, shift = (np.array(getattr(run.train.preparation, name)) for name in ("scale", "shift"))
    X = np.concatenate([part.X for part in run.parts.values()]).astype(float) * scale + shift
    order, right = np.lexsort(X.T.round(3)), np.lexsort(whole.X.T.round(3))
    np.testing.assert_allclose(X[order], whole.X[right], atol=1e-4)


def test_the_counts_of_each_part_are_printed():
    said = done("train", "iris", *FAST)
    assert "training rows" in said
    assert "all 90 30 30" in said
    assert "setosa 30 10 10" in said


def test_the_test_rows_are_measured_once_at_the_end(monkeypatch):
    import tinygrad_ce as tg

    run = prepared(Settings("iris"))
    measured = []
    evaluate = tg.Trainer.evaluate

    def counting(self, X, *arguments, **options):
        measured.append(X.tobytes())
        return evaluate(self, X, *arguments, **options)

    monkeypatch.setattr(tg.Trainer, "evaluate", counting)
    done("train", "iris", "--hidden", "4", "--epochs", 3, "--no-compile")
    assert measured.count(run.test.X.tobytes()) == 1
    assert measured.count(run.validation.X.tobytes()) == 3 + 1


def test_patience_ends_the_training_at_the_best_validation_loss(tmp_path):
    pytest.importorskip("matplotlib")
    settings = ("--hidden", "32", "--lr", 0.1, "--epochs", 200, "--patience", 3, "--no-compile")
    said = done("train", "iris", *settings, "--out", tmp_path / "out")
    assert "early" in said
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    losses = record["history"]["val_loss"]
    assert record["stopped"] == "early"
    assert len(losses) == int(np.argmin(losses)) + 1 + 3
    assert record["figures"]["validation"]["loss"] == pytest.approx(min(losses), rel=1e-5)
