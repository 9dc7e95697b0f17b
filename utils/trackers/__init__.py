"""Output of face trackers, read as untrusted files. Start at `to_motion.from_content`.

To add a tracker: a module with its `Format`, and an entry in formats.py.
"""
