"""Files that are damaged, or meant to do harm: one line that names the file, nothing executed, no memory taken."""

import copy
import json
import os
import pickle
import random
import re
import struct
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file

import tinygrad_ce as tg
from tinygrad_ce import nn, optim

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices are those of POSIX")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a file with everything in it."""
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(3), nn.Tanh(), nn.Dense(3, 2))
    lr = optim.WarmUp(optim.ReduceOnPlateau(0.1), steps=2)
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(weight=np.ones(2)), optim.Adam(model.parameters(), lr=lr))
    train, _ = tg.data.standardize(*tg.data.split(tg.data.moons(40, seed=0)))
    trainer.fit(train, epochs=2, seed=0)
    path = tmp_path_factory.mktemp("whole") / "model.safetensors"
    trainer.save(path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some model.safetensors"


def parts_of(content):
    """The header, our document in it, and the bytes of the arrays."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["tinygrad_ce"]), content[8 + length :]


def file_of(header, document=None, data=b""):
    """A file with this header (a dict, or bytes as they are), and our document in it."""
    if document is not None:
        header = {
            **header,
            "__metadata__": {"tinygrad_ce": document if isinstance(document, str) else json.dumps(document)},
        }
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def refused(path, words, into=None, error=ValueError):
    """Loading raises an error of one line that names the file, and takes no memory for what it is promised."""
    before = into.state() if into is not None else {}
    tracemalloc.start()
    try:
        with pytest.raises(error) as caught:
            tg.load(path, into=into)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    assert re.search(words, text), text
    assert path.name in text
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) < 1000
    assert peak < 4_000_000
    for name, array in before.items():
        np.testing.assert_array_equal(into.state()[name], array)


def one(dtype="F64", shape=(2,), offsets=(0, 16)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


# ---- the file


DAMAGED = {
    "empty": (b"", "is empty"),
    "seven bytes": (b"1234567", "is cut off, or no safetensors file"),
    "a CSV": (b"a,b\n1,2\n" * 100, "is cut off, or no safetensors file at all"),
    "a pickle": (pickle.dumps(list(range(99))), "is cut off, or no safetensors file"),
    "a gigabyte of header": (struct.pack("<Q", 1 << 30) + b"{}" * 9, "cannot hold a header of 1,073,741,824 bytes"),
    "more than memory": (struct.pack("<Q", (1 << 64) - 1) + b"{}" * 9, "cannot hold a header"),
    "no JSON": (file_of(b"{'a': 1}"), "its header is no JSON"),
    "no text": (file_of(b'{"\xff\xfe": 1}'), "its header is no JSON"),
    "a list": (file_of(b"[1, 2]"), "its header is no JSON object"),
    "nested": (file_of(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "its header is no JSON"),
    "NaN": (file_of(b'{"a": NaN}'), "NaN is no number"),
    "a long number": (file_of(b'{"a": ' + b"9" * 10_000 + b"}"), "its header is no JSON"),
    "a name twice": (file_of(b'{"a": %b, "a": %b}' % ((json.dumps(one()).encode(),) * 2), None, bytes(16)), "twice"),
    "a gigabyte of array": (file_of({"a": one(shape=[1 << 27], offsets=(0, 1 << 30))}), "does not fit into bytes"),
    "a size that overflows": (file_of({"a": one(shape=[1 << 40, 1 << 40], offsets=(0, 8))}), "does not fit into bytes"),
    "no numbers in a long shape": (
        file_of({"a": one(shape=[0, 1 << 62, 1 << 62], offsets=(0, 0))}),
        "does not fit into",
    ),
    "a hundred axes": (file_of({"a": one(shape=[1] * 100, offsets=(0, 8))}, None, bytes(8)), "does not fit into bytes"),
    "a negative size": (file_of({"a": one(shape=[-2])}, None, bytes(16)), "its header says of 'a'"),
    "a size with a point": (file_of({"a": one(shape=[2.0])}, None, bytes(16)), "its header says of 'a'"),
    "a size that is true": (
        file_of({"a": one(shape=[True], offsets=(0, 8))}, None, bytes(8)),
        "its header says of 'a'",
    ),
    "offsets backwards": (file_of({"a": one(offsets=(16, 0))}, None, bytes(16)), "does not fit into bytes"),
    "no offsets": (file_of({"a": {"dtype": "F64", "shape": [2]}}, None, bytes(16)), "its header says of 'a'"),
    "a text for an array": (file_of({"a": "F64"}), "its header says of 'a'"),
    "bfloat16": (file_of({"a": one("BF16", (8,))}, None, bytes(16)), "holds 'a' as 'BF16', which NumPy lacks"),
    "overlapping": (
        file_of({"a": one(), "b": one(offsets=(8, 24))}, None, bytes(24)),
        "'b' begins at byte 8, and the one",
    ),
    "a hole": (
        file_of({"a": one(), "b": one(offsets=(24, 40))}, None, bytes(40)),
        "'b' begins at byte 24, and the one",
    ),
    "too much": (file_of({"a": one()}, None, bytes(17)), "its arrays take 16 bytes, and after the header come 17"),
    "names with paths": (file_of({"../../etc/passwd\x1b[31m": one()}, None, bytes(16)), "holds arrays and no model"),
    "another program's": (file_of({"weight": one()}, None, bytes(16)), r"into=model"),
    "no model at all": (file_of({}), "holds arrays and no model"),
}


@pytest.mark.parametrize("which", DAMAGED)
def test_a_damaged_file_is_refused(which, path):
    content, words = DAMAGED[which]
    path.write_bytes(content)
    refused(path, words)
    if which not in ("names with paths", "another program's", "no model at all"):
        refused(path, words, into=nn.Dense(2, 2))


def test_a_file_that_is_cut_off_anywhere_is_refused(whole, path):
    for length in {*range(0, len(whole), 97), *range(12), len(whole) - 1}:
        path.write_bytes(whole[:length])
        refused(path, "is empty|is cut off|does not fit|is damaged")


def test_a_header_that_is_too_long_is_not_read(path):
    text = b'{"a": "' + b" " * 8_000_000 + b'"}'
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    refused(path, "has a header of 8,000,00. bytes, and no model has more")


def test_what_is_promised_by_a_file_with_holes_on_the_disk_is_not_read(whole, path):
    _, document, _ = parts_of(whole)
    path.write_bytes(file_of({"model.layers.0.W": one(shape=[1 << 30], offsets=(0, 1 << 33))}, document))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + (1 << 33))
    refused(path, "does not fit the model")


@posix
def test_what_is_no_ordinary_file_is_refused(path, tmp_path):
    os.mkfifo(path)
    refused(path, "is no ordinary file")
    device = tmp_path / "zero"
    device.symlink_to("/dev/zero")
    refused(device, "is no ordinary file")


def test_a_folder_and_a_missing_file_are_refused(tmp_path, whole):
    folder = tmp_path / "run"
    refused(folder, "No such file", error=FileNotFoundError)
    folder.mkdir()
    refused(folder, "is a folder: pass the path of a file")
    (folder / "model.safetensors").write_bytes(whole)
    refused(folder, r"is a folder: tg\.load\('.*run.model\.safetensors'\)")
    with pytest.raises(TypeError, match=r"load: path is a Sequential"):
        tg.load(nn.Sequential())


def test_a_name_of_a_file_cannot_write_to_the_terminal(tmp_path):
    path = tmp_path / "a\x1b[31m\nb"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=re.escape(r"a\x1b[31m\nb")):
        tg.load(path)


# ---- the document


def change(*keys, to):
    """A change of the document: what stands under these keys."""

    def apply(document):
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to

    return apply


LAYERS = ("model", "layers", "layers")
HOSTILE = {
    "a newer format": (change("format", to=2), r"was written by .* in format 2, and this is .*pip install -U"),
    "a format that is a text": (change("format", to="1"), "in format '1'"),
    "no format": (lambda document: document.clear(), "in format None"),
    "huge sizes": (
        lambda d: d["model"]["layers"]["layers"][0].update(n_in=10**9, n_out=10**9),
        "does not fit the model",
    ),
    "a huge feature": (change(*LAYERS, 1, "n_features", to=10**12), "does not fit the model"),
    "a negative size": (change(*LAYERS, 0, "n_in", to=-2), "n_in=-2 must be a positive integer"),
    "a size with a point": (change(*LAYERS, 0, "n_in", to=2.0), "n_in=2.0 must be a positive integer"),
    "a size that is true": (change(*LAYERS, 0, "n_in", to=True), "n_in=True must be a positive integer"),
    "a size that is a list": (change(*LAYERS, 0, "n_in", to=[2]), r"n_in=\[2\] must be a positive integer"),
    "a missing size": (lambda d: d["model"]["layers"]["layers"][0].pop("n_in"), "Dense: n_in is missing"),
    "an unknown class": (change(*LAYERS, 2, "class", to="os.system"), "is no layer of this version|which is no layer"),
    "a class of Python's": (change(*LAYERS, 2, "class", to="__import__"), "which is no layer"),
    "a loss as a layer": (change(*LAYERS, 2, "class", to="MSE"), "which is no layer"),
    "a class that is a list": (change(*LAYERS, 2, "class", to=["Tanh"]), "which is no layer"),
    "an argument too many": (change(*LAYERS, 2, "inplace", to=True), "Tanh takes nothing"),
    "a function as init": (change(*LAYERS, 0, "init", to="eval"), "init='eval' is unknown"),
    "a layer that is a text": (change(*LAYERS, 2, to="Tanh"), "which is no layer"),
    "layers that are a text": (change("model", "layers", "layers", to="Tanh"), "has a list of layers"),
    "a layer too many": (
        lambda d: d["model"]["layers"]["layers"].append({"class": "LayerNorm", "n_features": 2}),
        "lacks",
    ),
    "a layer too few": (lambda d: d["model"]["layers"]["layers"].pop(), r"has besides 'layers\.3\.W', 'layers\.3\.b'"),
    "the same as nothing": (change(*LAYERS, 2, to={"same": "layers.9"}), "does not come before it"),
    "the same as itself": (change("model", "layers", to={"same": ""}), "which is no layer"),
    "shared with nothing": (change("model", "layers", "shared", to={"layers.3.W": "layers.7.W"}), "cannot share"),
    "shared in a circle": (
        change(
            "model", "layers", "shared", to={"layers.1.scale": "layers.1.shift", "layers.1.shift": "layers.1.scale"}
        ),
        "cannot share",
    ),
    "shared with another shape": (change("model", "layers", "shared", to={"layers.3.W": "layers.0.W"}), "cannot share"),
    "a momentum": (change(*LAYERS, 1, "momentum", to=7), r"momentum=7 must lie in \[0, 1\]"),
    "an eps": (change(*LAYERS, 1, "eps", to="small"), "eps='small' must be a number"),
    "parameters that are a number": (change("model", "parameters", to=3), "does not say what its arrays are"),
    "parameters that are numbers": (change("model", "parameters", to=[3]), "does not say what its arrays are"),
    "constants that are all": (lambda d: d["model"]["constants"].extend(d["model"]["parameters"]), "lacks"),
    "a model that is a text": (change("model", to="Dense"), "does not say what its arrays are"),
    "no loss of ours": (change("loss", to={"class": "Exploit", "options": {}}), "is no loss of this version"),
    "a function of Python's": (change("loss", to={"function": "exec", "options": {}}), "is no loss of this version"),
    "an option of no loss": (change("loss", "options", to={"command": "rm"}), "is no loss of this version"),
    "a loss that is a list": (change("loss", to=[1]), "is no loss of this version"),
    "no loss, and its weights": (change("loss", to=None), r"has besides 'loss\.weight', which belongs to nothing"),
    "no optimizer of ours": (change("optimizer", "class", to="Optimizer"), "is no optimizer of this version"),
    "another optimizer": (change("optimizer", "class", to="SGD"), "SGD takes"),
    "betas": (change("optimizer", "settings", "betas", to=[0.9, 1.5]), r"beta2=1\.5 must lie"),
    "betas that are a text": (change("optimizer", "settings", "betas", to="ab"), "beta1='a' must lie"),
    "a parameter twice": (lambda d: d["optimizer"]["parameters"].append("layers.0.W"), "a parameter twice"),
    "a parameter of nothing": (change("optimizer", "parameters", 0, to="layers.9.W"), r"layers\.9\.W"),
    "an average as parameter": (
        change("optimizer", "parameters", 2, to="layers.1.running_mean"),
        "running_mean",
    ),
    "a schedule of Python's": (change("optimizer", "settings", "lr", to={"class": "print"}), "is no schedule"),
    "a schedule that is a number": (change("optimizer", "settings", "lr", to=0.1), "is no schedule"),
    "another schedule": (
        change("optimizer", "settings", "lr", "after", to={"class": "Constant", "lr": 1}),
        "which this Adam does not remember",
    ),
    "a schedule's patience": (change("optimizer", "settings", "lr", "after", "patience", to=-1), "patience=-1 must be"),
    "a history of nothing": (change("history", "columns", to=["epoch", "fun"]), "'fun'"),
    "a history that is a list": (change("history", to=[1]), "cannot be used"),
    "a generator of nothing": (change("generator", to={"bit_generator": "MT19937"}), "is no generator"),
    "a generator without state": (change("generator", "state", to={}), "is no state of a PCG64"),
    "a generator of long numbers": (change("generator", "state", "inc", to=10**39), "is no state of a PCG64"),
    "a generator with more": (change("generator", "state", "code", to="rm"), "is no state of a PCG64"),
    "a generator of texts": (change("generator", "uinteger", to="1"), "is no state of a PCG64"),
    "a task": (change("task", to="win"), "there is no task 'win'"),
    "a preparation of nothing": (change("preparation", to={"a": 1}), "cannot be used"),
    "a preparation that is a list": (change("preparation", to=[1]), "cannot be used"),
}


@pytest.mark.parametrize("which", HOSTILE)
def test_a_hostile_document_is_refused(which, whole, path):
    apply, words = HOSTILE[which]
    header, document, data = parts_of(whole)
    apply(document)
    path.write_bytes(file_of(header, document, data))
    refused(path, words)


JUNK = (None, True, -1, 3, 1e308, "", "layers.0.W", [], [1], ["a"], [[]], {}, {"class": "Dense"}, 10**30)


def places(value, path=()):
    """The keys that lead to each value inside of this one."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def load_or_refuse(path):
    """The model, or the words of the refusal."""
    try:
        return tg.load(path).model
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(4))
def test_junk_anywhere_is_refused_in_one_line_or_changes_nothing_else(seed, whole, path):
    choose = random.Random(seed)
    for _ in range(60):
        header, document, data = parts_of(whole)
        of = document if choose.random() < 0.8 else header
        *keys, last = choose.choice([keys for keys in places(of) if keys])
        inner = of
        for key in keys:
            inner = inner[key]
        inner[last] = choose.choice(JUNK)
        content = bytearray(file_of(header, document, data))
        if choose.random() < 0.1:
            content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        path.write_bytes(content)
        answer = load_or_refuse(path)
        assert isinstance(answer, nn.Sequential) or (path.name in answer and "\n" not in answer)


