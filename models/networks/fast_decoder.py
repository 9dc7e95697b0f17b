"""The denoiser's transformer decoder for training, where each frame attends only to its own frame of audio.

With alignment width 1 a frame token's softmax runs over a single memory token, so its weight is 1 whatever query and
key are: the cross-attention is that token's value. Only the person token needs real attention. The result equals
`nn.TransformerDecoder` with `denoiser.alignment_mask(n, 1)`, dropout included: dropping an attention weight, per head
and frame, drops the value here. `models.fast.cached_denoiser` uses the same fact for inference, where the values are
also constant over the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RunLayer = Callable[[nn.TransformerDecoderLayer, Tensor, Tensor], Tensor]


def decode(decoder: nn.TransformerDecoder, tokens: Tensor, memory: Tensor, run_layer: RunLayer) -> Tensor:
    """Tokens (B, 1 + T, d), the person's first, and memory (B, T, d) -> (B, 1 + T, d).

    `run_layer` is `decoder_layer`, compiled or not.
    """
    for layer in decoder.layers:
        tokens = run_layer(cast(nn.TransformerDecoderLayer, layer), tokens, memory)
    return tokens


def decoder_layer(layer: nn.TransformerDecoderLayer, x: Tensor, memory: Tensor) -> Tensor:
    """A post-norm layer."""
    x = layer.norm1(x + layer.dropout1(self_attention(layer.self_attn, x)))
    x = layer.norm2(x + layer.dropout2(aligned_attention(layer.multihead_attn, x[:, :1], memory)))
    hidden = layer.dropout(layer.activation(layer.linear1(x)))
    return layer.norm3(x + layer.dropout3(layer.linear2(hidden)))


def self_attention(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """(B, L, d) -> (B, L, d)."""
    qkv = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    query, key, value = (part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in qkv)
    mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=_dropout(attention))
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def aligned_attention(attention: nn.MultiheadAttention, person: Tensor, memory: Tensor) -> Tensor:
    """Cross-attention of the person token (B, 1, d) to all memory (B, T, d), and of frames 1..T to their own memory.

    Returns:
        (B, 1 + T, d).
    """
    dim, heads, dropout = attention.embed_dim, attention.num_heads, _dropout(attention)
    weights, biases = (p.split([dim, 2 * dim]) for p in (attention.in_proj_weight, attention.in_proj_bias))
    query = F.linear(person, weights[0], biases[0]).unflatten(-1, (heads, -1)).transpose(1, 2)
    pair = F.linear(memory, weights[1], biases[1]).chunk(2, dim=-1)
    key, value = (part.unflatten(-1, (heads, -1)) for part in pair)  # (B, T, heads, d / heads)
    attended = F.scaled_dot_product_attention(query, key.transpose(1, 2), value.transpose(1, 2), dropout_p=dropout)
    if dropout > 0:
        dropped = torch.rand(*value.shape[:3], 1, device=value.device) < dropout
        value = (value / (1 - dropout)).masked_fill(dropped, 0.0)
    return attention.out_proj(torch.cat([attended.transpose(1, 2), value], dim=1).flatten(2))


def _dropout(attention: nn.MultiheadAttention) -> float:
    return attention.dropout if attention.training else 0.0
