"""The pages of step_through: their size, the time to make one, to open it in Chromium, and to step.

Goals: a 2-3-1 network under 150 kB, digits 64-32-10 with a batch of 32 under 3 MB, both open in under a second; a graph
of 500 operations steps smoothly, which is taken as 16 ms a step: one picture of a 60 Hz screen.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_ce as tg
from benchmarks.side_by_side import installed, size

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
ROUNDS = size(7, tiny=1)
GOALS = {"2-3-1, batch 4": (150, 1.0), "digits 64-32-10, batch 32": (3000, 1.0), "500 operations": (None, None)}


def losses() -> dict[str, tg.Tensor]:
    generator = np.random.default_rng(0)
    tg.seed(0)
    small = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 1))
    x = generator.normal(size=(4, 2))
    bce = tg.losses.sigmoid_binary_cross_entropy(small(x), np.array([[0.0], [1.0], [1.0], [0.0]]))
    digits = tg.data.digits()
    model = tg.nn.Sequential(tg.nn.Dense(64, 32), tg.nn.Tanh(), tg.nn.Dense(32, 10))
    xent = tg.losses.softmax_cross_entropy(model(digits.X[:32]), digits.y[:32])
    a = tg.Tensor(0.5, requires_grad=True, name="a")
    t: Any = a
    for _ in range(size(125, tiny=5)):
        t = (t * 0.9 + a) * np.sin(t)
    return {"2-3-1, batch 4": bce, "digits 64-32-10, batch 32": xent, "500 operations": t}


def opened(browser: Any, path: Path) -> tuple[float, float]:
    """Seconds until the page is there and drawn, and milliseconds for a step, over all steps."""
    page = browser.new_page()
    page.goto("about:blank")
    start = time.perf_counter()
    page.goto(path.as_uri())
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    seconds = time.perf_counter() - start
    step = page.evaluate(
        """() => {
             const start = performance.now(), count = Number(document.getElementById("slider").max);
             for (let n = 0; n < count; n++) {
               document.getElementById("next").click();
               document.body.getBoundingClientRect();
             }
             return (performance.now() - start) / count;
           }"""
    )
    page.close()
    return seconds, step


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, or None where it is not installed."""
    path = shutil.which("chromium")
    if path is None:
        print("chromium is not installed: skipped")
    if path is None or not installed("playwright"):
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def main() -> None:
    print(__doc__)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for name, loss in losses().items():
            start = time.perf_counter()
            path = tg.step_through(loss).save(Path(folder) / "page.html")
            seconds = time.perf_counter() - start
            kilobytes, (largest, soonest) = path.stat().st_size / 1000, GOALS[name]
            small = "" if largest is None else f" (goal {largest}: {'reached' if kilobytes < largest else 'MISSED'})"
            print(f"{name}: {kilobytes:.0f} kB{small}, written in {seconds:.2f} s")
            if browser is None:
                continue
            runs = [opened(browser, path) for _ in range(ROUNDS)]
            seconds, step = (statistics.median(run[k] for run in runs) for k in (0, 1))
            soon = "" if soonest is None else f" (goal {soonest:g}: {'reached' if seconds < soonest else 'MISSED'})"
            smooth = f" (goal 16: {'reached' if step < 16 else 'MISSED'})" if soonest is None else ""
            print(f"    opens in {seconds:.2f} s{soon}, {step:.1f} ms a step{smooth}")


if __name__ == "__main__":
    main()
