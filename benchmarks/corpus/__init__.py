"""The synthetic corpus: figures and pictures of its data card."""
