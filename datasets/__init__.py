"""The LMDB clip store, splits, and the training items of both networks.

To change how clips are stored: clip_encoding.py; to add a kind of training item: a module like motion_pairs.py.
"""
