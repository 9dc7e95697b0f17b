"""What the video tracker finds and misses, on films of the open head whose motion is known.

To add a film, edit `cases` in films.py; a way of filming, `Scene` in it; a figure, `compare` in accuracy.py;
what the head wears, props.py.
"""
