"""HuBERT / wav2vec 2.0 features aligned with motion frames (paper section 3.3), through transformers."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.audio.hubert_fast import AnyModule, can_convolve, convolve, convolves, encode, encoder_layer, mask_hidden
from utils.errors import UserError

HUB_NAMES = {"hubert": "facebook/hubert-base-ls960", "wav2vec2": "facebook/wav2vec2-base-960h"}
_BASE = {
    "hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072, "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16, "conv_dim": (512,) * 7, "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
}  # fmt: skip
_UNIT, _THRESHOLD = 320, 80  # samples: the encoder's hop, and what its first frame needs beyond a hop


def pad_audio(audio: Tensor) -> Tensor:
    """Pad (B, L) so that the convolutions yield a whole number of 20 ms frames.

    side = ceil((320 floor(L/320) + 80 - L) / 2) samples are added on either side: its even half by reflection,
    applied twice, an odd rest by replicating the edge. Audio already long enough is returned as it is.
    """
    length = audio.shape[1]
    side = math.ceil((_UNIT * (length // _UNIT) + _THRESHOLD - length) / 2)
    if side < 0:
        return audio
    half, odd = divmod(side, 2)
    for _ in range(2 if half > 0 else 0):
        audio = F.pad(audio, (half, half), mode="reflect")
    return F.pad(audio, (odd, odd), mode="replicate") if odd else audio


class AudioEncoder(nn.Module):
    """HuBERT or wav2vec 2.0: standardised audio (B, n_samples) -> features (B, n_frames, hidden_size)."""

    windows = None  # the encoder attends to the whole recording
    hidden_size: int
    backbone: AnyModule

    def __init__(self, backbone: AnyModule, fast: bool = True) -> None:
        """`fast` uses the functions of `models.audio.hubert_fast`; False uses the library's, with the same result."""
        super().__init__()
        self.backbone, self.fast = backbone, fast
        self._run_layer = encoder_layer
        self.hidden_size = backbone.config.hidden_size
        self._freeze()

    def forward(self, audio: Tensor, n_frames: int) -> Tensor:
        """Encode `n_frames` motion frames' worth of audio (B, n_samples), at least 640 samples a frame at 25 fps."""
        net, resample = self.backbone, _resample if self.fast else _interpolate
        hidden = net.feature_projection(resample(self._convolve(pad_audio(audio)), 2 * n_frames))
        if isinstance(hidden, tuple):  # wav2vec 2.0 also returns the normalised features
            hidden = hidden[0]
        hidden = mask_hidden(net, hidden) if self.fast else net._mask_hidden_states(hidden)
        if self.fast:
            return resample(encode(net.encoder, hidden, self._run_layer), n_frames)
        return resample(net.encoder(hidden).last_hidden_state, n_frames)

    def compile_layers(self, **options: Any) -> None:
        """Compile one function for all transformer layers; options as for `torch.compile`.

        The compiled code has fixed sizes, because training has only a few kinds of batches.
        """
        self._run_layer = torch.compile(encoder_layer, dynamic=False, **options)
        if not self.fast:
            for layer in self.backbone.encoder.layers:
                layer.compile(dynamic=False, **options)

    def checkpoint_config(self) -> dict[str, Any]:
        """The backbone's sizes."""
        different = self.backbone.config.to_diff_dict()
        # Only the differences from the base model, as plain numbers: safe to store, stable over library versions.
        return {key: value for key, value in different.items() if isinstance(value, int | float | list | bool)}

    def _convolve(self, audio: Tensor) -> Tensor:
        """Samples (B, n) -> features (B, ~n / 320, conv_dim)."""
        extractor = self.backbone.feature_extractor
        if self.fast and convolves(audio) and can_convolve(extractor):
            return convolve(extractor, audio)
        return extractor(audio).transpose(1, 2)

    def _freeze(self) -> None:
        """The convolutions are frozen; HuBERT's feature projection and first two layers as well."""
        frozen = [self.backbone.feature_extractor]
        if self.backbone.config.model_type == "hubert":
            frozen += [self.backbone.feature_projection, *self.backbone.encoder.layers[:2]]
        for module in frozen:
            module.requires_grad_(False)


