"""Builds the CC0 open head from MakeHuman's assets. Only needed to rebuild `models/data/open_head.npz`."""
