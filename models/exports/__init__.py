"""Motion as files for other programs, and ARKit values for any head.

To add a format: a row in formats.py and its writer in utils/exports/.
"""
