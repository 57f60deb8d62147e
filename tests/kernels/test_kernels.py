"""Every Numba kernel equals the NumPy body of its name, and the package gets along without Numba or its cache."""

import os
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from fresh import said

import tinygrad_ce as tg
from tinygrad_ce import kernels
from tinygrad_ce.core import REGISTRY
from tinygrad_ce.kernels import cross_entropy, memory, softmax
from tinygrad_ce.kernels.attach import FUSED, KERNELS
from tinygrad_ce.kernels.memory import empty

rng = np.random.default_rng(7)
WITH_KERNEL = sorted(name for name, op in REGISTRY.items() if op in KERNELS)


def strided(x):
    """The same numbers, contiguous along no axis."""
    larger = np.zeros([2 * n for n in x.shape], x.dtype)
    larger[tuple(slice(None, None, 2) for _ in x.shape)] = x
    return larger[tuple(slice(None, None, 2) for _ in x.shape)]


def both(name, *inputs, **params):
    """The kernel's answer and the body's; a body may say that 0 * inf or an overflow has happened on its way."""
    op = REGISTRY[name]
    with np.errstate(all="ignore"):
        slow = op.body(*inputs, **params)
    return kernels.find(op.name)(*inputs, **params), slow


def assert_same(name, inputs, params=None, scale=0.0):
    before = [np.array(x, copy=True) for x in inputs]
    fast, slow = both(name, *inputs, **(params or {}))
    dtype = np.asarray(inputs[0]).dtype
    precision = np.finfo(dtype).eps
    assert np.asarray(fast).dtype == np.asarray(slow).dtype
    assert np.shape(fast) == np.shape(slow)
    # A float32 body rounds at every step, a kernel once: what it loses grows with the gap between two logits.
    np.testing.assert_allclose(fast, slow, rtol=(64 + 2 * scale) * precision, atol=8 * precision * max(scale, 1))
    for x, old in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, old)


def test_the_kernels_are_these():
    assert WITH_KERNEL == [
        "erf", "erfc", "log_softmax", "logsumexp", "sigmoid", "sigmoid_slope", "sigmoid_xent", "sigmoid_xent_grad",
        "soft_xent", "soft_xent_grad", "softmax", "softplus", "tanh", "tanh_slope", "xent", "xent_grad",
    ]  # fmt: skip
    assert {op.name for op in FUSED} == {"xent", "soft_xent", "sigmoid_xent"}


LOGITS = {
    "random": rng.normal(size=(7, 5)) * 3,
    "one class": rng.normal(size=(4, 1)),
    "one row": rng.normal(size=(1, 6)),
    "no rows": np.zeros((0, 3)),
    "many": rng.normal(size=(5, 100)),  # more than a panel holds, so each row is computed alone
    "ties": np.zeros((3, 4)),
    "confident": rng.normal(size=(6, 4)) + 60 * np.eye(4)[[0, 1, 2, 3, 0, 1]],
    "huge": rng.normal(size=(6, 4)) + 1e30 * np.eye(4)[[0, 1, 2, 3, 0, 1]],
    "-inf": np.where(np.eye(4, dtype=bool)[[0, 1, 2, 3]], -np.inf, rng.normal(size=(4, 4))),
    "all -inf": np.full((2, 3), -np.inf),
    "nan": np.where(np.eye(3, dtype=bool), np.nan, 1.0),
    "inf": np.where(np.eye(3, dtype=bool), np.inf, 1.0),
    "two inf": np.array([[np.inf, np.inf, 0.0], [np.inf, -np.inf, 0.0]]),
}
OF_OTHER_LAYOUT = ["random", "one class", "no rows"]  # a kernel copies it, and runs its loop on the copy
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
layouts = pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, strided])
arrays = pytest.mark.parametrize(
    ("which", "layout"),
    [(which, np.ascontiguousarray) for which in LOGITS]
    + [(which, layout) for which in OF_OTHER_LAYOUT for layout in (np.asfortranarray, strided)],
)


def logits(which, dtype, layout):
    z = LOGITS[which].astype(dtype)
    return layout(z), 60.0 if which in ("confident", "huge") else 10.0


CLASS_WEIGHTS = ["none", "all", "each"]


def class_weights(which, classes, dtype):
    if which == "each":
        return np.linspace(0, 2, classes).astype(dtype)
    return 1.0 if which == "none" else 2.5


