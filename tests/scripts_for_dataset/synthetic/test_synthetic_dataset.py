"""The data set generator on a tiny corpus of tones, and the parts it is made of."""

import json

import numpy as np
import pytest
import soundfile

from datasets.clip_store import ClipStore
from datasets.splits import read_list
from scripts_for_dataset import make_style_clips, make_synthetic_dataset
from scripts_for_dataset.synthetic import plan
from scripts_for_dataset.synthetic.augment import AugmentConfig, augment, resample_speech
from scripts_for_dataset.synthetic.clips import join_sentences
from scripts_for_dataset.synthetic.corpus import load_sentence, read_rows, tidy_phones
from scripts_for_dataset.synthetic.identity import close_factors, sample_shape
from scripts_for_dataset.synthetic.statistics import widen
from scripts_for_dataset.synthetic.style import named_style
from utils.coefs import CoefStats
from utils.config import read_flags
from utils.errors import UserError

VOICES = ("flite-rms", "kokoro-am_liam", "hibari-heart")  # the second one is held out
WORDS = (("m", "aa"), ("s", "iy"), ("b", "ow"), ("t", "eh"), ("f", "uw"))


def sentence(rng):
    """About 3 s: 0.3 s of silence, 10 syllables of 0.1 + 0.14 s, 0.3 s of silence; vowels buzz, consonants hiss."""
    phones, pieces, now = [("sil", 0.0, 0.3)], [np.zeros(4800)], 0.3
    for _ in range(10):
        consonant, vowel = WORDS[rng.integers(len(WORDS))]
        phones += [(consonant, now, now + 0.1), (vowel, now + 0.1, now + 0.24)]
        time = np.arange(2240) / 16000
        pieces += [0.01 * rng.standard_normal(1600), 0.3 * np.sign(np.sin(2 * np.pi * rng.uniform(100, 160) * time))]
        now += 0.24
    phones.append(("sil", now, now + 0.3))
    return np.concatenate([*pieces, np.zeros(4800)]), [[p, round(a, 4), round(b, 4)] for p, a, b in phones]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for voice in VOICES:
        (folder / voice).mkdir()
        for part in range(2):
            audio, rows, start = [], [], 0
            for k in range(12):
                samples, phones = sentence(rng)
                split = "held" if part == 1 and k >= 6 else "train"
                rows.append(
                    {"text": f"{k}", "split": split, "start": start, "n_samples": len(samples), "phones": phones}
                )
                audio.append(samples)
                start += len(samples)
            soundfile.write(
                folder / voice / f"part_{part:03d}.opus", np.concatenate(audio), 16000, "OPUS", format="OGG"
            )
            table = folder / voice / f"part_{part:03d}.jsonl"
            table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def build(corpus, output, *flags):
    words = ["--speech", str(corpus), "--output", str(output), "--hours", "0.025", "--workers", "1", *flags]
    make_synthetic_dataset.build(read_flags(make_synthetic_dataset.DatasetFlags, words, ""))
    return ClipStore(output)


@pytest.fixture(scope="module")
def dataset(corpus, tmp_path_factory):
    output = tmp_path_factory.mktemp("data") / "set"
    return build(corpus, output), output


def test_data_set_is_complete_and_readable(dataset):
    store, folder = dataset
    lists = {split: read_list(folder / f"{split}.txt") for split in ("train", "val", "test")}
    assert sorted(sum(lists.values(), [])) == sorted(store.clips()) == sorted(read_list(folder / "keys.txt"))
    assert not {c.split("/")[0] for c in lists["train"]} & {c.split("/")[0] for c in lists["val"] + lists["test"]}
    for clip in store.clips():
        n = store.n_frames(clip)
        frames = store.read_frames(clip, 0, n)
        assert 225 <= n <= 800 and frames.audio.shape == (640 * n,)
        assert np.abs(frames.audio).max() > 0.03
        exp, pose = frames.coefs["exp"], frames.coefs["pose"]
        assert exp.min() >= 0 and exp.max() <= 1 and np.isfinite(pose).all()
        assert (pose[:, 3] >= 0).all() and (pose[:, 4:] == 0).all() and pose[:, 3].max() > 0.03
        assert np.ptp(frames.coefs["shape"], axis=0).max() == 0
    CoefStats.load(folder / "stats_train.npz")
    assert set(json.loads((folder / "speakers.json").read_text())) == {c.split("/")[0] for c in store.clips()}


def test_same_seed_same_data_whatever_the_workers(corpus, dataset, tmp_path):
    store, folder = dataset
    again = build(corpus, tmp_path / "set", "--workers", "2")
    assert store.clips() == again.clips()
    for clip in store.clips():
        a, b = (s.read_frames(clip, 0, s.n_frames(clip)) for s in (store, again))
        np.testing.assert_array_equal(a.audio, b.audio)
        for name in a.coefs:
            np.testing.assert_array_equal(a.coefs[name], b.coefs[name])
    assert (folder / "train.txt").read_text() == (tmp_path / "set" / "train.txt").read_text()


