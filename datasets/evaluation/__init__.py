"""What an evaluation scores: a split's clips with style references and seeds (data), and the file of them (protocol).

To change what others can rely on: `protocol.py`, its FORMAT, and its table in docs/metrics.md.
"""
