"""The networks: denoiser, style encoder, the talker around them, and how checkpoints become networks.

To add an input of the denoiser: denoiser.py, and talker.py, which puts the person vector together.
"""
