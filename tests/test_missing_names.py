"""Names and keywords of other frameworks are answered with ours, and cost and change nothing otherwise."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import text_of

import tinygrad_ce as tg
from tinygrad_ce.lecture_names import CURES, KEYWORDS
from tinygrad_ce.missing_names import MissingNameError, cure_for

T = tg.Tensor([[1.0, 2.0]], requires_grad=True)
MODEL = tg.nn.Sequential(tg.nn.Dense(2, 2))
OPTIMIZER = tg.optim.SGD(MODEL.parameters(), lr=0.1)
TRAINER = tg.Trainer(MODEL, tg.nn.MSE(), OPTIMIZER)
OWNERS: dict[str, Any] = {"Tensor": T, "Module": MODEL, "Optimizer": OPTIMIZER, "Trainer": TRAINER}


def owner_of(kind: str) -> Any:
    """An object, or the module, that lacks the names of this kind."""
    owner = tg
    for part in kind.split(".")[1:]:
        owner = getattr(owner, part)
    return OWNERS.get(kind, owner)


def is_there(owner: Any, name: str) -> bool:
    """Whether we have a name of this kind by now."""
    return inspect.getattr_static(owner, name, None) is not None and hasattr(owner, name)


ENTRIES = [(kind, name) for kind, cures in CURES.items() for name in cures]


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_a_foreign_name_is_answered_and_stays_absent(kind: str, name: str) -> None:
    owner = owner_of(kind)
    if is_there(owner, name):
        pytest.skip("a name of ours by now")
    assert not hasattr(owner, name)
    assert getattr(owner, name, None) is None
    assert name not in dir(owner)
    with pytest.raises(AttributeError, match=re.escape(f"has no attribute '{name}': {CURES[kind][name]}")):
        getattr(owner, name)


@pytest.mark.parametrize("cure", sorted({cure for cures in CURES.values() for cure in cures.values()}))
def test_a_cure_names_what_exists(cure: str) -> None:
    for path in re.findall(r"tg((?:\.\w+)+)", cure):
        value: Any = tg
        for part in path[1:].split("."):
            value = getattr(value, part)
    for name in re.findall(r"np((?:\.\w+)+)", cure):
        value = np
        for part in name[1:].split("."):
            value = getattr(value, part)
    for kind, names in (("model", MODEL), ("trainer", TRAINER), ("optimizer", OPTIMIZER), ("t", T), ("layer", None)):
        for name in re.findall(rf"\b{kind}\.(\w+)", cure):
            assert hasattr(MODEL.layers[0] if names is None else names, name), f"{kind}.{name}"


WORDS = [
    (lambda: tg.tensor, "tg.Tensor"),
    (lambda: tg.Dense, "it is tg.nn.Dense"),
    (lambda: tg.softmax_crossentropy, "did you mean tg.losses.softmax_cross_entropy?"),
    (lambda: tg.Grad, "did you mean tg.grad?"),
    (lambda: tg.nn.Linear, "tg.nn.Dense"),
    (lambda: tg.nn.Relu, "did you mean tg.nn.ReLU?"),
    (lambda: tg.nn.Conv2d, "no convolutions"),
    (lambda: tg.nn.SGD, "it is tg.optim.SGD"),
    (lambda: tg.losses.cross_entrpy, "did you mean tg.losses.cross_entropy?"),
    (lambda: tg.optim.Adm, "did you mean tg.optim.Adam?"),
    (lambda: tg.data.moon, "did you mean tg.data.moons?"),
    (lambda: T.view(2), "reshape"),
    (lambda: T.logsumexp(), "tg.ops.logsumexp"),
    (lambda: MODEL.state_dict(), "model.state()"),
    (lambda: MODEL.layers[0].weight, "layer.W"),
    (lambda: OPTIMIZER.param_groups, "optimizer.lr"),
    (lambda: TRAINER.score(), "evaluate"),
]


@pytest.mark.parametrize(("ask", "words"), WORDS, ids=text_of)
def test_the_answer_says_what_to_type(ask: Callable[[], Any], words: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(words)):
        ask()


@pytest.mark.parametrize("owner", [tg, tg.nn, tg.optim, T, MODEL, OPTIMIZER, TRAINER])
def test_what_nobody_knows_is_a_plain_attribute_error(owner: Any) -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'zzqx'$"):
        owner.zzqx  # noqa: B018
    with pytest.raises(AttributeError):
        owner.__array_interface__  # noqa: B018


def test_an_attribute_of_the_users_own_goes_first() -> None:
    class Scaled(tg.nn.Module):
        def __init__(self) -> None:
            self.weight = tg.Tensor(np.ones(2), requires_grad=True)
            self.add = 3.0

        def fit(self) -> str:
            return "mine"

        def forward(self, x: Any) -> Any:
            return x * self.weight + self.add

    module = Scaled()
    np.testing.assert_array_equal(module(np.zeros(2)).data, [3.0, 3.0])
    assert module.fit() == "mine"
    assert [name for name, _ in module.named_parameters()] == ["weight"]
    assert {"weight", "add", "fit"} <= {*dir(module)}
    assert "state_dict" not in dir(module)


def test_copies_and_pickles_are_what_they_were() -> None:
    for value in (copy.copy(T), copy.deepcopy(T), pickle.loads(pickle.dumps(T))):
        np.testing.assert_array_equal(value.data, T.data)
    copy.deepcopy(MODEL)
    error = pickle.loads(pickle.dumps(MissingNameError("Tensor", "'Tensor' object", "view")))
    assert "reshape" in str(error)
    assert cure_for("nothing of ours", "view") == ""


def test_reading_an_attribute_is_not_slower() -> None:
    """A class with `__getattr__` loses the interpreter's fast way to every other attribute."""
    for owner in (T, MODEL, OPTIMIZER, TRAINER):
        assert not hasattr(type(owner), "__getattr__")
    assert "__getattr__" not in vars(tg.ops)