def test_parts_make_the_same(corpus, dataset, tmp_path):
    store, folder = dataset
    for more in (["--shard", "1/2"], ["--shard", "0/2"], []):
        words = ["--speech", str(corpus), "--output", str(tmp_path), "--hours", "0.025", "--workers", "1", *more]
        make_synthetic_dataset.build(read_flags(make_synthetic_dataset.DatasetFlags, words, ""))
        assert (tmp_path / ".shards").exists() == bool(more)
    assert [store.values(clip) for clip in store.clips()] == [ClipStore(tmp_path).values(c) for c in store.clips()]
    for name in ("train.txt", "val.txt", "test.txt", "speakers.json", "phones.jsonl", "stats_train.npz", "plan.json"):
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


def test_running_again_changes_nothing_and_other_settings_are_refused(corpus, dataset):
    store, folder = dataset
    before = store.clips()
    assert build(corpus, folder).clips() == before
    with pytest.raises(UserError, match="choose another folder"):
        build(corpus, folder, "--seed", "5")


def test_held_voices_and_sentences_are_only_in_test(corpus):
    speakers = plan.plan_speakers(read_rows(corpus), 0.05, 0)
    seen = {"train": set(), "val": set(), "test": set()}
    for speaker in speakers:
        for row in (row for clip in speaker.clips for row in clip):
            seen[speaker.split].add((row.part, row.start))
            assert speaker.split == "test" or not (row.held or row.voice == "kokoro-am_liam")
            assert speaker.split != "test" or row.held or row.voice == "kokoro-am_liam"
    assert all(seen.values())
    assert len({s.name for s in speakers}) == len(speakers)


def test_no_two_speakers_are_the_same_person(corpus):
    speakers = plan.plan_speakers(read_rows(corpus), 0.2, 0)
    styles = [speaker.style for speaker in speakers]
    assert len(set(styles)) == len(styles) > 20
    assert all(len(speaker.clips) == 1 for speaker in speakers if speaker.split != "test")
    labels = [speaker.name.split(".")[1] for speaker in speakers if speaker.split == "test"]
    named = [label for label in labels if label != "random"]
    assert named and len(set(named)) == len(named)
    for speaker in speakers:
        label = speaker.name.split(".")[1]
        if speaker.split == "test" and label != "random":
            assert speaker.style == named_style(label)


def test_more_hours_than_speech_repeat_it_with_other_styles(corpus):
    few = [s for s in plan.plan_speakers(read_rows(corpus), 0.02, 0) if s.split != "test"]
    many = [s for s in plan.plan_speakers(read_rows(corpus), 0.2, 0) if s.split != "test"]
    assert len(many) > 3 * len(few)
    assert len({s.style for s in many}) > 5


def test_joined_sentences_cover_the_audio_without_gaps(corpus):
    rows = read_rows(corpus)["flite-rms"][:4]
    speech = join_sentences(tuple(rows), np.random.default_rng(0))
    ends = [end for _, _, end in speech.phones]
    assert [start for _, start, _ in speech.phones][1:] == pytest.approx(ends[:-1])
    assert ends[-1] == pytest.approx(len(speech.audio) / 16000)
    level = [np.abs(speech.audio[int(a * 16000) : int(b * 16000)]).mean() for p, a, b in speech.phones if p == "aa"]
    assert min(level) > 0.02  # vowels are where the labels say


@pytest.mark.parametrize("factor", [0.87, 1.15])
def test_resampling_scales_phones_with_the_audio(factor):
    audio = np.zeros(32000, np.float32)
    audio[16000:24000] = 0.3 * np.sin(2 * np.pi * 150 * np.arange(8000) / 16000)
    changed, phones = resample_speech(audio, [("sil", 0, 1), ("aa", 1, 1.5), ("sil", 1.5, 2)], factor)
    loud = np.flatnonzero(np.abs(changed) > 0.05) / 16000
    assert loud[0] == pytest.approx(phones[1][1], abs=0.002)
    assert loud[-1] == pytest.approx(phones[1][2], abs=0.002)
    spectrum = np.abs(np.fft.rfft(changed[int(loud[0] * 16000) :][:4000], 16000))
    assert spectrum.argmax() == pytest.approx(150 * factor, abs=3)


