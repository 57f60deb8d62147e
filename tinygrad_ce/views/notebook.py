"""HTML for notebooks: the one place that escapes texts and builds tables, and the forms of what has none of its own.

There are no colours here and no backgrounds: what is shown stands on light pages and on dark ones.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import several
from tinygrad_ce.report.words import cut, escaped

_RULE = "1px solid rgba(128, 128, 128, 0.4)"  # seen on white and on black
MOST_ROWS, MOST_COLUMNS = 5, 12  # of a Dataset
LONGEST = 40  # letters of a name


class Sentence(str):
    """A cell of a table that is set in the page's own letters; all others are numbers, names and formulas."""


class Strong(Sentence):
    """One that stands out."""


def block(*parts: str) -> str:
    """Pieces of HTML as one form."""
    return f'<div class="tinygrad-ce">{"".join(parts)}</div>'


def heading(text: str) -> str:
    """The title of what follows."""
    return f'<p style="font-weight: bold; margin: 0.6em 0 0.3em">{escaped(text)}</p>'


def paragraph(text: str) -> str:
    """A few sentences."""
    return f'<p style="margin: 0.3em 0">{escaped(text)}</p>'


def preformatted(text: str) -> str:
    """Lines as they are printed, in letters of one width: nbconvert's pages set `pre` as they set sentences."""
    style = "margin: 0.3em 0; line-height: 1.3; overflow-x: auto; font-family: monospace"
    return f'<pre style="{style}">{escaped(text)}</pre>'


def table(
    rows: Sequence[Sequence[str]],
    header: Sequence[str] = (),
    right: Collection[int] = (),
    whole: Collection[int] = (),
) -> str:
    """A table; without a header the first cell of a row is its title.

    right: the columns of numbers, which stand on the right. whole: the columns that are never broken into lines.
    """
    head = "".join(_cell("th", title, n in right, scope="col") for n, title in enumerate(header))
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    body = ""
    for row in rows:
        titled = 0 if header else 1
        cells = [_cell("th", cell, scope="row") for cell in row[:titled]]
        cells += [_cell("td", cell, n in right, n in whole) for n, cell in enumerate(row[titled:], start=titled)]
        body += f"<tr>{''.join(cells)}</tr>"
    shown = f'<table style="border-collapse: collapse; margin: 0.3em 0">{head}<tbody>{body}</tbody></table>'
    return f'<div style="overflow-x: auto">{shown}</div>'  # on a phone it is wider than the screen


def _cell(tag: str, text: str, right: bool = False, whole: bool = False, scope: str = "") -> str:
    style = f"text-align: {'right' if right else 'left'}; vertical-align: top; padding: 0.2em 0.7em"
    style += f"; border-bottom: {_RULE}"
    if isinstance(text, Sentence):
        style += "; min-width: 15em" if len(text) > 30 else ""  # where the table is wider than the page
    elif tag == "td":
        style += f"; font-family: monospace; white-space: {'pre' if whole else 'pre-wrap'}"
    content = f"<b>{escaped(text)}</b>" if isinstance(text, Strong) else escaped(text)
    scoped = f' scope="{scope}"' if scope else ""
    return f'<{tag}{scoped} style="{style}">{content}</{tag}>'


def image(content: bytes, description: str, kind: str = "png", least: int = 0) -> str:
    """A picture that is as wide as it is, or as its cell. kind: "png" or "svg+xml".

    least: the pixels below which its width does not shrink; in a cell that is narrower it is scrolled.
    """
    address = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    style = "max-width: 100%; height: auto" + (f"; min-width: {least}px" if least else "")
    shown = f'<img src="{address}" alt="{escaped(description)}" style="{style}"/>'
    return f'<div style="overflow-x: auto">{shown}</div>' if least else shown


# ---- the forms: functions that become the `_repr_html_` of a class


