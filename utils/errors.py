"""One kind of exception for the user's mistakes, and the wrapper that turns it into a one-line message."""

import errno
import functools
import logging
import sys
from collections.abc import Callable


class UserError(ValueError):
    """A mistake the user can mend. The message names the file or flag, what is wrong and what to do, in one line."""


def cli(main: Callable[..., None]) -> Callable[..., None]:
    """Decorate a script's `main`: user errors and a full disk end it with one line on stderr and exit code 2."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        try:
            main(*args, **kwargs)
        except UserError as error:
            _exit(" ".join(str(error).split()))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            where = error.filename or "the output"
            _exit(f"{where}: no disk space left; free some or choose another output folder")
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    return wrapped


def _exit(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
