"""The rules of the house: who may import whom, what is public, how long the engine is, and that all is described."""

import ast
import importlib
import inspect
import pkgutil
import re
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fresh import printed
from samples import primitives

import tinygrad_ce as tg

HOUSE = Path(tg.__file__).parent
FILES = sorted(path.relative_to(HOUSE).as_posix() for path in HOUSE.rglob("*.py"))

FLOORS = {
    "cache": 0, "disk": 0, "threads": 0, "report": 0, "lecture_names": 0,
    "data": 1, "missing_names": 1, "core": 1,
    "ops": 2, "ancestry": 2, "pickling": 2,
    "backward": 3, "source_lines": 3, "variable": 3, "kernels": 3,
    "errors": 4,
    "numpy_protocol": 5, "functional": 5, "losses": 5, "optim": 5,
    "nn": 6,
    "check": 7, "program": 7, "storage": 7,
    "graph": 8,
    "views": 9,
    "live": 10, "assignments": 10,
    "train": 11, "export": 11, "exercises": 11,
    "sklearn": 12, "grading": 12,
    "__init__": 13,
    "cli": 14,
    "__main__": 15,
}  # fmt: skip
UPWARDS = {("core", "ops"), ("core", "errors")}  # the operators call primitives; a failure is put into words


def room(file):
    """The room of a file: its top folder or, for a file of its own, its name."""
    return file.split("/")[0].removesuffix(".py")


@cache
def syntax_of(file):
    """The syntax tree of a file of the package."""
    return ast.parse((HOUSE / file).read_text())


@cache
def imports(file):
    """(room, whether at the top of the module, line) of each import of ours; those for the type checker are none."""
    return [*_imports(syntax_of(file), file)]


def for_type_checker(tree):
    """The ids of all nodes of a file that only a type checker sees."""
    return {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }


def _imports(tree, file):
    hidden = for_type_checker(tree)
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "tinygrad_ce"]
        elif isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{file}:{node.lineno} imports relatively; write tinygrad_ce. in full")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tinygrad_ce":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            wanted = parts[1] if len(parts) > 1 and parts[1] in FLOORS else "__init__"
            yield wanted, id(node) not in lazy, node.lineno


def test_every_file_has_a_floor():
    assert {room(file) for file in FILES} <= set(FLOORS)


@pytest.mark.parametrize("file", FILES)
def test_a_room_imports_from_the_floors_below_it(file):
    mine = room(file)
    for wanted, _, line in imports(file):
        below = wanted == mine or FLOORS[wanted] < FLOORS[mine]
        assert below or (mine, wanted) in UPWARDS, (
            f"{file}:{line}: {mine} (floor {FLOORS[mine]}) imports {wanted} (floor {FLOORS[wanted]})"
        )


def test_the_ground_floor_imports_nothing_of_ours():
    ground = {room for room, floor in FLOORS.items() if floor == 0}
    found = {(room(file), wanted) for file in FILES if room(file) in ground for wanted, _, _ in imports(file)}
    assert {(mine, wanted) for mine, wanted in found if mine != wanted} == set()


LIGHT = ("kernels", "kernels.attach", "kernels.warmup", "kernels.find", "kernels.import_lines")  # they bring no Numba


def test_numba_comes_only_with_the_first_call_of_a_kernel():
    """Outside of kernels/, no file imports one of its files at the top; what stands in LIGHT imports them late."""
    for file in FILES:
        light = f"kernels.{Path(file).stem}".removesuffix(".__init__") in LIGHT
        if room(file) != "kernels" or light:
            tops = [node for node in syntax_of(file).body if isinstance(node, ast.ImportFrom) and node.module]
            names = {
                f"{node.module}.{alias.name}".removeprefix("tinygrad_ce.") for node in tops for alias in node.names
            }
            heavy = {name for name in names if name.startswith("kernels.") and name not in LIGHT}
            allowed = {f"kernels.attach.{name}" for name in ("attach", "call_fused", "fused_rules", "set_aside")}
            assert heavy <= allowed, f"{file} imports {heavy} at the top, and Numba with it"


