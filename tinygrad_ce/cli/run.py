"""The data, the model and the trainer that some settings describe, and the first batch that they would train on."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import tinygrad_ce as tg
from tinygrad_ce import data as datasets
from tinygrad_ce.cli.settings import ACTIVATIONS, LOSSES, OPTIMIZERS, Settings
from tinygrad_ce.core import Array


@dataclass
class Run:
    """The data, the model and the trainer that some settings describe."""

    settings: Settings
    train: datasets.Dataset
    test: datasets.Dataset
    model: tg.nn.Sequential
    trainer: tg.Trainer

    def targets(self, part: datasets.Dataset) -> Array:
        """The classes in the form that the loss takes."""
        if self.settings.loss in ("bce", "sigmoid-bce"):
            return part.y.reshape(-1, 1).astype(self.settings.dtype)
        if self.settings.loss == "mse":
            return datasets.one_hot(part.y, part.n_classes).astype(self.settings.dtype)
        return part.y


def prepared(settings: Settings) -> Run:
    """Load the data, split and standardise them, and build the model, loss and optimizer. Raises for bad settings."""
    hidden = layer_sizes(settings.hidden)
    check_positive(settings.batch_size, "batch-size")
    whole = load(settings)
    train, test = datasets.standardize(*datasets.split(whole, seed=settings.seed))
    train, test = train.astype(settings.dtype), test.astype(settings.dtype)
    if settings.loss in ("bce", "sigmoid-bce") and train.n_classes != 2:
        raise ValueError(
            f"--loss {settings.loss} is for two classes, and {whole.name} has {train.n_classes}: "
            "use softmax-cross-entropy"
        )
    tg.seed(settings.seed)
    model = network(train.n_features, hidden, train.n_classes, settings.activation, settings.loss)
    model.astype(settings.dtype)
    optimizer = OPTIMIZERS[settings.optimizer](model.parameters(), lr=settings.lr)
    return Run(settings, train, test, model, tg.Trainer(model, LOSSES[settings.loss](), optimizer))


def trained(settings: Settings) -> Run:
    """The run that the settings describe, after its epochs of training."""
    if settings.epochs < 0:
        raise ValueError(f"--epochs {settings.epochs} must not be negative")
    run = prepared(settings)
    if settings.epochs:
        run.trainer.fit(
            run.train.X,
            run.targets(run.train),
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            progress=True,
            seed=settings.seed,
        )
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
    when = f"after {run.settings.epochs} epochs" if run.settings.epochs else "before training"
    return cost, f"{run.train.name}, {len(y)} rows, {when}"


def network(n_in: int, hidden: list[int], classes: int, activation: str, loss: str) -> tg.nn.Sequential:
    """Dense layers with an activation after each hidden one, and the end that the loss needs."""
    init = "he_uniform" if activation in ("relu", "softplus") else "glorot_uniform"
    layers: list[tg.nn.Module] = []
    for size in hidden:
        layers += [tg.nn.Dense(n_in, size, init=init), ACTIVATIONS[activation]()]
        n_in = size
    layers.append(tg.nn.Dense(n_in, 1 if loss in ("bce", "sigmoid-bce") else classes))
    if loss == "cross-entropy":
        layers.append(tg.nn.Softmax())
    elif loss in ("bce", "mse"):
        layers.append(tg.nn.Sigmoid())
    return tg.nn.Sequential(*layers)


def load(settings: Settings) -> datasets.Dataset:
    """The data set of that name, or of that CSV file. Raises ValueError for neither, and for a target that is amiss."""
    if settings.data in datasets.NAMES:
        if settings.target is not None:
            raise ValueError(f"--target names a column of a CSV file, and {settings.data} is a built-in data set")
        build = datasets.NAMES[settings.data]
        return build(seed=settings.seed) if "seed" in inspect.signature(build).parameters else build()
    if settings.data.lower().endswith(".csv") or Path(settings.data).exists():
        if settings.target is None:
            raise ValueError(f"{settings.data}: say with --target which column holds the classes")
        return datasets.from_csv(settings.data, settings.target)
    return datasets.load(settings.data)  # raises, with the names there are


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
