"""Sixty made-up hand-ins of one exercise, softmax and cross-entropy, and what has to come of each of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

SECONDS, PLENTY = 3.0, 60.0  # for what never ends, and for all else: a slow machine costs nobody a point
MEGABYTES = 400.0
RIGHT = """import numpy as np


def gradients(x, W, b, y):
    z = x @ W + b
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    one_hot = np.eye(W.shape[1])[y]
    d_z = (p - one_hot) / len(y)
    d_W = x.T @ d_z
    d_b = d_z.sum(axis=0)
    return {"d_z": d_z, "d_W": d_W, "d_b": d_b}
"""
VALUES = {"d_z": 2, "d_W": 1, "d_b": 1}
FOLLOWS = ("d_W", "d_b")  # what is right for a wrong d_z


@dataclass(frozen=True)
class Sample:
    """A hand-in. mistakes: by value, what is wrong, or "" for any mistake; problem: why there is no grade at all.

    In the content, <here> stands for the folder of the class. remark: what the teacher reads.
    """

    student: str
    content: str | bytes
    mistakes: dict[str, str] = field(default_factory=dict)
    follows: tuple[str, ...] = ()
    problem: str = ""
    remark: str = ""
    note: str = ""
    ending: str = ".py"

    @property
    def score(self):
        """The points that it deserves: a mistake costs once."""
        return 0 if self.problem else sum(worth for name, worth in VALUES.items() if name not in self.mistakes)

    def write(self, folder: Path) -> None:
        """Put the file where it was handed in."""
        content = self.content.encode() if isinstance(self.content, str) else self.content
        (folder / f"{self.student}{self.ending}").write_bytes(content.replace(b"<here>", str(folder).encode()))


def changed(old, new):
    """The right file with one place changed."""
    assert RIGHT.count(old) == 1
    return RIGHT.replace(old, new)


def first(lines):
    """The right file, whose function begins with these lines."""
    inside = "".join(f"    {line}\n" for line in lines.splitlines())
    return changed("    z = x @ W + b\n", f"{inside}    z = x @ W + b\n")


def above(lines):
    """The right file below these lines."""
    return f"{lines}\n{RIGHT}"


def below(lines):
    """The right file above these lines."""
    return f"{RIGHT}\n{lines}\n"


def notebook(*cells):
    """A notebook of these cells of code, with text between them."""
    text = {"cell_type": "markdown", "metadata": {}, "source": ["# an answer"]}
    code = [
        {"cell_type": "code", "metadata": {}, "source": cell.splitlines(keepends=True), "outputs": []} for cell in cells
    ]
    return json.dumps({"cells": [text, *code], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


IN_LOOPS = """    n, classes = len(y), W.shape[1]
    d_z = np.zeros((n, classes))
    for i in range(n):
        for j in range(classes):
            d_z[i, j] = (p[i, j] - (y[i] == j)) / n
"""

IN_FLOAT32 = """in_float64 = gradients


def gradients(x, W, b, y):
    found = in_float64(x.astype("f"), W.astype("f"), b.astype("f"), y)
    return {name: value.astype("f") for name, value in found.items()}
"""

THREAD = "import threading\ndef forever():\n    while True: pass\nthreading.Thread(target=forever).start()"
WRITES = """first = gradients


def gradients(x, W, b, y):
    found = first(x, W, b, y)
    x += 1
    return found
