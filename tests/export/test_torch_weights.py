"""export.torch and from_torch: PyTorch's names and shapes, its own layers, and back."""

import sys

import numpy as np
import pytest
from export.networks import LAYERS, answers, network

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce.export.torch_layers import state_dict

rng = np.random.default_rng(5)


def everything(dtype=np.float64):
    """A network of every layer that has weights, in training mode and then in evaluation."""
    tg.seed(1)
    model = nn.Sequential(
        *(nn.Dense(3, 4), nn.BatchNorm(4, momentum=0.3), nn.Tanh(), nn.Dropout(0.2)),
        nn.Sequential(nn.Dense(4, 5, bias=False), nn.LayerNorm(5), nn.GELU()),
        *(nn.Dense(5, 2), nn.Softmax()),
    ).astype(dtype)
    model(rng.normal(size=(20, 3)).astype(dtype))
    return model


# ---- without PyTorch: names, shapes, and arrays


def test_the_names_and_shapes_are_those_of_the_same_sequential_in_pytorch():
    shapes = {name: array.shape for name, array in state_dict(everything()).items()}
    assert shapes == {
        "0.weight": (4, 3),
        "0.bias": (4,),
        "1.weight": (4,),
        "1.bias": (4,),
        "1.running_mean": (4,),
        "1.running_var": (4,),
        "1.num_batches_tracked": (),
        "4.0.weight": (5, 4),
        "4.1.weight": (5,),
        "4.1.bias": (5,),
        "5.weight": (2, 5),
        "5.bias": (2,),
    }
    assert {name: x.shape for name, x in state_dict(nn.Sequential(nn.Embedding(7, 3))).items()} == {"0.weight": (7, 3)}


def test_the_names_in_a_module_of_ones_own_are_those_of_its_attributes():
    class Own(nn.Module):
        def __init__(self):
            self.first = nn.Dense(2, 3)
            self.blocks = [nn.Sequential(nn.Dense(3, 3)), {"gate": nn.Dense(3, 1)}]
            self.temperature = tg.Tensor(np.ones(1), requires_grad=True)

    assert [*state_dict(Own())] == [
        *("first.weight", "first.bias", "blocks.0.0.weight", "blocks.0.0.bias"),
        *("blocks.1.gate.weight", "blocks.1.gate.bias", "temperature"),
    ]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_there_and_back_is_the_same_network(dtype):
    model, empty = everything(dtype), everything(dtype)
    for x in empty.parameters():
        x.data = x.data + 1
    assert tg.export.from_torch(state_dict(model), into=empty) is empty
    for path, array in model.state().items():
        np.testing.assert_array_equal(empty.state()[path], array)
        assert empty.state()[path].dtype == array.dtype


def test_weights_are_copies():
    model = everything()
    arrays = state_dict(model)
    arrays["0.weight"][...] = 9
    assert (model[0].W.data != 9).all()
    tg.export.from_torch(arrays, into=model)
    arrays["0.weight"][...] = 8
    assert (model[0].W.data == 9).all()


