"""Exported files: time, size, and what other programs read in them.

To add a reader, edit `checks` and `missing` in formats.py.
"""