def test_augmentation_never_delays():
    rng = np.random.default_rng(0)
    clicks = np.zeros(48000, np.float32)
    clicks[4000::4000] = 1
    speech = np.convolve(clicks, rng.standard_normal(400) * np.exp(-np.arange(400) / 80))[:48000].astype(np.float32)
    always = AugmentConfig(room=1, band=1, noise=1, clip=1)
    for seed in range(8):
        changed = augment(speech, always, np.random.default_rng(seed))
        assert changed.shape == speech.shape and changed.dtype == np.float32 and np.abs(changed).max() <= 1
        correlation = np.fft.irfft(np.fft.rfft(changed, 98304) * np.conj(np.fft.rfft(speech, 98304)))
        lag = int(correlation.argmax())
        assert min(lag, 98304 - lag) <= 2
    np.testing.assert_array_equal(
        augment(speech, always, np.random.default_rng(1)), augment(speech, always, np.random.default_rng(1))
    )


def test_lips_close_on_every_identity():
    import torch

    from models.heads.flame import Flame
    from models.heads.mouth import mouth_opening
    from scripts_for_dataset.synthetic.arkit import unit
    from utils.heads.head_file import load_head_file
    from utils.heads.joints import JAW_OPEN_RADIANS

    flame = Flame(load_head_file())
    shapes = np.stack([sample_shape(np.random.default_rng(k)) for k in range(6)])
    factors = close_factors(flame, shapes)
    for jaw in (0.1, 0.25, 0.45):
        exp, pose = torch.zeros(6, 50), torch.zeros(6, 6)
        exp[:, unit("mouthClose")] = torch.from_numpy(factors) * jaw
        pose[:, 3] = jaw * JAW_OPEN_RADIANS
        opening = mouth_opening(flame(torch.from_numpy(shapes), exp, pose, global_rotation=False), flame.head)
        assert opening.abs().max() < 1e-3  # metres


def test_drawn_out_last_phones_end_with_the_sound():
    audio = np.zeros(32000, np.float32)
    audio[8000:16000] = 0.3 * np.sin(np.arange(8000) / 20)
    phones = tidy_phones("kokoro-af_bella", audio, [("sil", 0, 0.5), ("aa", 0.5, 1.8), ("sil", 1.8, 2.0)])
    assert [p for p, _, _ in phones] == ["sil", "aa", "sil"]
    assert phones[1][1] == pytest.approx(0.49)
    assert 1.0 < phones[1][2] < 1.06 and phones[2][2] == 2.0


def test_statistics_keep_rare_values_in_reach():
    rng = np.random.default_rng(0)
    blink = (rng.random((4000, 50)) < 0.03).astype(np.float32)
    clips = [{"exp": blink, "pose": np.zeros((4000, 6), np.float32)}]
    narrow = {
        f"{k}_{s}": np.full(n, 0.03, np.float32)
        for k, n in (("shape", 100), ("exp", 50), ("pose", 6))
        for s in ("mean", "std")
    }
    narrow["shape_std"][:] = 1e-7
    wide = widen(narrow, clips)
    assert np.all((1 - wide["exp_mean"]) / wide["exp_std"] <= 3.6)
    np.testing.assert_allclose(wide["pose_std"], 0.03, rtol=1e-6)
    assert np.all(wide["shape_std"] == 0)


def style_flags(*words):
    return read_flags(make_style_clips.StyleClipsFlags, list(words), "")


def test_style_clips_and_identities(corpus, tmp_path):
    args = style_flags("--speech", str(corpus), "--output", str(tmp_path), "--seconds", "8")
    make_style_clips.write_clips(args)
    with np.load(tmp_path / "motion" / "smile.npz") as clip:
        n = len(clip["exp"])
        assert (
            n >= 200
            and clip["exp"].shape == (n, 50)
            and clip["pose"].shape == (n, 6)
            and clip["shape"].shape == (n, 100)
        )
    faces = [np.load(path) for path in sorted((tmp_path / "coef").glob("*.npy"))]
    assert len(faces) == len(make_style_clips.IDENTITIES) and all(f.shape == (100,) for f in faces)


def test_mistakes_are_named(corpus, tmp_path):
    with pytest.raises(UserError, match="--speech.*make_synthetic_speech"):
        build(tmp_path / "nowhere", tmp_path / "set")
    assert not (tmp_path / "set").exists()
    (tmp_path / "flite-x").mkdir()
    (tmp_path / "flite-x" / "part_000.jsonl").write_text('{"text": "no phones"}\n')
    with pytest.raises(UserError, match="missing beside"):
        read_rows(tmp_path)
    (tmp_path / "flite-x" / "part_000.opus").write_bytes(b"not audio")
    with pytest.raises(UserError, match="part_000.jsonl:1.*not a sentence row"):
        read_rows(tmp_path)
    row = {"start": 0, "n_samples": 10, "split": "train", "phones": [["sil", 0, 1]]}
    (tmp_path / "flite-x" / "part_000.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match="unreadable audio"):
        load_sentence(read_rows(tmp_path)["flite-x"][0])
    args = style_flags("--speech", str(corpus), "--voice", "nobody", "--output", str(tmp_path))
    with pytest.raises(UserError, match="--voice nobody"):
        make_style_clips.write_clips(args)
