"""The process in which one hand-in runs: it is started as a plain file, needs NumPy only, and sends outcomes back.

`python -I worker.py JOB RESULTS`: the job is a dict, as `packed` writes it: file, forward, cases, allowed, seconds,
megabytes. The results are messages, each with its length in eight bytes before it: one on the file, then one for each
case. What is refused here guards against accidents and is no security boundary: who wants to get around it can.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib.util
import linecache
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

LARGEST_FILE = 50_000_000  # bytes of each file that it may write
ENGINES = ("tinygrad_ce", "torch", "jax", "autograd", "tensorflow", "mygrad", "micrograd")  # they differentiate
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {  # the events of Python's audit that change files, and how many of their arguments are paths
    **dict.fromkeys(("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime"), 1),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), 2),
}
READS = ("os.listdir", "os.scandir", "os.chdir")
DATABASES = ("sqlite3.connect",)  # SQLite opens its files without Python
PROCESSES = {"os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system", "os.startfile"}
PROCESSES |= {"subprocess.Popen", "pty.spawn", "os.kill", "os.killpg"}
STARTERS = ("multiprocessing.popen_fork", "multiprocessing.popen_forkserver", "multiprocessing.popen_spawn_posix")
NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
PYTHON_MAGICS = ("time", "timeit", "capture", "prun")  # the rest of such a cell is Python
READABLE = ("/usr", "/lib", "/etc", "/sys", "/dev", "/System", "/Library", "C:\\Windows")  # folders of systems
READABLE_TOO = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat")


def sibling(name: str) -> ModuleType:
    """Another file of this folder as a module: the package itself is not imported."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_grading_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


outcomes, forms, calls = sibling("outcomes"), sibling("forms"), sibling("calls")

# ---- limits


def limit_time_and_files(seconds: float) -> None:
    """Limit the size of files, and the time: for when nobody is there any more to end this process."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (int(2 * seconds) + 10,) * 2)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 2 * seconds + 10)


class Guard:
    """Refuses, in words, what a hand-in has no business to do; as a hook of Python's audit it cannot be taken off.

    folder: where it may write, and read beside what belongs to Python and the system. allowed: engines that it may
    import. refused: what it has tried.
    """

    def __init__(self, folder: str, allowed: list[str]) -> None:
        self.folder, self.engines = os.path.realpath(folder), {*ENGINES} - {*allowed}
        readable = (self.folder, sys.prefix, sys.base_prefix, *filter(None, sys.path), *READABLE, *READABLE_TOO)
        self.readable = [os.path.realpath(path) for path in readable]
        self.writable = [self.folder, os.path.realpath(os.devnull)]
        here = os.path.dirname(os.path.realpath(__file__))
        self.package, self.ours = os.path.dirname(here), here  # that of the solutions, and of what runs here
        self.refused: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at one event; raises PermissionError or ImportError for what is refused."""
        if event == "open":
            path, mode, flags = arguments
            if _writes(mode, flags) and not self._is_in(self.writable, path):
                self._refuse(f"it writes into {_shown(path)}: a hand-in may write into its own folder only")
            self._check_read(path)
        elif event in CHANGES:
            for path in arguments[: CHANGES[event]]:
                if not self._is_in([self.folder], path):
                    self._refuse(f"it changes {_shown(path)} ({event}): a hand-in may change its own folder only")
        elif event in DATABASES:
            if arguments[0] not in ("", ":memory:") and not self._is_in([self.folder], arguments[0]):
                self._refuse(f"it writes into {_shown(arguments[0])}: a hand-in may write into its own folder only")
        elif event in READS:
            self._check_read(arguments[0] or ".")
        elif event in PROCESSES:
            self._refuse(f"it starts or ends another process ({event})")
        elif event in NETWORK:
            self._refuse(f"it uses the network ({event})")
        elif event == "import":
            self._check_import(arguments[0])

    def _check_import(self, name: str) -> None:
        if name in STARTERS:
            self._refuse(f"it starts or ends another process ({name})")
        engine = name.partition(".")[0]
        if engine in self.engines:
            words = f"it imports {engine}: gradients are to be computed by hand here, with NumPy alone"
            self._refuse(words, ImportError)

    def _check_read(self, path: Any) -> None:
        solution = self._is_in([self.package], path) and not self._is_in([self.ours], path)
        if solution or not self._is_in([*self.readable, self.ours], path):
            self._refuse(f"it reads {_shown(path)}: a hand-in sees its own folder only")

    def _refuse(self, words: str, kind: type[Exception] = PermissionError) -> None:
        if words not in self.refused and len(self.refused) < 10:
            self.refused.append(words)
        raise kind(words)

    def _is_in(self, folders: list[str], path: Any) -> bool:
        """Whether a path lies in one of the folders. A number is a file that is open already."""
        if isinstance(path, int):
            return True
        real = os.path.realpath(os.fsdecode(path))
        return any(real == folder or real.startswith(folder + os.sep) for folder in folders)


