"""tg.surface: its numbers against NumPy's, what it leaves alone, what it says, and what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce.views import Route
from tinygrad_ce.views.surface.directions import eigenpairs
from tinygrad_ce.views.surface.landscape import witness_of

rng = np.random.default_rng(5)
X = rng.normal(size=(30, 2))
Y = (X[:, :1] * X[:, 1:] > 0).astype(float)
BCE = nn.SigmoidBCE()


def network(*sizes, activation=nn.Tanh):
    tg.seed(0)
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [nn.Dense(n_in, n_out), activation()]
    return nn.Sequential(*layers[:-1])


def model_vector(model):
    return np.concatenate([p.data.ravel() for p in model.parameters()])


def logistic_loss(W, b):
    """By hand, of plain arrays."""
    z = X @ W + b
    return np.mean(np.logaddexp(0, z) - Y * z)


def as_function(model):
    """The loss as a function of one flat vector, for tg.hessian."""
    shapes = [p.shape for p in model.parameters()]
    ends = np.cumsum([p.size for p in model.parameters()])

    def cost(theta):
        (W1, b1, W2, b2) = (theta[e - int(np.prod(s)) : e].reshape(s) for e, s in zip(ends, shapes, strict=True))
        return tg.losses.sigmoid_binary_cross_entropy(tg.ops.tanh(X @ W1 + b1) @ W2 + b2, Y)

    return cost, model_vector(model)


# ---- numbers


@pytest.mark.parametrize("directions", ["random", "gradient", "hessian"])
def test_the_values_are_those_of_the_formula(directions):
    model = nn.Dense(2, 1)
    found = tg.surface(model, BCE, X, Y, directions, span=2.0, points=5)
    W, b = model.W.data, model.b.data
    (dW, db), (eW, eb) = found.directions
    for i, s in enumerate(found.steps):
        for j, t in enumerate(found.steps):
            expected = logistic_loss(W + s * dW + t * eW, b + s * db + t * eb)
            assert found.values[i, j] == pytest.approx(expected, rel=1e-12)
    assert found.loss == pytest.approx(logistic_loss(W, b), rel=1e-12)
    assert found.steps.tolist() == [-2, -1, 0, 1, 2]


def test_eigenvalues_and_curvatures_are_those_of_the_whole_hessian():
    model = network(2, 5, 1)
    cost, theta = as_function(model)
    H = tg.hessian(cost)(theta)
    expected, vectors = np.linalg.eigh(H)
    found = tg.surface(model, BCE, X, Y, "hessian", points=3)
    np.testing.assert_allclose(found.eigenvalues, expected[::-1][[0, 1, 2, -3, -2, -1]], rtol=1e-9, atol=1e-12)
    leading = vectors[:, np.argsort(-np.abs(expected))[:2]]
    plane = np.array([np.concatenate([part.ravel() for part in d]) for d in found.directions])
    np.testing.assert_allclose(np.abs(np.diag(plane @ leading)), 1, rtol=1e-9)
    random = tg.surface(model, BCE, X, Y, points=3)
    plane = np.array([np.concatenate([part.ravel() for part in d]) for d in random.directions])
    by_hand = np.einsum("ki,ij,kj->k", plane, H, plane) / np.sum(plane**2, axis=1)
    np.testing.assert_allclose(random.curvature, by_hand, rtol=1e-9)


def test_lanczos_finds_the_ends_of_a_large_spectrum():
    Q, _ = np.linalg.qr(rng.normal(size=(400, 400)))
    spectrum = np.concatenate([[9.0, 5.0, 4.0], rng.uniform(-1, 1, 395), [-2.0, -3.0]])
    matrix = Q * spectrum @ Q.T
    values, vectors = eigenpairs(lambda v: matrix @ v, 400)
    np.testing.assert_allclose(values[[0, 1, 2, -2, -1]], [9, 5, 4, -2, -3], rtol=1e-8)
    np.testing.assert_allclose(matrix @ vectors[0], 9 * vectors[0], atol=1e-6)


@pytest.mark.parametrize("spectrum", [[0.0] * 6, [2.0] * 6, [3.0, 3.0, 3.0, 1.0, 1.0, -1.0], [1e-200, 0, 0, 0, 0, 0]])
def test_lanczos_finds_eigenvalues_as_often_as_they_are_there(spectrum):
    Q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    values, vectors = eigenpairs(lambda v: Q @ (spectrum * (Q.T @ v)), 6)
    np.testing.assert_allclose(values, sorted(spectrum, reverse=True), atol=1e-12)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(6), atol=1e-12)


def test_random_directions_are_as_long_as_the_weights_of_each_neuron_and_leave_biases():
    model = network(2, 4, 1)
    model[0].b.data[:] = 1.0
    for direction in tg.surface(model, BCE, X, Y, points=3).directions:
        for part, parameter in zip(direction, model.parameters(), strict=True):
            if parameter.ndim == 1:
                assert not part.any()
            else:
                lengths = [np.sqrt(np.sum(array**2, axis=0)) for array in (part, parameter.data)]
                np.testing.assert_allclose(*lengths, rtol=1e-12)


def test_layers_scaled_against_each_other_which_compute_the_same_have_the_same_map():
    model, scaled = network(2, 4, 1, activation=nn.ReLU), network(2, 4, 1, activation=nn.ReLU)
    scaled[0].W.data *= 8
    scaled[2].W.data /= 8
    maps = [tg.surface(m, BCE, X, Y, points=5).values for m in (model, scaled)]
    np.testing.assert_allclose(*maps, rtol=1e-9)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_where_single_weights_leave_no_plane_all_parameters_span_one(weight):
    model = nn.Dense(1, 1)
    model.W.data[:] = weight
    found = tg.surface(model, tg.losses.mse, X[:, :1], Y, points=5)
    assert np.linalg.matrix_rank([np.concatenate([part.ravel() for part in d]) for d in found.directions]) == 2
    assert found.convex


def test_the_first_direction_of_gradient_goes_down_and_the_second_is_at_a_right_angle():
    model = network(2, 3, 1)
    gradients = tg.gradients(BCE(model(X), Y), model.parameters())
    first, second = tg.surface(model, BCE, X, Y, "gradient", points=3).directions
    length = np.sqrt(sum(np.sum(g**2) for g in gradients))
    for part, g in zip(first, gradients, strict=True):
        np.testing.assert_allclose(part, -g / length, rtol=1e-9, atol=1e-15)
    assert sum(np.vdot(a, b) for a, b in zip(first, second, strict=True)) == pytest.approx(0, abs=1e-12)


def test_directions_of_ones_own_and_those_of_another_map():
    model = network(2, 3, 1)
    found = tg.surface(model, BCE, X, Y, seed=1, points=3)
    again = tg.surface(model, BCE, X, Y, found.directions, points=3)
    np.testing.assert_array_equal(found.values, again.values)
    flat = np.eye(13)[:2]
    assert tg.surface(model, BCE, X, Y, flat, points=3).directions[0][0].ravel()[0] == 1


def test_no_direction_is_too_short_or_too_long():
    model = nn.Dense(2, 1)
    ones = tg.surface(model, BCE, X, Y, np.eye(3)[:2], points=3)
    for lengths in ([[1.0], [1e-20]], [[1e200], [1e200]], [[1e-200], [1e-200]]):
        found = tg.surface(model, BCE, X, Y, lengths * np.eye(3)[:2], points=3)
        np.testing.assert_allclose(found.curvature, ones.curvature, rtol=1e-12)
    with pytest.raises(ValueError, match="span no plane"):  # a straight path, and rounding beside it
        tg.surface(model, BCE, X, Y, "path", path=[np.full(3, 0.1 * k) + model_vector(model) for k in range(5)])


# ---- bowls


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logistic_regression_is_a_bowl_and_a_hidden_layer_is_not(seed, dtype):
    tg.seed(seed)
    linear = nn.Dense(2, 1).astype(dtype)
    assert tg.surface(linear, BCE, X.astype(dtype), Y, span=5.0, seed=seed, points=11).convex
    softmax = nn.Dense(2, 3).astype(dtype)  # its Hessian has directions with curvature 0
    found = tg.surface(softmax, tg.losses.softmax_cross_entropy, X, rng.integers(0, 3, 30), seed=seed, points=11)
    assert found.convex
    assert found.lowest_curvature == pytest.approx(0, abs=1e-12)
    assert "the smallest curvature found is 0 (up to rounding)" in " ".join(str(found).split())
    deep = tg.surface(network(2, 6, 1), BCE, X, Y, span=2.0, seed=seed, points=11)
    assert not deep.convex
    assert deep.eigenvalues[-1] < 0


@pytest.mark.parametrize("seed", range(4))
def test_rounding_of_second_derivatives_that_are_0_is_no_verdict(seed):
    tg.seed(seed)
    found = tg.surface(nn.Dense(2, 1), lambda p, y: ((p - y) ** 2).sqrt().mean(), X, Y, seed=seed, points=5)
    assert found.convex is True
    assert 0 < np.abs(found.eigenvalues).max() < 1e-14  # it is piecewise linear
    assert "eigenvalues  0, 0, 0\n" in str(found)


def test_a_witness_is_a_pair_with_a_hill_between():
    model = network(2, 6, 1)
    found = tg.surface(model, BCE, X, Y, span=3.0, points=11)
    start, end = found.witness
    (dW, *_), (eW, *_) = found.directions
    first = model.parameters()[0]

    def loss(a, b):
        for parameter, d, e, own in zip(model.parameters(), *found.directions, before, strict=True):
            parameter.data = own + a * d + b * e
        return BCE(model(X), Y).item()

    before = [parameter.data for parameter in model.parameters()]
    assert first.shape == dW.shape == eW.shape
    assert loss(*(start + end) / 2) > (loss(*start) + loss(*end)) / 2 + 1e-3


def test_witnesses_of_plain_functions():
    steps = np.linspace(-1, 1, 7)
    a, b = np.meshgrid(steps, steps, indexing="ij")
    for bowl in (a**2 + b**2, a + b, np.abs(a - 2 * b), np.exp(3 * a - b), np.maximum(a, b), np.zeros((7, 7))):
        assert witness_of(bowl, steps, 2e-16) is None
    holes = np.where(a > 0.9, np.nan, a**2 + b**2)
    assert witness_of(holes, steps, 2e-16) is None
    for saddle in (a**2 - b**2, b**2 - a**2, a * b, -a * b, np.where(a > 0.9, np.inf, -(b**2))):
        start, end = witness_of(saddle, steps, 2e-16)
        assert np.abs([*start, *end]).max() <= 1


# ---- the path of a training


def trained(epochs=8, **options):
    model = network(2, 4, 1)
    route = Route(model, **options)
    trainer = tg.Trainer(model, BCE, tg.optim.SGD(model.parameters(), lr=0.5))
    trainer.fit(X, Y, epochs=epochs, seed=0, callbacks=[route])
    return model, route


def test_a_path_begins_before_the_training_and_ends_in_the_middle():
    model, route = trained()
    assert len(route.points) == 9
    found = tg.surface(model, BCE, X, Y, "path", points=5, path=route)
    np.testing.assert_allclose(found.path[-1], 0, atol=1e-12)
    assert np.abs(found.path).max(axis=0) == pytest.approx(1 / 1.1)  # all of it is on the map
    way = np.array(route.points) - route.points[-1]
    sizes = np.linalg.svd(way, compute_uv=False) ** 2
    assert found.share == pytest.approx(sizes[:2].sum() / sizes.sum(), rel=1e-9)
    assert 99.95 < 100 * found.share < 100
    assert "The plane shows 99.9 % of the path" in str(found)


def test_a_path_is_projected_by_least_squares_on_any_two_directions():
    model, route = trained()
    found = tg.surface(model, BCE, X, Y, points=5, span=0.01, path=[*route.points])
    plane = np.array([np.concatenate([part.ravel() for part in d]) for d in found.directions])
    way = np.array(route.points) - route.points[-1]
    np.testing.assert_allclose((way - found.path @ plane) @ plane.T, 0, atol=1e-10)
    assert "pass a larger span" in " ".join(str(found).split())


def test_a_route_is_bounded_and_counts_epochs():
    assert len(trained(8, every=3)[1].points) == 3
    model = nn.Dense(2, 2)
    route = Route(model)
    for step in range(1, 1000):
        model.W.data[:] = step
        route()
    assert len(route.points) <= 256
    kept = [point[0] for point in route.points[1:]]
    assert kept == [route.every * k for k in range(1, len(kept) + 1)]
    other = network(2, 1)
    with pytest.raises(ValueError, match="another model"):
        route(tg.Trainer(other, BCE, tg.optim.SGD(other.parameters(), lr=0.1)))
    for nothing_to_train in (print, nn.Tanh()):
        with pytest.raises(TypeError, match=r"pass the tg\.nn\.Module"):
            Route(nothing_to_train)


# ---- what is left alone


def test_everything_is_put_back_to_the_last_bit():
    tg.seed(1)
    model = nn.Sequential(nn.Dense(2, 4), nn.BatchNorm(4), nn.Dropout(0.5), nn.Dense(4, 1)).astype(np.float32)
    loss = BCE(model(X.astype(np.float32)), Y)
    loss.backward()
    parameters = model.parameters()
    arrays, gradients = [p.data for p in parameters], [p.grad.copy() for p in parameters]
    bits = {path: array.tobytes() for path, array in model.state().items()}
    state = np.random.get_state()[1].copy()
    first = tg.surface(model, BCE, X, Y, "hessian", points=3)
    np.testing.assert_array_equal(first.values, tg.surface(model, BCE, X, Y, "hessian", points=3).values)
    assert {path: array.tobytes() for path, array in model.state().items()} == bits
    assert all(p.data is array for p, array in zip(parameters, arrays, strict=True))
    assert all(np.array_equal(p.grad, g) for p, g in zip(parameters, gradients, strict=True))
    assert np.array_equal(np.random.get_state()[1], state)
    loss.backward()  # the graph from before is whole
    with pytest.raises(ZeroDivisionError):
        tg.surface(model, lambda p, y: 1 / 0, X, Y)
    assert all(p.data is array for p, array in zip(parameters, arrays, strict=True))


def test_a_penalty_on_the_parameters_moves_with_them():
    model = nn.Dense(2, 1)
    W = model.W
    found = tg.surface(model, lambda p, y: BCE(p, y) + (W * W).sum(), X, Y, points=3)
    plain = tg.surface(model, BCE, X, Y, points=3)
    moved = W.data + found.directions[0][0]
    assert found.values[2, 1] - plain.values[2, 1] == pytest.approx(np.sum(moved**2))
    with tg.no_grad():
        np.testing.assert_array_equal(tg.surface(model, BCE, X, Y, points=3).values, plain.values)


# ---- how it is shown


def test_points_that_are_not_finite_are_left_out_and_said(tmp_path):
    model = nn.Dense(1, 1)
    model.W.data[:], model.b.data[:] = 1.0, 1.0
    ones = np.ones((4, 1))
    found = tg.surface(model, lambda p, y: (p - y - p.log()).mean(), ones, ones, np.eye(2), span=2.0, points=9)
    missing = int((~np.isfinite(found.values)).sum())
    assert missing == sum(2 + a + b <= 0 for a in found.steps for b in found.steps) > 0
    assert f"At {missing} of 81 points" in str(found)
    assert "?: not finite" in str(found)
    assert "?: not finite" not in str(tg.surface(model, tg.losses.mse, ones, ones, points=5))
    assert found.convex
    found.plot(tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 5000


def test_the_map_in_characters_has_the_parameters_in_the_middle_and_low_below_high():
    model = nn.Dense(2, 1)
    found = tg.surface(model, tg.losses.mse, X, Y, span=4.0)
    lines = str(found).splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("  eigenvalues")) + 1
    rows = [line.ljust(31) for line in lines[start : start + 16]]
    (row,) = [k for k, line in enumerate(rows) if "X" in line]
    assert row in (7, 8)
    assert rows[row].index("X") == 15
    top = np.unravel_index(found.values[:, ::2].argmax(), (31, 16))
    assert rows[15 - top[1]][top[0]] == "@"


def test_a_steep_loss_has_a_logarithmic_scale(tmp_path):
    steep = tg.surface(nn.Dense(2, 1), lambda p, y: (p * 3).exp().mean(), X, Y, span=5.0)
    assert "(logarithmic)" in str(steep)
    figure = steep.plot(tmp_path / "steep")
    labels = [float(label.get_text()) for label in figure.axes[1].get_yticklabels()]
    assert labels[0] == pytest.approx(steep.values.min(), rel=1e-2)
    assert np.diff(np.log(labels)) == pytest.approx([np.log(labels[-1] / labels[0]) / 5] * 5, rel=2e-2)
    assert "logarithmic" not in str(tg.surface(nn.Dense(2, 1), BCE, X, Y, points=5))


def test_a_picture_says_what_its_signs_are():
    model, route = trained()
    figure = tg.surface(model, BCE, X, Y, points=5, path=route).plot()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["the training", "the parameters"]


def test_a_flat_loss_is_shown():
    flat = tg.surface(nn.Dense(2, 1), lambda p, y: (p * 0.0).sum() + 1.0, X, Y, points=5)
    assert flat.convex
    assert not flat.eigenvalues.any()
    assert str(flat)
    flat.plot()


def test_it_is_html_with_a_picture_and_names_are_escaped():
    class Evil(nn.Dense):
        pass

    Evil.__name__ = "<b>evil</b>"
    form = tg.surface(Evil(2, 1), BCE, X, Y, points=5)._repr_html_()
    assert "data:image/png;base64," in form
    assert "<b>evil" not in form
    assert "'X'" not in form


# ---- bad input


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"model": print}, TypeError, r"pass a tg\.nn\.Module"),
        ({"model": nn.Tanh()}, ValueError, "a plane needs two numbers"),
        ({"loss": tg.Tensor(1.0)}, TypeError, "pass the function that computes it"),
        ({"loss": lambda p, y: p}, ValueError, "reduce it with"),
        ({"loss": lambda p, y: 3.0}, TypeError, "float"),
        ({"loss": lambda p, y: tg.Tensor(3.0)}, ValueError, "has no history"),
        ({"loss": lambda p, y: p.sum() * np.nan}, ValueError, "ask tg.why_nan"),
        ({"y": Y[:7]}, ValueError, r"X has shape \(30, 2\) and y \(7, 1\)"),
        ({"y": None}, ValueError, "each row needs one target"),
        ({"span": 0.0}, ValueError, "span=0.0 must be a positive number"),
        ({"span": np.nan}, ValueError, "must be a positive number"),
        ({"points": 2}, ValueError, "points is 2; it must be at least 3"),
        ({"points": 3.5}, TypeError, "points is 3.5"),
        ({"directions": "hesian"}, ValueError, "pass one of random, gradient, hessian, path"),
        ({"directions": "path"}, ValueError, r"pass path=Route\(model\)"),
        ({"directions": [np.ones(3), 2 * np.ones(3)]}, ValueError, "neither 0 nor parallel"),
        ({"directions": [np.ones(3)]}, ValueError, "span no plane"),
        (
            {"directions": [np.ones(4), np.ones(3)]},
            ValueError,
            r"\(4,\)\], and the parameters have \[\(2, 1\), \(1,\)\]",
        ),
        ({"path": [np.ones(7)]}, ValueError, "a point of the path has the shapes"),
        ({"loss": lambda p, y: (p * 0.0).sum(), "directions": "gradient"}, ValueError, "the gradient is 0"),
        ({"loss": lambda p, y: (p * 0.0).sqrt().sum(), "directions": "gradient"}, ValueError, "or not finite"),
        (
            {"loss": lambda p, y: (p * 0.0).sqrt().sum(), "directions": "hessian"},
            FloatingPointError,
            r"tg\.surface: .* not finite here: pass directions='random'",
        ),
        ({"directions": None}, ValueError, "directions=None: pass one of random"),
        ({"directions": [np.ones(3), np.full(3, np.nan)]}, ValueError, "a direction holds NaN or infinity"),
        ({"path": [np.full(3, np.inf)]}, ValueError, "a point of the path holds NaN or infinity"),
        ({"path": nn.Dense(2, 1)}, TypeError, r"path is of class Dense: pass a tg\.views\.Route"),
        ({"loss": tg.losses.mse, "span": 1e200, "points": 4}, ValueError, "finite nowhere on the map: span=1e"),
    ],
)
def test_bad_input_is_refused_with_what_to_pass_instead(options, error, words):
    with pytest.raises(error, match=words):
        tg.surface(**({"model": nn.Dense(2, 1), "loss": BCE, "X": X, "y": Y} | options))


def test_a_loss_that_differs_from_call_to_call_is_refused():
    noise = np.random.default_rng(0)
    with pytest.raises(ValueError, match="switch off what is random"):
        tg.surface(nn.Dense(2, 1), lambda p, y: BCE(p, y) * noise.uniform(), X, Y)


def test_a_loss_without_second_derivatives_has_a_map_and_says_which_operation(registry):
    @tg.primitive
    def twice(x):
        return 2 * x

    @tg.primitive
    def square(x):
        return x**2

    @square.vjp("x")
    def square_x(g, out, x):
        return g * twice(x)

    model = nn.Dense(2, 1)
    found = tg.surface(model, lambda p, y: square(p - y).mean(), X, Y, points=5)
    assert "No curvature is known: twice has no derivative rule for `x`" in str(found)
    assert not found.eigenvalues.size
    np.testing.assert_allclose(found.values, tg.surface(model, tg.losses.mse, X, Y, points=5).values, rtol=1e-12)
    with pytest.raises(NotImplementedError, match="twice has no derivative rule"):
        tg.surface(model, lambda p, y: square(p - y).mean(), X, Y, "hessian")


def test_a_traced_step_has_no_surface():
    model = nn.Dense(2, 1)

    def step(x):
        tg.surface(model, BCE, X, Y)
        return model(x).sum()

    with pytest.raises(RuntimeError, match=r"tg\.surface: this step is being traced"):
        tg.trace(step, X)
