"""What moves numbers about between softmax or sigmoid and its loss costs no digit: value, gradient and curvature.

The right values are those of the moved logits, by SciPy; gradients are carried back by the positions of the numbers.
"""

import gc
import weakref

import numpy as np
import pytest
import scipy.special
from program.loops_as_python import loops_as_python
from program.traced_steps import ALL, assert_equals_eager, learning, parameter, world

import tinygrad_ce as tg
from tinygrad_ce import nn, ops
from tinygrad_ce.core import Tensor
from tinygrad_ce.losses import binary_cross_entropy, cross_entropy, kl_divergence, nll
from tinygrad_ce.optim import SGD

# Each makes of p, shape (3, 4), something else; of an array what it makes of a tensor.
MOVES = {
    "reshape": lambda p: p.reshape(-1),
    "squeeze": lambda p: ops.squeeze(p.reshape(3, 1, 4), axis=1),
    "expand_dims": lambda p: ops.expand_dims(p, axis=0),
    "an integer": lambda p: p[1],
    "a slice": lambda p: p[0:1],
    "a slice backwards": lambda p: p[::-1, ::2],
    "a mask of rows": lambda p: p[np.array([True, False, True])],
    "a mask": lambda p: p[np.arange(12).reshape(3, 4) % 5 < 2],
    "rows by number, one twice": lambda p: p[[2, 0, 2]],
    "pairs": lambda p: p[[0, 1, 2], [3, 1, 1]],
    "a new axis": lambda p: p[:, None, ..., :2],
    "T": lambda p: p.T,
    "transpose": lambda p: ops.transpose(p.reshape(3, 2, 2), axes=(2, 0, 1)),
    "swapaxes": lambda p: ops.swapaxes(p, 0, -1),
    "moveaxis": lambda p: ops.moveaxis(p.reshape(3, 2, 2), 0, 2),
    "broadcast_to": lambda p: ops.broadcast_to(p, shape=(2, 3, 4)),
    "concatenate": lambda p: ops.concatenate(p[1:], p, axis=0),
    "concatenate flat": lambda p: ops.concatenate(p[:1], p, axis=None),
    "stack": lambda p: ops.stack(p, p, axis=1),
    "times 1": lambda p: 1 * (p * 1.0),
    "by 1": lambda p: p / 1,
    "and 0": lambda p: 0 + (p + 0) - np.float64(0.0),
    "to the power 1": lambda p: p**1,
    "+p": lambda p: +p,
    "pick": lambda p: ops.pick(p, np.array([1, 0, 3])),
    "flip": lambda p: ops.flip(p, axis=1),
    "roll": lambda p: ops.roll(p, shift=2, axis=1),
    "tile": lambda p: ops.tile(p, reps=(2, 1)),
    "repeat": lambda p: ops.repeat(p, repeats=2, axis=0),
    "diagonal": lambda p: ops.diagonal(p, offset=1),
    "take_along_axis": lambda p: ops.take_along_axis(p, np.array([[1, 1], [0, 3], [2, 0]]), axis=1),
    "a chain": lambda p: ops.stack((p.T * 1.0)[1:].reshape(9), p.reshape(12)[:9]).T,
}
SIZES = [1.0, 40.0, 800.0]


def positions(move, shape=(3, 4)):
    """Where in the logits, counted flat, each moved number stands."""
    moved = move(np.arange(np.prod(shape)).reshape(shape).astype(float))
    return np.asarray(moved).astype(int)


def carried_back(shares, where, shape=(3, 4)):
    total = np.zeros(np.prod(shape))
    np.add.at(total, where.ravel(), np.ravel(shares))
    return total.reshape(shape)


def logits_of_size(size, shape=(3, 4)):
    z = np.random.default_rng(int(size)).normal(size=shape)
    return size * np.sign(z) + z


