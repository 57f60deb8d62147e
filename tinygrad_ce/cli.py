"""The command `tinygrad-ce`: train a network on a data set, check its gradients, print, explain and draw them."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

import tinygrad_ce as tg
from tinygrad_ce import cache as places
from tinygrad_ce import check as checks
from tinygrad_ce import data as datasets
from tinygrad_ce.core import Array
from tinygrad_ce.kernels import warmup as ahead
from tinygrad_ce.program import files
from tinygrad_ce.views import text
from tinygrad_ce.views.reading import Graph

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__, rich_markup_mode=None
)
# No markup, no emoji: names of classes and files are the user's, and are shown as they are.
console = Console(markup=False, emoji=False)
errors = Console(stderr=True, markup=False, emoji=False)

Activation = Literal["tanh", "sigmoid", "relu", "softplus"]
Loss = Literal["softmax-cross-entropy", "cross-entropy", "sigmoid-bce", "bce", "mse"]
Optimizer = Literal["adam", "adamw", "sgd", "momentum", "rmsprop"]
Precision = Literal["float32", "float64"]

ACTIVATIONS = {"tanh": tg.nn.Tanh, "sigmoid": tg.nn.Sigmoid, "relu": tg.nn.ReLU, "softplus": tg.nn.Softplus}
LOSSES = {
    "softmax-cross-entropy": tg.nn.SoftmaxCrossEntropy,
    "cross-entropy": tg.nn.CrossEntropy,
    "sigmoid-bce": tg.nn.SigmoidBCE,
    "bce": tg.nn.BCE,
    "mse": tg.nn.MSE,
}
OPTIMIZERS: dict[str, Callable[..., tg.optim.Optimizer]] = {
    "adam": tg.optim.Adam,
    "adamw": tg.optim.AdamW,
    "sgd": tg.optim.SGD,
    "momentum": functools.partial(tg.optim.SGD, momentum=0.9),
    "rmsprop": tg.optim.RMSprop,
}

DataName = Annotated[str, typer.Argument(metavar="DATA", help=f"{', '.join(datasets.NAMES)}, or a CSV file")]
Target = Annotated[str | None, typer.Option(help="the column of the CSV file that holds the classes")]
Hidden = Annotated[str, typer.Option(help="sizes of the hidden layers; '' for none")]
ActivationName = Annotated[Activation, typer.Option(help="after each hidden layer")]
LossName = Annotated[Loss, typer.Option(help="bce and sigmoid-bce are for two classes")]
OptimizerName = Annotated[Optimizer, typer.Option()]
Rate = Annotated[float, typer.Option(help="learning rate")]
Epochs = Annotated[int, typer.Option(help="passes over the training data")]
EpochsBefore = Annotated[int, typer.Option(help="train so many epochs first")]
BatchSize = Annotated[int, typer.Option(help="rows in a batch")]
Seed = Annotated[int, typer.Option(help="of the data, the weights and the batches")]
Dtype = Annotated[Precision, typer.Option(help="of the parameters and all arithmetic")]


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run: the same settings on the same machine give the same parameters, bit for bit."""

    data: str
    target: str | None
    hidden: str
    activation: str
    loss: str
    optimizer: str
    lr: float
    epochs: int
    batch_size: int
    seed: int
    dtype: str


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


EXPECTED = (
    *(ValueError, TypeError, IndexError, OSError, ImportError),
    *(ArithmeticError, AssertionError, MemoryError),
)


