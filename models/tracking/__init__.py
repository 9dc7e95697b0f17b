"""A head fitted to the landmarks of a video: identity, rest face, pose, jaw and units; motion carried between heads.

To add a landmark set, edit embedding.py; to change what is weighed how, edit sequence.py; to change what is kept when a
motion goes to another head, edit carry.py.
"""
