"""Motion as files for other programs, and ARKit's values of any head.

To add a format: a row in formats.py and its writer in utils/exports/.
"""
