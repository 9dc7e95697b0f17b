"""Sound and video in and out, labels and panels in pictures, frames as lines of text.

To add an audio format: audio.py; a video encoder's option: video.py.
"""
