"""What Python puts into a live page: the content, the combinations, the files that leave it, and what is refused."""

import base64
import json
import re
import sys
import zlib

import numpy as np
import pytest
from live.training import nn, numbers, rows, stack, tanh_network, trainer_of

import tinygrad_ce as tg
from tinygrad_ce.live.offers import ACTIVATIONS, DEPTHS, LOSSES_OF_CLASSES, OPTIMIZERS, combinations, model_of
from tinygrad_ce.live.rows import MOST_ROWS, as_dataset, rows_of
from tinygrad_ce.program import CannotLower

losses = tg.losses


def part(page, name):
    """A part of a page as text."""
    (text,) = re.findall(rf'id="{name}"[^>]*>([^<]*)<', page.html)
    return zlib.decompress(base64.b64decode(text)).decode()


def content(page):
    """What the page gets from Python."""
    return json.loads(part(page, "page-data"))


def own(model, loss=losses.softmax_cross_entropy, dataset=None, **settings):
    """The page's own network, as the page knows it."""
    trainer = trainer_of(model, loss, **settings)
    return content(tg.live(trainer, dataset or rows()[0], moments=()))["networks"]["own"]


# ---- the own network


def test_the_lines_say_their_phase_and_what_they_compute():
    network = own(tanh_network(), optimizer=tg.optim.Adam)
    phases = [line["phase"] for line in network["lines"]]
    assert phases == sorted(phases, key=["forward", "backward", "update"].index)
    lines = {line["name"]: line for line in network["lines"] if line["phase"] != "update"}
    assert lines["z1"] == {"text": "z1 = np.dot(x, W0) + b0", "phase": "forward", "name": "z1"}
    assert lines["one_hot"]["text"] == "one_hot = np.eye(2)[y]"
    assert lines["d_W0"]["text"] == "d_W0 = x.T @ d_z1"
    assert network["lines"][-1]["text"] == "b4, m_b4, v_b4 = adam(b4, d_b4, m_b4, v_b4, t, lr)"
    assert network["above"].startswith("def adam(W, d_W, m, v, t, lr")


def test_the_lines_are_the_printed_step():
    """With the functions above it they run, and compute what the engine does, for any number of rows."""
    training, _ = rows()
    model = stack(lambda: nn.Dense(2, 5), lambda: nn.BatchNorm(5), nn.GELU, lambda: nn.Dense(5, 2), nn.Softmax)
    network = own(model, losses.mse, optimizer=tg.optim.Adam)
    batch = 11
    X, y = training.X[:batch], training.y[:batch]
    answer = model.train()(tg.Tensor(X))
    loss = losses.mse(answer, tg.data.one_hot(y, 2))
    loss.backward()
    names = {"x": X, "y": y, "np": np, "batch": batch, "lr": 0.1, "t": 1}
    names |= {"running_mean": np.zeros(5), "running_variance": np.ones(5)}
    for path, parameter in model.named_parameters():
        name = "".join(path.split(".")[:0:-1])
        names |= {name: parameter.data, f"m_{name}": 0.0, f"v_{name}": 0.0}
    text = "\n".join([network["above"], *(line["text"] for line in network["lines"])])
    exec(text if "import math" not in text else "import math\n" + text, names)
    np.testing.assert_allclose(names["loss"], loss.item(), rtol=1e-12)
    np.testing.assert_allclose(names["d_W0"], model.layers[0].W.grad, rtol=1e-9, atol=1e-15)


def test_columns_weights_and_layers_of_a_residual_network():
    block = lambda: nn.Residual(nn.Dense(4, 3), nn.ReLU(), nn.Dense(3, 4))  # noqa: E731
    network = own(stack(lambda: nn.Dense(2, 4), lambda: nn.Dropout(0.25), block, lambda: nn.Dense(4, 2)))
    assert [column["size"] for column in network["columns"]] == [2, 4, 3, 4, 2]
    assert network["columns"][0]["names"] == ["x1", "x2"]
    assert network["columns"][-1]["names"] == [*rows()[0].class_names]
    assert [(w["name"], w["bias"], w["from"], w["to"]) for w in network["weights"]][1] == ("W2_0", "b2_0", 1, 2)
    assert network["random"] == {"mask": 0.25}
    assert network["evaluation"] == "own/evaluation"
    assert [layer["path"] for layer in network["layers"]][2:4] == ["layers.2.layers.0", "layers.2.layers.1"]
    assert network["shapes"]["z1"] == ["batch", 4]


