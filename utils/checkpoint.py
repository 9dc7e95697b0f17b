"""Checkpoints: one plain dict of tensors, numbers and strings, read with `weights_only=True`; published files too."""

import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from utils.atomic import atomic_path
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.legacy_checkpoint import is_legacy, read_legacy, safe_classes

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
    if is_legacy(payload):
        fields = read_legacy(payload, str(path))
    elif payload.get("format") == FORMAT:
        fields = {key: payload[key] for key in payload if key != "format"}
        fields["stats"] = (
            None if payload["stats"] is None else CoefStats.from_dict(payload["stats"], f"{path}: statistics")
        )
    else:
        raise UserError(f"{path}: not a checkpoint of this project ({_summary(payload)}); give an iter_XXXXXXX.pt file")
    if fields["kind"] != kind:
        raise UserError(
            f"{path}: holds a {KINDS.get(fields['kind'], fields['kind'])}, but a {KINDS[kind]} is needed here"
        )
    return Checkpoint(**fields)


def _read(path: Path) -> dict:
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint file; check --exp_name and --iter")
    try:
        with torch.serialization.safe_globals(safe_classes()):
            payload = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = str(error)
        what = found.split("GLOBAL ")[1].split(" ")[0] if "GLOBAL " in found else "an object that is not a tensor"
        raise UserError(
            f"{path}: refused, it contains {what}, which could run code; use a checkpoint you trust"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(
            f"{path}: not a readable checkpoint (damaged or incomplete); copy or download it again"
        ) from error
    if not isinstance(payload, dict):
        raise UserError(f"{path}: holds a {type(payload).__name__}, not a checkpoint; give an iter_XXXXXXX.pt file")
    return payload


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
