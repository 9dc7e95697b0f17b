"""Fits a head to the landmarks of a video (head shape, face at rest, pose, jaw, expressions), and transfers motion.

To add a landmark set, edit embedding.py; to change the costs of the fit, edit priors.py; to change the transfer of
motion to another head, edit carry.py.
"""
