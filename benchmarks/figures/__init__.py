"""The pictures of README and docs, and a visit to the web page.

To add a picture, write a function of a session and name it in `PICTURES` and `main` of readme.py.
"""
