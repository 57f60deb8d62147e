"""What compile="auto" expects to save, beside what is saved: the table SECONDS of train/compiled.py.

Networks of Dense and tanh, softmax cross-entropy, batch 32, float32. A step is the mean of an epoch of 64; compiling
is the first compiled fit of a process with an empty cache, less its steps. "auto" compiles from so many steps on as
the last columns say: as expected, and as measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from benchmarks.side_by_side import size

CODE = """
import sys, time
import numba, numpy as np, tinygrad_ce as tg
from tinygrad_ce.train.compiled import seconds_saved
optimizer, *sizes = sys.argv[1:]
sizes = [*map(int, sizes)]
generator = np.random.default_rng(0)
X = generator.normal(size=(2048, sizes[0])).astype(np.float32)
y = generator.integers(0, sizes[-1], 2048)
nn = tg.nn
layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Dense(a, b), nn.Tanh())]
model = nn.Sequential(*layers[:-1]).astype(np.float32)
trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), getattr(tg.optim, optimizer)(model.parameters(), lr=1e-3))
def seconds(compile):
    start = time.perf_counter()
    trainer.fit(X, y, epochs=1, batch_size=32, compile=compile, seed=0)
    return time.perf_counter() - start
first = seconds(True)
compiled, eager = (min(seconds(way) for _ in range(5)) / 64 for way in (True, False))
each = seconds_saved(model, 2, 1, False) - seconds_saved(model, 1, 1, False)
print(eager - compiled, first - 64 * compiled, each, -seconds_saved(model, 0, 1, False))
"""
NETWORKS = size(("2-2", "2-16-16-2", "2-16-16-16-16-2", "64-64-32-10", "784-128-10"), tiny=("2-2",))


def main() -> None:
    print(__doc__)
    print(f"{'':24}{'saved by a step':>20}{'compiling':>20}{'steps':>20}")
    for network in NETWORKS:
        for optimizer in ("SGD", "Adam"):
            with tempfile.TemporaryDirectory() as cache:
                command = [sys.executable, "-c", CODE, optimizer, *network.split("-")]
                environment = {**os.environ, "TINYGRAD_CE_CACHE": cache}
                done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
            saved, compiling, expected_saved, expected = map(float, done.stdout.split())
            print(
                f"{network:<17}{optimizer:<7}{expected_saved * 1e6:>8.0f} {saved * 1e6:>8.0f} us"
                f"{expected:>9.2f} {compiling:>8.2f} s{expected / expected_saved:>12,.0f} {compiling / saved:>8,.0f}"
            )


if __name__ == "__main__":
    main()
