"""What Trainer is called with, checked before anything is learnt: each refusal says what to type instead."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.core import Array, Tensor, array_of
from tinygrad_ce.data.dataset import Dataset
from tinygrad_ce.data.structures import is_several, map_parts, named_parts, number_of_rows, parts_of, take_rows
from tinygrad_ce.nn.module import outputs_of
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.report.words import format_number, listed, several
from tinygrad_ce.source_lines import warn
from tinygrad_ce.train.metrics import options_of
from tinygrad_ce.variable import plain_array

ORDER = "Trainer(model, loss, optimizer)"
LARGE_TARGETS = 100.0  # a mean or deviation above which a training on raw numbers is usually slow, or diverges
OPTIMIZER = "tg.optim.SGD(model.parameters(), lr=0.1)"

# ---- what a Trainer is made of


def check_trainer(model: Any, loss: Any, optimizer: Any) -> None:
    """Raise TypeError or ValueError for what does not make a Trainer; warn of parameters that would never move."""
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise TypeError(f"Trainer: model is the class {model.__name__}; pass an object of it: {model.__name__}(...)")
    swapped = isinstance(loss, nn.Module) and loss.parameters() and isinstance(model, nn.Module)
    if isinstance(model, Optimizer) or (swapped and not model.parameters()):
        raise TypeError(f"Trainer: model is {type(model).__name__}, which has nothing to train; the order is {ORDER}")
    if not isinstance(model, nn.Module):
        raise TypeError(f"Trainer: model is {type(model).__name__}; it must be a tg.nn.Module")
    _check_loss(loss, model)
    _check_optimizer(model, loss, optimizer)


def _check_loss(loss: Any, model: nn.Module) -> None:
    if isinstance(loss, type):
        raise TypeError(f"Trainer: loss is the class {loss.__name__}; pass an object of it: tg.nn.{loss.__name__}()")
    if isinstance(loss, Optimizer):
        raise TypeError(f"Trainer: loss is the optimizer {type(loss).__name__}; the order is {ORDER}")
    if not callable(loss):
        named = f"{loss!r}" if isinstance(loss, str) else type(loss).__name__
        raise TypeError(
            f"Trainer: loss is {named}; pass a function of predictions and targets, or one of tg.nn's losses: "
            f"{_loss_called(loss)}"
        )


def _loss_called(name: Any) -> str:
    """The loss of ours that a name from elsewhere means, as it is typed."""
    plain = str(name).lower().replace("_", "").replace(" ", "").replace("loss", "")
    ours = {
        **dict.fromkeys(("mse", "l2", "meansquarederror", "squarederror"), "MSE"),
        **dict.fromkeys(("bce", "binarycrossentropy"), "BCE"),
        **dict.fromkeys(("bcewithlogits", "sigmoidbce", "sigmoidbinarycrossentropy"), "SigmoidBCE"),
    }
    return f"tg.nn.{ours.get(plain, 'SoftmaxCrossEntropy')}()"


def _check_optimizer(model: nn.Module, loss: Any, optimizer: Any) -> None:
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        name = optimizer.__name__
        raise TypeError(f"Trainer: optimizer is the class {name}; pass tg.optim.{name}(model.parameters(), lr=...)")
    if not isinstance(optimizer, Optimizer):
        order = f"; the order is {ORDER}" if isinstance(optimizer, nn.Module) or callable(optimizer) else ""
        named = f"{optimizer!r}" if isinstance(optimizer, str) else type(optimizer).__name__
        raise TypeError(f"Trainer: optimizer is {named}; pass {OPTIMIZER}{order}")
    held = {parameter.serial for parameter in optimizer.parameters}
    left_out = [name for name, parameter in model.named_parameters() if parameter.serial not in held]
    if len(left_out) == len(model.parameters()):
        raise ValueError("Trainer: the optimizer holds no parameter of this model: make it with model.parameters()")
    if left_out:
        warn(
            f"Trainer: the optimizer does not hold {listed(left_out)}, which "
            "will not be trained: make it with model.parameters(), or set requires_grad=False where that is meant"
        )


# ---- data


def rows_for(where: str, X: Any, dtype: np.dtype[Any]) -> Any:
    """X (of a Dataset, its X) as an array of rows, floating-point numbers in the dtype of the parameters.

    A tuple of arrays, or a dict, is several inputs of the model: it stays one, of such arrays.
    """
    arrays = _arrays(where, "X", X.X if isinstance(X, Dataset) else X, dtype)
    if number_of_rows(arrays) == 0:
        raise ValueError(f"{where}: there are no rows to work on: X has shape {parts_of(arrays)[0].shape}")
    return arrays


def targets_of(where: str, X: Any, y: Any) -> Any:
    """The targets that belong to X: y, or where there is none those of X, if that is a Dataset."""
    if isinstance(y, Dataset):
        raise TypeError(f"{where}: y is a Dataset; pass its targets, y.y, or pass one Dataset alone, in place of X")
    if y is None and hasattr(X, "columns"):
        cure = 'tg.data.from_frame(frame, target="...")'
        raise TypeError(f"{where}: X is a {type(X).__name__}, and y is missing: make a Dataset of both, {cure}")
    if where == "fit" and isinstance(X, Dataset) and isinstance(y, numbers.Integral):
        raise TypeError(f"fit: y is the number {y}; beside a Dataset, write epochs={y}")
    if y is None and not isinstance(X, Dataset):
        raise TypeError(f"{where}: y, the targets, is missing: pass X and y, or a tg.data.Dataset, which holds both")
    return X.y if y is None else y


def targets_for(where: str, y: Any, rows: int, dtype: np.dtype[Any]) -> Any:
    """y as an array with a target for each row, or as a tuple or dict of such arrays."""
    arrays = _arrays(where, "y", y, dtype)
    for name, array in named_parts(arrays, "y"):
        if len(array) != rows:
            raise ValueError(
                f"{where}: X has {rows} rows and {name} has shape {array.shape}: each row needs one target"
            )
    return arrays


def _arrays(where: str, name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """X or y, or each part of it, as an array of numbers, floating-point ones in this dtype; all have as many rows."""
    parts = {part: array_of_numbers(where, part, array) for part, array in named_parts(value, name)}
    if not parts or (name == "X" and isinstance(value, dict) and not all(isinstance(key, str) for key in value)):
        words = "names of the model's inputs" if name == "X" else "names of the targets"
        raise ValueError(f"{where}: {name} is a dict with the keys {list(value)}; they must be the {words}")
    first, rows = next(iter(parts)), len(next(iter(parts.values())))
    for part, array in parts.items():
        if len(array) != rows:
            raise ValueError(
                f"{where}: {first} has {several(rows, 'row')} and {part} has {len(array)}: all need as many"
            )
    arrays = iter([np.asarray(array, dtype) if array.dtype.kind == "f" else array for array in parts.values()])
    return map_parts(lambda _: next(arrays), value)


def labels_for(where: str, y: Any, rows: int, one_hot: tuple[int, ...] | None, axis: int = -1) -> Array:
    """Class indices in one row, of indices of any shape, or of a number for each class along the axis: the largest.

    one_hot: the shape that targets with a number for each class have, if they may. Raises ValueError for numbers that
    are no indices.
    """
    array: Any = targets_for(where, y, rows, np.dtype(float))
    if is_several(array):
        raise TypeError(f"{where}: y is a {type(array).__name__} of arrays; pass the one with the class indices")
    if array.shape == one_hot and array.shape[axis] > 1:
        array = array.argmax(axis=axis)
    if array.dtype.kind == "f" and not (array == np.round(array)).all():
        raise ValueError(f"{where}: y must be class indices, whole numbers, and holds {array[array % 1 != 0][0]}")
    labels: Array = array.reshape(-1).astype(np.int64)
    return labels


def one_array(scores: Any) -> Array:
    """The model's answer, if it is one array. TypeError for a tuple, list or dict."""
    if isinstance(scores, (tuple, list, dict)):
        raise TypeError(
            f"predict: the model answers with a {type(scores).__name__}, and probabilities, reports, the confusion "
            "matrix and the pictures need one array: take the one that you mean out of predict(X)"
        )
    array: Array = scores
    return array


