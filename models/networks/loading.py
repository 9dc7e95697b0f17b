"""Checkpoint file -> network, for every script."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

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
_ENCODER = "audio_encoder."


def load_style_encoder(path: str | Path) -> tuple[StyleEncoder, Checkpoint]:
    """A style encoder in eval mode, and the checkpoint it came from.

    Raises:
        UserError: see `load_checkpoint`; unknown or impossible configuration.
    """
    checkpoint = load_checkpoint(path, "style_encoder")
    with _fitting(path):
        config = StyleEncoderConfig(**checkpoint.config)
        check_config(config)
        check_amount(least_of_style_encoder(config), checkpoint.model)
        encoder = StyleEncoder(config)
    load_weights(encoder, checkpoint, str(path))
    return encoder.eval(), checkpoint


def load_talker(path: str | Path) -> tuple[Talker, Checkpoint]:
    """A talker in eval mode, and the checkpoint it came from; needs no download.

    Raises:
        UserError: see `load_checkpoint`; unknown or impossible configuration.
    """
    checkpoint = load_checkpoint(path, "talker")
    with _fitting(path):
        config = TalkerConfig(**checkpoint.config)
        check_config(config)
        sizes = checkpoint.audio_config or _sizes(config, checkpoint, path)
        check_audio_config(sizes)
        check_amount(least_of_talker(config, sizes), checkpoint.model)
        talker = build_talker(config, sizes)
    load_weights(talker, checkpoint, str(path))
    return talker.eval(), checkpoint


def talker_checkpoint(model: Talker, stats: CoefStats, step: int, training: dict | None = None) -> Checkpoint:
    """A talker as a checkpoint."""
    return Checkpoint(
        "talker",
        asdict(model.config),
        model.state_dict(),
        step,
        stats,
        model.audio_encoder.checkpoint_config(),
        training or {},
    )


def style_encoder_checkpoint(
    model: StyleEncoder, stats: CoefStats, step: int, training: dict | None = None
) -> Checkpoint:
    """A style encoder as a checkpoint."""
    return Checkpoint("style_encoder", asdict(model.config), model.state_dict(), step, stats, training=training or {})


@contextlib.contextmanager
def _fitting(path: str | Path) -> Iterator[None]:
    """Whatever goes wrong while a network is built from a checkpoint's configuration is that file's fault."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # PyTorch and transformers have their own for sizes that do not go together
        raise UserError(
            f"{path}: its configuration does not fit ({error}); it was written by another version"
        ) from error


def _sizes(config: TalkerConfig, checkpoint: Checkpoint, path: str | Path) -> dict | None:
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
