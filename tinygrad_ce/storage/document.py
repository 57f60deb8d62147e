"""What a file says of its arrays, checked before they are read: its version, what each is, and that all are there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import quoted, shown
from tinygrad_ce.nn import Module
from tinygrad_ce.nn.module import arrays_of
from tinygrad_ce.report.words import short, visible
from tinygrad_ce.storage.architecture import shared_paths
from tinygrad_ce.storage.classes import OwnCodeError
from tinygrad_ce.storage.file import Entry, ModelFile, NoModelError, check_entries
from tinygrad_ce.storage.parameters import check_finite, describe_model, expected_entries
from tinygrad_ce.storage.settings import describe_loss

LONGEST_REASON = 600  # characters of an error, in which there may be names out of the file
FORMAT = 1  # raised when a file can no longer be read as before
PARTS = {"optimizer.": "optimizer", "loss.": "loss", "history.": "history", "batches.": "history"}  # names of arrays


def describe_saved(
    model: Module, loss: Any = None, preparation: Any = None, task: str | None = None
) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a file says of a model with its loss and the preparation of its rows, and the arrays that it holds.

    The states of generators are None.
    """
    described, own = describe_model(model)
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": sys.modules["tinygrad_ce"].__version__,
        "model": described,
        "task": task,
        "seed": None,
        "generator": None,
        "preparation": None if preparation is None else preparation.to_json(),
    }
    arrays = {f"model.{name}": array for name, array in own.items()}
    if loss is None:
        return document, arrays
    document["loss"], more = described_or_own(describe_loss, loss)
    return document, arrays | more


def described_or_own(describe: Callable[..., Any], *values: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a file says of an object of the package; of one of the user's own, only what it is called."""
    try:
        described: tuple[dict[str, Any], dict[str, Array]] = describe(*values)
    except OwnCodeError as error:
        return {"own": str(error)}, {}
    return described


@contextmanager
def in_words(opened: ModelFile) -> Iterator[None]:
    """What goes wrong with the content of a file, as an error of one line that names it."""
    try:
        yield
    except NoModelError:
        raise
    except RecursionError as error:
        raise opened.refusal("is damaged: its layers stand too deep inside each other") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError) as error:
        words = visible(" ".join(str(error).split()))
        raise opened.refusal(f"cannot be used: {short(words, LONGEST_REASON)}") from error


def checked_document(opened: ModelFile, into: Any) -> dict[str, Any]:
    """The description of what the file holds. That of a file of another program is made up: a model's arrays."""
    document = opened.document
    if document is None:
        if not isinstance(into, Module):
            raise opened.refusal(
                f"holds arrays and no model of tinygrad_ce ({quoted([*opened.entries][:3])}...): if the names are the "
                "paths of a model's arrays, make that and pass it: tg.load(path, into=model)"
            )
        return {"model": {"layers": None, "parameters": [], "constants": []}}
    version, form = shown(document.get("version")), document.get("format")
    if type(form) is not int or not 1 <= form <= FORMAT:
        raise opened.refusal(
            f"was written by tinygrad_ce {version} in format {shown(form)}, and this is "
            f"{sys.modules['tinygrad_ce'].__version__}, which reads up to {FORMAT}: pip install -U tinygrad_ce"
        )
    model = document.get("model")
    if not isinstance(model, dict) or not all(
        isinstance(model.get(key), list) and all(isinstance(path, str) for path in model[key])
        for key in ("parameters", "constants", "evaluation")
    ):
        raise opened.refusal("is damaged: it does not say what its arrays are")
    if into is None and model.get("layers") is None:
        raise opened.refusal(
            f"has code of your own in it, which no file holds: {shown(model.get('own'))}; make the model as "
            "your program does, and pass it: tg.load(path, into=model)"
        )
    return document


def checked_entries(opened: ModelFile, document: dict[str, Any], model: Module | None) -> dict[str, Entry]:
    """What the file says of the model's arrays, if these are the arrays of the model, and of nothing else."""
    facts = document["model"]
    prefix = prefix_of(opened)
    found = group(opened.entries, prefix)
    known = (prefix, *(name for name, part in PARTS.items() if document.get(part)))
    others = [name for name in opened.entries if not name.startswith(known)]
    if others:
        raise opened.refusal(f"is damaged: it has besides {quoted(others)}, which belongs to nothing")
    constants = {*facts["constants"]}
    strict = {path: entry for path, entry in found.items() if path not in constants}
    if model is None:
        shared = shared_paths(facts["layers"])
        expected, cure = expected_entries(facts["layers"], shared, found), "it is damaged"
    else:
        expected = {path: Entry(array.dtype, array.shape) for path, array, _ in arrays_of(model)}
        cure = "make the model with the sizes, and the dtype, that it had"
    check_entries(opened, expected, strict, cure)
    return found


def check_numbers(document: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """ValueError for NaN where none may be: anywhere in library layers, and in what an optimizer changes or keeps."""
    model = document["model"]
    names = {f"model.{path}" for path in model["parameters"]} if model["layers"] is None else {*arrays}
    parts = {name: array for name, array in arrays.items() if name in names and name.startswith("model.")}
    parts |= {name: array for name, array in arrays.items() if name.startswith("optimizer.")}
    best = parts.get("optimizer.schedule.best")
    if best is not None and best.shape == () and best == np.inf:  # there was no loss yet
        del parts["optimizer.schedule.best"]
    check_finite(parts)


def prefix_of(opened: ModelFile) -> str:
    """How the names of the model's arrays begin: in a file of another program, there is nothing before their paths."""
    return "" if opened.document is None else "model."


def group(named: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Those whose names begin so, without that."""
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
