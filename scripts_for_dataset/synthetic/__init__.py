"""Synthetic speech and motion: voices with exact phone times, viseme articulation and non-verbal behaviour.

To add a voice: voices.py; a speech engine: a function like `espeak.espeak`, named in voices.py.
"""
