"""Imported before everything else by the programs: Ctrl-C while the other imports run ends them without a traceback.

Nothing is open yet, so the process may end at once. `utils.errors.cli` takes over when `main` begins.
"""

import signal
import sys
from pathlib import Path

from utils.errors import leave

_ROOT = Path(__file__).resolve().parents[1]


def _starts_a_program() -> bool:
    """Whether Python imports for `python PROGRAM.py` here, or for `python -m`, during which argv[0] is "-m"."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return sys.argv[:1] == ["-m"] or (main is not None and Path(main).resolve().parent == _ROOT)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler and _starts_a_program():  # not where it is ignored
    signal.signal(signal.SIGINT, leave)
