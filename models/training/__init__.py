"""What training minimises: losses, the objective of a pass, distillation, flags.

To add a loss: a term in losses.py and its weight in `LossConfig`.
"""