def test_layers_are_guessed_from_names_and_shapes():
    arrays = {
        "0.weight": np.ones((4, 3), np.float32),
        "0.bias": np.arange(4, dtype=np.float32),
        **{f"1.{name}": np.ones(4, np.float32) for name in ("weight", "bias", "running_mean", "running_var")},
        "1.num_batches_tracked": np.array(7),
        "3.weight": np.ones((2, 4), np.float32),
        "4.0.weight": np.ones(2, np.float32),
        "4.0.bias": np.ones(2, np.float32),
    }
    model = tg.export.from_torch(arrays, activation=nn.Tanh)
    expected = "Sequential(Dense(3, 4), BatchNorm(4), Tanh(), Dense(4, 2, bias=False), Sequential(LayerNorm(2)))"
    assert repr(model) == expected
    assert {x.dtype for x in model.state().values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(model[0].b.data, [0, 1, 2, 3])


dense = {"0.weight": np.ones((3, 2)), "0.bias": np.ones(3)}
gap = {**dense, "2.weight": np.ones((1, 3)), "2.bias": np.ones(1)}
REFUSED = {
    "a gap": (gap, {}, "nothing for layer 1, an activation perhaps.*activation=tg.nn.ReLU, or build the model"),
    "a gap at the beginning": ({"1.weight": np.ones((3, 2))}, {"activation": nn.ReLU}, "layer 0, which may be of any"),
    "a wide gap": ({**dense, "3.weight": np.ones((1, 3))}, {"activation": nn.ReLU}, "nothing for layer 1, which may"),
    "no gap": (dense, {"activation": nn.ReLU}, "no place for activation=.*into=model"),
    "both": (dense, {"activation": nn.ReLU, "into": nn.Dense(2, 3)}, "leave activation= out"),
    "other names": ({"fc1.weight": np.ones((3, 2))}, {}, "the name 'fc1.weight' is none of an nn.Sequential.*into="),
    "a convolution": ({"0.weight": np.ones((3, 2, 5, 5))}, {}, r"0.weight \(3, 2, 5, 5\) belong to no layer"),
    "nothing": ({}, {}, "the state_dict is empty"),
    "missing": ({"0.weight": np.ones((3, 2))}, {"into": nn.Sequential(nn.Dense(2, 3))}, "it lacks '0.bias'"),
    "left over": (
        gap,
        {"into": nn.Sequential(nn.Dense(2, 3))},
        "not one of Sequential: it has '2.weight', '2.bias' besides",
    ),
    "shapes": (dense, {"into": nn.Sequential(nn.Dense(3, 2))}, r"0.weight has shape \(3, 2\), and the model needs \(2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_from_torch_refuses(case):
    arrays, options, words = REFUSED[case]
    before = options["into"].state() if "into" in options else {}
    with pytest.raises(ValueError, match=rf"^from_torch: .*{words}") as error:
        tg.export.from_torch(arrays, **options)
    assert "\n" not in str(error.value)
    for path, array in before.items():
        np.testing.assert_array_equal(options["into"].state()[path], array)


def test_what_is_no_state_dict_is_refused():
    with pytest.raises(TypeError, match=r"from_torch: list is no state_dict"):
        tg.export.from_torch([1, 2])
    with pytest.raises(TypeError, match=r"0.weight is a list of dtype <U1, and no numbers"):
        tg.export.from_torch({"0.weight": ["a"]})


def test_without_pytorch_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for export in (tg.export.torch, tg.export.torch_module):
        with pytest.raises(ImportError, match=r"needs PyTorch: pip install torch$"):
            export(everything())


# ---- with PyTorch

WITHOUT_COUNTERPART = ("Residual", "BatchNorm of three axes")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", [case for case in LAYERS if case not in WITHOUT_COUNTERPART])
def test_pytorchs_own_layers_give_the_same_numbers_and_come_back(case, dtype):
    torch = pytest.importorskip("torch")
    model, example = network(case, dtype)
    expected = answers(model, example)[0]
    twin = tg.export.torch_module(model)
    assert twin.training
    with torch.no_grad():
        got = twin.eval()(torch.from_numpy(example)).numpy()
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=32 * np.finfo(dtype).eps, atol=32 * np.finfo(dtype).eps)
    back = tg.export.from_torch(twin)
    assert repr(back) == repr(model)
    np.testing.assert_array_equal(back(example).data, expected)  # in evaluation mode, as PyTorch's was
    assert not tg.export.torch_module(model.eval()).training


def test_the_state_dict_is_loaded_by_the_same_sequential():
    torch = pytest.importorskip("torch")
    model = everything(np.float32)
    twin = torch.nn.Sequential(
        *(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4, momentum=0.3), torch.nn.Tanh(), torch.nn.Dropout(0.2)),
        torch.nn.Sequential(torch.nn.Linear(4, 5, bias=False), torch.nn.LayerNorm(5), torch.nn.GELU()),
        *(torch.nn.Linear(5, 2), torch.nn.Softmax(dim=-1)),
    )
    assert str(twin.load_state_dict(tg.export.torch(model))) == "<All keys matched successfully>"
    x = rng.normal(size=(6, 3)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(twin.eval()(torch.from_numpy(x)), answers(model, x)[0], rtol=1e-5, atol=1e-6)
    into = everything()
    np.testing.assert_allclose(answers(tg.export.from_torch(twin, into=into), x)[0], answers(model, x)[0], rtol=1e-6)


def test_a_training_of_pytorchs_batch_norm_moves_its_averages_as_ours_does():
    torch = pytest.importorskip("torch")
    model = everything()
    twin = tg.export.torch_module(model)
    twin[3].p = model[3].rate = 0
    for _ in range(3):
        x = rng.normal(size=(8, 3))
        model(x)
        twin(torch.from_numpy(x))
    for name, array in state_dict(model).items():
        if "running" in name:
            np.testing.assert_allclose(twin.state_dict()[name], array, rtol=1e-12)


def test_what_has_no_counterpart_is_refused_by_name():
    torch = pytest.importorskip("torch")
    for layer, name in ((nn.Residual(nn.Dense(2, 2)), "Residual"), (tg.ops.relu, "<primitive relu>")):
        with pytest.raises(ValueError, match=rf"torch_module: {name} has no counterpart in torch.nn"):
            tg.export.torch_module(nn.Sequential(layer))
    for layer, words in (
        (torch.nn.Conv2d(1, 1, 3), "Conv2d has no counterpart in tg.nn; there are Linear"),
        (torch.nn.Softplus(beta=2), "Softplus with beta=2.* has no counterpart"),
        (torch.nn.BatchNorm1d(3, affine=False), "BatchNorm1d with affine=False"),
    ):
        with pytest.raises(ValueError, match=rf"from_torch: {words}"):
            tg.export.from_torch(torch.nn.Sequential(layer))
    with pytest.raises(TypeError, match=r"0.weight has dtype torch.bfloat16: convert with module.float"):
        tg.export.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 2)).to(torch.bfloat16).state_dict())
    with pytest.raises(ValueError, match=r"leave activation= out"):
        tg.export.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 2)), activation=nn.ReLU)
