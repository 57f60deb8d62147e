"""The folder that `train --out` fills: the model, plots, graphs and pages before and after, and a record of the run."""

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
from tinygrad_ce.cli.figures import numbers_of
from tinygrad_ce.cli.run import Run, loss_and_gradients
from tinygrad_ce.cli.terminal import console
from tinygrad_ce.disk import whole_file
from tinygrad_ce.views import plots

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


def graph_pictures(run: Run, when: str) -> dict[str, Writer | None]:
    """The graph of the first batch and the page that steps through it; when, in their names: "before" or "trained"."""
    graph, page = f"graph_{when}.svg", f"step_{when}.html"
    cost, title = loss_and_gradients(run)
    try:
        return {graph: tg.draw(cost, title).save, page: tg.step_through(cost, run.trainer.optimizer, title).save}
    except ValueError as error:
        console.print(f"no {graph} and {page}: {error}", highlight=False, soft_wrap=True)
        return {}
    finally:
        run.trainer.optimizer.zero_grad()


def plots_of(run: Run) -> dict[str, Writer | None]:
    """The curves; of classes the decision boundary, if there are two features, and the confusion of the test rows."""
    pictures: dict[str, Writer | None] = {"history.png": run.trainer.history.plot}
    if run.test.class_names:
        if run.train.n_features == 2:
            pictures["boundary.png"] = lambda path: boundary_figure(run, path)
        pictures["confusion.png"] = lambda path: confusion_figure(run, path)
    else:
        pictures["residuals.png"] = lambda path: residuals_figure(run, path)
    return pictures


def boundary_figure(run: Run, path: Any = None) -> Any:
    """The decision boundary of two features, with the rows of all parts."""
    X, y = (np.concatenate([getattr(part, name) for part in run.parts.values()]) for name in "Xy")
    scaled = run.train.numeric
    names = [f"{name}, standardised" if scaled[n] else name for n, name in enumerate(run.train.feature_names)]
    return run.trainer.plot_boundary(X, y, run.train.class_names, path, names)


def confusion_figure(run: Run, path: Any = None) -> Any:
    """The confusion matrix of the test rows."""
    return run.trainer.plot_confusion(run.test.X, run.targets(run.test), run.test.class_names, path)


def residuals_figure(run: Run, path: Any = None) -> Any:
    """The predicted over the true numbers of the test rows, in the units of the table."""
    true, predicted = numbers_of(run.trainer, run.test)
    return plots.save(plots.residuals_figure(true, predicted, [run.target]), path)


def version_of(package: str) -> str | None:
    """The version that is installed; None where it is not, as Numba and SciPy in a browser."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def run_record(run: Run, figures: Mapping[str, Mapping[str, float]]) -> Writer:
    """Settings, data, figures, history and versions, as JSON."""
    history = run.trainer.history
    packages = {name: version_of(name) for name in ("numpy", "numba", "scipy")}
    content = {
        "settings": asdict(run.settings),
        "data": {
            "name": run.train.name,
            "sha256": run.digest,
            **{f"{name}_rows": len(part) for name, part in run.parts.items()},
            "features": list(run.train.feature_names),
            "classes": [str(name) for name in run.train.class_names],
        },
        "loss": run.loss,
        "model": repr(run.model),
        "parameters": sum(parameter.size for parameter in run.model.parameters()),
        "figures": figures,
        "stopped": history.stopped,
        "history": history.columns,
        "versions": {"tinygrad_ce": tg.__version__, "python": platform.python_version(), **packages},
    }
    return lambda path: path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
