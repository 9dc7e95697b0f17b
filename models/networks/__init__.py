"""The networks: denoiser, style encoder, the talker around them, and loading them from checkpoints.

To add an input of the denoiser: denoiser.py, and talker.py, which makes the person vector.
"""