def test_core_imports_ops_once_and_on_its_last_line():
    lines = (HOUSE / "core.py").read_text().rstrip().splitlines()
    assert [(at_top, line) for wanted, at_top, line in imports("core.py") if wanted == "ops"] == [(True, len(lines))]


def lines_of_code(path):
    """Those that compute: not blank, no comment, no docstring."""
    text = path.read_text()
    described = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            described |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.splitlines(), start=1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and i not in described for i, line in lines)


# ---- how much there is to read


def file_of(module):
    """The file of `tinygrad_ce.a.b`; where b is a name in a module, the file of that module."""
    parts = module.split(".")[1:]
    for path in ("/".join(parts), "/".join(parts[:-1])):
        for file in (f"{path}.py", f"{path}/__init__.py".removeprefix("/")):
            if file in FILES:
                return file
    raise AssertionError(f"{module} is no file of the package")


@cache
def imported_files(file):
    """The files of ours that a file imports at its top."""
    tops = [*syntax_of(file).body]
    modules = [f"{n.module}.{a.name}" for n in tops if isinstance(n, ast.ImportFrom) and n.module for a in n.names]
    modules += [a.name for n in tops if isinstance(n, ast.Import) for a in n.names]
    return {file_of(module) for module in modules if module.split(".")[0] == "tinygrad_ce"} - {file}


def read_together(files, but=()):
    """These files and all that they import, with the number of lines of each."""
    found, waiting = {}, [*files]
    while waiting:
        file = waiting.pop()
        if file not in found and file not in but:
            found[file] = len((HOUSE / file).read_text().splitlines())
            waiting += imported_files(file)
    return found


def as_list(lengths):
    """What was counted, for the message of a test that fails."""
    return "\n".join([*(f"{lines:6} {file}" for file, lines in lengths.items()), f"{sum(lengths.values()):6} lines"])


FAMILIES = [file for file in FILES if file.startswith("ops/")]


def test_the_engine_is_read_in_one_sitting():
    """The list of names in ops/__init__.py is not read, it is looked up. As many lines a primitive as 1300 for 68."""
    files = [path for path in (HOUSE / "ops").glob("*.py") if path.name != "__init__.py"]
    assert sum(map(lines_of_code, [HOUSE / "core.py", HOUSE / "backward.py", *files])) < 1300 / 68 * len(primitives())


def test_one_backward_pass_is_understood_in_600_lines():
    """A product and its backward: the engine, its arithmetic, and all that they import, but not the other families."""
    first = "core.py", "backward.py", "ops/arithmetic.py"
    lengths = read_together(first, but=[file for file in FAMILIES if file not in first])
    assert set(lengths) >= {*first}
    assert sum(lengths.values()) <= 600, f"to be read for loss.backward():\n{as_list(lengths)}"


def test_the_search_for_mistakes_does_not_grow():
    """It is to come down to 1,000 lines of code; what only reads the rules of a graph stands in assignments/."""
    lengths = {file: lines_of_code(HOUSE / file) for file in FILES if file.startswith("exercises/")}
    assert sum(lengths.values()) <= 1022, as_list(lengths)


