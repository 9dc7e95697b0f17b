"""Grids of settings: which points there are, which are scored, and their table."""

import csv
import json

import pytest

from models.metrics.sweep import score_points, write_sweep
from utils.errors import UserError
from utils.runs.grid import Point, grid_csv, read_points


def test_all_combinations_in_the_order_of_the_file(tmp_path):
    (tmp_path / "s.json").write_text('{"exp_name": "a/b", "steps": [6, 12], "skip_own_style": [true], "dtr": [0.5]}')
    points = read_points(tmp_path / "s.json")
    assert [point.name for point in points] == [
        f"exp_name=a_b,steps={n},skip_own_style=True,dtr=0.5" for n in (6, 12)
    ]  # fmt: skip
    assert points[0].argv == ["--exp_name", "a/b", "--steps", "6", "--skip_own_style", "--dtr", "0.5"]


def test_a_list_of_variants(tmp_path):
    (tmp_path / "s.json").write_text('[{}, {"steps": 6},\n{"seed": [0, 1], "whole": true}]')
    points = read_points(tmp_path / "s.json")
    assert [point.name for point in points] == ["base", "steps=6", "seed=0,whole=True", "seed=1,whole=True"]
    rows = list(
        csv.DictReader(grid_csv(points, ["loss"], [{"loss": 0.5}, {}, {"loss": None}, {"loss": 2}]).splitlines())
    )
    assert [list(row.values()) for row in rows] == [
        ["", "", "", "0.5"], ["6", "", "", ""], ["", "0", "True", ""], ["", "1", "True", "2"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["[]", "[{}]", '[{"steps": 6}, {"steps": 6}]', "7", "[1]", "{", "{}", '{"steps": []}', '{"steps": [6, 6]}',
             '{"steps": [[6]]}', '{"steps": [null]}', '{"a": [false]}', '{"a": ["x", "y%s"]}' % ("z" * 200)],
)  # fmt: skip
def test_what_is_no_grid_is_refused(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(UserError, match="s.json"):
        read_points(tmp_path / "s.json")


def test_points_are_scored_once_and_their_table_has_all_of_them(tmp_path):
    points, scored = [Point({"steps": n}) for n in (1, 2, 3)], []

    def score(point: Point) -> None:
        scored.append(point.name)
        if point.values["steps"] == 3 and len(scored) == 3:
            raise KeyboardInterrupt
        entry = {"mean": 1.5 * point.values["steps"], "std": None, "clips": 4}
        (tmp_path / point.name).mkdir(exist_ok=True)
        (tmp_path / point.name / "metrics.json").write_text(json.dumps({"pooled": {"model": {"lve": entry}}}))

    records = [json.dumps({"steps": n, "seed": 0}) for n in (1, 2, 3)]
    with pytest.raises(KeyboardInterrupt):
        score_points(tmp_path, points, records, score)
    assert not (tmp_path / "sweep.csv").exists()
    score_points(tmp_path, points, records, score)
    table = write_sweep(tmp_path, points)
    assert scored == ["steps=1", "steps=2", "steps=3", "steps=3"]  # the third again, the others not
    assert [line.split()[:2] for line in table.splitlines()] == [
        ["steps", "lve"], ["1", "1.50"], ["2", "3.00"], ["3", "4.50"]
    ]  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert [(row["steps"], row["lve"], row["lve_std"]) for row in rows] == [
        ("1", "1.5", ""), ("2", "3", ""), ("3", "4.5", "")
    ]  # fmt: skip
    with pytest.raises(UserError, match="steps=2: was scored with another seed"):
        score_points(tmp_path, points, [records[0], json.dumps({"steps": 2, "seed": 1}), records[2]], score)
