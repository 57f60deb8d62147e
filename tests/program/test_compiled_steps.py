"""The backbone: steps run one by one, recorded, printed and compiled learn the same. Loops also run as plain Python.

Numba takes a second for each program, so that most programs here run as the generated text, without its @jit.
"""

import re

import numpy as np
import pytest
from program.loops_as_python import (
    SGD,
    STEPS,
    TRAININGS,
    Case,
    Graph,
    Training,
    X,
    Y,
    assert_close,
    assert_same_training,
    by_numba,
    eager,
    examples,
    in_loops,
    ways,
)
from samples import SAMPLES, primitives

import tinygrad_ce as tg
from tinygrad_ce import losses, nn
from tinygrad_ce.core import REGISTRY
from tinygrad_ce.program import CannotLower, Program, lowered, lowering
from tinygrad_ce.program.passes import simplified
from tinygrad_ce.program.run import Compiled

# ---- every primitive

CASES = [(name, i) for name in sorted(primitives()) for i, sample in enumerate(SAMPLES[name]) if sample.wrt]
WITHOUT_LOOPS = r"mask|writes into an array|loops would give|np\.repeat"
NEVER_IN_LOOPS = {"scatter_add"}


def loss_of_sample(name, sample, dtype=np.float64):
    """Some number made of what a primitive gives, and the inputs that have a gradient; None if there is none."""
    sample = sample.with_arrays(lambda x: x.astype(dtype))
    leaves = {f"x{k}": tg.Tensor(sample.inputs[k], requires_grad=True, name=f"x{k}") for k in sample.wrt}
    out = REGISTRY[name](*(leaves.get(f"x{k}", x) for k, x in enumerate(sample.inputs)), **sample.params)
    if out.size == 0 or not out.requires_grad:
        return None, leaves
    return (out * np.linspace(0.5, 1.5, out.size, dtype=out.dtype).reshape(out.shape)).sum(), leaves


@pytest.mark.usefixtures("in_python")
@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_the_loops_of_every_primitive_give_its_gradients(name):
    lowered = 0
    for sample in (s for s in SAMPLES[name] if s.wrt):
        with np.errstate(all="ignore"):
            loss, leaves = loss_of_sample(name, sample)
            if loss is None:
                continue
            expected = [loss.data, *tg.gradients(loss, list(leaves.values()))]
            program = simplified(Program.of_loss(loss))
        try:
            answers = dict(zip(program.outputs, Compiled(program).step(*examples(program)), strict=True))
        except CannotLower as error:
            if not re.search(WITHOUT_LOOPS, str(error)):
                raise
            continue
        for key, value in zip(["loss", *(f"d_{x}" for x in leaves)], expected, strict=True):
            assert_close(answers[key], value, 1e-9 if value.dtype == np.float64 else 1e-4)
        lowered += 1
    assert lowered or name in NEVER_IN_LOOPS


# ---- steps of a training, in several forms

rng = np.random.default_rng(5)


COMPILED = [
    ("tanh", np.float64),
    ("adam", np.float32),
    ("all at once", np.float64),
    ("embedding", np.float64),
    ("soft targets, weighted", np.float32),
    ("sigmoid bce, positives count more", np.float64),
    ("many classes", np.float32),
]


@pytest.mark.parametrize(("name", "dtype"), COMPILED)
def test_compiled_steps_learn_what_eager_ones_do(name, dtype):
    assert_same_training(by_numba, TRAININGS[name], dtype)


@ways
def test_masks_of_dropout_agree_bit_for_bit(way):
    case = Case(lambda: [nn.Dropout(0.5), nn.Dense(3, 4), nn.Dropout(0.3)], lambda z, y: z.sum())
    ours, theirs = Training(case), Training(case)
    for (_, mine), (_, expected) in zip(way(ours, STEPS), eager(theirs, STEPS), strict=True):
        np.testing.assert_array_equal(mine == 0, expected == 0)
    mine, expected = (training.model[0].generator.random() for training in (ours, theirs))
    assert mine == expected


