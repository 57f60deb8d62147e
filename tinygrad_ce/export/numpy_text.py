"""A model as a file of NumPy, with its weights beside it: readable, and without tinygrad_ce."""

from __future__ import annotations

import re
import runpy
import tempfile
import zipfile
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.disk import whole_file
from tinygrad_ce.export.forward import Forward, forward_of, refuse_others
from tinygrad_ce.program.numpy_text import as_numpy
from tinygrad_ce.report.words import visible

HEAD = '''\
"""forward(x) computes what a network has learnt, with NumPy only. Its weights are in the .npz file beside this one."""

# Written by tinygrad_ce from
{described}

from pathlib import Path
'''
FOOT = '''


with np.load(Path(__file__).with_suffix(".npz")) as file:
    WEIGHTS = {{name: file[name] for name in file}}


def forward({arguments}):
    """{described}"""
{checks}
    return {answer}
'''
CHECK = """\
    {name} = np.asarray({name}).astype(np.{dtype}, casting="same_kind", copy=False)
    if {name}.ndim != {ndim} or {name}.shape[1:] != {shape}:
        raise ValueError(f"{name} has shape {{{name}.shape}}, and must have {words}")"""
WIDTH = 116  # characters of a line of the comment
NUMBER = re.compile(r"\d+")


def numpy(model: Any, path: str | Path, example: Any = None) -> None:
    """Write a model as one Python file that needs NumPy only, with its weights in an .npz file beside it.

    model: a Module, a Trainer, or what `tg.load` gave. path: of the file, which ends in .py. example: some rows as the
    model takes them (a tuple or dict of arrays for several inputs); not needed where the first layer says how long
    rows are. The file defines `forward(x)` for any number of rows, in evaluation mode and in the dtype of the
    parameters; the two files are run, and compared with the model, before they are written.
    Raises ValueError and TypeError for an example or path that does not fit, TraceError for a model that no program can
    hold (an `if` on values), OSError for a folder that is not there.

    >>> numpy(Sequential(Dense(2, 3), Softmax()), "/nowhere/model.py")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/model.npz'
    """
    path = Path(path)
    if path.suffix != ".py":
        raise ValueError(f"export.numpy: the path {str(path)!r} must end in .py: its weights get the ending .npz")
    forward = forward_of("export.numpy", model, example)
    text = text_of(forward, getattr(model, "preparation", None))
    _compare(text, forward)
    with whole_file(path.with_suffix(".npz")) as weights, whole_file(path) as draft:  # both are new, or neither
        _save_arrays(weights, forward.weights)
        draft.write_text(text, encoding="utf-8")


def text_of(forward: Forward, preparation: Any = None) -> str:
    """The Python file of a forward pass. preparation: how rows of a table became its input, for a comment."""
    described = forward.description
    if preparation is not None:
        described += f"\nWhat rows of a table must have gone through before:\n{preparation.summary()}"
    lines = (part for line in described.splitlines() for part in wrap(visible(line), WIDTH) or [""])
    comment = "\n".join(f"# {line}".rstrip() for line in lines)
    program, wider = (as_numpy(p, exact=True, name="network") for p in (forward.program, forward.wider))
    checks = [
        CHECK.format(name=name, dtype=dtype.name, ndim=len(shape), shape=shape[1:], words=_shape(shape))
        for name, (shape, dtype) in forward.inputs.items()
    ]
    arguments = ", ".join(forward.inputs)
    answer = f"network({arguments}, **WEIGHTS)"
    if forward.keys:
        answer = f"dict(zip({list(forward.keys)}, {answer}))"
    takes, gives = (
        ", ".join(f"{name} {_shape(shape)}" for name, (shape, _) in named.items())
        for named in (forward.inputs, forward.outputs)
    )
    head = HEAD.format(described=comment)
    foot = FOOT.format(
        arguments=arguments, described=f"From {takes} to {gives}.", checks="\n".join(checks), answer=answer
    )
    return head + _with_open_rows(program, wider) + foot


def _shape(shape: tuple[Any, ...]) -> str:
    return f"({', '.join('?' if n is None else str(n) for n in shape)}{',' if len(shape) == 1 else ''})"


def _with_open_rows(text: str, wider: str) -> str:
    """The text with N in its comments for the number of rows, which differs from that of the wider program."""

    def opened(line: str, other: str) -> str:
        code, mark, comment = line.rpartition("  # ")
        others = iter(NUMBER.findall(other.rpartition("  # ")[2]))
        return code + mark + NUMBER.sub(lambda found: found[0] if found[0] == next(others) else "N", comment)

    pairs = zip_longest(text.splitlines(), wider.splitlines(), fillvalue="")
    return "\n".join(line if line == other or "  # " not in line else opened(line, other) for line, other in pairs)


def _save_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Write an .npz file, whose arrays may have any names: np.savez takes none that is called `file`."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _compare(text: str, forward: Forward) -> None:
    """ValueError if the file does not run by itself, or gives other numbers than the model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.py")
        path.write_text(text, encoding="utf-8")
        _save_arrays(path.with_suffix(".npz"), forward.weights)
        try:
            answer = runpy.run_path(str(path))["forward"](*forward.examples.values())
        except Exception as error:  # whatever a function of the user's raises where what it needs is not there
            raise ValueError(
                f"export.numpy: the printed forward does not run by itself: {type(error).__name__}: {error}: a "
                "primitive of your own may use only NumPy and what stands in its file"
            ) from error
    answers = answer.values() if forward.keys else answer if forward.several else [answer]
    refuse_others("export.numpy", "the printed forward", forward, dict(zip(forward.answers, answers, strict=True)))
