"""The same mathematics, faster: cached denoiser, repacked products, CUDA graphs of steps.

To add a faster form: beside its plain twin in models/diffusion/plain.py, with a test that compares both.
"""
