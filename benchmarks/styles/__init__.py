"""Do styles and guidance show in what is generated?

To add a trait of a style, edit `StyleScore` in bundled.py; a scale or a measure of guidance, the tables at its top.
"""
