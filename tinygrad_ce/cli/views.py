"""`tinygrad-ce gradients`, `explain`, `draw` and `step`: one batch and its gradients; `live`: the whole training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import tinygrad_ce as tg
from tinygrad_ce.cli.run import loss_and_gradients, trained
from tinygrad_ce.cli.settings import ViewSettings, Without
from tinygrad_ce.cli.terminal import console, show
from tinygrad_ce.core import Array
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.report.parts import Heading, Table
from tinygrad_ce.report.words import format_number, histogram


def gradients(settings: ViewSettings) -> None:
    """Print the gradient of every parameter for one batch: shape, norm, smallest, largest, histogram.

    Example:
      tinygrad-ce gradients digits --epochs 1
    """
    run = trained(settings)
    cost, title = loss_and_gradients(run)
    show([Heading(f"{title}: loss {cost.item():.6f}"), gradient_table(run.model.named_parameters())])


def gradient_table(named: Iterable[tuple[str, tg.Tensor]]) -> Table:
    """A row for each parameter's gradient: shape, norm, smallest, largest and distribution."""
    header = ("parameter", "shape", "norm", "min", "max", "histogram, min to max")
    rows = [(name, str(parameter.shape), *_figures_of(parameter.grad)) for name, parameter in named]
    return Table(rows, header, right=frozenset({2, 3, 4}), whole=frozenset({5}))


def _figures_of(grad: Array | None) -> tuple[str, ...]:
    if grad is None:
        return "none", "", "", ""
    ends = (grad.min(), grad.max()) if grad.size else ()
    low, high = (format_number(end, 3) for end in ends) if ends else ("", "")
    return format_number(np.linalg.norm(grad.ravel()), 3), low, high, histogram(grad)


def explain(
    settings: ViewSettings,
    of: Annotated[
        str | None, typer.Option(help="a tensor: layers.0.W, or its name in the printed step, as W0 or z1")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="one number of it, as in 0,3; else that with the largest gradient")
    ] = None,
) -> None:
    """Print where the gradients of one batch come from: of the whole graph, or of one tensor, use by use.

    Example:
      tinygrad-ce explain moons --hidden 3 --of W0 --at 0,1
    """
    cost, title = loss_and_gradients(trained(settings))
    if of is None and at is not None:
        raise ValueError("--at names one number of a tensor: say with --of which tensor")
    explanation = tg.explain(cost) if of is None else tg.explain(tensor_of(cost, of), cost, at=index_of(at))
    console.print(title, highlight=False)
    words = str(explanation).replace("(at= chooses another cell)", "(--at chooses another cell)")
    console.print(words, highlight=False, soft_wrap=True)


def draw(
    settings: ViewSettings,
    out: Annotated[Path, typer.Option(help="where to write it: .svg, .png or .html")] = Path("graph.svg"),
) -> None:
    """Draw the graph of one batch, with its values and gradients.

    Example:
      tinygrad-ce draw moons --hidden 3 --batch-size 4 --out graph.svg
    """
    check_writable(out, ".svg", ".png", ".html")
    cost, title = loss_and_gradients(trained(settings))
    console.print(f"wrote {save(tg.draw(cost, title), out)}: {title}", highlight=False, soft_wrap=True)


def step(
    settings: ViewSettings,
    out: Annotated[Path, typer.Option(help="where to write it: .html")] = Path("step.html"),
) -> None:
    """Write a page that steps through one batch: forward, backward and update; any browser opens it.

    Example:
      tinygrad-ce step moons --hidden 3 --batch-size 4 --out step.html
    """
    check_writable(out, ".html")
    run = trained(settings)
    cost, title = loss_and_gradients(run)
    page = tg.step_through(cost, run.trainer.optimizer, title)
    console.print(f"wrote {save(page, out)}: {title}", highlight=False, soft_wrap=True)


def live(
    settings: Annotated[ViewSettings, Without("dtype")],
    out: Annotated[Path, typer.Option(help="where to write it: .html")] = Path("live.html"),
) -> None:
    """Write a page in which the network trains, and everything can be changed; any browser opens it.

    The validation and the test part are only measured there. The page computes in float64.

    Example:
      tinygrad-ce live moons --hidden 4,4 --optimizer sgd --lr 0.3 --out live.html
    """
    check_writable(out, ".html")
    run = trained(replace(settings, dtype="float64"))
    parts = run.validation, run.test
    measured = replace(run.test, X=np.concatenate([p.X for p in parts]), y=np.concatenate([p.y for p in parts]))
    run.trainer.preparation = run.train.preparation
    page = run.trainer.live(run.train, test=measured, batch_size=settings.batch_size, seed=settings.seed)
    console.print(f"wrote {save(page, out)}: {run.train.name}", highlight=False, soft_wrap=True)


def tensor_of(cost: tg.Tensor, name: str) -> tg.Tensor:
    """The tensor of the graph that has this name, or that the printed program calls so."""
    tensors = {}
    for node in Graph(cost, "explain").nodes:
        if node.tensor is not None:
            tensors[node.name] = tensors[node.label] = node.tensor
    if name not in tensors:
        raise ValueError(f"--of {name!r}: there are {', '.join(key for key in tensors if not key.startswith('#'))}")
    return tensors[name]


def index_of(at: str | None) -> tuple[int, ...] | None:
    """The index in "0,3". ValueError if it is none."""
    try:
        return None if at is None else tuple(int(i) for i in at.split(","))
    except ValueError:
        raise ValueError(f"--at {at!r} must be whole numbers with commas between them, as in 0,3") from None


def check_writable(out: Path, *endings: str) -> None:
    """Refuse a file that cannot be written before anything is trained."""
    if out.suffix.lower() not in endings:
        raise ValueError(f"--out {out} must end in {' or '.join(endings)}")
    if out.is_dir():
        raise IsADirectoryError(f"--out {out} is a folder; name a file")
    there = next(folder for folder in out.absolute().parents if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"--out {out}: {there} is a file, and no folder; name another place")


def save(view: Any, out: Path) -> Path:
    """Write a picture or page into its file; a missing folder is created."""
    out.parent.mkdir(parents=True, exist_ok=True)
    path: Path = view.save(out)
    return path
