"""A talker as ONNX graphs, for programs without PyTorch (docs/onnx.md).

To add a graph: `graphs_of` in graphs.py; another precision: `VARIANTS` in variants.py.
"""
