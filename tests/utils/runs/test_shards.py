"""Parts of shared work: who does which, what they record, and what is refused when they are merged."""

import pytest

from utils.errors import UserError
from utils.runs.shards import Shard, ShardFlags, SharedWork, WorkFlags, launched


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "0/1"),
        ({"RANK": "5", "WORLD_SIZE": "32", "SLURM_PROCID": "1", "SLURM_NTASKS": "4"}, "5/32"),  # torchrun inside srun
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, "3/4"),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}, "3/4"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "77"}, "0/1"),  # the batch script itself
        ({"JOB_COMPLETION_INDEX": "2", "WORLD_SIZE": "3"}, "2/3"),
        ({"ARRAY": "1 1 8 8"}, "0/8"),
        ({"ARRAY": "7 1 7 3"}, "2/3"),  # --array=1-7:3
        ({"ARRAY": "2 0 3 4", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, "5/8"),
        ({"ARRAY": "2 0 3 4", "RANK": "1", "WORLD_SIZE": "2"}, "5/8"),
    ],
)
def test_launchers(variables, expected):
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
    array = dict(zip(names, variables.pop("ARRAY", "").split()))
    assert str(launched(variables | array)) == expected


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "0"},
        {"RANK": "4", "WORLD_SIZE": "4"},
        {"JOB_COMPLETION_INDEX": "0"},
        {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "8",
         "SLURM_ARRAY_TASK_COUNT": "3"},
    ],
)  # fmt: skip
def test_contradictions_are_refused(variables):
    with pytest.raises(UserError, match="WORLD_SIZE|numbered from 0|evenly"):
        launched(variables)


def test_every_item_belongs_to_one_part(monkeypatch):
    items = [str(k) for k in range(11)]
    parts = [Shard(i, 4).of(items) for i in range(4)]
    assert sorted(sum(parts, []), key=int) == items and {len(part) for part in parts} == {2, 3}
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert WorkFlags().part() == Shard(1, 2) and WorkFlags(shard="0/1").part() is None
    for wrong in ("3", "1/0", "4/4", "-1/4", "a/b"):
        with pytest.raises(UserError, match="shard|numbered"):
            WorkFlags(shard=wrong).check()


def make(tmp_path, items="abcd", **settings):
    return SharedWork(tmp_path, list(items), settings)


def test_parts_are_done_once_and_merged(tmp_path):
    calls = []

    def do(folder):
        calls.append(folder.name)
        return {"made in": folder.name}

    work = make(tmp_path)
    assert work.finished() == []
    for index in (1, 0, 1):
        work.do_part(Shard(index, 2), do)
    assert calls == ["1-of-2", "0-of-2"]
    assert [part.results["made in"] for part in work.finished()] == ["0-of-2", "1-of-2"]
    work.remove()
    work.remove()
    assert work.finished() == [] and list(tmp_path.iterdir()) == []


def test_a_users_folder_of_that_name_stays(tmp_path):
    theirs = tmp_path / "shards" / "a.mp4"
    theirs.parent.mkdir()
    theirs.write_bytes(b"theirs")
    work = make(tmp_path)
    assert work.finished() == []
    work.remove()
    work.do_part(Shard(0, 2), lambda _: 0)
    work.remove()
    assert theirs.read_bytes() == b"theirs"


def test_a_launchers_variables_matter_only_where_work_is_shared(monkeypatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")  # without WORLD_SIZE
    ShardFlags().check()
    with pytest.raises(UserError, match="WORLD_SIZE="):
        ShardFlags().part()


def test_what_does_not_belong_together_is_refused(tmp_path):
    def fail(_):
        raise UserError("the disk is full")

    work = make(tmp_path, smooth=True)
    work.do_part(Shard(0, 2), lambda _: 0)
    with pytest.raises(UserError, match=r"1-of-2: this part is missing; give the same command with --shard 1/2"):
        work.finished()
    with pytest.raises(UserError, match="disk is full"):
        work.do_part(Shard(1, 2), fail)
    with pytest.raises(UserError, match=r"1-of-2: this part did not end \(it ran on .*--shard 1/2"):
        work.finished()
    with pytest.raises(UserError, match=r"0-of-2: this part was made of other --smooth"):
        make(tmp_path, smooth=False).finished()
    with pytest.raises(UserError, match=r"0-of-2: this part was made of other items"):
        make(tmp_path, "abc", smooth=True).do_part(Shard(0, 2), lambda _: 0)
    with pytest.raises(UserError, match=r"parts of 2 and of 3, which overlap"):
        work.do_part(Shard(0, 3), lambda _: 0)
    work.do_part(Shard(1, 2), lambda _: 1)
    assert [part.results for part in work.finished()] == [0, 1]


def test_a_part_has_one_worker(tmp_path):
    work = make(tmp_path)

    def again(_):
        with pytest.raises(UserError, match="another process is working on it"):
            work.do_part(Shard(0, 2), lambda _: 0)

    work.do_part(Shard(0, 2), again)
