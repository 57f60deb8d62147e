"""export.onnx: what onnxruntime computes from the file is what the model computes."""

import json
import math
import sys

import numpy as np
import pytest
from export.networks import CASES, answers, more, network, parts
from samples import SAMPLES, Sample, primitives

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce.export.erfc import ZEROS
from tinygrad_ce.export.onnx_elements import elementwise
from tinygrad_ce.export.onnx_file import IR_VERSION
from tinygrad_ce.export.onnx_graph import OPSET, Graph, NoCounterpart
from tinygrad_ce.export.onnx_nodes import RULES, write_nodes
from tinygrad_ce.ops.indexing import HERE
from tinygrad_ce.program.ir import Instruction, Value

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(session, *arrays):
    names = [x.name for x in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))


def written(tmp_path, model, example=None):
    path = tmp_path / "net.onnx"
    tg.export.onnx(model, path, example)
    onnx.checker.check_model(str(path), full_check=True)
    return session_of(path)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES)
def test_onnxruntime_gives_the_models_numbers_for_any_number_of_rows(case, dtype, tmp_path):
    model, example = network(case, dtype)
    session = written(tmp_path, model, example)
    for rows in (1, 2, 11):
        batch = more(example, rows, dtype)
        for got, expected in zip(run(session, *parts(batch)), answers(model, batch), strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=64 * np.finfo(dtype).eps, atol=16 * np.finfo(dtype).eps)
    assert all(module.training for module in model.modules())


# ---- the table of operations

FLOAT32_ONLY = {
    *("tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "arcsinh", "arccosh", "arctanh", "erf"),
}  # onnxruntime has these for float32


def computed(op, sample):
    """What onnxruntime gives for one call of a primitive, with its arrays as inputs."""
    values = [Value(f"x{k}", x, "input") if isinstance(x, np.ndarray) else x for k, x in enumerate(sample.inputs)]
    result = Value("out", np.asarray(op(*sample.inputs, **sample.params)))
    params = {**op.defaults, **sample.params}
    arrays = [x for x in values if isinstance(x, Value)]
    g = Graph(taken=["out", *(x.name for x in arrays)])
    for x in arrays:
        g.values[x], g.dtypes[x.name] = x.name, x.dtype
    write_nodes(g, [Instruction(op, tuple(values), params, result, "forward")])
    helper, of_dtype = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype
    if g.values[result] != "out":
        g.same("Identity", g.values[result], name="out")
    graph = helper.make_graph(
        g.nodes,
        op.name,
        [helper.make_tensor_value_info(x.name, of_dtype(x.dtype), x.shape) for x in arrays],
        [helper.make_tensor_value_info("out", of_dtype(result.dtype), result.shape)],
        [onnx.numpy_helper.from_array(x, name) for name, x in g.constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {x.name: np.array(x.example) for x in arrays})[0], result.example


# How many samples have no counterpart: single numbers and repeated axes, masks and several index arrays, vectors.
REFUSED_SAMPLES = {"contract": 8, "getitem": 4, "take_along_axis": 1, "tril": 1, "triu": 1}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", RULES)
def test_each_operation_of_the_table_gives_the_primitives_numbers(name, dtype):
    if dtype == np.float64 and name in FLOAT32_ONLY:
        pytest.skip("onnxruntime has it for float32 only")
    op, refused = primitives()[name], 0
    for sample in SAMPLES[name]:
        sample = sample.with_arrays(lambda x: x.astype(dtype))
        try:
            got, expected = computed(op, sample)
        except NoCounterpart:
            refused += 1
            continue
        assert got.dtype == expected.dtype, sample
        np.testing.assert_allclose(got, expected, rtol=64 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)
    assert refused == REFUSED_SAMPLES.get(name, 0)


def test_a_reduction_over_no_axes_leaves_all_as_it_is():
    got, expected = computed(primitives()["reduce_sum"], Sample((np.ones((2, 3)),), {"axis": ()}))
    np.testing.assert_array_equal(got, expected)


def test_an_array_and_an_integer_that_a_slice_parts_have_no_counterpart():
    sample = Sample((np.ones((2, 3, 4)), np.array([0, 2, 1])), {"pattern": (1, slice(None), HERE)})
    with pytest.raises(NoCounterpart, match=r"getitem of an index with slices between an array and an integer"):
        computed(primitives()["getitem"], sample)


def test_erfc_keeps_its_digits_in_the_tail_where_runtimes_have_no_erf():
    x = np.concatenate([np.linspace(-6, 26, 300), 2 / ZEROS - 2, [0.0, 40.0]])
    got, _ = computed(primitives()["erfc"], Sample((x,), {}))
    np.testing.assert_allclose(got, [math.erfc(v) for v in x], rtol=2e-13)


def test_small_numbers_keep_their_digits():
    x = np.array([1e-300, -1e-17, 1e-12, -1e-5, 0.3, -0.7, 50.0, 0.0])
    for name, exact in (("log1p", math.log1p), ("expm1", math.expm1)):
        inputs = x[x > -1]
        got, _ = computed(primitives()[name], Sample((inputs,), {}))
        np.testing.assert_allclose(got, [exact(v) for v in inputs], rtol=1e-14)


# ---- the file


def trained():
    train = tg.data.blobs(90, seed=2)
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 8), nn.BatchNorm(8), nn.GELU(), nn.Dropout(0.1), nn.Dense(8, 3)).astype(
        np.float32
    )
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), tg.optim.Adam(model.parameters(), lr=0.02))
    trainer.fit(train, epochs=15, compile=False, seed=0)
    return trainer, train


