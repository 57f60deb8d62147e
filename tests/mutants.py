"""Do the tests see a wrong program? Random small changes are made, and each file's own tests are run on them.

    python tests/mutants.py [--count 200] [--seed 0] [--files ops/,losses/] [--only 17,45]

A mutant has one change: an operator, a comparison, a number, a condition, a keyword, or a statement left out.
Those that no test notices are printed, with the line before and after; tests/mutants.md says why one is harmless.
Mutant 17 of a seed is the same in every run, so the 200 can be run in portions: --files runs those of the 200 that are
in files that begin so, --only those of these numbers. The tests must pass on the unchanged code, which is run first.
Most mutants are noticed in 3 seconds, and one that survives takes 10 to 60: 200 take about half an hour.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _of(folder: str, *names: str) -> list[str]:
    return [f"{folder}test_{name}.py" for name in names]


# Which tests are a file's own, the quick and likely ones first: the first prefix that fits decides.
ENGINE = _of("", "core", "backward", "operators", "gradients", "own_primitives", "unbroadcasting", "core_errors")
ENGINE += _of("", "versions", "in_place", "replaced_data", "memory", "seam", "functional", "tiny")
OPS = ["ops/test_primitives.py", *_of("", "kinks", "operators", "gradients"), "ops", "numpy_protocol/test_agreement.py"]
LOSSES = _of("losses/", "options", "edge_table", "misuse", "numbers_of_all_kinds", "zero_weights", "derivatives")
LOSSES += _of("losses/", "moved_probabilities", "infinite_logits", "invariants", "more_losses", "exact_values")
PROGRAM = _of("program/", "program", "passes", "printed_names", "trace_calls", "trace_steps", "trace_refusals")
PROGRAM += _of("program/", "settings_of_steps", "compiled_function", "compiled_functions", "files", "compiled_steps")
OWN_TESTS: dict[str, list[str]] = {
    "core.py": ENGINE,
    "backward.py": ENGINE,
    "ops/loss.py": [*LOSSES, "ops/test_primitives.py", "ops/test_slopes.py", "ops/test_dtypes.py"],
    "ops/": OPS,
    "losses/": LOSSES,
    "optim/": ["optim/test_definitions.py", "optim"],
    "nn/": ["nn", "test_tiny.py"],
    "functional.py": _of("", "functional", "leaving_the_graph"),
    "numpy_protocol/": ["numpy_protocol", "ops/test_numpys_answers.py", "test_operators.py"],
    "data/": ["data"],
    "program/": [*PROGRAM, "test_random_programs.py"],
}
LONGEST = 600  # seconds; a mutant that takes longer has been noticed

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.USub: ast.UAdd,
}  # fmt: skip


@dataclass
class Mutant:
    """A file with one change: the line before and after."""

    file: str
    line: int
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}\n    - {self.before}\n    + {self.after}"


def places(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Where a change is possible: the node, and what to change. Docstrings, annotations and messages are left alone."""
    untouched = set()
    for node in ast.walk(tree):
        hidden: list[ast.AST | None] = []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            hidden = [
                node.returns,
                *(a.annotation for a in [*node.args.args, *node.args.kwonlyargs]),
                *node.decorator_list,
            ]
        elif isinstance(node, ast.AnnAssign):
            hidden = [node.annotation]
        elif isinstance(node, (ast.Raise, ast.JoinedStr)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ):  # the words of errors have tests of their own
            hidden = [node]
        untouched |= {id(inner) for outer in hidden if outer is not None for inner in ast.walk(outer)}
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for node in (inner for function in functions for statement in function.body for inner in ast.walk(statement)):
        if id(node) in untouched:
            continue
        if isinstance(node, (ast.BinOp, ast.UnaryOp, ast.BoolOp)) and type(node.op) in SWAPPED:
            yield node, "operator"
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
            yield node, "comparison"
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
            yield node, "number"
        elif isinstance(node, (ast.If, ast.IfExp)):
            yield node, "condition"
        elif isinstance(node, (ast.AugAssign, ast.Expr)) and not isinstance(getattr(node, "value", None), ast.Constant):
            yield node, "statement"
        elif isinstance(node, ast.Call) and node.keywords and all(k.arg not in (None, "strict") for k in node.keywords):
            yield node, "keyword"


def change(node: ast.AST, kind: str, rng: random.Random) -> None:
    """Make the change in place."""
    if kind == "operator":
        node.op = SWAPPED[type(node.op)]()  # type: ignore[attr-defined]
    elif kind == "comparison":
        node.ops[0] = SWAPPED[type(node.ops[0])]()  # type: ignore[attr-defined]
    elif kind == "number":
        value = node.value  # type: ignore[attr-defined]
        node.value = not value if isinstance(value, bool) else value + rng.choice([-1, 1]) if value != 0 else 1  # type: ignore[attr-defined]
    elif kind == "condition":
        node.test = ast.UnaryOp(ast.Not(), node.test)  # type: ignore[attr-defined]
    elif kind == "keyword":
        node.keywords.pop(rng.randrange(len(node.keywords)))  # type: ignore[attr-defined]


