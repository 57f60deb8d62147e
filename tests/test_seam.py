"""The one seam of the engine: whoever stands there sees every call and effect once, in order, and changes nothing."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fresh import GUARD, printed
from leaves import wanted

import tinygrad_ce as tg
from tinygrad_ce import ops
from tinygrad_ce.core import EAGER, Array, Primitive, Tensor, interpreted, interpreter
from tinygrad_ce.source_lines import calls_around, line_of

HERE = os.path.basename(__file__)
X = np.array([[1.0, 2.0], [-1.0, 0.5], [0.0, 3.0], [2.0, -2.0]])
Y = np.array([0, 1, 1, 0])
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


def network() -> tg.nn.Module:
    tg.seed(3)
    return tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 2))


class Recorder:
    """An instrument that only looks: it keeps each call with its inputs and result."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.results: list[Any] = []

    def __call__(
        self, inner: Callable[..., Any], op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]
    ) -> Any:
        self.calls.append((op.name, inputs, dict(params)))
        result = inner(op, inputs, params)
        self.results.append(result)
        return result

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.calls]


def ordinary() -> bool:
    """Whether calls mean here what they mean outside of all instruments."""
    return interpreter.get() is EAGER


# ---- an instrument sees each call


def test_the_forward_pass_of_a_network_call_by_call() -> None:
    model, recorder = network(), Recorder()
    first, second = model.layers[0], model.layers[2]
    with interpreted(recorder):
        loss = tg.losses.softmax_cross_entropy(model(X), Y)
    a, h, z, last = recorder.results
    assert recorder.names == ["affine", "tanh", "affine", "xent"]
    expected = [(X, first.W, first.b), (a,), (h, second.W, second.b)]
    for (_, inputs, params), right in zip(recorder.calls, expected, strict=False):
        assert params == {}
        assert len(inputs) == len(right)
        assert all(x is y for x, y in zip(inputs, right, strict=True))
    _, (logits, labels, weight), params = recorder.calls[3]
    assert logits is z
    np.testing.assert_array_equal(labels, Y)
    assert float(weight) == 1.0
    assert params == {"smoothing": 0.0, "reduction": "mean"}
    assert loss is last


def test_the_rules_of_a_recorded_backward_pass_call_by_call() -> None:
    """By hand: xent_grad; then for each affine the gradient of x, W and b; the slope of tanh in between."""
    model, recorder = network(), Recorder()
    loss = tg.losses.softmax_cross_entropy(model(X), Y)
    with interpreted(recorder):
        tg.gradients(loss, model.parameters(), create_graph=True)
    of_weights, of_bias = ["transpose", "matmul"], ["reduce_sum", "reshape"]
    assert recorder.names == [
        "xent_grad",
        *("transpose", "matmul", *of_weights, *of_bias),
        *("tanh_slope", "mul"),
        *("matmul", *of_bias),  # X asks for no gradient, and is an array, which NumPy transposes
    ]
    assert all(isinstance(result, Tensor) for result in recorder.results)


def test_a_product_and_its_second_derivative_call_by_call() -> None:
    x, recorder = wanted(3.0), Recorder()
    with interpreted(recorder):
        y = x * x
        (slope,) = tg.gradients(y, [x], create_graph=True)
    (first, left, right, total) = recorder.calls
    assert [name for name, _, _ in recorder.calls] == ["mul", "mul", "mul", "add"]
    assert first[1] == (x, x)
    seed = left[1][0]
    assert (float(seed.data), left[1][1]) == (1.0, x)  # the share of the first factor: g * x
    assert right[1] == (seed, x)
    assert total[1] == tuple(recorder.results[1:3])
    assert slope is recorder.results[3]
    assert float(slope.data) == 6.0


def test_on_arrays_the_rules_make_no_calls() -> None:
    model, recorder = network(), Recorder()
    loss = (model(X) * 2.0).sum()
    with interpreted(recorder):
        loss.backward()
    assert not any(isinstance(result, Tensor) for result in recorder.results)


