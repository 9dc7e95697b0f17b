"""The protocol of audio encoders, and the table of all audio encoders.

To add one: a module with a class that satisfies `AudioFrontEnd`, and a row of `FRONT_ENDS`.
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
    """An nn.Module that turns speech into one feature vector per motion frame."""

    @property
    def hidden_size(self) -> int:
        """Width of the features."""
        ...

    @property
    def windows(self) -> Windows | None:
        """How a long recording is encoded piece by piece; None: the encoder attends to the whole recording."""
        ...

    def __call__(self, audio: Tensor, n_frames: int) -> Tensor:
        """Standardised audio (B, n_samples) at 16 kHz -> features (B, n_frames, hidden_size) at 25 fps."""
        ...

    def compile_layers(self, **options: Any) -> None:
        """Compile the trained layers; options as for `torch.compile`. A frozen encoder does nothing."""
        ...

    def checkpoint_config(self) -> dict[str, Any] | None:
        """The configuration with which `Trained.build` makes an encoder of these sizes; None for a frozen encoder."""
        ...


@dataclass(frozen=True)
class Trained:
    """Functions of an encoder whose weights are trained, and stored in the talker's checkpoints."""

    build: Callable[[dict[str, Any] | None], AudioFrontEnd]
    """An encoder with random weights from a checkpoint's configuration (None: the default sizes)."""
    config_from_weights: Callable[[dict[str, Tensor]], dict[str, Any]]
    """The configuration from the encoder's state_dict, since published checkpoints lack it."""
    least_weights: Callable[[Mapping[str, Any], int], int]
    """(configuration, n features) -> a lower bound on the numbers in the encoder and in the matrix to the features."""


@dataclass(frozen=True)
class FrontEndKind:
    """A row of the table."""

    load: Callable[[str | None], AudioFrontEnd]
    """An encoder with pretrained weights from a path, or the default weights for None; raises UserError."""
    trained: Trained | None = None
    """None: frozen. The weights are bundled with the code, never trained, and stored in no checkpoint."""


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
    """An encoder with pretrained weights, or one with random weights that those of a checkpoint will replace.

    Args:
        name: a row of `FRONT_ENDS`.
        config: see `AudioFrontEnd.checkpoint_config`.
        pretrained: whether to load weights; a frozen encoder always loads them.

    Raises:
        UserError: the weights cannot be read.
    """
    kind = FRONT_ENDS[name]
    return kind.load(path) if pretrained or kind.trained is None else kind.trained.build(config)
