"""export.numpy: a file that needs NumPy only, and gives the model's numbers for any number of rows."""

import re
import runpy
import sys

import numpy as np
import pytest
from export.networks import CASES, answers, call, more, network, parts
from fresh import ran

import tinygrad_ce as tg
from tinygrad_ce import nn


def written(tmp_path, model, example=None):
    tg.export.numpy(model, tmp_path / "net.py", example)
    return runpy.run_path(str(tmp_path / "net.py"))["forward"]


def as_list(answer):
    return [*answer.values()] if isinstance(answer, dict) else [*answer] if isinstance(answer, tuple) else [answer]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES)
def test_the_file_gives_the_models_numbers_for_any_number_of_rows(case, dtype, tmp_path):
    model, example = network(case, dtype)
    forward = written(tmp_path, model, example)
    for rows in (1, 2, 11):
        batch = more(example, rows, dtype)
        got = as_list(forward(**batch) if isinstance(batch, dict) else forward(*parts(batch)))
        for x, expected in zip(got, answers(model, batch), strict=True):
            assert x.dtype == expected.dtype
            np.testing.assert_allclose(x, expected, rtol=16 * np.finfo(dtype).eps, atol=16 * np.finfo(dtype).eps)
    assert all(module.training for module in model.modules())


def test_a_trained_classifier_answers_the_same_in_a_process_that_has_only_numpy(tmp_path):
    train = tg.data.moons(120, noise=0.1, seed=0)
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 16), nn.BatchNorm(16), nn.Tanh(), nn.Dropout(0.1), nn.Dense(16, 2))
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), tg.optim.Adam(model.parameters(), lr=0.02))
    trainer.fit(train, epochs=30, compile=False, seed=0)
    assert trainer.evaluate(train)["accuracy"] > 0.9
    tg.export.numpy(trainer, tmp_path / "classifier.py")
    np.save(tmp_path / "X.npy", train.X)
    process = ran(
        f"""
        import sys
        hidden = ("tinygrad_ce", "numba", "scipy", "torch", "onnx")
        for name in hidden:
            sys.modules[name] = None  # an import of it fails
        sys.path.insert(0, {str(tmp_path)!r})
        import numpy as np
        import classifier
        np.save({str(tmp_path / "answers.npy")!r}, classifier.forward(np.load({str(tmp_path / "X.npy")!r})))
        """
    )
    assert process.returncode == 0, process.stderr
    theirs = np.load(tmp_path / "answers.npy")
    np.testing.assert_allclose(theirs, answers(model, train.X)[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(theirs.argmax(axis=1), trainer.predict(train.X))


def test_the_file_is_read_like_a_textbook(tmp_path):
    model, example = network("Flatten")
    written(tmp_path, model, example)
    text = (tmp_path / "net.py").read_text()
    assert "t1 = np.reshape(x, (-1, 8))  # (N, 8)" in text
    assert re.search(r"out = np.dot\(t1, W1\) \+ b1 +# \(N, 3\)", text)
    assert "# Sequential(Flatten(), Dense(8, 3))" in text
    assert '"""From x (N, 2, 4) to out (N, 3)."""' in text
    assert "37" not in text
    assert "tinygrad_ce" not in text.replace("# Written by tinygrad_ce", "")


def test_the_weights_are_arrays_and_nothing_that_could_be_executed(tmp_path):
    model, example = network("BatchNorm")
    written(tmp_path, model, example)
    with np.load(tmp_path / "net.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file}
    assert {*arrays} == {"W0", "b0", "running_mean", "running_variance", "scale1", "shift1"}
    np.testing.assert_array_equal(arrays["running_mean"], model[1].running_mean)
    np.testing.assert_array_equal(arrays["W0"], model[0].W.data)


def test_far_from_zero_the_file_keeps_its_digits_too(tmp_path):
    x = np.array([[-800.0, -40.0, 40.0, 800.0]])
    for layer in (nn.Sigmoid(), nn.Softmax(), nn.Softplus(), nn.GELU()):
        got = written(tmp_path, nn.Sequential(layer), x)(x)
        np.testing.assert_allclose(got, layer(x), rtol=1e-14)


def test_parameters_may_have_any_name(tmp_path):
    class Named(nn.Module):
        def __init__(self):
            for name in ("file", "network", "np", "WEIGHTS", "größe", "x"):
                setattr(self, name, tg.Tensor(np.full(2, 1.5), requires_grad=True))

        def forward(self, x):
            return x * self.file + self.network * self.np - self.WEIGHTS / self.größe + self.x

    model, x = Named(), np.array([[1.0, 2.0]])
    np.testing.assert_array_equal(written(tmp_path, model, x)(x), model(x).data)


def test_what_the_file_is_called_with_is_checked(tmp_path):
    model, example = network("Flatten", np.float32)
    forward = written(tmp_path, model, example)
    assert forward(np.ones((2, 2, 4), int)).dtype == np.float32
    with pytest.raises(ValueError, match=r"x has shape \(2, 8\), and must have \(N, 2, 4\)"):
        forward(np.ones((2, 8)))
    model, example = network("Embedding")
    with pytest.raises(TypeError, match=r"float64.*int64"):
        written(tmp_path, model, example)(np.ones((2, 2)))


def test_the_rows_are_made_up_where_the_first_layer_says_how_long_they_are(tmp_path):
    for model in (nn.Sequential(nn.Dense(3, 2)), nn.Sequential(nn.LayerNorm(3), nn.Dense(3, 2)), nn.Dense(3, 2)):
        assert written(tmp_path, model)(np.zeros((4, 3))).shape == (4, 2)
    for model in (nn.Sequential(nn.Flatten(), nn.Dense(3, 2)), nn.Sequential(nn.Embedding(3, 2)), nn.Sequential()):
        with pytest.raises(ValueError, match=r"^export.numpy: the model begins with .*: pass some rows .*example=X"):
            written(tmp_path, model)


def test_how_the_rows_were_prepared_stands_in_the_file(tmp_path):
    class Preparation:
        def summary(self):
            return 'height  number, (x - 1.5) / 0.2\nkind  """ one of a\x1b[31m, b'

    trainer = tg.Trainer(model := nn.Sequential(nn.Dense(2, 1)), nn.MSE(), tg.optim.SGD(model.parameters(), lr=0.1))
    trainer.preparation = Preparation()
    written(tmp_path, trainer)
    text = (tmp_path / "net.py").read_text()
    assert "# height  number, (x - 1.5) / 0.2\n" in text
    assert "\x1b" not in text


# ---- what is refused


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


class Branching(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class CountingRows(nn.Module):
    def forward(self, x):
        return x / len(x)


class RowsOfOnes(nn.Module):
    def forward(self, x):
        return x * np.ones((len(x), 1))


class RepeatedRows(nn.Module):
    def forward(self, x):
        return tg.ops.broadcast_to(x.sum(), shape=(len(x), 2))


class FiveRows(nn.Module):
    def forward(self, x):
        return x + np.arange(10.0).reshape(5, 2)


class Noise(nn.Module):
    def forward(self, x):
        return x * nn.Dropout(0.5)(x)


REFUSED = {
    "a branch on values": (Branching(), "`if` needs the numbers"),
    "the number of rows as a number": (
        CountingRows(),
        r"div gets a number that depends on the number of rows \(37 .*46",
    ),
    "an array as long as the rows": (RowsOfOnes(), r"depends on the number of rows \(\(37, 1\) for 37 rows, \(46, 1\)"),
    "a shape with the number of rows": (RepeatedRows(), r"broadcast_to\(shape=...\) depends on the number of rows"),
    "a fixed number of rows": (FiveRows(), "the model takes 5 rows, and refuses 37: "),
    "randomness in evaluation": (Noise(), "draws random numbers .*in evaluation mode: draw only if self.training"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_are_refused(case, tmp_path):
    model, words = REFUSED[case]
    with pytest.raises((tg.TraceError, ValueError), match=words) as error:
        tg.export.numpy(model, tmp_path / "net.py", np.ones((5, 2)))
    one_line(error)
    assert [*tmp_path.iterdir()] == []
    assert all(module.training for module in model.modules())


EXAMPLES = {
    "text": (np.array(["a"]), TypeError, r"the example x has dtype <U1; pass an array of numbers, such as X\[:5\]"),
    "a number": (3.0, ValueError, r"the example x has shape \(\); pass rows of data, such as X\[:5\]"),
    "one row": (np.zeros(3), ValueError, r"takes 3 rows, and refuses 37 \(one row is passed as x\[None\]\): "),
    "no rows": (np.zeros((0, 3)), ValueError, r"the example x has shape \(0, 3\); pass rows"),
    "rows of another length": (np.zeros((2, 4)), ValueError, r"\(2, 4\)"),
    "different rows": ((np.zeros((2, 3)), np.zeros((3, 3))), ValueError, "same number of rows, and have x .2, 3., x2"),
}


@pytest.mark.parametrize("case", EXAMPLES)
def test_examples_that_are_refused(case, tmp_path):
    example, kind, words = EXAMPLES[case]
    with pytest.raises(kind, match=words):
        tg.export.numpy(nn.Sequential(nn.Dense(3, 2)), tmp_path / "net.py", example)
    assert [*tmp_path.iterdir()] == []


def test_paths_and_models_that_are_refused(tmp_path):
    model = nn.Sequential(nn.Dense(2, 2))
    with pytest.raises(ValueError, match=r"the path 'net.npz' must end in .py"):
        tg.export.numpy(model, "net.npz")
    with pytest.raises(FileNotFoundError, match=r"nowhere"):
        tg.export.numpy(model, tmp_path / "nowhere" / "net.py")
    with pytest.raises(TypeError, match=r"the model is function; pass a tg.nn.Module, a tg.Trainer"):
        tg.export.numpy(call, tmp_path / "net.py")


def test_the_program_and_its_weights_are_written_both_or_neither(tmp_path):
    tg.export.numpy(nn.Dense(2, 2), tmp_path / "net.py")
    weights = (tmp_path / "net.npz").read_bytes()
    (tmp_path / "net.py").unlink()
    (tmp_path / "net.py").mkdir()  # where no program can be written
    with pytest.raises(OSError, match=r"net\.py"):
        tg.export.numpy(nn.Dense(2, 2), tmp_path / "net.py")
    assert (tmp_path / "net.npz").read_bytes() == weights
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.npz", "net.py"]


def test_a_primitive_of_ones_own_that_needs_more_than_its_file_is_refused(tmp_path, registry):
    class Table:
        factor = 3.0

    table = Table()

    @tg.primitive
    def with_a_table(x):
        return x * table.factor

    with pytest.raises(ValueError, match=r"does not run by itself: .*a primitive of your own may use only NumPy"):
        tg.export.numpy(nn.Sequential(with_a_table), tmp_path / "net.py", np.ones((2, 2)))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_model_without_parameters_keeps_the_dtype_of_the_example(dtype, tmp_path):
    model, example = nn.Sequential(nn.Flatten(), nn.Softmax()), np.ones((2, 3), dtype)
    tg.export.numpy(model, tmp_path / "net.py", example)
    answer = runpy.run_path(str(tmp_path / "net.py"))["forward"](example)
    assert answer.dtype == model(example).dtype == dtype


def test_the_package_brings_exports_only_when_they_are_asked_for():
    assert "export" in dir(tg)
    code = "import sys, tinygrad_ce as tg; assert 'tinygrad_ce.export' not in sys.modules; tg.export.numpy"
    process = ran(code)
    assert process.returncode == 0, process.stderr
    assert sys.modules["tinygrad_ce.export"] is tg.export
