"""Save and load: a model with all that is needed to use it, to train it further and to ask it about new rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_ce import data, nn
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.data.checks import quoted, shown
from tinygrad_ce.data.preparation import Preparation
from tinygrad_ce.data.structures import take_rows
from tinygrad_ce.nn.module import call_model, evaluating, leaves_of
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.report.html import as_html
from tinygrad_ce.report.words import several
from tinygrad_ce.storage import architecture, file, parameters, settings
from tinygrad_ce.storage.document import (
    check_numbers,
    checked_document,
    checked_entries,
    describe_saved,
    described_or_own,
    group,
    in_words,
    prefix_of,
)
from tinygrad_ce.train.history import History
from tinygrad_ce.train.predictor import Predictor
from tinygrad_ce.train.trainer import Trainer
from tinygrad_ce.views.notebook import saved_parts

Path = str | os.PathLike[str]


def save(
    path: Path,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    preparation: Preparation | None = None,
    loss: Any = None,
    history: History | None = None,
    generator: np.random.Generator | None = None,
) -> None:
    """Write a model, and what belongs to it, into one safetensors file; `trainer.save(path)` writes all of it.

    Parameters (frozen ones too), other arrays and their dtypes are kept, and the state of `tg.seed`'s generator.
    Layers, losses, optimizers and schedules of the package are described and can be made again; of code of your own
    only the arrays are kept, and `load` asks for the object by `into=`.
    optimizer, loss, history: of the training. generator: the one of the batches, so that a training goes on with the
    same ones; one that you have put into a Dropout yourself is not kept. preparation: of the rows.
    The old file stays until the new one is whole. Raises OSError that names the file, TypeError for what cannot be
    kept, ValueError for parameters that are NaN or infinite: what was saved before is worth more.

    >>> from tempfile import mkdtemp; path = mkdtemp() + "/model.safetensors"
    >>> tg.save(path, tg.nn.Dense(2, 1)); tg.load(path)
    Saved(Dense(2, 1))
    """
    _save(path, model, optimizer, preparation, loss, history, generator)


def save_trainer(path: Path, trainer: Trainer) -> None:
    """Write all that a trainer has: it can go on in another process as if it had never stopped."""
    t = trainer
    _save(path, t.model, t.optimizer, t.preparation, t.loss, t.history_so_far, t.generator, t.task)


def _save(
    path: Path,
    model: nn.Module,
    optimizer: Optimizer | None,
    preparation: Preparation | None,
    loss: Any,
    history: History | None,
    generator: np.random.Generator | None,
    task: str | None = None,
) -> None:
    _check_arguments(path, model, optimizer, preparation, history, generator)
    try:
        document, arrays = describe_saved(model, loss, preparation, task)
    except ValueError as error:
        raise ValueError(f"save: {error}") from error
    document["seed"] = settings.describe_generator(nn.init.generator())
    document["generator"] = None if generator is None else settings.describe_generator(generator)
    if optimizer is not None:
        paths = parameters.paths_of(model, optimizer.parameters)
        document["optimizer"], more = described_or_own(settings.describe_optimizer, optimizer, paths)
        document["optimizer"]["parameters"] = paths
        arrays |= more or settings.state_of(optimizer)
    if history is not None:
        facts = {"columns": [*history.columns], "stopped": history.stopped, "compiled": history.compiled}
        document["history"] = facts
        arrays |= _columns(history)
    try:
        check_numbers(document, arrays)
    except ValueError as error:
        raise ValueError(
            f"save: {error}, so the training has diverged, and {os.fspath(path)!r} is left as it was: take a smaller "
            "learning rate, or go back to the parameters before"
        ) from None
    file.write(path, arrays, document)


def _check_arguments(path: Any, model: Any, optimizer: Any, preparation: Any, history: Any, generator: Any) -> None:
    if not isinstance(path, (str, os.PathLike)):
        kind = type(path).__name__
        raise TypeError(f"save: path is a {kind}; the path comes first: tg.save('model.safetensors', model)")
    if isinstance(model, Trainer):
        raise TypeError(f"save: model is a Trainer; write trainer.save({os.fspath(path)!r})")
    kinds: tuple[tuple[str, Any, type], ...] = (
        ("model", model, nn.Module),
        ("optimizer", optimizer, Optimizer),
        ("history", history, History),
        ("generator", generator, np.random.Generator),
    )
    for name, value, wanted in kinds:
        if not isinstance(value, wanted) and (value is not None or name == "model"):
            raise TypeError(f"save: {name} is a {type(value).__name__}; it must be a {wanted.__name__}")
    if preparation is not None and not hasattr(preparation, "to_json"):
        raise TypeError(f"save: preparation is a {type(preparation).__name__}; a Dataset has one: train.preparation")


def _columns(history: History) -> dict[str, Array]:
    """The columns of a history, and the losses of its batches, as arrays."""
    columns = {f"history.{name}": np.asarray(values) for name, values in history.columns.items()}
    for name, column in columns.items():
        if column.dtype.kind not in "fiub" or column.ndim != 1:
            raise TypeError(f"save: {name} holds {shown(history.columns[name[8:]])}; a file holds numbers only")
    return columns | {"batches.loss": np.array(history.batch_losses, float)}


# ---- back again


def load(path: Path, into: nn.Module | Trainer | tuple[nn.Module, Optimizer] | None = None) -> Saved:
    """Read what `save` has written: a `Saved` with `.model`, and whatever else was kept.

    into: a model, a Trainer, or a pair (model, optimizer), made as your program makes it, that gets what was kept: for
    classes, losses, optimizers and schedules of your own. Its arrays must have the same paths, shapes and dtypes.
    Which parameters ask for gradients, and which modules are in evaluation mode, is as it was when they were saved.
    `tg.seed`'s generator stays where it is; `saved.restore_seed()` puts it where it was.
    Nothing in the file is executed. Raises OSError where there is no file, and ValueError for one that is damaged, of
    a newer version, or does not fit: `into` is then unchanged.

    >>> from tempfile import mkdtemp; path = mkdtemp() + "/model.safetensors"
    >>> model = tg.nn.Dense(2, 1); tg.save(path, model)
    >>> bool((tg.load(path).model.W.data == model.W.data).all())
    True
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"load: path is a {type(path).__name__}; it must be the path of a file")
    model, optimizer, trainer = _targets(into)
    with file.opened(path) as opened, in_words(opened):
        document = checked_document(opened, into)
        entries = checked_entries(opened, document, model)
        arrays = opened.arrays()
        check_numbers(document, arrays)
        saved = Saved(opened.path, document)
        _read_parts(saved, document, arrays)
        own = group(arrays, prefix_of(opened))
        saved.model = architecture.build(document["model"]["layers"], own) if model is None else model
        if optimizer is None:
            saved.optimizer = _build_optimizer(document, arrays, saved.model)
        else:
            saved.optimizer, state = optimizer, _checked_state(document, arrays, saved.model, optimizer)
    # From here on nothing can fail, and what was passed is changed.
    if model is not None:
        parameters.put_arrays(model, own)
    if opened.document is not None:
        facts = document["model"]
        parameters.put_flags(saved.model, facts["parameters"], facts["evaluation"], entries)
    if optimizer is not None:
        optimizer.restore(state)
    if trainer is not None:
        saved.loss = trainer.loss
        saved._hand_over(trainer)
    return saved


