"""Errors of single phones, by hand, and the tables for papers."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from models.metrics.comparison import compare
from models.metrics.lips import ClosureRule
from models.metrics.output import phone_rows
from models.metrics.paper import metrics_latex, phones_latex, write_paper
from models.metrics.phone_errors import PhoneErrors, phone_errors, viseme_class
from models.metrics.results import Results
from models.metrics.score import Quotient
from utils.reports.latex_table import latex_numbers, latex_table, latex_text
from utils.speech import Phone

SPOKEN = [Phone("aa", 0, 0.4), Phone("b", 0.4, 0.48), Phone("aa", 0.48, 0.8), Phone("p", 0.8, 0.88), Phone("zz", 2, 3)]
RULE = ClosureRule(1.0, 0)


def spoken(*openings: list[float]) -> PhoneErrors:
    """A clip of 22 frames: aa 10 frames, b 2, aa 8, p 2; the truth is 5 mm open in aa, shut in b and p."""
    truth = np.array([5.0] * 10 + [0] * 2 + [5] * 8 + [0] * 2)
    errors = PhoneErrors()
    errors.add("model", "ann/0", phone_errors(np.array(openings, float), truth, SPOKEN, RULE))
    return errors


def test_phones_by_hand():
    """The first sample is 1 mm too wide in the first aa, shut at b only; the second is the truth but open at p."""
    found = spoken([6] * 10 + [0.5, 2] + [5] * 8 + [3, 3], [5] * 10 + [0, 0] + [5] * 8 + [2, 2]).pooled("model")
    assert list(found) == ["b", "p", "aa"]  # by class; zz lies beyond the end
    assert found["aa"]["phones"] == 2 and found["aa"]["opening_error"]["mean"] == pytest.approx(10 / 18 / 2)
    assert found["aa"]["opening_error"]["samples"] == 2 and "closure_recall" not in found["aa"]
    assert found["b"]["opening_error"]["mean"] == pytest.approx(1.25 / 2)
    assert [found[name]["closure_recall"]["mean"] for name in "bp"] == [1, 0]


def test_bias_is_signed_and_classes_pool_their_phones():
    errors = spoken([4] * 10 + [0.5, 0.5] + [6] * 8 + [3, 3])
    assert errors.pooled("model")["aa"]["opening_bias"]["mean"] == pytest.approx(-2 / 18)
    classes = errors.pooled("model", by_class=True)
    assert list(classes) == ["lips shut", "wide open"] and classes["lips shut"]["phones"] == 2
    assert classes["lips shut"]["opening_error"]["mean"] == pytest.approx(7 / 4)
    assert classes["lips shut"]["closure_recall"]["mean"] == 0.5
    assert viseme_class("m") == "lips shut" and viseme_class("zz") == "other"
    assert phone_rows(errors, ["model"])[1:3] == [
        ["all", "lips shut", "2", "1.75 (+1.75)", "0.500"],
        ["all", "wide open", "2", "1.00 (-0.11)", "-"],
    ]


def test_the_table_of_phones_for_latex():
    text = phones_latex(spoken([5] * 10 + [0.5, 0.5] + [5] * 8 + [3, 3]), ["model"])
    assert r"lips shut & 2 & 1.75 (50\,\%) \\" in text and r"aa & 2 & 0.00 \\" in text


def scored() -> Results:
    results, rng = Results(), np.random.default_rng(0)
    for clip in (f"s{i}/0" for i in range(12)):
        for method, error in {"truth": 0.0, "model": 1.0, "a_b": 2.0, "mean pose": 3.0}.items():
            noise = rng.normal(0, 0.1) if error else 0.0
            results.add(method, clip, {"lve": Quotient.of(error + noise), "fdd": Quotient.of(1e-7 * (error + noise))})
    return results


def test_the_table_of_metrics_for_latex():
    """Every row has all cells, names are escaped, a clear difference has its star."""
    results = scored()
    text = metrics_latex(results, compare(results, ["model", "a_b"], []))
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {5}
    assert rows[0] == r"metric & truth & model & a\_b & mean pose \\" and rows[1] == r"clips & 12 & 12 & 12 & 12 \\"
    assert re.match(r"lve \[mm\] \$\\downarrow\$ & 0.00 & [01].\d\d \[0.\d\d, 1.\d\d\] & [12].\d\d\$\^\*\$ \[", rows[2])
    assert r"\cdot10^{-7}$" in rows[3] and "e-0" not in rows[3]
    assert text.count(r"\begin{tabular}{lrrrr}") == text.count(r"\end{tabular}") == 1
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_latex_characters_and_numbers():
    assert latex_text(r"a_b & 50 % {x} ~ m^2 \ #1 $ |o| <") == (
        r"a\_b \& 50 \% \{x\} \textasciitilde{} m$^2$ \textbackslash{} \#1 \$ \textbar{}o\textbar{} \textless{}"
    )
    assert latex_numbers("-2.5e-08 [-0.1, 3e+04]") == r"$-2.5\cdot10^{-8}$ [$-$0.1, $3\cdot10^{4}$]"
    with pytest.raises(AssertionError, match="equal length"):
        latex_table([["a", "b"], ["c"]])


def test_files_for_a_paper(tmp_path):
    """Without phones two files; equal data give equal bytes; letters are TrueType, as publishers want."""
    results = scored()
    comparison = compare(results, ["model", "a_b"], [])
    bare = SimpleNamespace(results=results, phones=PhoneErrors())
    write_paper(tmp_path / "one", bare, comparison)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["intervals.pdf", "metrics.tex"]
    phones = spoken([5.0] * 22)
    phones.methods = {"truth": phones.methods["model"], "model": phones.methods["model"]}
    write_paper(tmp_path / "two", SimpleNamespace(results=results, phones=phones), comparison)
    names = ["intervals.pdf", "metrics.tex", "phones.pdf", "phones.tex"]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == names
    assert (tmp_path / "two" / "phones.pdf").read_bytes().startswith(b"%PDF-")
    first, second = ((tmp_path / folder / "intervals.pdf").read_bytes() for folder in ("one", "two"))
    assert first == second and b"/FontFile2" in first and b"/Type3" not in first
