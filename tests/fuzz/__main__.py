"""Read thousands of damaged, lying and hostile files with every reader; only the documented error may come out.

python -m tests.fuzz [--inputs 10000] [--seed 0] [--readers tracker,audio] [--seconds 0] [--keep fuzz_failures]

Each reader works in processes of its own, with a limit on memory: what crashes, hangs, takes memory, opens files
elsewhere or runs code is reported with its input, and the run goes on. Exit code 1 if there was any.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

from tests.fuzz.pool import Job, run_all
from tests.fuzz.readers import READERS
from utils.arguments import UserParser
from utils.errors import UserError, cli

log = logging.getLogger(__name__)


def make_parser() -> UserParser:
    parser = UserParser(description=(__doc__ or " ").splitlines()[0])
    add = parser.add_argument
    add("--inputs", type=int, default=10_000, help="files per reader (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the damage (default: %(default)s)")
    add("--readers", default="", help=f"some of {','.join(reader.name for reader in READERS)} (default: all)")
    add("--seconds", type=float, default=0, help="stop after about so many seconds (default: never)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    add("--keep", type=Path, default=Path("fuzz_failures"), help="folder for files that failed (default: %(default)s)")
    return parser


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    known = {reader.name: reader for reader in READERS}
    names = [name for name in args.readers.split(",") if name] or list(known)
    unknown = [name for name in names if name not in known]
    if unknown or min(args.inputs, args.workers) < 1:
        raise UserError(f"--readers {','.join(unknown)}: not known, or --inputs or --workers below 1; see --help")
    share = args.seconds * args.workers / len(names) if args.seconds else 0
    jobs = [Job(known[name], args.seed, args.inputs, share, args.keep) for name in names]
    with tempfile.TemporaryDirectory(prefix="fuzz é ") as folder:
        results = run_all(jobs, min(args.workers, len(jobs)), Path(folder))
    for result in results:
        refused = result.done - result.taken - result.n_failed
        failed = f", {result.n_failed} FAILED" if result.n_failed else ""
        log.info("%-16s %7d files: %6d taken, %6d refused%s", result.reader, result.done, result.taken, refused, failed)
        for problem, (count, path) in result.failures.items():
            log.info("  %d x %s; e.g. %s", count, problem, path)
    log.info("%d files", sum(result.done for result in results))
    if any(result.n_failed for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
