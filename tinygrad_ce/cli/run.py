"""The data, the model and the trainer that some settings describe, and the first batch that they would train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tinygrad_ce as tg
from tinygrad_ce import data as datasets
from tinygrad_ce.cli.loading import digest_of, load
from tinygrad_ce.cli.settings import ACTIVATIONS, LOSSES, OPTIMIZERS, Settings
from tinygrad_ce.core import Array

SHARES = (0.6, 0.2, 0.2)  # of the rows that train, that choose (curves, patience), and that are measured once
BINARY = ("bce", "sigmoid-bce")  # losses of one output for two classes


@dataclass
class Run:
    """The data, the model and the trainer that some settings describe.

    loss: its name, where the settings say auto. digest: of the CSV file that was read, None for other data.
    """

    settings: Settings
    loss: str
    digest: str | None
    train: datasets.Dataset
    validation: datasets.Dataset
    test: datasets.Dataset
    trainer: tg.Trainer

    @property
    def model(self) -> Any:
        """What is trained."""
        return self.trainer.model

    @property
    def target(self) -> str:
        """What is predicted: the name of its column, if the data have come from a table."""
        return self.settings.target or "target"

    @property
    def parts(self) -> dict[str, datasets.Dataset]:
        """The three parts of the data by name."""
        return {"training": self.train, "validation": self.validation, "test": self.test}

    def targets(self, part: datasets.Dataset) -> Array:
        """The classes, or numbers, in the form that the loss takes."""
        return targets_of(part, self.loss)


def targets_of(part: datasets.Dataset, loss: str) -> Array:
    """The classes, or numbers, of a Dataset in the form that the loss of this name takes."""
    if loss in BINARY or not part.class_names:
        return part.y.reshape(-1, 1).astype(part.X.dtype)
    if loss == "mse":
        return datasets.one_hot(part.y, part.n_classes).astype(part.X.dtype)
    return part.y


def prepared(settings: Settings) -> Run:
    """Load the data, split and standardise them, and build the model, loss and optimizer. Raises for bad settings."""
    hidden = layer_sizes(settings.hidden)
    check_positive(settings.batch_size, "batch-size")
    whole = load(settings)
    loss = loss_for(settings, whole)
    parts = datasets.standardize(*datasets.split(whole, *SHARES, seed=settings.seed), targets=not whole.class_names)
    train, validation, test = (part.astype(settings.dtype) for part in parts)
    tg.seed(settings.seed)
    model = network(train.n_features, hidden, train.n_classes, settings.activation, loss)
    model.astype(settings.dtype)
    optimizer = OPTIMIZERS[settings.optimizer](model.parameters(), lr=settings.lr)
    trainer = tg.Trainer(model, LOSSES[loss](), optimizer)
    return Run(settings, loss, digest_of(settings), train, validation, test, trainer)


def loss_for(settings: Settings, whole: datasets.Dataset) -> str:
    """The name of the loss for these data. Raises ValueError for one that they do not fit."""
    if settings.loss == "auto":
        return "softmax-cross-entropy" if whole.class_names else "mse"
    if settings.loss != "mse" and not whole.class_names:
        raise ValueError(f"--loss {settings.loss} is for classes, and {whole.name} has numbers to predict: use mse")
    if settings.loss in BINARY and whole.n_classes != 2:
        raise ValueError(
            f"--loss {settings.loss} is for two classes, and {whole.name} has {whole.n_classes}: "
            "use softmax-cross-entropy"
        )
    return settings.loss


def fit(run: Run, epochs: int, *, seed: int | None = None, compile: bool | str = "auto") -> tg.History:
    """Train for so many epochs; the validation part is only measured. Without a seed, it goes on where it stood."""
    run.trainer.preparation = run.train.preparation
    return run.trainer.fit(
        run.train.X,
        run.targets(run.train),
        epochs=epochs,
        batch_size=run.settings.batch_size,
        validation=(run.validation.X, run.targets(run.validation)),
        patience=run.settings.patience,
        compile=compile,
        progress=True,
        seed=seed,
    )


def trained(settings: Settings) -> Run:
    """The run that the settings describe, after its epochs of training."""
    if settings.epochs < 0:
        raise ValueError(f"--epochs {settings.epochs} must not be negative")
    run = prepared(settings)
    if settings.epochs:
        fit(run, settings.epochs, seed=settings.seed)
    return run


def first_batch(run: Run) -> tuple[Array, Array]:
    """The first batch that training would see."""
    settings = run.settings
    return next(datasets.batches(run.train.X, run.targets(run.train), settings.batch_size, seed=settings.seed))


def loss_and_gradients(run: Run) -> tuple[tg.Tensor, str]:
    """The loss of the first batch that training would see, after `backward()`, and a title that says which it is."""
    X, y = first_batch(run)
    run.model.train()
    cost = run.trainer.loss(run.model(tg.Tensor(X, name="x")), y)
    for parameter in run.model.parameters():
        parameter.grad = None
    cost.backward()
    epochs = len(run.trainer.history)
    return cost, f"{run.train.name}, {len(y)} rows, {f'after {epochs} epochs' if epochs else 'before training'}"


def network(n_in: int, hidden: list[int], classes: int, activation: str, loss: str) -> tg.nn.Sequential:
    """Dense layers, an activation after each hidden one, and the end that the loss needs; classes: 0 for numbers."""
    init = "he_uniform" if activation in ("relu", "softplus") else "glorot_uniform"
    layers: list[tg.nn.Module] = []
    for size in hidden:
        layers += [tg.nn.Dense(n_in, size, init=init), ACTIVATIONS[activation]()]
        n_in = size
    layers.append(tg.nn.Dense(n_in, 1 if loss in BINARY else classes or 1))
    if loss == "cross-entropy":
        layers.append(tg.nn.Softmax())
    elif loss == "bce" or (loss == "mse" and classes):
        layers.append(tg.nn.Sigmoid())
    return tg.nn.Sequential(*layers)


def layer_sizes(hidden: str) -> list[int]:
    """The sizes in "16,16". ValueError if they are none."""
    try:
        sizes = [int(size) for size in hidden.split(",")] if hidden.strip() else []
    except ValueError:
        raise ValueError(f"--hidden {hidden!r} must be sizes with commas between them, as in 16,16") from None
    if any(size < 1 for size in sizes):
        raise ValueError(f"--hidden {hidden!r}: every layer needs at least one unit")
    return sizes


def check_positive(value: int, option: str) -> None:
    """ValueError, in the words of the command line, for a number below 1."""
    if value < 1:
        raise ValueError(f"--{option} {value} must be at least 1")
