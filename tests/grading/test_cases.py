"""The inputs on which functions are tried: what is special about each, and that they stay inputs of the problem."""

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.grading.cases import Cases, resized
from tinygrad_ce.grading.problems import jumps, problem_of


def classifier_inputs(generator, n=6, features=3, classes=4):
    return {
        "x": generator.normal(size=(n, features)),
        "W": generator.normal(size=(features, classes)),
        "y": generator.integers(classes, size=n),
    }


def cross_entropy(x, W, y):
    z = x @ W
    shifted = z - z.max(axis=1, keepdims=True)
    return -(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))[np.arange(len(y)), y].mean()


def kept(forward, inputs):
    """The cases of a problem by their words."""
    return {case.words: case.arguments for case in problem_of(forward, inputs).cases}


def test_each_case_is_what_its_words_say():
    cases = kept(cross_entropy, classifier_inputs)
    assert cases["the example"]["x"].shape == (6, 3)
    assert (*cases["lengths that all differ"]["x"].shape, cases["lengths that all differ"]["W"].shape[1]) == (2, 3, 4)
    assert cases["lengths that are all alike"]["x"].shape == cases["lengths that are all alike"]["W"].shape == (3, 3)
    assert cases["one row"]["x"].shape == (1, 3)
    whole = cases["whole numbers, many of them equal or 0"]["x"]
    assert (whole == np.round(whole)).all()
    assert np.abs(cases["large numbers"]["x"] @ cases["large numbers"]["W"]).max() > 709  # exp overflows
    assert cases["float32"]["x"].dtype == np.float32
    assert cases["float32"]["y"].dtype.kind == "i"


def test_cases_are_the_same_each_time():
    first, second = kept(cross_entropy, classifier_inputs), kept(cross_entropy, classifier_inputs)
    assert all(np.array_equal(first[words][name], second[words][name]) for words in first for name in first[words])


def test_where_the_teachers_own_forward_pass_overflows_there_is_no_case():
    def naive(x, W, y):
        e = np.exp(x @ W)
        return -np.log((e / e.sum(axis=1, keepdims=True))[np.arange(len(y)), y]).mean()

    assert "large numbers" not in kept(naive, classifier_inputs)


def test_sizes_that_do_not_fit_together_are_left_out():
    def heads(generator, n=4, features=6):
        if features % 2:
            raise ValueError("features must be even")
        return {"x": generator.normal(size=(n, features))}

    cases = kept(lambda x: (x * x).sum(), heads)
    assert "lengths that are all alike" not in cases
    assert cases["one row"]["x"].shape == (1, 6)


def test_equal_lengths_of_a_dict_change_together():
    arrays = {"x": np.ones((6, 3)), "W": np.ones((3, 4)), "b": np.ones(4), "y": np.array([0, 1, 2, 3, 3, 0])}
    inputs = resized(arrays)
    assert Cases(inputs).sizes == ["n", "size1", "size2"]
    changed = inputs(np.random.default_rng(0), n=7, size1=5, size2=3)
    assert [changed[name].shape for name in arrays] == [(7, 5), (5, 3), (3,), (7,)]
    assert changed["y"].max() < 3  # labels stay those of the classes


@pytest.mark.parametrize("targets", [np.eye(4)[[0, 1, 2, 3, 3, 0]], np.full((6, 4), 0.25)])
def test_one_hot_rows_and_probabilities_stay_what_they_are(targets):
    z = np.random.default_rng(0).normal(size=(6, 4))

    def forward(z, t):
        shifted = z - z.max(axis=1, keepdims=True)
        return -(t * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))).sum() / len(z)

    for case in problem_of(forward, {"z": z, "t": targets}).cases:
        np.testing.assert_allclose(case.arguments["t"].sum(axis=1), 1, rtol=1e-6)

    def gradients(z, t):  # right for rows that sum to 1 only, as courses write it
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return {"d_z": (e / e.sum(axis=1, keepdims=True) - t) / len(z)}

    grade = tg.grade(gradients, forward, {"z": z, "t": targets}, points={"d_z": 1})
    assert grade.score == 1, grade


def test_zeros_and_ones_stay_zeros_and_ones():
    for case in problem_of(
        lambda x, mask: (x * mask).sum(), {"x": -np.ones(5), "mask": np.array([0, 1, 0, 1, 1.0])}
    ).cases:
        assert np.isin(case.arguments["mask"], (0, 1)).all()


# ---- where a derivative jumps


def relu_loss(x, W):
    z = x @ W
    return np.maximum(z, 0).sum() / 8


def relu_inputs(generator, n=4, features=3, hidden=5):
    return {"x": generator.normal(size=(n, features)), "W": generator.normal(size=(features, hidden))}


@pytest.mark.parametrize("at_zero", [0, 0.5, 1])
def test_any_convention_at_a_kink_is_right(at_zero):
    def gradients(x, W):
        d_z = np.heaviside(x @ W, at_zero) / 8
        return {"d_z": d_z, "d_W": x.T @ d_z, "d_x": d_z @ W.T}

    grade = tg.grade(gradients, relu_loss, relu_inputs, points={"d_z": 1, "d_W": 1, "d_x": 1})
    assert grade.score == 3, grade


@pytest.mark.parametrize("at_zero", [-3, 5])
def test_what_is_on_no_side_of_a_kink_is_wrong(at_zero):
    def gradients(dout, x):
        return {"d_x": dout * np.heaviside(x, at_zero)}

    grade = tg.grade(gradients, lambda x: np.maximum(x, 0), {"x": np.array([-1.5, 0.2, 0.7, -0.3, 2.0])})
    assert grade.verdicts["d_x"].mistake == "kink", grade


def test_a_tiny_gradient_is_judged_by_its_own_size():
    """What terms that cancel may leave is measured by these terms, and not by the largest gradient of all."""

    def loss(x):
        return (x**2).sum() * 1e-20

    x = {"x": np.array([-1.5, 0.2, 0.7, -0.3, 2.0])}
    assert tg.grade(lambda x: {"d_x": 2e-20 * x}, loss, x).score == 1
    for wrong in (0, -2e-20, 2e-20 * (1 + 1e-5), 1e-16):
        assert tg.grade(lambda x, wrong=wrong: {"d_x": wrong * x}, loss, x).score == 0


def test_equal_numbers_share_a_gradient_as_they_like_but_get_it_once():
    def largest(x):
        return x.max(axis=1).sum()

    def inputs(generator, n=5, features=4):
        return {"x": generator.normal(size=(n, features))}

    def first(x):
        return {"d_x": np.eye(x.shape[1])[x.argmax(axis=1)]}

    def shared(x):
        mask = x == x.max(axis=1, keepdims=True)
        return {"d_x": mask / mask.sum(axis=1, keepdims=True)}

    def each(x):
        return {"d_x": 1.0 * (x == x.max(axis=1, keepdims=True))}

    assert tg.grade(first, largest, inputs).score == tg.grade(shared, largest, inputs).score == 1
    grade = tg.grade(each, largest, inputs)
    assert (grade.score, grade.verdicts["d_x"].mistake) == (0, "kink")
    assert "on whole numbers" in grade.verdicts["d_x"].message


def test_a_small_number_jumps_too():
    nearby = np.array([[1.0, 2e-4, 0.5], [1.0, 4e-4, 0.5 + 1e-7], [1.0, 0.0, 0.5]])
    assert jumps(nearby).tolist() == [False, True, False]
