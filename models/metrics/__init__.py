"""Measures of generated motion (SPEC section 10; docs/metrics.md): pure functions, and the scoring of whole clips."""