def _writes(mode: Any, flags: Any) -> bool:
    return bool({*mode} & {*"wax+"}) if isinstance(mode, str) else bool(flags & WRITES)


def _shown(path: Any) -> str:
    return ascii(os.fsdecode(path))[:80]


# ---- the file


@dataclass(eq=False)
class Loaded:
    """What running a file has come to. names: what it defines; error: the first, in words; remarks: for a teacher."""

    names: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    remarks: list[str] = field(default_factory=list)


def load(path: str, printed: Printed) -> Loaded:
    """Run a script, or the cells of a notebook. What fails in one cell keeps none of the others from being run."""
    with open(path, "rb") as file:
        content = file.read()
    loaded = Loaded({"__name__": "hand_in", "__file__": path})
    text, remark = outcomes.decoded(content)
    loaded.remarks += [remark] if remark else []
    parts = {"": text}
    if path.endswith(".ipynb"):
        try:
            parts = {f"cell {k}, ": cell for k, cell in enumerate(outcomes.cells_of_code(text), start=1)}
        except ValueError as raised:
            loaded.error = str(raised)
            return loaded
    if not any(map(str.strip, parts.values())):
        loaded.error = "the file is empty"
    for place, part in parts.items():
        error = _run(place, part, path, loaded, printed)
        loaded.error = loaded.error or error
    return loaded


def _run(place: str, source: str, path: str, loaded: Loaded, printed: Printed) -> str:
    """Run one part of a file; why it fails, or ""."""
    name = f"{path}:{place}"
    try:
        code = compile(_without_magics(source, place, loaded.remarks), name, "exec")
    except SyntaxError as error:
        line = f": {error.text.strip()}" if error.text else ""
        at = f" ({place}line {error.lineno}{line})" if error.lineno else ""
        return f"it is no Python: {error.msg}{at}"
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return f"it is no Python: {str(error) or 'it is nested too deeply'}"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return str(outcomes.outcome_of(lambda names: exec(code, names), loaded.names, printed).error)


def _without_magics(source: str, place: str, remarks: list[str]) -> str:
    """A cell without the lines that only Jupyter understands; a part that is Python, as it is."""
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        ast.parse(source)
        return source
    if not place:
        return source
    lines, skipped = source.splitlines(), []
    for k, line in enumerate(lines):
        bare = line.strip()
        if bare.startswith("%%") and bare[2:].split(" ")[0] not in PYTHON_MAGICS:
            remarks.append(f"{place.rstrip(', ')} was skipped: {bare[:80]}")
            return ""
        if bare.startswith(("%", "!", "?")) or bare.endswith("?") or _assigns_magic(bare):
            lines[k] = line[: len(line) - len(line.lstrip())] + "pass"
            skipped.append(bare[:80])
    if skipped:
        remarks.append(f"{place}these lines were skipped: {'; '.join(skipped)}")
    return "\n".join(lines)


def _assigns_magic(line: str) -> bool:
    """Whether a line is `files = !ls` or `files = %sql`."""
    name, equals, value = line.partition("=")
    return bool(equals) and name.strip().isidentifier() and value.strip().startswith(("!", "%"))