def arrays_of_answer(answer: Any, rows: int) -> Any:
    """The array that a model has answered with, or the tuple, list or dict of arrays.

    TypeError or ValueError if one is none with a row for each row of X.
    """
    if isinstance(answer, (tuple, list)):
        return type(answer)([arrays_of_answer(part, rows) for part in answer])
    if isinstance(answer, dict):
        return {name: arrays_of_answer(part, rows) for name, part in answer.items()}
    scores = array_of(answer)
    if scores.ndim == 0 or len(scores) != rows:
        raise ValueError(
            f"predict: the model's answer to {several(rows, 'row')} has shape {scores.shape}; it must have a row for "
            "each row of X (one row alone is X[None]), or call the model itself with all rows at once"
        )
    return scores


def array_of_numbers(where: str, name: str, value: Any) -> Array:
    """X, y or the weights as an array with rows of real numbers."""
    kind = type(value).__name__
    if hasattr(value, "toarray") and not isinstance(value, (np.ndarray, Tensor)):
        raise TypeError(f"{where}: {name} is a sparse {kind}; pass {name}.toarray()")
    if np.ma.is_masked(value):
        raise TypeError(
            f"{where}: {name} is a masked array, and its masked numbers would be learnt like all others: fill them, "
            f"{name}.filled(0.0), or leave their rows out"
        )
    try:
        array = plain_array(value)
    except ValueError as error:  # rows of different lengths
        hint = ""
        if isinstance(value, list) and all(len(getattr(part, "shape", ())) > 0 for part in value):
            hint = "; several arrays, for several inputs or outputs of the model, go into a tuple, or a dict"
        raise ValueError(f"{where}: {name} cannot become an array: {error}{hint}") from None
    if array.ndim == 0:
        raise TypeError(f"{where}: {name} is {an(kind)}; it must be an array of rows, one for each example")
    if array.dtype.kind not in "fiub":
        raise TypeError(_words_for(where, name, array))
    return array


