"""Loops of a module that differ in nothing but their arrays and sizes become calls of one function."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LETTERS = "abcdefghrstuwxyz"  # but i to q, which the loops count with, and v: v1, v2 are the locals of a loop
LOOP, END = "  LOOP$", "  END$"  # the lines around a loop; no name of Python has a `$`
VARYING = re.compile(r'"(?:[^"\\]|\\.)*"|(?<=[<] )\d+(?=;)|(?<![\w.$])\$?[^\W\d]\w*\$?')  # a text, a length, a name


@dataclass(frozen=True)
class Draft:
    """The text of a factory, with marks around its loops, before it is known which numbers in it are sizes.

    variables: its arrays, and the numbers of the step. of_stages: the locals of its stages, and of their loops.
    calls: what it calls of kernels.js. numbers: the pattern of what each step is given besides arrays.
    """

    text: str
    variables: set[str]
    of_stages: set[str]
    calls: set[str]
    numbers: str = ""


class SharedLoops:
    """Loops that differ in nothing but their arrays and lengths: they become calls of one function.

    least: how many of a kind, so that they become one.
    """

    def __init__(self, drafts: Iterable[Draft], least: int) -> None:
        self.least = least
        self.count = Counter(self.form(loop, draft)[0] for draft in drafts for loop in loops_of(draft.text))
        self.names: dict[str, str] = {}
        self.functions: list[str] = []  # the lines of those that are called

    def form(self, lines: Sequence[str], draft: Draft) -> tuple[str, dict[str, str]]:
        """A loop with letters for what differs, and what they stand for."""
        inner = {name: f"v{k + 1}" for k, name in enumerate(self.inner(lines))}
        letters: dict[str, str] = {}

        def letter(found: re.Match[str]) -> str:
            word = found[0]
            if word.startswith('"'):
                return word
            if word in draft.variables or word[0].isdigit() or word.startswith("$") or word == "batch":
                return letters.setdefault(word, argument(len(letters)))
            return inner.get(word, word)

        return VARYING.sub(letter, "\n".join(lines)), letters

    def inner(self, lines: Sequence[str]) -> dict[str, None]:
        """The locals of a loop."""
        return {found[1]: None for line in lines if (found := re.match(r" *(?:const|let) (\w+) =", line))}

    def lines(self, lines: Sequence[str], draft: Draft) -> Sequence[str]:
        """The loop as it is written in its stage: where it stands if it needs a local of its stage."""
        form, letters = self.form(lines, draft)
        outer = draft.of_stages - {*self.inner(lines)}
        if self.count[form] < self.least or len(lines) < 3 or outer & {*re.findall(r"\w+", " ".join(lines))}:
            return lines
        if form not in self.names:
            self.names[form] = f"$loop{len(self.names) + 1}"
            self.functions += [f"function {self.names[form]}({', '.join(letters.values())}) {{", form, "}"]
        return [f"  {self.names[form]}({', '.join(letters)});"]

    def text(self, draft: Draft) -> str:
        """The factory with calls where its loops are those of others."""
        lines, loop = list[str](), None
        for line in draft.text.split("\n"):
            if line == LOOP:
                loop = list[str]()
            elif line == END and loop is not None:
                lines += self.lines(loop, draft)
                loop = None
            else:
                (lines if loop is None else loop).append(line)
        return "\n".join(lines)


def argument(number: int) -> str:
    """The name of an argument of a shared loop: a, b ... z, a1, b1.

    >>> [argument(number) for number in (0, 15, 16)]
    ['a', 'z', 'a1']
    """
    return LETTERS[number % len(LETTERS)] + str(number // len(LETTERS) or "")


def loops_of(text: str) -> list[list[str]]:
    """The lines of each marked loop."""
    return [part.split(f"\n{END}\n")[0].split("\n") for part in text.split(f"{LOOP}\n")[1:]]
