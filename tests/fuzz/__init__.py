"""`python -m tests.fuzz`: damaged, lying and hostile files for every reader of files that somebody else may have made."""

import os

for _name in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
):  # readers run in forks, which have no threads
    os.environ.setdefault(_name, "1")
