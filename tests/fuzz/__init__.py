"""`python -m tests.fuzz`: damaged, lying and hostile files for every reader of files that others may have made."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # readers run in forks: no threads
    os.environ.setdefault(_name, "1")
