"""The figures in README and docs. To add one: a module in the folder of its subject, with report.py's tables."""

import utils.startup
