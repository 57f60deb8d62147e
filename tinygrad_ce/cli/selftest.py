"""`tinygrad-ce selftest`: does this installation compute right? In seconds, against digits that do not come from it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import typer

import tinygrad_ce as tg
from tinygrad_ce import cache, ops
from tinygrad_ce.cli.results import version_of
from tinygrad_ce.cli.terminal import console, show
from tinygrad_ce.core import Array, Primitive
from tinygrad_ce.kernels import attach
from tinygrad_ce.report.parts import Heading, Table

BOUND = 4  # ulp: what the losses promise
BOUND_OF_BODIES = 64  # ulp: a plain exp(x - max) may lose some digits; a kernel that is wrong loses nearly all
PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "rich", "typer", "matplotlib", "scikit-learn")
DTYPES = (np.float32, np.float64)

# Mean losses of these logits, and their gradients, by mpmath with 60 digits. Confident rows lose theirs easily.
LOGITS, LABELS = ((2.0, -1.0, 0.5), (40.0, 0.0, -3.0), (-3.0, 1.0, 8.0)), (0, 0, 1)
LOSS = 2.4140798164854664
GRADIENT = (
    (-0.07146765513690805, 0.013037524423562484, 0.05843013071334556),
    (-1.486622453016899e-18, 1.4161180850971963e-18, 7.050436791970269e-20),
    (5.5620687505557e-06, -0.3330296546691958, 0.3330240926004453),
)
# No target is near its probability: their difference would lose digits on a machine that computes as promised.
SOFT_LOGITS, SOFT_TARGETS = ((1.0, -2.0, 0.25),), ((0.03125, 0.9375, 0.03125),)
SOFT_LOSS = 3.256063688057514
SOFT_GRADIENT = ((0.6257139135841668, -0.9047916927191656, 0.27907777913499876),)
BINARY_LOGITS, BINARY_TARGETS = (0.5, -40.0, 12.0, -3.0), (1.0, 0.0, 1.0, 1.0)
BINARY_LOSS = 0.8806676199868316
BINARY_GRADIENT = (-0.09438516719953637, 1.0620885638228972e-18, -1.5360436505536795e-06, -0.2381435317056083)

MOONS_LOSS = 0.16273832553207745  # of `check_training`; a test reaches it with NumPy alone


def selftest() -> None:
    """Say whether this installation computes right, in about 10 seconds; exit code 1 where it does not.

    The first time, kernels are compiled, which takes half a minute more.

    Example:
      tinygrad-ce selftest
    """
    show_installation()
    rows, failures = [], []
    for check in CHECKS:
        start = time.perf_counter()
        try:
            words = check()
        except Exception as error:  # whatever goes wrong on a damaged installation is what is asked for
            failures.append(name_of(check))
            words = f"WRONG: {error or type(error).__name__}"
        rows.append((name_of(check), words, f"{time.perf_counter() - start:.1f}"))
    show([Heading("tinygrad-ce selftest"), Table(rows, ("check", "result", "seconds"), right=frozenset({2}))])
    if failures:
        console.print(
            f"wrong: {', '.join(failures)}. Do not trust the numbers of this installation: install it anew "
            "(pip install --force-reinstall tinygrad_ce), remove compiled code (tinygrad-ce cache --clear), and if it "
            "stays so, report it with all of the above",
            soft_wrap=True,
        )
        raise typer.Exit(1)
    console.print("this installation computes right")


def show_installation() -> None:
    """Print versions, processor, threads and where compiled code is kept."""
    versions = (f"{name} {version_of(name) or 'not installed'}" for name in PACKAGES)
    console.print(f"tinygrad_ce {tg.__version__}, Python {platform.python_version()}, {', '.join(versions)}")
    console.print(
        f"{platform.system()} {platform.machine()}, {processor()}, {os.cpu_count()} cores, "
        f"{tg.get_num_threads()} threads, indices of {8 * np.dtype(np.intp).itemsize} bits"
    )
    console.print(f"compiled code: {cache.directory() or 'not kept between runs'}", soft_wrap=True)


def processor() -> str:
    """The processor for which loops are compiled, and how."""
    from tinygrad_ce.kernels.jit import numba

    if numba is None:
        return "loops run on NumPy: Numba is not installed"
    if numba.config.DISABLE_JIT:
        return "loops run as Python: NUMBA_DISABLE_JIT is set"
    import llvmlite.binding

    return f"compiled for {numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name()}"


def name_of(check: Callable[[], str]) -> str:
    """The first line of the check's docstring, without its full stop."""
    return (check.__doc__ or "").split("\n")[0].removesuffix(".")


# ---- the checks: each returns what it found, and raises where that is wrong


def check_losses() -> str:
    """Losses and gradients against known digits."""
    cases: dict[Primitive, Any] = {
        ops.xent: (LOGITS, LABELS, LOSS, GRADIENT),
        ops.soft_xent: (SOFT_LOGITS, SOFT_TARGETS, SOFT_LOSS, SOFT_GRADIENT),
        ops.sigmoid_xent: (BINARY_LOGITS, BINARY_TARGETS, BINARY_LOSS, BINARY_GRADIENT),
    }
    losses = tg.losses
    largest = 0.0
    for op, (logits, targets, loss, gradient) in cases.items():
        loss_of = losses.sigmoid_binary_cross_entropy if op is ops.sigmoid_xent else losses.softmax_cross_entropy
        for dtype in DTYPES:
            z = tg.Tensor(np.array(logits, dtype), requires_grad=True)
            y = np.array(targets, np.int64 if op is ops.xent else dtype)
            cost = loss_of(z, y)
            cost.backward()
            one = dtype(1)
            weights = (one, one) if op is ops.sigmoid_xent else (one,)
            body = op.body(z.data, y, *weights, reduction="mean")
            slope = GRADIENTS[op].body(one, z.data, y, *weights, reduction="mean")
            for found, exact in ((cost.data, loss), (z.grad, gradient), (body, loss), (slope, gradient)):
                largest = max(largest, distance(found, np.array(exact), dtype))
    if not largest <= BOUND:
        raise ArithmeticError(f"{largest:.3g} ulp from the exact values, and {BOUND} are promised")
    return f"at most {largest:.2f} ulp from the exact values, {BOUND} are promised"


