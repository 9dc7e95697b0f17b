"""A study with people: pairs of videos, one question after another (`python -m web.study A.json`), and its analysis.

To add a question, edit `QUESTIONS` in plan.py; another way to sum up answers, ranking.py.
"""
