"""Weights for PyTorch, in the names and shapes of its `nn.Sequential`; and a network of ours from such weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import quoted
from tinygrad_ce.export.forward import module_of
from tinygrad_ce.nn import (
    GELU,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    LeakyReLU,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from tinygrad_ce.nn.module import items_of

# What PyTorch calls the arrays of a layer. Its Linear multiplies by the transposed weight.
NAMES: dict[type[Module], dict[str, str]] = {
    Dense: {"W": "weight", "b": "bias"},
    Embedding: {"W": "weight"},
    LayerNorm: {"scale": "weight", "shift": "bias"},
    BatchNorm: {
        "scale": "weight",
        "shift": "bias",
        "running_mean": "running_mean",
        "running_variance": "running_var",
    },
}
COUNTER = "num_batches_tracked"  # of PyTorch's BatchNorm, which uses it only where momentum is None

# By the class of a layer of ours, what makes its counterpart, from `torch.nn` and the layer; and the other way round.
TO_TORCH: dict[type[Module], Callable[[Any, Any], Any]] = {
    Dense: lambda nn, layer: nn.Linear(layer.n_in, layer.n_out, bias=layer.b is not None),
    Embedding: lambda nn, layer: nn.Embedding(layer.n_words, layer.n_out),
    BatchNorm: lambda nn, layer: nn.BatchNorm1d(layer.n_features, layer.eps, layer.momentum),
    LayerNorm: lambda nn, layer: nn.LayerNorm(layer.n_features, layer.eps),
    Dropout: lambda nn, layer: nn.Dropout(layer.rate),
    Flatten: lambda nn, layer: nn.Flatten(),
    ReLU: lambda nn, layer: nn.ReLU(),
    LeakyReLU: lambda nn, layer: nn.LeakyReLU(layer.slope),
    Sigmoid: lambda nn, layer: nn.Sigmoid(),
    Tanh: lambda nn, layer: nn.Tanh(),
    SiLU: lambda nn, layer: nn.SiLU(),
    GELU: lambda nn, layer: nn.GELU(layer.approximate),
    Softplus: lambda nn, layer: nn.Softplus(threshold=40),  # beyond, it hands x on; 20 would cost digits
    Softmax: lambda nn, layer: nn.Softmax(layer.axis),
}
FROM_TORCH: dict[str, Callable[[Any], Module]] = {
    "Linear": lambda layer: Dense(layer.in_features, layer.out_features, bias=layer.bias is not None),
    "Embedding": lambda layer: Embedding(layer.num_embeddings, layer.embedding_dim),
    "BatchNorm1d": lambda layer: BatchNorm(layer.num_features, layer.momentum, layer.eps),
    "LayerNorm": lambda layer: LayerNorm(math.prod(layer.normalized_shape), layer.eps),
    "Dropout": lambda layer: Dropout(layer.p),
    "Flatten": lambda layer: Flatten(),
    "ReLU": lambda layer: ReLU(),
    "LeakyReLU": lambda layer: LeakyReLU(layer.negative_slope),
    "Sigmoid": lambda layer: Sigmoid(),
    "Tanh": lambda layer: Tanh(),
    "SiLU": lambda layer: SiLU(),
    "GELU": lambda layer: GELU(layer.approximate),
    "Softplus": lambda layer: Softplus(),
    "Softmax": lambda layer: Softmax(layer.dim),
    "Identity": lambda layer: Sequential(),
}
# Settings that our layers do not have, with the values at which PyTorch's do the same as ours.
SAME_ONLY_IF: dict[str, dict[str, Any]] = {
    "BatchNorm1d": {"affine": True, "track_running_stats": True},
    "LayerNorm": {"elementwise_affine": True},
    "Embedding": {"max_norm": None},
    "Flatten": {"start_dim": 1, "end_dim": -1},
    "Softplus": {"beta": 1},
}


# ---- to PyTorch


def torch(model: Any) -> dict[str, Any]:
    """The state_dict of a model: PyTorch tensors, in the names and shapes of the same `torch.nn.Sequential`.

    model: a Module, a Trainer, or what `tg.load` gave. "0.weight" is the transposed W of the first layer; dtypes stay
    what they are; a Module of your own has the names of its attributes. ImportError without PyTorch.

    >>> list(torch(Sequential(Dense(2, 3), Tanh(), Dense(3, 1))))  # doctest: +SKIP
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    library = _pytorch("export.torch")
    return {name: library.from_numpy(array) for name, array in state_dict(module_of("export.torch", model)).items()}


