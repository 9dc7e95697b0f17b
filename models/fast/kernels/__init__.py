"""CUDA kernels in Triton, and which device they serve.

To add a kernel: a module here, offered by select.py, compiled by tests/support/compile_kernels.py.
"""
