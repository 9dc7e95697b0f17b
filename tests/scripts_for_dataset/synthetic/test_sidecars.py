"""Phone times and second takes beside a synthetic data set."""

import json

import numpy as np
import pytest
import soundfile

from datasets.clip_store import ClipStore
from datasets.splits import read_list
from datasets.spoken_clips import second_take
from scripts_for_dataset import make_synthetic_dataset
from tests.scripts_for_dataset.synthetic.test_synthetic_dataset import sentence
from utils.config import read_flags
from utils.motion_file import load_motion
from utils.speech import read_phones


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A data set of two voices, one of them held out: (folder, how to build it again with more flags)."""
    root = tmp_path_factory.mktemp("sidecars")
    rng = np.random.default_rng(0)
    for voice in ("flite-rms", "kokoro-am_liam"):
        (root / "speech" / voice).mkdir(parents=True)
        audio, rows, start = [], [], 0
        for k in range(24):
            samples, phones = sentence(rng)
            rows.append({"text": f"{k}", "split": "train", "start": start, "n_samples": len(samples), "phones": phones})
            audio.append(samples)
            start += len(samples)
        part = root / "speech" / voice / "part_000"
        soundfile.write(part.with_suffix(".opus"), np.concatenate(audio), 16000, "OPUS", format="OGG")
        part.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def build(*flags):
        words = f"--speech {root}/speech --output {root}/set --hours 0.025 --workers 1".split()
        make_synthetic_dataset.build(read_flags(make_synthetic_dataset.DatasetFlags, [*words, *flags], ""))

    build()
    return root / "set", build


def test_phones_of_validation_and_test_clips(built):
    folder, _ = built
    phones, store = read_phones(folder / "phones.jsonl"), ClipStore(folder)
    assert sorted(phones) == sorted(read_list(folder / "val.txt") + read_list(folder / "test.txt"))
    for clip, spoken in phones.items():
        seconds = store.n_frames(clip) / 25
        assert {p.name for p in spoken} >= {"sil", "m", "aa"}
        assert spoken[0].start == pytest.approx(0, abs=0.05) and spoken[-1].end == pytest.approx(seconds, abs=0.1)
        assert all(a.end == pytest.approx(b.start, abs=2e-4) for a, b in zip(spoken, spoken[1:]))


def test_phones_fit_the_motion(built):
    """The jaw is further open in the middle of aa than in that of m, or the times would belong to another clip."""
    folder, _ = built
    store = ClipStore(folder)
    for clip, spoken in read_phones(folder / "phones.jsonl").items():
        jaw = store.read_coefs(clip)["pose"][:, 3]
        at = {name: [jaw[int((p.start + p.end) / 2 * 25)] for p in spoken if p.name == name] for name in ("aa", "m")}
        assert np.mean(at["aa"]) > 1.5 * np.mean(at["m"])


def test_second_takes_on_request(built):
    """Another motion, the same speech: the jaws go together, the heads do not; made again they are the same."""
    folder, build = built
    assert not (folder / "resampled").exists()
    build("--with_resample")
    store, clips = ClipStore(folder), read_list(folder / "test.txt")
    first = {clip: load_motion(second_take(folder, clip)) for clip in clips}
    for clip, take in first.items():
        truth = store.read_coefs(clip)
        assert take.exp.shape == truth["exp"].shape
        np.testing.assert_array_equal(take.shape, truth["shape"][0])
        assert np.corrcoef(take.pose[:, 3], truth["pose"][:, 3])[0, 1] > 0.9
        assert np.abs(take.pose[:, :3] - truth["pose"][:, :3]).max() > 0.005
    second_take(folder, clips[0]).unlink()
    build("--with_resample")
    np.testing.assert_array_equal(load_motion(second_take(folder, clips[0])).exp, first[clips[0]].exp)
