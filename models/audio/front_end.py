"""What the talker wants of an audio encoder, and the one table of those that there are.

To add one: a module with a class like `AudioFrontEnd`, and a row of `FRONT_ENDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from torch import Tensor

from models.audio import hubert
from models.audio.whisper import WhisperEncoder
from models.audio.windows import Windows


class AudioFrontEnd(Protocol):
    """An nn.Module that encodes speech in motion frames."""

    @property
    def hidden_size(self) -> int:
        """Width of the features."""
        ...

    @property
    def windows(self) -> Windows | None:
        """How a long recording is encoded piece by piece; None: the encoder attends to the whole of it."""
        ...

    def __call__(self, audio: Tensor, n_frames: int) -> Tensor:
        """Standardised audio (B, n_samples) at 16 kHz -> features (B, n_frames, hidden_size) at 25 fps."""
        ...

    def compile_layers(self, **options: Any) -> None:
        """torch.compile what is trained; options as for `torch.compile`. Nothing to do for a frozen encoder."""
        ...

    def checkpoint_config(self) -> dict[str, Any] | None:
        """What `FrontEndKind.build` makes an encoder of the same sizes from; None for a frozen one."""
        ...


@dataclass(frozen=True)
class Trained:
    """What a kind of encoder needs whose weights are trained, and stored in the talker's checkpoints."""

    build: Callable[[dict[str, Any] | None], AudioFrontEnd]
    """Random weights from a checkpoint's configuration (None: the usual sizes)."""
    config_from_weights: Callable[[dict[str, Tensor]], dict[str, Any]]
    """That configuration from the encoder's state_dict: published checkpoints lack it."""
    least_weights: Callable[[Mapping[str, Any], int], int]
    """How many numbers an encoder of a configuration has at the least, with the matrix from it to so many features."""


@dataclass(frozen=True)
class FrontEndKind:
    """A row of the table."""

    load: Callable[[str | None], AudioFrontEnd]
    """Pretrained weights from --audio_model_path, or the usual ones; raises UserError."""
    trained: Trained | None = None
    """None: frozen. The weights are shipped beside the code, never trained, and in no checkpoint."""


_HUBERT_LIKE = {
    kind: FrontEndKind(
        partial(hubert.load_audio_encoder, kind),
        Trained(partial(hubert.build_audio_encoder, kind), hubert.config_from_weights, hubert.least_weights),
    )
    for kind in hubert.HUB_NAMES
}
FRONT_ENDS: dict[str, FrontEndKind] = {**_HUBERT_LIKE, "whisper": FrontEndKind(WhisperEncoder.load)}


def build_front_end(
    name: str, config: dict[str, Any] | None = None, pretrained: bool = False, path: str | None = None
) -> AudioFrontEnd:
    """An encoder with pretrained weights, or one of a checkpoint's configuration, whose weights follow.

    Args:
        name: a row of `FRONT_ENDS`.
        config: see `AudioFrontEnd.checkpoint_config`.
        pretrained: whether to load weights; those of a frozen encoder always are.
        path: where they are (default: the usual place).

    Raises:
        UserError: the weights cannot be read.
    """
    kind = FRONT_ENDS[name]
    return kind.load(path) if pretrained or kind.trained is None else kind.trained.build(config)
