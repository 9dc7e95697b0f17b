"""Head models: FLAME and the open head, linear blend skinning, the mouth's opening.

To add another head model: utils/heads/head_file.py reads it, flame.py computes with it.
"""
