"""One kind of exception for the user's mistakes, and the wrapper that turns it into a one-line message."""

import errno
import functools
import logging
import sys
from collections.abc import Callable, Iterator

# Packages whose INFO messages the user sees; other libraries show only warnings and errors.
OWN = ("utils", "models", "datasets", "scripts_for_dataset", "setup", "benchmarks", "web", "examples")


class UserError(ValueError):
    """A mistake the user can mend. The message names the file or flag, what is wrong and what to do, in one line."""


def cli(main: Callable[..., None]) -> Callable[..., None]:
    """Decorate a script's `main`: user errors and a full disk end it with one line on stderr and exit code 2."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        logging.basicConfig(format="%(message)s")
        for name in (main.__module__, *OWN):
            logging.getLogger(name).setLevel(logging.INFO)
        try:
            main(*args, **kwargs)
        except UserError as error:
            _exit(" ".join(str(error).split()))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)
        except Exception as error:
            if not disk_full(error):
                raise
            where = getattr(error, "filename", None) or "the output"
            _exit(f"{where}: no disk space left; free some or choose another output folder")

    return wrapped


def disk_full(error: BaseException | None) -> bool:
    """Whether a full disk, a quota or a limit on files is behind an error; torch hides it behind a RuntimeError."""
    return any(
        isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) for one in causes(error)
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause, the cause of that, and so on; each once, as an error may be raised from itself."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _exit(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