def graded_object(names: Mapping[str, Any]) -> Any:
    """What a file is graded for: `gradients`, or what other courses call it. LookupError, in words, if it has none."""
    if callable(names.get("gradients")):
        return names["gradients"]
    if callable(names.get("backward")):
        return (names["forward"], names["backward"]) if callable(names.get("forward")) else names["backward"]
    if callable(names.get("gradient")):
        return names["gradient"]
    own = [x for x in names.values() if isinstance(x, type) and x.__module__ == "hand_in"]
    found = [x for x in own if hasattr(x, "backward") or hasattr(x, "gradient")]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(x.__name__ for x in found)
        raise LookupError(f"the file has several classes that could be graded: {listed}; leave one of them in it")
    close = difflib.get_close_matches("gradients", [name for name, x in names.items() if callable(x)], n=1)
    meant = f"; is {close[0]} meant? Name it so" if close else ""
    raise LookupError(f"the file has no function gradients{meant}")


def _gradients_of(names: Mapping[str, Any], forward_text: str) -> Callable[[Any], Any]:
    """The function from arguments to gradients that a file has, in whichever form it is written."""
    problem: dict[str, Any] = {}
    exec(compile(forward_text, "<problem>", "exec"), problem)
    function: Callable[[Any], Any] = forms.gradients_of(graded_object(names), problem.get("forward"))
    return function


class Printed(outcomes.Shortened):  # type: ignore[misc, name-defined]
    """What is printed, in a file from which it can be read also when the process was ended."""

    def write(self, text: str) -> int:
        """Keep what there is still room for."""
        kept = self.tell()
        super().write(text)
        os.write(2, self.getvalue()[kept:].encode(errors="replace"))
        return len(text)


def _messages(job: Mapping[str, Any], guard: Guard) -> Iterator[dict[str, Any]]:
    """What there is to tell of a file: first how running it went, then of each case."""
    printed = Printed()
    loaded = load(job["file"], printed)
    function, problem, taken = None, loaded.error, loaded.names.get("HINTS")
    try:
        function = _gradients_of(loaded.names, job["forward"])
    except LookupError as error:
        problem = problem or str(error.args[0])
    except BaseException as error:
        problem = problem or outcomes.failure(error)
    yield {
        "error": problem if function is None else "",
        "remarks": [*loaded.remarks, *([loaded.error] if function is not None and loaded.error else [])],
        "refused": guard.refused,
        "hints": taken if isinstance(taken, dict) else {},
    }
    for case in job["cases"] if function is not None else ():
        outcome = outcomes.outcome_of(lambda case: calls.called(function, case), case, printed)
        yield {"value": outcome.value, "error": outcome.error, "refused": guard.refused}


def main(job_file: str, results_file: str) -> None:
    """Run a file as a job says, and write what comes of it, one message after the other; the process ends here."""
    with open(job_file, "rb") as file:
        job = outcomes.unpacked(file.read())
    results = open(results_file, "wb")  # noqa: SIM115 (the process ends with it)
    print("ready", flush=True)  # from here on, seconds are counted
    os.dup2(2, 1)
    sys.argv = [job["file"]]
    outcomes.limit_memory(job["megabytes"])
    limit_time_and_files(job["seconds"])
    guard = Guard(os.getcwd(), job["allowed"])
    sys.addaudithook(guard)
    for message in _messages(job, guard):
        try:
            content = outcomes.packed(message)
        except BaseException as error:
            content = outcomes.packed({"error": f"what it returns cannot be read: {outcomes.failure(error)}"})
        if len(content) > LARGEST_FILE // (len(job["cases"]) + 2):  # all of them are one file
            content = outcomes.packed({"error": f"what it returns is too large: {len(content) / 1e6:.0f} MB"})
        results.write(len(content).to_bytes(8, "little") + content)
        results.flush()
    os._exit(0)  # threads that never end have no say in it


if __name__ == "__main__":
    main(*sys.argv[1:])
