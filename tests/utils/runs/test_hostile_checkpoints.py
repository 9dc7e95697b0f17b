"""Checkpoint files whose content is not what it should be, or would run code."""

import argparse
import io
import os
import pathlib
import pickle
from argparse import Namespace

import numpy as np
import pytest
import torch

from models.networks.loading import load_style_encoder, load_talker
from tests.support.hostile import Calls
from utils.errors import UserError

OURS = {"format": "diffposetalk-1", "kind": "talker", "config": {}, "model": {}, "step": 1, "stats": None}
DAMAGED = {
    "not a dict": [1, 2, 3],
    "a bare state_dict": {"weight": torch.zeros(2)},
    "args is a list": {"args": [1], "model": {}, "iter": 1},
    "args is a number": {"args": 3, "encoder": {}, "iter": 1},
    "model is no dict": {"args": Namespace(), "model": [1], "iter": 1},
    "model of numbers": {"args": Namespace(), "encoder": {"motion_proj.weight": 1}, "iter": 1},
    "names are numbers": {"args": Namespace(), "encoder": {1: torch.zeros(1)}, "iter": 1},
    "iter is text": {"args": Namespace(), "encoder": {}, "iter": "last"},
    "no weights": {"args": Namespace(), "encoder": {}, "iter": 1},
    "fields missing": {"format": "diffposetalk-1", "kind": "talker"},
    "fields unknown": {**OURS, "new": 1},
    "kind unknown": {**OURS, "kind": "cat"},
    "kind is a list": {**OURS, "kind": []},
    "config is a list": {**OURS, "config": []},
    "heads do not divide": {"args": Namespace(n_heads=3), "encoder": {}, "iter": 1},
    "width is text": {"args": Namespace(feature_dim="wide"), "encoder": {}, "iter": 1},
    "negative width": {"args": Namespace(feature_dim=-4), "encoder": {}, "iter": 1},
    "audio model unknown": {"args": Namespace(audio_model="ears"), "model": {}, "iter": 1},
}


@pytest.mark.parametrize("what", DAMAGED)
def test_malformed_content(tmp_path, what):
    path = tmp_path / "malformed.pt"
    torch.save(DAMAGED[what], path)
    kind = load_style_encoder if "encoder" in DAMAGED[what] else load_talker
    with pytest.raises(UserError, match="malformed.pt"):
        kind(path)


def hostile(flag: pathlib.Path) -> dict:
    """Pickles that would create `flag`."""
    objects = np.empty(1, dtype=object)
    objects[0] = Calls(os.mknod, str(flag))
    code = f"__import__('os').mknod({str(flag)!r})"
    return {
        "os.system": Calls(os.system, f"touch {flag}"),
        "builtins.eval": Calls(eval, code),
        "builtins.exec": Calls(exec, code),
        "numpy object": objects,
        "getattr on an allowed class": Calls(getattr, argparse.Namespace, "__init__"),
        "open": Calls(io.open, str(flag), "w"),
        "path method": Calls(pathlib.Path.touch, pathlib.Path(flag)),
    }


NAMES = list(hostile(pathlib.Path("flag")))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["args", "model", "iter"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, name, place):
    flag = tmp_path / "executed"
    payload = {"args": Namespace(), "model": {}, "iter": 1}
    payload[place] = hostile(flag)[name]
    torch.save(payload, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="evil.pt: refused, it contains .* could run code"):
        load_talker(tmp_path / "evil.pt")
    assert not flag.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_bare_pickle_is_not_run(tmp_path, protocol):
    flag = tmp_path / "executed"
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Calls(os.mknod, str(flag)), protocol))
    with pytest.raises(UserError, match="evil.pt"):
        load_talker(tmp_path / "evil.pt")
    assert not flag.exists()


def test_namespace_state_cannot_reach_code(tmp_path):
    """Attributes of the Namespace are data only: a property of that name on some class is never called."""
    args = Namespace(n_motions=100)
    vars(args)["__class__"] = "x"
    torch.save({"args": args, "encoder": {}, "iter": 1}, tmp_path / "odd.pt")
    with pytest.raises(UserError, match="odd.pt"):
        load_style_encoder(tmp_path / "odd.pt")