GRADIENTS: dict[Primitive, Primitive] = {
    ops.xent: ops.xent_grad, ops.soft_xent: ops.soft_xent_grad, ops.sigmoid_xent: ops.sigmoid_xent_grad,
}  # fmt: skip


def distance(found: Any, exact: Array, dtype: Any) -> float:
    """The largest distance from the exact values in units in the last place (ulp) of the dtype."""
    if np.asarray(found).dtype != dtype:
        raise TypeError(f"a result of {np.dtype(dtype)} has become {np.asarray(found).dtype}")
    unit = np.spacing(np.abs(exact).astype(dtype)).astype(np.float64)
    return float(np.max(np.abs(np.asarray(found, np.float64) - exact) / unit))


def check_kernels() -> str:
    """Kernels against the bodies that define them."""
    generator = np.random.default_rng(0)
    elementwise = [op for op, least in attach.KERNELS.items() if least]
    largest = 0.0
    for dtype in DTYPES:
        for op in elementwise:
            x = generator.normal(scale=5, size=(700, 1000 if op is ops.tanh else 10)).astype(dtype)
            with np.errstate(all="ignore"):
                kernel, body = op.run(x), op.body(x)
            largest = max(largest, distance(kernel, np.asarray(body, np.float64), dtype))
    if not largest <= BOUND_OF_BODIES:
        raise ArithmeticError(f"{largest:.3g} ulp between a kernel and its body")
    return f"{len(elementwise)} functions, at most {largest:.2f} ulp apart"


def check_gradients() -> str:
    """Derivatives of first and second order against numerical ones."""
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(6, 3)), np.array([0, 1, 2, 1, 0, 2])
    W, b, V = generator.normal(size=(3, 4)), generator.normal(size=4), generator.normal(size=(4, 3))
    report = tg.check.gradcheck(
        lambda W, b, V: tg.losses.softmax_cross_entropy(ops.tanh(X @ W + b) @ V, y), W, b, V, names=("W", "b", "V")
    )
    return f"largest relative difference {report.largest_difference:.1e}"


def check_training() -> str:
    """A training reaches the loss that it reached elsewhere."""
    moons = tg.data.moons(200, seed=0)
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 16), tg.nn.Tanh(), tg.nn.Dense(16, 2))
    trainer = tg.Trainer(model, tg.nn.SoftmaxCrossEntropy(), tg.optim.Adam(model.parameters(), lr=0.02))
    history = trainer.fit(moons.X, moons.y, epochs=30, batch_size=25, seed=0, compile=False)
    loss = history.last()["loss"]
    if not np.isclose(loss, MOONS_LOSS, rtol=1e-6, atol=0):
        raise ArithmeticError(f"the loss after 30 epochs is {loss!r}, and must be {MOONS_LOSS}")
    return f"loss {loss:.6f} after 30 epochs, accuracy {history.last()['accuracy']:.0%}"


def check_compiled() -> str:
    """A compiled step against the same step run as it is."""
    w = tg.Tensor(np.linspace(-1, 1, 12).reshape(4, 3), requires_grad=True, name="w")
    optimizer = tg.optim.SGD([w], lr=0.5)
    X, y = np.linspace(-2, 2, 32).reshape(8, 4), np.arange(8) % 3
    start = w.data.copy()

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = tg.losses.softmax_cross_entropy(x @ w, y)
        loss.backward()
        optimizer.step()
        return loss

    eager = [float(step(X, y).item()) for _ in range(3)]
    after = w.data.copy()
    w.data[...] = start
    if cannot_compile():
        return f"not here: {cannot_compile()}"
    compiled = tg.compile(step)
    found = [float(compiled(X, y)) for _ in range(3)]
    if not (np.allclose(found, eager, rtol=1e-12, atol=0) and np.allclose(w.data, after, rtol=1e-12, atol=1e-15)):
        raise ArithmeticError(f"losses {found} instead of {eager}")
    return "three losses and the updated parameters are the same"


def cannot_compile() -> str:
    """Why no step can be compiled here; '' if it can."""
    from tinygrad_ce.kernels.jit import numba

    if numba is None:
        return "Numba is not installed"
    return "NUMBA_DISABLE_JIT is set" if numba.config.DISABLE_JIT else ""


def check_threads() -> str:
    """One thread and several give the same bits."""
    generator = np.random.default_rng(0)
    z, y = generator.normal(size=(60_000, 10)).astype(np.float32), generator.integers(10, size=60_000)
    before = tg.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 4):
            tg.set_num_threads(threads)
            logits = tg.Tensor(z, requires_grad=True)
            loss = tg.losses.softmax_cross_entropy(logits, y)
            loss.backward()
            assert logits.grad is not None
            results.append((loss.item(), logits.grad.tobytes()))
    finally:
        tg.set_num_threads(before)
    if len(set(results)) != 1:
        raise ArithmeticError(f"1, 2 and 4 threads give the losses {[loss for loss, _ in results]}")
    return "1, 2 and 4 threads: the same loss and gradient to the last bit"


CHECKS = (check_losses, check_kernels, check_gradients, check_training, check_compiled, check_threads)