def assert_losses_same(name, z, targets, weights, params, scale):
    """Each row's loss, the reduced ones, the gradients of both, and the loss and gradient in one go."""
    values = (z, targets, *weights)
    shape = z.shape if name == "sigmoid_xent" else z.shape[:1]
    assert_same(name, values, params, scale)
    upstream = np.linspace(-1, 2, int(np.prod(shape))).reshape(shape).astype(z.dtype)
    assert_same(f"{name}_grad", (upstream, *values), params, scale)
    assert kernels.find(f"{name}_with_gradient")(*values, **params) is NotImplemented
    for reduction in ("mean", "sum"):
        if len(z) == 0:
            continue
        params = {**params, "reduction": reduction}
        assert_same(name, values, params, scale * (len(z) if reduction == "sum" else 1))
        assert_same(f"{name}_grad", (np.array(0.7, z.dtype), *values), params, scale)
        loss, slope = kernels.find(f"{name}_with_gradient")(*values, **params)
        np.testing.assert_array_equal(loss, kernels.find(name)(*values, **params))
        one = np.array(1, z.dtype)
        np.testing.assert_array_equal(slope, kernels.find(f"{name}_grad")(one, *values, **params))


@arrays
@dtypes
def test_xent_and_its_gradient(which, dtype, layout):
    z, scale = logits(which, dtype, layout)
    y = np.arange(len(z)) % z.shape[1]
    ignoring = np.where(np.arange(len(z)) % 2 == 0, -1, y)
    for (labels, ignored), weights, smoothing in product(((y, None), (ignoring, -1)), CLASS_WEIGHTS, (0.0, 0.1, 1.0)):
        w = class_weights(weights, z.shape[1], dtype)
        assert_losses_same("xent", z, labels, (w,), {"smoothing": smoothing, "ignore_index": ignored}, scale)


@arrays
@dtypes
def test_soft_xent_and_its_gradient(which, dtype, layout):
    z, scale = logits(which, dtype, layout)
    n, classes = z.shape
    targets = {
        "one-hot": np.eye(classes)[np.arange(n) % classes],
        "soft": np.random.default_rng(0).dirichlet(np.ones(classes), n).reshape(n, classes),
        "nothing": np.zeros((n, classes)),
    }
    for q, weights, smoothing in product(targets.values(), CLASS_WEIGHTS, (0.0, 0.1)):
        w = class_weights(weights, classes, dtype)
        assert_losses_same("soft_xent", z, layout(q.astype(dtype)), (w,), {"smoothing": smoothing}, scale)


BINARY = np.array([0.0, 1e-300, 0.3, -2, 30, -30, 40, -100, 710, -750, 1e4, -1e30, -np.inf, 5])
SPOILED = np.array([np.inf, np.nan, 1.0, np.inf])


@dtypes
@layouts
@pytest.mark.parametrize("z", [BINARY, SPOILED, BINARY.reshape(2, 7), BINARY.reshape(1, 14), BINARY[:0]])
def test_sigmoid_xent_and_its_gradient(dtype, layout, z):
    z = layout(z.astype(dtype))

    def each(start):
        return layout(np.linspace(start, 2, z.size).astype(dtype).reshape(z.shape))

    for y, w, weight in product((0.0, 1.0, 0.5, 0.1), (1.0, 2.5, 0.0, each(0.5)), (1.0, 0.0, each(0.0))):
        assert_losses_same("sigmoid_xent", z, layout(np.full(z.shape, y, dtype)), (w, weight), {}, 0.0)


@dtypes
@pytest.mark.parametrize("shape", [(3,), (1, 3), (4, 1), (1, 1), (3, 4, 3), ()])
def test_weights_of_the_last_axes_are_repeated(dtype, shape):
    z, y, weight = (rng.random((3, 4, 3)).astype(dtype) for _ in range(3))
    w = rng.random(shape).astype(dtype)
    assert_losses_same("sigmoid_xent", z, y, (w, weight), {}, 0.0)
    assert_losses_same("sigmoid_xent", z, y, (weight, w), {}, 0.0)
    long = rng.normal(size=(700, 3)).astype(dtype)
    if len(shape) == 1:
        assert_losses_same("sigmoid_xent", long, (long > 0).astype(dtype), (w, 1.0), {}, 0.0)


def test_a_long_loss_is_the_sum_of_its_blocks():
    z = rng.normal(size=5000)
    y = (rng.random(5000) < 0.5).astype(float)
    assert_losses_same("sigmoid_xent", z, y, (1.0, rng.random(5000)), {}, 0.0)