def test_the_file_that_was_changed_is_right_without_the_change(whole, path):
    header, document, data = parts_of(whole)
    path.write_bytes(file_of(header, document, data))
    assert len(tg.load(path).trainer.history) == 2


def test_a_document_that_is_no_json_is_refused(whole, path):
    header, document, data = parts_of(whole)
    text = json.dumps(document)
    for wrong, words in (
        (text[:-1], "is no JSON"),
        (text.replace('"format": 1', '"format": 1, "format": 1'), "a key comes twice"),
        (text.replace('"format": 1', '"format": NaN'), "NaN is no number"),
        ("[" * 100_000, "is no JSON"),
        ("[1]", "is no JSON object"),
    ):
        path.write_bytes(file_of(header, wrong, data))
        refused(path, f"its description of the model.*{words}")


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + 60 * "0"])
def test_a_number_that_no_float_holds_is_refused(number, whole, path):
    header, document, data = parts_of(whole)
    text = json.dumps(document)
    assert '"eps": 1e-05' in text
    path.write_bytes(file_of(header, text.replace('"eps": 1e-05', f'"eps": {number}', 1), data))
    refused(path, "larger than any number of a model")


@pytest.mark.parametrize("name", ["x" * 100_000, "\x1b[31m\n\u202e" * 100])
def test_a_name_out_of_the_file_is_cut_and_made_visible(name, whole, path):
    for where in [("model", "layers", "layers", 1, "eps"), ("optimizer", "parameters", 0), ("history", "columns", 0)]:
        header, document, data = parts_of(whole)
        *above, last = where
        inner = document
        for key in above:
            inner = inner[key]
        inner[last] = name
        path.write_bytes(file_of(header, document, data))
        refused(path, "cannot be used")


