"""Layer 0: leaf helpers that import nothing from models/ or datasets/."""
