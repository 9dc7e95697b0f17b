"""Audio front ends: HuBERT, wav2vec 2.0, and the bundled Whisper encoder.

To add an audio encoder: a module here and a row in front_end.py.
"""
