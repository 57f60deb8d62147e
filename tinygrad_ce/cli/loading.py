"""The data of a run: a data set by its name, or a CSV file."""

from __future__ import annotations

import csv
import hashlib
import inspect
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tinygrad_ce import data as datasets
from tinygrad_ce.cli.settings import OF_TABLES, Settings
from tinygrad_ce.data.checks import shown


def load(settings: Settings) -> datasets.Dataset:
    """The data set of that name, or of that CSV file. Raises ValueError for neither, and for a target that is amiss.

    The numbers of a CSV file's target are predicted as numbers with --loss mse, and with --loss auto if they have
    fractions or many values; else they are classes, as words are.
    """
    if settings.data in datasets.NAMES:
        _check_no_table(settings)
        build = datasets.NAMES[settings.data]
        return build(seed=settings.seed) if "seed" in inspect.signature(build).parameters else build()
    if not settings.data.lower().endswith(".csv") and not Path(settings.data).exists():
        return datasets.load(settings.data)  # raises, with the names there are
    if settings.target is None:
        raise ValueError(f"{settings.data}: say with --target which column is to be predicted")
    reading: dict[str, Any] = {name: getattr(settings, name) for name in ("delimiter", "decimal", "encoding")}
    regression = settings.loss == "mse" or (
        settings.loss == "auto" and datasets.predicts_numbers(settings.data, settings.target, **reading)
    )
    return datasets.from_csv(
        settings.data,
        settings.target,
        regression=regression,
        missing=settings.missing,
        drop=column_names(settings.drop),
        day_first=settings.day_first,
        most_levels=settings.most_levels,
        **reading,
    )


def digest_of(settings: Settings) -> str | None:
    """The SHA-256 of the CSV file, by which a run knows whether it has changed; None for a built-in data set."""
    if settings.data in datasets.NAMES:
        return None
    return hashlib.sha256(Path(settings.data).read_bytes()).hexdigest()


def column_names(text: str) -> list[str]:
    """The names in "a,b"; one with a comma in it stands in double quotes, as in a CSV file.

    >>> column_names('a, "b,c"')
    ['a', 'b,c']
    """
    try:
        (names,) = csv.reader([text], skipinitialspace=True) if text.strip() else ([],)
    except csv.Error:  # a line break, which no file that a name could stand in has there
        raise ValueError(f"--drop {shown(text)}: write the names on one line, with commas between them") from None
    return [name.strip() for name in names]


def _check_no_table(settings: Settings) -> None:
    """ValueError for an option that says how a table is read."""
    default = {field.name: field.default for field in fields(settings)}
    for name in OF_TABLES:
        if asdict(settings)[name] != default[name]:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} is for a CSV file, and {settings.data} is a built-in data set")
