"""tinygrad-ce selftest: right here, and wrong, with exit code 1, where anything computes wrong."""

import mpmath
import numpy as np
import pytest
from typer.testing import CliRunner

import tinygrad_ce as tg
from tests import fresh
from tinygrad_ce import cli, ops
from tinygrad_ce.cli import selftest


def run():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.terminal.console, "_width", 250)  # sentences stay on their line
        result = CliRunner().invoke(cli.app, ["selftest"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_this_installation_computes_right():
    code, said = run()
    assert code == 0, said
    assert "this installation computes right" in said
    for words in (tg.__version__, np.__version__, "threads", "ulp from the exact values", "compiled code"):
        assert words in said


def test_its_known_digits_are_those_of_mpmath():
    with mpmath.workdps(60):
        loss, gradient = mpmath.mpf(0), []
        for row, label in zip(selftest.LOGITS, selftest.LABELS, strict=True):
            total = sum(mpmath.exp(z) for z in row)
            loss += (mpmath.log(total) - row[label]) / 3
            gradient.append([float((mpmath.exp(z) / total - (k == label)) / 3) for k, z in enumerate(row)])
        assert float(loss) == selftest.LOSS
        assert np.array_equal(gradient, selftest.GRADIENT)
        (row,), (target,) = selftest.SOFT_LOGITS, selftest.SOFT_TARGETS
        total = sum(mpmath.exp(z) for z in row)
        assert float(sum(t * (mpmath.log(total) - z) for t, z in zip(target, row, strict=True))) == selftest.SOFT_LOSS
        slopes = [float(mpmath.exp(z) / total - t) for t, z in zip(target, row, strict=True)]
        assert slopes == [*selftest.SOFT_GRADIENT[0]]
        pairs = [*zip(selftest.BINARY_LOGITS, selftest.BINARY_TARGETS, strict=True)]
        assert float(sum(mpmath.log1p(mpmath.exp(z)) - t * z for z, t in pairs) / 4) == selftest.BINARY_LOSS
        slopes = [float((1 / (1 + mpmath.exp(-z)) - t) / 4) for z, t in pairs]
        assert slopes == [*selftest.BINARY_GRADIENT]


@pytest.mark.parametrize("environment", [{}, {"NUMBA_DISABLE_JIT": "1"}], ids=["as here", "without JIT"])
def test_its_losses_are_far_from_the_bound_on_a_right_machine(environment):
    """Loops run as Python have other exponentials, as another processor has: no digit may hang on them."""
    words = fresh.said("from tinygrad_ce.cli import selftest; print(selftest.check_losses())", **environment)
    assert float(words.split()[2]) <= selftest.BOUND / 2, words


def test_its_training_reaches_the_same_loss_with_numpy_alone():
    """Forward, backward and Adam by hand, from the same weights and in the same order of rows."""
    moons = tg.data.moons(200, seed=0)
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 16), tg.nn.Tanh(), tg.nn.Dense(16, 2))
    W, b, V, c = parameters = [parameter.data.copy() for parameter in model.parameters()]
    first, second = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
    order, steps = np.random.default_rng(0), 0
    for _ in range(30):
        losses = []
        for X, y in tg.data.batches(moons.X, moons.y, 25, seed=order):
            h = np.tanh(X @ W + b)
            z = h @ V + c
            p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
            losses.append(-np.log(p[np.arange(25), y]).mean())
            d_z = (p - np.eye(2)[y]) / 25
            d_a = (d_z @ V.T) * (1 - h * h)
            steps += 1
            gradients = (X.T @ d_a, d_a.sum(axis=0), h.T @ d_z, d_z.sum(axis=0))
            for p, g, m, s in zip(parameters, gradients, first, second, strict=True):
                m += 0.1 * (g - m)
                s += 0.001 * (g * g - s)
                p -= 0.02 * (m / (1 - 0.9**steps)) / (np.sqrt(s / (1 - 0.999**steps)) + 1e-8)
    assert np.mean(losses) == pytest.approx(selftest.MOONS_LOSS, rel=1e-9)


def slightly_wrong(function):
    return lambda *arguments, **options: np.asarray(function(*arguments, **options)) * np.float32(1 + 1e-5)


def always_the_same(seed=None):
    return np.random.Generator(np.random.MT19937(1))


def by_threads(z, y):
    return (z * (tg.get_num_threads() / 3)).sum()


@pytest.mark.parametrize(
    ("check", "break_it"),
    [
        ("check_losses", lambda patch: patch.setattr(ops.xent, "body", slightly_wrong(ops.xent.body))),
        ("check_losses", lambda patch: patch.setattr(ops.sigmoid_xent, "run", slightly_wrong(ops.sigmoid_xent.run))),
        ("check_kernels", lambda patch: patch.setattr(ops.softplus, "run", slightly_wrong(ops.softplus.run))),
        ("check_gradients", lambda patch: patch.setattr(ops.tanh, "rules", [lambda g, out, x: g * out])),
        ("check_training", lambda patch: patch.setattr(np.random, "default_rng", always_the_same)),
        ("check_compiled", lambda patch: patch.setattr(selftest, "cannot_compile", lambda: 1 / 0)),
        ("check_threads", lambda patch: patch.setattr(tg.losses, "softmax_cross_entropy", by_threads)),
    ],
)
def test_what_computes_wrong_is_found(monkeypatch, check, break_it):
    """The other checks still run."""
    checks = [c for c in selftest.CHECKS if c.__name__ in (check, "check_gradients")]
    monkeypatch.setattr(selftest, "CHECKS", checks)
    with monkeypatch.context() as patch:
        break_it(patch)
        code, said = run()
    assert code == 1
    assert "WRONG" in said
    assert f"wrong: {selftest.name_of(getattr(selftest, check))}. Do not trust" in said


def test_without_numba_it_says_so_and_is_right(monkeypatch):
    from tinygrad_ce.kernels import jit

    monkeypatch.setattr(jit, "numba", None)
    monkeypatch.setattr(selftest, "CHECKS", (selftest.check_compiled, selftest.check_gradients))
    code, said = run()
    assert code == 0, said
    assert "Numba is not installed" in said
