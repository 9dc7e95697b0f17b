"""Checkpoint files: ours round trip, published ones of every age, and files that are wrong."""

import pickle
import zipfile
from argparse import Namespace

import pytest
import torch

from models.networks.loading import checkpoint_of, load_style_encoder, load_talker
from models.networks.style_encoder import StyleEncoder, StyleEncoderConfig
from tests.support.golden_weights import array, legacy_checkpoint
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.runs.checkpoint import Checkpoint, load_checkpoint


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    for case in ("se_head", "dpt_head", "dpt_nostyle"):
        legacy_checkpoint(case, folder / f"{case}.pt")
    return folder


@pytest.fixture
def style_encoder():
    torch.manual_seed(0)
    return StyleEncoder(StyleEncoderConfig(feature_dim=16, n_heads=2, n_layers=1)).eval()


def random_stats() -> CoefStats:
    values = {
        name: 1 + array(f"checkpoint:{name}", (len(getattr(CoefStats.identity(), name)),)) for name in CoefStats.names()
    }
    return CoefStats.from_dict(values)


def changed(path, target, change):
    """Copy of a published file with `change(payload)` applied."""
    payload = torch.load(path, weights_only=False)
    change(payload)
    torch.save(payload, target)
    return target


# Our own format


def test_style_encoder_round_trip(style_encoder, tmp_path):
    stats = random_stats()
    training = {
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999)}]}
    }
    checkpoint_of(style_encoder, stats, 12, training).save(tmp_path / "se.pt")
    loaded, checkpoint = load_style_encoder(tmp_path / "se.pt")
    assert (checkpoint.step, checkpoint.published, loaded.config) == (12, False, style_encoder.config)
    assert checkpoint.training["optimizer"]["param_groups"] == training["optimizer"]["param_groups"]
    for name in CoefStats.names():
        assert torch.equal(getattr(checkpoint.stats, name), getattr(stats, name))
    motion = torch.from_numpy(array("checkpoint:motion", (2, 100, 54)))
    with torch.no_grad():
        assert torch.equal(loaded(motion), style_encoder(motion))
    assert not loaded.training


def test_published_talker_saved_in_our_format_gives_the_same(published, tmp_path):
    """The audio encoder's sizes travel along, so nothing has to be downloaded or guessed."""
    model, _ = load_talker(published / "dpt_head.pt")
    checkpoint_of(model, random_stats(), 5).save(tmp_path / "ours.pt")
    again, checkpoint = load_talker(tmp_path / "ours.pt")
    assert again.config == model.config
    assert checkpoint.audio_config["hidden_size"] == model.audio_encoder.hidden_size
    audio = torch.from_numpy(array("checkpoint:audio", (1, 64000)))
    with torch.no_grad():
        assert torch.equal(again.encode_audio(audio, 100), model.encode_audio(audio, 100))


def test_half_precision_is_widened(style_encoder, tmp_path):
    checkpoint = checkpoint_of(style_encoder, CoefStats.identity(), 1)
    checkpoint.model = {name: value.half() for name, value in checkpoint.model.items()}
    checkpoint.save(tmp_path / "half.pt")
    loaded, _ = load_style_encoder(tmp_path / "half.pt")
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, style_encoder.state_dict()[name].half().float())


def test_a_failed_save_leaves_the_old_file(style_encoder, tmp_path):
    path = tmp_path / "se.pt"
    checkpoint_of(style_encoder, CoefStats.identity(), 1).save(path)
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        Checkpoint("style_encoder", {"bad": lambda: None}, {}, 2).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["se.pt"]


# Published files


def test_published_talker(published):
    model, checkpoint = load_talker(published / "dpt_head.pt")
    assert checkpoint.published
    assert checkpoint.stats is None
    assert checkpoint.step == 110000
    assert model.config.style_enc_ckpt == "experiments/SE/head-L4H4-T0.1-BS32/checkpoints/iter_0026000.pt"
    assert model.config.use_indicator
    assert model.config.positional_encoding == "sequence_length_row"


OLD_NAMES = [
    ("use_alignment_mask", True, "align_mask_width", 1),
    ("use_alignment_mask", False, "align_mask_width", 0),
    ("predict_head_pose", True, "no_head_pose", False),
    ("use_learnable_pe", True, "no_use_learnable_pe", False),
]


@pytest.mark.parametrize("old,value,new,expected", OLD_NAMES)
def test_older_argument_names(published, tmp_path, old, value, new, expected):
    def rename(payload):
        delattr(payload["args"], new)
        setattr(payload["args"], old, value)

    model, _ = load_talker(changed(published / "dpt_head.pt", tmp_path / "old.pt", rename))
    assert getattr(model.config, new) == expected


def test_missing_arguments_take_the_defaults(published, tmp_path):
    def forget(payload):
        for name in ("cfg_mode", "pad_mode", "align_mask_width", "no_use_learnable_pe", "fps", "target", "d_style"):
            delattr(payload["args"], name)

    old, _ = load_talker(changed(published / "dpt_head.pt", tmp_path / "old.pt", forget))
    assert old.config == load_talker(published / "dpt_head.pt")[0].config


