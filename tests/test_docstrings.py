"""What is public says what it is: one sentence, each parameter by its name, and an example that runs as a doctest."""

import inspect
import re

import pytest

import tinygrad_ce as tg
import tinygrad_ce.sklearn
from tinygrad_ce.core import Primitive

ROOMS = (tg, tg.assignments, tg.check, tg.data, tg.export, tg.losses, tg.nn, tg.ops, tg.optim, tg.train, tg.views)
ROOMS += (tinygrad_ce.sklearn,)


def names():
    for room in ROOMS:
        for name in room.__all__:
            value = getattr(room, name)
            if callable(value) and (
                inspect.isfunction(value) or inspect.isclass(value) or isinstance(value, Primitive)
            ):
                yield pytest.param(value, id=f"{room.__name__.removeprefix('tinygrad_ce.')}.{name}")


NAMES = [*names()]
# Exceptions and what is only ever handed to the user have no example: the function that gives them has one.
WITHOUT_EXAMPLE = {
    "NotFiniteError", "GradcheckError", "Mismatch", "Report", "TraceError", "Program", "LearningRates", "Loop",
    "Optimizer", "Primitive", "RowExplanation", "Assignment", "primitive",
}  # fmt: skip
# The gradients of other primitives, whose examples show them.
WITHOUT_EXAMPLE |= {"xent_grad", "soft_xent_grad", "sigmoid_xent_grad", "softmax_grad", "log_softmax_grad", "deviation"}
WITHOUT_EXAMPLE |= {"target_mass", "place_diagonal", "add_along_axis"}
WITHOUT_EXAMPLE |= {"take_hint", "unlock"}  # they need a file that somebody has written: to_script has the example
ARITHMETIC = {"add", "sub", "mul", "div", "neg"}  # read like the table of an alphabet; the engine is read in 600 lines


@pytest.mark.parametrize("value", NAMES)
def test_it_begins_with_one_sentence(value):
    first = (inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " ")
    assert re.match(r"\S.*[.?:)]( |$)", first), f"{value} begins with {first!r}"


@pytest.mark.parametrize("value", NAMES)
def test_it_has_an_example(value):
    name = getattr(value, "name", None) or value.__name__
    assert ">>>" in (inspect.getdoc(value) or "") or name in WITHOUT_EXAMPLE | ARITHMETIC


def described_with(value):
    """A docstring, and those of the functions beside it that it refers to: "otherwise as `mse`"."""
    text = inspect.getdoc(value) or ""
    beside = vars(inspect.getmodule(value))
    references = [beside[name] for name in re.findall(r"(?:as|as for|as in|see) `(\w+)`", text) if name in beside]
    return "\n".join([text, *(described_with(other) for other in references if other is not value)])


ELSEWHERE = {"Program", "MLPClassifier", "MLPRegressor"}  # made by `trace`; scikit-learn's own documentation has them


@pytest.mark.parametrize("value", [name for name in NAMES if not isinstance(name.values[0], Primitive)])
def test_it_names_its_parameters(value):
    if value.__name__ in ELSEWHERE or (inspect.isclass(value) and issubclass(value, Exception)):
        return
    text = described_with(value)
    parameters = inspect.signature(value).parameters.values()
    named = [x.name for x in parameters if x.kind not in (x.VAR_POSITIONAL, x.VAR_KEYWORD)]
    assert [name for name in named if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("value", [name for name in NAMES if inspect.isclass(name.values[0])])
def test_its_methods_and_properties_are_described(value):
    bare = [
        name
        for name, member in vars(value).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
        if not (inspect.getdoc(getattr(value, name)) or "").strip()
        if name not in ("forward", "update", "initial_state", "update_in_place")
    ]
    assert bare == []


def test_help_begins_with_what_one_needs():
    text = inspect.getdoc(tg)
    for name in ("Tensor", "nn", "losses", "optim", "Trainer", "data", "explain", "live", "exercise", "grade", "save"):
        assert re.search(rf"tg\.{name}\b", text), name
