"""web/study: plans, trials, a visit through the page, videos with swapped sound."""

import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import uvicorn
from starlette.testclient import TestClient

from utils.errors import UserError
from utils.media.audio import load_audio
from utils.media.video import write_video
from web.study import __main__ as program
from web.study.analyse import analyse
from web.study.page import STATIC, StudyPage
from web.study.plan import read_plan
from web.study.raters import Raters, read_rater

METHODS = {"ours": 60, "theirs": 200}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Two methods, three clips of half a second with a tone each; the first has a reference."""
    folder = tmp_path_factory.mktemp("study")
    clips = []
    for number in range(3):
        tone = 0.3 * np.sin(np.arange(8000) * 2 * np.pi * 300 * (number + 1) / 16000).astype(np.float32)
        videos = {}
        for method, grey in METHODS.items():
            videos[method] = f"{method}_{number}.mp4"
            frames = (np.full((64, 64, 3), grey, np.uint8) for _ in range(13))
            write_video(folder / videos[method], frames, 13, 25, tone, 16000)
        clips.append({"name": f"c{number}", "videos": videos})
    clips[0]["reference"] = "ours_1.mp4"
    (folder / "A.json").write_text(json.dumps({"clips": clips, "pairs": 3, "checks": 2}))
    return folder / "A.json"


@pytest.fixture
def raters(study, tmp_path):
    return Raters(read_plan(study), tmp_path, seed=0)


@pytest.fixture
def client(raters, tmp_path_factory):
    return TestClient(StudyPage(raters.plan, raters, tmp_path_factory.mktemp("work")).app("192.0.2.7"))


def picture_and_tone(content: bytes, tmp_path) -> tuple[float, float]:
    """Grey of the first frame, and the sound's frequency."""
    path = tmp_path / "seen.mp4"
    path.write_bytes(content)
    with av.open(str(path)) as video:
        grey = next(video.decode(video=0)).to_ndarray(format="gray").mean()
    sound = load_audio(path)
    return grey, float(np.argmax(np.abs(np.fft.rfft(sound))) * 16000 / len(sound))


def test_a_visit_is_randomised_and_balanced(raters):
    visits = [raters.begin() for _ in range(40)]
    pairs = Counter(trial.pair for visit in visits for trial in visit.trials if not trial.swapped)
    assert set(pairs.values()) == {40}  # 3 pairs for each of 40 visits
    sides = Counter(trial.left for visit in visits for trial in visit.trials if not trial.swapped)
    assert abs(sides["ours"] - 60) < 4 * np.sqrt(120 / 4)
    assert len({tuple(trial.clip for trial in visit.trials) for visit in visits}) > 10
    checks = [trial for visit in visits for trial in visit.trials if trial.swapped]
    assert len(checks) == 80 and all(trial.left == trial.right for trial in checks)
    assert not any(visit.trials[0].swapped for visit in visits)
    assert 20 < sum(trial.swapped == "left" for trial in checks) < 60


def test_a_short_visit_takes_what_was_seen_least(study, tmp_path):
    text = study.read_text().replace('"pairs": 3', '"pairs": 1')
    (study.parent / "B.json").write_text(text)
    raters = Raters(read_plan(study.parent / "B.json"), tmp_path, seed=1)
    seen = Counter(trial.pair for _ in range(6) for trial in raters.begin().trials if not trial.swapped)
    assert sorted(seen.values()) == [2, 2, 2]


def test_a_visit_from_the_first_trial_to_the_analysis(client, raters, tmp_path):
    """A rater who prefers the brighter head, and hears what belongs together."""
    state = client.post("/api/raters", json={}).json()
    token, asked = state["token"], []
    while not state["done"]:
        number = state["number"]
        seen = {side: picture_and_tone(client.get(f"/video/{token}/{number}/{side}").content, tmp_path)
                for side in ("left", "right")}  # fmt: skip
        asked.append(tuple(state["questions"]))
        reference = client.get(f"/video/{token}/{number}/reference").status_code
        assert reference == 200 or not state["reference"]
        better = max(seen, key=lambda side: seen[side][0])
        if abs(seen["left"][0] - seen["right"][0]) < 5:  # a check
            trial = raters.find(token).trials[number]
            better = "right" if trial.swapped == "left" else "left"
            right_tone = 300 * (1 + int(trial.clip[1]))
            assert seen[better][1] == pytest.approx(right_tone, abs=5)
            assert abs(seen[trial.swapped][1] - right_tone) > 200
        answer = {"number": number, "choices": dict.fromkeys(state["questions"], better), "seconds": 3.21}
        state = client.post(f"/api/raters/{token}", json=answer).json()
        again = client.post(f"/api/raters/{token}", json=answer).json()  # sent twice
        assert again == state == client.get(f"/api/raters/{token}").json()
    assert Counter(asked) == {("lips",): 2, ("lips", "natural"): 2, ("lips", "natural", "style"): 1}
    rater = read_rater(next(path for path in raters.folder.glob("*.json")), raters.plan.name)
    assert rater.done and rater.answers[0]["seconds"] == 3.2
    found = analyse([rater], 1.0, False)
    assert {(one.question, one.method, one.wins) for one in found.preferences if one.question != "style"} == {
        ("lips", "ours", 0), ("natural", "ours", 0)}  # fmt: skip
    assert [one.method for one in found.strengths if one.question == "natural"] == ["theirs", "ours"]
    later = Raters(raters.plan, raters.folder)  # the server is started again
    assert later.find(token).done


