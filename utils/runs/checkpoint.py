"""Checkpoints, ours and the published ones: one plain dict of tensors, numbers and strings, read by `torch_file`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from utils.atomic import atomic_path
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.reading.safe_pickle import RefusedError
from utils.reading.torch_file import load_torch
from utils.runs.legacy_checkpoint import is_legacy, read_legacy

FORMAT = "diffposetalk-1"
KINDS = {"style_encoder": "style encoder (SE)", "talker": "denoising network (DPT)"}


@dataclass
class Checkpoint:
    """What a checkpoint file holds."""

    kind: str  # "style_encoder" or "talker"
    config: dict[str, Any]  # fields of StyleEncoderConfig or TalkerConfig
    model: dict[str, torch.Tensor]
    step: int
    stats: CoefStats | None = None  # published files carry none; theirs lie beside the data set
    audio_config: dict[str, Any] | None = None  # the audio encoder's sizes
    training: dict[str, Any] = field(default_factory=dict)  # optimizer, scheduler: for resuming
    published: bool = False  # read from one of the authors' files

    def save(self, path: str | Path) -> None:
        """Write atomically."""
        payload = {
            "format": FORMAT,
            "kind": self.kind,
            "config": self.config,
            "model": self.model,
            "step": self.step,
            "stats": None if self.stats is None else self.stats.to_dict(),
            "audio_config": self.audio_config,
            "training": self.training,
        }
        # Through an open file: given a path, torch does not say that the disk is full.
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            torch.save(payload, file)


def load_checkpoint(path: str | Path, kind: str) -> Checkpoint:
    """Read one of our checkpoints or a published one. No code in the file is ever run.

    Raises:
        UserError: no such file, not a checkpoint, the wrong kind, or a pickle with anything but tensors, numbers,
            an argparse Namespace and paths in it.
    """
    payload = _read(Path(path))
    try:
        checkpoint = Checkpoint(**_fields(payload, path))
        held = KINDS[checkpoint.kind]
        well_formed = isinstance(checkpoint.config, dict) and isinstance(checkpoint.model, dict)
        if not well_formed or not all(isinstance(value, torch.Tensor) for value in checkpoint.model.values()):
            raise TypeError("configuration or weights are of another type")
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise UserError(
            f"{path}: a checkpoint with malformed content ({error!r}); copy or download it again"
        ) from error
    if checkpoint.kind != kind:
        raise UserError(f"{path}: holds a {held}, but a {KINDS[kind]} is needed here")
    return checkpoint


def _fields(payload: dict, path: str | Path) -> dict[str, Any]:
    """Constructor arguments of `Checkpoint` from a file's content."""
    if is_legacy(payload):
        return read_legacy(payload, str(path))
    if payload.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of this project ({_summary(payload)}); give an iter_XXXXXXX.pt file")
    fields = {key: payload[key] for key in payload if key != "format"}
    if fields["stats"] is not None:
        fields["stats"] = CoefStats.from_dict(fields["stats"], f"{path}: statistics")
    return fields


def _read(path: Path) -> dict:
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint file; check the path")
    try:
        payload = load_torch(_bytes(path), str(path))
    except RefusedError as error:
        what = str(error).removeprefix("refused to load ")
        raise UserError(
            f"{path}: refused, it contains {what}, which could run code; use a checkpoint you trust"
        ) from error
    if not isinstance(payload, dict):
        raise UserError(f"{path}: holds a {type(payload).__name__}, not a checkpoint; give an iter_XXXXXXX.pt file")
    return payload


def _bytes(path: Path) -> bytearray:
    """The whole file, in memory that tensors may be views of.

    Raises:
        UserError: it cannot be read, or torch did not write it in its present form.
    """
    try:
        data = bytearray(path.stat().st_size)
        with path.open("rb") as file:
            n_read = file.readinto(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if n_read != len(data) or data[:2] != b"PK":
        raise UserError(
            f"{path}: not a readable checkpoint (damaged, incomplete, or saved by torch before 1.6); "
            "copy or download it again"
        )
    return data


def _summary(payload: dict) -> str:
    names = ", ".join(str(key) for key in list(payload)[:5])
    return f"it has {names or 'nothing'}"


def load_weights(module: torch.nn.Module, checkpoint: Checkpoint, source: str) -> None:
    """Copy a checkpoint's weights into `module` (half-precision ones are widened).

    Raises:
        UserError: names or sizes differ from the model's.
    """
    state = {key: value.float() if value.is_floating_point() else value for key, value in checkpoint.model.items()}
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{source}: weights do not fit its own configuration ({reason}); the file is damaged"
        ) from error
