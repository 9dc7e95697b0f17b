import subprocess
import sys
import time

import numpy as np
import pytest

from datasets.clip_store import ClipStore
from datasets.splits import generate_split, group_by_person, n_eval_persons, person_of, read_list, write_list
from datasets.statistics import crop_moments, random_crop_stats
from scripts_for_dataset import calc_stats_random_sample, generate_split_file
from tests.support.small_store import LEGACY, clip_content, write_store
from utils.coefs import DIMS, CoefStats
from utils.errors import UserError


def test_list_files(tmp_path):
    clips = ["TH_00001/000", "é b/001"]
    write_list(tmp_path / "a.txt", clips)
    assert read_list(tmp_path / "a.txt") == clips
    assert read_list(LEGACY / "train.txt")[2:] == ["WRA_Speaker/007", "RD_Radio1/012"]
    (tmp_path / "b.txt").write_bytes(b"a/0\r\n\n  b/0 \n")
    assert read_list(tmp_path / "b.txt") == ["a/0", "b/0"]


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"", "empty"), (b"\n \n", "empty"), (b"a/0\nnoslash\n", "line 2"), (b"a/0\nb/\n", "line 2"), (b"/0\n", "line 1")]
    + [(b"a/0\n\na/0\n", "line 3 repeats a/0"), (b"\xff\xfe\x00", "not text")]
    + [
        (b"a/0\n../b\n", "line 2"),
        (b"a/../../etc/0\n", "line 1"),
        (b"/etc/passwd\n", "line 1"),
        (b"a/\x070\n", "line 1"),
    ],
)
def test_bad_list_files_are_named(tmp_path, content, match):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"list\.txt.*{match}"):
        read_list(path)
    with pytest.raises(UserError, match="missing.txt"):
        read_list(tmp_path / "missing.txt")


def test_persons_come_in_order_of_first_appearance():
    assert person_of("a/b/000") == "a/b"
    assert group_by_person(["b/1", "a/0", "b/0"]) == {"b": ["b/1", "b/0"], "a": ["a/0"]}


@pytest.mark.parametrize(("persons", "n_eval"), [(588, 64), (5000, 64), (100, 11), (40, 4), (9, 1), (3, 1)])
def test_sizes_of_the_split(persons, n_eval):
    assert n_eval_persons(persons) == n_eval
    clips = [f"p{i}/{j:03d}" for i in range(persons) for j in range(1 + i % 3)]
    split = generate_split(clips, seed=1)
    people = {name: set(group_by_person(part)) for name, part in split.items()}
    assert [len(people[name]) for name in ("train", "val", "test")] == [persons - 2 * n_eval, n_eval, n_eval]
    assert not people["train"] & people["val"] and not people["val"] & people["test"]
    assert not people["train"] & people["test"]
    assert sorted(sum(split.values(), [])) == sorted(clips)


def test_the_split_depends_on_the_set_and_the_seed_alone():
    clips = [f"p{i}/000" for i in range(30)]
    assert generate_split(clips, 3) == generate_split(clips[::-1], 3) != generate_split(clips, 4)
    assert len(generate_split(clips, 3, n_eval=7)["test"]) == 7


def test_the_split_of_many_persons_takes_as_long_as_their_number():
    """60,000 persons: 0.1 s; 12 s when the list of them was made anew for each."""
    start = time.process_time()
    assert len(generate_split([f"p{k}/0" for k in range(60_000)])["train"]) == 60_000 - 2 * 64
    assert time.process_time() - start < 3


@pytest.mark.parametrize(("persons", "n_eval"), [(0, None), (2, None), (6, 3), (6, 0)])
def test_too_few_persons(persons, n_eval):
    with pytest.raises(UserError, match="persons are too few"):
        generate_split([f"p{i}/0" for i in range(persons)], n_eval=n_eval)


