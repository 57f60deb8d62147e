"""Numbers that layers start from and conventions that they follow, against values computed by hand and statistics."""

import numpy as np
import pytest
import scipy.sparse

import tinygrad_ce as tg
from tinygrad_ce import data, nn
from tinygrad_ce.nn import init

# ---- initial weights: moments of the distribution that is documented, within four standard errors


def assert_drawn_from(sample, variance, kurtosis):
    n = sample.size
    assert abs(sample.mean()) < 4 * np.sqrt(variance / n)
    assert abs(sample.var() - variance) < 4 * variance * np.sqrt((kurtosis - 1) / n)
    assert abs((sample > 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(n)


NORMAL, UNIFORM = 3.0, 1.8  # kurtosis
MOMENTS = {
    "glorot_uniform": (2 / 700, UNIFORM), "glorot_normal": (2 / 700, NORMAL),
    "he_uniform": (2 / 300, UNIFORM), "he_normal": (2 / 300, NORMAL),
}  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", MOMENTS)
def test_initial_weights_have_mean_zero_and_their_variance(name, seed):
    tg.seed(seed)
    assert_drawn_from(init.initial(name, 300, 400), *MOMENTS[name])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_embedding_starts_from_the_standard_normal_distribution(seed):
    tg.seed(seed)
    W = nn.Embedding(300, 400).W.data
    assert_drawn_from(W, 1.0, NORMAL)
    np.testing.assert_allclose((W**4).mean(), 3, rtol=0.05)
    assert np.abs(W.mean(axis=0)).max() < 5 / np.sqrt(300)  # no column is shifted
    assert np.abs(W.mean(axis=1)).max() < 5 / np.sqrt(400)


def test_a_dense_layer_is_glorot_uniform_by_default():
    tg.seed(0)
    ours = nn.Dense(30, 40).W.data
    tg.seed(0)
    np.testing.assert_array_equal(ours, init.glorot_uniform(30, 40))


# ---- Dropout


def test_dropout_of_rate_zero_is_the_identity_and_draws_nothing():
    layer, x = nn.Dropout(0), np.ones((3, 4))
    layer.generator = np.random.default_rng(5)
    before = layer.generator.bit_generator.state
    assert layer(x) is x
    tensor = tg.Tensor(x, requires_grad=True)
    assert layer(tensor) is tensor
    assert layer.generator.bit_generator.state == before


@pytest.mark.parametrize("rate", [1e-9, 0.01, 0.5, 0.9, 0.999, np.float32(0.25), np.float64(0.75)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_dropout_keeps_is_scaled_by_one_over_the_share_that_stays(rate, dtype):
    tg.seed(1)
    y = nn.Dropout(rate)(np.ones((500, 400), dtype))
    n, p = y.size, float(rate)
    assert y.dtype == dtype
    np.testing.assert_allclose(y[y != 0], 1 / (1 - p), rtol=2 * np.finfo(dtype).eps)
    assert abs((y == 0).sum() - n * p) <= 4 * np.sqrt(n * p * (1 - p)) + 1
    assert abs(y.mean(dtype=float) - 1) <= 4 * np.sqrt(p / (1 - p) / n) + 1e-6


def test_elements_are_dropped_independently():
    tg.seed(2)
    dropped = nn.Dropout(0.5)(np.ones((400, 400))) == 0
    for one, other in ((dropped[1:], dropped[:-1]), (dropped[:, 1:], dropped[:, :-1]), (dropped, dropped.T)):
        assert abs((one & other).mean() - (0.25 if one.shape != (400, 400) else 0.25 + 0.25 / 400)) < 4 * 0.5 / 400


@pytest.mark.parametrize("rate", ["0.5", None, True, [0.5], 0.5j])
def test_rates_that_are_no_numbers_are_refused(rate):
    with pytest.raises(TypeError, match=r"Dropout: rate=.* must be a number"):
        nn.Dropout(rate)


@pytest.mark.parametrize(
    ("make", "options"),
    [(nn.BatchNorm, {"momentum": "0.1"}), (nn.BatchNorm, {"eps": None}), (nn.LayerNorm, {"eps": "small"})],
    ids=str,
)
def test_options_of_norm_layers_that_are_no_numbers_are_refused(make, options):
    (name,) = options
    with pytest.raises(TypeError, match=f"{make.__name__}: {name}=.* must be a number"):
        make(2, **options)


# ---- the norm layers, on numbers whose answers can be seen: 1 and 3 have mean 2, variance 1, unbiased variance 2

TWO = np.array([[1.0], [3.0]])


@pytest.mark.parametrize(
    ("momentum", "mean", "variance"), [(0.1, 0.2, 1.1), (0.0, 0.0, 1.0), (1.0, 2.0, 2.0), (0.25, 0.5, 1.25)]
)
def test_the_running_averages_follow_by_momentum_and_with_the_unbiased_variance(momentum, mean, variance):
    layer = nn.BatchNorm(1, momentum=momentum)
    layer(TWO)
    np.testing.assert_allclose([layer.running_mean[0], layer.running_variance[0]], [mean, variance], rtol=1e-15)


def test_batch_norm_itself_divides_by_the_biased_variance_and_adds_eps_under_the_root():
    np.testing.assert_allclose(nn.BatchNorm(1, eps=0.0)(TWO).data, [[-1], [1]], rtol=1e-15)
    np.testing.assert_allclose(nn.BatchNorm(1, eps=3.0)(TWO).data, [[-0.5], [0.5]], rtol=1e-15)
    np.testing.assert_allclose(nn.BatchNorm(1)(TWO).data, TWO - 2, rtol=1e-5)
    np.testing.assert_allclose(1 / nn.BatchNorm(1)(TWO).data[1, 0] ** 2 - 1, 1e-5, rtol=1e-9)


def test_batch_norm_starts_as_the_identity_in_evaluation_but_for_eps():
    np.testing.assert_allclose(nn.BatchNorm(1, eps=0.0).eval()(TWO).data, TWO, rtol=1e-15)
    np.testing.assert_allclose(nn.BatchNorm(1, eps=3.0).eval()(TWO).data, TWO / 2, rtol=1e-15)


def test_layer_norm_divides_by_the_biased_variance_and_adds_eps_under_the_root():
    row = TWO.T
    np.testing.assert_allclose(nn.LayerNorm(2, eps=0.0)(row).data, [[-1, 1]], rtol=1e-15)
    np.testing.assert_allclose(nn.LayerNorm(2, eps=3.0)(row).data, [[-0.5, 0.5]], rtol=1e-15)
    np.testing.assert_allclose(1 / nn.LayerNorm(2)(row).data[0, 1] ** 2 - 1, 1e-5, rtol=1e-9)
    np.testing.assert_array_equal(nn.LayerNorm(3)(np.full((2, 3), 7.0)).data, np.zeros((2, 3)))  # no 0 / 0


# ---- sparse data


def test_batches_and_data_sets_answer_sparse_data_with_toarray():
    sparse = scipy.sparse.csr_matrix(np.eye(3))
    with pytest.raises(TypeError, match=r"batches: X is a sparse csr_matrix; pass X\.toarray\(\)"):
        data.batches(sparse, np.arange(3), 2)
    with pytest.raises(TypeError, match=r"batches: y is a sparse csr_matrix; pass y\.toarray\(\)"):
        data.batches(np.eye(3), sparse, 2)
    with pytest.raises(TypeError, match=r"Dataset: X is a csr_matrix; .*X\.toarray\(\)"):
        data.Dataset(sparse, np.zeros(3), ("a", "b", "c"), (), "sparse", np.ones(3, bool))
