"""Folders of training runs: checkpoints (ours and the published ones), logs.

To add an entry of a checkpoint: checkpoint.py.
"""