def told(command: Callable[..., None]) -> Callable[..., None]:
    """Bad input ends a command with one message and exit code 1, not with a traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except EXPECTED as error:
            errors.print("error:", style="bold red", end=" ")
            errors.print(str(error) or type(error).__name__, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None

    return wrapped


@app.command()
@told
def train(
    data: DataName,
    target: Target = None,
    hidden: Hidden = "64,64",
    activation: ActivationName = "tanh",
    loss: LossName = "softmax-cross-entropy",
    optimizer: OptimizerName = "adam",
    lr: Rate = 0.01,
    epochs: Epochs = 100,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="whole epochs as one compiled function; without the option, if so many steps repay it",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="write history.png, boundary.png (2-D data), graph.svg, step.html and run.json here"),
    ] = None,
) -> None:
    """Train a network on three quarters of the data, and measure it on the rest."""
    settings = Settings(data, target, hidden, activation, loss, optimizer, lr, epochs, batch_size, seed, dtype)
    folder = _Folder(out) if out is not None else None
    run = prepared(settings)
    show_data(run)
    console.print(run.model.summary(), highlight=False)
    pictures = _pictures(run) if folder is not None else {}
    history = run.trainer.fit(
        run.train.X,
        run.targets(run.train),
        epochs=epochs,
        batch_size=batch_size,
        validation=(run.test.X, run.targets(run.test)),
        compile="auto" if compiled is None else compiled,
        progress=True,
        seed=seed,
    )
    if not len(history):
        console.print("stopped by Ctrl-C before the first epoch had ended: there is nothing to show")
        raise typer.Exit(130)
    figures = {
        name: run.trainer.evaluate(part.X, run.targets(part))
        for name, part in (("train", run.train), ("test", run.test))
    }
    show_figures(run, figures, history)
    if folder is not None:
        plots = {"history.png": history.plot, "boundary.png": _boundary(run)}
        folder.write({**plots, **pictures, "run.json": _json(run, figures, history)})
        console.print(f"wrote {', '.join(folder.written)} to {out}", highlight=False)


@app.command()
@told
def check(
    data: DataName,
    target: Target = None,
    hidden: Hidden = "64,64",
    activation: ActivationName = "tanh",
    loss: LossName = "softmax-cross-entropy",
    rows: Annotated[int, typer.Option(help="rows of the data to check with")] = 16,
    seed: Seed = 0,
) -> None:
    """Compare every derivative of the network that `train` would train with numerical ones, to second order."""
    run = prepared(
        Settings(data, target, hidden, activation, loss, "sgd", 0.1, 1, _positive(rows, "rows"), seed, "float64")
    )
    part = run.train.take(np.arange(min(rows, len(run.train))))
    generator = np.random.default_rng(seed)
    for parameter in run.model.parameters():  # zero biases put a relu whose inputs are all dead exactly on its kink
        if parameter.ndim == 1:
            parameter.data += 0.1 * generator.normal(size=parameter.shape)
    report = checks.gradcheck_model(run.model, run.trainer.loss, part.X, run.targets(part), seed=seed)
    names = ", ".join(name for name, _ in run.model.named_parameters())
    console.print(
        f"{loss} of {run.model!r}\non {len(part)} rows of {run.train.name}; parameters: {names}\n"
        "(biases are moved a little off zero, so that no relu sits on its kink)",
        highlight=False,
    )
    console.print(str(report), highlight=False)


@app.command()
@told
def gradients(
    data: DataName,
    target: Target = None,
    hidden: Hidden = "64,64",
    activation: ActivationName = "tanh",
    loss: LossName = "softmax-cross-entropy",
    optimizer: OptimizerName = "adam",
    lr: Rate = 0.01,
    epochs: EpochsBefore = 0,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    dtype: Dtype = "float32",
) -> None:
    """Print the gradient of every parameter for one batch: shape, norm, smallest, largest, histogram."""
    run = trained(Settings(data, target, hidden, activation, loss, optimizer, lr, epochs, batch_size, seed, dtype))
    cost, title = loss_and_gradients(run)
    title += f": loss {cost.item():.6f}"
    bars = text.BARS if console.encoding.startswith("utf") else text.ASCII_BARS
    console.print(text.gradient_table(run.model.named_parameters(), title, bars))


@app.command()
@told
def explain(
    data: DataName,
    target: Target = None,
    hidden: Hidden = "64,64",
    activation: ActivationName = "tanh",
    loss: LossName = "softmax-cross-entropy",
    optimizer: OptimizerName = "adam",
    lr: Rate = 0.01,
    epochs: EpochsBefore = 0,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    of: Annotated[
        str | None, typer.Option(help="a tensor: layers.0.W, or its name in the printed step, as W0 or z1")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="one number of it, as in 0,3; else that with the largest gradient")
    ] = None,
) -> None:
    """Print where the gradients of one batch come from: of the whole graph, or every path of one tensor to the loss."""
    run = trained(Settings(data, target, hidden, activation, loss, optimizer, lr, epochs, batch_size, seed, dtype))
    cost, title = loss_and_gradients(run)
    if of is None and at is not None:
        raise ValueError("--at names one number of a tensor: say with --of which tensor")
    explanation = tg.explain(cost) if of is None else tg.explain(_tensor(cost, of), cost, at=_index(at))
    console.print(title, highlight=False)
    said = str(explanation).replace("(at= chooses another cell)", "(--at chooses another cell)")
    console.print(said, highlight=False, soft_wrap=True)


@app.command()
@told
def draw(
    data: DataName,
    target: Target = None,
    hidden: Hidden = "64,64",
    activation: ActivationName = "tanh",
    loss: LossName = "softmax-cross-entropy",
    optimizer: OptimizerName = "adam",
    lr: Rate = 0.01,
    epochs: EpochsBefore = 0,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    out: Annotated[Path, typer.Option(help="where to write it: .svg, .png or .html")] = Path("graph.svg"),
) -> None:
    """Draw the graph of one batch, with its values and gradients."""
    _writable(out, ".svg", ".png", ".html")
    run = trained(Settings(data, target, hidden, activation, loss, optimizer, lr, epochs, batch_size, seed, dtype))
    cost, title = loss_and_gradients(run)
    console.print(f"wrote {_saved(tg.draw(cost), out)}: {title}", highlight=False, soft_wrap=True)


@app.command()
@told
def step(
    data: DataName,
    target: Target = None,
    hidden: Hidden = "64,64",
    activation: ActivationName = "tanh",
    loss: LossName = "softmax-cross-entropy",
    optimizer: OptimizerName = "adam",
    lr: Rate = 0.01,
    epochs: EpochsBefore = 0,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    out: Annotated[Path, typer.Option(help="where to write it: .html")] = Path("step.html"),
) -> None:
    """Write a page that steps through one batch, forward and backward; any browser opens it."""
    _writable(out, ".html")
    run = trained(Settings(data, target, hidden, activation, loss, optimizer, lr, epochs, batch_size, seed, dtype))
    cost, title = loss_and_gradients(run)
    console.print(f"wrote {_saved(tg.step_through(cost), out)}: {title}", highlight=False, soft_wrap=True)


@app.command()
@told
def source(
    data: DataName,
    target: Target = None,
    hidden: Hidden = "64,64",
    activation: ActivationName = "tanh",
    loss: LossName = "softmax-cross-entropy",
    optimizer: OptimizerName = "adam",
    lr: Rate = 0.01,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    lowered: Annotated[bool, typer.Option("--lowered", help="the loops that are compiled, instead of NumPy")] = False,
) -> None:
    """Print one training step of the network, with the optimizer's update, as NumPy that runs on its own."""
    run = prepared(Settings(data, target, hidden, activation, loss, optimizer, lr, 0, batch_size, seed, dtype))
    program = program_of_first_batch(run)
    typer.echo(program.lowered if lowered else program.source)


