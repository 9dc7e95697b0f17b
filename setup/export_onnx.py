"""Write a talker as ONNX graphs, each compared with PyTorch, and talker.json, which holds all else: docs/onnx.md.

python -m setup.export_onnx -o onnx [--exp_name embedded-fast] [--variants fp32 w16]
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.app.bundled import DEFAULT_AUDIO, input_folder
from models.app.sampling_flags import own_sampling
from models.generation.animator import Animator
from setup.onnx_export.description import describe, styles_of
from setup.onnx_export.graphs import Graph, graphs_of
from setup.onnx_export.sample import WindowSample
from utils.atomic import atomic_path, check_output, write_text
from utils.config import flag, read_flags, required
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.runs.run_dir import find_checkpoint

if TYPE_CHECKING:
    from onnx import ModelProto

log = logging.getLogger(__name__)
NAMES = ("fp32", "w16", "fp16", "int8")
GRAPHS = ("audio", "step", "window")
OPSETS = (14, 20)  # smallest with what the graphs need, largest that PyTorch's exporter writes
LARGEST_ERROR = 1e-3  # of the largest output, for the variants that compute in float32


@dataclass(frozen=True)
class OnnxFlags:
    """All flags."""

    output: Path = required("-o")
    """Folder to write into."""
    exp_name: str = "embedded-fast"
    """Experiment in experiments/DPT (or a prefix)."""
    iter: int | None = None
    """Iteration of the checkpoint; without it the last."""
    variants: tuple[str, ...] = flag(NAMES, choices=NAMES)
    """Precisions: fp32; w16, float16 weights computed with in float32; fp16; int8."""
    opset: int = 17
    """ONNX operator set."""
    any_length: bool = False
    """Let the graphs audio and window also take fewer than 100 frames, for live speech."""

    def check(self) -> None:
        """Raises UserError for a flag out of range."""
        low, high = OPSETS
        if not low <= self.opset <= high:
            raise UserError(f"--opset {self.opset}: must lie between {low} and {high}")
        if self.output.exists() and not self.output.is_dir():
            raise UserError(f"--output {self.output}: is a file; name a folder")
        check_output(self.output / "talker.json", 200_000_000)


def load(exp_name: str, step: int | None) -> Animator:
    """The talker on the CPU.

    Raises:
        UserError: no such experiment; a talker whose audio encoder cannot be cut into windows.
    """
    animator = Animator.load(find_checkpoint("DPT", exp_name, step), None, torch.device("cpu"))
    if animator.model.audio_encoder.windows is None:
        kind = animator.model.config.audio_model
        raise UserError(
            f"--exp_name {exp_name}: its audio encoder, {kind}, hears a recording as a whole, which has no fixed "
            "size; choose a model with --audio_model whisper"
        )
    return animator


def traced(graph: Graph, opset: int, folder: Path) -> ModelProto:
    """A graph in float32, simplified: constants folded, what steps share computed once."""
    import onnx
    import onnxruntime

    first, second = folder / "traced.onnx", folder / "simple.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecation, and constants that are meant
        torch.onnx.export(graph.module.eval(), tuple(graph.inputs.values()), str(first), dynamo=False,
                          opset_version=opset, input_names=list(graph.inputs), output_names=list(graph.outputs),
                          dynamic_axes=graph.free)  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(second)
    onnxruntime.InferenceSession(first, options, providers=["CPUExecutionProvider"])
    model = onnx.load(second)
    used = {node.domain for node in model.graph.node}
    kept = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def error_of(model: ModelProto, graph: Graph) -> float:
    """Largest difference from PyTorch as a fraction of the largest value."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    made = session.run(None, {name: value.numpy() for name, value in graph.inputs.items()})
    with torch.no_grad():
        pairs = [(np.asarray(one), wanted.numpy()) for one, wanted in zip(made, graph.expected(), strict=True)]
    assert all(one.shape == wanted.shape for one, wanted in pairs)
    return max(float(np.abs(one - wanted).max() / np.abs(wanted).max()) for one, wanted in pairs)


def export(graph: Graph, variants: tuple[str, ...], opset: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Write the variants of a graph into a folder -> file, size and error of each.

    Raises:
        UserError: a float32 variant differs from PyTorch; nothing of this graph is written.
    """
    import onnx

    from setup.onnx_export.variants import EXACT, VARIANTS

    base, written = traced(graph, opset, folder), {}
    for name in variants:
        copy = onnx.ModelProto()
        copy.CopyFrom(base)
        model = VARIANTS[name](copy)
        error = error_of(model, graph)
        if name in EXACT and not error <= LARGEST_ERROR:
            raise UserError(
                f"{graph.name}, {name}: differs from PyTorch by {error:.1g} of the largest value; these versions of "
                "torch, onnx and onnxruntime export it wrongly, use those of requirements-dev.txt"
            )
        file = f"{graph.name}-{name}.onnx"
        onnx.save(model, folder / file)
        size = (folder / file).stat().st_size
        log.info("%-18s %5.1f MB, differs from PyTorch by %.1g of the largest value", file, size / 1e6, error)
        written[name] = {"file": file, "bytes": size, "error": float(f"{error:.2g}")}
    return written


def shapes(graph: Graph) -> dict[str, Any]:
    """Names and shapes of the inputs; an axis with a name has any size."""

    def shape(name: str) -> list[int | str]:
        return [graph.free.get(name, {}).get(axis, size) for axis, size in enumerate(graph.inputs[name].shape)]

    return {
        "inputs": {name: shape(name) for name in graph.inputs},
        "types": {name: str(value.dtype).removeprefix("torch.") for name, value in graph.inputs.items()},
        "output": graph.outputs[0],
        "outputs": graph.outputs,
    }


def write(flags: OnnxFlags, wanted: Collection[str] = GRAPHS) -> None:
    """Export the graphs of these names; files appear once all of them are checked.

    Raises:
        UserError: see `load` and `export`.
    """
    animator = load(flags.exp_name, flags.iter)
    options = animator.model.config
    if flags.any_length and options.align_mask_width != 1:
        raise UserError(f"--any_length: needs a talker with --align_mask_width 1, {flags.exp_name} has another width")
    config = own_sampling(options)
    style = next(iter(styles_of(options).values()), np.zeros(options.d_style, np.float32))
    sample = WindowSample.of(animator, config, load_audio(input_folder("audio") / DEFAULT_AUDIO), style)
    description = describe(animator, config, flags.exp_name) | {"opset": flags.opset, "graphs": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graphs = graphs_of(animator.model, config, sample, flags.any_length)
        for graph in (one for one in graphs if one.name in wanted):
            files = export(graph, flags.variants, flags.opset, folder)
            description["graphs"][graph.name] = shapes(graph) | {"variants": files}
        for graph in description["graphs"].values():
            for one in graph["variants"].values():
                with atomic_path(flags.output / one["file"]) as temporary:
                    temporary.write_bytes((folder / one["file"]).read_bytes())
    write_text(flags.output / "talker.json", json.dumps(description, separators=(",", ":")))


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(OnnxFlags, argv, (__doc__ or " ").splitlines()[0])
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name} is missing; install it: pip install -r requirements-dev.txt") from error
    write(flags)
    log.info("wrote %s", flags.output / "talker.json")


if __name__ == "__main__":
    main()
