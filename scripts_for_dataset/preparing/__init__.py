"""What the commands that make data sets share: batches of clips, the published steps, building an LMDB.

To add a step of the preparation: preparation.py.
"""