def attach(forms: Mapping[type, Callable[[Any], str]]) -> None:
    """Give each class its form; the classes know nothing of it."""
    for cls, form in forms.items():
        cls._repr_html_ = form  # type: ignore[attr-defined]


def tensor_form(tensor: Any) -> str:
    """A Tensor: what it is, and its values beside its gradient, shortened."""
    from tinygrad_ce.errors import call_text
    from tinygrad_ce.source_lines import line_of

    shape = f"shape {tensor.shape}, {tensor.dtype}"
    if tensor.op is not None:
        origin = f" = {call_text(tensor.op, tensor.inputs)}"
        line = line_of(tensor.note) if tensor.note is not None else None
        shape += f", {line.short}" if line is not None else ""
    else:
        origin = ", requires_grad=True" if tensor.requires_grad else ""
    columns = {"value": tensor.data} if tensor.grad is None else {"value": tensor.data, "gradient": tensor.grad}
    values = table([[_shortened(array) for array in columns.values()]], [*columns])
    return block(heading(f"Tensor {tensor.label}{origin}"), paragraph(shape), values)


def _shortened(array: Array) -> str:
    """An array's numbers; of many, those at its ends."""
    return np.array2string(array, precision=4, threshold=60, edgeitems=3, max_line_width=60)


def text_form(text: Any) -> str:
    """A PrintedText: its table, or its lines."""
    if not text.rows:
        return block(preformatted(text))
    return block(heading(text.caption), *map(paragraph, text.notes), table(text.rows, text.header, right=text.right))


def learning_rates_form(found: Any) -> str:
    """What `find_learning_rate` has found: the suggestion, and the curve where matplotlib is installed."""
    title, *lines = str(found).splitlines()
    return block(heading(title), *map(paragraph, lines), _picture_of(found.plot, "the loss over the learning rates"))


def preparation_form(preparation: Any) -> str:
    """A Preparation: what became of each column."""
    return text_form(preparation.summary())


def report_form(report: Any) -> str:
    """The report of a trained model: its figures, and its curves where matplotlib is installed."""
    return block(
        *(table(rows, header, right={*range(1, len(header or rows[0]))}) for header, *rows in report.tables()),
        *map(paragraph, report.notes),
        _picture_of(report.figure, "the curves of this report"),
    )


def _picture_of(figure: Callable[[], Any], description: str) -> str:
    """What a function draws, or why it cannot."""
    try:
        return image(figure()._repr_png_(), description)
    except (ImportError, ValueError) as error:
        return paragraph(str(error))


def module_form(module: Any) -> str:
    """A Module: its layers and their parameters; the model does not run for it."""
    from tinygrad_ce.nn.module import summary_of

    return text_form(summary_of(module))


def dataset_form(dataset: Any) -> str:
    """A Dataset: its first rows, and how many rows each class has."""
    from tinygrad_ce.views.picture import short

    names = [cut(name, LONGEST) for name in dataset.feature_names[:MOST_COLUMNS]]
    left_out = dataset.n_features - len(names)
    header = [*names, *([f"… {left_out} more"] if left_out else []), "target"]
    rows = []
    for x, y in zip(dataset.X[:MOST_ROWS], dataset.y, strict=False):
        target = cut(dataset.class_names[y], LONGEST) if dataset.class_names else short(y)
        rows.append([*map(short, x[: len(names)]), *(["…"] if left_out else []), target])
    parts = [heading(repr(dataset)), table(rows, header, right={*range(len(names))})]
    if len(dataset) > len(rows):
        parts.append(paragraph(f"the first {len(rows)} of {len(dataset):,} rows"))
    if dataset.class_names:
        counts = np.bincount(dataset.y, minlength=dataset.n_classes)
        classes = sorted(zip(dataset.class_names, counts, strict=True), key=lambda pair: -pair[1])
        listed = ", ".join(f"{cut(name, LONGEST)} {count:,}" for name, count in classes[:MOST_COLUMNS])
        more = f" and {len(classes) - MOST_COLUMNS} more classes" if len(classes) > MOST_COLUMNS else ""
        parts.append(paragraph(f"rows by class: {listed}{more}"))
    return block(*parts)