def _interpolate(x: Tensor, n_frames: int) -> Tensor:
    """Linear interpolation over time: (B, L, C) -> (B, n_frames, C)."""
    return F.interpolate(x.transpose(1, 2), size=n_frames, mode="linear", align_corners=False).transpose(1, 2)


def _resample(x: Tensor, n_frames: int) -> Tensor:
    """The same, without interpolation at equal rates, and as a mean of two frames from 50 to 25 fps."""
    if x.shape[1] == n_frames:
        return x
    if x.shape[1] == 2 * n_frames:
        return x.unflatten(1, (n_frames, 2)).mean(dim=2)
    return _interpolate(x, n_frames)


def build_audio_encoder(kind: str, config: dict[str, Any] | None = None) -> AudioEncoder:
    """An encoder with random weights of this configuration (None: the base model's), for a checkpoint's weights."""
    config_class, model_class = _classes(kind)
    return AudioEncoder(model_class(config_class(**(config or {}))))


def load_audio_encoder(kind: str, path: str | None = None) -> AudioEncoder:
    """An encoder with weights from a local folder in Hugging Face format; path None: from the hub or its cache.

    Raises:
        UserError: the folder or the hub cannot be read.
    """
    source, model = path or HUB_NAMES[kind], _classes(kind)[1]
    try:
        backbone = model.from_pretrained(source) if path else _from_hub(model, source)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--audio_model {kind}: cannot load {source} ({reason}); give a local copy with --audio_model_path FOLDER"
        ) from error
    return AudioEncoder(backbone)


def _from_hub(model: Any, name: str) -> nn.Module:
    """A model from the hub's cache, or else from the hub.

    Raises:
        OSError: there is neither; at once, as one request tells it, while the library tries six times.
    """
    from huggingface_hub import file_exists

    try:
        return model.from_pretrained(name, local_files_only=True)
    except OSError:
        pass
    try:
        file_exists(name, "config.json")
    except Exception as error:
        raise OSError(f"no answer from the Hugging Face hub: {error}") from error
    return model.from_pretrained(name)


def _classes(kind: str) -> tuple[Any, Any]:
    """The library's configuration and model."""
    from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

    return {"hubert": (HubertConfig, HubertModel), "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model)}[kind]


def config_from_weights(state: dict[str, Tensor]) -> dict[str, Any]:
    """Sizes of a backbone from the shapes of an encoder's weights, since published checkpoints lack its configuration.

    The number of heads cannot be read off a shape; both published backbones have 64 components per head.
    """
    state = {name.removeprefix("backbone."): weight for name, weight in state.items()}
    hidden, conv = state["feature_projection.projection.weight"].shape
    n_conv = 1 + max(int(k.split(".")[2]) for k in state if k.startswith("feature_extractor.conv_layers."))
    kernel = state["encoder.pos_conv_embed.conv.parametrizations.weight.original1"]
    return {
        "hidden_size": hidden,
        "num_hidden_layers": 1 + max(int(k.split(".")[2]) for k in state if k.startswith("encoder.layers.")),
        "num_attention_heads": max(1, hidden // 64),
        "intermediate_size": state["encoder.layers.0.feed_forward.intermediate_dense.weight"].shape[0],
        "conv_dim": [state[f"feature_extractor.conv_layers.{i}.conv.weight"].shape[0] for i in range(n_conv - 1)]
        + [conv],
        "num_conv_pos_embeddings": kernel.shape[2],
        "num_conv_pos_embedding_groups": hidden // kernel.shape[1],
    }


def least_weights(sizes: Mapping[str, Any], width: int) -> int:
    """A lower bound on the weights of an encoder of these sizes, and of the map from it to `width` features.

    It counts the matrices without biases. Sizes that `sizes` does not give are the base model's.
    """
    sizes = _BASE | dict(sizes)
    hidden, inner, n_layers = (sizes[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    widths, kernels = sizes["conv_dim"], sizes["conv_kernel"]
    convolutions = sum(a * b * k for a, b, k in zip(widths, widths[1:], kernels[1:]))
    positions = hidden * (hidden // sizes["num_conv_pos_embedding_groups"]) * sizes["num_conv_pos_embeddings"]
    return n_layers * (4 * hidden**2 + 2 * hidden * inner) + convolutions + positions + (widths[-1] + width) * hidden
