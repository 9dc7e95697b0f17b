"""Fast inference with the same results: cached denoiser, repacked products, CUDA graphs of steps.

To add a faster form: a module here, and a test that compares it with its plain twin, models/diffusion/plain.py.
"""
