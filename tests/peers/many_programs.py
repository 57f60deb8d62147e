"""Many random programs, each in every form that there is, with as many processes as are asked for.

    python tests/peers/many_programs.py [COUNT [FIRST [PROCESSES]]]

Each program's gradients and Hessian products are compared with autograd's; then it is trained for some steps:
recorded, printed as a textbook and exactly, as loops, in one, two and three threads, and as JavaScript (if there is
Node). Every hundredth is compiled by Numba; of all others the loops run as Python.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

TESTS = Path(__file__).parents[1]
COMPILED_EACH = 100
PART = 100  # programs of one process of Node


def checked(first: int, count: int) -> tuple[Counter[str], list[str]]:
    """Of so many programs, how many agree or are refused in each form; and what differs, in words."""
    sys.path[:0] = [str(TESTS.parent), str(TESTS)]
    from program.loops_as_python import by_numba
    from random_programs import check_forms, check_in_node, check_program

    warnings.simplefilter("ignore")
    found, differences = Counter[str](), []
    for seed in range(first, first + count):
        compiled = seed % COMPILED_EACH == 0
        try:
            check_program(seed, by_numba=compiled)
            found["gradients: agree"] += 1
            found += check_forms(seed, {"compiled": by_numba} if compiled else {})
        except Exception as error:
            differences.append(f"{type(error).__name__}: {error}")
    with tempfile.TemporaryDirectory() as folder:
        in_node, more = check_in_node(range(first, first + count), Path(folder))
    return found + in_node, differences + more


def main(count: int = 20_000, first: int = 0, processes: int = 2) -> int:
    start, found, wrong, done = time.perf_counter(), Counter[str](), 0, 0
    with ProcessPoolExecutor(processes) as pool:
        parts = range(first, first + count, PART)
        for counts, differences in pool.map(checked, parts, [min(PART, first + count - part) for part in parts]):
            done += PART
            found += counts
            wrong += len(differences)
            for message in differences:
                print(message[:1500], flush=True)
            if done % 2000 == 0:
                print(f"{done} programs, {wrong} differences, {time.perf_counter() - start:.0f} s", flush=True)
    for form in dict.fromkeys(key.split(":")[0] for key in found):
        print(f"{form:>12}: {found[f'{form}: agree']} agree, {found[f'{form}: refused']} are refused")
    print(f"{count} random programs, {wrong} differences, {time.perf_counter() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
