"""Exported files: time, size, and what other programs read in them.

To add a reader, edit readers.py and `checks` in formats.py.
"""
