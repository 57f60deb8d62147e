"""What was trained on a table, saved and loaded leaves as NumPy, ONNX and PyTorch, with the same numbers."""

import json
import runpy

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn

SIZES = ["small", "large", "middle"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """What tg.load gives for a regression on a table with words and a missing value; and rows that are prepared."""
    folder = tmp_path_factory.mktemp("saved")
    rng = np.random.default_rng(3)
    rows = [(rng.normal(170, 10), SIZES[k % 3], rng.normal()) for k in range(60)]
    lines = [f"{height:.1f},{size},{height * 2 + k % 3 + noise:.2f}" for k, (height, size, noise) in enumerate(rows)]
    lines[7] = "," + lines[7].partition(",")[2]
    path = folder / "rows.csv"
    path.write_text("height,size,price\n" + "\n".join(lines) + "\n")
    table = tg.data.from_csv(path, "price", regression=True, missing="mean")
    train, test = tg.data.standardize(*tg.data.split(table, 0.25, seed=0), targets=True)
    tg.seed(0)
    model = nn.Sequential(nn.Dense(train.X.shape[1], 8), nn.BatchNorm(8), nn.GELU(), nn.Dropout(0.1), nn.Dense(8, 1))
    trainer = tg.Trainer(model, nn.MSE(), tg.optim.Adam(model.parameters(), lr=0.01))
    trainer.fit(train, epochs=5, compile=False, seed=0)
    trainer.save(folder / "model.safetensors")
    return tg.load(folder / "model.safetensors"), test.X, trainer.model.eval()(test.X).data


def test_as_a_file_of_numpy(saved, tmp_path):
    loaded, X, expected = saved
    tg.export.numpy(loaded, tmp_path / "net.py")
    forward = runpy.run_path(str(tmp_path / "net.py"))["forward"]
    np.testing.assert_allclose(forward(X), expected, rtol=1e-13, atol=1e-14)
    comments = [line for line in (tmp_path / "net.py").read_text().splitlines() if line.startswith("#")]
    assert [line for line in loaded.preparation.summary().splitlines() if f"# {line.rstrip()}" not in comments] == []


def test_as_onnx(saved, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    loaded, X, expected = saved
    tg.export.onnx(loaded, tmp_path / "net.onnx", X)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": X})[0], expected, rtol=1e-12, atol=1e-13)
    preparation = json.loads(session.get_modelmeta().custom_metadata_map["preparation"])
    assert tg.data.Preparation.from_json(preparation) == loaded.preparation


def test_as_pytorch(saved):
    torch = pytest.importorskip("torch")
    loaded, X, expected = saved
    twin = tg.export.torch_module(loaded).eval()
    with torch.no_grad():
        np.testing.assert_allclose(twin(torch.from_numpy(X)).numpy(), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(tg.export.from_torch(twin)(X).data, loaded.model.eval()(X).data)
