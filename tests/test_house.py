"""The rules of the house: who may import whom, what is public, how long the engine is, and that all is described."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import tinygrad_ce as tg

HOUSE = Path(tg.__file__).parent
FILES = sorted(path.relative_to(HOUSE).as_posix() for path in HOUSE.rglob("*.py"))

FLOORS = {
    "cache": 0, "threads": 0, "data": 0,
    "core": 1,
    "ops": 2, "graph": 2,
    "backward": 3, "source_lines": 3, "variable": 3, "kernels": 3,
    "errors": 4,
    "numpy_protocol": 5, "functional": 5, "losses": 5, "optim": 5,
    "nn": 6,
    "check": 7, "program": 7,
    "views": 8,
    "train": 9, "storage": 9,
    "__init__": 10,
    "cli": 11,
    "__main__": 12,
}  # fmt: skip
UPWARDS = {("core", "ops"), ("core", "errors")}  # the operators call primitives; a failure is put into words


def room(file):
    """The room of a file: its top folder or, for a file of its own, its name."""
    return file.split("/")[0].removesuffix(".py")


def imports(file):
    """(room, whether at the top of the module, line) of each import of ours; those for the type checker are none."""
    tree = ast.parse((HOUSE / file).read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
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
            tree = ast.parse((HOUSE / file).read_text())
            tops = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module is not None]
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


def test_the_engine_is_read_in_one_sitting():
    """The list of names in ops/__init__.py is not read, it is looked up."""
    files = [path for path in (HOUSE / "ops").glob("*.py") if path.name != "__init__.py"]
    assert sum(map(lines_of_code, [HOUSE / "core.py", HOUSE / "backward.py", *files])) < 1300


@pytest.mark.parametrize("file", FILES)
def test_every_file_says_what_it_is(file):
    text = ast.get_docstring(ast.parse((HOUSE / file).read_text()))
    assert text, f"{file} starts without a docstring"


def public_objects():
    for module in pkgutil.walk_packages(tg.__path__, "tinygrad_ce."):
        if module.name.endswith("__main__"):
            continue
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            if not name.startswith("_") and getattr(value, "__module__", None) == module.name:
                yield f"{module.name}.{name}", value


# Primitives, their rules and their loops, and the functions that have NumPy's names.
DESCRIBED_BY_THEIR_NAME = ("tinygrad_ce.ops.", "tinygrad_ce.kernels.", "tinygrad_ce.numpy_protocol.")


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
    "losses.sigmoid_binary_cross_entropy", "losses.mse", "nn.Module", "nn.Sequential", "nn.Dense", "nn.Sigmoid",
    "nn.Softmax", "nn.ReLU", "nn.Tanh", "nn.Dropout", "nn.BatchNorm", "nn.LayerNorm", "nn.Embedding",
    "nn.CrossEntropy", "nn.SoftmaxCrossEntropy", "nn.BCE", "nn.SigmoidBCE", "nn.MSE", "nn.Module.parameters",
    "nn.Module.named_parameters", "nn.Module.train", "nn.Module.eval", "nn.Module.astype", "nn.Module.summary",
    "optim.SGD", "optim.Adam", "optim.AdamW", "optim.RMSprop", "optim.clip_grad_norm", "optim.SGD.step",
    "optim.SGD.zero_grad", "optim.Constant", "optim.StepDecay", "optim.Cosine", "optim.WarmUp", "data.moons",
    "data.circles", "data.spirals", "data.xor", "data.blobs", "data.digits", "data.iris", "data.wine",
    "data.breast_cancer", "data.from_csv", "data.split", "data.batches", "data.Dataset", "Trainer", "Trainer.fit",
    "Trainer.evaluate", "Trainer.predict", "History", "History.plot", "Tensor.backward", "Tensor.detach",
    "Tensor.item", "Tensor.numpy", "Tensor.named", "Tensor.sum", "Tensor.mean", "Tensor.max", "Tensor.reshape",
    "Tensor.T", "explain", "draw", "step_through", "why_nan", "audit", "exercise", "views.Watch",
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