def test_calls_on_arrays_and_calls_without_recording_are_seen_too() -> None:
    recorder = Recorder()
    with interpreted(recorder):
        ops.exp(np.zeros(2))
        with tg.no_grad():
            wanted(1.0) * 2.0
    assert recorder.names == ["exp", "mul"]
    assert type(recorder.results[0]) is np.ndarray
    assert not recorder.results[1].requires_grad


def test_parameters_are_seen_as_they_were_passed() -> None:
    recorder = Recorder()
    with interpreted(recorder):
        ops.reduce_sum(wanted(np.ones((2, 3))), axis=0)
        ops.reduce_sum(wanted(np.ones((2, 3))))
    assert [params for _, _, params in recorder.calls] == [{"axis": 0}, {}]


def test_every_primitive_of_numpys_and_our_own_functions_goes_through_it(registry: dict[str, Primitive]) -> None:
    @tg.primitive
    def thrice(x):  # type: ignore[no-untyped-def]
        return 3 * x

    recorder = Recorder()
    with interpreted(recorder):
        np.sin(wanted(1.0))
        thrice(wanted(1.0))
    assert recorder.names == ["sin", "thrice"]


# ---- it may answer otherwise


def test_an_instrument_may_change_what_a_call_means() -> None:
    def doubled(inner: Any, op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
        return inner(ops.mul, (*inputs, 2.0), {}) if op is ops.neg else inner(op, inputs, params)

    x = wanted(3.0)
    with interpreted(doubled):
        y = -x
    assert (y.item(), y.op) == (6.0, ops.mul)
    y.backward()
    assert x.grad == 2.0


def test_an_instrument_may_answer_with_anything() -> None:
    with interpreted(lambda inner, op, inputs, params: op.name):
        assert wanted(1.0) + 1.0 == "add"
    assert (wanted(1.0) + 1.0).item() == 2.0


# ---- they stack


def test_the_inner_one_is_asked_first_and_asks_the_outer_one() -> None:
    order: list[str] = []

    def layer(name: str) -> Callable[..., Any]:
        def instrument(inner: Any, op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
            order.append(f"{name} before")
            result = inner(op, inputs, params)
            order.append(f"{name} after")
            return result

        return instrument

    with interpreted(layer("outer")), interpreted(layer("inner")):
        wanted(1.0) * 2.0
    assert order == ["inner before", "outer before", "outer after", "inner after"]
    order.clear()
    with interpreted(layer("outer")):
        with interpreted(layer("inner")):
            pass
        wanted(1.0) * 2.0
    assert order == ["outer before", "outer after"]


def test_an_instrument_that_calculates_is_seen_by_itself_unless_it_looks_away() -> None:
    """It is asked for its own calls, too, as any code inside is; `inner` asks the ordinary meaning."""
    seen: list[str] = []

    def careful(inner: Any, op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
        seen.append(op.name)
        result = inner(op, inputs, params)
        inner(ops.exp, (np.zeros(1),), {})
        return result

    with interpreted(careful):
        wanted(1.0) * 2.0
    assert seen == ["mul"]


@pytest.mark.parametrize("inside", [True, False])
def test_with_no_grad_in_either_order(inside: bool) -> None:
    x, recorder = wanted(2.0), Recorder()
    outer, inner = (interpreted(recorder), tg.no_grad()) if inside else (tg.no_grad(), interpreted(recorder))
    with outer:
        with inner:
            assert not (x * x).requires_grad
        assert (x * x).requires_grad is inside
    assert recorder.names == (["mul", "mul"] if inside else ["mul"])
    assert ordinary()
    assert (x * x).requires_grad


# ---- it leaves everything as it was


class _Stop(Exception):
    """What nobody else raises."""


def test_an_instrument_that_raises_leaves_the_interpreter_as_it_was() -> None:
    def refuse(inner: Any, op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
        raise _Stop

    with interpreted(Recorder()):
        outer = interpreter.get()
        with pytest.raises(_Stop), interpreted(refuse):
            wanted(1.0) * 2.0
        assert interpreter.get() is outer
    assert ordinary()
    assert (wanted(3.0) * 2.0).item() == 6.0


def test_a_body_that_raises_leaves_the_interpreter_as_it_was_and_is_put_into_words() -> None:
    recorder = Recorder()
    with pytest.raises(ValueError, match=r"^matmul: .*inner sizes 2 and 3"), interpreted(recorder):
        wanted(np.ones((2, 2))) @ np.ones((3, 2))
    assert recorder.names == ["matmul"]
    assert ordinary()


def test_an_unknown_effect_is_refused_and_changes_nothing() -> None:
    with pytest.raises(AttributeError), interpreted(listen=lambda inner: None):
        pass
    assert ordinary()


@pytest.mark.parametrize("make", [tg.optim.SGD, tg.optim.Adam])
def test_an_instrument_that_only_looks_changes_no_bit(make: Any) -> None:
    def trained() -> list[Array]:
        model = network()
        optimizer, losses = make(model.parameters(), lr=0.1), []
        for _ in range(5):
            optimizer.zero_grad()
            loss = tg.losses.softmax_cross_entropy(model(X), Y)
            loss.backward()
            optimizer.step()
            losses.append(loss.data)
        return [*losses, *(p.grad for p in model.parameters()), *(p.data for p in model.parameters())]

    plain = trained()
    with interpreted(Recorder()):
        watched = trained()
    assert [x.tobytes() for x in watched] == [x.tobytes() for x in plain]


# ---- the effects


class Effects:
    """An instrument for effects that only looks; what it has seen, by their names."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def of(self, *names: str) -> Any:
        return interpreted(**{name: self._looking(name) for name in names})

    def _looking(self, name: str) -> Callable[..., Any]:
        def look(inner: Any, first: Any, *rest: Any, **options: Any) -> Any:
            self.seen.append((name, first))
            return inner(first, *rest, **options)

        return look


def test_read_and_write_of_an_optimizers_definition() -> None:
    """SGD with momentum reads its clock; of each parameter value, gradient and velocity; and writes two of them."""
    w, effects = wanted([1.0, 2.0], name="w"), Effects()
    w.grad = np.array([0.5, 0.5])
    optimizer = tg.optim.SGD([w], lr=0.1, momentum=0.9)
    ((velocity,),) = optimizer.memory
    with effects.of("read", "write"):
        optimizer.step()
    expected = [optimizer, w, w.grad, velocity, w, velocity]
    assert [name for name, _ in effects.seen] == ["read"] * 4 + ["write"] * 2
    assert all(seen is right for (_, seen), right in zip(effects.seen, expected, strict=True))
    np.testing.assert_allclose(w.data, [0.95, 1.95], rtol=1e-15)
    np.testing.assert_allclose(velocity.data, [0.5, 0.5], rtol=1e-15)


@pytest.mark.parametrize(("watched", "takes_kernels"), [("call", True), ("write", False), ("read", False)])
def test_the_loops_in_place_are_taken_only_where_read_and_write_have_their_ordinary_meaning(
    watched: str, takes_kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    in_place: list[Any] = []
    ordinary_update = tg.optim.SGD.update_in_place

    def update_in_place(self: Any, kernels: Any, *rest: Any) -> None:
        in_place.append(rest)
        ordinary_update(self, kernels, *rest)

    monkeypatch.setattr(tg.optim.SGD, "update_in_place", update_in_place)
    w, effects = wanted(np.ones(3)), Effects()
    w.grad = np.full(3, 0.5)
    with effects.of(watched):
        tg.optim.SGD([w], lr=1.0).step()
    assert len(in_place) == takes_kernels
    np.testing.assert_array_equal(w.data, np.full(3, 0.5))


def test_a_write_may_be_forbidden() -> None:
    def frozen(inner: Any, variable: Tensor, new: Any) -> None:
        pass

    w = wanted([1.0, 2.0])
    w.grad = np.ones(2)
    with interpreted(write=frozen):
        tg.optim.SGD([w], lr=0.1).step()
    np.testing.assert_array_equal(w.data, [1.0, 2.0])


def test_draw_is_asked_once_for_each_mask() -> None:
    """With the generator's mask replaced by zeros, nothing passes a Dropout."""
    with interpreted(draw=lambda inner, sample, shape, dtype: np.zeros(shape, dtype)):
        out = tg.nn.Dropout(0.5)(Tensor(np.ones(4)))
    np.testing.assert_array_equal(out.data, 0)
    effects = Effects()
    with effects.of("draw"):
        tg.nn.Sequential(tg.nn.Dropout(0.5), tg.nn.Dropout(0.5))(Tensor(np.ones(4)))
    assert [name for name, _ in effects.seen] == ["draw", "draw"]


@pytest.mark.parametrize("use", [float, bool, lambda t: t.item(), np.asarray], ids=["float", "bool", "item", "asarray"])
def test_numbers_is_asked_when_a_tensor_leaves_for_python(use: Callable[[Any], Any]) -> None:
    def refuse(inner: Any, x: Any, why: Any) -> Any:
        raise _Stop(why)

    t = Tensor(1.0)
    with pytest.raises(_Stop, match="need"), interpreted(numbers=refuse):
        use(t)
    assert float(use(t)) == 1.0


def test_walk_is_asked_for_each_backward_pass() -> None:
    x, effects = wanted(2.0), Effects()
    y = x * x
    with effects.of("walk"):
        y.backward()
        tg.gradients(y, x)
    assert effects.seen == [("walk", y), ("walk", y)]


def test_a_walk_may_be_watched_tensor_by_tensor() -> None:
    order: list[tuple[Any, float]] = []

    def watch(inner: Any, *arguments: Any, **options: Any) -> Any:
        for tensor, g in inner(*arguments, **options):
            order.append((tensor, float(g)))
            yield tensor, g

    x = wanted(2.0)
    y = x * 3.0
    z = y * y
    with interpreted(walk=watch):
        z.backward()
    assert order == [(z, 1.0), (y, 12.0), (x, 36.0)]
    assert x.grad == 36.0


# ---- threads, forks, coroutines


def test_each_thread_has_its_own() -> None:
    recorder, elsewhere = Recorder(), []

    def work() -> None:
        elsewhere.append(ordinary())
        wanted(1.0) + 1.0

    with interpreted(recorder):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        wanted(1.0) * 2.0
    assert elsewhere == [True]
    assert recorder.names == ["mul"]


def test_two_threads_with_two_instruments_see_only_their_own_calls() -> None:
    both = threading.Barrier(2, timeout=GUARD)
    recorders = {"add": Recorder(), "mul": Recorder()}

    def work(op: Primitive) -> None:
        with interpreted(recorders[op.name]):
            both.wait()
            for _ in range(50):
                op(wanted(1.0), 2.0)
            both.wait()

    threads = [threading.Thread(target=work, args=(op,)) for op in (ops.add, ops.mul)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: recorder.names for name, recorder in recorders.items()} == {"add": ["add"] * 50, "mul": ["mul"] * 50}


def test_tasks_do_not_leak_into_each_other() -> None:
    recorder, names = Recorder(), []

    async def instrumented(start: asyncio.Event, end: asyncio.Event) -> None:
        with interpreted(recorder):
            start.set()
            await end.wait()
            wanted(1.0) * 2.0

    async def other(start: asyncio.Event, end: asyncio.Event) -> None:
        await start.wait()
        names.append(ordinary())
        wanted(1.0) + 2.0
        end.set()

    async def main() -> None:
        start, end = asyncio.Event(), asyncio.Event()
        await asyncio.gather(instrumented(start, end), other(start, end))

    asyncio.run(main())
    assert names == [True]
    assert recorder.names == ["mul"]
    assert ordinary()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_process_has_the_ordinary_one() -> None:
    assert printed(
        """
        import os, tinygrad_ce as tg
        from tinygrad_ce.core import EAGER, interpreted, interpreter

        seen = []

        def record(inner, op, inputs, params):
            seen.append(op.name)
            return inner(op, inputs, params)

        with interpreted(record), tg.no_grad():
            child = os.fork()
            y = tg.Tensor(1.0, requires_grad=True) * 2.0
            if child == 0:
                ordinary = interpreter.get() is EAGER and y.requires_grad and not seen
                os._exit(0 if ordinary else 7)
            print(os.waitpid(child, 0)[1], interpreter.get() is EAGER, y.requires_grad, *seen)
        """
    ) == ["0", "False", "False", "mul"]


# ---- with the package's own instruments


def test_the_lines_of_results_are_right_under_an_instrument_of_the_users_own() -> None:
    """However many instruments stand between the call and the engine, also ones with functions in between."""
    x = wanted(2.0)

    def through(inner: Any, op: Primitive, inputs: tuple[Any, ...], params: dict[str, Any]) -> Any:
        def nested() -> Any:
            return inner(op, inputs, params)

        return nested()

    line = sys._getframe().f_lineno + 2
    with interpreted(through), interpreted(Recorder()):
        y = x * x
    found = line_of(y.note)
    assert found is not None
    assert (os.path.basename(found.file), found.number, found.text) == (HERE, line, "y = x * x")


def test_the_modules_around_a_result_are_right_under_an_instrument() -> None:
    model, recorder = network(), Recorder()
    line = sys._getframe().f_lineno + 2
    with interpreted(recorder):
        model(X)
    *_, last = recorder.results
    found = line_of(last.note)
    assert found is not None
    assert (os.path.basename(found.file), found.number) == (HERE, line)
    assert [site[0] for site in calls_around(last.note)] == [model, model.layers[2]]


def test_the_line_of_a_write_is_right_under_an_instrument() -> None:
    w, effects = wanted(1.0), Effects()
    w.grad = np.array(0.5)
    line = sys._getframe().f_lineno + 2
    with effects.of("read", "write"):
        tg.optim.SGD([w], lr=0.1).step()
    found = line_of(w.note)
    assert found is not None
    assert (os.path.basename(found.file), found.number) == (HERE, line)


def test_a_loss_under_an_instrument_still_brings_its_gradient() -> None:
    """The kernels' own interpreter stands under the user's, so a fused loss is one call for him, too."""
    z, recorder = wanted(np.zeros((2, 2))), Recorder()
    with interpreted(recorder):
        tg.losses.softmax_cross_entropy(z, np.array([0, 1]), reduction="sum").backward()
    assert recorder.names == ["xent"]
    np.testing.assert_allclose(z.grad, [[-0.5, 0.5], [0.5, -0.5]])


def test_an_instrument_inside_of_a_step_sees_it_while_it_is_traced() -> None:
    w, recorder = wanted([1.0, 2.0], name="w"), Recorder()

    def step(x: Any) -> Any:
        with interpreted(recorder):
            return (x * w).sum()

    program = tg.trace(step, np.array([3.0, 4.0]))
    assert set(recorder.names) == {"mul", "reduce_sum"}
    assert np.asarray(program.run(np.array([3.0, 4.0]))) == 11.0


def test_an_instrument_that_computes_a_loss_of_its_own_leaves_the_gradient_of_the_other_alone() -> None:
    """A fused loss leaves its gradient on its own edge, whatever else is computed while it runs."""
    z = wanted([[1.0, 2.0, 0.5], [0.3, -1.2, 2.0]])
    labels = np.array([2, 0])

    def curious(inner: Any, op: Any, inputs: Any, params: Any) -> Any:
        if op is tg.ops.xent and inputs[0] is z:
            result = inner(op, inputs, params)
            tg.losses.softmax_cross_entropy(wanted([[9.0, 0.0], [0.0, 5.0]]), np.array([0, 1]))
            inner(op, inputs, {**params, "smoothing": 0.5})
            return result
        return inner(op, inputs, params)

    tg.losses.softmax_cross_entropy(z, labels).backward()
    expected, z.grad = z.grad, None
    with interpreted(curious):
        tg.losses.softmax_cross_entropy(z, labels).backward()
    np.testing.assert_allclose(z.grad, expected, rtol=1e-12)
