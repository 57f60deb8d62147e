"""Do the tests see a wrong program? Random small changes are made, and each file's own tests are run on them.

    python tests/mutants.py [COUNT [SEED [PROCESSES]]]

A mutant has one change: an operator, a comparison, a number, a condition, a keyword, or a statement left out.
Those that no test notices are printed, with the line before and after; tests/mutants.md says why one is harmless.
At 10 to 20 seconds each, 200 take about half an hour with two processes.
"""

from __future__ import annotations

import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGINE = ["test_tiny.py", "test_core.py", "test_backward.py", "test_operators.py", "test_gradients.py", "test_seam.py"]
# Which tests are a file's own: the first prefix that fits decides.
OWN_TESTS: dict[str, list[str]] = {
    "core.py": [*ENGINE, "test_core_errors.py", "test_own_primitives.py", "test_versions.py", "test_in_place.py"],
    "backward.py": [*ENGINE, "test_unbroadcasting.py", "test_versions.py", "test_memory.py", "test_functional.py"],
    "ops/loss.py": ["losses", "kernels/test_kernels.py", "ops"],
    "ops/": ["test_tiny.py", "ops", "test_kinks.py", "test_gradients.py", "numpy"],
    "losses/": ["losses"],
    "optim": ["optim"],
    "nn/": ["nn", "test_tiny.py"],
    "functional.py": ["test_functional.py"],
    "program/": ["program", "test_random_programs.py"],
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


def mutant(rng: random.Random) -> Mutant:
    """A random change of a random line of the files that have tests of their own."""
    files = [p.relative_to(ROOT / "tinygrad_ce").as_posix() for p in (ROOT / "tinygrad_ce").rglob("*.py")]
    files = sorted(file for file in files if own_tests(file))
    weights = [len((ROOT / "tinygrad_ce" / file).read_text().splitlines()) for file in files]
    while True:
        (file,) = rng.choices(files, weights)
        text = (ROOT / "tinygrad_ce" / file).read_text()
        tree = ast.parse(text)
        found = [*places(tree)]
        if not found:
            continue
        node, kind = rng.choice(found)
        statement = _statement_of(tree, node)
        before = ast.unparse(statement).splitlines()[0]
        original = ast.unparse(tree)
        tree_or_new: ast.AST = tree
        if kind == "statement":
            tree_or_new = _LeftOut(node).visit(tree)
            after = "(left out)"
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
    """The tests of a file that exist."""
    tests = next((tests for prefix, tests in OWN_TESTS.items() if file.startswith(prefix)), [])
    return [test for test in tests if (ROOT / "tests" / test).exists()]


def is_noticed(mutant: Mutant) -> bool:
    """Whether a test fails."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("tinygrad_ce", "tests"):
            shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "conftest.py"):
            shutil.copy(ROOT / name, folder)
        Path(folder, "tinygrad_ce", mutant.file).write_text(mutant.text)
        tests = [f"tests/{test}" for test in own_tests(mutant.file)]
        command = [sys.executable, "-m", "pytest", "-x", "-q", *tests, f"tinygrad_ce/{mutant.file}"]
        environment = {**os.environ, "PYTHONPATH": folder}
        try:
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            return True
        return done.returncode != 0


def main(count: int = 200, seed: int = 0, processes: int = 2) -> int:
    rng = random.Random(seed)
    mutants = [mutant(rng) for _ in range(count)]
    noticed = 0
    with ThreadPoolExecutor(processes) as pool:
        for number, (one, seen) in enumerate(zip(mutants, pool.map(is_noticed, mutants), strict=True), start=1):
            noticed += seen
            if not seen:
                print(f"not noticed: {one}", flush=True)
            if number % 10 == 0:
                print(f"{noticed} of {number} noticed", flush=True)
    print(f"{noticed} of {count} mutants noticed ({100 * noticed / count:.1f} %)")
    return 0 if noticed >= 0.95 * count else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
