"""Readers of untrusted files: arrays, JSON, pickles, torch archives. Nothing in them is executed.

To add a file kind: a reader here, seeds for it in tests/fuzz/seeds.py.
"""
