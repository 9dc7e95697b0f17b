"""Diffusion: noise schedule, solvers, guidance, and the plain evaluation of a window.

To add a noise schedule: schedule.py; a solver: solvers.py.
"""
