"""Many random programs, each in every way that there is, with as many processes as are asked for.

    python tests/peers/many_programs.py [COUNT [FIRST [PROCESSES]]]

Every hundredth is compiled by Numba; of all others the loops run as Python.
"""

from __future__ import annotations

import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

TESTS = Path(__file__).parents[1]
COMPILED_EACH = 100


def differences(first: int, count: int) -> list[str]:
    """What differs in so many programs, in words."""
    sys.path[:0] = [str(TESTS.parent), str(TESTS)]
    from random_programs import check_program

    warnings.simplefilter("ignore")
    found = []
    for seed in range(first, first + count):
        try:
            check_program(seed, by_numba=seed % COMPILED_EACH == 0)
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


def main(count: int = 20_000, first: int = 0, processes: int = 2) -> int:
    start, wrong, done = time.perf_counter(), 0, 0
    with ProcessPoolExecutor(processes) as pool:
        parts = range(first, first + count, 100)
        for found in pool.map(differences, parts, [min(100, first + count - part) for part in parts]):
            done += 100
            wrong += len(found)
            for message in found:
                print(message[:1500], flush=True)
            if done % 2000 == 0:
                print(f"{done} programs, {wrong} wrong, {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{count} random programs, {wrong} wrong, {time.perf_counter() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
