"""The exercises that come with the package: their gradients against finite differences of their own forward passes."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.assignments import names, ready
from tinygrad_ce.assignments.reading import CATALOG

WITH_FORWARD = [name for name in names() if name != "momentum"]
STEP = 1e-5


class Shifting(ast.NodeTransformer):
    """Writes `z = shifted("z", value)` for `z = value`."""

    def visit_Assign(self, node):
        node.value = ast.Call(ast.Name("shifted", ast.Load()), [ast.Constant(node.targets[0].id), node.value], [])
        return node


def shiftable(problem):
    """The forward pass as a function of its arguments, with something added to one of its variables or arguments."""
    tree = ast.parse(problem.source)
    tree.body = [Shifting().visit(n) if getattr(n, "name", "") == "forward" else n for n in tree.body]
    shifts = {}
    space = {"shifted": lambda name, value: value + shifts[name] if name in shifts else value}
    exec(compile(ast.fix_missing_locations(tree), problem.name, "exec"), space)

    def forward(arguments, name, shift):
        shifts.clear()
        if name in arguments:
            return space["forward"](**{**arguments, name: arguments[name] + shift})
        shifts[name] = shift
        return space["forward"](**arguments)

    return forward


def slopes(forward, arguments, name, shape):
    """The gradient of a forward pass for one of its arguments or variables, by central differences."""
    gradient = np.zeros(shape)
    for index in np.ndindex(*shape):
        step = np.zeros(shape)
        step[index] = STEP
        gradient[index] = (forward(arguments, name, step) - forward(arguments, name, -step)) / (2 * STEP)
    return gradient


@pytest.mark.parametrize("sizes", ["the example", "one row", "all sizes alike"])
@pytest.mark.parametrize("name", WITH_FORWARD)
def test_the_solution_is_the_slope_of_forward(name, sizes):
    problem = ready(name)
    keywords = re.findall(r"(\w+)=\d+", problem.source[problem.source.index("def inputs") :].partition("\n")[0])
    other = {"the example": {}, "one row": {keywords[0]: 1}, "all sizes alike": dict.fromkeys(keywords, 3)}[sizes]
    arguments = problem.inputs(np.random.default_rng(1), **other)
    right = problem.right_values(arguments)
    assert [*right] == [*problem.points]
    for value, gradient in right.items():
        expected = slopes(shiftable(problem), arguments, value.removeprefix("d_"), np.shape(gradient))
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8, err_msg=value)


def test_momentum_is_two_steps_against_velocities():
    problem = ready("momentum")
    a = problem.example()
    weights, velocity, gradients = a["W"], a["v"], []

    def loss(arguments, name, shift):
        return np.square(a["x"] @ (arguments[name] + shift) - a["target"]).mean() / 2

    for _ in range(2):
        gradients.append(slopes(loss, {"W": weights}, "W", weights.shape))
        velocity = a["momentum"] * velocity + gradients[-1]
        weights = weights - a["rate"] * velocity
    for name, right in {"d_W": gradients[0], "v2": velocity, "W2": weights}.items():
        np.testing.assert_allclose(problem.right_values(a)[name], right, rtol=1e-8, err_msg=name)


@pytest.mark.parametrize("name", WITH_FORWARD)
def test_the_engine_agrees_on_everything_that_is_asked_for(name):
    problem = ready(name)
    assert problem.check() == [*problem.points]


@pytest.mark.parametrize("name", names())
def test_it_is_whole(name):
    problem = ready(name)
    assert len(problem.text) > 200
    assert {*problem.hints} <= {*problem.points}
    assert max(map(len, problem.hints.values())) >= 2
    assert 4 <= sum(problem.points.values()) <= 10


def test_every_file_of_the_catalog_is_listed():
    assert sorted(names()) == sorted(path.stem for path in CATALOG.glob("*.py") if path.stem != "__init__")
    readme = (CATALOG.parent / "README.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)[-len(names()) :] == names()


def test_the_bug_is_one_line():
    problem = ready("find_the_bug")
    starter, solution = problem.starter, problem.source[problem.source.index("def gradients") :]
    assert [line for line in starter.strip("\n").splitlines() if line not in solution.splitlines()] == [
        "    d_z1 = d_h * (1 - z1**2)"
    ]


def test_an_unknown_name_is_answered_with_the_nearest_and_the_list():
    with pytest.raises(ValueError, match=r"'batchnorm': did you mean 'batch_norm'\? there are one_neuron, "):
        ready("batchnorm")


def test_the_bug_as_it_is_handed_out_scores_nothing(tmp_path):
    problem = ready("find_the_bug")
    names = {}
    exec(problem.to_script(tmp_path / "student.py").read_text(), names)
    assert tg.grade(names["gradients"], problem).score == 0
    assert tg.grade(problem.solution, problem).score == 4
