"""The page's generator draws what NumPy's draws, number for number."""

import json
import subprocess
from importlib.resources import files

import numpy as np
import pytest
from program.in_node import NODE, needs_node

import tinygrad_ce as tg

SCRIPT = files("tinygrad_ce.live.page").joinpath("random.js").read_text(encoding="utf-8")
SEEDS = [0, 3, 2**32, 2**53 - 1, 2**127 + 11, 2**200 + 2**70 + 5]


def in_node(script):
    text = f"{SCRIPT}\nconsole.log(JSON.stringify({script}))"
    return json.loads(subprocess.run([NODE, "-e", text], check=True, capture_output=True, text=True).stdout)


@needs_node
def test_it_draws_what_numpy_draws():
    drawn = in_node(
        f"{json.dumps([str(seed) for seed in SEEDS])}.map((seed) => {{ const g = new Generator(seed); return ["
        "g.random(), g.uniform(-0.3, 0.7), g.permutation(57), [g.random32(), g.random32(), g.random32()],"
        "g.permutation(1), g.random(), g.permutation(1000)]; })"
    )
    for seed, numbers in zip(SEEDS, drawn, strict=True):
        g = np.random.default_rng(seed)
        assert numbers == [
            g.random(),
            g.uniform(-0.3, 0.7),
            g.permutation(57).tolist(),
            g.random(3, dtype=np.float32).tolist(),
            g.permutation(1).tolist(),
            g.random(),
            g.permutation(1000).tolist(),
        ]


@needs_node
@pytest.mark.parametrize("init", ["glorot_uniform", "he_uniform", "zeros"])
def test_weights_begin_as_in_python(init):
    drawn = in_node(
        "(() => { const g = new Generator(3), layers = [[2, 5], [5, 3]].map(([rows, columns]) => {"
        "const array = new Float64Array(rows * columns);"
        f"drawWeights(g, array, '{init}', rows, columns); return [...array]; }}); return layers; }})()"
    )
    tg.seed(3)
    layers = [tg.nn.Dense(2, 5, init=init), tg.nn.Dense(5, 3, init=init)]
    assert drawn == [layer.W.data.ravel().tolist() for layer in layers]


@needs_node
def test_normal_numbers_have_mean_0_and_variance_1():
    numbers = np.array(
        in_node("(() => { const g = new Generator(1); return Array.from({ length: 4000 }, () => g.gaussian()); })()")
    )
    assert abs(numbers.mean()) < 0.05
    assert abs(numbers.std() - 1) < 0.05
    assert abs(np.mean(np.abs(numbers) < 1) - 0.6827) < 0.03