@app.command()
@told
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="remove them")] = False,
) -> None:
    """List the compiled training steps that are kept on disk, or remove them."""
    folder = places.directory()
    if folder is None:
        raise OSError("nothing is kept: there is no directory for compiled code that only you can write to")
    if clear:
        count = files.clear()
        console.print(f"removed {_several(count)} from {folder}", highlight=False, soft_wrap=True)
        return
    kept = files.listing()
    table = Table("step", "last used", title=_several(len(kept)))
    table.add_column("kB", justify="right")
    for program in kept:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(program.used))
        table.add_row(program.name.removeprefix("step_"), used, f"{program.bytes / 1000:,.0f}")
    if kept:
        console.print(table)
    total = sum(program.bytes for program in kept) / 1e6
    said = f"{total:.1f} MB in {folder}; beyond {files.LIMIT / 1e6:.0f} MB the oldest are removed"
    console.print(said, highlight=False, soft_wrap=True)


@app.command()
@told
def warmup() -> None:
    """Compile every kernel now, so that no training waits for it."""
    from tinygrad_ce.kernels import jit as kernels  # brings Numba in, so not with the other commands

    if not ahead.loops():
        why = "Numba is not installed" if kernels.numba is None else "NUMBA_DISABLE_JIT is set"
        console.print(f"{why}: there is nothing to compile", highlight=False)
        return
    kept = ahead.kept_in()
    if kept is None:
        raise OSError("nothing was kept: there is no directory for compiled code that only you can write to")
    start = time.perf_counter()
    calls = ahead.kernels_to_compile()
    columns = (TextColumn("compiling"), MofNCompleteColumn(), BarColumn(bar_width=12), TextColumn("{task.description}"))
    new = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(calls))
        for name, call in calls:
            progress.update(task, description=name, refresh=True)
            before = ahead.compilations()
            call()
            new += ahead.compilations() > before
            progress.advance(task)
    if new == 0:
        said = f"all {len(calls)} kernels were there"
    elif new == len(calls):
        said = f"compiled {new} kernels"
    else:
        said = f"compiled {new} of {len(calls)} kernels; the others were there"
    seconds = time.perf_counter() - start
    console.print(f"{said} ({seconds:.1f} s); they are kept in {kept}", highlight=False, soft_wrap=True)


