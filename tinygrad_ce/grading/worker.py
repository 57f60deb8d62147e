"""The process in which one hand-in runs: it is started as a plain file, needs NumPy only, and sends outcomes back.

Standard input: the request, as `packed` writes it: {"file", "function", "cases", "megabytes", "seconds"}. Standard output:
for each case the length of an outcome, in eight bytes, and the outcome.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
BY_HAND = ("tinygrad_ce", "torch", "jax", "tensorflow", "autograd", "mygrad", "micrograd")
FUNCTIONS = ("gradients", "backward", "gradient")


def sibling(name: str) -> ModuleType:
    """Another file of this folder, as a module: the package itself is not imported."""
    spec = importlib.util.spec_from_file_location(f"_grading_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def serve() -> None:
    """Run the hand-in of the request, and send what comes of each case."""
    outcomes, forms = sibling("outcomes"), sibling("forms")
    request = outcomes.unpacked(sys.stdin.buffer.read()).value
    channel = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)

    def send(outcome: Any) -> None:
        data = outcomes.packed(outcome)
        with os.fdopen(os.dup(channel), "wb") as file:
            file.write(len(data).to_bytes(8, "big") + data)

    limit(request["megabytes"], request["seconds"])
    path = Path(request["file"])
    guard(path.parent)
    loaded = outcomes.outcome_of(lambda _: namespace_of(path), None)
    if loaded.error:
        send(loaded)
        os._exit(0)
    student, forward, problem = student_of(loaded.value)
    if problem:
        send(outcomes.Outcome(error=problem, printed=loaded.printed))
        os._exit(0)
    calls = outcomes.outcome_of(lambda _: forms.gradients_of(student, forward), None)
    for case in request["cases"]:
        send(calls if calls.error else outcomes.outcome_of(lambda case: answers_of(calls.value, case), case))
    os._exit(0)  # threads that never end, and what waits for the end of the process, are not waited for


def answers_of(function: Any, case: dict[str, Any]) -> dict[str, Any]:
    """What a function returns for a case, and which of its arguments it has written to."""
    import numpy as np

    before = {name: np.array(array) for name, array in case.items()}
    value = function(case)
    written = [name for name, array in case.items() if not np.array_equal(array, before[name], equal_nan=False)]
    return {"value": value, "written": written}


def namespace_of(path: Path) -> dict[str, Any]:
    """What a script or a notebook defines. A notebook: its code cells in their order, without lines for IPython."""
    data = path.read_bytes()
    text = _of_notebook(data) if path.suffix == ".ipynb" else _decoded(data)
    names: dict[str, Any] = {"__name__": "hand_in", "__file__": str(path)}
    exec(compile(text, str(path), "exec", dont_inherit=True), names)
    return names


def _decoded(data: bytes) -> str:
    """A script as text, in the encoding that it says or looks like."""
    with contextlib.suppress(SyntaxError, UnicodeDecodeError):
        return importlib.util.decode_source(data)
    return data.decode("latin-1")


def _of_notebook(data: bytes) -> str:
    """The code of a notebook. ValueError if it is none."""
    try:
        cells = json.loads(data.decode("utf-8-sig"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        raise ValueError("the file is no notebook that can be read: save it again in Jupyter") from None
    return "\n".join(_without_magics(source) for source in sources)


def _without_magics(source: str) -> str:
    """A cell without what only IPython understands: %matplotlib, !pip, and cells that begin with %%."""
    if source.lstrip().startswith("%%"):
        return ""
    lines = source.splitlines()
    return "\n".join("pass" if line.lstrip().startswith(("%", "!", "?")) else line for line in lines)


def student_of(names: dict[str, Any]) -> tuple[Any, Any, str]:
    """What is graded, the forward pass beside it, and what is missing in words."""
    forward = names.get("forward")
    for name in FUNCTIONS:
        if callable(names.get(name)):
            return names[name], forward, ""
    for value in names.values():
        if isinstance(value, type) and value.__module__ == "hand_in" and callable(getattr(value, "backward", None)):
            return value, forward, ""
    return None, None, "there is no function gradients(...) in the file: keep the name that the exercise gave it"


def limit(megabytes: float, seconds: float) -> None:
    """Limits of memory, processor time and the size of files, where the system has them."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(megabytes * 1e6),) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**7, 10**7))


class ByHand:
    """Refuses to import what computes gradients."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Raise ImportError, in words, for such a package."""
        package = name.partition(".")[0]
        if package in BY_HAND:
            raise ImportError(f"gradients are computed by hand here: a hand-in cannot import {package}")


def guard(folder: Path) -> None:
    """Refuse, in words, to write or look outside of the folder, to start processes and to use the network."""
    import numpy  # noqa: F401  (all that it opens is open before the guard stands)

    sys.meta_path.insert(0, ByHand)  # type: ignore[arg-type]
    readable = (str(folder), sys.prefix, sys.base_prefix, *map(os.path.abspath, filter(None, sys.path)), os.devnull)
    readable += ("/usr", "/lib", "/etc", "/proc/self", "/sys", "/dev")
    ending = (
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "os.forkpty",
        "os.kill",
        "os.killpg",
    )
    changing = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.link", "os.symlink", "os.truncate")

    def inside(path: Any, folders: tuple[str, ...]) -> bool:
        if isinstance(path, int) or path is None:
            return True
        where = os.path.realpath(os.fsdecode(path))
        return any(where == f or where.startswith(os.path.join(os.path.realpath(f), "")) for f in folders)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            )
            if not inside(path, (str(folder), os.devnull) if writes else readable):
                raise PermissionError(f"a hand-in cannot {'write to' if writes else 'read'} {path}")
        elif event in ending:
            raise PermissionError("a hand-in cannot start or end processes")
        elif event.startswith("socket.") and event != "socket.__new__":
            raise PermissionError("a hand-in has no network")
        elif event in changing and not inside(arguments[0], (str(folder),)):
            raise PermissionError(f"a hand-in cannot change {arguments[0]}")
        elif event in ("os.listdir", "os.scandir") and not inside(arguments[0] or ".", readable):
            raise PermissionError(f"a hand-in cannot look into {arguments[0]}")

    sys.addaudithook(hook)


if __name__ == "__main__":
    serve()