def test_nothing_on_the_page_tells_the_methods(client):
    state = client.post("/api/raters", json={})
    everything = client.get("/").text + state.text + "".join(path.read_text() for path in STATIC.iterdir())
    assert not any(method in everything for method in METHODS)
    answer = client.get(f"/video/{state.json()['token']}/0/left")
    assert "ours" not in str(answer.headers) and "theirs" not in str(answer.headers)
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'self'")


def test_answers_that_were_not_asked_for(client):
    token = client.post("/api/raters", json={}).json()["token"]
    for answer in ({}, {"number": 1, "choices": {"lips": "left"}, "seconds": 1},
                   {"number": 0, "choices": {"lips": "middle", "natural": "left"}, "seconds": 1},
                   {"number": 0, "choices": {"colour": "left"}, "seconds": 1}):  # fmt: skip
        said = client.post(f"/api/raters/{token}", json=answer)
        assert said.status_code == 400 and "reload the page" in said.json()["error"]
    for path in (
        "/api/raters/" + "0" * 32,
        f"/video/{token}/99/left",
        f"/video/{token}/0/middle",
        "/study/..%2fplan.py",
    ):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("seconds,kept", [("1e99", 3600), ("9" * 400, 3600), ("NaN", 0), ("-1", 0), ("1.26", 1.3)])
def test_seconds_that_cannot_be(client, raters, seconds, kept):
    token = client.post("/api/raters", json={}).json()["token"]
    choices = dict.fromkeys(raters.plan.asked(raters.find(token).trials[0]), "left")
    body = f'{{"number": 0, "choices": {json.dumps(choices)}, "seconds": {seconds}}}'
    said = client.post(f"/api/raters/{token}", content=body, headers={"Content-Type": "application/json"})
    assert said.status_code == 200 and raters.find(token).answers[0]["seconds"] == kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clips": []}, "needs 'clips'"),
        ({"clips": [{"name": "a", "videos": {"x": "nothing.mp4"}}]}, "nothing.mp4: no such file"),
        ({"clips": [{"videos": {"ours": "ours_0.mp4"}}, {"videos": {"ours": "ours_1.mp4"}}]}, "nothing to compare"),
        ({"clips": [{"name": "a", "videos": 3}]}, "clip 1: must be"),
        ({"questions": ["colour"]}, "'colour' is not a question; use lips, natural, style"),
        ({"pairs": 0}, "'pairs' must be a whole number from 1"),
        ({"speed": 1}, "'speed' is not a setting"),
    ],
)
def test_a_study_that_cannot_be_held(study, change, message):
    path = study.parent / "bad.json"
    path.write_text(json.dumps(json.loads(study.read_text()) | change))
    with pytest.raises(UserError, match=message):
        read_plan(path)


def test_a_check_that_cannot_be_made_is_said_at_the_start(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_: print("served"))
    program.main([str(study), "--results", str(tmp_path / "results"), "--port", "0"])
    assert "served" in capsys.readouterr().out
    (study.parent / "broken.mp4").write_bytes(b"no video")
    for method in METHODS:
        content = json.loads(study.read_text())
        content["clips"][2]["videos"][method] = "broken.mp4"
        (study.parent / "D.json").write_text(json.dumps(content))
        with pytest.raises(SystemExit) as ended:
            program.main([str(study.parent / "D.json"), "--results", str(tmp_path / "more"), "--port", "0"])
        assert ended.value.code == 2 and "broken.mp4" in capsys.readouterr().err


def test_another_study_does_not_mix(study, raters, tmp_path):
    raters.answer(rater := raters.begin(), 0, dict.fromkeys(raters.plan.asked(rater.trials[0]), "left"), 1)
    text = study.read_text().replace('"checks": 2', '"checks": 1')
    (study.parent / "C.json").write_text(text)
    with pytest.raises(UserError, match="is of the study A-"):
        Raters(read_plan(study.parent / "C.json"), tmp_path)
