"""Layers of the package as JSON, and made again from it: no code, no name that is not in a list, no size unchecked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.data.checks import quoted, shown
from tinygrad_ce.nn import BatchNorm, Dense, Embedding, LayerNorm, Module, Sequential, init
from tinygrad_ce.nn.module import arrays_of
from tinygrad_ce.storage.classes import LAYERS, SIZES, OwnCodeError, arguments_of, checked_arguments, is_listed

MOST_LEVELS = 64  # of layers inside of layers; the walks through a model go deeper with each
Description = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]


def describe(model: Module) -> Description:
    """The layers of a model with their settings, and which parameters two of them share.

    Raises OwnCodeError where something in it is code of the user's own.

    >>> describe(Sequential(Dense(2, 3, bias=False)))["layers"]
    [{'class': 'Dense', 'n_in': 2, 'n_out': 3, 'bias': False}]
    """
    description = _describe_layer(model, "", {})
    shapes = shapes_of(description)
    first: dict[int, str] = {}
    shared = {}
    layers = dict(_layers(model, ""))
    for path in shapes:
        where, _, name = path.rpartition(".")
        value = getattr(layers[where], name)
        same = first.setdefault(id(value), path) if isinstance(value, Tensor) else path
        if same != path:
            shared[path] = same
    found = {path: array.shape for path, array, _ in arrays_of(model)}
    if found != {path: shape for path, shape in shapes.items() if path not in shared}:
        strange = [path for path in {**found, **shapes} if path not in shared and found.get(path) != shapes.get(path)]
        raise OwnCodeError(f"{quoted(strange[:1])}, which is not what the layer's settings say")
    return description | ({"shared": shared} if shared else {})


def _describe_layer(layer: Any, path: str, seen: dict[int, str]) -> Description:
    """One layer, by its class and arguments; a layer that came before, by the path that it had there."""
    if id(layer) in seen:
        return {"same": seen[id(layer)]}
    seen[id(layer)] = path
    kind = type(layer)
    if not is_listed(layer, LAYERS) or "forward" in vars(layer):
        name = getattr(layer, "__qualname__", None) or kind.__qualname__
        what = f"of class {name}" if isinstance(layer, Module) else f"the function {name}"
        raise OwnCodeError(f"{path or 'the model'}, {what}")
    if isinstance(layer, Sequential):
        inner = [_describe_layer(part, _joined(path, f"layers.{i}"), seen) for i, part in enumerate(layer.layers)]
        return {"class": kind.__name__, "layers": inner}
    if isinstance(layer, Dense):
        return {"class": kind.__name__, "n_in": layer.n_in, "n_out": layer.n_out, "bias": layer.b is not None}
    return {"class": kind.__name__, **arguments_of(layer)}


def _layers(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every layer with its path; one that stands in two places comes with both."""
    yield path, layer
    if isinstance(layer, Sequential):
        for i, inner in enumerate(layer.layers):
            yield from _layers(inner, _joined(path, f"layers.{i}"))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# ---- back again


def shapes_of(description: Description) -> Shapes:
    """By path, the shape of each array that such a model has, also of those that are shared. Nothing is made.

    Raises ValueError in words for what describes no model.
    """
    shapes: Shapes = {}
    for path, cls, arguments in _walk(description, ""):
        sizes = {name: size for name, size in arguments.items() if name in SIZES}
        for name, size in sizes.items():
            if type(size) is not int or size < 1:
                raise ValueError(f"{cls.__name__}: {name}={shown(size)} must be a positive integer")
        try:
            own = _shapes_of_layer(cls, **arguments)
        except KeyError as error:
            raise ValueError(f"{cls.__name__}: {error.args[0]} is missing") from None
        shapes |= {_joined(path, name): shape for name, shape in own.items()}
    return shapes


