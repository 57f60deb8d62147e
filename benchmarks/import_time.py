"""`import tinygrad_ce` against `import numpy`, each in a fresh interpreter. Goal: at most 1.45 times, without Numba."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from benchmarks.side_by_side import size, verdict

ROUNDS = size(15, tiny=1)
GOAL = 1.45  # times `import numpy`


def seconds(statement: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    return time.perf_counter() - start


def main() -> None:
    print(__doc__)
    statements = {"pass": "pass", "numpy": "import numpy", "tinygrad_ce": "import tinygrad_ce"}
    for statement in statements.values():
        seconds(statement)
    rounds = [{name: seconds(statement) for name, statement in statements.items()} for _ in range(ROUNDS)]
    for name in statements:
        print(f"{name:<14}{statistics.median(times[name] for times in rounds) * 1e3:8.1f} ms, whole process")
    whole = statistics.median(times["tinygrad_ce"] / times["numpy"] for times in rounds)
    print(f"tinygrad_ce / numpy: {whole:.2f}   {verdict(whole, most=GOAL)}")
    inside = "import sys, tinygrad_ce; print(*sorted({'numba', 'scipy', 'rich'} & {*sys.modules}))"
    brought = subprocess.run([sys.executable, "-c", inside], check=True, capture_output=True, text=True).stdout.strip()
    print(f"of numba, scipy and rich it brings in: {brought or 'none'}")


if __name__ == "__main__":
    main()
