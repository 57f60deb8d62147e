"""Ten epochs, a file, and ten more in another process are twenty, bit for bit."""

import numpy as np
import pytest
from fresh import said

import tinygrad_ce as tg
from tinygrad_ce import nn, optim

ROWS = "tg.data.moons(70, seed=1)"
DATA = tg.data.moons(70, seed=1)


def trainer(optimizer, *layers, frozen=False, dtype="float64", loss=None):
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 6), *layers, nn.Tanh(), nn.Dense(6, 2)).astype(dtype)
    ours = tg.Trainer(model, loss or nn.SoftmaxCrossEntropy(), optimizer(model.parameters()))
    if frozen:
        model[0].W.requires_grad = False
    return ours


CASES = {
    "sgd": (lambda: trainer(optim.SGD), {}),
    "dropout": (lambda: trainer(lambda p: optim.SGD(p, momentum=0.9), nn.Dropout(0.3)), {}),
    "batch norm": (lambda: trainer(optim.Adam, nn.BatchNorm(6), nn.LayerNorm(6), dtype="float32"), {}),
    "compiled": (
        lambda: trainer(
            lambda p: optim.SGD(p, lr=optim.Cosine(0.1, steps=60), momentum=0.9, nesterov=True),
            *(nn.BatchNorm(6), nn.Dropout(0.3)),
        ),
        {"compile": True},
    ),
    "frozen": (lambda: trainer(optim.RMSprop, frozen=True), {}),
    "clipped": (lambda: trainer(optim.AdaGrad), {"clip_norm": 0.1, "batch_size": 13}),
    "patience": (lambda: trainer(optim.AdamW, nn.Dropout(0.5)), {"patience": 2, "validation": DATA}),
    "plateau": (
        lambda: trainer(lambda p: optim.SGD(p, lr=optim.WarmUp(optim.ReduceOnPlateau(0.5, 0.5, 1), 40))),
        {"validation": DATA},
    ),
    "one cycle": (
        lambda: trainer(
            lambda p: optim.Adam(p, lr=optim.OneCycle(0.1, 60)),
            loss=nn.SoftmaxCrossEntropy(weight=np.array([1.0, 2.0])),
        ),
        {},
    ),
}


@pytest.fixture(scope="module")
def continued(tmp_path_factory):
    """A folder with the file of each case after ten epochs, and after ten more in another process."""
    folder = tmp_path_factory.mktemp("models")
    for name, (make, options) in CASES.items():
        ours = make()
        ours.fit(DATA, epochs=10, seed=3, **options)
        ours.save(folder / name)
    options = {name: {k: v for k, v in options.items() if k != "validation"} for name, (_, options) in CASES.items()}
    validated = [name for name, (_, options) in CASES.items() if "validation" in options]
    said(f"""
        import tinygrad_ce as tg
        data = {ROWS}
        for name, options in {options}.items():
            trainer = tg.load({str(folder)!r} + "/" + name).trainer
            trainer.fit(data, epochs=10, validation=data if name in {validated} else None, **options)
            trainer.save({str(folder)!r} + "/" + name + " later")
    """)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_ten_epochs_and_ten_in_another_process_are_twenty(name, continued):
    make, options = CASES[name]
    right, saved = make(), tg.load(continued / f"{name} later")
    if "patience" in options:  # each fit counts anew, and goes back to its best parameters
        right.fit(DATA, epochs=10, seed=3, **options)
        right.fit(DATA, epochs=10, **options)
    else:
        right.fit(DATA, epochs=20, seed=3, **options)
    for path, array in right.model.state().items():
        np.testing.assert_array_equal(saved.model.state()[path], array)
    for key, value in right.optimizer.state().items():
        np.testing.assert_array_equal(saved.optimizer.state()[key], value)
    assert saved.history.columns == right.history.columns
    assert [*saved.history.columns] == [*right.history.columns]
    assert saved.history.stopped == right.history.stopped
    assert saved.generator.bit_generator.state == right.generator.bit_generator.state
    np.testing.assert_array_equal(saved.trainer.predict(DATA.X), right.predict(DATA.X))


LOOP = """
def train(model, optimizer, steps):
    random = np.random.default_rng(0)
    for _ in range(steps):
        x = np.ones((8, 2)) * optimizer.steps
        loss = tg.losses.mse(model(np.sin(x)), np.cos(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


def test_a_loop_of_ones_own_goes_on_in_another_process(tmp_path):
    train = {"np": np, "tg": tg}
    exec(LOOP, train)
    tg.seed(0)
    model = nn.Sequential(nn.Dense(2, 5), nn.Dropout(0.5), nn.Dense(5, 2))
    optimizer = optim.Adam(model.parameters(), lr=optim.Cosine(0.1, steps=20))
    train["train"](model, optimizer, 10)
    tg.save(tmp_path / "a", model, optimizer=optimizer)
    said(
        "import numpy as np\nimport tinygrad_ce as tg\n"
        + LOOP
        + f"""
