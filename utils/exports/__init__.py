"""Writers of the formats of other tools: arrays in, files out, without torch.

To add a format, write its module here and its row in models/exports/formats.py.
"""
