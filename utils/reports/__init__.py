"""Pages and tables of results.

To add an element of a page: html_page.py.
"""
