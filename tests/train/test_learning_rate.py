"""The sweep that finds a learning rate, which leaves nothing behind, and plateau schedules in `fit`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce.optim import SGD, Adam, Constant, Cosine, ReduceOnPlateau
from tinygrad_ce.train import find_learning_rate

DATA = tg.data.moons(96, noise=0.1, seed=0)


def trainer(lr: Any = 0.1, make: Any = Adam) -> tg.Trainer:
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 8), nn.BatchNorm(8), nn.Tanh(), nn.Dropout(0.2), nn.Dense(8, 2))
    model.layers[3].generator = np.random.default_rng(5)
    return tg.Trainer(model, nn.SoftmaxCrossEntropy(), make(model.parameters(), lr=lr))


def everything(run: tg.Trainer) -> dict[str, Any]:
    """All that a training may change."""
    generators = [tg.nn.init.generator(), *(m.generator for m in run.model.modules() if isinstance(m, nn.Dropout))]
    return {
        **run.model.state(),
        **{f"optimizer {name}": value for name, value in run.optimizer.state().items()},
        "gradients": [None if p.grad is None else p.grad.tolist() for p in run.model.parameters()],
        "generators": [generator.bit_generator.state for generator in generators],
        "of numpy": np.random.get_state()[1].tolist(),  # type: ignore[index]
        "modes": [module.training for module in run.model.modules()],
        "schedule": run.optimizer.schedule,
        "task": run.task,
    }


SCHEDULES = {
    "number": lambda: 0.1,
    "cosine": lambda: Cosine(0.1, steps=50),
    "plateau": lambda: ReduceOnPlateau(0.1, patience=1),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_nothing_is_left_behind(name: str) -> None:
    run, twin = (trainer(SCHEDULES[name]()) for _ in range(2))
    run.fit(DATA.X, DATA.y, epochs=1, seed=0)
    run.model.layers[1].eval()
    loss = nn.SoftmaxCrossEntropy()(run.model(DATA.X[:5]), DATA.y[:5])
    before = everything(run)
    find_learning_rate(run, DATA.X, DATA.y, high=1e3)
    np.testing.assert_equal(everything(run), before)
    loss.backward()  # a graph from before is still right: its numbers are there again
    twin.fit(DATA.X, DATA.y, epochs=1, seed=0)
    for training in (run, twin):
        training.optimizer.zero_grad()
        training.fit(DATA.X, DATA.y, epochs=1, seed=1)
    np.testing.assert_equal(run.model.state(), twin.model.state())


def test_nothing_is_left_behind_by_a_sweep_that_failed() -> None:
    run = trainer()
    before = everything(run)
    with pytest.raises(ValueError, match="the loss has not fallen"):
        find_learning_rate(run, np.full_like(DATA.X, np.nan), DATA.y)
    with pytest.raises(ValueError, match="rows"):
        find_learning_rate(run, DATA.X, DATA.y[:5])
    np.testing.assert_equal(everything(run), before)


def bowl(curvature: float, lr: float = 1.0) -> tuple[tg.Trainer, np.ndarray, np.ndarray]:
    """The mean of (w x)**2 is curvature * w**2, and descent multiplies w by 1 - 2 * curvature * lr."""
    model = nn.Dense(1, 1, bias=False)
    X = np.full((64, 1), np.sqrt(curvature))
    return tg.Trainer(model, nn.MSE(), SGD(model.parameters(), lr=lr)), X, np.zeros((64, 1))


@pytest.mark.parametrize("curvature", [0.01, 1.0, 100.0])
def test_the_suggestion_follows_the_curvature(curvature: float) -> None:
    run, X, y = bowl(curvature)
    found = find_learning_rate(run, X, y, low=1e-4 / curvature, high=100 / curvature)
    assert 1 < found.rates[-1] * curvature < 100  # the sweep has ended where it explodes
    assert 0.005 < found.suggestion * curvature < 1
    assert found.suggestion == found.rates[np.argmin(found.smoothed)] / 10
    assert len(found.rates) == len(found.losses) == len(found.smoothed)
    assert "suggestion: lr=" in str(found)


def test_the_losses_are_those_of_descent_by_hand() -> None:
    """w moves by the factor 1 - 2 lr, and the loss is w**2; the running mean is that of Adam's first moment."""
    run, X, y = bowl(1.0)
    w = run.model.parameters()[0].data.item()
    found = find_learning_rate(run, X, y, low=1e-3, high=10.0, steps=50)
    losses, mean = [], 0.0
    for k, rate in enumerate(np.geomspace(1e-3, 10.0, 50)[: len(found.losses)], start=1):
        losses.append(w * w)
        mean = 0.9 * mean + 0.1 * w * w
        np.testing.assert_allclose(found.smoothed[k - 1], mean / (1 - 0.9**k), rtol=1e-9)
        w *= 1 - 2 * rate
    np.testing.assert_allclose(found.losses, losses, rtol=1e-9)


