"""Exported files read by other programs."""
