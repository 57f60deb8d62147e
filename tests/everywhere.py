"""The whole suite in every way in which this machine can run it; by hand, because it takes an hour.

python tests/everywhere.py                    all ways
python tests/everywhere.py generic lowest     these
python tests/everywhere.py haswell -- -k tiny  what follows the dashes goes to pytest

Each way uses the same bounds. One that this machine cannot run is named, with the reason, and passed over.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]

WAYS: dict[str, dict[str, str]] = {
    "plain": {},
    "generic": {"NUMBA_CPU_NAME": "generic"},
    "haswell": {"NUMBA_CPU_NAME": "haswell"},
    "skylake-avx512": {"NUMBA_CPU_NAME": "skylake-avx512"},
    "bounds checked": {"NUMBA_BOUNDSCHECK": "1"},
    "without JIT": {"NUMBA_DISABLE_JIT": "1"},
    "without Numba": {"TINYGRAD_CE_TEST_WITHOUT": "numba"},
    "without SciPy": {"TINYGRAD_CE_TEST_WITHOUT": "scipy"},
    "without both": {"TINYGRAD_CE_TEST_WITHOUT": "numba,scipy"},
    "lowest": {},  # the lowest versions that pyproject.toml declares, in an environment of their own
}
NEEDS = {"haswell": "avx2", "skylake-avx512": "avx512f"}  # what the processor must have to run such code


def instructions() -> set[str]:
    """What the processor can do, by the names of Linux; empty where nobody says."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    return {word for line in lines if line.startswith("flags") for word in line.split()}


def reason_against(way: str) -> str:
    """Why this machine cannot run the suite in this way; '' if it can."""
    if way in NEEDS and NEEDS[way] not in instructions():
        return f"this processor has no {NEEDS[way]}"
    if way == "lowest" and shutil.which("uv") is None:
        return "it needs uv: pip install uv"
    return ""


def lowest_python(folder: Path) -> str:
    """The interpreter of a new environment with the lowest declared versions of all direct dependencies."""
    run: Callable[..., object] = lambda *words: subprocess.run(words, cwd=ROOT, check=True)  # noqa: E731
    run("uv", "venv", "--quiet", "--python", sys.executable, folder)
    python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    run("uv", "pip", "install", "--quiet", "--python", python, "--resolution", "lowest-direct", "-e", ".[test]")
    return python


def passes(way: str, arguments: list[str]) -> bool:
    """Whether the suite passes in this way; its output goes where ours goes."""
    with tempfile.TemporaryDirectory() as folder:
        python = lowest_python(Path(folder, "lowest")) if way == "lowest" else sys.executable
        environment = {**os.environ, "TINYGRAD_CE_CACHE": str(Path(folder, "cache")), **WAYS[way]}
        command = [python, "-m", "pytest", "-q", *(arguments or ["-n", "2"])]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def main(words: list[str]) -> int:
    """Run the ways that are named, or all; 1 if one of them fails."""
    dashes = words.index("--") if "--" in words else len(words)
    ways, arguments = words[:dashes] or [*WAYS], words[dashes + 1 :]
    if unknown := [way for way in ways if way not in WAYS]:
        print(f"there is no way {unknown[0]!r}; there are {', '.join(map(repr, WAYS))}")
        return 2
    answers = {}
    for way in ways:
        if reason := reason_against(way):
            answers[way] = f"passed over: {reason}"
            continue
        print(f"\n== {way}", flush=True)
        start = time.monotonic()
        answers[way] = "passes" if passes(way, arguments) else "FAILS"
        answers[way] += f" ({time.monotonic() - start:.0f} s)"
    print("\n" + "\n".join(f"{way:16} {answer}" for way, answer in answers.items()))
    return int(any(answer.startswith("FAILS") for answer in answers.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
