"""What fine-tuning on one minute of a new person brings.

To add a flag of the recipe, edit `TuningFlags` and `fine_tune` in fine_tuning.py.
"""
