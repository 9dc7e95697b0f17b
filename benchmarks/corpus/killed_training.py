"""A training run of two processes that are killed again and again: a part of `benchmarks.corpus.scale --parts kills`.

As a program (EXPERIMENTS_FOLDER FLAG...) it is main_se.py whose runs lie in another folder.
"""

from __future__ import annotations

import json
import random
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from datasets.clip_store import ClipStore
from datasets.splits import write_list
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.runs import run_dir
from utils.runs.run_dir import ROOT

STEPS, KILLS_OF_A_RUN = 600, 10
PROGRAM = ["-m", "benchmarks.corpus.killed_training"]
_FLAGS = f"--exp_name killed --feature_dim 32 --n_heads 2 --n_layers 1 --batch_size 4 --num_workers 1 --device cpu \
--max_iter {STEPS} --save_iter 50 --val_iter 100 --log_iter 1".split()
_STARTING, _TRAINING = 6.0, 0.5  # seconds after the start, or after the first step, in which a process is killed


def killed_training(data: Path, folder: Path, kills: int) -> int:
    """Kill processes of as many runs as it takes, each of which must end as an undisturbed one does.

    Args:
        data: an LMDB data set; it gets lists and statistics.
        kills: SIGKILLs of a process at work, which is the result.

    Raises:
        UserError: a run failed, or ended with other weights or another log.
    """
    clips = ClipStore(data).clips()
    write_list(data / "train.txt", clips[:-2])
    write_list(data / "val.txt", clips[-2:])
    CoefStats.identity().save(data / "stats_train.npz")
    expected, draw, done = outcome(launch(data, folder / "whole", 0), folder / "whole"), random.Random(0), 0
    while done < kills:
        run, wanted = folder / f"after-{done}", min(KILLS_OF_A_RUN, kills - done)
        launcher = launch(data, run, wanted)
        done += kill_some(launcher, run, wanted, draw)
        if outcome(launcher, run) != expected:
            raise UserError(f"a run ended otherwise than an undisturbed one, after the kills from number {done} on")
        print(f"{done} of {kills} processes of training killed", file=sys.stderr)
    return done


def launch(data: Path, folder: Path, restarts: int) -> subprocess.Popen:
    """torchrun with two processes."""
    words = ["--standalone", "--nproc_per_node", "2", "--max_restarts", str(restarts), *PROGRAM, str(folder)]
    return subprocess.Popen([sys.executable, "-m", "torch.distributed.run", *words, "--data_root", str(data), *_FLAGS],
                            cwd=ROOT, stderr=subprocess.DEVNULL)  # fmt: skip


def kill_some(launcher: subprocess.Popen, folder: Path, kills: int, draw: random.Random) -> int:
    """Kill a random one of each attempt's processes, half of the time while they start; the number of hits."""
    dead: set[int] = set()
    for done in range(kills):
        while launcher.poll() is None and len(found := workers(launcher, dead)) < 2:
            time.sleep(0.01)
        if launcher.poll() is not None:
            return done
        if draw.random() < 0.5:  # while they start
            time.sleep(draw.uniform(0, _STARTING))
        else:
            before = log_size(folder)
            while launcher.poll() is None and log_size(folder) == before:
                time.sleep(0.01)
            time.sleep(draw.uniform(0, _TRAINING))
        victim = draw.choice(found)
        if not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE:  # the run has come to its end
            return done
        victim.kill()
        dead |= {process.pid for process in found}
    return kills


def workers(launcher: subprocess.Popen, dead: set[int]) -> list[psutil.Process]:
    """The processes of the present attempt."""
    try:
        children = psutil.Process(launcher.pid).children()
        return [one for one in children if one.pid not in dead and "RANK" in one.environ()]
    except psutil.Error:  # one has just ended
        return []


def log_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("SE/*/logs/metrics.jsonl"))


def outcome(launcher: subprocess.Popen, folder: Path) -> tuple[list[dict[str, Any]], bytes]:
    """The finished run's log without speeds, and its last checkpoint with the optimiser's state.

    Raises:
        UserError: torchrun failed, or there is another number of runs than one.
    """
    if launcher.wait(timeout=1200):
        raise UserError("torchrun failed; give the command by hand")
    runs = [path.parent for path in folder.glob("SE/*/config.json")]
    if len(runs) != 1:
        raise UserError(f"{len(runs)} runs were begun by one command")
    rows = [json.loads(line) for line in (runs[0] / "logs" / "metrics.jsonl").read_text().splitlines()]
    log = [{name: value for name, value in row.items() if not name.startswith("speed/")} for row in rows]
    return log, (runs[0] / "checkpoints" / f"{run_dir.iter_name(STEPS)}.pt").read_bytes()


if __name__ == "__main__":
    run_dir.EXPERIMENTS = Path(sys.argv[1])
    sys.argv = ["main_se.py", *sys.argv[2:]]
    runpy.run_path(str(ROOT / "main_se.py"), run_name="__main__")
