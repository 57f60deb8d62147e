"""A class of made-up students for the tests of pages and results: graded by hand, not run in a process."""

from functools import cache
from pathlib import Path

import numpy as np

from tinygrad_ce.assignments import ready
from tinygrad_ce.assignments.recorded import recorded
from tinygrad_ce.exercises import exercise
from tinygrad_ce.grading.grades import Evidence, Grade
from tinygrad_ce.grading.marked import HandIn, Marked

HOSTILE = "<script>alert(1)</script>"
NAMES = """Zoë Müller|李小龍|Seán O'Brien|<script>alert(1)</script>|Ada Lovelace|Noor al-Khatib|Jürgen Ångström|
Ngozi Adichie|Şeyma Çelik|=HYPERLINK("http://x")|Anna-Lena von der Höhe zu Großenstein-Wittgenstein|Bo|Иван Петров|
محمد علي|Sofía Núñez|Tomáš Dvořák|../../etc/passwd|index|CON|Li Wei|Priya Raman|Kwame Nkrumah|Aoife Ní Bhriain|
João Gonçalves|Ελένη Παπαδοπούλου|Yuki 田中|Emma "Em" Stone|A & B|Mia|Leo|Lina|Max|Ida|Ole|Eva|Jan|Pia|Tom|Kim|Uma"""
STUDENTS = [name.replace("\n", "") for name in NAMES.split("|")]

RIGHT = {"d_z": "(p - one_hot) / len(y)", "d_W": "x.T @ d_z", "d_b": "d_z.sum(axis=0)"}
CHANGES = [
    {},
    {"d_z": "p - one_hot"},
    {"d_W": "x.T @ -d_z"},
    {"d_z": "(one_hot - p) / len(y)"},
    {"d_b": "d_z.mean(axis=0)"},
    {"d_W": "d_z.T @ x"},
    {"d_z": "p - one_hot", "d_b": "d_z.mean(axis=0)"},
    {"d_W": "np.zeros_like(W)"},
    {"d_b": "d_z.sum(axis=1)"},
    {"d_W": "np.sin(x.T @ d_z) + 1.0"},
    {"d_b": None},
    {},
]
PROBLEMS = [
    (
        "The file does not parse: line 3 has an opening bracket that is never closed.",
        "SyntaxError: '(' was never closed",
    ),
    ("Your function did not come to an end within 10 seconds: is there a loop without an end?", "killed after 10 s"),
    (
        "Your function stopped with an error in line 12: name 'dz' is not defined.",
        "NameError: name 'dz' is not defined",
    ),
    ("The file holds no function named gradients.", ""),
]


def source(change):
    """A hand-in as a student writes it."""
    lines = "\n".join(
        f"    {name} = {change.get(name, right)}" for name, right in RIGHT.items() if change.get(name, "") is not None
    )
    names = ", ".join(f'"{name}": {name}' for name in RIGHT if change.get(name, "") is not None)
    return f'''"""Softmax and cross-entropy, my solution."""

import numpy as np


def gradients(x, W, b, y):
    z = x @ W + b
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    one_hot = np.eye(W.shape[1])[y]
{lines}
    return {{{names}}}
'''


def marked(student, change, folder, number=0):
    """One hand-in, judged on the example."""
    path = Path(folder) / f"hand_in_{number}.py"
    path.write_text(source(change), encoding="utf-8")
    return Marked(HandIn(student, path), ready("softmax_cross_entropy").points, graded(source(change)), seconds=0.3)


@cache
def graded(text):
    """The grade of a text; of a large class, many have the same."""
    assignment = ready("softmax_cross_entropy")
    arguments = assignment.example()
    namespace = {}
    exec(text, namespace)
    answers = namespace["gradients"](**arguments)
    report = exercise(recorded(assignment.forward, arguments)).check(answers)
    truth = assignment.solution(**arguments)
    evidence = {
        verdict.name: Evidence("the example", arguments, np.asarray(answers[verdict.name]), truth[verdict.name])
        for verdict in report
        if not verdict.right
    }
    verdicts = {verdict.name: verdict for verdict in report}
    points = {name: points for name, points in assignment.points.items() if name in verdicts}
    return Grade(verdicts, points, evidence)


def not_run(student, problem, remark, folder, number=0):
    """A hand-in without a grade."""
    path = Path(folder) / f"hand_in_{number}.py"
    path.write_text("import numpy as np\n\ndef gradients(x, W, b, y):\n    while True:\n        print('hello')\n")
    points = ready("softmax_cross_entropy").points
    return Marked(HandIn(student, path), points, None, problem, remark, "hello\n" * 50, 10.0)


def whole_class(folder, n=40):
    """A class of n: most have some of it right, every ninth file does not run."""
    students = [STUDENTS[i] if i < len(STUDENTS) else f"Student {i}" for i in range(n)]
    return [
        not_run(student, *PROBLEMS[i // 9 % len(PROBLEMS)], folder, i)
        if i % 9 == 8
        else marked(student, CHANGES[i * 5 % len(CHANGES)], folder, i)
        for i, student in enumerate(students)
    ]
