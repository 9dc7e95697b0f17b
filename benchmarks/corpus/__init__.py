"""The synthetic corpus: figures (data_card.py), pictures (pictures.py) of its data card. Large corpora: scale.py.

To add a figure, edit `card` in data_card.py; a picture, `draw` in pictures.py; a measurement of scale, scale.py.
"""