def test_a_parameter_that_is_frozen_later_stays_as_it_is():
    trainer = trainer_of(tanh_network())
    trainer.model.layers[0].W.requires_grad = False
    network = content(tg.live(trainer, rows()[0], moments=()))["networks"]["own"]
    assert {*network["updates"]} == {*OPTIMIZERS}
    for updates in network["updates"].values():
        assert [line["name"] for line in updates["lines"]] == ["b0", "W2", "b2", "W4", "b4"]


def twice(z, y):
    """A loss whose result is not the variable of this name."""
    loss = losses.softmax_cross_entropy(z, y)
    total = loss * 2
    return total


def test_what_the_page_calls_loss_is_what_the_loss_returns():
    lines = own(tanh_network(), twice)["lines"]
    assert next(line["text"] for line in lines if line["name"] == "loss").endswith("* 2")


class Product(nn.Module):
    """A model without Dense layers."""

    def __init__(self):
        self.w = tg.Tensor(np.full((2, 2), 0.5), requires_grad=True)

    def forward(self, x):
        return tg.ops.tanh(x @ self.w)


def test_a_network_without_dense_layers_has_no_columns():
    network = own(Product())
    assert network["columns"] == network["weights"] == []
    assert network["shapes"]["w"] == [2, 2]
    assert network["saved"] is None
    assert network["code"] is None


def test_a_model_in_float32_computes_in_float64_and_stays_as_it_is():
    model = tanh_network().astype(np.float32)
    trainer = trainer_of(model)
    before = model.state()
    page = tg.live(trainer, rows()[0], moments=())
    assert content(page)["state"]["W0"]["kind"] == "f8"
    assert all(np.array_equal(before[path], array) for path, array in model.state().items())
    assert model.layers[0].W.dtype == np.float32


def test_the_settings_are_those_of_the_trainer():
    trainer = trainer_of(tanh_network(), lr=0.25, momentum=0.9)
    trainer.fit(rows()[0], epochs=2, batch_size=30, compile=False)
    settings = content(tg.live(trainer, rows()[0], moments=(), batch_size=16, seed=5))["settings"]
    assert settings == {
        "activation": "tanh", "loss": "cross-entropy", "hidden": [4, 4], "optimizer": "momentum",
        "rate": 0.25, "batch": 16, "seed": 5, "steps": 4,
    }  # fmt: skip
    strange = trainer_of(stack(lambda: nn.Dense(2, 2)), optimizer=tg.optim.AdamW)
    page = content(tg.live(strange, rows()[0], moments=()))
    assert (page["settings"]["optimizer"], page["offered"]["optimizer"][-1]) == ("yours", "yours")
    assert page["networks"]["own"]["code"]["optimizers"]["yours"] == "tg.optim.AdamW(model.parameters(), lr={lr})"


# ---- combinations