class _LeftOut(ast.NodeTransformer):
    def __init__(self, node: ast.AST) -> None:
        self.node = node

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.Pass() if node is self.node else self.generic_visit(node)


@cache
def files() -> dict[str, int]:
    """The files that have tests of their own, and their lines."""
    paths = sorted((ROOT / "tinygrad_ce").rglob("*.py"))
    lines = {p.relative_to(ROOT / "tinygrad_ce").as_posix(): len(p.read_text().splitlines()) for p in paths}
    return {file: n for file, n in lines.items() if own_tests(file)}


def mutant(rng: random.Random) -> Mutant:
    """A random change of a random line of the files that have tests of their own."""
    while True:
        (file,) = rng.choices([*files()], [*files().values()])
        tree = ast.parse((ROOT / "tinygrad_ce" / file).read_text())
        found = [*places(tree)]
        if not found:
            continue
        node, kind = rng.choice(found)
        statement = _statement_of(tree, node)
        original = ast.unparse(tree)
        tree_or_new: ast.AST = tree
        if kind == "statement":
            before, after = ast.unparse(statement).splitlines()[0], "(left out)"
            tree_or_new = _LeftOut(node).visit(tree)
        else:
            old = copy.deepcopy(statement)
            change(node, kind, rng)
            before, after = _first_difference(ast.unparse(old), ast.unparse(statement))
        changed = ast.unparse(ast.fix_missing_locations(tree_or_new))
        if changed != original:
            return Mutant(file, getattr(node, "lineno", 0), before, after, changed)


def _statement_of(tree: ast.Module, node: ast.AST) -> ast.AST:
    """The innermost statement around a node."""
    around = [s for s in ast.walk(tree) if isinstance(s, ast.stmt) and any(inner is node for inner in ast.walk(s))]
    return around[-1]


def _first_difference(old: str, new: str) -> tuple[str, str]:
    for a, b in zip(old.splitlines(), new.splitlines(), strict=False):
        if a != b:
            return a.strip(), b.strip()
    return old.splitlines()[0], new.splitlines()[0]


def own_tests(file: str) -> list[str]:
    """The tests of a file."""
    return next((tests for prefix, tests in OWN_TESTS.items() if file.startswith(prefix)), [])


def failure(tests: list[str], changed: dict[str, str]) -> str:
    """What fails when these files of the package have these texts; "" if nothing does."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("tinygrad_ce", "tests"):
            shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "conftest.py"):
            shutil.copy(ROOT / name, folder)
        for file, text in changed.items():
            Path(folder, "tinygrad_ce", file).write_text(text)
        examples = [f"tinygrad_ce/{file}" for file in changed]
        options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
        status = forked([*options, *(f"tests/{test}" for test in tests), *examples], folder)
        if status == -signal.SIGALRM:
            return f"it takes longer than {LONGEST} seconds"
        lines = Path(folder, "printed").read_text(errors="replace").splitlines()
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        return "" if status == 0 else failed[0] if failed else "\n".join(lines[-3:]) or "pytest stops"


def forked(arguments: list[str], folder: str) -> int:
    """The exit status of pytest in a copy of this process, which has imported everything heavy but the package."""
    child = os.fork()
    if child == 0:
        signal.alarm(LONGEST)
        os.chdir(folder)
        printed = os.open("printed", os.O_CREAT | os.O_WRONLY)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.path[:1] = [folder]
        os.environ["PYTHONPATH"] = folder
        try:
            status = int(pytest.main(arguments))
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check_unchanged(mutants: list[Mutant]) -> None:
    """Raise if the tests fail without any change: then they notice nothing."""
    for tests in {tuple(own_tests(one.file)) for one in mutants}:
        same = [file for file in files() if own_tests(file) == [*tests]]
        rewritten = {file: ast.unparse(ast.parse((ROOT / "tinygrad_ce" / file).read_text())) for file in same}
        failed = failure([*tests], rewritten)
        if failed:
            sys.exit(f"without any change: {failed}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=lambda text: tuple(text.split(",")), default=("",))
    parser.add_argument("--only", type=lambda text: {int(number) for number in text.split(",")}, default=None)
    asked = parser.parse_args()
    for heavy in ("numba", "scipy.special", "mpmath", "autograd.numpy", "sklearn.datasets"):
        import_module(heavy)
    mutants = {number: mutant(random.Random(f"{asked.seed} {number}")) for number in range(asked.count)}
    chosen = {
        number: one
        for number, one in mutants.items()
        if one.file.startswith(asked.files) and (asked.only is None or number in asked.only)
    }
    if asked.only is None:
        check_unchanged([*chosen.values()])
    noticed = 0
    for number, one in chosen.items():
        start = time.perf_counter()
        failed = failure(own_tests(one.file), {one.file: one.text})
        noticed += bool(failed)
        seconds = f"{time.perf_counter() - start:.0f} s"
        print(f"{number} {one.file}: {failed[:150]}" if failed else f"{number} NOT NOTICED {one}", seconds, flush=True)
    print(f"{noticed} of {len(chosen)} mutants noticed ({100 * noticed / max(1, len(chosen)):.1f} %)")
    return 0 if noticed >= 0.95 * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
