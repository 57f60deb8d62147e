"""`tinygrad-ce report`: a page on a run: data, network, curves, answers, hardest rows, audit, program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import tinygrad_ce as tg
from tinygrad_ce import data as datasets
from tinygrad_ce.cli.figures import figures_of, figures_table, report_of, rows_by_class
from tinygrad_ce.cli.folders import KeptRun
from tinygrad_ce.cli.loading import load
from tinygrad_ce.cli.predicting import RunFolder
from tinygrad_ce.cli.results import boundary_figure, confusion_figure, residuals_figure
from tinygrad_ce.cli.run import SHARES, Run, loss_and_gradients
from tinygrad_ce.cli.source import program_of_first_batch
from tinygrad_ce.cli.terminal import console, leave_dropped_columns_to_the_summary
from tinygrad_ce.cli.views import check_writable
from tinygrad_ce.core import Array
from tinygrad_ce.disk import write_whole
from tinygrad_ce.report.page import as_page
from tinygrad_ce.report.parts import Code, Heading, Part, Picture, Section, Sentence, Table
from tinygrad_ce.report.words import format_number, several, short

MOST_ROWS = 5  # of the hardest
MOST_FEATURES = 3  # that are shown of each
LONGEST = 30  # letters of a name there
OF_PYTHON = " (at= chooses another cell)"  # an advice to those who write tg.explain(...)


def report(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="the HTML file to write; without it, report.html in DIR")] = None,
) -> None:
    """Write one page on a run that was kept; any browser opens it, and it fetches nothing.

    Example:
      tinygrad-ce train moons --epochs 20 --out runs/moons
      tinygrad-ce report runs/moons
    """
    kept = KeptRun(run)
    path = run / "report.html" if out is None else out
    check_writable(path, ".html")
    leave_dropped_columns_to_the_summary()
    trained = kept.trained()
    page = as_page(_title(trained), sections_of(trained), links=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page.encode())
    console.print(f"wrote {path}: {_title(trained)}", highlight=False, soft_wrap=True)


def _title(run: Run) -> str:
    return f"{run.train.name}, after {several(len(run.trainer.history), 'epoch')}"


def sections_of(run: Run) -> list[Section]:
    """What stands on the page."""
    cost, title = loss_and_gradients(run)
    graph = Picture(tg.draw(cost, title).svg.encode(), "the graph of the loss of one batch", "svg+xml")
    network: list[Part] = [
        *run.model.summary().parts,
        Sentence(f"The graph of one batch, with values and gradients: {title}."),
        graph,
    ]
    audit = tg.audit(run.model, cost, run.trainer.optimizer)
    step = "Forward, backward and update as NumPy: the network is no more than this."
    program = Code(program_of_first_batch(run).text(False))
    return [
        Section("The data", _data(run)),
        Section("The network", network),
        Section("The curves", run.trainer.history.parts),
        Section("How good it is", _figures(run)),
        *_answers(run),
        Section("The hardest rows", _hardest(run)),
        Section("The audit", [Sentence(f"What each layer makes of one batch: {title}."), *audit.parts]),
        Section("One step of the training", [Sentence(step), program]),
    ]


def _plot(figure: Any, label: str) -> Picture:
    """A matplotlib figure. label: what can be seen on it."""
    width = round(96 * figure.get_size_inches()[0])  # CSS has 96 pixels to an inch
    return Picture(figure._repr_png_, label, width=width)


def _data(run: Run) -> list[Part]:
    shown: list[Part] = [
        Sentence(
            "The training rows train; the validation rows are only measured after each epoch; the test rows are "
            "measured once, at the end."
        ),
        rows_by_class(run),
    ]
    if run.train.preparation is not None:
        shown += run.train.preparation.summary().parts
    return shown


def _figures(run: Run) -> list[Part]:
    figures = {name: figures_of(run.trainer, part, run.loss) for name, part in run.parts.items()}
    shown: list[Part] = [figures_table(figures)]
    report = report_of(run.trainer, run.test, run.loss)
    if report is not None:
        shown += [Sentence("The test rows in detail:"), *report.parts]
    elif not run.test.class_names:
        shown.append(_plot(residuals_figure(run), f"predicted over true {run.target} of the test rows"))
    return shown


def _answers(run: Run) -> list[Section]:
    """Which class was taken for which; of numbers nothing: their residuals stand beside their figures."""
    if not run.test.class_names:
        return []
    shown: list[Part] = [_plot(confusion_figure(run), "how many test rows of each class were taken for which class")]
    if run.train.n_features == 2:
        shown.append(_plot(boundary_figure(run), "which class is predicted where"))
    return [Section("Confusion", shown)]


def _hardest(run: Run) -> list[Part]:
    """The test rows with the largest loss: what was predicted, and what each pushes."""
    own_units = datasets.split(load(run.settings), *SHARES, seed=run.settings.seed)[2]
    hard = run.trainer.hardest(run.test.X, run.targets(run.test), MOST_ROWS, run.test.class_names or None)
    rows: list[tuple[str, ...]] = []
    for n, row in enumerate(map(int, hard.rows)):
        pulls, pushes = _pushed(run, run.test.take([row]))
        p = "" if hard.probabilities is None else f" ({hard.probabilities[n]:.2f})"
        answer = (_answer(hard.true[n]), f"{_answer(hard.predicted[n])}{p}", format_number(hard.losses[n], 3))
        rows.append((str(row), *answer, _features(own_units, row, run.test.feature_names, pulls), pushes))
    header = ("row", "true", "predicted", "loss", "the features that its loss feels most", "the gradients it gives")
    part = run.test.take(hard.rows)
    run.trainer.optimizer.zero_grad()
    cost = run.trainer.loss(run.model(tg.Tensor(part.X, name="x")), run.targets(part))
    weight = [parameter for parameter in run.model.parameters() if parameter.ndim == 2][-1]
    why = tg.explain(weight, cost).parts
    return [
        Sentence(
            "The test rows with the largest loss, numbered as they stand in the test part. An arrow says in which "
            "direction a feature makes that loss smaller; the norms are those of the largest gradients that this row "
            "alone would give to the parameters."
        ),
        Table(rows, header, frozenset({0, 3})),
        Heading("What these rows do to the last weights, as a batch in this order"),
        *(replace(part, text=part.text.replace(OF_PYTHON, "")) if isinstance(part, Sentence) else part for part in why),
    ]


def _answer(value: Any) -> str:
    """The name of a class, or a number with four digits."""
    return format_number(value) if isinstance(value, float) else short(value, LONGEST)


def _pushed(run: Run, row: datasets.Dataset) -> tuple[Array, str]:
    """The gradient of one row's loss: of its features, and in words of the parameters where its norm is largest."""
    x = tg.Tensor(row.X, requires_grad=True, name="x")
    cost = run.trainer.loss(run.model.eval()(x), run.targets(row))
    names, parameters = zip(*run.model.named_parameters(), strict=True)
    of_x, *others = tg.gradients(cost, [x, *parameters])
    norms = sorted(zip((float(np.linalg.norm(g)) for g in others), names, strict=True), reverse=True)
    return of_x[0], ", ".join(f"{name} {format_number(norm, 3)}" for norm, name in norms[:2])


def _features(own_units: datasets.Dataset, row: int, names: Sequence[str], pulls: Array) -> str:
    """The features with the largest slope, in their own units, each with the direction that makes the loss smaller."""
    strongest = np.argsort(-np.abs(pulls), kind="stable")[:MOST_FEATURES]
    felt = [(names[n], "↓" if pulls[n] > 0 else "↑") for n in map(int, strongest) if pulls[n]]
    values = dict(zip(own_units.feature_names, own_units.X[row], strict=True))
    return ", ".join(f"{short(name, LONGEST)} = {format_number(values[name], 3)} {arrow}" for name, arrow in felt)
