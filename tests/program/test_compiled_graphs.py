"""Random graphs of every kind of operation: loops against the ordinary step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program.loops_as_python import (
    BINARY_STEPS,
    UNARY,
    Graph,
    assert_close,
    by_numba,
    eager,
    examples,
    in_loops,
    jitted,
    loops_as_python,
    printed,
    recorded,
    run_graph,
)

import tinygrad_ce as tg
from tinygrad_ce.program import Program
from tinygrad_ce.program.passes import simplified
from tinygrad_ce.program.run import Compiled

rng = np.random.default_rng(5)
PLACES = st.integers(0, 30)
GRAPHS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), PLACES),
        st.tuples(st.sampled_from(sorted(BINARY_STEPS)), PLACES, PLACES),
    ),
    min_size=1,
    max_size=8,
)


def assert_same_graph(graph, seed, every_way, dtype=np.float64):
    exactness = 1e-9 if dtype == np.float64 else 1e-3
    theirs = Graph(graph, seed, dtype)
    expected = eager(theirs, 3)
    for way in every_way:
        ours = Graph(graph, seed, dtype)
        for mine, wanted in zip(way(ours, 3), expected, strict=True):
            assert_close(mine[0], wanted[0], exactness)
        for name, array in theirs.learnt().items():
            assert_close(ours.learnt()[name], array, exactness)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(graph=GRAPHS, seed=st.integers(0, 2**32 - 1))
def test_steps_on_random_graphs_are_the_same_in_every_way(graph, seed):
    assert_same_graph(graph, seed, [recorded, printed, in_loops])


@settings(deadline=None, max_examples=40, derandomize=True)
@given(graph=GRAPHS, seed=st.integers(0, 2**32 - 1))
def test_gradients_of_random_graphs_are_the_same_in_every_way(graph, seed):
    given = Graph(graph, seed)
    loss = run_graph(graph, given.inputs, *given.batches[0])
    expected = dict(zip((f"d_{x.name}" for x in given.inputs), tg.gradients(loss, given.inputs), strict=True))
    program, names = simplified(Program.of_loss(loss)), {}
    exec(program.text(exact=True), names)
    with loops_as_python():
        found = [program.run(*examples(program)), Compiled(program).step(*examples(program))]
    found.append(names["step"](*examples(program)))
    for answers in (dict(zip(program.outputs, x, strict=True)) for x in found):
        assert_close(answers["loss"], loss.data, 1e-9)
        for name, gradient in expected.items():
            assert_close(answers.get(name, np.zeros_like(gradient)), gradient, 1e-9)


EVERYTHING = [(name, k) for k, name in enumerate(sorted(UNARY.keys() - {"max", "min"}))]  # for these, see below
EVERYTHING += [(name, 3 * k, 5 * k + 1) for k, name in enumerate(sorted(BINARY_STEPS))]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_graph_of_half_of_everything_compiles(dtype):
    graph = EVERYTHING[::2] if dtype == np.float64 else EVERYTHING[1::2]
    assert_same_graph(graph, 3, [recorded, printed, in_loops, by_numba], dtype)


@jitted
def test_the_largest_element_gets_its_gradient_where_it_is_computed_again():
    class Largest(Graph):
        def step(self, x, *_):
            self.optimizer.zero_grad()
            h = self.inputs[2] * 1.7
            loss = np.max(h + x, axis=1).sum() + (h**2).sum()
            loss.backward()
            self.optimizer.step()
            return (loss,)

    for seed in range(5):
        ours, theirs = Largest([], seed), Largest([], seed)
        by_numba(ours, 1)
        eager(theirs, 1)
        assert_close(ours.learnt()["p2"], theirs.learnt()["p2"], 1e-9)
