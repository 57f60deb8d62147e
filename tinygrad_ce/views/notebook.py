"""What a notebook shows of a Tensor, data and a training: their parts, built here and attached to the classes.

All other classes that show themselves are Reports, or PrintedTexts, and build their own parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygrad_ce.report.html import as_html
from tinygrad_ce.report.parts import Heading, Part, Sentence, Table
from tinygrad_ce.report.words import cut, format_number, listed, several

MOST_ROWS, MOST_COLUMNS = 5, 12  # of a Dataset
LONGEST = 40  # letters of a name
LONGEST_MODEL = 500  # letters


def attach(shown_by: Mapping[type, Callable[[Any], Sequence[Part]]]) -> None:
    """Have each class shown by its parts; the classes know nothing of it."""
    for cls, parts_of in shown_by.items():
        cls._repr_html_ = lambda self, parts_of=parts_of: as_html(parts_of(self))  # type: ignore[attr-defined]


def tensor_parts(tensor: Any) -> list[Part]:
    """A Tensor: what it is, and its values beside its gradient, shortened."""
    from tinygrad_ce.errors import call_text
    from tinygrad_ce.source_lines import line_of

    shape = f"shape {tensor.shape}, {tensor.dtype}"
    origin = ", requires_grad=True" if tensor.requires_grad else ""
    if tensor.op is not None:
        origin = f" = {call_text(tensor.op, tensor.inputs)}"
        line = line_of(tensor.note)
        shape += f", {line.short}" if line is not None else ""
    columns = {"value": tensor.data} if tensor.grad is None else {"value": tensor.data, "gradient": tensor.grad}
    shortened = partial(np.array2string, precision=4, threshold=60, edgeitems=3, max_line_width=60)
    numbers = [*map(shortened, columns.values())]
    return [Heading(f"Tensor {tensor.label}{origin}"), Sentence(shape), Table([numbers], [*columns])]


def dataset_parts(dataset: Any) -> list[Part]:
    """A Dataset: its first rows, and how many rows each class has."""
    names = [cut(name, LONGEST) for name in dataset.feature_names[:MOST_COLUMNS]]
    left_out = dataset.n_features - len(names)
    more, dots = ([f"… {left_out} more"], ["…"]) if left_out else ([], [])
    rows = []
    for x, y in zip(dataset.X[:MOST_ROWS], dataset.y, strict=False):
        target = cut(dataset.class_names[y], LONGEST) if dataset.class_names else format_number(y, 3)
        rows.append([*(format_number(value, 3) for value in x[: len(names)]), *dots, target])
    table = Table(rows, [*names, *more, "target"], frozenset(range(len(names))))
    parts: list[Part] = [Heading(repr(dataset)), table]
    if len(dataset) > len(rows):
        parts.append(Sentence(f"the first {len(rows)} of {len(dataset):,} rows"))
    if dataset.class_names:
        counts = np.bincount(dataset.y, minlength=dataset.n_classes)
        sizes = [f"{cut(dataset.class_names[n], LONGEST)} {counts[n]:,}" for n in np.argsort(-counts, kind="stable")]
        parts.append(Sentence(f"rows by class: {listed(sizes, MOST_COLUMNS)}"))
    return parts


def trainer_parts(trainer: Any) -> list[Part]:
    """A Trainer: what it trains with what, and how far it has come."""
    optimizer = trainer.optimizer
    taken = f"{type(optimizer).__name__}, lr={format_number(optimizer.lr)}, {several(optimizer.steps, 'step')} taken"
    rows = [*_model_rows(trainer.model), ("loss", _name_of(trainer.loss)), ("optimizer", taken)]
    return [Heading("Trainer"), Table(rows), *(trainer.history.parts if len(trainer.history) else ())]


def saved_parts(saved: Any) -> list[Part]:
    """What a file held, and how far the training had come."""
    rows = [("file", str(saved.path)), *_model_rows(saved.model)]
    rows += [(name, _name_of(value)) for name in ("loss", "optimizer") if (value := getattr(saved, name)) is not None]
    if saved.preparation is not None:
        names = [cut(name, LONGEST) for name in saved.preparation.feature_names]
        rows.append(("features", f"{len(names)}: {listed(names, MOST_COLUMNS)}"))
    return [Heading("Saved"), Table(rows), *(saved.history.parts if len(saved.history) else ())]


def _model_rows(model: Any) -> list[tuple[str, str]]:
    parameters = sum(parameter.size for parameter in model.parameters())
    return [("model", cut(repr(model), LONGEST_MODEL)), ("parameters", f"{parameters:,}")]


def _name_of(value: Any) -> str:
    """The name of a function, or what an object prints."""
    return getattr(value, "__name__", None) or cut(repr(value), LONGEST_MODEL)
