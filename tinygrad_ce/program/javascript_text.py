"""The text of a step as an ES module: the loops that Numba compiles, in three stages, for every size of the batch."""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tinygrad_ce.program.abstract import CannotLower
from tinygrad_ce.program.javascript_loops_text import (
    ARRAYS,
    STAGES,
    Translator,
    fixed,
    functions,
    number_text,
    squeezed,
    with_dependencies,
)
from tinygrad_ce.program.lowered import Lowered
from tinygrad_ce.program.statements import Buffer

HEADER = """\
// A training step, written by tinygrad_ce. s = createStep({{ batch, state }}) has its arrays, in C order. Fill s.inputs
// and s.state, call s.step({numbers}), or s.forward(), s.backward(), s.update({numbers}); read s.outputs, s.buffers.
// batch: SIZES$. state: of another step, to share it.
"""
LETTERS = "abcdefghrstuvwxyz"  # but those of the loops
BATCH, BEGIN, SIZES = "BATCH$", "BEGIN$", "SIZES$"  # what is filled in at the end; no name of Python has a `$`
WIDTH = 118
PROBES = (37, 46, 53)  # sizes of a batch that nothing else in a network has, in all likelihood; odd and even ones
VARYING = re.compile(r'"(?:[^"\\]|\\.)*"|(?<=[<] )\d+(?=;)|(?<![\w.$])[^\W\d]\w*\$?')  # a text, a length, a name
NUMBER = re.compile(r"(?<![\w.$])\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.$])")


# ---- stages


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


