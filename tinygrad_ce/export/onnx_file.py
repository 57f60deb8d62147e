"""A model as an ONNX file, which other programs and languages run."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.data.checks import extra
from tinygrad_ce.disk import write_whole
from tinygrad_ce.export.forward import Forward, forward_of, refuse_others
from tinygrad_ce.export.onnx_graph import OPSET, Graph, NoCounterpart
from tinygrad_ce.export.onnx_nodes import write_nodes
from tinygrad_ce.nn.module import arrays_of
from tinygrad_ce.program.ir import Value

IR_VERSION = 8  # of the release that brought the opset


def onnx(model: Any, path: str | Path, example: Any = None) -> None:
    """Write a model as an ONNX file (opset 18) for any number of rows, in evaluation mode.

    model: a Module, a Trainer, or what `tg.load` gave. path: of the file. example: some rows as the model takes them
    (a tuple or dict of arrays for several inputs); not needed where the first layer says how long rows are. Inputs have
    the names of the arguments of `forward`, weights their paths (`layers.0.W`); float32 and float64 stay what they are.
    If the model has a preparation, it is in the file's metadata as JSON. The file is checked and, where onnxruntime is
    installed, run and compared with the model before it is written.
    Raises ValueError that names an operation without counterpart, TypeError and ValueError for an example that does not
    fit, TraceError for a model that no program can hold, ImportError without onnx, OSError for a folder that is not
    there.

    >>> onnx(Sequential(Dense(2, 3), Softmax()), "/nowhere/model.onnx")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/model.onnx'
    """
    library = extra("onnx", "onnx")
    forward = forward_of("export.onnx", model, example)
    proto = _proto(library, forward)
    preparation = getattr(model, "preparation", None)
    if preparation is not None:
        library.helper.set_model_props(proto, {"preparation": json.dumps(preparation.to_json())})
    library.checker.check_model(proto, full_check=True)
    content: bytes = proto.SerializeToString()
    if find_spec("onnxruntime") is not None:
        refuse_others("export.onnx", "onnxruntime", forward, _run(content, forward))
    write_whole(path, content)


def _proto(library: Any, forward: Forward) -> Any:
    """The model as ONNX's own object."""
    program = forward.program
    g = Graph(taken=[*(x.name for x in program.values), *forward.answers])
    weights = _names_of_weights(forward)
    for x in program.inputs:
        g.values[x] = weights.get(x, x.name)
        g.dtypes[g.values[x]] = x.dtype
    try:
        write_nodes(g, program.instructions)
    except NoCounterpart as error:
        raise ValueError(f"export.onnx: {error}") from None
    outputs = []
    for name, value in zip(forward.outputs, program.outputs.values(), strict=True):
        if value.role != "result" or g.values[value] != name:  # an input that is handed on, the key of a dict
            name = g.same("Identity", g.operand(value), name=g.names.free(name) if name in g.dtypes else name)
        outputs.append(name)
    initializers = {weights[x]: forward.weights[x.name] for x in weights} | g.constants
    graph = library.helper.make_graph(
        g.nodes,
        "forward",
        [_info(library, name, *described) for name, described in forward.inputs.items()],
        [_info(library, name, *x) for name, x in zip(outputs, forward.outputs.values(), strict=True)],
        [library.numpy_helper.from_array(x, name) for name, x in initializers.items()],
    )
    return library.helper.make_model(
        graph,
        producer_name="tinygrad_ce",
        doc_string=forward.description,
        opset_imports=[library.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )


def _names_of_weights(forward: Forward) -> dict[Value, str]:
    """For each array that is no input: its path in the model; the name that the program has for any other."""
    paths = {id(array): path for path, array, _ in arrays_of(forward.model)}
    inputs = (x for x in forward.program.inputs if x.role != "input")
    return {x: paths.get(id(x.variable.data), x.name) if x.role == "state" else x.name for x in inputs}


def _info(library: Any, name: str, shape: Any, dtype: np.dtype[Any]) -> Any:
    return library.helper.make_tensor_value_info(name, library.helper.np_dtype_to_tensor_dtype(dtype), shape)


def _run(content: bytes, forward: Forward) -> dict[str, Any]:
    """What onnxruntime gives for the examples. ValueError if it cannot run the file."""
    runtime = extra("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        answers = session.run(None, forward.examples)
    except Exception as error:  # each kind of failure is a class of its own
        reason = " ".join(str(error).split())
        raise ValueError(
            f"export.onnx: onnxruntime cannot run this ({reason}); it has more operations for float32: "
            "model.astype(np.float32)"
        ) from error
    return dict(zip(forward.answers, answers, strict=True))
