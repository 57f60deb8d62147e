"""Programs as scripts of a page: a classic script has no modules, and several programs share their functions."""

from __future__ import annotations

from collections.abc import Mapping

EXPORT = "export function createStep("


def as_script(modules: Mapping[str, str]) -> str:
    """A script that defines `PROGRAMS`: the `createStep` of each module (`Program.javascript`), by its key.

    >>> print(as_script({"a": "export function createStep(){return 1}"}))
    const PROGRAMS = {};
    PROGRAMS["a"] = (() => {
    <BLANKLINE>
    return function createStep(){return 1}})();
    """
    return "const PROGRAMS = {};\n" + "\n".join(_entry(key, text) for key, text in modules.items())


def _entry(key: str, module: str) -> str:
    functions, factory = module.split(EXPORT)
    return f'PROGRAMS["{key}"] = (() => {{\n{functions}\nreturn function createStep({factory}}})();'