def derivatives(loss_of, z, v):
    """The loss, its gradient, and its Hessian times v."""
    leaf = Tensor(z, requires_grad=True)
    loss = loss_of(leaf)
    slope = tg.gradients(loss, leaf, create_graph=True)
    curvature = tg.gradients((slope * v).sum(), leaf)
    leaf.grad = None
    loss.backward()
    np.testing.assert_allclose(leaf.grad, slope.data, rtol=1e-12, atol=1e-300)
    return loss.data, slope.data, curvature


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MOVES)
def test_sigmoid_moved(way, name, size):
    move, z, v = MOVES[name], logits_of_size(size), np.random.default_rng(1).normal(size=(3, 4))
    where = positions(move)
    y = np.random.default_rng(2).integers(0, 2, where.shape).astype(float)
    at, along = z.ravel()[where], v.ravel()[where]
    elements = -(y * scipy.special.log_expit(at) + (1 - y) * scipy.special.log_expit(-at))
    slopes = (1 - y) * scipy.special.expit(at) - y * scipy.special.expit(-at)
    curvatures = scipy.special.expit(at) * scipy.special.expit(-at) * along
    loss, slope, curvature = derivatives(lambda t: binary_cross_entropy(move(ops.sigmoid(t)), y, reduction="sum"), z, v)
    np.testing.assert_allclose(loss, elements.sum(), rtol=1e-13)
    np.testing.assert_allclose(slope, carried_back(slopes, where), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(curvature, carried_back(curvatures, where), rtol=1e-11, atol=1e-300)


# Of a softmax along axis 1 of (3, 4): the move, and along which axis the classes lie then.
WHOLE = {
    "a slice": (lambda p: p[0:1], 1),
    "an integer": (lambda p: p[2], 0),
    "T": (lambda p: p.T, 0),
    "T of some": (lambda p: p[1:].T * 1.0, 0),
    "flat and back": (lambda p: p.reshape(-1).reshape(3, 4), 1),
    "more axes": (lambda p: p.reshape(1, 3, 1, 4), 3),
    "swapaxes": (lambda p: ops.swapaxes(p.reshape(3, 1, 4), 0, 2), 0),
    "moveaxis": (lambda p: ops.moveaxis(p.reshape(3, 1, 4), -1, 1), 1),
    "rows by number, one twice": (lambda p: p[[2, 0, 2]], 1),
    "a mask of rows": (lambda p: p[np.array([True, False, True])], 1),
    "a mask of two axes": (lambda p: p.reshape(3, 1, 4)[np.array([[True], [False], [True]])], 1),
    "classes in another order": (lambda p: p[:, [3, 1, 0, 2]], 1),
    "classes backwards": (lambda p: p[:, ::-1], 1),
    "a new axis": (lambda p: p[:, None][..., :], 2),
    "classes flipped": (lambda p: ops.flip(p, axis=1), 1),
    "classes rolled": (lambda p: ops.roll(p, shift=1, axis=1), 1),
    "rows rolled": (lambda p: ops.roll(p, shift=1, axis=0), 1),
    "rows tiled": (lambda p: ops.tile(p, reps=(2, 1)), 1),
    "rows repeated": (lambda p: ops.repeat(p, repeats=(1, 0, 2), axis=0), 1),
    "a diagonal of rows": (lambda p: ops.diagonal(p.reshape(3, 1, 4), axis1=0, axis2=1), 0),
    "rows along an axis": (lambda p: ops.take_along_axis(p, np.array([[2] * 4, [0] * 4]), axis=0), 1),
    "broadcast_to": (lambda p: ops.broadcast_to(p, shape=(2, 3, 4)), 2),
    "concatenate": (lambda p: ops.concatenate(p[1:], p, axis=0), 1),
    "stack": (lambda p: ops.stack(p, p, axis=1), 2),
    "stack behind": (lambda p: ops.stack(p, p, axis=2), 1),
    "and 0": (lambda p: (p + 0).squeeze(), 1),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", WHOLE)
def test_softmax_moved_as_a_whole(way, name, soft, size):
    (move, axis), z, v = WHOLE[name], logits_of_size(size), np.random.default_rng(1).normal(size=(3, 4))
    where = positions(move)
    at, along = z.ravel()[where], v.ravel()[where]
    labels = np.random.default_rng(2).integers(0, 4, np.delete(where.shape, axis))
    q = np.moveaxis((labels[..., None] == np.arange(4)).astype(float), -1, axis)
    p = scipy.special.softmax(at, axis=axis)
    true = (at * q).sum(axis=axis, keepdims=True)
    gaps = scipy.special.logsumexp(np.where(q == 1, -np.inf, at - true), axis=axis)
    loss = np.logaddexp(0, gaps).sum()  # log(1 + sum exp(other - true)) keeps the digits of a small loss
    slopes = np.where(q == 1, -_others(p, q, axis), p)
    curvatures = p * (along - (p * along).sum(axis=axis, keepdims=True))

    def loss_of(t, **options):
        return cross_entropy(move(ops.softmax(t)), q if soft else labels, axis=axis, reduction="sum", **options)

    value, slope, curvature = derivatives(loss_of, z, v)
    np.testing.assert_allclose(value, loss, rtol=1e-13)
    np.testing.assert_allclose(slope, carried_back(slopes, where), rtol=1e-11, atol=1e-300)
    np.testing.assert_allclose(curvature, carried_back(curvatures, where), rtol=1e-9, atol=1e-14)


def _others(p, q, axis):
    """1 - p of the true class, as the sum of the other classes, which keeps its digits."""
    return np.broadcast_to((p * (1 - q)).sum(axis=axis, keepdims=True), p.shape)


# What is no longer a whole distribution along the axis, though of equal quarters or thirds its numbers sum to 1.
CUT = {
    "along the other axis": ((4, 4), lambda p: p, 0),
    "the diagonal": ((4, 4), lambda p: p[[0, 1, 2, 3], [0, 1, 2, 3]], 0),
    "two rows as one": ((4, 4), lambda p: ops.concatenate(p[0, :2], p[1, 2:]), 0),
    "shifted by two": ((3, 4), lambda p: p.reshape(12)[2:10].reshape(2, 4), 1),
    "a class twice": ((3, 4), lambda p: p[:, [0, 0, 2, 3]], 1),
    "the same, as a mask": ((2, 4), lambda p: p[np.array([[True, True, False, False], [False, True, True, False]])], 0),
    "classes of several rows": ((3, 4), lambda p: ops.broadcast_to(p[:, :1], shape=(3, 4)), 1),
    "rolled flat": ((3, 4), lambda p: ops.roll(p, shift=1), 1),
    "classes repeated": ((3, 4), lambda p: ops.repeat(p[:, :2], repeats=2, axis=1), 1),
    "rows mixed along an axis": ((4, 4), lambda p: ops.take_along_axis(p, np.array([[0, 1, 2, 3]]), axis=0), 1),
    "classes in another order in each row": (
        (2, 4),
        lambda p: ops.take_along_axis(p, np.array([[0, 1, 2, 3], [1, 0, 2, 3]]), axis=1),
        1,
    ),
    "of two softmaxes": ((2, 4), lambda p: ops.concatenate(p[:, :2], p[::-1, 2:], axis=1), 1),
}


@pytest.mark.parametrize("name", CUT)
def test_a_distribution_that_was_cut_is_not_taken_for_a_whole(name):
    """The gradient is that of the logarithm of what is there."""
    shape, move, axis = CUT[name]
    z = Tensor(np.zeros(shape), requires_grad=True)
    p = move(ops.softmax(z))
    labels = np.zeros(np.delete(p.shape, axis), int)
    loss = cross_entropy(p, labels, axis=axis, reduction="sum")
    assert "xent" not in {x.op.name for x in _graph(loss)}
    first = np.moveaxis(positions(move, shape), axis, 0)[0]
    expected = np.zeros(shape)
    for row, column in zip(*np.unravel_index(first.ravel(), shape), strict=True):
        expected[row] += 1 / 4
        expected[row, column] -= 1
    np.testing.assert_allclose(tg.gradients(loss, z), expected, atol=1e-15)


def test_random_chains_of_moves_agree_with_the_textbook_graph():
    """Whatever is decided for a chain, value, gradient and curvature are those without fusing, where both are exact."""
    rng = np.random.default_rng(7)
    fused = 0
    for _ in range(150):
        z, v = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
        axis = int(rng.integers(3))
        chain = [int(k) for k in rng.integers(0, 8, rng.integers(1, 5))]
        seed = int(rng.integers(1000))

        def moved(t, axis=axis, chain=chain, seed=seed):
            p = ops.softmax(t, axis=axis)
            choose = np.random.default_rng(seed)
            for kind in chain:
                p = _step(p, kind, choose)
            return p

        p = moved(Tensor(z, requires_grad=True))
        for along in range(p.ndim):
            if p.size and np.allclose(p.data.sum(axis=along), 1):
                labels = rng.integers(0, p.shape[along], np.delete(p.shape, along))
                ours, plain = (
                    derivatives(
                        lambda t, f=f, a=along, y=labels: cross_entropy(moved(t), y, axis=a, fused=f, reduction="sum"),
                        z,
                        v,
                    )
                    for f in (True, False)
                )
                for a, b in zip(ours, plain, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
                loss = cross_entropy(p, labels, axis=along)
                fused += "xent" in {x.op.name for x in _graph(loss)}
    assert fused > 80


def _graph(loss):
    waiting, found = [loss], []
    while waiting:
        x = waiting.pop()
        if isinstance(x, Tensor) and x.op is not None:
            found.append(x)
            waiting += x.inputs
    return found


def _step(p, kind, choose):
    if kind == 0:
        return ops.transpose(p, axes=tuple(int(a) for a in choose.permutation(p.ndim)))
    if kind == 1:
        return p.reshape(-1) if p.ndim > 2 else p.reshape(1, *p.shape)
    if kind == 2 and p.ndim:
        axis = int(choose.integers(p.ndim))
        return ops.index(p, (slice(None),) * axis + (choose.permutation(p.shape[axis]),))
    if kind == 3 and p.ndim > 1:
        return p[int(choose.integers(p.shape[0]))]
    if kind == 4:
        return ops.concatenate(p, p, axis=int(choose.integers(p.ndim)))
    if kind == 5:
        return ops.stack(p, p, axis=int(choose.integers(p.ndim + 1)))
    if kind == 6:
        return p[..., ::-1] * 1.0
    if p.size == 24:
        return p.reshape(*((4, 3, 2), (2, 3, 4), (3, 2, 4), (6, 4))[int(choose.integers(4))])
    return p


# ---- dtypes, other losses, layers


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_cast_gives_the_loss_its_dtype_and_takes_no_digit_of_the_logits(way, dtype):
    z = Tensor(np.array([40.0, -1e6]), requires_grad=True)  # the second is infinite in float16
    loss = binary_cross_entropy(ops.sigmoid(z).astype(dtype), np.array([0.0, 0.0]))
    assert loss.dtype == dtype
    assert loss.item() == 20.0
    np.testing.assert_array_equal(tg.gradients(loss, z), [0.5, 0.0])


def test_log_softmax_and_the_divergence_go_through_the_logits_too(way):
    z = np.array([[0.0, 900.0, 1.0], [-900.0, 0.0, 0.0]])
    q = np.array([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25]])
    for move in (lambda p: p, lambda p: (p.T * 1.0).T, lambda p: p[[0, 1]]):
        leaf = Tensor(z, requires_grad=True)
        loss = nll(move(ops.log_softmax(leaf)), q, reduction="sum")
        np.testing.assert_allclose(loss.data, 900 + 450 + np.log(2), rtol=1e-14)
        np.testing.assert_allclose(tg.gradients(loss, leaf), [[-1, 1, 0], [-0.5, 0.25, 0.25]], rtol=1e-14)
        loss = kl_divergence(move(ops.softmax(leaf)), q, reduction="sum")
        np.testing.assert_allclose(loss.data, 900 + 450 - 0.5 * np.log(2), rtol=1e-14)
        np.testing.assert_allclose(tg.gradients(loss, leaf), [[-1, 1, 0], [-0.5, 0.25, 0.25]], rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Softmax(), nn.Flatten()],
        [nn.Softmax(), lambda p: p[:, :, None], nn.Flatten()],
        [nn.Sequential(nn.Softmax()), lambda p: 1.0 * p],
        [lambda z: z.T, nn.Softmax(axis=0), lambda p: p.T],
    ],
)
def test_layers_behind_a_softmax(layers):
    z = Tensor(np.array([[0.0, 900.0], [900.0, 0.0]]), requires_grad=True)
    loss = nn.CrossEntropy()(nn.Sequential(*layers)(z), np.array([0, 0]))
    assert loss.item() == 450.0
    np.testing.assert_array_equal(tg.gradients(loss, z), [[-0.5, 0.5], [0, 0]])


