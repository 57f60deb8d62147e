"""Programs as scripts of a page: a classic script has no modules, and several programs share their functions."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tinygrad_ce.program.javascript_loops_text import number_text

OWN = re.compile(r"\$(?:loop|update)\d+")  # functions that each module counts by itself
PIECE = re.compile(r"^(?=function |const [A-Z]|export )", re.MULTILINE)  # where something begins at the top level


def as_script(modules: Mapping[str, str]) -> str:
    """A script that defines `PROGRAMS`: the `createStep` of each module (`Program.javascript`), by its key.

    A function that several modules have is there once.

    >>> print(as_script({"a": "export function createStep(){return 1}"}))
    const PROGRAMS = (() => {
    return {
    "a": function createStep(){return 1}
    };
    })();
    """
    pieces: dict[str, str] = {}  # the names of functions, by their texts without them
    entries = list[str]()
    for key, module in modules.items():
        *functions, factory = PIECE.split(module)[1:]
        renamed: dict[str, str] = {}
        for function in functions:
            text = _renamed(function, renamed)
            name = OWN.match(text, len("function "))
            if name is not None:
                text = text.replace(name[0], "NAME$", 1)
                renamed[name[0]] = pieces.setdefault(text, f"${len(pieces)}")
            else:
                pieces.setdefault(text, "")
        entries.append(f"{number_text(key)}: {_renamed(factory, renamed).removeprefix('export ')}")
    functions = [text.replace("NAME$", name, 1) for text, name in pieces.items()]
    lines = ["const PROGRAMS = (() => {", *functions, "return {", ",\n".join(entries), "};", "})();"]
    return "\n".join(lines)


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return re.sub(r"\n +", "\n", OWN.sub(lambda found: names.get(found[0], found[0]), text.strip()))
