"""A data set in one or several folders: who they are (folders), their lists as arrays (clip_index), one reader.

To change what `--data_root` accepts: folders.py; to store clips elsewhere: a `ClipReader` like `ClipStore`.
"""
