"""Head models: FLAME and the open head, linear blend skinning, mouth opening.

To add another head model: utils/heads/head_file.py reads it, flame.py computes with it.
"""