def _several(count: int) -> str:
    return f"{count} compiled step{'' if count == 1 else 's'}"


def trained(settings: Settings) -> Run:
    """What the settings describe, after its epochs of training."""
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


def program_of_first_batch(run: Run) -> tg.Program:
    """The training step, traced on the first batch that training would see."""
    X, y = first_batch(run)
    model, loss, optimizer = run.model.train(), run.trainer.loss, run.trainer.optimizer

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        cost = loss(model(x), y)
        cost.backward()
        optimizer.step()
        return cost

    return tg.trace(step, X, y)


def loss_and_gradients(run: Run) -> tuple[tg.Tensor, str]:
    """The loss of the first batch that training would see, after `backward()`, and what it is in words."""
    X, y = first_batch(run)
    run.model.train()
    cost = run.trainer.loss(run.model(tg.Tensor(X, name="x")), y)
    for parameter in run.model.parameters():
        parameter.grad = None
    cost.backward()
    when = f"after {run.settings.epochs} epochs" if run.settings.epochs else "before training"
    return cost, f"{run.train.name}, {len(y)} rows, {when}"


def _tensor(cost: tg.Tensor, name: str) -> tg.Tensor:
    """The tensor of the graph that has this name, or that the printed program calls so."""
    named = {}
    for node in Graph(cost, "explain").nodes:
        if node.tensor is not None:
            named[node.name] = named[node.label] = node.tensor
    if name not in named:
        raise ValueError(f"--of {name!r}: there are {', '.join(key for key in named if not key.startswith('#'))}")
    return named[name]


def _index(at: str | None) -> tuple[int, ...] | None:
    try:
        return None if at is None else tuple(int(i) for i in at.split(","))
    except ValueError:
        raise ValueError(f"--at {at!r} must be whole numbers with commas between them, as in 0,3") from None


def _writable(out: Path, *endings: str) -> None:
    """Refuse a file that cannot be written before anything is trained."""
    if out.suffix.lower() not in endings:
        raise ValueError(f"--out {out} must end in {' or '.join(endings)}")
    if out.is_dir():
        raise IsADirectoryError(f"--out {out} is a folder; name a file")


