"""`live`: one offline HTML file in which a network of one's own is changed and trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tinygrad_ce.data import Dataset
from tinygrad_ce.data.checks import whole_number
from tinygrad_ce.live.fitting import check_fitting
from tinygrad_ce.live.lines import with_other_rows
from tinygrad_ce.live.moment_networks import moment_networks
from tinygrad_ce.live.moments import Moment, moments_content
from tinygrad_ce.live.networks import network
from tinygrad_ce.live.offers import OPTIMIZERS, combinations, offered, settings_of, update_lines, with_names
from tinygrad_ce.live.rows import Rows, rows_of
from tinygrad_ce.live.saved import code_of, saved_of
from tinygrad_ce.live.traced import Training, javascript_of, javascript_of_all, traced_step
from tinygrad_ce.live.twelve import twelve
from tinygrad_ce.live.verdicts import audit_content
from tinygrad_ce.nn import Module
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.program.scripts_text import as_script
from tinygrad_ce.report.page import file_text, filled, page_html
from tinygrad_ce.report.words import escaped
from tinygrad_ce.views.browser.words import words_script
from tinygrad_ce.views.pages import Page, as_json, deflated, packed

SCRIPTS = (
    "session.js", "random.js", "keeping.js",
    "pictures.js", "network.js", "neuron.js", "data.js", "rows.js", "curve.js",
    "formula.js", "steps.js", "program.js", "verdicts.js", "edge.js",
    "checks.js", "moments.js", "welcome.js", "controls.js", "main.js",
)  # fmt: skip

MOST_SEED = 2**53 - 1


class Trainer(Protocol):
    """What the page needs of a Trainer."""

    model: Module
    loss: Callable[[Any, Any], Any]
    optimizer: Optimizer
    preparation: Any


def live(
    trainer: Trainer,
    dataset: Dataset,
    test: Dataset | None = None,
    title: str = "",
    moments: Sequence[Moment] | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Page:
    """A page in which the trainer's network goes on training, and all of it can be changed.

    dataset: the rows that train; a quarter of them is only measured, unless test has rows for that. Rows that are not
    scaled yet are scaled as those of the trainer's last fit were. title: the page's heading, else the dataset's name.
    moments: what can be found out on the page, a list of `Moment`; the twelve that all pages have if it is None.
    batch_size: rows of a step, where the page begins; None is all. seed: of the order of the batches, and of weights
    that the page draws.
    The page computes in float64 whatever the model has, and its rate is that of the coming step until it is changed
    there: a schedule does not go on. The trainer and its model stay as they are.
    Raises TypeError and ValueError in one line for what the page cannot hold: several inputs, random numbers that are
    no Dropout, an operation without JavaScript (it is named).

    >>> import tinygrad_ce as tg
    >>> model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.Tanh(), tg.nn.Dense(4, 2))
    >>> trainer = tg.Trainer(model, tg.losses.softmax_cross_entropy, tg.optim.SGD(model.parameters(), lr=0.3))
    >>> live(trainer, tg.data.moons(40, seed=0))
    <a page that trains moons: .save("live.html")>
    """
    check_arguments(trainer, title, moments)
    if batch_size is not None:
        whole_number("live", "batch_size", batch_size, least=1)
    if whole_number("live", "seed", seed, least=0) > MOST_SEED:
        raise ValueError(f"live: seed is {seed}; JavaScript holds whole numbers up to {MOST_SEED}")
    rows = rows_of(dataset, test, trainer.preparation)
    training = Training(trainer.model, trainer.loss, trainer.optimizer).in_float64()
    settings = settings_of(training, rows.train.n_features, rows.train.n_classes)
    networks, programs, state = own_network(training, rows, settings["optimizer"], trainer)
    choices, their_programs = combinations(rows.train.n_features, rows.train.n_classes)
    moments = twelve() if moments is None else moments
    if isinstance(moments, Moment):
        raise ValueError("live: moments is one Moment: write a list, moments=[...]")
    brought, moments_programs = moment_networks(tuple(moment for moment in moments if isinstance(moment, Moment)))
    check_fitting(moments, choices | networks | brought, settings)
    optimizer = training.optimizer
    title = title or dataset.name
    content = {
        "title": title,
        "data": rows.content,
        "own": "own",
        "settings": settings
        | {
            "rate": optimizer.lr,
            "batch": min(batch_size or len(rows.train), len(rows.train)),
            "seed": seed,
            "steps": optimizer.steps,
        },
        "networks": {key: with_names(each, rows.train) for key, each in choices.items()} | networks | brought,
        "state": state,
        "offered": offered(rows.train.n_classes, settings["optimizer"]),
        "moments": moments_content(moments),
        "audit": audit_content(),
    }
    return Page(html_of(title, content, their_programs | programs | moments_programs), "trains", title, "live.html")


def check_arguments(trainer: Trainer, title: str, moments: Sequence[Moment] | None) -> None:
    """TypeError for what is no trainer, no text, or no list of moments."""
    model, optimizer = (getattr(trainer, name, None) for name in ("model", "optimizer"))
    if not (isinstance(model, Module) and isinstance(optimizer, Optimizer)):
        raise TypeError(
            f"live: trainer is a {type(trainer).__name__}; it must be a Trainer: tg.Trainer(model, loss, optimizer)"
        )
    if not (title is None or isinstance(title, str)):
        raise TypeError(f"live: title is {title!r}; it must be a text")
    if moments is not None and not (isinstance(moments, Sequence) and all(isinstance(m, Moment) for m in moments)):
        raise TypeError(f"live: moments is {moments!r}; it must be a list of Moment, or None for those of all pages")


def own_network(
    training: Training, rows: Rows, optimizer: str, trainer: Trainer
) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """The trainer's network: what the page knows of it, its programs, both by key, and what it has learnt so far.

    optimizer: what the page calls its optimizer; it can be trained with those that are offered, too. A network that
    answers otherwise in evaluation has a second program for that.
    """
    train, count = rows.train, rows.train.n_classes
    X, y = rows.X[: len(train)], rows.y[: len(train)]
    traced = traced_step(training, X, y, count)
    with_rows = with_other_rows(traced.program)
    own = network(traced, train.feature_names, train.class_names, with_rows)
    parameters = [x for x in training.optimizer.parameters if x.requires_grad]
    others = {
        name: Training(training.model, training.loss, make(parameters))
        for name, make in OPTIMIZERS.items()
        if name != optimizer
    }
    trained = {optimizer: traced} | {name: traced_step(other, X, y, count) for name, other in others.items()}
    program = javascript_of_all(trained, with_rows)
    if program is None:
        program, trained = javascript_of(traced), {optimizer: traced}
    optimizers = {name: other.training.optimizer for name, other in trained.items()}
    own["updates"] = {name: update_lines(other) for name, other in trained.items()}
    own["numbers"] = {name: {"lr": each.lr} for name, each in optimizers.items()}
    own["code"] = code_of(traced, optimizers, count)
    own["saved"] = saved_of(traced, own["task"], trainer.preparation)
    networks, programs = {"own": own}, {"own": program}
    evaluating = traced_step(training, X, y, count, evaluation=True)
    evaluation = network(evaluating, train.feature_names, train.class_names)
    if evaluation["lines"] != [line for line in own["lines"] if line["phase"] == "forward"]:
        networks |= {"own": own | {"evaluation": "own/evaluation"}, "own/evaluation": evaluation}
        programs["own/evaluation"] = javascript_of(evaluating)
    return networks, programs, {name: packed(array) for name, array in traced.program.state.items()}


def html_of(title: str, content: dict[str, Any], programs: dict[str, str]) -> str:
    """The text of the page."""
    script = "\n".join(
        (
            file_text("tinygrad_ce.views.browser", "numbers.js"),
            words_script(),
            file_text("tinygrad_ce.live.page", *SCRIPTS),
        )
    )
    css = file_text("tinygrad_ce.views.browser", "page.css", "words.css")
    css += "\n" + file_text("tinygrad_ce.live.page", "page.css", "moments.css", "lines.css")
    body = filled(
        file_text("tinygrad_ce.live.page", "page.html"),
        title=escaped(title),
        content=deflated(as_json(content), "application/json", "page-data"),
        programs=deflated(as_script(programs), "text/javascript", "page-programs"),
        script=deflated(script, "text/javascript", "page-script"),
        loader=file_text("tinygrad_ce.views.browser", "loader.js"),
    )
    return page_html(f"{title}, live", body, css, scripts=True)