def torch_module(model: Any) -> Any:
    """The model as a `torch.nn.Module` of PyTorch's own layers, with the same weights, modes and dtype.

    model: a Sequential or a layer, or a Trainer or what `tg.load` gave, of one. PyTorch's BatchNorm1d has the features
    on axis 1, ours has them on the last: the same for rows (N, D). ValueError that names a layer without a counterpart
    (Residual, functions, classes of your own), ImportError without PyTorch.

    >>> torch_module(Sequential(Dense(2, 3), Tanh()))[0]  # doctest: +SKIP
    Linear(in_features=2, out_features=3, bias=True)
    """
    library = _pytorch("export.torch_module")
    module = module_of("export.torch_module", model)
    twin = _counterpart(library.nn, module)
    dtype = next((p.dtype for p in module.parameters()), np.dtype(np.float32))
    twin.to(getattr(library, dtype.name)).load_state_dict(torch(module))
    return twin


def state_dict(module: Module) -> dict[str, Array]:
    """Copies of all arrays of a module in PyTorch's names and shapes."""
    state = module.state()
    arrays: dict[str, Array] = {}
    for path, name, transposed in _names(module):
        arrays[name] = np.array(state[path].T if transposed else state[path], order="C")
        if name.endswith("running_var"):
            arrays[name.removesuffix("running_var") + COUNTER] = np.array(0)
    return arrays


def _names(module: Module) -> Iterator[tuple[str, str, bool]]:
    """For each array: its path in the module, its name in PyTorch, and whether it is transposed there."""
    for path in module.state():
        owner: Any = module
        *parts, attribute = path.split(".")
        prefix = ""
        for part in parts:
            if not (isinstance(owner, Sequential) and part == "layers"):
                prefix += f"{part}."
            owner = next(inner for name, inner in items_of(owner) or () if str(name) == part)
        names = next((NAMES[kind] for kind in type(owner).__mro__ if kind in NAMES), {})
        yield path, prefix + names.get(attribute, attribute), isinstance(owner, Dense) and attribute == "W"


def _counterpart(nn: Any, module: Any) -> Any:
    """The layer of PyTorch that computes the same; its weights are its own."""
    if type(module) is Sequential:
        twin = nn.Sequential(*(_counterpart(nn, layer) for layer in module.layers))
    elif type(module) in TO_TORCH:
        twin = TO_TORCH[type(module)](nn, module)
    else:
        name = type(module).__name__ if isinstance(module, Module) else getattr(module, "__name__", repr(module))
        raise ValueError(
            f"export.torch_module: {name} has no counterpart in torch.nn: write it as a torch.nn.Module, and load the "
            "weights of tg.export.torch(model) into it"
        )
    return twin.train(module.training)


def _pytorch(where: str) -> Any:
    try:
        import torch as library
    except ImportError as error:
        raise ImportError(f"{where} needs PyTorch: pip install torch") from error
    return library


# ---- from PyTorch


def from_torch(
    source: Any, into: Any = None, activation: Callable[[], Module | Callable[[Any], Any]] | None = None
) -> Module:
    """A model with PyTorch's weights.

    source: a `torch.nn.Sequential` (or one of its layers), whose layers are known; or a state_dict (tensors or NumPy
    arrays), which has names and shapes only. into: a model of ours to fill, which is returned: the names must be those
    of `tg.export.torch(into)`. activation: what stood at the numbers that are missing between the layers of a
    state_dict, as in "0.weight", "2.weight": `tg.nn.ReLU`.
    Without `into`, a matrix is a Dense (with a bias or without: give an Embedding in `into`), vectors a BatchNorm or,
    without running averages, a LayerNorm, of the usual eps.
    Raises ValueError that names what is missing, left over, of another shape, or no layer of ours.

    >>> weights = {"0.weight": np.ones((3, 2)), "0.bias": np.zeros(3), "2.weight": np.ones((1, 3))}
    >>> from_torch(weights, activation=Tanh)
    Sequential(Dense(2, 3), Tanh(), Dense(3, 1, bias=False))
    """
    if into is not None and activation is not None:
        raise ValueError("from_torch: the model in into= has its activations already: leave activation= out")
    if isinstance(source, Mapping):
        arrays = {str(name): _array(str(name), value) for name, value in source.items()}
        model = module_of("from_torch", into) if into is not None else _guessed(arrays, activation)
        return _filled(model, arrays)
    if not hasattr(source, "state_dict"):
        raise TypeError(f"from_torch: {type(source).__name__} is no state_dict: pass module.state_dict(), or module")
    if into is not None:
        return from_torch(source.state_dict(), into)
    if activation is not None:
        raise ValueError("from_torch: a torch.nn.Module has its activations already: leave activation= out")
    return _converted(source)


def _array(name: str, value: Any) -> Array:
    """A tensor or array as an array. TypeError for a dtype that NumPy has not."""
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except TypeError as error:  # bfloat16
        raise TypeError(f"from_torch: {name} has dtype {value.dtype}: convert with module.float() first") from error
    if array.dtype.kind not in "fiub":
        raise TypeError(f"from_torch: {name} is a {type(value).__name__} of dtype {array.dtype}, and no numbers")
    return array


