"""Without a GPU our CUDA kernels are run by Triton's interpreter, which must be told before Triton is imported."""

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
