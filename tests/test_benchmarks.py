"""Every benchmark runs to its end, tiny and without peers; the price list charges for what it says; no time counts."""

import importlib
import inspect
import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fresh import ran, said

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # also where pytest was not started with `python -m`

from benchmarks import eager_step, epochs, price_list, side_by_side  # noqa: E402
from benchmarks.__main__ import NAMES  # noqa: E402

PEERS = ["torch", "jax", "jaxlib", "optax", "mygrad", "micrograd", "playwright"]
START = """
import importlib.machinery, importlib.metadata, sys
peers, installed = {peers}, importlib.metadata.version

class PathFinder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in peers else super().find_spec(name, path, target)

def version(name):
    if name in peers:
        raise importlib.metadata.PackageNotFoundError(name)
    return installed(name)

sys.meta_path = [PathFinder if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
importlib.metadata.version = version
sys.argv = ["benchmark"]
benchmark = importlib.import_module("benchmarks.{name}")
{smaller}
benchmark.main()
"""
# What makes those small whose sizes are plain constants.
SMALLER = {
    "accuracy": "benchmark.ROWS = {2: 2, 10: 2}; benchmark.GAPS = {'float64': (0, 20, 30), 'float32': (0, 15, 20)}",
    "cross_entropy": """
benchmark.SHAPES = [(32, 10), (4, 1000)]
whole = benchmark.cases
benchmark.cases = lambda: [(name, z[:50], y[:50], binary) for name, z, y, binary in whole()]
""",
}
SKIPS = {
    "eager_step": ["torch", "mygrad"],
    "scalars": ["micrograd"],
    "memory": ["torch", "jax"],
    "epochs": ["torch", "jax"],
    "cross_entropy": ["torch", "jax"],
}
# Only compiling would take long in them: the loops run as plain Python there.
UNCOMPILED = {"first_use", "compile_time", "auto", "memory", "sklearn_peers"}


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_to_its_end_without_peers(name):
    code = START.format(peers=PEERS, name=name, smaller=SMALLER.get(name, ""))
    environment = {"NUMBA_DISABLE_JIT": 1} if name in UNCOMPILED else {}
    printed = said(code, PYTHONPATH=ROOT, BENCHMARKS_TINY=1, **environment)
    assert len(printed.splitlines()) > 3
    for peer in SKIPS.get(name, []):
        assert printed.count(f"{peer} is not installed: skipped\n") == 1


def test_every_benchmark_is_among_the_names():
    paths = (ROOT / "benchmarks").glob("*.py")
    files = [path.stem for path in paths if re.search(r"^def main\(", path.read_text(), re.MULTILINE)]
    assert sorted(files) == sorted([*NAMES, "__main__"])


