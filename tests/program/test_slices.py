"""A recorded graph as JavaScript that keeps every value, gradient and share: each equals the engine's."""

import numpy as np
import pytest
from program.in_node import job, needs_node, run_in_node
from views.page.losses import diamond, many_operations, network_of_digits, peculiar, shared_maps, textbook, wanted

import tinygrad_ce as tg
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.program import CannotLower, Program
from tinygrad_ce.program.slices import javascript_keeping


def graphs():
    with np.errstate(all="ignore"):
        losses = {"textbook": textbook()[0], "diamond": diamond(), "digits": network_of_digits(), "maps": shared_maps()}
        losses |= {"many operations": many_operations(400), **peculiar()}
        return {name: Graph(loss, "a test") for name, loss in losses.items()}


def everything(graph):
    """Every result, gradient and share."""
    results = [node.instruction.result for node in graph.nodes if node.instruction is not None]
    gradients = [node.derivative for node in graph.nodes if node.derivative is not None]
    return [*results, *gradients, *(edge.rule[1] for edge in graph.edges if edge.rule is not None)]


@needs_node
def test_every_value_gradient_and_share_is_kept_and_equals_the_engines(tmp_path):
    found = graphs()
    jobs = []
    for graph in found.values():
        program = Program.of(graph.recorded.program)
        module = javascript_keeping(program, everything(graph))
        jobs.append(
            job(program, [[x.example for x in program.arguments]], stages=("forward", "backward"), module=module)
        )
    for (name, graph), answer in zip(found.items(), run_in_node(jobs, tmp_path), strict=True):
        assert "error" not in answer, (name, answer)
        outputs = answer["outputs"][0]
        for value in everything(graph):
            exact = 1e-12 if value.dtype == np.float64 else 1e-5
            where = f"{name}: {value.name}"
            np.testing.assert_allclose(outputs[value.name], value.example.reshape(-1), exact, exact, err_msg=where)


@needs_node
def test_what_if_equals_the_engine(tmp_path):
    """Another input: the same program gives what the engine gives for it."""
    jobs, expected = [], []
    for a in (2.0, -0.5, 30.0):
        w = wanted(2.0, "a")
        graph = Graph(w * w * np.sin(w) + w, "a test")
        module = javascript_keeping(graph.recorded.program, everything(graph))
        jobs.append(
            job(Program.of(graph.recorded.program), [[np.array(a)]], stages=("forward", "backward"), module=module)
        )
        expected.append(2 * np.sin(a) * a + a * a * np.cos(a) + 1)
    for answer, slope in zip(run_in_node(jobs, tmp_path), expected, strict=True):
        np.testing.assert_allclose(answer["outputs"][0]["d_a"], [slope], rtol=1e-13)


def test_an_operation_in_the_way_is_named():
    @tg.primitive
    def wave(x):
        return np.sinc(x)

    @wave.vjp("x")
    def wave_x(g, out, x):
        return g * x

    del tg.core.REGISTRY["wave"]  # other tests ask every primitive for samples
    graph = Graph((wave(wanted([1.0, 2.0], "x")) * 2.0).sum(), "a test")
    with pytest.raises(CannotLower, match=r"wave: its body uses np\.sinc"):
        javascript_keeping(graph.recorded.program, everything(graph))
