"""The live page in headless Chromium: its bytes, the time until it runs, training steps, and steps that are drawn.

The network is 2-8-8-2 with tanh, softmax cross-entropy and SGD, and 200 points. Goals: 150 kB without data, open within
one second, 1,000 steps a second that are not drawn, and a step with all pictures in 33 ms.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import tinygrad_ce as tg
from benchmarks.javascript import QUIET
from benchmarks.side_by_side import installed, size, verdict
from tinygrad_ce.live import live

BYTES, OPEN_SECONDS, STEPS_PER_SECOND, DRAWN_MILLISECONDS = 150_000, 1.0, 1000.0, 33.0
ROWS = size(200, 8)
TIMES_OPENED = size(5, 1)
# Milliseconds for one step: of the program alone, of the page without views, and of the page with all of them.
MEASURED = """([blocks, repeats]) => {
  const timed = (run, count) => {
    const begin = performance.now();
    for (let k = 0; k < count; k++) run();
    return (performance.now() - begin) / count;
  };
  const times = (run, count) => Array.from({ length: blocks }, () => timed(run, count));
  const { step, settings } = session;
  let t = 0;
  const passes = () => {
    step.forward();
    step.backward();
    (step.updates?.[settings.optimizer] ?? step.update)({ lr: settings.rate, t: ++t });
  };
  times(passes, repeats); // after which the engine has compiled it
  return {
    program: times(passes, repeats),
    page: times(trainStep, repeats),
    drawn: Array.from({ length: 3 * blocks }, () => timed(() => { trainStep(); redraw(); }, 1)),
  };
}"""

# Milliseconds from the navigation until the page has drawn its first numbers.
BEGUN = """() => new Promise((found) => {
  const look = () => {
    if (typeof session === "object" && session.step && document.querySelector("#say")) found(performance.now());
    else setTimeout(look, 1);
  };
  look();
})"""


def page_of(rows: int) -> str:
    """The whole page for so many points."""
    tg.seed(0)
    layers = [tg.nn.Dense(2, 8), tg.nn.Tanh(), tg.nn.Dense(8, 8), tg.nn.Tanh(), tg.nn.Dense(8, 2)]
    model = tg.nn.Sequential(*layers)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.3)
    trainer = tg.Trainer(model, tg.losses.softmax_cross_entropy, optimizer)
    return live(trainer, tg.data.moons(rows, seed=0)).html


def opened(browser: Any, path: Path) -> tuple[Any, float]:
    """The page when it runs, and the seconds until then."""
    page = browser.new_page()
    page.goto(path.as_uri(), wait_until="commit")
    seconds: float = page.evaluate(BEGUN) / 1000
    return page, seconds


def main() -> None:
    html, without_data = page_of(ROWS), len(page_of(8).encode())
    print(f"The live page of 2-8-8-2 with {ROWS} points, SGD, all combinations and moments in it")
    print(f"{len(html.encode()):,} bytes with data")
    print(f"{without_data:,} bytes without data, {verdict(without_data, most=BYTES)}")
    if not shutil.which("chromium"):
        print("chromium is not installed: skipped")
    elif installed("playwright"):
        from playwright.sync_api import sync_playwright

        with sync_playwright() as play, tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "live.html")
            path.write_text(html, encoding="utf-8")
            browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
            pages = [opened(browser, path) for _ in range(TIMES_OPENED)]
            report(pages[-1][0].evaluate(MEASURED, [size(15, 1), size(200, 50)]), [seconds for _, seconds in pages])
            browser.close()


def report(times: dict[str, list[float]], seconds: list[float]) -> None:
    """One line for each figure: its median."""
    of = {name: statistics.median(each) for name, each in times.items()}
    print(f"open in {statistics.median(seconds):.2f} s, {verdict(statistics.median(seconds), most=OPEN_SECONDS)}")
    for name in ("program", "page"):
        each = verdict(of[name], most=1000 / STEPS_PER_SECOND)
        print(f"{1000 / of[name]:,.0f} steps a second, {name} ({of[name] * 1000:.0f} us each), {each}")
    print(f"a step with all pictures {of['drawn']:.1f} ms, {verdict(of['drawn'], most=DRAWN_MILLISECONDS)}")


if __name__ == "__main__":
    main()
