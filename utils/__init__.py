"""Code that imports nothing from models/ or datasets/: files, media, rendering, trackers, the training loop."""
