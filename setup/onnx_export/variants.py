"""The precisions of a graph, all made from its float32 form."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

LARGE = 256  # numbers; smaller constants stay float32
EXACT = ("fp32", "w16")  # variants whose arithmetic is float32


def packed(model: ModelProto) -> ModelProto:
    """Weights that float16 holds exactly are stored as float16 and cast when the graph is loaded: half the size, and
    the same numbers, since the shipped weights are float16."""
    graph, casts = model.graph, []
    for i, weight in enumerate(graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < LARGE:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            graph.initializer[i].CopyFrom(numpy_helper.from_array(half, weight.name + "_16"))
            name = graph.initializer[i].name
            casts.append(
                helper.make_node(
                    "Cast", [name], [name.removesuffix("_16")], to=onnx.TensorProto.FLOAT, name=f"{name}_cast"
                )
            )
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    return model


def half(model: ModelProto) -> ModelProto:
    """Float16 weights and arithmetic, float32 inputs and outputs; a spectrum needs the range of float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    spectrum = _until(model, "Log")
    return convert_float_to_float16(model, keep_io_types=True, node_block_list=spectrum)


def integers(model: ModelProto) -> ModelProto:
    """Matrix products of 8 bit integers: weights per column, activations by their range at run time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model.metadata_props.add(
        key="onnx.quant.pre_process", value="onnxruntime.quant"
    )  # it is simplified already: no advice
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(model, path, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8, per_channel=True)
        return packed(onnx.load(path))


VARIANTS: dict[str, Callable[[ModelProto], ModelProto]] = {
    "fp32": lambda model: model,
    "w16": packed,
    "fp16": half,
    "int8": integers,
}


def _until(model: ModelProto, kind: str) -> list[str]:
    """Names of the nodes up to the first one of a kind; none without such a node."""
    kinds = [node.op_type for node in model.graph.node]
    return [node.name for node in model.graph.node[: kinds.index(kind) + 1]] if kind in kinds else []