def test_arguments_as_a_plain_dict(published, tmp_path):
    path = changed(published / "dpt_head.pt", tmp_path / "dict.pt", lambda p: p.update(args=vars(p["args"])))
    assert load_talker(path)[0].config == load_talker(published / "dpt_head.pt")[0].config


def test_both_weight_norm_spellings(published, tmp_path):
    def respell(payload):
        for key in list(payload["model"]):
            new = key.replace("parametrizations.weight.original0", "weight_g")
            new = new.replace("parametrizations.weight.original1", "weight_v")
            payload["model"][new] = payload["model"].pop(key)

    path = changed(published / "dpt_head.pt", tmp_path / "spelling.pt", respell)
    old_names = torch.load(path, weights_only=False)["model"]
    assert sum(name.endswith(("weight_g", "weight_v")) for name in old_names) == 2
    a, b = load_talker(path)[0].state_dict(), load_talker(published / "dpt_head.pt")[0].state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_buffers_of_other_lengths_are_rebuilt(published, tmp_path):
    def add(payload):
        payload["model"]["denoising_net.TE.pe"] = torch.zeros(1, 9000, 128)
        payload["model"]["denoising_net.alignment_mask"] = torch.zeros(3, 3, dtype=torch.bool)
        payload["model"]["diffusion_sched.betas"] = torch.zeros(7)

    assert load_talker(changed(published / "dpt_head.pt", tmp_path / "buffers.pt", add))[1].published


@pytest.mark.parametrize("name", ["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"])
def test_paths_of_any_platform(published, tmp_path, name):
    """A path pickled on Windows names a class that cannot be made here; it is read as a pure path."""
    text = (
        r"experiments\SE\x\checkpoints\iter_0000001.pt"
        if "Windows" in name
        else "experiments/SE/x/checkpoints/iter_0000001.pt"
    )
    payload = torch.load(published / "se_head.pt", weights_only=False)
    payload["args"] = Namespace(no_head_pose=False, data_root=Reduced(name, (text,)))
    torch.save(payload, tmp_path / "paths.pt", pickle_module=PathPickle)
    assert f"pathlib\n{name}".encode() in read_pickle(tmp_path / "paths.pt")
    assert load_style_encoder(tmp_path / "paths.pt")[1].step == 26000


class Reduced:
    """Pickled as `pathlib.<name>(*args)`, whatever the platform."""

    def __init__(self, name, args):
        self.name, self.args = name, args


class PathPickle:
    """A stand-in for the pickle module that writes `Reduced`."""

    class Pickler(pickle._Pickler):
        def save(self, obj, save_persistent_id=True):
            if not isinstance(obj, Reduced):
                return super().save(obj, save_persistent_id)
            self.write(b"cpathlib\n" + obj.name.encode() + b"\n")
            super().save(obj.args)
            return self.write(pickle.REDUCE)

    dump, dumps, load, loads = pickle.dump, pickle.dumps, pickle.load, pickle.loads
    Unpickler = pickle.Unpickler


def read_pickle(path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


@pytest.mark.parametrize("name,value", [("architecture", "encoder"), ("rot_repr", "6d")])
def test_choices_this_project_does_not_have(published, tmp_path, name, value):
    path = changed(published / "dpt_head.pt", tmp_path / "other.pt", lambda p: setattr(p["args"], name, value))
    with pytest.raises(UserError, match=f"{name} '{value}' is not supported"):
        load_talker(path)


# Wrong and damaged; see test_hostile_checkpoints.py, too


def test_wrong_kind(published):
    with pytest.raises(UserError, match="holds a style encoder .* but a denoising network"):
        load_talker(published / "se_head.pt")
    with pytest.raises(UserError, match="holds a denoising network .* but a style encoder"):
        load_style_encoder(published / "dpt_head.pt")


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "nosuch.pt", "talker")
    with pytest.raises(UserError, match="no such checkpoint"):
        load_checkpoint(tmp_path, "talker")


@pytest.mark.parametrize("keep", [0, 1, 4, 1000, 0.5, 0.99])
def test_truncated_file(published, tmp_path, keep):
    content = (published / "dpt_head.pt").read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(UserError, match="cut.pt"):
        load_talker(path)


def test_weights_of_other_sizes(published, tmp_path):
    path = changed(published / "se_head.pt", tmp_path / "other.pt", lambda p: setattr(p["args"], "feature_dim", 64))
    with pytest.raises(UserError, match="do not fit"):
        load_style_encoder(path)


def test_unknown_configuration_of_our_format(style_encoder, tmp_path):
    checkpoint = checkpoint_of(style_encoder, CoefStats.identity(), 1)
    checkpoint.config["from_the_future"] = 1
    checkpoint.save(tmp_path / "new.pt")
    with pytest.raises(UserError, match="another version"):
        load_style_encoder(tmp_path / "new.pt")