LONG = {
    "softmax": (60.0, {"axis": -1}), "log_softmax": (60.0, {"axis": -1}), "logsumexp": (60.0, {"axis": -1}),
    "tanh": (3.0, {}), "sigmoid": (60.0, {}), "softplus": (60.0, {}), "tanh_slope": (60.0, {}),
    "sigmoid_slope": (60.0, {}), "erf": (6.0, {}), "erfc": (20.0, {}),
}  # fmt: skip


@dtypes
@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("shape", [(500, 3), (7, 300), (4, 3, 50), (1, 1), (1, 2000)])
def test_functions_of_long_arrays(name, dtype, shape):
    scale, params = LONG[name]
    x = rng.uniform(-scale, scale, shape).astype(dtype)
    x[0, 0] = 0
    assert_same(name, (x,), params, scale)
    special = np.resize(np.array([0, -0.0, np.inf, -np.inf, np.nan, 1, -1e30, 1e30], dtype), (4, 8))
    special[:, 1:] = special[:, 1:][:, ::-1]
    assert_same(name, (special,), params, scale)


def test_a_softmax_along_another_axis_is_left_to_the_body():
    x = np.zeros((3, 4))
    for name in ("softmax", "log_softmax", "logsumexp"):
        assert kernels.find(name)(x, axis=0) is NotImplemented
        assert kernels.find(name)(x, axis=2) is NotImplemented
    assert softmax.logsumexp(x) is NotImplemented
    assert softmax.logsumexp(x, axis=-1, keepdims=True).shape == (3, 1)
    with pytest.raises(IndexError, match="axis 2"):
        tg.ops.softmax(np.zeros((100, 100)), axis=2)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (0,), (2, 0)])
@dtypes
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (tg.optim.SGD, {}),
        (tg.optim.SGD, {"weight_decay": 0.1}),
        (tg.optim.SGD, {"momentum": 0.9}),
        (tg.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
        (tg.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        (tg.optim.Adam, {}),
        (tg.optim.Adam, {"betas": (0.0, 0.5), "weight_decay": 0.1, "eps": 1e-3}),
        (tg.optim.AdamW, {}),
        (tg.optim.AdamW, {"weight_decay": 0.0}),
        (tg.optim.RMSprop, {}),
        (tg.optim.RMSprop, {"decay": 0.5, "weight_decay": 0.1}),
    ],
)
def test_optimizer_kernels_do_what_update_says(shape, dtype, make, options):
    generator = np.random.default_rng(1)
    parameter = tg.Tensor(generator.normal(size=shape).astype(dtype), requires_grad=True)
    optimizer = make([parameter], lr=tg.optim.Cosine(0.1, steps=40), **options)
    param = parameter.data.copy()
    state = optimizer.initial_state(param)
    held = parameter.data
    for step in range(1, 31):
        grad = np.asarray(generator.normal(size=shape)).astype(dtype)
        lr = optimizer.lr
        parameter.grad = grad.copy()
        optimizer.step()
        param, state = optimizer.update(param, grad, state, lr, step)
        np.testing.assert_array_equal(parameter.grad, grad)
    assert parameter.data is held
    assert parameter.data.dtype == np.asarray(param).dtype == dtype
    np.testing.assert_allclose(parameter.data, param, rtol=300 * np.finfo(dtype).eps, atol=30 * np.finfo(dtype).eps)
    for ours, theirs in zip([variable.data for variable in optimizer.memory[0]], state, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=300 * np.finfo(dtype).eps, atol=30 * np.finfo(dtype).eps)


def test_a_parameter_that_is_not_contiguous_is_updated_too():
    for make in (tg.optim.SGD, tg.optim.Adam, tg.optim.RMSprop):
        parameter = tg.Tensor(np.zeros((2, 3)), requires_grad=True)
        parameter.data = np.zeros((3, 2)).T  # as a user who loads weights of another layout would
        optimizer = make([parameter], lr=0.1)
        parameter.grad = np.ones((2, 3))
        optimizer.step()
        assert (parameter.data < 0).all(), make


# ---- around Numba, each in a process of its own


def test_importing_the_package_imports_nothing_heavy():
    loaded = said(
        """
        import sys, tinygrad_ce
        names = ("numba", "llvmlite", "scipy", "rich", "matplotlib", "pandas", "sklearn", "typer")
        print([name for name in names if name in sys.modules])
        """
    )
    assert loaded.strip() == "[]"


