"""Pages, figures and tables of results.

To add a page: a template in templates/ that extends base.html, filled by html_page.render. Figures: plots.py.
"""