CALLS: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: tg.nn.Dense(in_features=2, out_features=3),
        r"^Dense: there is no in_features=, write n_in=; it takes \(n_",
    ),
    (lambda: tg.nn.Dense(2, units=3), "write n_out="),
    (lambda: tg.nn.Dense(2, 3, activation="relu"), r"tg\.nn\.ReLU\(\)"),
    (lambda: tg.nn.Dropout(p=0.5), r"write rate=; it takes \(rate=0\.5\)"),
    (lambda: tg.nn.BatchNorm(2, epsilon=0.1), "write eps="),
    (lambda: tg.nn.Softmax(dim=1), "write axis="),
    (lambda: tg.optim.SGD(MODEL.parameters(), learning_rate=0.1), "^SGD: there is no learning_rate=, write lr="),
    (
        lambda: tg.optim.Adam(MODEL.parameters(), momentum=0.9),
        r"^Adam: there is no momentum=; it takes \(parameters, lr",
    ),
    (lambda: tg.optim.Adam(MODEL.parameters(), lr_decay=0.9), r"tg\.optim\.StepDecay"),
    (lambda: tg.optim.AdamW(MODEL.parameters(), beta_1=0.9), "^AdamW: there is no beta_1=, write betas="),
    (lambda: tg.optim.StepDecay(lr=0.1, step_size=2), "write every="),
    (lambda: tg.Trainer(MODEL, criterion=tg.nn.MSE(), optimizer=OPTIMIZER), "write loss="),
    (lambda: TRAINER.fit(np.ones((2, 2)), np.ones((2, 2)), n_epochs=2), "^fit: there is no n_epochs=, write epochs="),
    (lambda: T.sum().backward(retain_graph=True), "call backward\\(\\) again"),
    (lambda: T.sum().backward(grad=1.0), "write gradient="),
]


@pytest.mark.parametrize(("call", "words"), CALLS, ids=text_of)
def test_a_foreign_keyword_is_answered(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()


def test_other_type_errors_of_a_constructor_are_what_they_were() -> None:
    with pytest.raises(TypeError, match="required positional argument"):
        tg.nn.Dense(2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="SGD: parameters is int"):
        tg.optim.SGD(3)  # type: ignore[arg-type]
    assert [*inspect.signature(tg.nn.Dense).parameters][:2] == ["n_in", "n_out"]


def test_a_keyword_is_answered_with_one_of_ours() -> None:
    constructors = [value for module in (tg.nn, tg.optim) for value in vars(module).values() if isinstance(value, type)]
    calls = [*constructors, tg.Trainer, tg.Trainer.fit, tg.gradients, tg.Tensor.sum]
    ours = {name for call in calls for name in inspect.signature(call).parameters}
    assert {word for word in KEYWORDS.values() if not word.startswith("(")} <= ours


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ("from tinygrad_ce.nn import Linear", r"write tg\.nn\.Dense\(n_in, n_out\)"),
        ("from tinygrad_ce.nn import Dense, BCELoss", r"write tg\.nn\.BCE\(\)"),
        ("from tinygrad_ce.optim import Adagrad", r"write tg\.optim\.AdaGrad"),
        ("from tinygrad_ce import cat", r"write tg\.ops\.concatenate"),
    ],
)
def test_an_import_of_a_foreign_name_says_ours(line: str, cure: str) -> None:
    with pytest.raises(ImportError, match=f"cannot import name '.*' from 'tinygrad_ce.*': {cure}"):
        exec(line)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: tg.nn.ReLU(inplace=True), r"ReLU: there is no inplace= \(nothing is written in place"),
        (lambda t: tg.nn.Tanh(dim=1), r"Tanh: there is no dim=; it takes \(\)"),
        (lambda t: t.sum(dim=1), r"np\.sum: there is no dim=, write axis="),
        (lambda t: t.mean(axis=0, keepdim=True), r"np\.mean: there is no keepdim=, write keepdims="),
        (lambda t: t.argmax(dim=1), r"np\.argmax: there is no dim=, write axis="),
        (lambda t: t.std(unbiased=False), r"np\.std: there is no unbiased=; it takes \(a, axis=None, ddof=0"),
        (lambda t: t.clip(low=0.0), r"np\.clip: there is no low=; it takes \(a, a_min=None"),
    ],
    ids=text_of,
)
def test_a_foreign_keyword_of_a_method_and_of_a_layer_without_any(call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(tg.Tensor([[1.0, 2.0]], requires_grad=True))


def test_layers_without_settings_are_copied_and_pickled() -> None:
    assert repr(pickle.loads(pickle.dumps(tg.nn.ReLU()))) == repr(copy.deepcopy(tg.nn.ReLU())) == "ReLU()"
