"""`tinygrad-ce check`: the derivatives of a network against numerical ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
import typer

from tinygrad_ce import check as checks
from tinygrad_ce.cli.run import check_positive, prepared
from tinygrad_ce.cli.settings import Seed, Settings, Without
from tinygrad_ce.cli.terminal import console


def check(
    # --seed follows --rows in the help, so it is written out here
    settings: Annotated[Settings, Without("optimizer", "lr", "epochs", "batch_size", "patience", "seed", "dtype")],
    rows: Annotated[int, typer.Option(help="rows of the data to check with")] = 16,
    seed: Seed = 0,
) -> None:
    """Compare every derivative of the network that `train` would train with numerical ones, to second order.

    Example:
      tinygrad-ce check moons --hidden 8 --rows 8
    """
    check_positive(rows, "rows")
    run = prepared(replace(settings, seed=seed, dtype="float64"))
    part = run.train.take(np.arange(min(rows, len(run.train))))
    generator = np.random.default_rng(seed)
    for parameter in run.model.parameters():  # zero biases put a relu whose inputs are all dead exactly on its kink
        if parameter.ndim == 1:
            parameter.data += 0.1 * generator.normal(size=parameter.shape)
    report = checks.gradcheck_model(run.model, run.trainer.loss, part.X, run.targets(part), seed=seed)
    names = ", ".join(name for name, _ in run.model.named_parameters())
    console.print(
        f"{run.loss} of {run.model!r}\non {len(part)} rows of {run.train.name}; parameters: {names}\n"
        "(biases are moved a little off zero, so that no relu sits on its kink)",
        highlight=False,
    )
    console.print(str(report), highlight=False)