def test_layers_inside_of_layers_without_end_are_refused(path):
    description = {"class": "ReLU"}
    for _ in range(300):
        description = {"class": "Residual", "layers": [description]}
    document = {"format": 1, "model": {"layers": description, "parameters": [], "constants": [], "evaluation": []}}
    path.write_bytes(file_of({}, document))
    refused(path, "more than 64 levels deep")


def test_many_layers_that_share_one_array_take_its_memory_once(path):
    n, count = 100, 500
    layers = [{"class": "Dense", "n_in": n, "n_out": n, "bias": False}] * count
    shared = {f"layers.{i}.W": "layers.0.W" for i in range(1, count)}
    model = {
        "layers": {"class": "Sequential", "layers": layers, "shared": shared},
        "parameters": ["layers.0.W"],
        "constants": [],
        "evaluation": [],
    }
    path.write_bytes(
        file_of(
            {"model.layers.0.W": one("F32", (n, n), (0, 4 * n * n))}, {"format": 1, "model": model}, bytes(4 * n * n)
        )
    )
    tracemalloc.start()
    loaded = tg.load(path).model
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert loaded[0].W is loaded[-1].W


# ---- the arrays


def with_array(content, name, array):
    """The same file with another array of as many bytes."""
    header, document, data = parts_of(content)
    begin, end = header[name]["data_offsets"]
    changed = array(np.frombuffer(data[begin:end]).copy())
    header[name]["dtype"] = {"f8": "F64", "i8": "I64", "f4": "F32"}[changed.dtype.str[1:]]
    return file_of(header, document, data[:begin] + changed.tobytes() + data[end:])


