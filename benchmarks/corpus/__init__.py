"""The synthetic corpus: the figures (data_card.py) and pictures (pictures.py) of its data card.

To add a figure, edit `card` in data_card.py; a picture, `draw` in pictures.py.
"""