class SharedLoops:
    """Loops that differ in nothing but their arrays and lengths: they become calls of one function."""

    def __init__(self, variables: set[str], of_stages: set[str]) -> None:
        self.variables = variables  # arrays, and numbers of the step
        self.of_stages = of_stages  # the locals of the stages, and of their loops
        self.count: Counter[str] = Counter()
        self.names: dict[str, str] = {}
        self.functions: list[str] = []  # the lines of those that are called

    def form(self, lines: Sequence[str]) -> tuple[str, dict[str, str]]:
        """A loop with letters for what differs, and what they stand for."""
        inner = {name: f"v{k + 1}" for k, name in enumerate(self.inner(lines))}
        letters: dict[str, str] = {}

        def letter(found: re.Match[str]) -> str:
            word = found[0]
            if word.startswith('"'):
                return word
            if word in self.variables or word[0].isdigit():
                return letters.setdefault(word, LETTERS[len(letters) % 17] + str(len(letters) // 17 or ""))
            return inner.get(word, word)

        return VARYING.sub(letter, "\n".join(lines)), letters

    def inner(self, lines: Sequence[str]) -> dict[str, None]:
        """The locals of a loop."""
        return {found[1]: None for line in lines if (found := re.match(r" *(?:const|let) (\w+) =", line))}

    def lines(self, lines: Sequence[str]) -> Sequence[str]:
        """The loop as it is written in its stage: where it stands if it needs a local of its stage."""
        form, letters = self.form(lines)
        outer = self.of_stages - {*self.inner(lines)}
        if self.count[form] < 2 or len(lines) < 3 or outer & {*re.findall(r"\w+", " ".join(lines))}:
            return lines
        if form not in self.names:
            self.names[form] = f"$loop{len(self.names) + 1}"
            self.functions += [f" function {self.names[form]}({', '.join(letters.values())}) {{", form, " }"]
        return [f"  {self.names[form]}({', '.join(letters)});"]


# ---- the module


def module(plan: Lowered) -> str:
    """The module for loops of these sizes."""
    translate = Translator(plan)
    translate.constants, formulas, stages = stages_of(plan)
    translate.learn([s for loops in stages.values() for s in loops])
    shared = SharedLoops({translate.name(name) for name in (*translate.buffers, *formulas)}, translate.declared)
    translated = {
        stage: [translate.statement(part, "  ") for s in loops for part in independent(s)]
        for stage, loops in stages.items()
    }
    shared.count.update(shared.form(lines)[0] for loops in translated.values() for lines in loops)
    body, calls = list[str](), list[str]()
    for stage, loops in translated.items():
        used = set().union(*map(names_in, stages[stage]))
        numbers = {name: formula for name, formula in formulas.items() if name in used}
        body.append(f" function {stage}({pattern_of(numbers.values())}) {{")
        for name, formula in numbers.items():
            if name != formula:
                body.append(f"  const {name} = {translate(ast.parse(formula, mode='eval').body)};")
        body += [*(line for lines in loops for line in shared.lines(lines)), " }"]
        calls.append(f"{stage}({'numbers' if numbers else ''}); ")
    step = f" const step = ({'numbers' if formulas else ''}) => {{ {''.join(calls)}}};"
    begin = arrays(plan, translate)
    head = HEADER.format(numbers=pattern_of(formulas.values()))
    head += "".join(functions()[name][1] for name in with_dependencies(translate.calls))
    lines = [head + begin, *shared.functions, *body, step, *returned(plan, translate)]
    return "\n".join(lines) + "\n"


def pattern_of(formulas: Iterable[str]) -> str:
    """The destructuring pattern of the numbers that these formulas need."""
    trees = [ast.parse(text) for text in formulas]
    called = {n.func.id for t in trees for n in ast.walk(t) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    names = sorted(set().union(*map(names_in, trees)) - called)
    return f"{{ {', '.join(names)} }}" if names else ""


def arrays(plan: Lowered, translate: Translator) -> str:
    """The beginning of the factory: all arrays."""
    used = translate.read | {b.name for b, _ in plan.outputs.values()}
    makers = {
        ARRAYS[b.dtype.name]: f"${k}" for k, b in enumerate({ARRAYS[b.dtype.name]: b for b in plan.buffers}.values())
    }
    rows = [f"{maker} = (size) => new {array}(size)" for array, maker in makers.items()]
    state = []
    for b in plan.buffers:
        name, array = translate.name(b.name), ARRAYS[b.dtype.name]
        new = f"{makers[array]}({1 if b.name in translate.single_sums else b.size})"
        if b.role == "state":
            state.append((b, name, new))
        elif b.role == "fixed" and b.name in used:
            numbers = [number_text(x) for x in fixed(b)]
            new = f"{new}.fill({numbers[0]})" if len({*numbers}) == 1 else f"{array}.from([{', '.join(numbers)}])"
            rows.append(f"{name} = {new}")
        elif b.name in used or b.role in ("input", "random"):
            rows.append(f"{name} = {new}")
    lines = [f" const {', '.join(rows)};"]
    if state:
        translate.calls.add("shared")
        made = ", ".join(entry(key_of(b), new) for b, _, new in state)
        names = ", ".join(entry(key_of(b), name) for b, name, _ in state)
        lines += [f" state = shared({{ {made} }}, state);", f" const {{ {names} }} = state;"]
    else:
        lines += [" state = {};"]
    head = f"export function createStep({{ batch = {BATCH}, state = {{}} }} = {{}}) {{\n{BEGIN}\n"
    return head + "\n".join(lines)


def returned(plan: Lowered, translate: Translator) -> list[str]:
    """The end of the factory: the object that it returns."""
    groups: dict[str, list[str]] = {"inputs": [], "buffers": ["...inputs", "...state"]}
    for b in plan.buffers:
        group = {"input": "inputs", "random": "inputs", "temporary": "buffers"}.get(b.role)
        if group and not b.name.endswith("_part"):
            groups[group].append(entry(key_of(b), translate.name(b.name)))
    outputs = ", ".join(entry(name, translate.name(b.name)) for name, (b, _) in plan.outputs.items())
    rows = [f" const {group} = {{ {', '.join(names)} }};" for group, names in groups.items()]
    return [
        *rows,
        f" return {{ batch, inputs, state, buffers, outputs: {{ {outputs} }}, {', '.join(STAGES)}, step }};",
        "}",
    ]


def key_of(buffer: Buffer) -> str:
    """The learner's name for an array: in the loops it may be another, because `q` is the variable of a loop."""
    return buffer.name if buffer.value is None else buffer.value.name


def entry(key: str, name: str) -> str:
    """An entry of an object; written plainly, `__proto__` would be none."""
    return key if key == name else f"{key}: {name}" if key != "__proto__" else f'["{key}"]: {name}'


# ---- sizes of the batch


def javascript(plan: Lowered, batch: int, resized: Callable[[int], Lowered]) -> str:
    """The step as an ES module.

    batch: the rows of its examples. resized: the loops for other numbers of rows. Where those are others, or the step
    refuses, the module has this size only, and says why. CannotLower for a function without JavaScript.
    """
    own = module(plan)
    try:
        if module(resized(batch)) != own:
            raise CannotLower("it does something else now than when it was traced", "trace it again")
        text = parametrized({rows: module(resized(rows)) for rows in PROBES} | {batch: own})
        return finished(text, batch, f"any number of rows, {batch} if none is given")
    except Exception as error:  # whatever the user's step raises for arrays of other lengths
        reason = " ".join(str(error).split())
        message = number_text(f"this step was traced with batch {batch} and has no other: {reason}")
        check = f" if (batch !== {batch}) throw new RangeError({message});\n"
        return finished(own.replace(f"{BEGIN}\n", check, 1), batch, f"{batch}")


def of_one_size(plan: Lowered) -> str:
    """The step as an ES module for arrays of these sizes."""
    return finished(module(plan).replace(f"batch = {BATCH}, ", "", 1).replace(" batch, inputs", " inputs", 1), 0, "")


def finished(text: str, batch: int, sizes: str) -> str:
    """The module with the size of its batch, its long lines folded; nothing in it ends a script element."""
    text = text.replace(f"{BEGIN}\n", "").replace(BATCH, str(batch), 1).replace(SIZES, sizes, 1)
    text = text.replace("</", "< /").replace("<!", "< !")
    return "\n".join(part for line in text.split("\n") for part in folded(squeezed(line)))


def folded(line: str) -> list[str]:
    """A long list in lines that can be read, broken after commas."""
    comma = line.rfind(",", 0, WIDTH) + 1
    broken = len(line) > WIDTH and comma and not line.startswith("//") and '"' not in line
    return [line[:comma], *folded(f"  {line[comma:]}")] if broken else [line]


def parametrized(texts: dict[int, str]) -> str:
    """One text for every size of the batch, from those for some: numbers that differ become formulas of it."""
    first, *others = skeletons = {rows: NUMBER.sub("#", text) for rows, text in texts.items()}
    if any(skeletons[rows] != skeletons[first] for rows in others if rows in PROBES):
        raise CannotLower("its loops are others for other numbers of rows")
    # The size of the examples may be that of a layer, too, by chance: other loops share a nest then.
    sizes = [rows for rows in texts if rows > 1 and skeletons[rows] == skeletons[first]]
    names: dict[str, str] = {}
    columns = zip(*(NUMBER.findall(texts[rows]) for rows in sizes), strict=True)

    def name(text: str) -> str:
        """A formula of the batch gets a name, so that no loop computes it again."""
        return names.setdefault(text, f"$size{len(names) + 1}") if "batch" in text and text != "batch" else text

    new = iter([name(formula(column, sizes)) for column in columns])
    text = NUMBER.sub(lambda _: next(new), texts[first])
    constants = ", ".join(f"{name} = {formula}" for formula, name in names.items())
    check = ' if (!Number.isInteger(batch) || batch < 1) throw new RangeError("batch " + batch);\n'
    return text.replace(f"{BEGIN}\n", check + (f" const {constants};\n" if names else ""), 1)


def formula(column: Sequence[str], sizes: Sequence[int]) -> str:
    """The formula of `batch` that gives these numbers for these sizes: a n + b, or c n**p (n - 1)**q.

    Raises CannotLower if there is none.
    """
    if len(set(column)) == 1:
        return column[0]
    values = [float(text) for text in column]
    slope = (values[1] - values[0]) / (sizes[1] - sizes[0])
    start = values[0] - slope * sizes[0]
    if slope.is_integer() and all(x == start + slope * n for x, n in zip(values, sizes, strict=True)):
        product = "batch" if slope == 1 else f"{int(slope)} * batch"
        return product if start == 0 else f"({product} {'-' if start < 0 else '+'} {number_text(abs(start))})"
    for p, q in itertools.product((0, 1, -1, -2, 2), repeat=2):
        factors = [x / (n**p * (n - 1.0) ** q) for x, n in zip(values, sizes, strict=True)]
        if max(factors) - min(factors) <= 8e-16 * abs(factors[0]):
            factor = number_text(float(f"{factors[0]:.15g}"))
            return f"({factor}{powers('batch', p)}{powers('(batch - 1)', q)})"
    raise CannotLower(f"the number {column[0]} in its loops depends on the number of rows in a way that is not known")


def powers(name: str, exponent: int) -> str:
    """Multiplied by this power of it."""
    return f" {'*' if exponent > 0 else '/'} {name}" * abs(exponent)
