"""`tg.grade`: what is a problem, points and what follows, what a function may do wrong besides its mathematics."""

import re

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.grading.problems import problem_of

GENERATOR = np.random.default_rng(1)
INPUTS = {
    "x": GENERATOR.normal(size=(6, 3)),
    "w": GENERATOR.normal(size=3),
    "b": np.array(0.5),
    "y": GENERATOR.normal(size=6),
}
POINTS = {"d_z": 2, "d_w": 2, "d_b": 1}


def mse(x, w, b, y):
    z = x @ w + b
    d = z - y
    return (d * d).mean()


def right(x, w, b, y):
    d_z = 2 * (x @ w + b - y) / len(y)
    return {"d_z": d_z, "d_w": x.T @ d_z, "d_b": d_z.sum()}


def graded(student, **options):
    return tg.grade(student, mse, INPUTS, points=POINTS, **options)


# ---- what is right


def test_right_gradients_get_all_points():
    grade = graded(right)
    assert (grade.score, grade.possible, grade.summary) == (5, 5, "5 of 5 points")


def test_finite_differences_are_right():
    """The oracle is the definition of a derivative."""

    def gradients(x, w, b, y):
        h = 1e-6 if x.dtype == np.float64 else 1e-2
        steps = np.eye(len(w))
        d_w = [(mse(x, w + h * e, b, y) - mse(x, w - h * e, b, y)) / (2 * h) for e in steps]
        return {"d_w": np.array(d_w), "d_b": (mse(x, w, b + h, y) - mse(x, w, b - h, y)) / (2 * h)}

    def without_float32(generator, n=6, features=3):
        return {
            "x": generator.normal(size=(n, features)),
            "w": generator.normal(size=features),
            "b": np.array(0.25),
            "y": generator.normal(size=n),
        }

    problem = problem_of(mse, without_float32, {"d_w": 1, "d_b": 1})
    for case in problem.cases:
        if case.epsilon == 0:
            found = gradients(**case.arguments)
            known = problem.right(case.exact)
            np.testing.assert_allclose(known["d_w"], found["d_w"], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(known["d_b"], found["d_b"], rtol=1e-5, atol=1e-6)


def test_a_problem_is_an_assignment_its_name_a_loss_or_a_function(tmp_path):
    assignment = tg.assignments.ready("softmax_cross_entropy")
    assert tg.grade(assignment.solution, assignment).score == 4
    assert tg.grade(assignment.solution, "softmax_cross_entropy", points={"d_W": 7}).summary == "7 of 7 points"
    path = tmp_path / "own.py"
    path.write_text(assignment.source)
    assert tg.grade(assignment.solution, path).score == 4


def test_a_loss_is_computed_again_with_other_numbers():
    w = tg.Tensor(GENERATOR.normal(size=(3, 2)), requires_grad=True, name="w")
    loss = ((tg.Tensor(GENERATOR.normal(size=(4, 3)), name="x") @ w).tanh() ** 2).mean()
    seen = tg.grade(lambda x, w: {"d_w": x.T @ (2 * np.tanh(x @ w) * (1 - np.tanh(x @ w) ** 2)) / 8}, loss)
    assert seen.score == 1, seen
    known = w.data.copy()
    only_here = tg.grade(lambda x, w: {"d_w": x.T @ (2 * np.tanh(x @ known) * (1 - np.tanh(x @ known) ** 2)) / 8}, loss)
    assert only_here.score == 0
    assert w.grad is None


def test_without_a_forward_pass_the_solution_is_right():
    assignment = tg.assignments.ready("momentum")
    assert tg.grade(assignment.solution, assignment).score == sum(assignment.points.values())

    def uphill(**arguments):
        return {name: -value for name, value in assignment.solution(**arguments).items()}

    assert tg.grade(uphill, assignment).score == 0


# ---- mistakes


def test_a_mistake_is_named_and_costs_once():
    def forgot_the_mean(x, w, b, y):
        d_z = 2 * (x @ w + b - y)
        return {"d_z": d_z, "d_w": x.T @ d_z, "d_b": d_z.sum()}

    grade = graded(forgot_the_mean)
    assert grade.verdicts["d_z"].mistake == "mean"
    assert grade.verdicts["d_w"].follows == grade.verdicts["d_b"].follows == ("d_z",)
    assert (grade.score, grade.reached("d_z")) == (3, 0)


def test_what_follows_must_follow_on_every_case():
    def also_wrong_for_one_row(x, w, b, y):
        d_z = 2 * (x @ w + b - y)
        return {"d_z": d_z, "d_w": x.T @ d_z * (1 if len(x) > 1 else 5), "d_b": d_z.sum()}

    grade = graded(also_wrong_for_one_row)
    assert grade.reached("d_w") == 0
    assert grade.verdicts["d_w"].message.startswith("on one row (x (1, 3)")
    assert grade.reached("d_b") == 1


def test_a_mistake_that_shows_on_some_inputs_only_says_on_which():
    def product(A, B):
        return (A @ B).sum()

    inputs = {"A": GENERATOR.normal(size=(3, 3)), "B": GENERATOR.normal(size=(3, 3))}

    def transposed_where_it_fits(A, B):
        d_B = A.T @ np.ones((len(A), B.shape[1]))
        return {"d_B": d_B.T if A.shape == B.shape and len(A) == 3 else d_B}

    grade = tg.grade(transposed_where_it_fits, product, inputs, points={"d_B": 1})
    assert grade.score == 0
    assert grade.verdicts["d_B"].mistake == "transpose"

    def overflows(z):
        e = np.exp(z)
        return {"d_z": e / e.sum()}

    def logsumexp(z):
        shifted = z - z.max()
        return np.log(np.exp(shifted).sum()) + z.max()

    grade = tg.grade(overflows, logsumexp, {"z": GENERATOR.normal(size=4)})
    assert (grade.score, grade.verdicts["d_z"].mistake) == (0, "not finite")
    assert "1000 added to one argument" in grade.verdicts["d_z"].message


def test_a_mistake_without_a_name_is_shown_on_the_smallest_input():
    def odd(x, w, b, y):
        found = right(x, w, b, y)
        return {**found, "d_w": found["d_w"] * (1 + w**2) + np.sin(w)}

    grade = graded(odd)
    evidence = grade.evidence["d_w"]
    assert grade.verdicts["d_w"].mistake == "unknown"
    assert evidence.arguments["x"].shape == (1, 1)
    assert sum(np.count_nonzero(array) for array in evidence.arguments.values()) <= 2
    assert not np.allclose(evidence.yours, evidence.right)
    np.testing.assert_allclose(evidence.right, right(**evidence.arguments)["d_w"])
    assert "The smallest input that shows it: x = [[" in " ".join(str(grade).split())


# ---- what else a function may do


def none(x, w, b, y):
    pass


def generator(x, w, b, y):
    return (row for row in x)


def text(x, w, b, y):
    return "d_w"


def two_values(x, w, b, y):
    return w, b


def not_yet(x, w, b, y):
    return {"d_z": None, "d_w": 1j * w, "d_b": "zero"}


def objects(x, w, b, y):
    return {"d_z": np.array([None, 1]), "d_w": [[1, 2], [3]], "d_b": (i for i in [1])}


def incomplete(x, w, b, y):
    return {"d_z": right(x, w, b, y)["d_z"]}


def raising(x, w, b, y):
    return x @ y


def unknown_argument(x, weight):
    return {}


def by_the_engine(x, w, b, y):
    tensors = tg.Tensor(w, requires_grad=True), tg.Tensor(b, requires_grad=True)
    mse(tg.Tensor(x), *tensors, y).backward()
    return {"d_w": tensors[0].grad, "d_b": tensors[1].grad}


def endless(x, w, b, y):
    while True:
        pass


@pytest.mark.parametrize(
    ("student", "name", "mistake", "words"),
    [
        (none, "d_z", "missing", "the function returns None: end it with return {'d_z': d_z, 'd_w': d_w, 'd_b': d_b}"),
        (generator, "d_z", "missing", "the function returns a generator, which has not computed anything yet"),
        (text, "d_z", "missing", "the function returns a text ('d_w')"),
        (two_values, "d_b", "missing", "the function returns 2 values, where 3 are asked for"),
        (incomplete, "d_w", "missing", "d_w is not among what the function returns: 'd_z'"),
        (not_yet, "d_z", "missing", "d_z is None: nothing has been computed for it"),
        (not_yet, "d_w", "no numbers", "d_w has complex numbers (complex128)"),
        (not_yet, "d_b", "no numbers", "d_b is a text ('zero'), not an array of numbers"),
        (objects, "d_z", "no numbers", "d_z is an array of objects"),
        (objects, "d_w", "no numbers", "d_w is a list whose rows differ in length"),
        (objects, "d_b", "no numbers", "d_b is a generator"),
        (raising, "d_z", "error", "the function stops: ValueError: matmul"),
        (raising, "d_z", "error", "return x @ y)"),
        (unknown_argument, "d_z", "error", "there is no argument weight: the arguments are x, w, b, y"),
        (by_the_engine, "d_w", "engine", "this was computed by the engine (backward), not by hand"),
    ],
)
def test_each_bad_answer_has_its_sentence(student, name, mistake, words):
    grade = graded(student)
    assert grade.reached(name) == 0
    assert grade.verdicts[name].mistake == mistake
    assert words in grade.verdicts[name].message


def test_a_function_that_never_ends_costs_its_own_points_only():
    grade = graded(endless, seconds=0.5)
    assert grade.score == 0
    assert "it took longer than 0.5 seconds" in grade.verdicts["d_z"].message


def test_lists_and_other_ways_to_hold_numbers_are_fine():
    assert graded(lambda x, w, b, y: [np.asarray(v).tolist() for v in right(x, w, b, y).values()]).score == 5


def test_a_function_that_writes_into_its_arguments_is_told_so_and_judged_on_fresh_ones():
    def writing(x, w, b, y):
        found = right(x, w, b, y)
        x *= 0
        return found

    grade = graded(writing)
    assert grade.score == 5
    assert grade.remarks == ("the function writes into its arguments ('x'): compute with copies, as in x = x.copy()",)


def test_a_view_of_an_argument_is_told():
    grade = tg.grade(lambda x, dout: {"d_x": dout}, lambda x: x + 1.0, {"x": np.ones(3)})
    assert grade.score == 1
    assert grade.remarks[0].startswith("d_x is a view into dout")


def test_what_a_function_catches_is_told_where_something_is_wrong():
    def catching(x, w, b, y):
        try:
            return {"d_z": x @ y}
        except Exception:
            return None

    assert "the function catches an exception that says what is wrong: ValueError" in graded(catching).remarks[-1]

    def harmless(x, w, b, y):
        try:
            len(3)
        except TypeError:
            return right(x, w, b, y)

    assert graded(harmless).remarks == ()


def test_what_is_not_asked_for_is_left_out_with_a_word():
    grade = graded(lambda x, w, b, y: {**right(x, w, b, y), "loss": 1.0})
    assert (grade.score, grade.remarks) == (5, ("'loss' is not asked for, and left out",))


def test_a_student_does_not_get_what_another_has_answered():
    problem = problem_of(mse, INPUTS, POINTS)
    with pytest.raises(ValueError, match="has its own inputs and points: leave both out"):
        tg.grade(right, problem, points={"d_w": 7})
    assert tg.grade(right, problem).score == 5
    assert tg.grade(none, problem).score == 0
    assert tg.grade(right, problem).score == 5


# ---- how it looks


def test_it_is_read_in_a_terminal_and_in_a_notebook():
    grade = graded(lambda x, w, b, y: {**right(x, w, b, y), "d_b": np.array("<b>")})
    lines = str(grade).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "  d_z  2/2  right"
    assert lines[-1] == "4 of 5 points"
    page = grade._repr_html_()
    assert "4 of 5 points" in page
    assert "<b>" not in re.sub(r"</?b>4", "", page.replace("&lt;b&gt;", ""))
    assert str(graded(none)).count("the function returns None") == 1


# ---- what a teacher may pass wrongly


@pytest.mark.parametrize(
    ("problem", "options", "error", "words"),
    [
        (3, {}, TypeError, "problem is int; pass a loss"),
        (mse, {}, ValueError, "a function needs arguments to run on: pass inputs="),
        (mse, {"inputs": 4}, TypeError, "inputs is int; pass a dict of arrays"),
        (mse, {"inputs": INPUTS, "points": {"d_q": 1}}, ValueError, "nothing is known of 'd_q'"),
        (mse, {"inputs": INPUTS, "points": {"d_w": -1}}, ValueError, "the points of d_w are -1"),
        (lambda x: 3.0, {"inputs": {"x": np.ones(2)}}, TypeError, "does not come from its arguments"),
        ("nothing", {}, ValueError, "nothing"),
    ],
)
def test_what_is_no_problem_is_refused_in_words(problem, options, error, words):
    with pytest.raises(error, match=words):
        tg.grade(right, problem, **options)


def test_a_loss_needs_no_inputs():
    w = tg.Tensor([1.0], requires_grad=True, name="w")
    with pytest.raises(ValueError, match="a loss has its own numbers"):
        tg.grade(right, (w * w).sum(), INPUTS)


def test_where_a_relu_is_at_its_kink_what_follows_from_an_own_mistake_still_follows():
    def gradients(x, W1, b1, W2, b2, y):
        z1 = x @ W1 + b1
        h = np.maximum(0, z1)
        e = np.exp(h @ W2 + b2)
        d_z2 = e / e.sum(axis=1, keepdims=True) - np.eye(len(b2))[y]  # the mean is forgotten
        d_h = d_z2 @ W2.T
        d_z1 = d_h * (z1 > 0)  # 0 at the kink, where np.maximum's own rule gives half
        return {
            "d_z2": d_z2, "d_W2": h.T @ d_z2, "d_b2": d_z2.sum(axis=0), "d_h": d_h,
            "d_z1": d_z1, "d_W1": x.T @ d_z1, "d_b1": d_z1.sum(axis=0),
        }  # fmt: skip

    report = tg.grade(gradients, "two_layers")
    assert report.verdicts["d_z2"].mistake == "mean"
    assert report.verdicts["d_z1"].follows
    assert report.score == 7


def test_labels_are_called_by_their_name():
    def gradients(x, W, b, y):
        e = np.exp(x @ W + b)
        d_z = e / e.sum(axis=1, keepdims=True) / len(y)
        return {"d_z": d_z, "d_W": x.T @ d_z, "d_b": d_z.sum(axis=0)}

    assert "one_hot(y, 4) was not subtracted" in tg.grade(gradients, "softmax_cross_entropy").verdicts["d_z"].message
