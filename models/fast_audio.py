"""The parts of HuBERT and wav2vec 2.0 that take the time, in forms a GPU likes and a CUDA graph can hold.

Each function equals the transformers library's own (which `AudioEncoder(fast=False)` still runs) but for rounding:

- convolutions as matrix products of windows that are views of (time, channel) data, so nothing is copied;
- the first layer's group norm from the statistics of its windows: it is linear in ten samples, so mean and variance
  of its 512 outputs follow from the windows' 10 x 10 covariance, and normalising is a change of its weights;
- SpecAugment and layer drop drawn on the device, so that the host never decides what is computed;
- one product for query, key and value.

Under autocast the products run in its precision; normalisations and the sums between layers stay in single precision.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIECE = 2**19  # samples convolved at once, over the batch: bounds the memory of the first layers
_ALIGN = 8  # matrix products want rows of a multiple of 8 numbers
_BLOCK = 8  # frames of the positional convolution computed together


def product_precision(x: Tensor) -> torch.dtype:
    """In which type autocast, if on, has matrix products done."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


# The frozen feature extractor


def can_convolve(extractor: nn.Module) -> bool:
    """Whether `convolve` stands for this feature extractor: frozen, with one norm, over time, after its first layer."""
    first, *rest = extractor.conv_layers
    norm = getattr(first, "layer_norm", None)
    per_channel = isinstance(norm, nn.GroupNorm) and norm.num_groups == norm.num_channels
    frozen = not any(p.requires_grad for p in extractor.parameters())
    return frozen and per_channel and not any(hasattr(layer, "layer_norm") for layer in rest)


@torch.no_grad()
def convolve(extractor: nn.Module, audio: Tensor, piece: int = PIECE) -> Tensor:
    """`extractor(audio).transpose(1, 2)`: audio (B, n) -> (B, frames, channels), at the memory of `piece` samples."""
    first, *rest = extractor.conv_layers
    hop, reach = first.conv.stride[0], first.conv.kernel_size[0]
    step, window = 1, 1  # of the later layers, in frames of the first one
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


def normalised_weight(first: nn.Module, windows: Tensor, size: int) -> Tensor:
    """The first convolution and its group norm as one matrix per clip: (B, n, k) -> (B, channels, k + 1, padded).

    For y = W w, over the windows w: mean(y) = W mean(w), var(y) = diag(W cov(w) W^T). The last column is a constant.
    In double precision, `size` windows at a time. The convolution's own bias, if any, vanishes in the norm.
    """
    norm, matrix = first.layer_norm, first.conv.weight[:, 0].double()
    n, k = windows.shape[1:]
    centre = windows.mean(dim=1, keepdim=True).double()
    total, products = 0.0, 0.0
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
    """A strided convolution (no padding) of (B, n, C): taps within a stride are one contiguous row of the data."""
    (stride,), (kernel,) = conv.stride, conv.kernel_size
    batch, length, channels = x.shape
    n, weight = (length - kernel) // stride + 1, conv.weight.to(x.dtype)  # (out, C, k)
    x, out = x.contiguous(), None
    for tap in range(0, kernel, stride):
        width = min(stride, kernel - tap)
        rows = x[:, tap:].as_strided((batch, n, width * channels), (x.stride(0), stride * channels, 1))
        taps = weight[:, :, tap : tap + width].permute(2, 1, 0).reshape(1, width * channels, -1).expand(batch, -1, -1)
        out = torch.bmm(rows, taps) if out is None else out.baddbmm_(rows, taps)
    return out if conv.bias is None else out.add_(conv.bias.to(x.dtype))


# The trained encoder


def encode(encoder: nn.Module, hidden: Tensor) -> Tensor:
    """`encoder(hidden).last_hidden_state` for encoders that normalise after each block (the base models)."""
    position = encoder.pos_conv_embed
    convolved = block_convolution(hidden, position.conv)
    hidden = encoder.layer_norm(hidden + position.activation(convolved))
    hidden = encoder.dropout(hidden)
    drop = encoder.config.layerdrop if encoder.training else 0.0
    for layer in encoder.layers:
        result = encoder_layer(layer, hidden)
        # A dropped layer is computed in vain: which ones are dropped must not change what is done.
        hidden = torch.where(torch.rand((), device=hidden.device) < drop, hidden, result) if drop > 0 else result
    return hidden


def encoder_layer(layer: nn.Module, x: Tensor) -> Tensor:
    """A post-norm transformer layer of either backbone, (B, L, C) -> (B, L, C)."""
    attention = layer.attention
    projections = attention.q_proj, attention.k_proj, attention.v_proj
    weight, bias = torch.cat([p.weight for p in projections]), torch.cat([p.bias for p in projections])
    qkv = F.linear(x, weight, bias).unflatten(-1, (3, attention.num_heads, -1))
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    dropout = attention.dropout if layer.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout).transpose(1, 2).flatten(2)
    x = layer.layer_norm(x + layer.dropout(attention.out_proj(mixed)))
    return layer.final_layer_norm(x + layer.feed_forward(x))