WORK = """
    import sys, warnings
    {before}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import numpy as np, tinygrad_ce as tg
        tg.seed(0)
        X, y = tg.data.moons(40).X, tg.data.moons(40).y
        for loss, targets, n_out in (
            (tg.nn.SoftmaxCrossEntropy(), y, 2),
            (tg.nn.SoftmaxCrossEntropy(label_smoothing=0.1), y, 2),
            (tg.nn.SoftmaxCrossEntropy(), np.eye(2)[y], 2),
            (tg.nn.SigmoidBCE(), y[:, None], 1),
        ):
            for make in (tg.optim.SGD, tg.optim.Adam, tg.optim.AdamW, tg.optim.RMSprop):
                model = tg.nn.Sequential(tg.nn.Dense(2, 4), tg.nn.Tanh(), tg.nn.Dense(4, n_out))
                trainer = tg.Trainer(model, loss, make(model.parameters(), lr=0.05))
                trainer.fit(X, targets, epochs=2, seed=0)
                print(*(f"{{p.data.sum():.9f}}" for p in model.parameters()))
    print([str(w.message) for w in caught])
    """


def test_without_numba_everything_works_with_one_warning():
    *numbers, told = said(WORK.format(before="sys.modules['numba'] = None")).strip().splitlines()
    *expected, nothing = said(WORK.format(before="")).strip().splitlines()
    assert nothing == "[]"
    assert told.count("Numba") == 1
    assert len(eval(told)) == 1
    for ours, theirs in zip(numbers, expected, strict=True):
        np.testing.assert_allclose(np.array(ours.split(), float), np.array(theirs.split(), float), atol=1e-7)


def test_without_a_cache_directory_kernels_are_compiled_anew(tmp_path):
    """Numba raises where it finds no place for its cache: no locators at all stand for a read-only disk."""
    out = said(
        """
        import warnings
        warnings.simplefilter("error")
        from numba.core import caching
        caching.CacheImpl._locator_classes = []
        import numpy as np
        from tinygrad_ce.kernels import cross_entropy
        print(cross_entropy.xent(np.zeros((2, 3)), np.array([0, 1]), 1.0))
        """
    )
    assert out.strip() == "[1.09861229 1.09861229]"


@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "geteuid"), reason="permissions are those of POSIX")
def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path):
    """A file where the cache directory should be: it cannot be made, whoever we are."""
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    out = said(
        """
        import numpy as np
        from tinygrad_ce.kernels import cross_entropy
        print(cross_entropy.xent(np.zeros((2, 3)), np.array([0, 1]), 1.0))
        """,
        NUMBA_CACHE_DIR=str(blocked / "cache"),
        HOME=str(blocked),
    )
    assert out.strip() == "[1.09861229 1.09861229]"


def test_what_the_loops_do_not_take_is_left_to_the_bodies():
    for dtype in ("int64", "int32", ">f8", ">f4", "float16"):
        long, short = np.ones(30_000, dtype), np.ones(3, dtype)
        for op in (tg.ops.sigmoid, tg.ops.softplus, tg.ops.softmax):
            x, y = (long, short) if op is not tg.ops.softmax else (long.reshape(-1, 3), short.reshape(-1, 3))
            np.testing.assert_allclose(op(x)[:1], op(y)[:1], rtol=1e-3)
        if dtype[0] in ">f":
            loss = tg.losses.softmax_cross_entropy(np.zeros((2, 3), dtype), np.array([0, 1]))
            assert loss.item() == pytest.approx(np.log(3), rel=1e-3)


def test_threads_may_call_a_kernel_at_the_same_time():
    z, y = rng.normal(size=(64, 10)), rng.integers(0, 10, 64)
    expected = cross_entropy.xent_grad(np.ones(64), z, y, 1.0)
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: cross_entropy.xent_grad(np.ones(64), z, y, 1.0), range(40)):
            np.testing.assert_array_equal(answer, expected)


# ---- labels


@pytest.mark.parametrize("way", ["kernel", "body"])
@pytest.mark.parametrize("classes", [3, 60])
@pytest.mark.parametrize("label", [-1, 3, 60, -(2**63), 2**63 - 1])
def test_a_label_that_is_no_class_is_refused_before_it_is_used(way, classes, label):
    if label == 3 and classes == 60:
        return
    z, y = rng.normal(size=(150, classes)), np.zeros(150, np.int64)
    y[140] = label  # in the second panel
    for name, inputs in (("xent", (z, y, 1.0)), ("xent_grad", (np.ones(150), z, y, 1.0))):
        function = kernels.find(name) if way == "kernel" else REGISTRY[name].body
        for smoothing in (0.0, 0.1):
            for ignored in (None, 1, -2):
                with pytest.raises(ValueError, match="no class"):
                    function(*inputs, smoothing=smoothing, ignore_index=ignored)
            assert np.isfinite(function(*inputs, smoothing=smoothing, ignore_index=label)).all()


