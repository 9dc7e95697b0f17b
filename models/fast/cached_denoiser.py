"""The denoiser for many steps on one window: everything that does not change between steps is computed once.

The result is exact up to rounding; `Denoiser` is the plain twin. These stay constant over the steps of a window:

- The audio memory, and with it every layer's keys and values. With alignment width 1 each frame token attends to a
  single memory token, whose weight is then 1: its cross-attention is that token's value, a constant. Only the person
  token needs attention.
- Previous motion, indicator, positions and biases of the input tokens. The step enters through the person token alone.
- Guidance branches differ in memory and person only: the noisy motion is projected once for all of them, and the first
  self-attention, which sees no memory yet, is evaluated once for each person.

The last layer is evaluated for the window's frames alone. A bias that is added to a residual sum is moved into the norm
before it (and subtracted in the matrix that reads the norm), so that sums are accumulated inside the matrix products.
On a GPU `kernels.token_wise` does the token-wise work, and `kernels.products` some of the products.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.diffusion.window import Branches, BranchInputs
from models.fast.frozen_linear import FrozenLinear
from models.fast.kernels.select import KernelSet
from models.fast.window_cache import WindowCache
from models.networks.denoiser import Denoiser


def _spread(x: Tensor, which: tuple[int, ...]) -> Tensor:
    """Repeat (K N, ...) of K distinct persons or memories for the R branches that see them -> (R N, ...)."""
    parts = x.chunk(max(which) + 1)
    return x if which == tuple(range(len(parts))) else torch.cat([parts[k] for k in which])


class _Norm:
    """LayerNorm whose output already includes a later bias."""

    def __init__(self, norm: nn.LayerNorm, shift: Tensor | None, dtype: torch.dtype) -> None:
        bias = norm.bias if shift is None else norm.bias + shift
        self.shape, self.eps = norm.normalized_shape, norm.eps
        self.weight, self.bias = norm.weight.to(dtype), bias.to(dtype)

    @property
    def numbers(self) -> tuple[Tensor, Tensor, float]:
        """Weight, bias, eps."""
        return self.weight, self.bias, self.eps

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


class _Layer:
    """One decoder layer (post-norm). Its input already contains the bias of its self-attention's output."""

    def __init__(
        self,
        layer: nn.TransformerDecoderLayer,
        following: Tensor | None,
        dtype: torch.dtype,
        kernels: KernelSet | None = None,
    ) -> None:
        """
        Args:
            following: output bias of the next layer's self-attention; None for the last layer.
            kernels: used where they are faster.
        """

        def frozen(weight: Tensor, bias: Tensor | None) -> FrozenLinear:
            return FrozenLinear(weight.to(dtype), None if bias is None else bias.to(dtype), kernels)

        own, cross = layer.self_attn, layer.multihead_attn
        self.heads, dim = own.num_heads, own.embed_dim
        self.qkv = frozen(own.in_proj_weight, own.in_proj_bias - own.in_proj_weight @ own.out_proj.bias)
        self.out = frozen(own.out_proj.weight, None)
        self.norm1 = _Norm(layer.norm1, None, dtype)
        self.query = frozen(cross.in_proj_weight[:dim], cross.in_proj_bias[:dim])
        self.key_value = frozen(cross.in_proj_weight[dim:], cross.in_proj_bias[dim:])
        self.cross_out = frozen(cross.out_proj.weight, None)
        self.cross_bias = cross.out_proj.bias.to(dtype)
        self.norm2 = _Norm(layer.norm2, layer.linear2.bias, dtype)
        self.up = frozen(layer.linear1.weight, layer.linear1.bias - layer.linear1.weight @ layer.linear2.bias)
        self.down = frozen(layer.linear2.weight, None)
        self.norm3 = _Norm(layer.norm3, following, dtype)
        self.kernels, self.cross_kernel = kernels, None
        if kernels is not None:
            assert self.query.bias is not None
            norms = self.norm1.numbers, self.norm2.numbers
            self.cross_kernel = kernels.cross_attention(
                *norms, self.query.weight, self.query.bias, self.cross_out.weight, self.heads
            )

    def __call__(
        self, x: Tensor, window: list[Tensor], mask: Tensor | None, first: int, n: int, branches: Branches
    ) -> Tensor:
        """Tokens (persons N, T, d) -> tokens from `first` on, (B, T', d); see `cross_attention`. Overwrites x."""
        return self.feed_forward(self.cross_block(self.self_attention(x, first), window, mask, n, branches))

    def cross_block(self, x: Tensor, window: list[Tensor], mask: Tensor | None, n: int, branches: Branches) -> Tensor:
        """norm2(cross_attention(norm1(x))) of all branches; see `cross_attention`."""
        keys, values, known = window
        if self.cross_kernel is not None and self.looks_up(known):
            return self.cross_kernel(x, keys, values, known, n == 1, branches)
        x = _spread(self.norm1(x), branches.person_of)
        return self.norm2(self.cross_attention(x, window, mask, n))

    def looks_up(self, known: Tensor) -> bool:
        """Whether the kernel does the cross-attention, which is known then; it finds each branch's memory itself."""
        return self.cross_kernel is not None and known.dim() == 3

    def split(self, x: Tensor) -> Tensor:
        """(B, T, k d) -> (k, B, heads, T, d / heads)."""
        return x.unflatten(2, (-1, self.heads, self.query.weight.shape[0] // self.heads)).permute(2, 0, 3, 1, 4)

    def self_attention(self, x: Tensor, first: int) -> Tensor:
        """Tokens (B, T, d) -> the tokens from `first` on plus their self-attention."""
        qkv = self.qkv(x)
        if self.kernels is not None and self.kernels.can_attend(qkv, self.heads):
            attended = self.kernels.attention(qkv, self.heads, first)
        else:
            q, k, v = self.split(qkv).unbind(0)
            attended = F.scaled_dot_product_attention(q[:, :, first:], k, v).transpose(1, 2).flatten(2)
        total = x[:, first:].contiguous() if first else x
        self.out.add_to(total.flatten(0, 1), attended.flatten(0, 1))
        return total

    def cross_attention(self, x: Tensor, window: list[Tensor], mask: Tensor | None, n: int) -> Tensor:
        """Tokens plus cross-attention, which is computed for the first `n` tokens and looked up for the others.

        window: keys, values, known cross-attention.
        """
        keys, values, known = window
        total = x + known
        if n:
            (q,) = self.split(self.query(x[:, :n])).unbind(0)
            attended = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
            attended = attended.transpose(1, 2).flatten(2)
            rows = total[:, 0] if n == 1 else total.flatten(0, 1)
            self.cross_out.add_to(rows, attended.flatten(0, 1))
        return total

    def feed_forward(self, x: Tensor) -> Tensor:
        """norm3(tokens plus feed-forward). Overwrites x."""
        hidden, partial = self.up.gelu(x), None
        if self.kernels is not None and self.kernels.can_split(hidden, self.down.weight):
            partial = self.kernels.partial_products(hidden, self.down.weight)
        else:
            self.down.add_to(x.flatten(0, 1), hidden.flatten(0, 1))
        if self.kernels is not None:
            return self.kernels.norm_of_sum(x, partial, self.norm3.numbers)
        return self.norm3(x)


class CachedDenoiser:
    """A denoiser in eval mode, prepared for inference; make a new one after its weights have changed.

    `dtype` is that of weights and tokens (float32, bfloat16 or float16). The last matrix product, and everything
    outside the network, stay in float32. `kernels` are used where they are faster, on the GPU that they were made for.
    """

    @torch.no_grad()
    def __init__(self, net: Denoiser, dtype: torch.dtype = torch.float32, kernels: KernelSet | None = None) -> None:
        assert not net.training, "this class leaves dropout out"
        self.net, self.config, self.dtype, self.kernels = net, net.config, dtype, kernels
        layers = [cast(nn.TransformerDecoderLayer, layer) for layer in net.transformer.layers]
        self.shifts = [layer.self_attn.out_proj.bias for layer in layers]
        self.layers = [_Layer(*each, dtype, kernels) for each in zip(layers, [*self.shifts[1:], None])]
        self.lookup = self.config.align_mask_width == 1  # the cross-attention of frames is known in advance
        # True = allowed here, but blocked in the denoiser's mask.
        self.mask = None if self.lookup or net.mask is None else ~net.mask
        self.steps = net.diff_step_map(net.step_table)  # (T + 1, d), added to the person token
        self.motion_in = FrozenLinear(net.feature_proj.weight[:, : self.config.motion_dim].to(dtype), None, kernels)
        hidden, motion = (cast(nn.Linear, net.motion_dec[i]) for i in (0, 2))
        self.hidden_out = FrozenLinear(hidden.weight.to(dtype), hidden.bias.to(dtype), kernels)
        self.motion_out = FrozenLinear(motion.weight.detach(), motion.bias.detach(), kernels)

    @torch.no_grad()
    def window(self, given: BranchInputs) -> WindowCache:
        """The constants of a window."""
        memory = torch.cat(given.memories).to(self.dtype)
        n_last = memory.shape[1] - self.config.n_prev_motions
        constants = []
        for layer in self.layers:
            key, value = layer.key_value(memory).chunk(2, dim=-1)
            known = layer.cross_bias
            if self.lookup:
                known = F.pad(layer.cross_out(value), (0, 0, 1, 0)) + known  # the person token's is computed later
                known = known if layer is not self.layers[-1] else known[:, -n_last:].contiguous()
            found = [layer.split(key)[0], layer.split(value)[0], known]
            if not layer.looks_up(known):
                found = [_spread(t, given.branches.memory_of) if t.dim() > 1 else t for t in found]
            constants.append(found)
        return WindowCache(given.branches, *self._constants(given), *map(list, zip(*constants)))

    def _constants(self, given: BranchInputs) -> tuple[Tensor, Tensor]:
        """Constant parts of the person tokens (persons N, d) and of the frame tokens (N, P + L, d)."""
        net, config = self.net, self.config
        n, device = len(given.prev_motion), given.prev_motion.device
        n_frames = given.memories[0].shape[1]
        motion = F.pad(given.prev_motion, (0, 0, 0, n_frames - config.n_prev_motions))
        if given.indicator is not None:
            motion = torch.cat([motion, F.pad(given.indicator, (config.n_prev_motions, 0))[..., None]], dim=-1)
        empty = torch.zeros(1, 1 + config.n_frames, config.feature_dim, device=device)
        offset = (net.PE if config.learnable_positions else net.positions(empty))[:, : 1 + n_frames] + self.shifts[0]
        person = net.person_proj(given.person) + offset[:, 0]
        frames = net.feature_proj(motion) + offset[:, 1:]
        assert frames.shape == (n, n_frames, config.feature_dim)
        return person, frames.to(self.dtype)

    def __call__(self, x: Tensor, step: Tensor, cache: WindowCache) -> Tensor:
        """The clean motion (or the noise) of the window's frames, branch by branch.

        Args:
            x: (N, L, D) noisy window, float32.
            step: (d,) row of `steps`.

        Returns:
            (B, L, D) float32.
        """
        return self.motion_out(self.hidden(self.tokens(x, step, cache), cache).float())

    def tokens(self, x: Tensor, step: Tensor, cache: WindowCache) -> Tensor:
        """The layers' input, (persons N, 1 + P + L, d)."""
        n, n_prev = len(x), self.config.n_prev_motions
        shape = (cache.branches.persons, n, -1, self.config.feature_dim)
        current = cache.frames[:, n_prev:] + self.motion_in(x.to(self.dtype))
        person = (cache.person + step).to(self.dtype).view(shape)
        tokens = torch.cat([person, *(t.expand(shape) for t in (cache.frames[:, :n_prev], current))], dim=2)
        return tokens.flatten(0, 1)

    def hidden(self, tokens: Tensor, cache: WindowCache) -> Tensor:
        """Run the layers -> input (B, L, h) of the last matrix."""
        last, branches = self.layers[-1], cache.branches
        for layer, *window in zip(self.layers, cache.keys, cache.values, cache.cross):
            first = 1 + self.config.n_prev_motions if layer is last else 0
            asking = int(layer is not last) if self.lookup else tokens.shape[1] - first
            mask = None if self.mask is None else self.mask[first:]
            tokens = layer(tokens, window, mask, first, asking, branches)
            branches = branches.separated()
        return self.hidden_out.gelu(tokens)