def an(kind: str) -> str:
    """The name of a type with its article."""
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _words_for(where: str, name: str, array: Array) -> str:
    """What to write in place of an array that holds no real numbers."""
    real = "numbers" if name.startswith("y") else "real numbers"
    words = f"{where}: {name} must hold {real}, and has dtype {array.dtype}"
    others = [] if array.dtype.kind == "O" else [*array.flat[:1]]
    if array.dtype.kind == "O":
        others = [x for x in array.flat if isinstance(x, bool) or not isinstance(x, numbers.Real)][:1]
        if not others and array.size:
            number = "int" if name.startswith("y") else "float"
            return f"{words}, numbers that are Python objects: write {name}.astype({number})"
    words += "".join(f" ({other!r:.30}...)" for other in others)
    if not name.startswith("y"):
        return words
    return f"{words}: names of classes become class indices by names, y = np.unique(y, return_inverse=True)"


def warn_of_large_targets(dataset: Dataset) -> None:
    """Warn of numbers to predict that are far from those that a new model gives: thousands of steps go there first."""
    if dataset.class_names or not len(dataset):
        return
    mean, spread = float(dataset.y.mean()), float(dataset.y.std())
    if max(abs(mean), spread) > LARGE_TARGETS:
        warn(
            f"fit: the targets of {dataset.name!r} have mean {format_number(mean)} and deviation "
            f"{format_number(spread)}, and a new model "
            "gives numbers near 0: write train, test = tg.data.standardize(train, test, targets=True); "
            "train.preparation.invert(predictions) gives their own units again"
        )


