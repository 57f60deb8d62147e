"""A training step as JavaScript: its bytes, and microseconds a step in Node and in headless Chromium.

The network is 2-16-16-2 with tanh, softmax cross-entropy and Adam, in float64. Goals: 6 kB, and 60 us a step
with 32 rows in Chromium.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_ce as tg
from benchmarks.side_by_side import installed, size, verdict

BYTES, MICROSECONDS = 6000, 60.0
ROWS = size([32, 64], [8])
REPEATS = size(400, 2)
ROUNDS = size(25, 1)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
# The median of some rounds of some steps, after the engine has had time to compile.
TIMES = """
const s = createStep();
for (const [name, values] of Object.entries(start)) s.buffers[name].set(values);
let t = 0;
const round = () => {
  const begin = performance.now();
  for (let k = 0; k < repeats; k++) s.step({ lr: 0.01, t: ++t });
  return ((performance.now() - begin) * 1000) / repeats;
};
for (let k = 0; k < 5; k++) round();
const times = Array.from({ length: rounds }, round);
"""


def step_and_batch(rows: int) -> tuple[Callable[..., Any], tuple[np.ndarray, np.ndarray]]:
    """A training step, and the data that it is traced with."""
    tg.seed(0)
    layers = [tg.nn.Dense(2, 16), tg.nn.Tanh(), tg.nn.Dense(16, 16), tg.nn.Tanh(), tg.nn.Dense(16, 2)]
    model = tg.nn.Sequential(*layers)
    optimizer = tg.optim.Adam(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = tg.losses.softmax_cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x = np.random.default_rng(0).normal(size=(rows, 2))
    return step, (x, (x[:, 0] * x[:, 1] > 0).astype(int))


def page_script(rows: int) -> tuple[str, int]:
    """The module with what times it, and the bytes of the module alone."""
    step, batch = step_and_batch(rows)
    program = tg.trace(step, *batch)
    start = {name: array.reshape(-1).tolist() for name, array in program.state.items()}
    start |= {x.name: array.reshape(-1).tolist() for x, array in zip(program.arguments, batch, strict=True)}
    constants = f"const start = {json.dumps(start)}, repeats = {REPEATS}, rounds = {ROUNDS};\n"
    return program.javascript + constants + TIMES, len(program.javascript.encode())


def in_node(script: str) -> list[float]:
    """Microseconds of each round."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "step.mjs")
        path.write_text(f"{script}\nconsole.log(JSON.stringify(times));", encoding="utf-8")
        done = subprocess.run(["node", str(path)], capture_output=True, text=True, check=True)
    times: list[float] = json.loads(done.stdout)
    return times


@contextmanager
def chromium() -> Iterator[Callable[[str], list[float]]]:
    """A function that runs a script in headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        page = browser.new_page()

        def run(script: str) -> list[float]:
            page.set_content("<title>A step</title>")
            page.add_script_tag(content=f"{script}\nwindow.times = times;", type="module")
            times: list[float] = page.wait_for_function("window.times").json_value()
            return times

        yield run
        browser.close()


def report(where: str, rows: int, times: list[float], goal: float | None = None) -> None:
    """One line: the median and the fastest round."""
    median = statistics.median(times)
    print(f"{where:<12}{rows:>6}{median:>12.1f}{min(times):>12.1f}   {verdict(median, most=goal)}".rstrip())


def main() -> None:
    scripts = {rows: page_script(rows) for rows in ROWS}
    _, count = scripts[ROWS[0]]
    print(f"{count:,} bytes, {verdict(count, most=BYTES)}")
    print(f"{'':<12}{'rows':>6}{'median, us':>12}{'best, us':>12}   goal")
    if shutil.which("node"):
        for rows, (script, _) in scripts.items():
            report("node", rows, in_node(script))
    else:
        print("node is not installed: skipped")
    if not shutil.which("chromium"):
        print("chromium is not installed: skipped")
    elif installed("playwright"):
        with chromium() as run:
            for rows, (script, _) in scripts.items():
                report("chromium", rows, run(script), MICROSECONDS if rows == 32 else None)


if __name__ == "__main__":
    main()
