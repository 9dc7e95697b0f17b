"""What a reader did besides returning: memory taken, time, files opened elsewhere, processes, code."""

from __future__ import annotations

import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from utils.errors import UserError, causes

MEBI = 1 << 20
LIMIT = 6 << 30  # bytes of address space a reader may ask for at all: no input ends the machine
MAX_PEAK = 400 * MEBI  # resident
MAX_RESERVED = 1500 * MEBI  # address space, touched or not; threads of decoders take some
MAX_SECONDS = 8.0  # of the processor: other programs may be busy
ACTIONS = ("subprocess.", "os.sys", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.chmod", "os.chown",
           "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.mkdir", "os.truncate", "socket.", "pty.",
           "urllib.", "webbrowser.", "ctypes.dlopen", "shutil.")  # fmt: skip


class Watch:
    """Counts from where the process stands when it is made; `here` is the only folder that may be written."""

    def __init__(self, here: Path) -> None:
        self.here, self.readable = (
            str(here),
            (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), "/proc", "/sys", "/dev/null"),
        )
        self.readable += ("/etc/localtime", "/etc/passwd", "/usr")  # the second: a list of recordings names any file
        self.seen: list[str] = []
        self.on = False
        self.peak, self.reserved = _memory()
        resource.setrlimit(resource.RLIMIT_AS, (self.reserved + LIMIT, resource.RLIM_INFINITY))
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple) -> None:
        if not self.on:
            return
        if event == "open" and isinstance(args[0], str | bytes):
            name = args[0] if isinstance(args[0], str) else args[0].decode("utf-8", "replace")
            writes = isinstance(args[1], str) and bool(set("wax+") & set(args[1]))
            fine = (
                name.startswith(self.here)
                or not name.startswith("/")
                or (not writes and name.startswith(self.readable))
            )
            if not fine:
                self.seen.append(f"opened {name}")
        elif event.startswith(ACTIONS) and not any(self.here in str(arg) for arg in args):
            self.seen.append(f"did {event} {str(args)[:200]}")
        elif event == "exec" and getattr(args[0], "co_filename", "") == "<string>":
            self.seen.append("executed text")

    def attempt(self, read: Callable[[Path], object], path: Path) -> tuple[bool, str]:
        """Whether the file was taken, and what was wrong with how it was read ("": nothing)."""
        start, taken, problem = time.process_time(), False, ""
        self.seen.clear()
        self.on = True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)
                read(path)
            taken = True
        except UserError as error:
            problem = _hides_memory_error(error) or ("" if str(error).strip() else "UserError without a message")
        except BaseException as error:
            problem = where(error)
        finally:
            self.on = False
        if self.seen:
            return taken, self.seen[0]
        return taken, problem or self._cost(time.process_time() - start)

    def _cost(self, seconds: float) -> str:
        if seconds > MAX_SECONDS:
            return f"took {seconds:.0f} s"
        peak, reserved = _memory()
        if peak - self.peak > MAX_PEAK:
            return f"took {(peak - self.peak) / MEBI:.0f} MiB of memory"
        if reserved - self.reserved > MAX_RESERVED:
            return f"reserved {(reserved - self.reserved) / MEBI:.0f} MiB of memory"
        return ""


def _memory() -> tuple[int, int]:
    """Highest resident memory and address space of this process so far, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmPeak", "VmHWM"))}
    return int(values["VmHWM"]) * 1024, int(values["VmPeak"]) * 1024


def _hides_memory_error(error: BaseException | None) -> str:
    for one in causes(error):
        if type(one).__module__.startswith("av."):
            # FFmpeg refuses more than 2 GB at once without asking for it. Before LIMIT denies it anything it has more
            # than MAX_RESERVED, which `_cost` reports.
            continue
        if isinstance(one, MemoryError) or "can't allocate memory" in str(one):
            return "asked for more memory than there is"
    return ""


def where(error: BaseException) -> str:
    """The error with the last of our own lines that it went through."""
    lines = traceback.extract_tb(error.__traceback__)
    root = str(Path(__file__).parents[2])
    ours = [line for line in lines if line.filename.startswith(root) and "/tests/fuzz/" not in line.filename]
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}{place}"