def lines_of_docstrings(path):
    """How many lines of a file are docstrings of functions: the reference shows them, and the engine reads without."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return sum(node.body[0].end_lineno - node.body[0].lineno + 1 for node in functions if ast.get_docstring(node))


def test_the_engine_with_all_primitives_does_not_grow():
    """Lines for each primitive, docstrings apart: 21 where 26 stood here when docstrings were few and counted.

    So a new primitive brings its own lines, and none of its neighbours' gets longer. The bound may come down.
    """
    lengths = read_together(["core.py", "backward.py", *FAMILIES])
    described = sum(lines_of_docstrings(HOUSE / file) for file in lengths)
    bound = 21 * len(primitives())
    assert sum(lengths.values()) - described <= bound, f"{bound} lines for the engine, without:\n{as_list(lengths)}"


LONG_FILES = ("program/",)  # not yet cut to size


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith(LONG_FILES)])
def test_a_file_of_the_package_can_be_read(file):
    text = (HOUSE / file).read_text()
    assert len(text.splitlines()) <= 500, f"{file}: at most 500 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and node.name != "Tensor":
            length = node.end_lineno - node.lineno + 1
            assert length <= 200, f"{file}:{node.lineno}: class {node.name} has {length} lines, and 200 can be read"


# ---- what the engine does not know

ABOVE = {
    *("numba", "njit", "jit", "kernel", "kernels", "line", "lines", "lineno", "view", "views", "program", "programs"),
    *("trace", "traced", "tracer", "tracing", "compiled", "optimizer", "loss", "losses", "html"),
}


def identifiers(file):
    """(name, line) of all that a file names: variables, attributes, arguments, functions, classes, imports."""
    for node in ast.walk(syntax_of(file)):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield value, getattr(node, "lineno", 0)


@pytest.mark.parametrize(("file", "top", "late"), [("core.py", {"ops"}, {"errors"}), ("backward.py", {"core"}, set())])
def test_the_engine_names_nothing_of_what_attaches_to_it(file, top, late):
    assert {room for room, at_top, _ in imports(file) if at_top} == top
    assert {room for room, at_top, _ in imports(file) if not at_top} == late
    for name, line in identifiers(file):
        words = {*name.lower().replace(".", "_").split("_")} & ABOVE
        assert not words, f"{file}:{line} names {name}"
        assert name not in tg.kernels.FILE_OF, f"{file}:{line} names the kernel {name}"


def circles(files, imported):
    """The groups of files that import each other, by way of others too. imported: the files that one imports."""
    reach = {file: set() for file in files}
    for file in files:
        waiting = [*imported(file)]
        while waiting:
            other = waiting.pop()
            if other in reach and other not in reach[file]:
                reach[file].add(other)
                waiting += imported(other)
    return {frozenset(f for f in reach[file] if file in reach[f]) for file in files if file in reach[file]}


def test_only_core_and_ops_import_each_other():
    (circle,) = circles(FILES, imported_files)
    assert circle == {"core.py", *FAMILIES}


@cache
def imported_anywhere(file):
    """The files of ours that a file imports, at its top or inside of a function, but for the type checker."""
    tree = syntax_of(file)
    hidden = for_type_checker(tree)
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and id(n) not in hidden]
    modules = [f"{n.module}.{a.name}" for n in nodes if n.module.startswith("tinygrad_ce") for a in n.names]
    return {file_of(module) for module in modules} - {file}


@pytest.mark.parametrize("folder", ["program/", "graph/"])
def test_no_files_of_a_pipeline_import_each_other(folder):
    assert circles([file for file in FILES if file.startswith(folder)], imported_anywhere) == set()


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("program/")])
def test_a_file_of_a_program_is_at_most_450_lines_long(file):
    assert len((HOUSE / file).read_text().splitlines()) <= 450


GENERATED = re.compile(  # how a line of Python or JavaScript begins
    r"\s*(import \w|from \w[\w.]* import |def \w*[({]|for \S+ in |for \(let |if .+:$|function |const )"
)


def texts(tree):
    """The texts of a file, those with gaps too, but for docstrings."""
    described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, described) and ast.get_docstring(n)}
    inside = {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in ast.walk(n)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in {*docstrings, *inside}:
            yield node.value


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("program/")])
def test_source_text_is_written_in_the_files_that_are_called_text(file):
    written = [text for text in texts(syntax_of(file)) if GENERATED.match(text)]
    assert written == [] or file.endswith("_text.py")


def test_the_readme_of_programs_lists_every_file_after_those_that_it_imports():
    folder = HOUSE / "program"
    listed = re.findall(r"^\| `(\S+)` \|", (folder / "README.md").read_text(), flags=re.MULTILINE)
    files = [path.name for path in folder.iterdir() if path.suffix in (".py", ".js") and path.name != "__init__.py"]
    assert sorted(listed) == sorted(files)
    for k, file in enumerate(listed):
        if file.endswith(".py"):
            inside = {other.removeprefix("program/") for other in imported_anywhere(f"program/{file}")}
            assert inside & {*listed[k:]} == set(), f"{file} stands before what it imports"


HTML = re.compile(r"</?(table|thead|tbody|tr|td|th|div|p|span|section|header|main|ul|li|pre|b|code|bdi|iframe)\b[ >]")


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("report/")])
def test_html_is_written_in_one_room(file):
    written = [text for text in texts(syntax_of(file)) if HTML.search(text)]
    assert written == [], f"{file}: build parts of tinygrad_ce.report.parts, which its renderers write"


def test_importing_the_package_imports_nothing_heavy():
    code = """
        import sys
        import tinygrad_ce
        tinygrad_ce.nn.Dense(2, 2), tinygrad_ce.optim.SGD, tinygrad_ce.Trainer
        print("imported", *{name.split(".")[0] for name in sys.modules})
    """
    loaded = {*printed(code)}
    assert {"imported", "numpy", "tinygrad_ce"} <= loaded
    heavy = {"numba", "llvmlite", "scipy", "rich", "matplotlib", "sklearn", "pandas", "typer", "PIL", "joblib", "onnx"}
    extras = {"onnxruntime", "torch", "tensorboardX", "dask", "distributed", "palmerpenguins", "resvg_py", "IPython"}
    assert loaded & (heavy | extras | {"safetensors", "html"}) == set()


def test_the_extra_that_is_called_all_brings_what_a_user_may_be_told_to_install():
    text = "".join((HOUSE / file).read_text(encoding="utf-8") for file in FILES)
    wanted = {*re.findall(r"tinygrad_ce\[(\w+)\]", text), *re.findall(r'extra\("[\w.]+", "(\w+)"\)', text)}
    project = tomllib.loads((HOUSE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    (everything,) = extras["all"]
    brought = {*re.fullmatch(r"tinygrad_ce\[(.+)\]", everything)[1].split(",")}
    assert {"data", "onnx", "plot", "tensorboard"} <= wanted <= brought | {"all"}
    assert brought | {"all", "test", "browser", "docs", "bench", "dev"} == {*extras}


# ---- what is described


@pytest.mark.parametrize("file", FILES)
def test_every_file_says_what_it_is(file):
    text = ast.get_docstring(syntax_of(file))
    assert text, f"{file} starts without a docstring"


def public_objects():
    for module in pkgutil.walk_packages(tg.__path__, "tinygrad_ce."):
        if module.name.endswith("__main__"):
            continue
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            if not name.startswith("_") and getattr(value, "__module__", None) == module.name:
                yield f"{module.name}.{name}", value


# Rules of primitives (test_docstrings.py has the primitives), their loops, and functions that have NumPy's names.
DESCRIBED_BY_THEIR_NAME = ("tinygrad_ce.ops.", "tinygrad_ce.kernels.", "tinygrad_ce.numpy_protocol.")
DESCRIBED_BY_THEIR_NAME += ("tinygrad_ce.program.numpy_functions.",)


def test_every_public_function_and_class_has_a_docstring():
    bare = [
        name
        for name, value in public_objects()
        if (inspect.isfunction(value) or inspect.isclass(value))
        and not (inspect.getdoc(value) or "").strip()
        and not name.startswith(DESCRIBED_BY_THEIR_NAME)
    ]
    assert bare == []


def test_every_public_method_of_the_main_classes_has_a_docstring():
    def obvious(name):
        return hasattr(np.ndarray, name) or name in ("T", "forward", "update", "initial_state", "update_in_place")

    bare = [
        f"{path}.{name}"
        for path, value in public_objects()
        if inspect.isclass(value)
        for name, method in vars(value).items()
        if inspect.isfunction(method) and not name.startswith("_") and not obvious(name)
        if not (inspect.getdoc(getattr(value, name)) or "").strip()
        if not hasattr(np, name) and not hasattr(tg.ops, name)
    ]
    assert bare == []


NAMES = [
    "Tensor", "ops", "gradients", "no_grad", "grad", "value_and_grad", "vjp", "jvp", "jacobian", "hessian", "hvp",
    "check.gradcheck", "losses.cross_entropy", "losses.softmax_cross_entropy", "losses.binary_cross_entropy",
    "losses.sigmoid_binary_cross_entropy", "losses.mse", "losses.nll", "losses.kl_divergence", "losses.huber",
    "losses.hinge", "nn.NLL", "nn.KLDivergence", "nn.Huber", "nn.Hinge", "nn.Module", "nn.Sequential",
    "nn.Dense", "nn.Sigmoid",
    "nn.Softmax", "nn.ReLU", "nn.Tanh", "nn.Dropout", "nn.BatchNorm", "nn.LayerNorm", "nn.Embedding",
    "nn.GELU", "nn.LeakyReLU", "nn.Residual", "nn.SiLU",
    "nn.CrossEntropy", "nn.SoftmaxCrossEntropy", "nn.BCE", "nn.SigmoidBCE", "nn.MSE", "nn.Module.parameters",
    "nn.Module.named_parameters", "nn.Module.train", "nn.Module.eval", "nn.Module.astype", "nn.Module.summary",
    "optim.SGD", "optim.Adam", "optim.AdamW", "optim.RMSprop", "optim.clip_grad_norm", "optim.SGD.step",
    "optim.SGD.zero_grad", "optim.Constant", "optim.StepDecay", "optim.Cosine", "optim.WarmUp", "data.moons",
    "data.circles", "data.spirals", "data.xor", "data.blobs", "data.digits", "data.iris", "data.wine",
    "data.breast_cancer", "data.from_csv", "data.split", "data.batches", "data.Dataset", "Trainer", "Trainer.fit",
    "Trainer.evaluate", "Trainer.predict", "History", "History.plot", "Tensor.backward", "Tensor.detach",
    "Tensor.item", "Tensor.numpy", "Tensor.named", "Tensor.sum", "Tensor.mean", "Tensor.max", "Tensor.reshape",
    "Tensor.T", "explain", "draw", "step_through", "why_nan", "audit", "exercise", "views.Watch",
    "surface", "views.Route",
    "optim.AdaGrad", "optim.OneCycle", "optim.ReduceOnPlateau", "optim.SGD.state", "optim.SGD.restore", "optim.clip",
    "train.find_learning_rate", "train.LearningRates", "train.Loop", "check.gradcheck_model", "compile", "trace",
    "source", "ops.erf", "ops.cumsum", "ops.sort", "ops.prod", "ops.pad", "ops.mod", "Tensor.tolist", "Tensor.any",
    "Tensor.all", "Tensor.copy", "Tensor.flatten", "Tensor.std", "Tensor.clip", "Tensor.dot", "Tensor.swapaxes",
    "Tensor.prod", "Tensor.cumsum",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_public_names_are_there(name):
    value = tg
    for part in name.split("."):
        value = getattr(value, part)


def test_a_tensor_has_the_attributes_of_the_design():
    t = tg.Tensor([1.0], requires_grad=True, name="t")
    for name in ("data", "grad", "requires_grad", "shape", "ndim", "size", "dtype", "op", "inputs", "name"):
        getattr(t, name)


def test_everything_in_all_exists():
    for module in (tg, tg.nn, tg.ops):
        assert sorted(set(module.__all__)) == sorted(module.__all__)
        assert [name for name in module.__all__ if not hasattr(module, name)] == []


SIGNATURES = {
    "losses.softmax_cross_entropy": ("weight", "label_smoothing", "ignore_index", "reduction", "axis"),
    "losses.cross_entropy": ("weight", "label_smoothing", "ignore_index", "reduction", "axis", "eps", "fused"),
    "losses.sigmoid_binary_cross_entropy": ("weight", "pos_weight", "reduction"),
    "losses.binary_cross_entropy": ("weight", "pos_weight", "reduction", "eps", "fused"),
    "losses.mse": ("weight", "reduction"),
    "losses.nll": ("weight", "ignore_index", "reduction", "axis", "fused"),
    "losses.kl_divergence": ("weight", "reduction", "axis", "fused"),
    "losses.huber": ("delta", "weight", "reduction"),
    "losses.hinge": ("weight", "reduction"),
    "gradients": ("of", "wrt", "create_graph"),
    "Trainer.fit": ("X", "y", "epochs", "batch_size", "validation", "progress", "seed"),
    "data.moons": ("n", "noise", "seed"),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_options_have_the_names_of_the_design(name):
    function = tg
    for part in name.split("."):
        function = getattr(function, part)
    assert set(SIGNATURES[name]) <= set(inspect.signature(function).parameters)


def test_the_types_are_shipped():
    assert (HOUSE / "py.typed").exists()
