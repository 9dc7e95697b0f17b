"""The web demo: `python -m web.app`, on this machine only unless told otherwise."""
