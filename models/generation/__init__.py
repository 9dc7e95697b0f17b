"""Speech -> motion: windows with carried context, whole files, long recordings, live audio.

To add a way to cut speech into windows: windows.py.
"""