saved = tg.load({str(tmp_path / "a")!r})
saved.restore_seed()
train(saved.model, saved.optimizer, 10)
tg.save({str(tmp_path / "b")!r}, saved.model, saved.optimizer)
"""
    )
    train["train"](model, optimizer, 10)
    saved = tg.load(tmp_path / "b")
    for path, array in model.state().items():
        np.testing.assert_array_equal(saved.model.state()[path], array)
    np.testing.assert_array_equal(saved.optimizer.state()["0.square"], optimizer.state()["0.square"])


# ---- with code of one's own: into a trainer, or a model and an optimizer, that are made again


class Scaled(nn.Module):
    """A model of somebody's own."""

    def __init__(self):
        self.inner, self.gain = nn.Dense(2, 2), tg.Tensor(np.ones(2), requires_grad=True)

    def forward(self, x):
        return self.inner(x) * self.gain


class Signs(optim.Optimizer):
    """Descent by the sign of a running sum."""

    remembers = ("total",)

    def initial_state(self, data):
        return (np.zeros_like(data),)

    def update(self, param, grad, state, lr, step):
        total = 0.5 * state[0] + grad
        return param - lr * np.sign(total), (total,)


def own_loss(predictions, targets):
    return tg.losses.softmax_cross_entropy(predictions, targets) * 2


def own_trainer():
    tg.seed(0)
    model = Scaled()
    return tg.Trainer(model, own_loss, Signs(model.parameters(), lr=lambda step: 0.01 / (1 + step)))


def test_a_trainer_with_code_of_ones_own_goes_on_in_one_that_is_made_again(tmp_path):
    first, right = own_trainer(), own_trainer()
    right.fit(DATA, epochs=6, seed=1)
    first.fit(DATA, epochs=3, seed=1)
    first.save(tmp_path / "a")
    with pytest.raises(ValueError, match=r"the model, of class Scaled.*into=model"):
        tg.load(tmp_path / "a")
    of_model = tg.load(tmp_path / "a", into=Scaled())
    with pytest.raises(ValueError, match=r"'the loss own_loss' and 'the optimizer Signs'.*into=trainer"):
        _ = of_model.trainer
    second = own_trainer()
    saved = tg.load(tmp_path / "a", into=second)
    assert saved.trainer is second
    second.fit(DATA, epochs=3)
    for path, array in right.model.state().items():
        np.testing.assert_array_equal(second.model.state()[path], array)
    assert second.history.columns == right.history.columns
    model = Scaled()
    optimizer = Signs(model.parameters(), lr=lambda step: 0.01 / (1 + step))
    saved = tg.load(tmp_path / "a", into=(model, optimizer))
    assert (saved.model, saved.optimizer) == (model, optimizer)
    np.testing.assert_array_equal(optimizer.memory[0][0].data, first.optimizer.memory[0][0].data)
    assert optimizer.steps == first.optimizer.steps


def test_what_does_not_fit_leaves_model_and_optimizer_as_they_were(tmp_path):
    first = own_trainer()
    first.fit(DATA, epochs=1, seed=1)
    first.save(tmp_path / "a")
    for make, words in (
        (lambda p: optim.Adam(p), r"lacks 0\.mean"),
        (
            lambda p: Signs(p[:2], lr=lambda step: 1.0),
            r"has the parameters 'inner\.W', 'inner\.b', 'gain', and this one",
        ),
        (lambda p: Signs(p, lr=0.1), r"lr, which the schedule of this optimizer remembers, is missing"),
    ):
        model = Scaled()
        optimizer = make(model.parameters())
        before, kept = model.state(), optimizer.state()
        with pytest.raises(ValueError, match=words):
            tg.load(tmp_path / "a", into=(model, optimizer))
        assert {k: v.tolist() for k, v in model.state().items()} == {k: v.tolist() for k, v in before.items()}
        assert {k: np.asarray(v).tolist() for k, v in optimizer.state().items()} == {
            k: np.asarray(v).tolist() for k, v in kept.items()
        }
    tg.save(tmp_path / "b", first.model)
    with pytest.raises(ValueError, match="holds no optimizer"):
        tg.load(tmp_path / "b", into=first)
    with pytest.raises(TypeError, match="into is a str; it must be a model, a Trainer or a pair"):
        tg.load(tmp_path / "b", into="model")