def put(number):
    def change(array):
        array[-1] = number
        return array

    return change


ARRAYS = {
    "NaN in a parameter": ("model.layers.0.W", put(np.nan), r"'model\.layers\.0\.W' holds nan at \(1, 2\)"),
    "infinity in an average": ("model.layers.1.running_mean", put(np.inf), "holds inf at"),
    "NaN in a memory": ("optimizer.2.square", put(np.nan), r"'optimizer\.2\.square' holds nan"),
    "a rate of NaN": ("optimizer.schedule.rate", put(np.nan), "holds nan"),
    "a negative rate": (
        "optimizer.schedule.rate",
        put(-1.0),
        r"schedule\.rate is -1\.0, and a learning rate",
    ),
    "a best loss of NaN": ("optimizer.schedule.best", put(np.nan), "holds nan"),
    "integers for floats": ("model.layers.3.W", lambda a: a.view("i8"), "float64 in the model"),
    "float32 of another length": ("model.layers.3.b", lambda a: a.view("f4"), "does not fit into bytes"),
    "steps in floats": ("optimizer.steps", lambda a: a * 0 + 1.5, "whole numbers"),
    "more updates than steps": ("optimizer.updates", lambda a: np.full(a.shape, 9**9), "0 <= updates <= steps"),
    "waiting for a float": ("optimizer.schedule.waited", lambda a: a * 0 + 1e300, "waited, which the schedule"),
}


