"""A folder that `train --out` has filled, read again: the settings, the record and the model of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import tinygrad_ce as tg
from tinygrad_ce.cli.run import Run, prepared
from tinygrad_ce.cli.settings import settings_from
from tinygrad_ce.data.checks import shown

RECORD, MODEL, SUFFIX = "run.json", "model.safetensors", ".safetensors"


class KeptRun:
    """A run that was kept in a folder: path, settings, loss (its name), and saved (`tg.load` of its model).

    Raises OSError for what is no folder of a run, and ValueError for damaged files, or files of two different runs.
    """

    def __init__(self, path: Path) -> None:
        if path.is_file():
            folder = path.parent if (path.parent / RECORD).is_file() else "the one that train --out has filled"
            raise NotADirectoryError(f"{path} is a file, and not the folder of a run; write {folder}")
        for name in (RECORD, MODEL):
            if not (path / name).is_file():
                raise FileNotFoundError(
                    f"{path} is not the folder of a run: it has no {name}; tinygrad-ce train DATA --out {path} fills it"
                )
        self.path = path
        record = _record(path / RECORD)
        try:
            self.settings = settings_from(record["settings"])
        except ValueError as error:
            raise ValueError(f"{path / RECORD}: {error}; train again with --out {path}") from None
        self.loss: str = record["loss"]
        self.digest = record["data"].get("sha256")
        self.saved: Any = _with_preparation(path / MODEL)
        kept, recorded = self.saved.history.columns, record["history"]
        if not _is_one_history(kept, recorded):
            raise ValueError(f"{path}: {RECORD} and {MODEL} are of two different runs; train again with --out {path}")
        # A kill between the two files leaves one of before the last epochs: what the model has learnt is what counts.
        learnt, written = (len(next(iter(columns.values()))) for columns in (kept, recorded))
        self.settings = replace(self.settings, epochs=self.settings.epochs + learnt - written)

    def fresh(self) -> Run:
        """The same settings' run before its first epoch. Raises ValueError if its table is gone or has changed."""
        data = self.settings.data
        try:
            run = prepared(self.settings)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}; the run in {self.path} was trained on {data}: call the command from the folder where it is"
            ) from None
        prepares = run.train.preparation
        if run.digest != self.digest or prepares is None or prepares.to_json() != self.saved.preparation.to_json():
            raise ValueError(
                f"{data} has changed since the run in {self.path} was trained on it: train again with --out {self.path}"
            )
        return run

    def resume(self, fresh: Run, epochs: int) -> Run:
        """The run, ready for so many epochs more. fresh: what `fresh()` has given."""
        settings = replace(self.settings, epochs=self.settings.epochs + epochs)
        return replace(fresh, settings=settings, trainer=self.saved.trainer)

    def trained(self) -> Run:
        """The run as it was left, with its data."""
        return self.resume(self.fresh(), 0)


def _is_one_history(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two histories are the same, or one goes on where the other ends."""
    if not one or one.keys() != other.keys() or not all(isinstance(column, list) for column in other.values()):
        return False
    both = min(len(column) for columns in (one, other) for column in columns.values())
    return both > 0 and all(one[name][:both] == other[name][:both] for name in one)


def saved_at(path: Path) -> Any:
    """`tg.load` of a run's model; path: its folder, or the model's file alone, as one hands it on.

    Raises what `KeptRun` raises.
    """
    return _with_preparation(path) if path.suffix == SUFFIX and path.is_file() else KeptRun(path).saved


def _with_preparation(path: Path) -> Any:
    """`tg.load` of a model that can be asked about a table."""
    saved = tg.load(path)
    if saved.preparation is None:
        raise ValueError(f"{path} has no preparation of data, so it cannot be asked about a table")
    return saved


def _record(path: Path) -> dict[str, Any]:
    """The content of run.json, once its outline has been found to be right."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no UTF-8, or no JSON
        raise ValueError(f"{path}: damaged ({error}); train again with --out {path.parent}") from None
    outline = {"settings": dict, "data": dict, "loss": str, "history": dict}
    for name, kind in outline.items():
        if not isinstance(record, dict) or not isinstance(record.get(name), kind):
            found = record.get(name) if isinstance(record, dict) else record
            raise ValueError(f"{path}: {name} is {shown(found)}; train again with --out {path.parent}")
    return dict(record)