def test_a_sweep_that_ends_too_early_or_starts_too_high_says_so() -> None:
    run, X, y = bowl(1.0)
    with pytest.warns(UserWarning, match="still falling at the highest rate, 0.01: pass a larger high="):
        find_learning_rate(run, X, y, low=1e-4, high=0.01)
    with pytest.raises(ValueError, match="has not fallen with any rate from 5 on: pass a smaller low="):
        find_learning_rate(run, X, y, low=5.0, high=100.0)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"low": 0}, "low=0"),
        ({"low": 1, "high": 0.1}, "low=1 and high=0.1"),
        ({"steps": 3}, "steps"),
        ({"batch_size": 0}, "batch_size"),
    ],
    ids=str,
)
def test_bad_sweeps_are_refused(bad: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        find_learning_rate(trainer(), DATA.X, DATA.y, **bad)


# ---- plateaus


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("validated", [False, True])
def test_fit_tells_a_plateau_schedule_the_loss_of_each_epoch(compile: bool, validated: bool) -> None:
    """The rates of the history are those of a second schedule that is told its losses."""
    if compile:
        pytest.importorskip("numba")
    model = nn.Dense(2, 2)
    schedule = ReduceOnPlateau(8.0, factor=0.5, patience=1)
    run = tg.Trainer(model, nn.SoftmaxCrossEntropy(), SGD(model.parameters(), lr=schedule))
    validation = tg.data.moons(32, noise=0.3, seed=1)
    history = run.fit(
        DATA.X,
        DATA.y,
        epochs=12,
        compile=compile,
        seed=0,
        validation=(validation.X, validation.y) if validated else None,
    )
    assert history.compiled is compile
    other, rates = ReduceOnPlateau(8.0, factor=0.5, patience=1), []
    for loss in history["val_loss" if validated else "loss"]:
        rates.append(other(0))
        other.observe(loss)
    assert history["lr"] == rates
    assert len(set(rates)) > 2
    assert schedule(0) == other(0)


def test_compiled_epochs_take_the_rate_that_the_epoch_before_has_left() -> None:
    """Many epochs would run in one compiled call, with the rate of the first."""
    pytest.importorskip("numba")

    def trained(compile: bool) -> np.ndarray:
        tg.seed(0)
        model = nn.Dense(2, 2)
        run = tg.Trainer(
            model,
            nn.SoftmaxCrossEntropy(),
            SGD(model.parameters(), lr=ReduceOnPlateau(8.0, factor=0.5, patience=1)),
        )
        run.fit(DATA.X, DATA.y, epochs=12, compile=compile, seed=0)
        assert run.optimizer.lr < 8
        return model.W.data

    np.testing.assert_allclose(trained(True), trained(False), rtol=1e-9)


def test_a_constant_rate_stays_one() -> None:
    run = trainer(0.25)
    run.fit(DATA.X, DATA.y, epochs=2, seed=0)
    assert type(run.optimizer.schedule) is Constant
    assert run.optimizer.lr == 0.25