def history_form(history: Any) -> str:
    """A History: its curves where matplotlib is installed, and the figures of the first, best and last epoch."""
    from tinygrad_ce.views.picture import short

    epochs = len(history)
    if not epochs:
        return block(paragraph(repr(history)))
    parts = [heading(f"{several(epochs, 'epoch')}, {history.stopped}")]
    parts.append(_picture_of(history.plot, "the curves of the loss and the accuracy over the epochs"))
    losses = history["val_loss" if "val_loss" in history.columns else "loss"]
    best = int(np.nanargmin(losses)) if np.isfinite(losses).any() else 0
    chosen = {0: "first", best: "best", epochs - 1: "last"}
    rows = [[chosen[i], *(short(values[i]) for values in history.columns.values())] for i in sorted(chosen)]
    parts.append(table(rows, ["", *history.columns], right={*range(1, 1 + len(history.columns))}))
    return block(*parts)


def trainer_form(trainer: Any) -> str:
    """A Trainer: what it trains with what, and how far it has come."""
    optimizer = trainer.optimizer
    rows = [
        ("model", cut(repr(trainer.model), 500)),
        ("parameters", f"{sum(parameter.size for parameter in trainer.model.parameters()):,}"),
        ("loss", getattr(trainer.loss, "__name__", None) or repr(trainer.loss)),
        ("optimizer", f"{type(optimizer).__name__}, lr={optimizer.lr:.4g}, {several(optimizer.steps, 'step')} taken"),
    ]
    return block(heading("Trainer"), table(rows), history_form(trainer.history) if len(trainer.history) else "")


def saved_form(saved: Any) -> str:
    """What a file held, and how far the training had come."""
    parameters = sum(parameter.size for parameter in saved.model.parameters())
    rows = [("file", str(saved.path)), ("model", cut(repr(saved.model), 500)), ("parameters", f"{parameters:,}")]
    for name in ("loss", "optimizer"):
        if (value := getattr(saved, name)) is not None:
            rows.append((name, getattr(value, "__name__", None) or cut(repr(value), 500)))
    if saved.preparation is not None:
        names = saved.preparation.feature_names
        listed = ", ".join(cut(name, LONGEST) for name in names[:MOST_COLUMNS])
        rows.append(("features", f"{len(names)}: {listed}{', …' if len(names) > MOST_COLUMNS else ''}"))
    return block(heading("Saved"), table(rows), history_form(saved.history) if len(saved.history) else "")


def exercise_form(exercise: Any) -> str:
    """An Exercise: the gradients to compute, and which are right."""
    title = f"{several(len(exercise.names), 'gradient')} to compute, in the order of the backward pass"
    rows = [(name, str(exercise.shapes[name]), exercise.status(name)) for name in exercise.names]
    return block(heading(title), table(rows, ("gradient", "shape", "verdict")))


def gradcheck_form(report: Any) -> str:
    """The report of gradcheck: its verdict, and every element that is wrong."""
    title, *notes = str(report).splitlines()[: 1 + len(report.notes)]
    if report.ok:
        notes.append(f"largest relative difference of the projections: {report.largest_difference:.1e}")
    parts = [heading(title), *(paragraph(note.strip()) for note in notes)]
    if report.mismatches:
        header = ("input", "index", "analytic", "numerical", "relative", "trouble")
        rows = [
            (
                m.argument,
                str(list(m.index)),
                f"{m.analytic:.6g}",
                f"{m.numerical:.6g}",
                f"{m.relative:.1e}",
                Sentence(m.trouble),
            )
            for m in report.mismatches
        ]
        parts.append(table(rows, header, right={2, 3, 4}))
    return block(*parts)