PRODUCTS = Case(
    lambda: [nn.Dense(70, 37), nn.Tanh(), nn.Dense(37, 19)],
    losses.mse,
    rng.normal(size=(3, 13, 19)),
    x=rng.normal(size=(3, 13, 70)),
)
LONG = Case(lambda: [nn.Dense(5, 3)], losses.mse, rng.normal(size=(3, 1601, 3)), x=rng.normal(size=(3, 1601, 5)))


@pytest.mark.parametrize(("case", "dtype"), [(PRODUCTS, np.float64), (PRODUCTS, np.float32), (LONG, np.float64)])
def test_compiled_products_of_all_sizes_equal_those_of_numpy(case, dtype):
    assert_same_training(by_numba, case, dtype, steps=3)


@pytest.mark.parametrize("way", [in_loops, by_numba])
def test_large_products_are_left_to_the_blas(way, monkeypatch):
    monkeypatch.setattr(lowering, "MAX_LOOP_PRODUCT", 0)
    monkeypatch.setattr(lowered, "_lowered", {})
    assert Training(TRAININGS["tanh"]).program().lowered.count("_rows)") >= 5
    assert_same_training(way, TRAININGS["tanh"])


@ways
def test_a_step_written_by_hand_without_layers(way):
    class ByHand(Training):
        def __init__(self):
            self.w = tg.Tensor(np.zeros((3, 4)), requires_grad=True, name="w")
            self.b = tg.Tensor(np.zeros(4), requires_grad=True, name="b")
            self.optimizer = SGD([self.w, self.b], lr=0.5)
            self.batches = list(zip(X, Y, strict=True))

        def step(self, x, y):
            self.optimizer.zero_grad()
            p = tg.ops.softmax(x @ self.w + self.b)
            loss = -tg.ops.pick(np.log(p), y).mean()
            loss.backward()
            self.optimizer.step()
            return loss, p

    ours, theirs = ByHand(), ByHand()
    for mine, expected in zip(way(ours, STEPS), eager(theirs, STEPS), strict=True):
        for got, array in zip(mine, expected, strict=True):
            assert_close(got, array, 1e-9)
    assert_close(ours.w.data, theirs.w.data, 1e-9)
    assert_close(ours.b.data, theirs.b.data, 1e-9)


def answers_of_old_weights(way, shape):
    """What a step gives that returns its weights, as they were, in some shape; and what they were."""

    class Looking(Training):
        def step(self, x, y):
            before = self.model.layers[0].W.reshape(*shape)
            loss, _ = super().step(x, y)
            return loss, before

    case, expected = TRAININGS["logistic regression"], []
    theirs = Training(case)
    for batch in theirs.batches[:3]:
        expected.append(theirs.model.layers[0].W.data.reshape(shape).copy())
        theirs.step(*batch)
    return [answers[1] for answers in way(Looking(case), 3)], expected


@ways
def test_what_is_answered_is_what_was_before_the_update(way):
    answers, expected = answers_of_old_weights(way, (3, 4))
    for got, array in zip(answers, expected, strict=True):
        assert_close(got, array, 1e-9)


@pytest.mark.parametrize("shape", [(4, 3), (1, 3, 4), (12,)])
def test_what_is_answered_may_have_another_shape(shape):
    answers, expected = answers_of_old_weights(in_loops, shape)
    for got, array in zip(answers, expected, strict=True):
        assert_close(got, array, 1e-9)


@pytest.mark.parametrize("way", [in_loops, by_numba])
def test_nan_goes_where_it_goes_in_numpy(way):
    class Nans(Graph):
        def step(self, x, *_):
            p = self.inputs[2]
            parts = np.maximum(p, x), np.minimum(p, x), np.clip(x * p, -1, 1), tg.ops.relu(x * p)
            reduced = np.max(x + p, axis=0), np.min(x + p, axis=0), np.max(x + p), np.where(x > p, x, p)
            return tuple(parts + reduced)

    ours, theirs = Nans([], 0), Nans([], 0)
    for training in (ours, theirs):
        training.batches[0][0][1, 0] = np.nan
    expected = eager(theirs, 1)[0]
    for got, array in zip(way(ours, 1)[0], expected, strict=True):
        np.testing.assert_array_equal(got, array)
    assert [int(np.isnan(array).sum()) for array in expected] == [1, 1, 1, 1, 1, 1, 1, 0]
