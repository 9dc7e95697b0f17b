"""One kind of exception for the user's mistakes, and the wrapper that turns it into a one-line message."""

import contextlib
import errno
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

# Packages whose INFO messages the user sees; other libraries show only warnings and errors.
OWN = ("utils", "models", "datasets", "scripts_for_dataset", "setup", "benchmarks", "web", "examples")


# What a path on the command line can have that no check of ours foresaw: permissions, a name of thousands of letters.
_UNREACHABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EROFS, errno.EIO, errno.ELOOP)


class UserError(ValueError):
    """A mistake the user can mend. The message names the file or flag, what is wrong and what to do, in one line."""


class Interrupted(KeyboardInterrupt):
    """A signal that ends the program. Like Ctrl-C it unwinds the stack, so that temporary files are removed."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = number


def cli(main: Callable[..., None]) -> Callable[..., None]:
    """Decorate a script's `main`: user errors, unreachable files and a full disk end it with one line and exit code 2.

    Ctrl-C, SIGTERM and SIGHUP end it without a traceback; a reader of its output may close the pipe.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        _open_closed_streams()
        logging.basicConfig(format="%(message)s")
        for name in (main.__module__, *OWN):
            logging.getLogger(name).setLevel(logging.INFO)
        try:
            if signal.getsignal(signal.SIGINT) is leave:  # see utils/startup.py
                signal.signal(signal.SIGINT, signal.default_int_handler)
            with _signals_interrupt():
                main(*args, **kwargs)
        except UserError as error:
            _exit(" ".join(str(error).split()))
        except KeyboardInterrupt as error:
            _exit_interrupted(error)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered would fail again when Python ends
            sys.exit(128 + signal.SIGPIPE)
        except ImportError as error:  # what Ctrl-C becomes while a compiled module is imported
            pressed = [one for one in causes(error) if isinstance(one, KeyboardInterrupt)]
            if not pressed:
                raise
            _exit_interrupted(pressed[0])
        except Exception as error:
            where, number = getattr(error, "filename", None), getattr(error, "errno", None)
            if disk_full(error):
                _exit(f"{where or 'the output'}: no disk space left; free some or choose another output folder")
            if where is None or number not in _UNREACHABLE:
                raise
            _exit(f"{where}: not reachable ({os.strerror(number)}); check the path and its permissions")

    return wrapped


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Interrupted`, unless they are ignored (nohup) or handled already."""
    mine = threading.current_thread() is threading.main_thread()
    caught = [
        number for number in (signal.SIGTERM, signal.SIGHUP) if mine and signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in caught:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


def interrupt(number: int, frame: object) -> None:
    """A signal's handler; the same signal again does not disturb the clean-up.

    Raises:
        Interrupted: always.
    """
    signal.signal(number, signal.SIG_IGN)
    raise Interrupted(number)


def leave(number: int, frame: object) -> None:
    """A signal's handler before a program has begun its work: it ends at once."""
    with contextlib.suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(128 + number)


def _open_closed_streams() -> None:
    """Programs may be started with closed standard streams, whose numbers the next opened files would get."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


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


def _exit_interrupted(by: KeyboardInterrupt) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print("interrupted", file=sys.stderr)
    sys.exit(128 + getattr(by, "number", signal.SIGINT))


def _exit(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