def _targets(into: Any) -> tuple[nn.Module | None, Optimizer | None, Trainer | None]:
    """The model, the optimizer and the trainer that are to get what a file holds."""
    if into is None or isinstance(into, nn.Module):
        return into, None, None
    if isinstance(into, Trainer):
        return into.model, into.optimizer, into
    if isinstance(into, tuple) and len(into) == 2:
        model, optimizer = into
        if isinstance(model, nn.Module) and isinstance(optimizer, Optimizer):
            return model, optimizer, None
    if isinstance(into, type):
        raise TypeError(f"load: into is the class {into.__name__}; pass one of it: into={into.__name__}(...)")
    raise TypeError(
        f"load: into is a {type(into).__name__}; it must be a model, a Trainer or a pair (model, optimizer)"
    )


def _read_parts(saved: Saved, document: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Loss, history, generator and preparation: all that needs no model."""
    loss, history = document.get("loss"), document.get("history")
    if loss and "own" not in loss:
        saved.loss = settings.build_loss(loss, group(arrays, "loss."))
    if history:
        saved.history = _read_history(history, group(arrays, "history."))
        saved.history.batch_losses = arrays["batches.loss"].tolist()
    if document.get("generator"):
        saved.generator = settings.build_generator(document["generator"])
    if document.get("preparation"):
        saved.preparation = Preparation.from_json(document["preparation"])
    if saved.task not in (None, "classes", "binary", "numbers"):
        raise ValueError(f"there is no task {shown(saved.task)}")


def _read_history(facts: Any, columns: dict[str, Array]) -> History:
    history = History()
    if not isinstance(facts["stopped"], str) or len({column.shape for column in columns.values()}) > 1:
        raise ValueError("its history has columns of several lengths")
    history.columns = {name: columns[name].tolist() for name in facts["columns"]}
    history.stopped, history.compiled = facts["stopped"], bool(facts["compiled"])
    return history


def _build_optimizer(document: dict[str, Any], arrays: dict[str, Array], model: nn.Module) -> Optimizer | None:
    """The optimizer of the file, for the parameters of the model.

    It is made for copies, which ask for gradients: a parameter may have been frozen since it got into the optimizer.
    """
    facts = document.get("optimizer")
    if not facts or "own" in facts:
        return None
    paths = facts["parameters"]
    if len({*paths}) != len(paths) or "" in paths:
        raise ValueError("the optimizer has a parameter twice")
    leaves = dict(leaves_of(model))
    copies = [Tensor(arrays[f"model.{path}"], requires_grad=True) for path in paths]
    optimizer = settings.build_optimizer(facts, copies, group(arrays, "optimizer."))
    optimizer.parameters = [leaves[path] for path in paths]
    return optimizer


def _checked_state(
    document: dict[str, Any], arrays: dict[str, Array], model: Any, optimizer: Optimizer
) -> dict[str, Array]:
    """What an optimizer of the user's is to go on from, if it fits."""
    facts = document.get("optimizer")
    if not facts:
        raise ValueError("it holds no optimizer: tg.load(path, into=model)")
    paths = parameters.paths_of(model, optimizer.parameters)
    if paths != facts["parameters"]:
        raise ValueError(
            f"its optimizer has the parameters {quoted(facts['parameters'])}, and this one {quoted(paths)}"
        )
    state = group(arrays, "optimizer.")
    settings.check_state(optimizer, state)
    return state


class Saved:
    """What a file held. `saved(X)` is the model's answer, `saved.predict(table)` that in the words of the table.

    model: the model. optimizer, loss, preparation, generator: what was saved with it, or None. history: a History.
    trainer: a Trainer that goes on where the saved one stood.
    """

    model: nn.Module

    def __init__(self, path: str, document: Mapping[str, Any]) -> None:
        self.path = path
        self.optimizer: Optimizer | None = None
        self.loss: Any = None
        self.preparation: Preparation | None = None
        self.history = History()
        self.generator: np.random.Generator | None = None
        self.task: str | None = document.get("task")
        parts = [document.get(part) or {} for part in ("loss", "optimizer")]
        self._own = [shown(part["own"]) for part in parts if "own" in part]
        self._seed = document.get("seed")
        self._trainer: Trainer | None = None

    @property
    def trainer(self) -> Trainer:
        """A Trainer that goes on: ten epochs, save, load and ten more are twenty, bit for bit.

        Raises ValueError in words where the file has no loss or no optimizer.
        """
        if self._trainer is None:
            missing = [name for name in ("loss", "optimizer") if getattr(self, name) is None]
            if self._own:
                raise ValueError(
                    f"{self.path!r}: {' and '.join(self._own)} is code of your own, which no file holds: make the "
                    "Trainer as your program does, and pass it: tg.load(path, into=trainer)"
                )
            if missing:
                raise ValueError(
                    f"{self.path!r} holds no {' and no '.join(missing)}: write trainer.save(path), or make a new one, "
                    "tg.Trainer(saved.model, loss, optimizer)"
                )
            self._hand_over(Trainer(self.model, self.loss, self.optimizer))  # type: ignore[arg-type]
        assert self._trainer is not None
        return self._trainer

    def _hand_over(self, trainer: Trainer) -> None:
        """Let a trainer of the model go on from here."""
        self._trainer = trainer
        trainer.history, trainer.generator = self.history, self.generator
        trainer.preparation, trainer.task = self.preparation, self.task or trainer.task

    def __call__(self, *inputs: Any) -> Any:
        """What the model answers in evaluation mode, without a graph; several inputs may be a tuple or a dict."""
        with evaluating(self.model), no_grad():
            return call_model(self.model, inputs[0] if len(inputs) == 1 else inputs)

    def predict(self, table: Any, threshold: float | None = None, new_levels: str = "error") -> Array:
        """The model's answers to the rows of a table: the names of classes, or numbers in the units of the table.

        table: the path of a CSV, a DataFrame, a Dataset, or an array of features. Without a preparation in the file,
        rows as `Trainer.predict` takes them, and the answers are class indices or numbers. threshold: as there,
        new_levels: as `Preparation.features` takes it. Raises ValueError for a table that the preparation does not fit.
        """
        rows, predictor = self._rows(table, new_levels), self._predictor()
        if self.loss is None and predictor.task == "classes" and self(take_rows(rows, slice(1))).shape[1:] == (1,):
            raise ValueError(
                f"{self.path!r} has a model that gives one score a row, and no loss, which says when that is a yes: "
                "tg.save(path, model, loss=loss)"
            )
        answers = predictor.predict(rows, threshold)
        if self.preparation is None:
            return answers
        return self.preparation.invert(answers.reshape(-1) if answers.shape[1:] == (1,) else answers)

    def predict_proba(self, table: Any, new_levels: str = "error") -> Array:
        """(N, C) probabilities of the classes, in the order of `preparation.class_names`; table: as in `predict`."""
        if self.loss is None:
            raise ValueError(
                f"{self.path!r} holds no loss, which says how scores become probabilities: "
                "tg.save(path, model, loss=loss)"
            )
        return self._predictor().predict_proba(self._rows(table, new_levels))

    def restore_seed(self) -> None:
        """Put the generator of `tg.seed` where it was: for loops of your own, in which Dropout draws from it."""
        if self._seed is None:
            raise ValueError(f"{self.path!r} was not written by tg.save, and holds no generator: call tg.seed(0)")
        nn.init.generator().bit_generator.state = settings.build_generator(self._seed).bit_generator.state

    def _predictor(self) -> Predictor:
        """What answers as the task says; without a loss, classes are those with the highest score."""
        if self._trainer is not None:
            return self._trainer
        predictor = Predictor(self.model, self.loss)
        has_classes = self.preparation is not None and bool(self.preparation.class_names)
        predictor.task = self.task or ("classes" if self.loss is None and has_classes else predictor.task)
        return predictor

    def _rows(self, table: Any, new_levels: str) -> Any:
        """The features of a table, through the preparation; arrays are taken as features."""
        if isinstance(table, data.Dataset):
            return table.X
        if isinstance(table, (np.ndarray, Tensor, list, tuple, dict)):
            return table
        if self.preparation is None and not isinstance(table, (str, os.PathLike)):
            return table
        if self.preparation is None:
            raise ValueError(
                f"{self.path!r} holds no preparation, which turns a table into features: pass an array, or save it, "
                "tg.save(path, model, preparation=train.preparation)"
            )
        return self.preparation.features(table, new_levels=new_levels)

    def __repr__(self) -> str:
        parts = [repr(self.model)]
        if self.loss is not None:
            parts.append(f"loss={getattr(self.loss, '__name__', None) or repr(self.loss)}")
        if self.optimizer is not None:
            parts.append(f"optimizer={type(self.optimizer).__name__}")
        if self.preparation is not None:
            parts.append(f"preparation of {several(len(self.preparation.feature_names), 'feature')}")
        if len(self.history):
            parts.append(several(len(self.history), "epoch"))
        return f"Saved({', '.join(parts)})"

    def _repr_html_(self) -> str:
        return as_html(saved_parts(self))
