"""The folder that `train --out` fills: plots, the graph, the page, and a record of the run."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.cli.run import Run, loss_and_gradients
from tinygrad_ce.cli.terminal import console
from tinygrad_ce.disk import whole_file

Writer: TypeAlias = Callable[[Path], Any]  # writes one file at the path


class ResultsFolder:
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

    def write(self, files: Mapping[str, Writer | None]) -> None:
        """Write drafts of all files first, and put them in their places when all are whole."""
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as drafts:
            for name, writer in files.items():
                if writer is not None:
                    writer(drafts.enter_context(whole_file(self.path / name)))
                    self.written.append(name)


def graph_pictures(run: Run) -> dict[str, Writer | None]:
    """The graph of the first batch, and the page that steps through it, as they are before the first update."""
    cost, _ = loss_and_gradients(run)
    try:
        return {"graph.svg": tg.draw(cost).save, "step.html": tg.step_through(cost).save}
    except ValueError as error:
        console.print(f"no graph.svg and step.html: {error}", highlight=False, soft_wrap=True)
        return {}
    finally:
        run.trainer.optimizer.zero_grad()


def boundary_plot(run: Run) -> Writer | None:
    """The decision boundary, if the data have two features."""
    if run.train.n_features != 2:
        return None
    X, y = np.concatenate([run.train.X, run.test.X]), np.concatenate([run.train.y, run.test.y])
    names = [f"{name}, standardised" for name in run.train.feature_names]
    return lambda path: run.trainer.plot_boundary(X, y, run.train.class_names, path, names)


def version_of(package: str) -> str | None:
    """The version that is installed; None where it is not, as Numba and SciPy in a browser."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def run_record(run: Run, figures: dict[str, dict[str, float]], history: tg.History) -> Writer:
    """Settings, data, figures, history and versions, as JSON."""
    packages = {name: version_of(name) for name in ("numpy", "numba", "scipy")}
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