def test_they_are_started_by_name():
    command = [sys.executable, "-m", "benchmarks", "--tiny", "import_time"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("\n== import_time, 1 thread\n")
    process = subprocess.run([*command[:-1], "speed"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert process.returncode == 2
    assert "there is no benchmark speed; there are import_time, " in process.stderr


def test_full_sizes_are_the_rule():
    code = "from benchmarks import epochs, training; print(len(epochs.NETWORKS), len(training.SEEDS))"
    assert ran(code, PYTHONPATH=ROOT, BENCHMARKS_TINY=0).stdout.split() == ["5", "10"]
    assert ran(code, PYTHONPATH=ROOT, BENCHMARKS_TINY=1).stdout.split() == ["1", "1"]


def test_a_verdict_names_the_goal():
    assert side_by_side.verdict(3.2, least=3.2) == "goal at least 3.2 reached"
    assert side_by_side.verdict(3.1, least=3.2) == "goal at least 3.2 MISSED"
    assert side_by_side.verdict(1.5, most=1.5) == "goal at most 1.5 reached"
    assert side_by_side.verdict(1.6, most=1.5) == "goal at most 1.5 MISSED"
    assert side_by_side.verdict(1.6) == ""


# ---- how many epochs make a call that is long enough to be timed


def epochs_chosen(seconds_of_call, seconds=1.0):
    """The answer of `enough` for calls that take so long: a function of the call's index and its number of epochs."""
    now, calls = 0.0, itertools.count()

    def train(count):
        nonlocal now
        now += seconds_of_call(next(calls), count)
        return []

    return epochs.enough(train, seconds, clock=lambda: now)


@pytest.mark.parametrize("seconds_of_epoch", [0.001, 0.03, 0.4, 0.5, 3.0])
def test_enough_epochs_take_between_half_the_time_and_all_of_it(seconds_of_epoch):
    count = epochs_chosen(lambda call, count: count * seconds_of_epoch)
    assert count == 1 or 0.5 <= count * seconds_of_epoch <= 1


@pytest.mark.parametrize("slow", range(12))
def test_one_slow_call_decides_nothing(slow):
    steady = epochs_chosen(lambda call, count: count * 0.02)
    assert steady == 32
    assert epochs_chosen(lambda call, count: count * 0.02 + 10 * (call == slow)) == steady


# ---- the price list


TASK = (eager_step.X, eager_step.Y, eager_step.WEIGHTS, eager_step.LR)


def code_objects(code):
    yield code
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            yield from code_objects(constant)


def instructions(features):
    """What is left of the core with these features, as bytecode and names."""
    code = compile(price_list.decided(features), "core", "exec")
    return {(inner.co_qualname, inner.co_code, inner.co_names) for inner in code_objects(code)}


def test_every_step_of_the_price_list_computes_what_autograd_computes():
    pytest.importorskip("autograd")
    step = eager_step.autograd()
    expected = [step().item() for _ in range(4)]
    for name, contender in price_list.contenders(*TASK).items():
        np.testing.assert_allclose([contender().item() for _ in range(4)], expected, rtol=1e-5, err_msg=name)


def test_contenders_that_compute_something_else_are_not_timed():
    with pytest.raises(AssertionError, match="the slow learner"):
        eager_step.check_losses(
            price_list.contenders(*TASK) | {"the slow learner": price_list.hand_written.textbook(*TASK[:3], lr=0.09)}
        )


def test_every_feature_adds_instructions_and_leaves_no_if_behind():
    features = [*price_list.FEATURES]
    for count, feature in enumerate(features):
        assert instructions(features[: count + 1]) != instructions(features[:count]), feature
        for _, _, names in instructions(features[: count + 1]):
            assert not set(names) & set(features)


@pytest.mark.parametrize(
    ("feature", "name"),
    [
        *(("RECORDING_CHECKS", "tracer"), ("SOURCE_LINES", "_getframe"), ("SEED", "last")),
        *(("LOSS_CHECKS", "allclose"), ("STATIC_PARAMETERS", "defaults"), ("WALK_CHECKS", "astype")),
    ],
)
def test_what_a_feature_does_is_not_there_without_it(feature, name):
    def used(features):
        core = price_list.core(features)
        functions = [core[f] for f in ("call", "record", "backward", "walk", "softmax_cross_entropy")]
        return {name for function in functions for name in function.__code__.co_names}

    everything = set(price_list.FEATURES)
    assert name in used(everything)
    assert name not in used(everything - {feature})


def test_without_views_that_listen_the_walk_is_a_plain_loop():
    everything = set(price_list.FEATURES)
    assert inspect.isgeneratorfunction(price_list.core(everything)["walk"])
    assert not inspect.isgeneratorfunction(price_list.core(everything - {"CREATE_GRAPH"})["walk"])


def test_the_source_of_the_core_is_an_ordinary_module_with_all_features():
    module = importlib.import_module("benchmarks.priced_core")
    assert all(getattr(module, feature) is True for feature in price_list.FEATURES)
    assert module.training_step(*TASK)().item() == price_list.core(price_list.FEATURES)["training_step"](*TASK)().item()
