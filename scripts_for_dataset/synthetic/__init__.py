"""Synthetic speech and motion: voices with exact phone times, viseme articulation and non-verbal behaviour."""
