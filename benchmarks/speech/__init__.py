"""Does the mouth do what the words need? On recordings, on disturbed ones, and in the synthetic speech's own labels.

To add a measure, edit `MEASURES` and `pool` in speech_scores.py; a condition, `conditions` in hard_speech.py.
"""
