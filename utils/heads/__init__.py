"""Files of head models: FLAME pickles and npz, the open head, texture coordinates.

To add an array of a head file: head_file.py.
"""
