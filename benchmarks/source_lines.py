"""What it costs that operations remember the user's line and modules: an eager step with and without. Goal: 5 %."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.eager_step import tinygrad_ce
from benchmarks.side_by_side import in_turn, ratio, size
from tinygrad_ce.source_lines import tracking

STEPS = size(200, tiny=1)  # in a block, so that entering it costs nothing


def main() -> None:
    print(__doc__)
    step = tinygrad_ce()

    def blocks(enabled: bool) -> Any:
        def run() -> None:
            with tracking(enabled):
                for _ in range(STEPS):
                    step()

        return run

    times = in_turn({"with lines": blocks(True), "without": blocks(False)}, rounds=31)
    for name, values in times.items():
        print(f"{name:<12}{statistics.median(values) / STEPS * 1e6:8.2f} us a step")
    cost = ratio(times["with lines"], times["without"]) - 1
    print(f"lines cost {cost:.1%} of a step   goal at most 5 % {'reached' if cost <= 0.05 else 'MISSED'}")


if __name__ == "__main__":
    main()