@pytest.mark.parametrize("which", ARRAYS)
def test_a_hostile_array_is_refused(which, whole, path):
    name, array, words = ARRAYS[which]
    path.write_bytes(with_array(whole, name, array))
    refused(path, words)


@pytest.mark.parametrize("name", ["model.layers.0.W", "optimizer.0.mean", "optimizer.schedule.best", "history.loss"])
def test_a_renamed_array_is_refused(name, whole, path):
    header, document, data = parts_of(whole)
    header[name + "x"] = header.pop(name)
    path.write_bytes(file_of(header, document, data))
    refused(path, f"{name.split('.')[-1]}")
    header["evil/../" + name] = header.pop(name + "x")
    path.write_bytes(file_of(header, document, data))
    refused(path, "evil/../")


def test_two_arrays_of_one_shape_that_were_swapped_are_other_numbers_and_nothing_else(whole, path):
    header, document, data = parts_of(whole)
    a, b = "model.layers.1.scale", "model.layers.1.shift"
    header[a], header[b] = copy.deepcopy(header[b]), copy.deepcopy(header[a])
    path.write_bytes(file_of(header, document, data))
    tg.load(path)
    header["model.layers.0.W"], header["model.layers.3.W"] = header["model.layers.3.W"], header["model.layers.0.W"]
    path.write_bytes(file_of(header, document, data))
    refused(path, r"layers\.0\.W has shape \(3, 2\) and dtype float64 in the file, and \(2, 3\) and float64")


