"""The training loop: steps, optimiser, schedules, data order, randomness, checks before the start.

To add a learning-rate schedule: train_step.py.
"""