def test_a_trained_classifier_answers_the_same(tmp_path):
    trainer, train = trained()
    assert trainer.evaluate(train)["accuracy"] > 0.9
    scores = run(written(tmp_path, trainer, train), train.X.astype(np.float32))[0]
    np.testing.assert_array_equal(scores.argmax(axis=1), trainer.predict(train))
    proba = run(written(tmp_path, nn.Sequential(trainer.model, nn.Softmax())), train.X.astype(np.float32))[0]
    np.testing.assert_allclose(proba, trainer.predict_proba(train.X), rtol=1e-4, atol=1e-6)


def test_names_and_shapes_are_those_of_the_model(tmp_path):
    model, example = network("two inputs", np.float32)
    session = written(tmp_path, model, example)
    assert [(x.name, x.type, x.shape) for x in session.get_inputs()] == [
        ("words", "tensor(int64)", ["N", 2]),
        ("numbers", "tensor(float)", ["N", 2]),
    ]
    assert [(x.name, x.shape) for x in session.get_outputs()] == [("both", ["N", 6]), ("out", ["N", 6])]
    names = [x.name for x in onnx.load(tmp_path / "net.onnx").graph.initializer]
    assert {"words.W", "numbers.W", "numbers.b", "slope"} <= {*names}
    model, example = network("BatchNorm")
    written(tmp_path, model, example)
    proto = onnx.load(tmp_path / "net.onnx")
    arrays = {x.name: onnx.numpy_helper.to_array(x) for x in proto.graph.initializer}
    np.testing.assert_array_equal(arrays["layers.1.running_mean"], model[1].running_mean)
    np.testing.assert_array_equal(arrays["layers.0.W"], model[0].W.data)
    assert proto.opset_import[0].version == OPSET == 18
    assert (proto.producer_name, proto.doc_string) == ("tinygrad_ce", repr(model))


