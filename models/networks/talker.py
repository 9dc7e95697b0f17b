"""The talker: audio encoder, denoiser, and learnt vectors for absent inputs (start, null audio, null style)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.audio.front_end import FRONT_ENDS, AudioFrontEnd, build_front_end
from models.networks.conditions import CONDITIONS, MODES, PUBLISHED, parse_conditions
from models.networks.denoiser import Denoiser, DenoiserConfig
from models.networks.person import Person
from utils.coefs import N_SHAPE, CoefLayout
from utils.config import flag


@dataclass(frozen=True)
class TalkerConfig:
    """The network's configuration; field names are the published flags of `main_dpt.py`."""

    target: str = flag("sample", choices=("sample", "noise"))
    """The network predicts the clean motion (sample) or the noise."""
    guiding_conditions: str | None = None
    """Conditions that training drops at random for classifier-free guidance, separated by commas; empty: none (default:
    audio, and style with --style_enc_ckpt)."""
    cfg_mode: str = flag("incremental", choices=MODES)
    """How guidance combines two conditions."""
    n_diff_steps: int = 500
    """Diffusion steps T."""
    diff_schedule: str = "cosine"
    """Noise schedule: linear, quadratic, sigmoid or cosine."""
    no_head_pose: bool = False
    """Leave the global head rotation out of the motion (51 instead of 54 components)."""
    style_enc_ckpt: str | None = None
    """Style encoder checkpoint; without it the model has no style input."""
    d_style: int = 128
    """Width of the style vector."""
    audio_model: str = flag("hubert", choices=tuple(FRONT_ENDS))
    """Audio encoder (whisper is frozen tiny.en, bundled)."""
    align_mask_width: int = 1
    """Frame i attends to audio frames j with |i - j| < width; 0 or less: to all."""
    no_use_learnable_pe: bool = False
    """Use a sinusoidal positional table instead of a learnable one."""
    use_indicator: bool = False
    """Tell the network which frames are real and which are padding."""
    feature_dim: int = 512
    """Width of the transformer."""
    n_heads: int = 8
    """Attention heads."""
    n_layers: int = 8
    """Transformer decoder layers."""
    mlp_ratio: int = 4
    """Feed-forward width as a multiple of feature_dim."""
    dropout: float = 0.1
    """Dropout in the transformer, while training."""
    n_motions: int = 100
    """Frames per window."""
    n_prev_motions: int = 10
    """Frames carried over from the previous window."""
    no_shape_input: bool = False
    """Hide the head shape from the network, so that it cannot recognise a training speaker by it."""
    fps: int = 25
    """Motion frames per second."""
    distilled_steps: int = 0
    """Distil the network of --init_from into one that needs this many ddim steps and includes guidance; 0: off."""
    pad_mode: str = flag("zero", choices=("zero", "replicate"))
    """How short audio and motion are padded."""
    positional_encoding: str = "per_frame"
    """How a sinusoidal table is added: per_frame, or sequence_length_row as in the published weights."""

    @property
    def layout(self) -> CoefLayout:
        return CoefLayout(head_pose=not self.no_head_pose)

    @property
    def has_style(self) -> bool:
        return self.style_enc_ckpt is not None

    @property
    def conditions(self) -> tuple[str, ...]:
        """Guided conditions, without those that the model has no input for.

        Raises:
            ValueError: see `parse_conditions`.
        """
        has = self.available
        asked = has if self.guiding_conditions is None else parse_conditions(self.guiding_conditions)
        return tuple(name for name in asked if name in has)

    @property
    def available(self) -> tuple[str, ...]:
        """Conditions that the model has an input for."""
        return tuple(name for name, one in CONDITIONS.items()
                     if one.switch is None or getattr(self, one.switch) not in (None, 0))  # fmt: skip

    @property
    def of_person(self) -> dict[str, int]:
        """Those of them that are a vector of the person, and its length."""
        return {name: getattr(self, CONDITIONS[name].width) for name in self.available if CONDITIONS[name].switch}

    @property
    def columns(self) -> tuple[str, ...]:
        """The conditions that have a column in arrays of scales (a distilled network's input) and random numbers."""
        return tuple(name for name in CONDITIONS if name in (*PUBLISHED, *self.available))

    def denoiser(self) -> DenoiserConfig:
        """The denoiser's sizes."""
        return DenoiserConfig(
            motion_dim=self.layout.motion_dim,
            person_dim=N_SHAPE + sum(self.of_person.values()) + bool(self.distilled_steps) * len(self.columns),
            n_diff_steps=self.n_diff_steps,
            feature_dim=self.feature_dim,
            n_heads=self.n_heads,
            n_layers=self.n_layers,
            mlp_ratio=self.mlp_ratio,
            dropout=self.dropout,
            n_motions=self.n_motions,
            n_prev_motions=self.n_prev_motions,
            align_mask_width=self.align_mask_width,
            use_indicator=self.use_indicator,
            learnable_positions=not self.no_use_learnable_pe,
            positional_encoding=self.positional_encoding,
        )