def check_validation(model: nn.Module, X: Any, validation: Any) -> None:
    """Raise ValueError before the first epoch if the model takes rows like X, and not those of the validation."""
    ours, theirs = ({name: x.shape[1:] for name, x in named_parts(value, "X")} for value in (X, validation))
    if ours == theirs:
        return
    try:
        outputs_of(model, take_rows(validation, slice(1)), type)
    except (ValueError, TypeError, IndexError) as error:
        shape, expected = (shapes["X"] if [*shapes] == ["X"] else shapes for shapes in (theirs, ours))
        raise ValueError(
            f"fit: the rows of validation have shape {shape}, those of X have shape {expected}, and "
            "the model does not take both: the columns must be the same"
        ) from error


def check_last_batch(model: nn.Module, X: Any, batch_size: int, drop_last: bool = False) -> None:
    """Raise ValueError before the first step if BatchNorm would meet a batch of one row, which has no variance.

    Also if nothing would be left of the rows without the last, short batch.
    """
    rows = number_of_rows(X)
    if drop_last and rows < batch_size:
        raise ValueError(
            f"fit: drop_last=True leaves the last, short batch out, and {several(rows, 'row')} in batches of "
            f"{batch_size} are nothing but that: pass batch_size={rows}, or leave drop_last out"
        )
    if 1 not in (rows, batch_size, 0 if drop_last else rows % batch_size):
        return
    norms = {id(module): module for module in model.modules() if isinstance(module, nn.BatchNorm)}
    if not norms:
        return
    try:
        sizes = outputs_of(
            model, take_rows(X, slice(1)), lambda out: np.size(array_of(out)) if hasattr(out, "shape") else 0
        )
    except (ValueError, TypeError, IndexError):
        return  # the loop will say what is wrong
    if not any(sizes.get(key) == norm.n_features for key, norm in norms.items()):
        return
    if rows == 1:
        what, cure = "there is only one row", "train with more rows, or without BatchNorm"
    else:
        size = next(size for size in (*range(batch_size + 1, rows), rows) if rows % size != 1)
        last = "a last batch of one row" if batch_size > 1 else "one row in each"
        what = f"{rows} rows in batches of {batch_size} leave {last}"
        cure = f"pass batch_size={size}" + (
            ", or drop_last=True, or leave a row out: X[:-1], y[:-1]" if batch_size > 1 else ""
        )
    raise ValueError(f"fit: {what}, and in training BatchNorm needs at least two to have a variance: {cure}")


# ---- options


def check_options(
    loss: Callable[..., Any],
    epochs: Any,
    patience: Any,
    clip_norm: Any,
    compile: Any,
    drop_last: Any,
    batch_losses: Any,
) -> None:
    """Raise ValueError for the options of fit that are none."""
    if options_of(loss).get("reduction") == "none":
        raise ValueError('fit: a loss with reduction="none" has no single number to train with: use reduction="mean"')
    if isinstance(epochs, bool) or not isinstance(epochs, numbers.Integral) or epochs < 1:
        raise ValueError(f"fit: epochs={epochs!r} must be a positive integer")
    if patience is not None and (
        isinstance(patience, bool) or not isinstance(patience, numbers.Integral) or patience < 1
    ):
        raise ValueError(f"fit: patience={patience!r} must be a whole number of at least 1: of epochs")
    if clip_norm is not None and (
        isinstance(clip_norm, bool) or not isinstance(clip_norm, numbers.Real) or not 0 < float(clip_norm) < np.inf
    ):
        raise ValueError(f"fit: clip_norm={clip_norm!r} must be a positive, finite number")
    if compile is not True and compile is not False and compile != "auto":
        raise ValueError(f'fit: compile={compile!r} must be True, False or "auto"')
    for name, value in (("drop_last", drop_last), ("batch_losses", batch_losses)):
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"fit: {name}={value!r} must be True or False")


def generator_for(seed: Any) -> np.random.Generator:
    """The generator of a fit: from a seed, or the user's own, or an unforeseeable one."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"fit: seed={seed!r} must be a whole number that is not negative, or None") from None
