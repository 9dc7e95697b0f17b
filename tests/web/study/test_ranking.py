"""web/study/ranking.py and analyse.py: simulated raters whose truth is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from utils.errors import UserError
from utils.reports.json_text import json_text
from web.study import analyse as analysis
from web.study.analyse import analyse, passed, votes_of
from web.study.plan import Clip, Plan
from web.study.ranking import fit, preferences, strengths
from web.study.raters import Rater, read_rater

METHODS = ("fast", "ours", "theirs")
TRUTH = np.array([0.0, 0.8, -0.8])


def plan(n_clips=8):
    clips = {f"c{i}": Clip(f"c{i}", dict.fromkeys(METHODS), None) for i in range(n_clips)}
    return Plan("s-0", "Study", clips, ("lips", "natural"), pairs=20, checks=3)


def simulated(n, rng, truth=TRUTH, attentive=True):
    """Raters who choose by the Bradley-Terry model, or anything."""
    study, raters = plan(), []
    for number in range(n):
        rater = Rater(f"{number:032x}", study.visit({}, rng))
        for trial in rater.trials:
            choices = {}
            for question in study.asked(trial):
                a, b = (METHODS.index(name) for name in (trial.left, trial.right))
                chance = float(trial.swapped == "right") if trial.swapped else expit(truth[a] - truth[b])
                choices[question] = "left" if rng.random() < (chance if attentive else 0.5) else "right"
            rater.answers.append({"choices": choices, "seconds": 9.0})
        raters.append(rater)
    return raters


def test_the_fit_of_expected_votes_is_the_truth():
    wins = 1e6 * expit(TRUTH[:, None] - TRUTH[None])
    np.fill_diagonal(wins, 0)
    np.testing.assert_allclose(fit(wins), TRUTH, atol=1e-4)
    always = fit(np.array([[0.0, 10.0], [0.0, 0.0]]))
    assert np.isfinite(always).all() and always[0] > 1


def test_25_raters_find_the_truth():
    found = analyse(simulated(25, np.random.default_rng(1)), 0.67, False)
    assert found.counted == 25
    for question in ("lips", "natural"):
        ranked = [one for one in found.strengths if one.question == question]
        assert [one.method for one in ranked] == ["ours", "fast", "theirs"]
        for one in ranked:
            assert one.low < one.strength < one.high
            assert one.strength == pytest.approx(TRUTH[METHODS.index(one.method)], abs=0.35)
        (best,) = [p for p in found.preferences if p.question == question and (p.method, p.other) == ("ours", "theirs")]
        assert best.p_holm < 0.001 and best.raters_for > best.raters_against and best.p <= best.p_holm


def test_intervals_hold_the_truth_as_often_as_they_say():
    """95 % of 120 intervals (40 studies); the bound is 4 standard deviations below."""
    held, rng = [], np.random.default_rng(2)
    for _ in range(40):
        votes = votes_of(simulated(15, rng), "lips", METHODS)
        found = {one.method: one for one in strengths("lips", METHODS, votes, samples=200)}
        held += [found[m].low <= t <= found[m].high for m, t in zip(METHODS, TRUTH)]
    assert np.mean(held) > 0.95 - 4 * np.sqrt(0.95 * 0.05 / len(held))


def test_equal_methods_are_seldom_called_different():
    """At a level of 5 %, of 60 tests; the sign test is conservative."""
    rng, p = np.random.default_rng(3), []
    for _ in range(20):
        votes = votes_of(simulated(15, rng, truth=np.zeros(3)), "lips", METHODS)
        p += [one.p for one in preferences("lips", METHODS, votes)]
    assert len(p) == 60 and np.mean(np.array(p) < 0.05) <= 0.1


def test_who_does_not_look_is_not_counted():
    rng = np.random.default_rng(4)
    careless = [rater for rater in simulated(40, rng, attentive=False) if passed(rater) < 0.67]
    assert len(careless) > 10
    found = analyse(simulated(20, rng) + careless, 0.67, False)
    assert (found.counted, found.failed_checks) == (20, len(careless))
    everyone = analyse(simulated(20, rng) + careless, 0.0, False)
    assert everyone.strengths[0].strength < found.strengths[0].strength  # they would have blurred the answer
    with pytest.raises(UserError, match="none of the raters counts"):
        analyse(careless, 0.67, False)


def test_one_missed_check_of_three_is_forgiven():
    raters = simulated(2, np.random.default_rng(4))
    for rater, missed in zip(raters, (1, 2)):
        checks = [k for k, trial in enumerate(rater.trials) if trial.swapped]
        for k in checks[:missed]:
            rater.answers[k]["choices"]["lips"] = rater.trials[k].swapped
    least = analysis.AnalysisFlags(Path()).least_checks
    found = analyse(raters, least, False)
    assert (len(checks), found.counted, found.failed_checks) == (3, 1, 1)


def test_unfinished_visits_count_only_if_asked_for():
    raters = simulated(4, np.random.default_rng(5))
    raters[0].answers = raters[0].answers[:10]
    assert (analyse(raters, 0, False).not_finished, analyse(raters, 0, True).counted) == (1, 4)


def test_the_command(tmp_path, capsys):
    for rater in simulated(6, np.random.default_rng(6)):
        (tmp_path / f"{rater.token}.json").write_text(json_text(rater))
    analysis.main([str(tmp_path), "--json", str(tmp_path / "findings.txt")])
    said = capsys.readouterr().out
    assert "6 of 6 raters count" in said and "few raters" in said and "lips: ours over theirs" in said
    assert len(json.loads((tmp_path / "findings.txt").read_text())["strengths"]) == 6
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UserError, match="is not a rater's file"):
        read_rater(tmp_path / "x.json")
    with pytest.raises(SystemExit):
        analysis.main([str(tmp_path / "nothing")])
    assert "holds no raters' files" in capsys.readouterr().err
