"""Layer 1: LMDB clip store, splits and the two training data sets."""
