"""Where a run's log goes."""

import json

import accelerate.tracking
import numpy as np
import pytest

from utils.errors import UserError
from utils.runs import run_log
from utils.runs.run_log import RunLog, check_logger


class Tracker:
    """What accelerate's trackers do, on a list."""

    said: list = []

    def __init__(self, project, **more):
        self.said.append((project, more))

    def start(self):
        self.said.append("start")

    def store_init_configuration(self, values):
        self.said.append(values)

    def log(self, values, step):
        self.said.append((step, values))

    def log_images(self, values, step):
        self.said.append((step, {name: len(images) for name, images in values.items()}))

    def finish(self):
        self.said.append("finish")


def test_a_tracker_of_accelerate_gets_everything(tmp_path, monkeypatch):
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "wandb", Tracker)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps({"run": {"lr": 0.1}, "loss": {"l_vert": 2}}))
    with RunLog(tmp_path / "run" / "logs", 3, True, "wandb") as log:
        log.write(4, {"train/total": 2.5})
        log.picture(4, "val/mouth", np.zeros((2, 2, 3), np.uint8))
    project, begun, config, *entries = Tracker.said
    assert project[1]["id"] == "run" and project[1]["resume"] == "allow" and begun == "start"
    assert config == {"lr": 0.1, "l_vert": 2}
    assert entries == [(4, {"train/total": 2.5}), (4, {"val/mouth": 1}), "finish"]
    assert json.loads((tmp_path / "run" / "logs" / "metrics.jsonl").read_text()) == {"step": 4, "train/total": 2.5}
    assert not list((tmp_path / "run" / "logs").glob("events*"))


def test_other_processes_write_nothing(tmp_path):
    with RunLog(tmp_path / "logs", 0, False, "mlflow") as log:
        log.write(1, {"a": 1.0})
        log.picture(1, "b", np.zeros((2, 2, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_logger_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(run_log.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--log_with mlflow: is not installed; pip install mlflow"):
        check_logger("mlflow")