def test_layers_behind_a_sigmoid():
    z = Tensor(np.array([[40.0], [-40.0]]), requires_grad=True)
    loss = nn.BCE(reduction="sum")(nn.Sequential(nn.Sigmoid(), nn.Flatten(), lambda p: p[:, 0])(z), np.array([0, 1]))
    assert loss.item() == 80.0
    np.testing.assert_array_equal(tg.gradients(loss, z), [[1], [-1]])


# ---- where the gradient at the probabilities is wanted


def test_the_gradient_at_probabilities_that_a_loss_passed_over_raises_instead_of_being_zero():
    z = Tensor(np.array([0.5, -0.5]), requires_grad=True)
    p = ops.sigmoid(z).named("p")
    q = p.reshape(1, 2)
    loss = binary_cross_entropy(q, np.array([[1.0, 0.0]]))
    for passed_over in (p, q):
        with pytest.raises(ValueError, match=r"passes over .*fused=False"):
            tg.gradients(loss * 2, passed_over)
    slope = tg.gradients(binary_cross_entropy(q, np.array([[1.0, 0.0]]), fused=False, reduction="sum"), p)
    np.testing.assert_allclose(slope, [-1 / p.data[0], 1 / (1 - p.data[1])], rtol=1e-14)
    other = ops.softmax(Tensor(np.ones((1, 2)), requires_grad=True))
    np.testing.assert_array_equal(tg.gradients(loss, other), 0)  # has nothing to do with the loss


