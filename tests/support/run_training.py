"""A training script in a process of its own, for tests: EXPERIMENTS_FOLDER {main_se,main_dpt} FLAG..."""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from utils.runs import run_dir

if __name__ == "__main__":
    torch.set_num_threads(1)
    run_dir.EXPERIMENTS = Path(sys.argv[1])
    importlib.import_module(sys.argv[2]).main(sys.argv[3:])
