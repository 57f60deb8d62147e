"""Run every benchmark, each in a process of its own with the same number of threads for everybody.

python -m benchmarks [--threads 1] [--tiny] [names...]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

NAMES = (
    *("import_time", "first_use", "eager_step", "cross_entropy", "activations", "adam", "memory"),
    *("accuracy", "training", "epochs", "compile_time", "auto", "source_lines", "scalars", "views", "javascript"),
    *("live_page", "sklearn_peers", "mistakes"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}; all if none is given")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="only whether each runs; no figure means anything")
    arguments = parser.parse_args()
    threads = str(arguments.threads)
    if hasattr(os, "sched_setaffinity"):  # XLA asks for no variable: it takes the processors that it may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    environment = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    if arguments.tiny:
        environment["BENCHMARKS_TINY"] = "1"
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        print(f"\n== {name}, {threads} thread{'s' if threads != '1' else ''}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], env=os.environ | environment, check=True)


if __name__ == "__main__":
    main()