def _saved(view: Any, out: Path) -> Path:
    """A picture or page in its file, in a folder that is made if it is missing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    path: Path = view.save(out)
    return path


def _pictures(run: Run) -> dict[str, Callable[[Path], Any] | None]:
    """The graph of the first batch, and the page that steps through it, as they are before the first update."""
    cost, _ = loss_and_gradients(run)
    try:
        return {"graph.svg": tg.draw(cost).save, "step.html": tg.step_through(cost).save}
    except ValueError as error:
        console.print(f"no graph.svg and step.html: {error}", highlight=False, soft_wrap=True)
        return {}
    finally:
        run.trainer.optimizer.zero_grad()


def prepared(settings: Settings) -> Run:
    """Load the data, split and standardise them, and build the model, loss and optimizer. Raises for bad settings."""
    hidden = _sizes(settings.hidden)
    _positive(settings.batch_size, "batch-size")
    whole = _loaded(settings)
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


def show_data(run: Run) -> None:
    """A table of the data: parts, classes, features."""
    table = Table(title=run.train.name)
    table.add_column("class")
    for part in ("training rows", "test rows"):
        table.add_column(part, justify="right")
    for c, name in enumerate(run.train.class_names):
        table.add_row(str(name), *(str(int((part.y == c).sum())) for part in (run.train, run.test)))
    table.add_section()
    table.add_row("all", str(len(run.train)), str(len(run.test)))
    console.print(table)
    scaled, features = int(run.train.numeric.sum()), run.train.n_features
    how = "standardised with the training part's mean and deviation"
    scaling = "" if not scaled else f", {how}" if scaled == features else f", {scaled} of them {how}"
    console.print(f"{features} features{scaling}", highlight=False)


def show_figures(run: Run, figures: dict[str, dict[str, float]], history: tg.History) -> None:
    """The final table, and how training ended if not by its last epoch."""
    table = Table(
        title=f"after {len(history)} epochs" + ("" if history.stopped == "finished" else f" ({history.stopped})")
    )
    table.add_column("part")
    for name in figures["test"]:
        table.add_column(name, justify="right")
    for part, row in figures.items():
        table.add_row(part, *(f"{value:.4f}" for value in row.values()))
    console.print(table)


class _Folder:
    """A folder for results: refused early if it cannot be written, filled at the end and all at once."""

    def __init__(self, path: Path) -> None:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise ImportError('--out draws pictures with matplotlib: pip install "tinygrad_ce[plot]"') from None
        existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        if not existing.is_dir():
            raise NotADirectoryError(f"--out {path}: {existing} is a file; name a folder")
        if not os.access(existing, os.W_OK):
            raise PermissionError(f"--out {path}: {existing} cannot be written to")
        self.path = path
        self.written: list[str] = []

    def write(self, files: dict[str, Callable[[Path], Any] | None]) -> None:
        """Make every file beside the folder first, and move them in when all are whole."""
        self.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.path, prefix=".writing-") as draft:
            made = {name: make for name, make in files.items() if make is not None}
            for name, make in made.items():
                make(Path(draft) / name)
            for name in made:
                shutil.move(Path(draft) / name, self.path / name)
                self.written.append(name)


def _boundary(run: Run) -> Callable[[Path], Any] | None:
    if run.train.n_features != 2:
        return None
    X, y = np.concatenate([run.train.X, run.test.X]), np.concatenate([run.train.y, run.test.y])
    names = [f"{name}, standardised" for name in run.train.feature_names]
    return lambda path: run.trainer.plot_boundary(X, y, run.train.class_names, path, names)


def _json(run: Run, figures: dict[str, dict[str, float]], history: tg.History) -> Callable[[Path], Any]:
    packages = {name: importlib.metadata.version(name) for name in ("numpy", "numba", "scipy")}
    content = {
        "settings": asdict(run.settings),
        "data": {
            "name": run.train.name,
            "training_rows": len(run.train),
            "test_rows": len(run.test),
            "features": list(run.train.feature_names),
            "classes": [str(name) for name in run.train.class_names],
        },
        "model": repr(run.model),
        "parameters": sum(parameter.size for parameter in run.model.parameters()),
        "figures": figures,
        "stopped": history.stopped,
        "history": history.columns,
        "versions": {"tinygrad_ce": tg.__version__, "python": platform.python_version(), **packages},
    }
    return lambda path: path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def _loaded(settings: Settings) -> datasets.Dataset:
    if settings.data in datasets.NAMES:
        if settings.target is not None:
            raise ValueError(f"--target names a column of a CSV file, and {settings.data} is a built-in data set")
        makes = datasets.NAMES[settings.data]
        return makes(seed=settings.seed) if "seed" in inspect.signature(makes).parameters else makes()
    if settings.data.lower().endswith(".csv") or Path(settings.data).exists():
        if settings.target is None:
            raise ValueError(f"{settings.data}: say with --target which column holds the classes")
        return datasets.from_csv(settings.data, settings.target)
    return datasets.load(settings.data)  # raises, with the names there are


def _sizes(hidden: str) -> list[int]:
    try:
        sizes = [int(size) for size in hidden.split(",")] if hidden.strip() else []
    except ValueError:
        raise ValueError(f"--hidden {hidden!r} must be sizes with commas between them, as in 16,16") from None
    if any(size < 1 for size in sizes):
        raise ValueError(f"--hidden {hidden!r}: every layer needs at least one unit")
    return sizes


def _positive(value: int, option: str) -> int:
    if value < 1:
        raise ValueError(f"--{option} {value} must be at least 1")
    return value


def _version(shown: bool) -> None:
    if shown:
        console.print(f"tinygrad_ce {tg.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Train toy networks, inspect every gradient, and check that it is right."""


def main() -> None:
    """Run the command line."""
    app()
