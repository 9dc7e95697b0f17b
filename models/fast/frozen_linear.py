"""A frozen linear layer for inference, in the form that is fastest on its device."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.fast.kernels.select import KernelSet

# With AVX2 alone, oneDNN's GELU is slower than PyTorch's.
_FUSE_GELU = torch.backends.cpu.get_cpu_capability().startswith("AVX512")


class FrozenLinear:
    """y = x W^T + b with weights that are no longer trained.

    On a GPU the matrix product itself accumulates sums, and float32 products consist of TF32 products with the same sum
    (`kernels.products`), unless a lower precision is set. On a CPU float32 weights are repacked for oneDNN if this
    PyTorch has it: MKL, the default, leaves half the speed of AVX-512 unused on AMD processors.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, kernels: KernelSet | None = None) -> None:
        """weight (out, in), bias (out,); `kernels` are used where they are faster."""
        self.weight, self.bias = weight.contiguous(), None if bias is None else bias.contiguous()
        self.packed = _pack(self.weight)
        self.kernels = kernels

    def __call__(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        if self.packed is not None:
            return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        if self.bias is not None and (kernels := self._kernels_for(x)):
            return self._new(kernels, x, "linear")
        return F.linear(x, self.weight, self.bias)

    def _kernels_for(self, x: Tensor) -> KernelSet | None:
        return self.kernels if self.kernels is not None and self.kernels.can_multiply(x, self.weight) else None

    def _new(self, kernels: KernelSet, x: Tensor, kind: str) -> Tensor:
        out = x.new_empty(*x.shape[:-1], len(self.weight))
        kernels.float32_product(x.flatten(0, -2), self.weight, self.bias, out.flatten(0, -2), kind)
        return out

    def gelu(self, x: Tensor) -> Tensor:
        """GELU(x W^T + b)."""
        if self.packed is not None and not _FUSE_GELU:
            return F.gelu(self(x))
        if self.packed is not None:
            return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "gelu", [], "none")
        assert self.bias is not None
        if x.is_cuda and x.element_size() == 2:
            # One kernel. GELU's tanh form differs from the exact one by 5e-4 at most, the rounding of 16 bit numbers.
            multiply = torch._addmm_activation  # pyright: ignore[reportPrivateImportUsage]
            flat = multiply(self.bias, x.flatten(0, -2), self.weight.t(), use_gelu=True)
            return flat.unflatten(0, x.shape[:-1])
        if kernels := self._kernels_for(x):
            return self._new(kernels, x, "gelu")
        return F.gelu(F.linear(x, self.weight, self.bias))

    def add_to(self, total: Tensor, x: Tensor) -> None:
        """total (N, out) += x (N, in) W^T, in place; only for a layer without bias."""
        assert self.bias is None
        if self.packed is not None:
            total.add_(self(x))
        elif kernels := self._kernels_for(x):
            kernels.float32_product(x, self.weight, None, total, "add")
        else:
            total.addmm_(x, self.weight.t())


def _pack(weight: Tensor) -> Tensor | None:
    """Weights in oneDNN's layout; None where it does not apply or this PyTorch does not offer it."""
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return None
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        probe = torch.linspace(-1, 1, weight.shape[1])[None]
        product = torch.ops.mkldnn._linear_pointwise(probe, packed, None, "none", [], "")
    except (AttributeError, RuntimeError, NotImplementedError, TypeError):
        return None  # an internal operator: absent or different in other versions
    return packed if torch.allclose(product, F.linear(probe, weight), rtol=1e-4, atol=1e-4) else None
