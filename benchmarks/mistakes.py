"""Mistakes in backward passes: how many are recognised and named, right answers called wrong, and how long it takes.

The mistakes and the right answers are those of the tests. Goals: every mistake is recognised as wrong, nine of ten are
named by their key, no right answer is called wrong, and a verdict on a two-layer network with batch norm takes 2 s.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.side_by_side import TINY, size, verdict

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from exercises.networks import batch_norm_network
from exercises.test_planted_mistakes import BATCH_NORM
from grading.planted import PLANTED
from grading.test_right_functions import RIGHT, count_right, count_right_of_random_programs, graded_wrong
from grading.verdicts import table_verdicts, verdict_on

NAMED, SECONDS = 0.9, 2.0  # the goals
ARRAYS = islice(table_verdicts(), size(None, tiny=2))
FUNCTIONS = PLANTED[: size(len(PLANTED), tiny=2)]
RIGHT_NAMES = [*RIGHT][: size(len(RIGHT), tiny=1)]
PROGRAMS = range(size(30, tiny=1))
NETWORK = size({"rows": 32, "n_in": 16, "hidden": 32, "classes": 10}, tiny={})


def print_mistakes(words: str, found: Iterable[tuple[str, bool, bool]]) -> None:
    """found: of each mistake what it is called, whether it is recognised as wrong, and whether it is named."""
    rows = [*found]
    total, recognised, named = len(rows), sum(row[1] for row in rows), sum(row[2] for row in rows)
    goals = verdict(recognised, least=total), verdict(named, least=np.ceil(NAMED * total))
    print(f"{words:<44}{total:>6}{recognised:>12} {goals[0]:<30}{named:>4} {goals[1]}")
    for name, _, is_named in rows:
        if not is_named and not TINY:
            print(f"    not named: {name}")


def right_called_wrong() -> tuple[int, list[str]]:
    """How many right answers were judged, and the first words on each call in which one was called wrong."""
    count, wrong = 0, []
    for judge, argument in [*((count_right, name) for name in RIGHT_NAMES), (count_right_of_random_programs, PROGRAMS)]:
        try:
            count += judge(argument)
        except AssertionError as error:
            wrong.append(f"{argument}: {str(error).splitlines()[0]}")
    return count, wrong


def slowest_verdict() -> tuple[float, str]:
    """Seconds of the slowest verdict on one wrong gradient of the network, each with an exercise of its own."""
    network = batch_norm_network(**NETWORK)
    times = {}
    for name, (_, _, gradient, hand_in) in [*BATCH_NORM.items()][: size(len(BATCH_NORM), tiny=2)]:
        try:
            with np.errstate(all="ignore"):
                answer = hand_in(network.v, network.g)
        except ValueError:  # it is written for other sizes
            continue
        start = time.perf_counter()
        network.verdict(**{gradient: answer})
        times[name] = time.perf_counter() - start
    slowest = max(times, key=times.__getitem__)
    return times[slowest], slowest


def main() -> None:
    print(__doc__)
    print(f"{'':<44}{'':>6}{'recognised':>12} {'':<30}named")
    tables = (
        (f"{gradient} ({key})", mistake is not None, mistake == key) for gradient, mistake, key in table_verdicts()
    )
    print_mistakes("mistakes in arrays (tables of the tests)", tables)
    functions = ((entry, verdict_on(entry)) for entry in FUNCTIONS)
    rows = ((entry.name, not found.right, entry.is_named_by(found.mistake)) for entry, found in functions)
    print_mistakes("mistakes in functions", rows)
    count, wrong = right_called_wrong()
    print(f"{'right answers, and those called wrong':<44}{count:>6}{len(wrong):>12} {verdict(len(wrong), most=0)}")
    print(*(f"    {line}" for line in wrong), sep="\n", end="" if not wrong else "\n")
    wrong = [words for name in RIGHT_NAMES for words in graded_wrong(name)]
    graded = sum(len(RIGHT[name][1]) for name in RIGHT_NAMES)
    print(f"{'right functions, and those called wrong':<44}{graded:>6}{len(wrong):>12} {verdict(len(wrong), most=0)}")
    print(*(f"    {line}" for line in wrong), sep="\n", end="" if not wrong else "\n")
    seconds, name = slowest_verdict()
    words = f"slowest verdict, batch norm ({name})"
    print(f"{words:<50}{seconds:>10.2f} s {verdict(seconds, most=SECONDS)}")


if __name__ == "__main__":
    main()