def test_the_gradient_of_a_function_of_probabilities_is_taken_at_them():
    p = ops.sigmoid(Tensor(np.array([0.5, -0.5]), requires_grad=True))
    slope = tg.grad(lambda q: binary_cross_entropy(q[::-1], np.array([1.0, 0.0]), reduction="sum"))(p)
    np.testing.assert_allclose(slope.data, [1 / (1 - p.data[0]), -1 / p.data[1]], rtol=1e-14)


def test_a_parameter_that_was_written_to_since_does_not_change_the_loss_of_earlier_probabilities():
    w = Tensor(np.array([1.0, -2.0]), requires_grad=True)
    p = ops.sigmoid(w)
    w.grad = np.array([1.0, 1.0])
    SGD([w], lr=5.0).step()
    for q in (p, p.reshape(2)):
        loss = binary_cross_entropy(q, np.array([1.0, 0.0]), reduction="sum")
        np.testing.assert_allclose(loss.data, np.log1p(np.exp(-1)) + np.log1p(np.exp(-2)), rtol=1e-14)


# ---- where nothing is recorded


@pytest.mark.parametrize("name", ["reshape", "T", "a mask", "concatenate", "times 1"])
def test_an_evaluation_has_the_loss_of_the_training(way, name):
    """In float64 sigmoid(40) is 1, so that only the logits know the loss."""
    move, z = MOVES[name], logits_of_size(40.0)
    y = np.zeros(positions(move).shape)
    right = np.logaddexp(0, z.ravel()[positions(move)]).mean()
    with tg.no_grad():
        for leaf in (Tensor(z), Tensor(z, requires_grad=True)):
            np.testing.assert_allclose(binary_cross_entropy(move(ops.sigmoid(leaf)), y).data, right, rtol=1e-13)
    np.testing.assert_allclose(binary_cross_entropy(move(ops.sigmoid(Tensor(z))), y).data, right, rtol=1e-13)
    assert np.isinf(binary_cross_entropy(move(ops.sigmoid(Tensor(z))), y, fused=False).data)
    assert np.isinf(binary_cross_entropy(move(ops.sigmoid(Tensor(z)).detach()), y).data)


