"""The hand-ins in a folder, and whose they are: Gradescope, Moodle, Canvas, nbgrader and plain files name them so."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from tinygrad_ce.data.checks import quoted
from tinygrad_ce.grading.marked import LARGEST, HandIn
from tinygrad_ce.report.words import visible

ENDINGS = (".py", ".ipynb")
PACKED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")  # of plain files these are a student's too, who is told so
IGNORED = ("__pycache__", "__MACOSX", "__init__.py", "node_modules")
METADATA = "submission_metadata.yml"
MOODLE = re.compile(r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_.+", re.DOTALL)
CANVAS = re.compile(r"(?P<name>[^_]+)_(?P<late>LATE_)?(?P<number>\d+)_(?P<submission>\d+)_(?P<file>.+)", re.DOTALL)
AGAIN = re.compile(r"(?P<name>.+?)(-(?P<time>\d+))?(?P<ending>\.\w+)", re.DOTALL)  # Canvas: student-1.py is newer


@dataclass(frozen=True)
class Found:
    """A hand-in of a folder. problem: why it cannot be run, for its student; remark: for the teacher."""

    hand_in: HandIn
    problem: str = ""
    remark: str = ""


@dataclass(frozen=True)
class _File:
    """A file before it is known how its student is to be called.

    key: by which students are told apart; name: of the student; more: what tells two of the same name apart.
    """

    path: Path
    key: tuple[str, ...]
    name: str
    more: str
    remark: str = ""


def hand_ins(folder: str | Path) -> list[Found]:
    """All hand-ins of a folder, in the order of their students' names, of which no two are the same.

    Of Canvas's x.py and x-1.py the newest is taken; a student who has several files otherwise has none that is graded,
    and neither has one without a script or notebook: `problem` says so. Raises NotADirectoryError where there is no
    folder, ValueError for one without hand-ins.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder: name the one with the files that were handed in")
    root = _unwrapped(folder)
    files = [*_files(root)]
    found: dict[tuple[str, ...], list[_File]] = defaultdict(list)
    for file in _whose(root, files):
        found[file.key].append(file)
    students = [_chosen(group) for group in found.values()]
    if not any(file.path.suffix.lower() in ENDINGS for group in found.values() for file in group):
        raise ValueError(f"{folder} has no hand-in: no .py or .ipynb file")
    names = _different([(file.name, file.more) for file, _ in students])
    hand = [
        Found(HandIn(name, file.path), problem, file.remark)
        for name, (file, problem) in zip(names, students, strict=True)
    ]
    return sorted(hand, key=lambda one: (one.hand_in.student.casefold(), one.hand_in.student))


# ---- files


def _unwrapped(folder: Path) -> Path:
    """The folder itself or, where it holds nothing but one folder that is no student's, that one."""
    inside = [path for path in _listed(folder) if not path.name.endswith(".yml")]
    if len(inside) == 1 and inside[0].is_dir() and _is_wrapper(inside[0]):
        return _unwrapped(inside[0])
    submitted = folder / "submitted"
    return submitted if submitted.is_dir() else folder


def _is_wrapper(folder: Path) -> bool:
    """Whether several hand-ins are in it, each at a place of its own."""
    inside = _listed(folder)
    return sum(path.is_dir() or path.suffix.lower() in ENDINGS for path in inside) > 1 and not _is_students(folder.name)


def _is_students(name: str) -> bool:
    return bool(MOODLE.fullmatch(name) or re.fullmatch(r"submission_\d+", name))