"""

RIGHT_ONES = [
    Sample("right", RIGHT),
    Sample("right in loops", changed("    d_z = (p - one_hot) / len(y)\n", IN_LOOPS)),
    Sample("right in float32", below(IN_FLOAT32)),
    Sample("right as lists", changed('"d_b": d_b}', '"d_b": d_b.tolist()}')),
    Sample("right as a tuple", changed('{"d_z": d_z, "d_W": d_W, "d_b": d_b}', "d_z, d_W, d_b")),
    Sample("right by other names", changed('"d_W": d_W', '"dW": d_W')),
    Sample("Windows", RIGHT.replace("\n", "\r\n")),
    Sample("byte order mark", b"\xef\xbb\xbf" + RIGHT.encode()),
    Sample("Latin-1", above("# für Zoë").encode("latin-1"), remark="no UTF-8"),
    Sample("UTF-16", RIGHT.encode("utf-16"), remark="UTF-16"),
    Sample("magics", notebook("%matplotlib inline\nfiles = !ls", RIGHT), ending=".ipynb", remark="inline; files = !ls"),
    Sample("a cell of bash", notebook("%%bash\nrm -rf <here>", RIGHT), ending=".ipynb", remark="was skipped"),
    Sample("a cell fails", notebook("1 / 0", RIGHT), ending=".ipynb", remark="ZeroDivisionError"),
    Sample("fails at the end", below("gradients(1, 2, 3, 4)"), remark="TypeError"),
    Sample("asks for input", below("name = input()"), remark="EOFError"),
    Sample("prints megabytes", first("for _ in range(20): print('x' * 10**5)")),
    Sample("writes inside", first("np.save('mine.npy', x)\nx = np.load('mine.npy')")),
    Sample("endless thread", above(THREAD)),
    Sample("writes into x", below(WRITES), note="writes into its arguments"),
]  # fmt: skip

D_Z, D_W, D_B = "(p - one_hot) / len(y)", "x.T @ d_z", "d_z.sum(axis=0)"
WRONG_ONES = [
    Sample("no mean", changed(D_Z, "p - one_hot"), {"d_z": "mean"}, FOLLOWS),
    Sample("sign", changed(D_Z, "(one_hot - p) / len(y)"), {"d_z": "sign"}, FOLLOWS),
    Sample("no target", changed(D_Z, "p / len(y)"), {"d_z": ""}, FOLLOWS),
    Sample("mean of classes", changed(D_Z, "(p - one_hot) / W.shape[1]"), {"d_z": ""}, FOLLOWS),
    Sample("six rows", changed(D_Z, "(p - one_hot) / 6"), {"d_z": ""}, FOLLOWS),
    Sample("not normalised", changed("e / e.sum(axis=1, keepdims=True)", "e"), {"d_z": ""}, FOLLOWS),
    Sample("labels", changed("[y]", "[(y + 1) % W.shape[1]]"), {"d_z": "labels"}, FOLLOWS),
    Sample("not finite", changed(D_Z, "(p - one_hot) / 0"), {"d_z": "not finite"}, FOLLOWS),
    Sample("overflow", changed(" - z.max(axis=1, keepdims=True)", ""), {"d_z": "not finite"}, FOLLOWS),
    Sample("fails on one row", changed(D_B, "d_z.squeeze().sum(axis=0) * np.ones(W.shape[1])"), {"d_b": ""}),
    Sample("rounded", changed(D_W, "np.round(x.T @ d_z, 3)"), {"d_W": "nearly"}),
    Sample("transposed", changed(D_W, "d_z.T @ x"), {"d_W": ""}),
    Sample("mean twice", changed(D_W, "x.T @ d_z / len(y)"), {"d_W": "mean twice"}),
    Sample("zeros", changed(D_W, "np.zeros_like(W)"), {"d_W": "zeros"}),
    Sample("averaged", changed(D_B, "d_z.mean(axis=0)"), {"d_b": ""}),
    Sample("wrong axis", changed(D_B, "d_z.sum(axis=1)"), {"d_b": "wrong axis"}),
    Sample("a dimension more", changed(D_B, "d_z.sum(axis=0, keepdims=True)"), {"d_b": "shape"}),
    Sample("not summed", changed(D_B, "d_z"), {"d_b": "not summed"}),
    Sample("last row", changed(D_B, "d_z[-1]"), {"d_b": ""}),
    Sample("nonsense", changed(D_B, "d_z.sum(axis=0) ** 2 + 1"), {"d_b": "unknown"}),
    Sample("a view", changed(D_B, "W[0]"), {"d_b": ""}, note="view into W"),
    Sample("d_b left out", changed(', "d_b": d_b', ""), {"d_b": "missing"}),
    Sample("d_b is None", changed(D_B, "None"), {"d_b": "missing"}),
    Sample("a text", changed(D_B, "'sum'"), {"d_b": "no numbers"}),
    Sample("complex", changed(D_B, "d_z.sum(axis=0) + 0j"), {"d_b": "no numbers"}),
    Sample("returns None", changed("    return", "    found ="), dict.fromkeys(VALUES, "missing")),
    Sample("returns a text", changed('return {"d_z": d_z, "d_W": d_W, "d_b": d_b}', "return 'd_z'"),
           dict.fromkeys(VALUES, "missing")),
]  # fmt: skip

OURS = (
    "import tinygrad_ce as tg\nW = tg.Tensor(W, requires_grad=True)\n(x @ W).sum().backward()\nreturn {'d_W': W.grad}"
)
CATCHES = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
BOMB = "import os, subprocess, sys\nwhile True: subprocess.Popen([sys.executable, '-c', 'while True: pass'])"
FAILING_ONES = [
    Sample("empty", "", problem="Your file is empty"),
    Sample("endless", first("while True: pass"), problem="Your function took longer than 3 seconds"),
    Sample("endless above", above("while True: print('x')"), problem="Your file took longer than 3 seconds"),
    Sample("sleeps", first("import time; time.sleep(1000)"), problem="longer than 3 seconds"),
    Sample("catches everything", first(CATCHES), problem="longer than 3 seconds"),
    Sample("crashes", changed("x @ W + b", "x @ b @ W"), problem="Your function stops with ValueError: matmul"),
    Sample("exits", first("import os; os._exit(0)"), problem="Your function's process ended in the middle"),
    Sample("leaves", above("import sys; sys.exit()"), problem="Your file stops with SystemExit"),
    Sample("segfault", first("import ctypes; ctypes.string_at(0)"), problem="ended in the middle"),
    Sample("ten gigabytes", first("np.ones(10**10 // 8)"), problem="Your function needs more memory"),
    Sample("recursion", first("return gradients(x, W, b, y)"), problem="Your function calls itself without end"),
    Sample("bomb", first(BOMB), problem="starts or ends another process", remark="subprocess.Popen"),
    Sample("forks", first("import os\nwhile True: os.fork()"), problem="another process", remark="os.fork"),
    Sample("kills", first("import os; os.kill(os.getppid(), 9)"), problem="another process"),
    Sample("writes outside", first("open('<here>/right.py', 'w').write('mine')"), problem="it writes into"),
    Sample("removes", first("import os; os.remove('<here>/right.py')"), problem="it changes"),
    Sample("network", first("import socket; socket.create_connection(('127.0.0.1', 9))"), problem="the network"),
    Sample("reads others", first("return eval(open('<here>/right.py').read())"), problem="sees its own folder only"),
    Sample("lists others", first("import os; os.listdir('<here>')"), problem="sees its own folder only"),
    Sample("by our engine", first(OURS), problem="it imports tinygrad_ce: gradients are to be computed by hand"),
    Sample("by an engine", above("import torch"), problem="it imports torch: gradients are to be computed by hand"),
    Sample("syntax", changed("len(y)\n", "len(y\n"), problem="Your file is no Python: '(' was never closed (line 9"),
    Sample("null bytes", RIGHT.encode() + b"\0", problem="Your file is no Python"),
    Sample("import", above("import numpie as np"), problem="No module named 'numpie' (line 1: import numpie as np)"),
    Sample("no function", "x = 1", problem="no function gradients"),
    Sample("misnamed", RIGHT.replace("gradients", "gradient_s"), problem="is gradient_s meant?"),
    Sample("no notebook", "print('hello')", problem="no notebook", ending=".ipynb"),
    Sample("other arguments", changed("x, W, b, y", "data, labels, W, b, y"), problem="no argument"),
]  # fmt: skip
SAMPLES = [*RIGHT_ONES, *WRONG_ONES, *FAILING_ONES]
ENDLESS = [sample for sample in SAMPLES if "longer than" in sample.problem]
ORDINARY = [sample for sample in SAMPLES if sample not in ENDLESS]
