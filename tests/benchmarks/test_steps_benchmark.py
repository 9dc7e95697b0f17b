"""Quality against the number of steps: points are computed once, and compared with the reference's spread."""

import json
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from benchmarks.figures import steps


def metrics(value: float, std: float = 0.1) -> dict:
    names = ("lve", "jitter", "diversity")
    return {name: {"mean": value, "std": std, "samples": 2, "clips": 3} for name in names}


@pytest.fixture
def calls(monkeypatch):
    """evaluate.py replaced: writes lve = 1 + 10 / steps."""
    seen = []

    def run(command, stdout):
        seen.append(command[command.index("--no_pictures") + 1 :])
        flags = dict(zip(command[2::2], command[3::2]))
        folder, flags = Path(flags["-o"]), dict(zip(seen[-1][::2], seen[-1][1::2]))
        folder.mkdir(parents=True)
        value = 1 + 10 / int(flags.get("--steps", 1e9))
        found = {"settings": {"scored": "tiny/iter_0000001", "data": {"clips": 3}}, "pooled": {"model": metrics(value)}}
        (folder / "metrics.json").write_text(json.dumps(found))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(steps.subprocess, "run", run)
    return seen


def test_points_table_and_plot(calls, tmp_path, capsys):
    arguments = ["--data_root", "data", "-o", str(tmp_path), "--samplers", "ddim", "dpmpp_2m", "--steps", "100", "5"]
    steps.main([*arguments, "--", "--limit", "3"])
    assert calls[0] == ["--sampler", "ddpm", "--limit", "3"]
    assert [" ".join(c) for c in calls[1:]] == [
        f"--sampler {sampler} --steps {n} --limit 3" for sampler in ("ddim", "dpmpp_2m") for n in (5, 100)
    ]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["lve", "jitter", "diversity", "outside"]
    assert printed[2].split() == ["ddim", "5", "3", "3", "3", "3"]
    assert printed[3].split() == ["ddim", "100", "1.1", "1.1", "1.1", "0"]
    content = json.loads((tmp_path / "steps.json").read_text())
    assert content["scored"] == "tiny/iter_0000001"
    assert content["points"]["dpmpp_2m 5"]["lve"]["mean"] == 3
    figure = steps.picture(content["points"])
    assert [axes.get_title("left") for axes in figure.axes] == ["lve", "jitter", "diversity"]
    tops = [(round(axes.get_subplotspec().colspan.start), axes.get_subplotspec().rowspan.start) for axes in figure.axes]
    assert tops == [(0, 0), (1, 0), (2, 0)]
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert len(axes.lines) == 5  # two solvers, the reference and its spread
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ddim", "dpmpp_2m"]
    assert axes.lines[0].get_xydata().tolist() == [[5, 3], [100, 1.1]]
    assert axes.lines[2].get_ydata() == [content["points"]["reference"]["lve"]["mean"]] * 2
    root = ElementTree.fromstring((tmp_path / "steps.svg").read_text())
    assert "lve" in [e.text for e in root.iter() if e.tag.endswith("text")]

    steps.main([*arguments, "--", "--limit", "3"])
    assert len(calls) == 5  # nothing is computed twice

    stale = tmp_path / "ddim_100" / "metrics.json"
    stale.write_text(stale.read_text().replace("iter_0000001", "iter_0000002"))
    with pytest.raises(SystemExit):
        steps.main([*arguments, "--", "--limit", "3"])
    assert "ddim_100: is of ['tiny/iter_0000002'" in capsys.readouterr().err


def test_without_reference(calls, tmp_path):
    steps.main(["--data_root", "data", "-o", str(tmp_path), "--samplers", "ddpm", "--steps", "4", "--no_reference"])
    assert calls == [["--sampler", "ddpm", "--steps", "4"]]
    assert (tmp_path / "steps.svg").is_file()


def test_metrics_without_points_leave_no_panel():
    assert steps.picture({}).axes == []
    figure = steps.picture({"ddim 5": metrics(1.0) | {"ba": metrics(1.0)["lve"]}})
    assert len(figure.axes) == 4 and [len(axes.lines) for axes in figure.axes] == [1] * 4


def test_outside():
    assert steps.outside(metrics(1.0), metrics(1.15)) == []
    assert steps.outside(metrics(1.0), metrics(1.25)) == ["lve", "jitter", "diversity"]
    assert steps.outside(metrics(1.0), metrics(1.25, std=0.0)) == []  # one sample: no spread is known


def test_a_failing_evaluation_is_reported(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(steps.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=2))
    with pytest.raises(SystemExit) as caught:
        steps.main(["--data_root", "data", "-o", str(tmp_path)])
    assert caught.value.code == 2
    assert "evaluate.py --sampler ddpm: failed" in capsys.readouterr().err