def _filled(model: Module, arrays: Mapping[str, Array]) -> Module:
    """The model with these arrays of PyTorch's; nothing is changed if they do not fit."""
    state = model.state()
    names = {name: (path, transposed) for path, name, transposed in _names(model)}
    extra = [name for name in arrays if name not in names and name.rpartition(".")[2] != COUNTER]
    missing = [name for name in names if name not in arrays]
    if extra or missing:
        found = [f"it lacks {quoted(missing)}"] * bool(missing) + [f"it has {quoted(extra)} besides"] * bool(extra)
        raise ValueError(f"from_torch: the state_dict is not one of {type(model).__name__}: {' and '.join(found)}")
    for name, (path, transposed) in names.items():
        own = state[path].shape[::-1] if transposed else state[path].shape
        if arrays[name].shape != own:
            raise ValueError(f"from_torch: {name} has shape {arrays[name].shape}, and the model needs {own}")
    ours = {path: arrays[name].T if transposed else arrays[name] for name, (path, transposed) in names.items()}
    return model.restore({path: np.asarray(array, order="C") for path, array in ours.items()})


def _guessed(arrays: Mapping[str, Array], activation: Any) -> Module:
    """A Sequential of the layers that these names and shapes belong to."""
    gaps: list[str] = []
    model = _sequential(arrays, "", activation, gaps)
    if activation is not None and not gaps:
        raise ValueError(
            "from_torch: no number is missing between the layers, so there is no place for activation=: build the "
            "model with its activations, and pass into=model"
        )
    return model.astype(np.result_type(*(x.dtype for x in arrays.values() if x.dtype.kind == "f")))


def _sequential(arrays: Mapping[str, Array], prefix: str, activation: Any, gaps: list[str]) -> Module:
    groups: dict[int, dict[str, Array]] = {}
    for name, array in arrays.items():
        number, _, rest = name.partition(".")
        if not number.isdecimal() or not rest:
            raise ValueError(
                f"from_torch: the name {prefix + name!r} is none of an nn.Sequential ('0.weight'), so the order of its "
                "layers is not known: build the model, and pass into=model"
            )
        groups.setdefault(int(number), {})[rest] = array
    if not groups:
        raise ValueError(f"from_torch: the state_dict is empty{f' at {prefix}' if prefix else ''}")
    layers: list[Any] = []
    for k in range(max(groups) + 1):
        if k in groups:
            layers.append(_layer(groups[k], f"{prefix}{k}.", activation, gaps))
            continue
        between = k - 1 in groups and k + 1 in groups
        if activation is None or not between:
            hint = "say which one, activation=tg.nn.ReLU, or " if between else ""
            raise ValueError(
                f"from_torch: the state_dict has nothing for layer {prefix}{k}, "
                f"{'an activation perhaps, which has no weights' if between else 'which may be of any kind'}: {hint}"
                "build the model, and pass into=model"
            )
        gaps.append(f"{prefix}{k}")
        layers.append(activation())
    return Sequential(*layers)


def _layer(arrays: Mapping[str, Array], prefix: str, activation: Any, gaps: list[str]) -> Module:
    """The layer that has arrays of these names and shapes."""
    names, weight = {*arrays} - {COUNTER}, arrays.get("weight", np.array(0))
    if weight.ndim == 2 and names in ({"weight"}, {"weight", "bias"}):
        return Dense(weight.shape[1], weight.shape[0], bias="bias" in names)
    if weight.ndim == 1 and names == {"weight", "bias"}:
        return LayerNorm(len(weight))
    if weight.ndim == 1 and names == {*NAMES[BatchNorm].values()}:
        return BatchNorm(len(weight))
    if all(name.partition(".")[0].isdecimal() for name in names):
        return _sequential(arrays, prefix, activation, gaps)
    shapes = ", ".join(f"{prefix}{name} {arrays[name].shape}" for name in sorted(names))
    raise ValueError(f"from_torch: {shapes} belong to no layer of tg.nn: build the model, and pass into=model")


def _converted(source: Any) -> Module:
    """The layer of ours that computes what one of PyTorch's does, with its weights, mode and dtype."""
    kind = type(source).__name__
    if kind == "Sequential":
        return Sequential(*(_converted(layer) for layer in source))
    if kind not in FROM_TORCH or not type(source).__module__.startswith("torch."):
        raise ValueError(
            f"from_torch: {kind} has no counterpart in tg.nn; there are {', '.join(FROM_TORCH)}: build the model, and "
            "pass into=model"
        )
    for name, value in SAME_ONLY_IF.get(kind, {}).items():
        if getattr(source, name) != value:
            raise ValueError(
                f"from_torch: {kind} with {name}={getattr(source, name)!r} has no counterpart in tg.nn, which has "
                f"{name}={value!r}"
            )
    arrays = {name: _array(name, value) for name, value in source.state_dict().items()}
    model = _filled(FROM_TORCH[kind](source), arrays)
    if arrays:
        model.astype(next(x.dtype for x in arrays.values() if x.dtype.kind == "f"))
    return model.train() if source.training else model.eval()
