"""Pages and pictures to check data by eye.

To add a finding: datasets/inspection.py, shown by inspection_page.py.
"""