# ---- into a model


def test_a_model_that_does_not_fit_is_left_as_it_was(whole, path):
    path.write_bytes(whole)
    right = nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(3), nn.Tanh(), nn.Dense(3, 2))
    for other, words in (
        (nn.Sequential(nn.Dense(2, 3), nn.BatchNorm(3), nn.Tanh(), nn.Dense(3, 3)), r"layers\.3\.W has shape \(3, 2\)"),
        (nn.Sequential(nn.Dense(2, 3), nn.Tanh(), nn.Dense(3, 2)), r"lacks 'layers\.2\.W'.*has besides 'layers\.1\.r"),
        (nn.Sequential(*right.layers).astype("float32"), "dtype float64 in the file, and .* float32 in the model"),
    ):
        refused(path, words, into=other)
    header, document, data = parts_of(whole)
    document["optimizer"]["settings"]["eps"] = -1
    path.write_bytes(file_of(header, document, data))
    refused(path, "eps=-1 must be a number that is not negative", into=right.astype("float64"))


def test_arrays_of_another_program_go_into_a_model_whose_paths_they_have(path):
    model, other = nn.Dense(2, 3), nn.Dense(2, 3)
    other.b.requires_grad = False
    save_file(model.state(), path, {"format": "np"})
    refused(path, r"holds arrays and no model of tinygrad_ce \('W', 'b'")
    saved = tg.load(path, into=other)
    np.testing.assert_array_equal(other.W.data, model.W.data)
    assert saved.optimizer is None
    assert not other.b.requires_grad
    with pytest.raises(ValueError, match=r"was not written by tg\.save"):
        saved.restore_seed()
    refused(path, "lacks 'layers.0.W'", into=nn.Sequential(nn.Dense(2, 3)))