def test_split_script(tmp_path):
    store = write_store(tmp_path / "s", {f"p{i}/000": 2 for i in range(10)})
    generate_split_file.main(["--data_root", str(store)])
    parts = [read_list(store / f"{name}.txt") for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [8, 1, 1]
    generate_split_file.main(["--data_root", str(store)])  # the same again: nothing to do
    generate_split_file.main(["--data_root", str(store), "--seed", "5", "--overwrite", "--dry_run"])
    assert [read_list(store / f"{name}.txt") for name in ("train", "val", "test")] == parts
    with pytest.raises(SystemExit) as caught:
        generate_split_file.main(["--data_root", str(store), "--seed", "5"])
    assert caught.value.code == 2
    generate_split_file.main(["--data_root", str(store), "--overwrite", "--seed", "5"])
    assert [read_list(store / f"{name}.txt") for name in ("train", "val", "test")] != parts


def test_moments_equal_the_plain_computation():
    values = np.random.default_rng(0).standard_normal((57, 4)).astype(np.float32) * 1e-3 + [0, 1, 1000, 5]
    values[:, 3] = 5.25
    starts = np.array([0, 47, 13, 13])
    mean, std = crop_moments(values, starts, 10)
    for i, start in enumerate(starts):
        np.testing.assert_allclose(mean[i], values[start : start + 10].mean(0), rtol=1e-9)
        np.testing.assert_allclose(std[i], values[start : start + 10].std(0), rtol=1e-6)
    assert (std[:, 3] == 0).all()


def test_statistics_average_over_every_crop(tmp_path):
    store = ClipStore(write_store(tmp_path / "s", {"a/0": 30, "a/1": 31, "b/0": 29}, seg_len=20))
    stats = random_crop_stats(store, store.clips(), n_frames=30, n_rounds=200, seed=1)
    # a/0 has one possible crop, a/1 two, b/0 none; each clip has the same weight
    first, second = clip_content(30, 0)[1], clip_content(31, 1)[1]
    for name in DIMS:
        mean = np.mean([first[name].mean(0), (second[name][:30].mean(0) + second[name][1:].mean(0)) / 2], axis=0)
        std = np.mean([first[name].std(0), (second[name][:30].std(0) + second[name][1:].std(0)) / 2], axis=0)
        np.testing.assert_allclose(getattr(stats, f"{name}_mean"), mean, atol=0.05)
        np.testing.assert_allclose(getattr(stats, f"{name}_std"), std, atol=0.02)
    assert (stats.shape_std == 0).all()
    assert stats.exp_std[0] == pytest.approx(np.arange(30).std())
    again = random_crop_stats(store, store.clips(), n_frames=30, n_rounds=200, seed=1)
    assert all((stats.to_dict()[key] == again.to_dict()[key]).all() for key in CoefStats.names())
    with pytest.raises(UserError, match="none of 3 clips"):
        random_crop_stats(store, store.clips(), n_frames=32)


def test_statistics_script(tmp_path):
    store = write_store(tmp_path / "s", {"a/0": 120, "b/0": 130})
    with pytest.raises(SystemExit):
        calc_stats_random_sample.main(["--data_root", str(store)])  # no train.txt yet
    write_list(store / "train.txt", ["a/0"])
    calc_stats_random_sample.main(["--data_root", str(store), "--rounds", "3"])
    stats = CoefStats.load(store / "stats_train.npz")
    expected = random_crop_stats(ClipStore(store), ["a/0"], n_rounds=3)
    assert all((stats.to_dict()[key] == expected.to_dict()[key]).all() for key in CoefStats.names())
    words = f"--data_root {store} --list {store}/keys.txt -o {tmp_path}/x.npz --n_motions 9"
    calc_stats_random_sample.main(words.split())
    assert CoefStats.load(tmp_path / "x.npz").exp_std[0] == pytest.approx(np.arange(9).std(), rel=1e-5)
    with pytest.raises(SystemExit):
        calc_stats_random_sample.main(["--data_root", str(store), "--rounds", "0"])


def test_data_sets_import_nothing_heavy():
    code = (
        "import sys; import datasets.motion_pairs, datasets.style_pairs, datasets.statistics; "
        "print(sorted({'lmdb', 'soundfile', 'av', 'soxr', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=LEGACY.parents[2]
    )
    assert run.stdout.strip() == "[]"
