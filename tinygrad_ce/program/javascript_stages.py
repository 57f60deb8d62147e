"""The loops of a step in stages: forward, backward, and the update of what lives from step to step."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tinygrad_ce.program.javascript_loops_text import STAGES, number_text
from tinygrad_ce.program.lowered import Lowered


def stages_of(plan: Lowered) -> tuple[dict[str, str], dict[str, str], dict[str, list[ast.stmt]]]:
    """The constants of the loops, the formula of each number of a step, and the loops and calls of each stage.

    A stage never begins before one that came earlier in the loops; what writes what lives from step to step is the
    update.
    """
    tree, lines = ast.parse(plan.text), plan.text.splitlines()
    run = next(f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == "run")
    *literals, steps = run.body
    assert isinstance(steps, ast.For)
    assigned = [(ast.unparse(s.targets[0]), ast.unparse(s.value)) for s in literals if isinstance(s, ast.Assign)]
    constants = {name: number_text(eval(text, {"np": np})) for name, text in assigned}
    state = {b.name for b in plan.buffers if b.role == "state"}
    stages: dict[str, list[ast.stmt]] = {stage: [] for stage in STAGES}
    numbers, now, end = list[str](), 0, steps.lineno
    for s in steps.body:
        if isinstance(s, ast.Assign) and ast.unparse(s.value).startswith("numbers["):
            numbers.append(ast.unparse(s.targets[0]))
        else:
            comments = [line.strip() for line in lines[end : s.lineno - 1]]
            sections = [STAGES.index(c.removeprefix("# ---- ")) for c in comments if c.startswith("# ---- ")]
            now = len(STAGES) - 1 if written(s) & state else max([now, *sections])
            stages[STAGES[now]].append(s)
        end = s.end_lineno or s.lineno
    seen = Counter(n.id for n in ast.walk(run) if isinstance(n, ast.Name))
    for loop in [n for n in ast.walk(run) if isinstance(n, ast.For) and n is not steps]:
        loop.body = stored_directly(loop.body, seen)
    stages = {stage: stored_directly(loops, seen) for stage, loops in stages.items()}
    return constants, dict(zip(numbers, plan.numbers, strict=True)), stages


def written(s: ast.AST) -> set[str]:
    """The arrays into which a piece of the loops writes elements."""
    targets = (t for n in ast.walk(s) for t in (*getattr(n, "targets", ()), getattr(n, "target", None)))
    return {ast.unparse(t.value) for t in targets if isinstance(t, ast.Subscript)}


def changed(s: ast.AST) -> set[str]:
    """The arrays and numbers that a piece of the loops changes."""
    return written(s) | {n.id for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def names_in(node: ast.AST) -> set[str]:
    """All names of a piece of the loops."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def independent(s: ast.stmt) -> list[ast.stmt]:
    """A loop as several, one for what shares nothing with the rest: two parameters that are updated in one loop."""
    if not isinstance(s, ast.For) or not all(isinstance(x, ast.Assign) for x in s.body):
        return [s]
    touched = set().union(*map(changed, s.body))
    groups: list[tuple[set[str], list[ast.stmt]]] = []
    for x in s.body:
        mine = names_in(x) & touched
        near = [group for group in groups if group[0] & mine]
        groups = [group for group in groups if not group[0] & mine]
        groups.append((mine.union(*(names for names, _ in near)), [y for _, ys in near for y in ys] + [x]))
    return [ast.For(s.target, s.iter, body, []) for _, body in groups]


def stored_directly(statements: Sequence[ast.stmt], seen: Counter[str]) -> list[ast.stmt]:
    """Statements of one level, a number that is computed only to be stored written where it is stored.

    seen: how often each name occurs in all loops. It stays where it is if what it is computed from changes meanwhile.
    """
    kept = [*statements]
    for s in statements:
        match s:
            case ast.Assign(targets=[ast.Name(id=name)]) if seen[name] == 2:
                later = kept[kept.index(s) + 1 :]
                store = next((x for x in later if isinstance(x, ast.Assign) and ast.unparse(x.value) == name), None)
                if store is None or not isinstance(store.targets[0], ast.Subscript):
                    continue
                between = later[: later.index(store)]
                if not names_in(s.value) & set().union(*map(changed, between)):
                    kept[kept.index(store)] = ast.Assign(store.targets, s.value)
                    kept.remove(s)
    return kept
