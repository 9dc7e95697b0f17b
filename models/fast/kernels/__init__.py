"""CUDA kernels in Triton, and their selection by device.

To add a kernel: a function in a module here, a field of `KernelSet` in select.py; tests/support/compile_kernels.py
compiles what sampling launches.
"""
