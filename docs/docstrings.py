"""Docstrings of this package as Sphinx reads them: "name: what it is." becomes a field, and so does "Raises X if ...".

The docstrings are plain sentences, to be read in a terminal. What is in backticks is code, and the rest is no markup.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from sphinx.application import Sphinx

from tinygrad_ce import missing_names

NAMES = r"\*{0,2}[A-Za-z_]\w*(?:(?:, | and )\*{0,2}[A-Za-z_]\w*)*"
ERROR = r"[A-Z]\w*(?:Error|Warning)"
ERRORS = re.compile(rf"(?:^Raises |[,;] (?:and )?)({ERROR}(?:(?:, and |, | and | or ){ERROR})*) ?")
# Where a field may begin (after the end of a sentence, or on a line of its own), and where prose may go on after one.
BORDER = re.compile(rf"(?:^|(?<=[.?!)] )|(?<=\n))(?={NAMES}:[ \n]|Raises {ERROR})|(?<=[.)]\n)(?=[A-Z`])")

ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[~?typing\.Any\]\]")


def fields_of(text: str, parameters: set[str]) -> tuple[str, list[str]]:
    """A paragraph without its fields, and the fields. parameters: the names that are arguments."""
    prose, fields = [], []
    for piece in BORDER.split(text):
        names, colon, described = [*re.split(r"(:\s)", piece, maxsplit=1), "", ""][:3]
        words = re.split(", | and ", names.replace("*", ""))
        at_start = not (prose or fields) or piece_begins_a_line(text, piece)
        if colon and {*words} & parameters:
            # One field for each: of "a, b" Sphinx would take the first word for a type.
            fields += [f":param {markup(name)}: {one_line(described)}" for name in re.split(", | and ", names)]
        elif (
            colon
            and (at_start or "".join(fields[-1:]).startswith(":ivar "))
            and all(word.isidentifier() and word[0].islower() for word in words)
        ):
            fields += [f":ivar {name}: {one_line(described)}" for name in words]
        elif re.match(f"Raises {ERROR}", piece):
            fields += [f":raises {errors}: {one_line(when)}" for errors, when in raised(piece)]
        elif fields and not at_start:
            fields[-1] += " " + one_line(piece)
        else:
            prose.append(markup(piece))
    return "".join(prose), fields


def piece_begins_a_line(text: str, piece: str) -> bool:
    """Whether a piece of a text stands at the beginning of one of its lines."""
    return bool(piece) and ("\n" + piece) in text


def raised(sentence: str) -> list[tuple[str, str]]:
    """(errors, when) of "Raises XError if this, YError for that."."""
    text = " ".join(sentence.split())
    matches = [*ERRORS.finditer(text)]
    ends = [*(match.start() for match in matches[1:]), len(text)]
    errors = [", ".join(re.findall(ERROR, match[1])) for match in matches]
    return [(error, text[m.end() : end].lstrip(", ")) for error, m, end in zip(errors, matches, ends, strict=True)]


def one_line(text: str) -> str:
    """The text of a field: markup, and no line breaks."""
    return markup(" ".join(text.split()))


def markup(text: str) -> str:
    """The text with its code in double backticks, and nothing else that reStructuredText would take for markup."""
    parts = re.split(r"`+([^`]+)`+", text)
    for i, part in enumerate(parts):
        escaped = re.sub(r"([*|\\]|_\b)", r"\\\1", part)
        after_code = i > 0 and part[:1].isalnum()  # `Tensor`s
        parts[i] = f"``{part}``" if i % 2 else ("\\ " if after_code else "") + escaped
    return "".join(parts)


def as_markup(text: str, parameters: set[str]) -> str:
    """A docstring as reStructuredText: what it says, then its fields, then its examples and sources."""
    before, fields, after = [], [], []
    for block in re.split(r"\n{2,}", text.strip("\n")):
        if block.lstrip().startswith(">>>"):
            after.append(block)
        elif re.search(r"^ +\S", block, re.MULTILINE):  # what is set in, a table or some code, stays as it stands
            (after if after else before).append("::\n\n" + re.sub("^", "    ", block, flags=re.MULTILINE))
        else:
            prose, found = fields_of(block, parameters)
            fields += found
            (after if after else before).append(prose)
    return "\n\n".join(part for part in [*before, "\n".join(fields), *after] if part.strip())


def process(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """For autodoc: the lines of a docstring, changed in place."""
    try:
        parameters = {*inspect.signature(value).parameters}
    except (TypeError, ValueError):
        parameters = set()
    lines[:] = [*as_markup("\n".join(lines), parameters).split("\n"), ""]


def without_any(app: Sphinx, what: str, name: str, value: Any, options: Any, signature: str | None, result: str) -> Any:
    """For autodoc: a signature without what says nothing: `Any`, and the numbers of axes of arrays.

    A default that is made anew for each object has no text that Python can parse: it is `...`.
    """
    if signature is None:
        return None
    signature = ARRAY.sub("numpy.ndarray", signature.replace("<factory>", "..."))
    result = ARRAY.sub("numpy.ndarray", result)
    return re.sub(r": (~?typing\.)?Any(?=[,)= ])", "", signature), None if result.endswith("Any") else result


def skip(app: Sphinx, what: str, name: str, value: Any, skipped: bool, options: Any) -> bool | None:
    """For autodoc: what is left out.

    That is what only says what a name of other frameworks is called here, and what a class has from scikit-learn,
    whose docstrings are in another markup.
    """
    inherited = str(getattr(value, "__module__", "")).startswith("sklearn.")
    return True if inherited or type(value).__module__ == missing_names.__name__ else None


def setup(app: Sphinx) -> dict[str, bool]:
    """For Sphinx: what is done with each docstring and each signature."""
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", without_any)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