def test_outputs_have_the_keys_of_a_dict_and_no_name_twice(tmp_path):
    model, example = network("named outputs")
    session = written(tmp_path, model, example)
    assert [(x.name, x.shape) for x in session.get_outputs()] == [("scores", ["N", 2]), ("mean", [4])]

    class Same(nn.Module):
        def forward(self, x):
            y = tg.ops.relu(x)
            return {"x": y, "again": y, "input": x}

    x = np.array([[1.0, -2.0]])
    session = written(tmp_path, Same(), x)
    assert len({value.name for value in (*session.get_inputs(), *session.get_outputs())}) == 4
    for got, expected in zip(run(session, x), (np.maximum(x, 0), np.maximum(x, 0), x), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_preparation_is_in_the_metadata(tmp_path):
    class Preparation:
        def to_json(self):
            return {"columns": ["height", "kind"]}

    trainer = tg.Trainer(model := nn.Sequential(nn.Dense(2, 1)), nn.MSE(), tg.optim.SGD(model.parameters(), lr=0.1))
    trainer.preparation = Preparation()
    metadata = written(tmp_path, trainer).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["preparation"]) == {"columns": ["height", "kind"]}


# ---- what is refused


class Sorting(nn.Module):
    def forward(self, x):
        return tg.ops.sort(x)


class Masking(nn.Module):
    def forward(self, x):
        return x[:, np.array([True, False])]


def test_an_operation_without_counterpart_is_refused_by_name(tmp_path, monkeypatch, registry):
    @tg.primitive
    def exp_of_my_own(x):
        return np.exp(x)

    monkeypatch.setitem(RULES, "exp_of_my_own", RULES["exp"])  # as if it had the name of one of ours

    for model, words in (
        (Sorting(), "test_onnx_file.py:.*sort has no counterpart in ONNX"),
        (Masking(), "getitem of an index of truth values has no counterpart in ONNX"),
        (nn.Sequential(exp_of_my_own), "exp_of_my_own has no counterpart in ONNX"),
    ):
        with pytest.raises(ValueError, match=rf"^export.onnx: .*{words}") as error:
            tg.export.onnx(model, tmp_path / "net.onnx", np.ones((3, 2)))
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"onnxruntime cannot run this .*Tan.*: model.astype\(np.float32\)") as error:
        tg.export.onnx(nn.Sequential(tg.ops.tan), tmp_path / "net.onnx", np.ones((3, 2)))
    assert "\n" not in str(error.value)
    assert [*tmp_path.iterdir()] == []


def test_other_numbers_are_noticed_before_the_file_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(RULES, "tanh", RULES["sigmoid"])
    model = nn.Sequential(nn.Dense(2, 2), nn.Tanh())
    with pytest.raises(ValueError, match=r"onnxruntime gives other numbers than the model for out, shape \(2, 2\)"):
        tg.export.onnx(model, tmp_path / "net.onnx")
    assert [*tmp_path.iterdir()] == []
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # without it, the file is only checked
    tg.export.onnx(model, tmp_path / "net.onnx")
    monkeypatch.setitem(RULES, "tanh", elementwise("NoSuchOperation"))
    with pytest.raises(onnx.checker.ValidationError, match=r"NoSuchOperation"):
        tg.export.onnx(model, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_without_onnx_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'^onnx cannot be imported: pip install "tinygrad_ce\[onnx\]"$'):
        tg.export.onnx(nn.Sequential(nn.Dense(2, 2)), tmp_path / "net.onnx")


def test_examples_and_folders_are_refused_as_elsewhere(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Dense(2, 2))
    with pytest.raises(ValueError, match=r"export.onnx: the model begins with Flatten, whose rows may have any shape"):
        tg.export.onnx(model, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"export.onnx: the example x has shape \(0, 2\); pass rows of data"):
        tg.export.onnx(model, tmp_path / "net.onnx", np.ones((0, 2)))
    with pytest.raises(FileNotFoundError, match=r"nowhere"):
        tg.export.onnx(model, tmp_path / "nowhere" / "net.onnx", np.ones((3, 2)))


def test_a_model_of_several_inputs_says_that_it_needs_rows(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Dense(3, 2)

        def forward(self, image, text):
            return self.first(image) + text

    with pytest.raises(ValueError, match=r'several inputs: .*, example=\{"image": image\[:5\], "text": text\[:5\]\}'):
        tg.export.onnx(Two(), tmp_path / "two.onnx")
