"""Where runs live: `experiments/{SE,DPT}/<name>-<yymmdd_HHMMSS>/checkpoints/iter_XXXXXXX.pt`."""

import re
import time
from datetime import datetime
from pathlib import Path

from utils.config import ROOT
from utils.errors import UserError

EXPERIMENTS = ROOT / "experiments"
DEFAULT_EXPERIMENT = "embedded"  # the models shipped with the repository; embedded-no_head: without head motion
_STAMP = re.compile(r"-\d{6}_\d{6}$")


def iter_name(step: int) -> str:
    """Folder and file stem of an iteration: iter_0110000."""
    return f"iter_{step:07d}"


def new_run(kind: str, name: str, root: Path | None = None) -> Path:
    """Create a fresh, timestamped run folder for kind 'SE' or 'DPT'.

    Raises:
        UserError: the name has characters a folder cannot have.
    """
    if not re.fullmatch(r"[\w.+=-]+", name):
        raise UserError(f"--exp_name {name!r}: use letters, digits and . _ + = - only")
    while True:
        run = (root or EXPERIMENTS) / kind / f"{name}-{datetime.now():%y%m%d_%H%M%S}"
        try:
            (run / "checkpoints").mkdir(parents=True)
            return run
        except FileExistsError:  # another run of this name began in the same second
            time.sleep(0.1)
        except OSError as error:
            raise UserError(f"{run.parent}: cannot be written ({error.strerror}); change its permissions") from error


def find_run(kind: str, name: str, root: Path | None = None) -> Path:
    """The run called `name`, or the newest one whose name without its time stamp is, or starts with, `name`.

    Raises:
        UserError: no such run; the message lists what exists.
    """
    folder = (root or EXPERIMENTS) / kind
    runs = sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: p.name) if folder.is_dir() else []
    exact = [p for p in runs if p.name == name]
    same = [p for p in runs if _STAMP.sub("", p.name) == name]
    prefix = [p for p in runs if p.name.startswith(name)]
    for found in (exact, same, prefix):
        if found:
            return max(found, key=lambda p: (_stamp(p), p.name))
    existing = ", ".join(p.name for p in runs) or "none"
    raise UserError(f"--exp_name {name}: no such {kind} experiment in {_show(folder)}; existing: {existing}")


def find_runs(kind: str, name: str, root: Path | None = None) -> list[Path]:
    """All runs called `name` by their command, the newest first; runs without a configuration are left out."""
    found = (root or EXPERIMENTS).joinpath(kind).glob("*/config.json")
    return sorted((p.parent for p in found if _STAMP.sub("", p.parent.name) == name), key=_stamp, reverse=True)


def find_checkpoint(kind: str, name: str, step: int | None, root: Path | None = None) -> Path:
    """The checkpoint of an iteration; None: the last one.

    Raises:
        UserError: no such experiment or iteration; the message lists what exists.
    """
    run = find_run(kind, name, root)
    steps = sorted(saved_steps(run))
    if not steps:
        raise UserError(f"--exp_name {name}: {run.name} has no checkpoints/iter_XXXXXXX.pt yet; choose another one")
    if step is None:
        step = steps[-1]
    if step not in steps:
        existing = ", ".join(map(str, steps))
        raise UserError(f"--iter {step}: {run.name} has no such checkpoint; existing iterations: {existing}")
    return run / "checkpoints" / f"{iter_name(step)}.pt"


def saved_steps(run: Path) -> list[int]:
    """Iterations with a checkpoint in a run folder."""
    matches = (re.fullmatch(r"iter_(\d{7})\.pt", p.name) for p in (run / "checkpoints").glob("iter_*.pt"))
    return [int(match[1]) for match in matches if match]


def style_folder(style_checkpoint: str | Path) -> Path:
    """`<SE exp name>/iter_XXXXXXX`: the folder of style files that belongs to a style encoder checkpoint."""
    path = Path(str(style_checkpoint).replace("\\", "/"))
    return Path(path.parent.parent.name) / path.stem


def _stamp(run: Path) -> str:
    match = _STAMP.search(run.name)
    return match[0] if match else ""


def _show(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
