"""What a run of main_dpt.py starts from: the talker, fresh or from a checkpoint, and the frozen style encoder."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import torch

from models.networks.loading import load_style_encoder, load_talker
from models.networks.style_encoder import StyleEncoder
from models.networks.talker import Talker, TalkerConfig, build_talker
from models.training.distillation import make_student, only_denoiser
from models.training.flags import NETWORK_FLAGS, Configs
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.runs.checkpoint import Checkpoint

log = logging.getLogger(__name__)


def frozen_style_encoder(options: TalkerConfig, stats: CoefStats | None, device: torch.device) -> StyleEncoder | None:
    """The style encoder named by `style_enc_ckpt`; logs a warning if it was trained with statistics unlike `stats`.

    Raises:
        UserError: it was trained with other motion (with or without head pose), or its width is not `d_style`.
    """
    if options.style_enc_ckpt is None:
        return None
    encoder, checkpoint = load_style_encoder(options.style_enc_ckpt)
    if encoder.config.no_head_pose != options.no_head_pose:
        wanted = "without" if options.no_head_pose else "with"
        raise UserError(f"--style_enc_ckpt {options.style_enc_ckpt}: needs a style encoder trained {wanted} head pose")
    if encoder.config.feature_dim != options.d_style:
        raise UserError(f"--d_style {options.d_style}: the style encoder gives {encoder.config.feature_dim} components")
    if stats is not None and checkpoint.stats is not None and not checkpoint.stats.same_motion(stats):
        log.warning(
            "--style_enc_ckpt %s: was trained with other statistics than this network uses (the data set's, or "
            "those of --init_from), so it will see motion on another scale than in extract_style.py",
            options.style_enc_ckpt,
        )
    return encoder.to(device).requires_grad_(False)


def starting_model(configs: Configs, source: Path | None) -> tuple[Talker, Checkpoint | None]:
    """A fresh model around a pretrained audio encoder, or the model of a checkpoint, with the checkpoint.

    Raises:
        UserError: the checkpoint's network differs from the one that the flags describe.
    """
    if source is None:
        return build_talker(configs.model, pretrained=True, path=configs.run.audio_model_path), None
    model, checkpoint = load_talker(source)
    check_network(configs.model, model.config, source)
    if configs.model.distilled_steps and not model.config.distilled_steps:
        model = make_student(model, configs.model.distilled_steps)
    model.config = configs.model
    model.denoising_net.set_dropout(configs.model.dropout)
    if configs.model.distilled_steps:
        only_denoiser(model)
    return model, checkpoint


def check_network(wanted: TalkerConfig, found: TalkerConfig, source: Path) -> None:
    """Raises UserError if a checkpoint's network is not the one that the flags describe."""
    flags, has = asdict(wanted), asdict(found)
    differing = [f"--{k} {has[k]}" for k in flags if k in NETWORK_FLAGS and flags[k] != has[k]]
    if wanted.no_use_learnable_pe and flags["positional_encoding"] != has["positional_encoding"]:
        differing.append(f"--positional_encoding {has['positional_encoding']}")
    if wanted.has_style != found.has_style:
        differing.append(f"{'a' if found.has_style else 'no'} --style_enc_ckpt")
    if found.distilled_steps not in (0, wanted.distilled_steps):
        differing.append(f"--distilled_steps {found.distilled_steps} (start from its teacher instead)")
    if differing:
        raise UserError(f"{source}: was trained with {', '.join(differing)}; give the same flags")
