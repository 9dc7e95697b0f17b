"""Metrics of generated motion (docs/metrics.md): pure functions, and the scoring of whole clips.

To add a metric: a row in catalogue.toml, and its computation in score.py or sets.py.
"""
