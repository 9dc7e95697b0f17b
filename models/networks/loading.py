"""Checkpoint files -> networks, and networks -> checkpoints."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from models.audio.front_end import FRONT_ENDS
from models.networks.size_limits import (
    check_amount,
    check_audio_config,
    check_config,
    least_of_style_encoder,
    least_of_talker,
)
from models.networks.style_encoder import StyleEncoder, StyleEncoderConfig
from models.networks.talker import Talker, TalkerConfig, build_talker
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.runs.checkpoint import Checkpoint, load_checkpoint, load_weights

# Where the published data set keeps its statistics; published checkpoints do not carry them.
PUBLISHED_STATS = Path("datasets/HDTF_TFHP/lmdb/stats_train.npz")
_ENCODER = "audio_encoder."  # prefix of its weights' names
Network = TypeVar("Network", StyleEncoder, Talker)


def load_style_encoder(path: str | Path) -> tuple[StyleEncoder, Checkpoint]:
    """A style encoder in eval mode, and the checkpoint it came from.

    Raises:
        UserError: see `load_checkpoint`; unknown or impossible configuration.
    """

    def build(checkpoint: Checkpoint) -> StyleEncoder:
        config = StyleEncoderConfig(**checkpoint.config)
        check_config(config)
        check_amount(least_of_style_encoder(config), checkpoint.model)
        return StyleEncoder(config)

    return _load(path, "style_encoder", build)


def load_talker(path: str | Path) -> tuple[Talker, Checkpoint]:
    """A talker in eval mode, and the checkpoint it came from; needs no download.

    Raises:
        UserError: see `load_checkpoint`; unknown or impossible configuration.
    """

    def build(checkpoint: Checkpoint) -> Talker:
        config = TalkerConfig(**checkpoint.config)
        check_config(config)
        sizes = checkpoint.audio_config or _audio_sizes(config, checkpoint, path)
        check_audio_config(sizes)
        check_amount(least_of_talker(config, sizes), checkpoint.model)
        return build_talker(config, sizes)

    return _load(path, "talker", build)


def checkpoint_of(
    network: StyleEncoder | Talker, stats: CoefStats, step: int, training: dict | None = None
) -> Checkpoint:
    """A network as a checkpoint; `training` is the state that a resumed run needs."""
    kind, audio = "style_encoder", None
    if isinstance(network, Talker):
        kind, audio = "talker", network.audio_encoder.checkpoint_config()
    return Checkpoint(kind, asdict(network.config), network.state_dict(), step, stats, audio, training or {})


def _load(path: str | Path, kind: str, build: Callable[[Checkpoint], Network]) -> tuple[Network, Checkpoint]:
    checkpoint = load_checkpoint(path, kind)
    try:
        network = build(checkpoint)
    except UserError:
        raise
    except Exception as error:  # sizes that contradict each other raise various errors in PyTorch and transformers
        raise UserError(
            f"{path}: its configuration does not fit ({error}); it was written by another version"
        ) from error
    load_weights(network, checkpoint, str(path))
    return network.eval(), checkpoint


def _audio_sizes(config: TalkerConfig, checkpoint: Checkpoint, path: str | Path) -> dict | None:
    """The audio encoder's configuration from its weights; None for a frozen encoder, which has none in the file."""
    trained = FRONT_ENDS[config.audio_model].trained
    if trained is None:
        return None
    weights = {k.removeprefix(_ENCODER): v for k, v in checkpoint.model.items() if k.startswith(_ENCODER)}
    if not weights:
        raise UserError(f"{path}: holds no audio encoder weights; the file is incomplete")
    return trained.config_from_weights(weights)


def find_stats(embedded: CoefStats | None, override: Path | None, checkpoint: Path) -> CoefStats:
    """The statistics to use: a given file, else the checkpoint's own, else the published data set's.

    Raises:
        UserError: none of them exists.
    """
    if override is not None:
        return CoefStats.load(override)
    if embedded is not None:
        return embedded
    if PUBLISHED_STATS.is_file():
        return CoefStats.load(PUBLISHED_STATS)
    raise UserError(f"{checkpoint}: a published checkpoint carries no statistics; give --coef_stats stats_train.npz")
