"""The page of a class for its teacher: who has what, which mistakes how often, who shares one, what did not run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from unicodedata import normalize
from urllib.parse import quote

import numpy as np

from tinygrad_ce.assignments import Assignment
from tinygrad_ce.core import Array
from tinygrad_ce.grading.grades import UNNAMED
from tinygrad_ce.grading.marked import LONGEST_LINE, Marked, joined, line_of, points_text, standing
from tinygrad_ce.report.page import as_page
from tinygrad_ce.report.parts import (
    Link,
    List,
    Mark,
    Part,
    Phrase,
    Picture,
    Section,
    Sentence,
    Strong,
    Table,
    Term,
    Words,
)
from tinygrad_ce.report.words import cut, escaped, several, short
from tinygrad_ce.views.pages import Page

MOST_MISTAKES, MOST_STUDENTS, MOST_GROUPS = 25, 6, 25  # in a table, or in one of its rows
LONGEST_WORDS, LONGEST_NAME, LONGEST_PRINTED = 220, 60, 120  # letters
BARS = 10  # of the distribution, at most


def teacher_page(assignment: Assignment, marked: Sequence[Marked]) -> Page:
    """The class on one page, each name a link to its student's page, which `write_all` puts beside it.

    assignment: what was asked. It opens without a server and fetches nothing; its columns sort.

    >>> from tinygrad_ce.assignments import ready
    >>> "Every file ran." in teacher_page(ready("softmax_cross_entropy"), []).html
    True
    """
    links = dict(zip(map(id, marked), map(_link, marked, page_names(marked)), strict=True))
    possible = max((one.possible for one in marked), default=0.0)
    picture = Picture(_distribution([one.score for one in marked], possible).encode(), "the scores", "svg+xml")
    sections = [
        Section("Scores", [picture, Sentence("Students by points.", kind="soft")]),
        Section("The class", _class(list(assignment.points), marked, links)),
        _mistakes(marked, links),
        _shared(marked, links),
        _not_run(marked, links),
    ]
    html = as_page(f"{assignment.title}: the class", sections, [_figures(marked)], heading=assignment.title)
    return Page(html, "shows", "a graded class", "index.html")


def page_names(marked: Sequence[Marked]) -> list[str]:
    """File names of the students' pages, without an ending: letters, digits and - of their names, no two alike.

    >>> from pathlib import Path
    >>> from tinygrad_ce.grading.marked import HandIn
    >>> page_names([Marked(HandIn(name, Path("a.py")), {}) for name in ("Zoë M.", "../Bo", "bo", "CON", "?")])
    ['Zoë-M', 'Bo', 'bo-2', 'CON-2', 'student']
    """
    taken = {"index", "con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
    names = []
    for one in marked:
        letters = "".join(letter if letter.isalnum() else "-" for letter in normalize("NFC", one.hand_in.student))
        wanted = "-".join(filter(None, letters.split("-")))[:LONGEST_NAME] or "student"
        while len(wanted.encode()) > 3 * LONGEST_NAME:  # file names end at 255 bytes
            wanted = wanted[:-1]
        name, number = wanted, 1
        while name.casefold() in taken:
            number += 1
            name = f"{wanted}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _link(marked: Marked, page: str) -> Link:
    return Link(cut(marked.hand_in.student, LONGEST_NAME), f"{quote(page)}.html")


def _figures(marked: Sequence[Marked]) -> List:
    """The class in a few numbers."""
    scores = [one.score for one in marked]
    possible = points_text(max((one.possible for one in marked), default=0.0))
    full = sum(bool(one.possible) and one.score == one.possible for one in marked)
    figures = [(str(len(marked)), "hand-in" if len(marked) == 1 else "hand-ins")]
    if marked:
        figures += [
            (f"{points_text(median(scores))} of {possible}", "median"),
            (f"{points_text(round(sum(scores) / len(scores), 2))} of {possible}", "mean"),
            (str(full), "with full marks"),
            (str(sum(one.grade is None for one in marked)), "did not run"),
        ]
    return List([Phrase(Strong(number), f" {words}") for number, words in figures])


def _distribution(scores: Sequence[float], possible: float) -> str:
    """How many have how many points, as SVG: bars with their numbers."""
    whole = all(score == int(score) for score in scores) and possible == int(possible) and possible <= BARS
    edges = np.arange(possible + 2) - 0.5 if whole else np.linspace(0, possible or 1, BARS + 1)
    counts, _ = np.histogram(scores, edges)
    titles = [points_text(k) for k in range(len(counts))] if whole else [f"{a:.3g}–{b:.3g}" for a, b in pairwise(edges)]
    width, height, bars = 380, 136, ""
    step = width / len(counts)
    for k, (count, title) in enumerate(zip(counts, titles, strict=True)):
        left, middle, tall = k * step + 3, (k + 0.5) * step, 100 * count / max(counts.max(), 1)
        if count:
            bars += f'<rect x="{left:.1f}" y="{118 - tall:.1f}" width="{step - 6:.1f}" height="{tall:.1f}"/>'
            bars += f'<text x="{middle:.1f}" y="{114 - tall:.1f}">{count}</text>'
        bars += f'<text x="{middle:.1f}" y="132">{title}</text>'
    spoken = ", ".join(f"{title} points: {count}" for title, count in zip(titles, counts, strict=True) if count)
    label = escaped(f"How many reached how many points. {spoken or 'Nobody yet'}")
    line = f'<line x1="0" x2="{width}" y1="118.5" y2="118.5"/>'
    return (
        f'<svg class="distribution" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{bars}{line}</svg>'
    )


# ---- the class


def _class(names: list[str], marked: Sequence[Marked], links: Mapping[int, Link]) -> list[Part]:
    """A row for each student, a column for each value that is asked for."""
    rows = []
    for one in marked:
        verdicts = [_shown(standing(one.verdicts.get(name)), one.grade is not None) for name in names]
        remark = "did not run" if one.grade is None else cut(one.remark, 40)
        rows.append((links[id(one)], points_text(one.score), *verdicts, Words(remark)))
    right = [sum(standing(one.verdicts.get(name)).kind == "right" for one in marked) for name in names]
    middle = points_text(median(one.score for one in marked)) if marked else ""
    footer = ("median", middle, *(Words(f"{n} of {len(marked)} right") for n in right), "")
    header = ("student", "points", *names, "remark")
    sortable = frozenset(range(len(header) - 1))
    signs = "✓ right, ✗ wrong and by what, ↳ right for an own wrong one, – missing. A click on a heading sorts."
    table = Table(rows, header, frozenset({1}), label="the class", titled=True, footer=footer, sortable=sortable)
    return [Sentence(signs, kind="soft"), table]


def _shown(mark: Mark, ran: bool) -> Mark:
    """A verdict in a narrow column; of a file that did not run, its sign alone."""
    return Mark(mark.kind, cut(mark.word, 30) if ran else "")


# ---- mistakes


def _mistakes(marked: Sequence[Marked], links: Mapping[int, Link]) -> Section:
    """Every mistake in every value, the commonest first; what follows from another is none."""
    found: dict[tuple[str, str], list[Marked]] = {}
    for one in marked:
        for name, verdict in one.verdicts.items() if one.grade is not None else ():
            mark = standing(verdict)
            if mark.kind in ("wrong", "missing"):
                found.setdefault((name, mark.word), []).append(one)
    if not found:
        return Section("Mistakes", [Sentence("There are none in what ran.")])
    rows = []
    for (name, word), by in sorted(found.items(), key=lambda mistake: -len(mistake[1]))[:MOST_MISTAKES]:
        verdict, example = by[0].verdicts[name], _example(name, by)
        words = "not in what the function returns" if verdict is None else short(verdict.message, LONGEST_WORDS)
        said = [words, Term(example)] if example else [words]
        rows.append((Phrase(Term(name), f" {word}"), str(len(by)), joined(said, "\n"), _who(by, links)))
    header = ("mistake", "how often", "in words, and a line that has it", "who")
    table = Table(rows, header, frozenset({1}), label="mistakes", titled=True)
    rare = len(found) - MOST_MISTAKES
    more = [Sentence(f"And {several(rare, 'rarer one')}: see the students' pages.")] if rare > 0 else []
    return Section("Mistakes, the commonest first", [table, *more])


def _example(name: str, by: Sequence[Marked]) -> str:
    """The line of the first who has a mistake in which a line can be found."""
    for one in by[:MOST_STUDENTS]:
        source = one.hand_in.source()
        number = line_of(name, source)
        if number is not None:
            return source.splitlines()[number - 1].strip()[:LONGEST_LINE]
    return ""


def _who(marked: Sequence[Marked], links: Mapping[int, Link]) -> Phrase:
    """Links to some students, and how many there are besides."""
    more = len(marked) - MOST_STUDENTS
    return Phrase(joined(links[id(one)] for one in marked[:MOST_STUDENTS]), f" and {more} more" if more > 0 else "")


# ---- who shares one


def _shared(marked: Sequence[Marked], links: Mapping[int, Link]) -> Section:
    """Students with the same wrong numbers, or with the same code: what is unusual first."""
    groups: dict[tuple[Marked, ...], list[str]] = {}
    unusual = set()
    for what, rare, members in [*_same_code(marked), *_same_numbers(marked)]:
        groups.setdefault(tuple(members), []).append(what)
        unusual |= {tuple(members)} if rare else set()
    ranked = sorted(groups.items(), key=lambda group: (group[0] not in unusual, -len(group[1]), len(group[0])))
    rows = [
        (_who(members, links), str(len(members)), Words("; ".join(shared))) for members, shared in ranked[:MOST_GROUPS]
    ]
    if not rows:
        nobody = "No two have the same wrong numbers, or the same code."
        return Section("Who shares a mistake", [Sentence(nobody)])
    words = (
        "A usual mistake gives everybody the same wrong numbers: that alone says nothing about copying. "
        "The same code, or numbers that no usual mistake gives, are worth a talk: they stand first."
    )
    table = Table(rows, ("students", "how many", "what they share"), frozenset({1}), label="students")
    return Section("Who shares a mistake", [Sentence(words), table])


def _same_numbers(marked: Sequence[Marked]) -> Iterator[tuple[str, bool, list[Marked]]]:
    """Groups with the same wrong numbers in a value on the same arguments: in words, whether that is rare, and who."""
    found: dict[tuple[str, str, str, bytes], list[Marked]] = {}
    for one in marked:
        for name, evidence in one.evidence.items():
            shown = standing(one.verdicts.get(name))
            if shown.kind == "wrong" and np.any(evidence.yours):  # zeros are what students get to begin with
                key = (name, shown.word, evidence.case, _fingerprint(evidence.yours))
                found.setdefault(key, []).append(one)
    for (name, word, *_), members in found.items():
        if len(members) > 1:
            rare = word in UNNAMED
            known = "no usual mistake gives them" if rare else word
            yield f"the same wrong numbers in {name}: {known}", rare, members


def _fingerprint(array: Array) -> bytes:
    """The same for arrays that are alike to five digits: float32 and another order of sums change the rest."""
    numbers = "|".join(f"{value + 0.0:.4e}" for value in np.asarray(array, dtype=np.float64).ravel())
    return hashlib.sha256(f"{np.shape(array)} {numbers}".encode()).digest()


def _same_code(marked: Sequence[Marked]) -> Iterator[tuple[str, bool, list[Marked]]]:
    """Groups whose files differ in spaces and comments at most."""
    found: dict[str, list[Marked]] = {}
    for one in marked:
        lines = (line.partition("#")[0] for line in one.hand_in.source().splitlines())
        code = "".join("".join(lines).split())
        if code:
            found.setdefault(hashlib.sha256(code.encode(errors="replace")).hexdigest(), []).append(one)
    for members in found.values():
        if len(members) > 1:
            yield "the same code, but for spaces and comments", True, members


def _not_run(marked: Sequence[Marked], links: Mapping[int, Link]) -> Section:
    rows = [
        (
            Phrase(links[id(one)]),
            Words(cut(one.problem, LONGEST_WORDS)),
            joined(_for_the_teacher(one), "\n"),
            f"{one.seconds:.1f}",
        )
        for one in marked
        if one.grade is None
    ]
    header = ("student", "what the student reads", "for you", "seconds")
    table = Table(rows, header, frozenset({3}), label="what did not run")
    return Section("What did not run", [table] if rows else [Sentence("Every file ran.")])


def _for_the_teacher(one: Marked) -> Iterator[str]:
    if one.remark:
        yield Term(cut(one.remark, LONGEST_WORDS))
    if one.printed.strip():
        yield Phrase("it printed ", Term(cut(" ".join(one.printed.split()), LONGEST_PRINTED)))
