"""A training script in a separate process, for tests: EXPERIMENTS_FOLDER {main_se,main_dpt} FLAG...

LOST=RANK:STEP (environment): this process of torchrun's first attempt is killed after this step. In later attempts the
first process is late, so that the others come upon whatever the dead ones have left.
"""

import importlib
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from utils.runs import run_dir
from utils.training.randomness import Randomness


def lose(rank: str, step: str) -> None:
    begin = Randomness.begin

    def begin_or_die(self: Randomness, number: int) -> None:
        if number == int(step):
            os.kill(os.getpid(), signal.SIGKILL)
        begin(self, number)

    if os.environ["TORCHELASTIC_RESTART_COUNT"] != "0":
        time.sleep(1 if os.environ["RANK"] == "0" else 0)
    elif os.environ["RANK"] == rank:
        Randomness.begin = begin_or_die


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_dir.EXPERIMENTS = Path(sys.argv[1])
    if "LOST" in os.environ:
        lose(*os.environ["LOST"].split(":"))
    importlib.import_module(sys.argv[2]).main(sys.argv[3:])