def test_every_combination_is_there_with_a_program():
    networks, programs = combinations(2, 2)
    keys = {f"{a}/{loss}/{depth}" for a in ACTIVATIONS for loss in LOSSES_OF_CLASSES for depth in DEPTHS}
    assert {*networks} == {*programs} == keys
    network = networks["relu/cross-entropy/2"]
    assert network["sizes"] == ["w1", "w2"]
    assert network["shapes"]["W2"] == ["w1", "w2"]
    assert [column["size"] for column in network["columns"]] == [2, "w1", "w2", 2]
    assert [weight["init"] for weight in network["weights"]] == ["he_uniform", "he_uniform", "glorot_uniform"]
    assert {*network["updates"]} == {*network["code"]["optimizers"]} == {*OPTIMIZERS}
    assert "d_t2 = 1 / (2 * batch)" in {line["text"] for line in networks["tanh/squared error/1"]["lines"]} | {
        line["text"].replace("t3", "t2") for line in networks["tanh/squared error/1"]["lines"]
    }


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("depth", [0, 3])
def test_the_document_and_the_code_of_a_combination_make_its_model(tmp_path, classes, depth):
    widths = [3, 5, 2][:depth]
    sizes = {f"w{k + 1}": width for k, width in enumerate(widths)}
    for key, network in combinations(3, classes)[0].items():
        activation, loss, layers = key.split("/")
        if layers != str(depth) or activation != "relu":
            continue
        model = model_of(activation, loss, widths, 3, classes)
        made = eval(network["code"]["model"].format(**sizes), {"tg": tg})
        assert repr(made) == repr(model)
        text = network["saved"]["document"]
        for name, size in sizes.items():
            text = text.replace(f'"{name}"', str(size))
        path = tmp_path / "model.safetensors"
        arrays = {f"model.{place}": model.state()[place] for place in network["saved"]["arrays"]}
        tg.storage.file.write(path, arrays, json.loads(text))
        X = np.random.default_rng(0).normal(size=(4, 3))
        np.testing.assert_array_equal(tg.load(path)(X), model(X).data)
        eval(network["code"]["optimizers"]["RMSprop"].format(lr=0.1), {"tg": tg, "model": made})
        targets = np.arange(4) % classes if classes else np.ones(4)
        trainer = tg.Trainer(made, eval(network["code"]["loss"], {"tg": tg}), tg.optim.SGD(made.parameters()))
        trainer.fit(X, targets, epochs=1, compile=False)


# ---- rows


def test_the_size_of_a_page_without_its_data():
    page = tg.live(trainer_of(tanh_network()), rows()[0])
    assert len(page.html.encode()) < 150_000 + 4 / 3 * 8 * 3 * 60


def test_a_quarter_of_the_rows_is_only_measured_and_many_are_thinned():
    data = content(tg.live(trainer_of(tanh_network()), tg.data.moons(5000), moments=()))["data"]
    assert data["x"]["shape"] == [MOST_ROWS, 2]
    assert data["test"] == [*range(1500, MOST_ROWS)]
    assert data["note"] == "2000 rows of 5,000 are in this page, evenly picked."


def test_digits_are_images_and_tables_have_their_units(tmp_path):
    digits = rows_of(tg.data.digits().take(slice(40))).content
    assert (digits["image"], digits["x"]["kind"], digits["units"]) == ([8, 8], "f4", None)
    path = tmp_path / "own.csv"
    path.write_text("size,kind\n" + "".join(f"{k},{'ab'[k % 2]}\n" for k in range(12)))
    train, test = tg.data.standardize(*tg.data.split(tg.data.from_csv(path, "kind"), test=0.25))
    units = rows_of(train, test).content["units"]
    shift, scale = train.preparation.shift[0], train.preparation.scale[0]
    assert (units["shift"], units["scale"], units["name"]) == ([shift], [scale], "kind")
    raw = tg.data.from_csv(path, "kind")
    np.testing.assert_allclose(rows_of(raw, preparation=train.preparation).X[0] * scale + shift, raw.X[0], atol=9)


def test_names_that_are_hostile_stay_names():
    names = "</script><script>alert(1)</script>", 'a"b', "x" * 300, "שלום"
    X = np.random.default_rng(0).normal(size=(20, 4))
    dataset = tg.data.Dataset(X, np.arange(20) % 2, names, names[:2], names[0], np.ones(4, bool))
    page = tg.live(trainer_of(stack(lambda: nn.Dense(4, 2))), dataset, moments=())
    assert page.html.count("alert") == page.html.count("alert(1)&lt;/script&gt;")
    assert content(page)["data"]["features"] == [*names]


def test_arrays_are_taken_as_a_dataset():
    X, y = np.ones((6, 2)), np.array([0, 1, 2, 0, 1, 2])
    assert repr(as_dataset(X, y)) == "Dataset('data', 6 rows, 2 features, 3 classes)"
    assert as_dataset(X, y[:, None].astype(float)).class_names == ()
    page = trainer_of(stack(lambda: nn.Dense(2, 3))).live(X, y, title="mine", moments=())
    assert repr(page) == '<a page that trains mine: .save("live.html")>'
    assert content(page)["data"]["classes"] == ["0", "1", "2"]


# ---- what is refused


class TwoInputs(nn.Module):
    """A model of two inputs."""

    def forward(self, left, right):
        return left + right


DRAWS = np.random.default_rng(0)


