"""Conversion of FLAME, which cannot be shipped, and the builders of the open head and of model files.

To add a build step: a program build_*.py here, described in README.md.
"""

import utils.startup
