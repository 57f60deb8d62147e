"""`live`: one offline HTML file in which a network of one's own is changed and trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tinygrad_ce.core import Tensor
from tinygrad_ce.data import Dataset
from tinygrad_ce.live.verdicts import audit_content
from tinygrad_ce.nn import Dense, Module
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.program.program import trace
from tinygrad_ce.program.scripts_text import as_script
from tinygrad_ce.views.browser.words import words_script
from tinygrad_ce.views.pages import Page, as_json, file_text, files_text, filled, packed
from tinygrad_ce.views.text import escaped

SCRIPTS = (
    "session.js", "random.js", "keeping.js",
    "pictures.js", "network.js", "neuron.js", "data.js", "rows.js", "curve.js",
    "formula.js", "steps.js", "program.js", "verdicts.js", "edge.js",
    "moments.js", "controls.js", "main.js",
)  # fmt: skip


class Training(Protocol):
    """What the page needs of a Trainer."""

    model: Module
    loss: Callable[[Any, Any], Any]
    optimizer: Optimizer


def live(trainer: Training, dataset: Dataset, title: str = "") -> Page:
    """A page in which the trainer's network goes on training, and all of it can be changed.

    >>> import tinygrad_ce as tg
    >>> model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.Tanh(), tg.nn.Dense(4, 2))
    >>> trainer = tg.Trainer(model, tg.losses.softmax_cross_entropy, tg.optim.SGD(model.parameters(), lr=0.3))
    >>> live(trainer, tg.data.moons(40, seed=0))
    <a page that trains moons: .save("live.html")>
    """
    model, optimizer = trainer.model, trainer.optimizer

    def step(x: Any, y: Any) -> Tensor:
        loss: Tensor = trainer.loss(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.named("loss")

    X, y = np.asarray(dataset.X, np.float64), np.asarray(dataset.y)
    program = trace(step, X, y, models=[model])
    dense = [layer for layer in model.modules() if isinstance(layer, Dense)]
    title = title or dataset.name
    content = {
        "title": title,
        "data": {
            "name": dataset.name,
            "x": packed(X),
            "y": packed(y),
            "features": list(dataset.feature_names),
            "classes": list(dataset.class_names),
            "test": [],
            "image": None,
        },
        "own": "own",
        "settings": {"rate": optimizer.lr, "batch": len(X), "seed": 0, "optimizer": type(optimizer).__name__},
        "networks": {
            "own": {
                "columns": [{"buffer": "x"}, {"buffer": "h1"}, {"buffer": "z2"}],
                "weights": [
                    {"name": f"W{2 * n}", "bias": f"b{2 * n}", "from": n, "to": n + 1} for n in range(len(dense))
                ],
                "shapes": {name: array.shape for name, array in program.state.items()},
                "lines": [
                    {"text": line.strip(), "phase": "forward", "name": ""} for line in program.source.splitlines()
                ],
            }
        },
        "state": {name: packed(array) for name, array in program.state.items()},
        "offered": {},
        "moments": [],
        "audit": audit_content(),
    }
    html = filled(
        file_text("tinygrad_ce.live.page", "page.html"),
        title=escaped(title),
        css=files_text("tinygrad_ce.views.browser", "page.css", "words.css")
        + "\n"
        + files_text("tinygrad_ce.live.page", "page.css", "lines.css"),
        data=as_json(content),
        programs=as_script({"own": str(program.javascript)}),
        script=files_text("tinygrad_ce.views.browser", "numbers.js")
        + "\n"
        + words_script()
        + "\n"
        + files_text("tinygrad_ce.live.page", *SCRIPTS),
    )
    return Page(html, "trains", title, "live.html")