def _listed(folder: Path) -> list[Path]:
    """What is in a folder, but for what systems put there beside it."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name not in IGNORED)


def _files(folder: Path) -> Iterator[Path]:
    """All files of a folder and of those in it; links are not followed into other folders."""
    for path in _listed(folder):
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


# ---- whose they are


def _whose(root: Path, files: Sequence[Path]) -> Iterator[_File]:
    """The files with their students. Of plain files only scripts, notebooks and archives are hand-ins."""
    gradescope = _submitters(root / METADATA)
    by_folder = _folders_are_students(root, files)
    for path in files:
        first, *rest = path.relative_to(root).parts
        code = path.suffix.lower() in ENDINGS
        moodle, canvas = MOODLE.fullmatch(first), CANVAS.fullmatch(path.name)
        if first in gradescope and rest:
            yield _File(path, (first,), gradescope[first], first.removeprefix("submission_"))
        elif moodle:
            yield _File(path, (moodle["name"], moodle["number"]), moodle["name"], moodle["number"])
        elif canvas and not by_folder:
            late = "handed in late (Canvas)" if canvas["late"] else ""
            key = (canvas["name"], canvas["number"], *path.relative_to(root).parts[:-1])
            yield _File(path, key, canvas["name"], canvas["number"], late)
        elif rest and (by_folder or re.fullmatch(r"submission_\d+", first)):
            if first != METADATA:
                yield _File(path, (first,), first, "")
        elif code or path.suffix.lower() in PACKED:
            yield _File(path, (path.relative_to(root).as_posix(),), path.stem, "/".join([first, *rest][:-1]))


def _folders_are_students(root: Path, files: Iterable[Path]) -> bool:
    """Whether most folders hold the files of one student: one script or notebook, wherever in it, or none."""
    counts: dict[str, int] = defaultdict(int)
    for path in files:
        first, *rest = path.relative_to(root).parts
        if rest:
            counts[first] += path.suffix.lower() in ENDINGS
    single = sum(count <= 1 for count in counts.values())
    return bool(counts) and 2 * single >= len(counts)


def _submitters(path: Path) -> dict[str, str]:
    """The names of the students by the folder of their submission, as Gradescope's export lists them."""
    if not path.is_file():
        return {}
    students: dict[str, list[str]] = {}
    submission, depth = "", -1
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        bare, indent = line.strip(), len(line) - len(line.lstrip())
        if top := re.fullmatch(r"(submission_\d+):", line.rstrip()):
            submission, depth = top[1], -1
        elif bare == ":submitters:":
            depth = indent
        elif indent < depth or (indent == depth and not bare.startswith("-")):
            depth = -1
        elif depth >= 0 and submission and (name := re.fullmatch(r"(?:- )?\s*:name: (.+)", bare)):
            students.setdefault(submission, []).append(_unquoted(name[1].strip()))
    return {submission: " & ".join(names) for submission, names in students.items()}


def _unquoted(text: str) -> str:
    """A text of YAML without its quotes.

    >>> _unquoted("'O''Brien'"), _unquoted('"Zo\\u00eb"')
    ("O'Brien", 'Zoë')
    """
    if text.startswith("'") and text.endswith("'") and len(text) > 1:
        return text[1:-1].replace("''", "'")
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return text.strip('"')
    return text


def _chosen(files: Sequence[_File]) -> tuple[_File, str]:
    """The file of a student that is graded, and why it cannot be."""
    code = [file for file in files if file.path.suffix.lower() in ENDINGS]
    if not code:
        there = quoted(sorted(file.path.name for file in files))
        return files[0], f"You handed in {there}, and a .py or .ipynb file is asked for."
    newest = _newest(code)
    if len(newest) > 1:
        names = quoted(sorted(file.path.name for file in newest))
        return newest[0], f"You handed in several files, {names}, and only one can be graded: hand in one."
    path = newest[0].path
    if path.is_symlink() or not path.is_file():
        return newest[0], "What you handed in is a link, and no file."
    if path.stat().st_size > LARGEST:
        return newest[0], f"Your file is larger than {LARGEST // 10**6} MB: hand in code without data."
    return newest[0], ""


def _newest(files: Sequence[_File]) -> list[_File]:
    """The files without those of which Canvas has a newer one."""
    newest: dict[tuple[str, str], tuple[int, _File]] = {}
    for file in files:
        canvas = CANVAS.fullmatch(file.path.name)
        parts = AGAIN.fullmatch(canvas["file"]) if canvas else None
        key = (parts["name"], parts["ending"]) if parts else (str(file.path), "")
        time = int(parts["time"] or 0) if parts else 0
        if key not in newest or time > newest[key][0]:
            newest[key] = time, file
    return [file for _, file in newest.values()]


def _different(names: Sequence[tuple[str, str]]) -> list[str]:
    """Names of which no two are the same: with what tells them apart, and a number where nothing does."""
    alike = _counted(name for name, _ in names)
    longer = [f"{name} ({more})" if alike[_seen(name)] > 1 and more else name for name, more in names]
    taken: set[str] = set()
    different = []
    for name in longer:
        wanted, number = name, 1
        while _seen(wanted) in taken:
            number += 1
            wanted = f"{name} ({number})"
        taken.add(_seen(wanted))
        different.append(wanted)
    return different


def _seen(name: str) -> str:
    """What two names have in common that look the same on a page, in a terminal, or in a table."""
    return " ".join(visible(normalize("NFKC", os.fsencode(name).decode(errors="replace"))).split())


def _counted(names: Iterable[str]) -> Mapping[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[_seen(name)] += 1
    return counts