class Noisy(Product):
    """A model that draws random numbers of its own."""

    def forward(self, x):
        return super().forward(x) + DRAWS.normal(size=x.shape)


class Inverse(Product):
    """A model with an operation that has no JavaScript."""

    def forward(self, x):
        return x @ tg.ops.sort(self.w)


def arrays(X, y):
    """The page of some arrays."""
    return trainer_of(tanh_network()).live(X, y)


REFUSED = {
    "two inputs": (lambda: tg.live(Bare(TwoInputs()), rows()[0]), TypeError, r"takes 2 inputs \(left, right\)"),
    "no dataset": (lambda: tg.live(trainer_of(tanh_network()), np.ones((3, 2))), TypeError, "must be a Dataset"),
    "integers": (lambda: arrays(np.ones((3, 2), int), [0, 1, 0]), ValueError, r"astype\(float\)"),
    "several": (lambda: arrays({"a": 1}, [0]), TypeError, "several inputs"),
    "targets": (lambda: arrays(np.ones((3, 2)), [0, 1]), ValueError, "for each row"),
    "negative": (lambda: arrays(np.ones((3, 2)), [0, 1, -1]), ValueError, "from 0"),
    "random": (lambda: tg.live(trainer_of(Noisy()), rows()[0]), tg.program.TraceError, "outside of the step"),
    "columns": (lambda: tg.live(trainer_of(tanh_network()), rows()[0], test=numbers()), ValueError, "not the columns"),
    "batch": (lambda: tg.live(trainer_of(tanh_network()), rows()[0], batch_size=0), ValueError, "batch_size"),
}  # fmt: skip


REFUSED |= {
    "no trainer": (lambda: tg.live(None, rows()[0]), TypeError, r"NoneType; it must be a Trainer: tg.Trainer\("),
    "a model": (lambda: tg.live(tanh_network(), rows()[0]), TypeError, "Sequential; it must be a Trainer"),
    "title": (lambda: tg.live(trainer_of(tanh_network()), rows()[0], title=3), TypeError, "title is 3"),
    "moments": (lambda: tg.live(trainer_of(tanh_network()), rows()[0], moments=[3]), TypeError, "list of Moment"),
    "seed": (lambda: tg.live(trainer_of(tanh_network()), rows()[0], seed=-1), ValueError, "seed is -1"),
    "large seed": (lambda: tg.live(trainer_of(tanh_network()), rows()[0], seed=2**60), ValueError, "JavaScript holds"),
    "ragged": (lambda: arrays([[1.0, 2.0], [3.0]], [0, 1]), ValueError, "different lengths"),
    "many classes": (lambda: arrays(np.ones((2, 2)), [0, 10**12]), ValueError, "a page holds 1,000: number them"),
    "a float": (
        lambda: tg.live(trainer_of(tanh_network(), lambda z, y: losses.mse(z, z).item()), rows()[0]),
        TypeError,
        "the loss gives a float",
    ),
    "called loss": (lambda: tg.live(trainer_of(CalledLoss()), rows()[0]), ValueError, "called loss.*call it otherwise"),
}


class CalledLoss(nn.Module):
    """A model with a parameter by the name of what the page shows most."""

    def __init__(self):
        self.loss = tg.Tensor(np.eye(2), requires_grad=True)

    def forward(self, x):
        return x @ self.loss


class Bare:
    """What the page needs of a trainer, with a model that none would take."""

    loss, preparation = staticmethod(losses.mse), None

    def __init__(self, model):
        self.model = model
        self.optimizer = tg.optim.SGD([tg.Tensor([1.0], requires_grad=True)])


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_page_cannot_hold_is_refused_in_one_line(name):
    call, error, words = REFUSED[name]
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_an_operation_without_javascript_is_named(monkeypatch):
    def refuse(self):
        raise CannotLower("inv(...) in line 3\nhas no loops")

    monkeypatch.setattr(tg.program.Program, "javascript", property(refuse))
    monkeypatch.setattr(sys.modules["tinygrad_ce.live.live"], "javascript_of_all", lambda trained, others: None)
    with pytest.raises(CannotLower, match=r"^live: inv\(...\) in line 3 has no loops.*: tg.step_through\(loss\) shows"):
        tg.live(trainer_of(Inverse()), rows()[0], moments=())