def test_an_evaluation_by_a_trainer_has_the_loss_of_the_training():
    model = nn.Sequential(nn.Dense(1, 2, init=lambda n_in, n_out: np.array([[0.0, 900.0]])), nn.Softmax(), nn.Flatten())
    trainer = tg.Trainer(model, nn.CrossEntropy(), SGD(model.parameters(), lr=1e-9))
    X, y = np.ones((4, 1)), np.array([0, 1, 0, 0])
    assert trainer.evaluate(X, y)["loss"] == 675.0
    assert trainer.fit(X, y, epochs=1, progress=False)["loss"] == [675.0]


def test_unrecorded_results_do_not_keep_what_they_were_made_of_forever():
    x = Tensor(np.ones(3))
    first = weakref.ref(x)
    for _ in range(5):
        x = ops.sigmoid(x)
    gc.collect()
    assert first() is None


# ---- programs


def binary_step():
    w = parameter((40.0, -40.0, 3.0))

    def loss_of(x, y):
        return binary_cross_entropy((ops.sigmoid(w * x).reshape(-1) * 1.0)[::-1], y)

    return world(learning(loss_of, SGD([w])), [w])


def softmax_step():
    w = parameter(np.array([[0.0, 900.0, 1.0], [40.0, 0.0, 2.0]]))

    def loss_of(x, y):
        return cross_entropy(ops.softmax(w * x, axis=1).T[:, 1:], y[1:], axis=0)

    return world(learning(loss_of, SGD([w])), [w])


