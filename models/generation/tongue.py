"""Where the tongue is, read off the audio features: a small network on Whisper's, one frame at a time.

Motion has no tongue, since trackers see none. The sounds that show it are heard instead: the network is trained on
phone times (`scripts_for_dataset/train_tongue.py`), and `SOUNDS` says where each kind of sound has the tongue.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.errors import UserError

TONGUE_WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "tongue.safetensors"
HIDDEN = 64
# Kinds of sounds: their phones, and tongueOut and tongueUp (`utils.heads.tongue.TONGUE_UNITS`). Half up, the tongue
# fills the gap between nearly shut teeth, as it does for th; three quarters up, its tip shows below the upper teeth.
SOUNDS: dict[str, tuple[str, tuple[float, float]]] = {
    "th": ("th dh", (0.4, 0.5)),
    "l": ("l", (0.0, 0.75)),
    "t d n": ("t d n dx", (0.0, 0.75)),
    "s z": ("s z", (0.0, 0.9)),
    "sh ch": ("sh zh ch jh", (0.0, 0.8)),
    "other": ("", (0.0, 0.0)),
}
SOUND_OF = {phone: k for k, (phones, _) in enumerate(SOUNDS.values()) for phone in phones.split()}
OTHER = len(SOUNDS) - 1


class TongueReader(nn.Module):
    """Whisper features (..., 1152) -> tongue units (..., 2)."""

    targets: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.hidden, self.out = nn.Linear(width, HIDDEN), nn.Linear(HIDDEN, len(SOUNDS))
        self.register_buffer("targets", torch.tensor([units for _, units in SOUNDS.values()]), persistent=False)

    def logits(self, features: Tensor) -> Tensor:
        """(..., width) -> (..., kinds of sounds)."""
        return self.out(F.gelu(self.hidden(F.layer_norm(features.float(), (self.width,)))))

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """The mean of the sounds' targets, by their probabilities."""
        with torch.autocast(features.device.type, enabled=False):
            return self.logits(features).softmax(-1) @ self.targets

    @staticmethod
    def load() -> TongueReader:
        """The bundled one.

        Raises:
            UserError: missing or damaged file.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            weights = {name: value.float() for name, value in load_file(TONGUE_WEIGHTS).items()}
            reader = TongueReader(weights["hidden.weight"].shape[1])
            reader.load_state_dict(weights)
        except (OSError, KeyError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            fix = "get it again, or run `python -m scripts_for_dataset.train_tongue`"
            raise UserError(f"{TONGUE_WEIGHTS}: not usable ({reason}); {fix}") from error
        return reader.eval()