class Talker(nn.Module):
    """All that the second stage trains (paper section 3.3). Parameter names follow the published checkpoints."""

    audio_encoder: AudioFrontEnd

    def __init__(self, config: TalkerConfig, audio_encoder: AudioFrontEnd) -> None:
        super().__init__()
        self.config = config
        dim, n_prev = config.feature_dim, config.n_prev_motions
        self.audio_encoder = audio_encoder
        self.audio_feature_map = nn.Linear(audio_encoder.hidden_size, dim)
        self.denoising_net = Denoiser(config.denoiser())
        self.start_audio_feat = nn.Parameter(torch.randn(1, n_prev, dim))
        self.start_motion_feat = nn.Parameter(torch.randn(1, n_prev, config.layout.motion_dim))
        for name in reversed(config.available):  # seeded weights depend on this order
            null = nn.Parameter(torch.randn(1, 1, getattr(config, CONDITIONS[name].width)))
            self.register_parameter(CONDITIONS[name].null, null)

    @property
    def device(self) -> torch.device:
        return self.start_audio_feat.device

    def encode_audio(self, audio: Tensor, n_frames: int) -> Tensor:
        """Standardised audio (B, n_samples) -> features of n_frames motion frames (B, n_frames, feature_dim)."""
        return self.audio_feature_map(self.audio_encoder(audio, n_frames))

    def start(self, batch: int) -> tuple[Tensor, Tensor]:
        """Previous motion (B, P, D) and audio features (B, P, F) of a first window."""
        return self.start_motion_feat.expand(batch, -1, -1), self.start_audio_feat.expand(batch, -1, -1)

    def null(self, condition: str) -> Tensor:
        """The learnt vector that stands for an absent condition, (1, 1, d)."""
        return getattr(self, CONDITIONS[condition].null)

    def person_vector(self, person: Person[Tensor], scales: Tensor | None = None) -> Tensor:
        """The input of the person token, (B, person_dim).

        Args:
            person: normalised shape (B, 100), style (B, d_style) and what else the model has; null vectors stand in for
                what is None.
            scales: (B, len(config.columns)) guidance scales, for a distilled network.
        """
        shape, given = person.shape, person.given
        parts = [torch.zeros_like(shape) if self.config.no_shape_input else shape]
        for name in self.config.of_person:
            parts.append(given[name] if name in given else self.null(name)[0].expand(len(shape), -1))
        if self.config.distilled_steps:
            assert scales is not None, "a distilled network needs the guidance scales"
            parts.append(scales)
        return torch.cat(parts, dim=-1)


def build_talker(
    config: TalkerConfig, audio_config: dict | None = None, pretrained: bool = False, path: str | None = None
) -> Talker:
    """A talker whose audio encoder is pretrained, or has random weights that a checkpoint will replace.

    Raises:
        UserError: see `build_front_end`.
    """
    return Talker(config, build_front_end(config.audio_model, audio_config, pretrained, path))