@pytest.mark.parametrize("make", [binary_step, softmax_step])
def test_traced_printed_and_compiled_steps_go_through_the_logits_too(make):
    batches = [
        (np.full(3, 1.0 + k), np.array([0, 1, 1]) if make is binary_step else np.array([0, 1])) for k in range(3)
    ]
    with loops_as_python():
        assert_equals_eager(make, batches, ways=ALL)


def test_rows_that_a_program_chooses_by_its_input_stay_whole_and_classes_may_not():
    """A program is written for all inputs; class indices that are an input once keep all classes, and once not."""
    z = Tensor(np.array([[0.0, 40.0, 1.0], [3.0, 1.0, 2.0]]), requires_grad=True)

    y = np.array([0, 0])
    program = tg.trace(lambda k, y: cross_entropy(ops.softmax(z)[k], y), np.array([0, 1]), y)
    assert "xent" in {i.op.name for i in program.instructions}
    np.testing.assert_allclose(program.run(np.array([1, 1]), y).data, np.log(1 + np.exp(-2) + np.exp(-1)), rtol=1e-14)
    program = tg.trace(lambda k, y: cross_entropy(ops.softmax(z)[1:, k], y), np.array([0, 1, 2]), y[:1])
    right = np.exp(1 - scipy.special.logsumexp([3.0, 1.0, 2.0]))
    np.testing.assert_allclose(program.run(np.array([1, 1, 1]), y[:1]).data, -np.log(right), rtol=1e-14)