@pytest.mark.parametrize("way", ["kernel", "body"])
def test_an_ignored_class_counts_for_nothing_whatever_is_in_its_rows(way):
    z, y = rng.normal(size=(6, 3)), np.array([0, 1, 2, 1, 0, 1])
    z[y == 1] = np.nan
    find = kernels.find if way == "kernel" else lambda name: REGISTRY[name].body
    losses, slopes = find("xent")(z, y, 1.0, ignore_index=1), find("xent_grad")(np.ones(6), z, y, 1.0, ignore_index=1)
    np.testing.assert_array_equal(losses[y == 1], 0)
    np.testing.assert_array_equal(slopes[y == 1], 0)
    np.testing.assert_array_equal(losses[y != 1], find("xent")(z[y != 1], y[y != 1], 1.0))


# ---- memory of large results


def test_large_results_have_memory_of_their_own_as_long_as_anybody_sees_it():
    shape, dtype = (300, 1000), np.dtype(np.float32)
    first, second, third = (empty(shape, dtype) for _ in range(3))
    assert not any(np.shares_memory(a, b) for a, b in ((first, second), (second, third), (first, third)))
    row, address = third[7], third.ctypes.data
    del third
    assert not np.shares_memory(empty(shape, dtype), row)  # a view still sees it
    del row
    assert empty(shape, dtype).ctypes.data == address
    for odd in ((0, 3), (), (2, 3), (1 << 25, 8)):
        assert empty(odd, dtype).shape == odd


@pytest.mark.parametrize("see", [memoryview, lambda array: array.T, weakref.ref, lambda array: [array]])
def test_whatever_sees_a_large_result_keeps_it(see):
    shape, dtype = (301, 1000), np.dtype(np.float32)
    array = empty(shape, dtype)
    address, seen = array.ctypes.data, see(array)
    del array
    assert empty(shape, dtype).ctypes.data != address
    del seen
    addresses = [array.ctypes.data for array in (empty(shape, dtype), empty(shape, dtype))]
    assert address in addresses


def test_a_large_array_is_not_used_again_when_its_owner_has_changed_what_it_is():
    shape, dtype = (302, 1000), np.dtype(np.float32)
    for change in (
        lambda array: array.setflags(write=False),
        lambda array: array.resize((302, 999), refcheck=False),
    ):
        array = empty(shape, dtype)
        change(array)
        del array
        array = empty(shape, dtype)
        assert (array.shape, array.dtype, array.flags.writeable) == (shape, dtype, True)


def test_without_counted_references_no_array_is_used_again(monkeypatch):
    monkeypatch.setattr(memory, "COUNTS_REFERENCES", False)
    array = empty((303, 1000), np.dtype(np.float32))
    assert not any(kept is array for kept in memory._kept.arrays)


def test_what_a_kernel_returns_owns_its_memory():
    """The engine copies a gradient that is a view of something else."""
    z, y = rng.normal(size=(600, 100)), np.zeros(600, np.int64)
    calls = dict.fromkeys(("softmax", "log_softmax", "sigmoid", "softplus", "tanh"), (z,))
    calls |= {"xent_grad": (np.ones(600), z, y, 1.0), "soft_xent_grad": (np.ones(600), z, z, 1.0)}
    calls |= {"sigmoid_xent_grad": (z, z, z, 1.0, 1.0), "sigmoid_xent": (z, z, 1.0, 1.0)}
    for name, inputs in calls.items():
        assert kernels.find(name)(*inputs).base is None, name


def test_a_large_gradient_is_not_copied_on_its_way_to_the_logits(monkeypatch):
    arrays = []
    monkeypatch.setattr(cross_entropy, "empty", lambda *args: arrays.append(empty(*args)) or arrays[-1])
    z = tg.Tensor(rng.normal(size=(600, 100)), requires_grad=True)
    tg.losses.softmax_cross_entropy(z, np.zeros(600, np.int64)).backward()
    assert z.grad is arrays[0]
