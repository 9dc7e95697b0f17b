"""The slow parts of HuBERT and wav2vec 2.0 in forms that are fast on a GPU and can be captured in a CUDA graph.

Each function equals that of the transformers library (which `AudioEncoder(fast=False)` runs) up to rounding:

- Convolutions are matrix products of windows that are views of (time, channel) data, so nothing is copied; the long
  positional convolution is done by Fourier transform.
- The first layer's group norm uses the statistics of its windows: the layer is linear in ten samples, so mean and
  variance of its 512 outputs follow from the windows' 10 x 10 covariance, and normalising is a change of its weights.
- SpecAugment and layer drop are drawn on the device, so that the host never decides what is computed.
- Transformer layers leave out the library's bookkeeping, so that they compile.

Under autocast the products run in its precision; norms and the sums between layers stay in single precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIECE = 2**19  # samples of the batch convolved at once, which bounds the memory of the first layers
_ALIGN = 8  # matrix products are fast for rows of a multiple of 8 numbers
AnyModule: TypeAlias = Any  # of transformers; to a type checker, every attribute of an nn.Module may be a tensor


def convolves(x: Tensor) -> bool:
    """Whether the convolutions of this module are faster for x; on a CPU the library's are."""
    return x.is_cuda


def product_precision(x: Tensor) -> torch.dtype:
    """The number type of matrix products: autocast's if it is on, else x's."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


# The frozen feature extractor


def can_convolve(extractor: AnyModule) -> bool:
    """Whether `convolve` applies: the extractor is frozen, and its only norm is over time, after the first layer."""
    first, *rest = extractor.conv_layers
    norm = getattr(first, "layer_norm", None)
    per_channel = isinstance(norm, nn.GroupNorm) and norm.num_groups == norm.num_channels
    frozen = not any(p.requires_grad for p in extractor.parameters())
    return frozen and per_channel and not any(hasattr(layer, "layer_norm") for layer in rest)


@torch.no_grad()
def convolve(extractor: AnyModule, audio: Tensor, piece: int = PIECE) -> Tensor:
    """`extractor(audio).transpose(1, 2)`: audio (B, n) -> (B, frames, channels), with the memory of `piece` samples."""
    first, *rest = extractor.conv_layers
    hop, reach = first.conv.stride[0], first.conv.kernel_size[0]
    step, window = 1, 1  # of the later layers together, in frames of the first layer
    for layer in reversed(rest):
        stride, kernel = layer.conv.stride[0], layer.conv.kernel_size[0]
        step, window = step * stride, (window - 1) * stride + kernel
    windows = audio.unfold(1, reach, hop)  # (B, frames of the first layer, 10), a view
    n_out, size = (windows.shape[1] - window) // step + 1, max(1, piece // (len(audio) * hop * step))
    dtype = product_precision(audio)
    weight = normalised_weight(first, windows, size * step).to(dtype)
    blocks = []
    with torch.autocast(audio.device.type, enabled=False):
        for start in range(0, n_out, size):
            stop = min(start + size, n_out)
            part = windows[:, start * step : (stop - 1) * step + window].to(dtype)
            part = F.pad(F.pad(part, (0, 1), value=1.0), (0, weight.shape[2] - reach - 1))
            hidden = first.activation(part @ weight.transpose(1, 2))
            for layer in rest:
                hidden = layer.activation(_strided_product(layer.conv, hidden))
            blocks.append(hidden)
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)


def normalised_weight(first: AnyModule, windows: Tensor, size: int) -> Tensor:
    """The first convolution and its group norm as one matrix per clip: (B, n, k) -> (B, channels, k + 1, padded).

    For y = W w, over the windows w: mean(y) = W mean(w), var(y) = diag(W cov(w) W^T). The last column is a constant.
    Computed in double precision, `size` windows at a time. A bias of the convolution vanishes in the norm.
    """
    norm, matrix = first.layer_norm, first.conv.weight[:, 0].double()
    n, k = windows.shape[1:]
    centre = windows.mean(dim=1, keepdim=True).double()
    total, products = torch.zeros_like(centre[:, 0]), centre.new_zeros(len(windows), k, k)
    for block in windows.split(size, dim=1):
        block = block.double() - centre
        total, products = total + block.sum(1), products + block.transpose(1, 2) @ block
    mean = total / n
    covariance = products / n - mean[:, :, None] * mean[:, None, :]
    variance = ((matrix @ covariance) * matrix).sum(-1)  # (B, channels)
    scale = (variance + norm.eps).rsqrt() * norm.weight
    shift = norm.bias - (mean + centre[:, 0]) @ matrix.T * scale
    weight = torch.cat([matrix * scale[..., None], shift[..., None]], dim=-1)
    return F.pad(weight, (0, -(k + 1) % _ALIGN)).to(windows.dtype)


def _strided_product(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """A strided convolution (no padding) of (B, n, C). The taps within a stride are one contiguous row of the data."""
    (stride,), (kernel,) = conv.stride, conv.kernel_size
    batch, length, channels = x.shape
    n, weight = (length - kernel) // stride + 1, conv.weight.to(x.dtype)  # (out, C, k)
    x = x.contiguous()
    out: Tensor | None = None
    for tap in range(0, kernel, stride):
        width = min(stride, kernel - tap)
        rows = x[:, tap:].as_strided((batch, n, width * channels), (x.stride(0), stride * channels, 1))
        taps = weight[:, :, tap : tap + width].permute(2, 1, 0).reshape(1, width * channels, -1).expand(batch, -1, -1)
        out = torch.bmm(rows, taps) if out is None else out.baddbmm_(rows, taps)
    assert out is not None
    return out if conv.bias is None else out.add_(conv.bias.to(x.dtype))


# The trained encoder


def encode(
    encoder: AnyModule, hidden: Tensor, run_layer: Callable[[AnyModule, Tensor, Tensor | None], Tensor]
) -> Tensor:
    """`encoder(hidden).last_hidden_state`.

    `run_layer` is `encoder_layer`, compiled or not, for encoders that normalise after each block (the base models);
    those that normalise before (the large ones) have the library's layers.
    """
    post_norm = not encoder.config.do_stable_layer_norm
    position = encoder.pos_conv_embed
    if convolves(hidden):
        placed = position.activation(spectral_convolution(hidden, position.conv))
    else:  # in 16 bit, oneDNN's grouped convolutions are wrong for some sizes on processors with AMX
        with torch.autocast(hidden.device.type, enabled=False):
            placed = position(hidden.to(torch.promote_types(hidden.dtype, torch.float32)))
    hidden = encoder.dropout(encoder.layer_norm(hidden + placed) if post_norm else hidden + placed)
    drop = encoder.config.layerdrop if encoder.training else 0.0
    for layer in encoder.layers:
        dropped = torch.rand((), device=hidden.device) < drop if drop > 0 else None
        hidden = run_layer(layer, hidden, dropped) if post_norm else _kept(layer(hidden), hidden, dropped)
    return hidden if post_norm else encoder.layer_norm(hidden)


def _kept(result: Tensor, x: Tensor, dropped: Tensor | None) -> Tensor:
    """A layer's result, or its input if the layer is dropped.

    A dropped layer is computed as well: a captured graph must do the same work at every step, and every process must
    send the same gradients.
    """
    return result if dropped is None else torch.where(dropped, x, result)


def encoder_layer(layer: AnyModule, x: Tensor, dropped: Tensor | None = None) -> Tensor:
    """A post-norm transformer layer of either backbone, (B, L, C) -> (B, L, C); dropped: () bool."""
    attention = layer.attention
    projections = attention.q_proj, attention.k_proj, attention.v_proj
    weight, bias = (torch.cat([getattr(one, name) for one in projections]) for name in ("weight", "bias"))
    parts = F.linear(x, weight, bias).chunk(3, dim=-1)  # one product instead of three
    query, key, value = (part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in parts)
    dropout = attention.dropout if layer.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout).transpose(1, 2).flatten(2)
    middle = layer.layer_norm(x + layer.dropout(attention.out_proj(mixed)))
    return _kept(layer.final_layer_norm(middle + layer.feed_forward(middle)), x, dropped)


def spectral_convolution(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """The positional convolution (B, L, C) -> (B, L, C), in groups, with k // 2 frames of padding for kernel size k.

    It is a Fourier transform over time, in single precision or better, with one small product per frequency and group.
    """
    kernel, groups, length = conv.kernel_size[0], conv.groups, x.shape[1]
    before = kernel // 2
    # Long enough for the wrap-around to miss the frames that are kept; lengths with small factors are fast.
    n = -(-(length + max(before, kernel - 1 - before)) // 32) * 32
    single = torch.promote_types(x.dtype, torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        padded = F.pad(x.to(single), (0, 0, before, n - length - before))
        spectrum = torch.fft.rfft(padded, dim=1).unflatten(2, (groups, -1)).permute(1, 2, 0, 3)  # (f, G, B, c_in)
        weight = torch.fft.rfft(conv.weight.to(single), n, dim=2).unflatten(0, (groups, -1)).permute(3, 0, 2, 1)
        product = spectrum @ weight.conj()  # (f, G, c_in, c_out): a correlation
        out = torch.fft.irfft(product.permute(2, 0, 1, 3).flatten(2), n, dim=1)[:, :length] + conv.bias
    return out.to(product_precision(x))


# SpecAugment (Park et al. 2019), counting spans as transformers does


def span_mask(size: tuple[int, int], probability: float, span: int, least: int, device: torch.device) -> Tensor:
    """Mask (B, L) bool of the entries in random spans: `probability` L / `span` spans per row, at distinct places.

    That number is rounded up or down at random for the whole batch, so that its mean is right; then it is raised to
    `least`, or lowered to the number of spans that fit.

    Raises:
        ValueError: a span is longer than a row.
    """
    batch, length = size
    if span > length:
        raise ValueError(f"SpecAugment's spans of {span} entries are longer than the {length} entries to mask")
    expected = probability * length / span
    fewer, more = (min(max(int(expected) + up, least), length // span, length - span + 1) for up in (0, 1))
    if more == 0:
        return torch.zeros(size, dtype=torch.bool, device=device)
    starts = (
        torch.rand(batch, length - span + 1, device=device).topk(more, dim=1).indices
    )  # distinct, each place equally likely
    used = torch.arange(more, device=device) < fewer
    if more > fewer:
        used = used | (torch.rand((), device=device) < expected - int(expected))
    offset = torch.arange(length, device=device) - starts[..., None]  # (B, spans, L)
    return ((offset >= 0) & (offset < span) & used[:, None]).any(dim=1)


def mask_hidden(net: AnyModule, hidden: Tensor) -> Tensor:
    """SpecAugment on (B, L, C) in training: spans of frames become the learnt vector, spans of channels become 0."""
    config = net.config
    if not (net.training and getattr(config, "apply_spec_augment", True)):
        return hidden
    batch, length, channels = hidden.shape
    if config.mask_time_prob > 0:
        settings = config.mask_time_prob, config.mask_time_length, config.mask_time_min_masks
        frames = span_mask((batch, length), *settings, hidden.device)
        hidden = torch.where(frames[..., None], net.masked_spec_embed.to(hidden.dtype), hidden)
    if config.mask_feature_prob > 0:
        settings = config.mask_feature_prob, config.mask_feature_length, config.mask_feature_min_masks
        hidden = hidden.masked_fill(span_mask((batch, channels), *settings, hidden.device)[:, None], 0.0)
    return hidden