def _shapes_of_layer(cls: type[Module], **arguments: Any) -> Shapes:
    """The arrays of one layer."""
    if cls is Dense:
        n_in, n_out = arguments["n_in"], arguments["n_out"]
        return {"W": (n_in, n_out)} | ({"b": (n_out,)} if arguments["bias"] else {})
    if cls is Embedding:
        return {"W": (arguments["n_words"], arguments["n_out"])}
    if cls in (BatchNorm, LayerNorm):
        names = ["scale", "shift", *(["running_mean", "running_variance"] if cls is BatchNorm else [])]
        return dict.fromkeys(names, (arguments["n_features"],))
    return {}


def _walk(description: Any, path: str) -> Iterator[tuple[str, type[Module], Description]]:
    """Path, class and arguments of each layer that is described; not of those that stand there a second time."""
    fields = dict(description) if isinstance(description, dict) else {}
    cls = LAYERS.get(fields.pop("class", None)) if isinstance(fields.get("class"), str) else None
    if cls is None:
        if not (path and isinstance(fields.get("same"), str) and len(fields) == 1):
            raise ValueError(f"{path or 'the model'} is {shown(description)}, which is no layer of this version")
        return
    if path.count(".") >= 2 * MOST_LEVELS:
        raise ValueError(f"its layers stand more than {MOST_LEVELS} levels deep inside each other")
    if not path:
        fields.pop("shared", None)
    if not issubclass(cls, Sequential):
        yield path, cls, checked_arguments(cls, fields)
        return
    layers = fields.pop("layers", None)
    if not isinstance(layers, list) or fields:
        raise ValueError(f"{path or 'the model'} is {shown(description)}, and a {cls.__name__} has a list of layers")
    yield path, cls, {}
    for i, inner in enumerate(layers):
        yield from _walk(inner, _joined(path, f"layers.{i}"))


def shared_paths(description: Description) -> dict[str, str]:
    """Which arrays are another one: by path, the path of the first. ValueError unless both are there and alike."""
    shared = description.get("shared", {})
    shapes = shapes_of(description)
    if not isinstance(shared, dict):
        raise ValueError(f"shared is {shown(shared)}")
    for path, first in shared.items():
        alike = path in shapes and isinstance(first, str) and shapes.get(first) == shapes[path]
        if not alike or first in shared or path.endswith(("running_mean", "running_variance")):
            raise ValueError(f"{shown(path)} cannot share {shown(first)}")
    return shared


def build(description: Description, arrays: Mapping[str, Array]) -> Module:
    """The model that is described, with these arrays, which must be all that it has, with the right shapes.

    A layer is made with sizes of 1, and then gets its sizes and arrays: so nothing is drawn, nor taken in memory twice.
    The generator of `tg.seed` stays where it is.
    """
    layers: dict[str, Module] = {}
    with init.drawing_from(0):
        model = _build_layer(description, "", layers)
    shared = shared_paths(description)
    for path in shapes_of(description):
        where, _, name = path.rpartition(".")
        layer = layers[where]
        if path in shared:
            first, _, its_name = shared[path].rpartition(".")
            object.__setattr__(layer, name, getattr(layers[first], its_name))
        elif isinstance(value := getattr(layer, name), Tensor):
            value.data = arrays[path].copy()
        else:
            setattr(layer, name, arrays[path])
    return model


def _build_layer(description: Description, path: str, layers: dict[str, Module]) -> Module:
    """One layer, and those inside, put into `layers` by their paths."""
    if "same" in description:
        if description["same"] not in layers:
            raise ValueError(f"{path} is said to be {shown(description['same'])}, which does not come before it")
        return layers[description["same"]]
    cls = LAYERS[description["class"]]
    if issubclass(cls, Sequential):
        inner = enumerate(description["layers"])
        layers[path] = cls(*[_build_layer(part, _joined(path, f"layers.{i}"), layers) for i, part in inner])
        return layers[path]
    arguments = {name: value for name, value in description.items() if name not in ("class", "shared")}
    sizes = {name: value for name, value in arguments.items() if name in SIZES}
    layer = layers[path] = cls(**arguments | dict.fromkeys(sizes, 1))
    for name, size in sizes.items():
        setattr(layer, name, size)
    return layer