def block_convolution(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """The positional convolution: (B, L, C) -> (B, L, C); kernel k in groups, k // 2 frames of padding, a surplus cut.

    Blocks of S frames of output are one product of the S + k - 1 frames around them with the kernel's Toeplitz matrix.
    """
    kernel, groups, length = conv.kernel_size[0], conv.groups, x.shape[1]
    dtype, size = product_precision(x), _BLOCK
    reach, n_blocks = size + kernel - 1, -(-length // size)
    padding = kernel // 2, n_blocks * size - length + kernel - 1 - kernel // 2
    with torch.autocast(x.device.type, enabled=False):
        grouped = F.pad(x.to(dtype), (0, 0, *padding)).unflatten(2, (groups, -1)).permute(2, 0, 1, 3)
        weight = conv.weight.to(dtype).unflatten(0, (groups, -1)).permute(0, 3, 2, 1)  # (G, k, c_in, c_out)
        toeplitz = _Toeplitz.apply(weight, size).flatten(3).flatten(1, 2)
        out = torch.bmm(_Windows.apply(grouped, size, reach), toeplitz)  # (G, B * blocks, S * c_out)
        out = out.unflatten(1, (len(x), n_blocks)).unflatten(3, (size, -1)).permute(1, 2, 3, 0, 4)
        return out.flatten(3).flatten(1, 2)[:, :length] + conv.bias.to(dtype)


class _Toeplitz(torch.autograd.Function):
    """(G, k, c_in, c_out) -> (G, S + k - 1, c_in, S, c_out) with [:, j, :, s] = weight[:, j - s], 0 outside."""

    @staticmethod
    def forward(ctx, weight: Tensor, size: int) -> Tensor:
        groups, kernel, n_in, n_out = weight.shape
        ctx.size = size
        matrix = weight.new_zeros(groups, kernel + size - 1, n_in, size, n_out)
        for s in range(size):
            matrix[:, s : s + kernel, :, s] = weight
        return matrix

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        kernel = gradient.shape[1] - ctx.size + 1
        total = gradient.new_zeros(gradient[:, :kernel, :, 0].shape, dtype=_sum_type(gradient))
        for s in range(ctx.size):
            total += gradient[:, s : s + kernel, :, s]
        return total.to(gradient.dtype), None


class _Windows(torch.autograd.Function):
    """(G, B, n, c) -> (G, B * blocks, reach * c): frames [S i, S i + reach) of every block i."""

    @staticmethod
    def forward(ctx, x: Tensor, size: int, reach: int) -> Tensor:
        x = x.contiguous()
        groups, batch, length, n_in = x.shape
        n_blocks = (length - reach) // size + 1
        ctx.sizes = x.shape, size, reach, n_blocks
        strides = x.stride(0), x.stride(1), size * n_in, 1
        return x.as_strided((groups, batch, n_blocks, reach * n_in), strides).reshape(groups, batch * n_blocks, -1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (groups, batch, length, n_in), size, reach, n_blocks = ctx.sizes
        n_steps = -(-reach // size)
        gradient = F.pad(gradient.view(groups, batch, n_blocks, -1), (0, (n_steps * size - reach) * n_in))
        gradient = gradient.unflatten(3, (n_steps, size * n_in))
        total = gradient.new_zeros(groups, batch, n_blocks + n_steps - 1, size * n_in, dtype=_sum_type(gradient))
        for i in range(n_steps):
            total[:, :, i : i + n_blocks] += gradient[:, :, :, i]
        return total.view(groups, batch, -1, n_in)[:, :, :length].to(gradient.dtype), None, None


def _sum_type(x: Tensor) -> torch.dtype:
    """Sums of many numbers of 16 bits need more."""
    return torch.promote_types(x.dtype, torch.float32)


# SpecAugment (Park et al. 2019), with transformers' way of counting spans


def span_mask(size: tuple[int, int], probability: float, span: int, least: int, device: torch.device) -> Tensor:
    """Which entries of (B, L) lie in random spans, bool: `probability` L / `span` spans a row at distinct places.

    The number is rounded up or down at random for the whole batch, so that its mean is right, then raised to `least`
    and cut to what fits.

    Raises:
        ValueError: a span is longer than a row.
    """
    batch, length = size
    if span > length:
        raise ValueError(f"SpecAugment's spans of {span} are longer than the {length} entries to be masked")
    expected = probability * length / span
    fewer, more = (min(max(int(expected) + up, least), length // span, length - span + 1) for up in (0, 1))
    if more == 0:
        return torch.zeros(size, dtype=torch.bool, device=device)
    starts = torch.rand(batch, length - span + 1, device=device).topk(more, dim=1).indices  # distinct, all alike likely
    used = torch.arange(more, device=device) < fewer
    if more > fewer:
        used = used | (torch.rand((), device=device) < expected - int(expected))
    offset = torch.arange(length, device=device) - starts[..., None]  # (B, spans, L)
    return ((offset >= 0) & (offset < span) & used[:, None]).any(dim=1)


def mask_hidden(net: nn.Module, hidden: Tensor) -> Tensor:
    """SpecAugment on (B, L, C) in training: spans of frames become the learnt vector, spans of channels zero."""
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
