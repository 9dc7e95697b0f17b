"""A study with people: which of two videos is better? One page, randomised pairs and sides, attention checks.

python -m web.study A.json                       # this machine only; docs/study.md shows A.json
python -m web.study A.json --host 0.0.0.0        # for everyone in the network
python -m web.study.analyse A-results            # what the answers say
"""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from utils.atomic import make_folder
from utils.config import flag, positional, read_flags
from utils.errors import UserError, cli
from web.addresses import address, listener, url
from web.study.plan import read_plan
from web.study.raters import Raters
from web.study.swapping import swap_sound


@dataclass(frozen=True)
class StudyFlags:
    """All flags of the program."""

    study: Path = positional(metavar="A.json")
    """The methods and their videos."""
    results: Path | None = flag(None)
    """Folder for the answers (default: A-results beside A.json)."""
    host: str = "127.0.0.1"
    """Address to listen on (default: this machine only)."""
    port: int = 7870
    """Port to listen on."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(StudyFlags, argv, (__doc__ or " ").splitlines()[0])
    try:
        import uvicorn

        from web.study.page import StudyPage
    except ImportError as error:
        raise UserError("the study needs the page's packages: pip install -r requirements-web.txt") from error
    plan, results = read_plan(flags.study), flags.results or flags.study.with_name(f"{flags.study.stem}-results")
    make_folder(results)
    folder = tempfile.TemporaryDirectory(prefix="study-", ignore_cleanup_errors=True)
    with listener(flags.host, flags.port) as door, folder as work:
        for clip in plan.clips.values() if plan.checks else ():  # what cannot be made is said now, not to a rater
            for video in clip.videos.values():
                swap_sound(video, plan.wrong_sound(clip.name), Path(work) / "try.mp4")
        page = StudyPage(plan, Raters(plan, results), Path(work))
        elsewhere, here = address(flags.host, flags.port), url("http", flags.host, flags.port)
        print(f"open {here}" + (f", on other devices {elsewhere}" if elsewhere else ""))
        print(f"answers: {results} (python -m web.study.analyse {shlex.quote(str(results))})", flush=True)
        config = uvicorn.Config(page.app(flags.host), log_level="warning", timeout_graceful_shutdown=2)
        uvicorn.Server(config).run([door])


if __name__ == "__main__":
    main()
