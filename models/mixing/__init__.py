"""Changes between model and output: gains, offsets, smoothing, mirrored groups, eye contact, emotions, over time.

To add an emotion or a named offset: a row in recipes.py. Other programs get all numbers from table.py.
"""
