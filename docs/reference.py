"""Two directives of the reference: a family of primitives with their lines, and the help of the command."""

from __future__ import annotations

import ast
import inspect
import os
from importlib import import_module
from typing import Any

from docstrings import as_markup
from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tinygrad_ce import ops
from tinygrad_ce.core import Primitive


class Primitives(SphinxDirective):
    """`.. primitives:: arithmetic`: each primitive of that family, with its body and its rules as they are written."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The primitives, in the order of the file."""
        family = import_module(f"tinygrad_ce.ops.{self.arguments[0]}")
        here = {name: value for name, value in vars(family).items() if name in ops.__all__}
        lines = [*as_markup(inspect.getdoc(family) or "", set()).split("\n"), ""]
        for name, value in here.items():
            functions = [value.body, *rules_of(value)] if isinstance(value, Primitive) else [value]
            if functions[0].__module__ == family.__name__ and functions[0].__name__ == name:
                lines += described(functions)
        return self.parse_text_to_nodes(StringList(lines, family.__file__))


def described(functions: list[Any]) -> list[str]:
    """A primitive, or a function made of some, as reStructuredText. functions: its body, and its rules."""
    body = functions[0]
    named = inspect.signature(body)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in named.parameters.values()]
    signature = inspect.Signature(bare)
    text = as_markup(inspect.getdoc(body) or "", {*signature.parameters})
    code = "\n\n".join(map(without_docstring, functions))
    lines = [*text.split("\n"), "", ".. code-block:: python", "", *(f"    {line}" for line in code.split("\n"))]
    head = [f".. py:function:: {body.__name__}{signature}", "    :module: tinygrad_ce.ops", ""]
    return [*head, *(f"    {line}" for line in lines), ""]


def without_docstring(function: Any) -> str:
    """The lines of a function. Its docstring stands above them already."""
    source = inspect.getsource(function).rstrip()
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.FunctionDef)
    lines = source.split("\n")
    if ast.get_docstring(tree) is not None:
        del lines[tree.body[0].lineno - 1 : tree.body[0].end_lineno]
    return "\n".join(lines)


def rules_of(primitive: Primitive) -> list[Any]:
    """The rules that are written for its inputs."""
    rules = list.__iter__(primitive.rules)  # the list of a starred argument goes on for ever otherwise
    return [rule for rule in rules if inspect.isfunction(rule)]


class Commands(SphinxDirective):
    """`.. commands::`: what `tinygrad-ce COMMAND --help` prints, for each command."""

    def run(self) -> list[nodes.Node]:
        """A section for each command."""
        os.environ["COLUMNS"] = os.environ["TERMINAL_WIDTH"] = "96"
        from typer.main import get_command
        from typer.testing import CliRunner

        from tinygrad_ce.cli import app

        sections: list[nodes.Node] = []
        for name in get_command(app).commands:  # type: ignore[attr-defined]
            help_text = CliRunner().invoke(app, [name, "--help"], prog_name="tinygrad-ce").stdout
            section = nodes.section("", nodes.title("", f"tinygrad-ce {name}"), ids=[f"command-{name}"])
            section += nodes.literal_block("", help_text.strip("\n"), language="text")
            sections.append(section)
        return sections


def add_short_anchors(app: Sphinx, document: nodes.document) -> None:
    """What is documented as tinygrad_ce.views.audit.Audit is found at #tinygrad_ce.Audit too.

    The pages of sources link back so, where one file has names of the package and names of a module.
    """
    for signature in document.findall(addnodes.desc_signature):
        anchor = f"tinygrad_ce.{signature.get('fullname')}"
        if signature.get("module") and anchor not in document.ids:
            document.ids[anchor] = signature
            signature["ids"].append(anchor)


def setup(app: Sphinx) -> dict[str, bool]:
    """For Sphinx: the names of the directives."""
    app.add_directive("primitives", Primitives)
    app.add_directive("commands", Commands)
    app.connect("doctree-read", add_short_anchors)
    return {"parallel_read_safe": True}
