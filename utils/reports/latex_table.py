"""Tables for LaTeX with the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", **{each: f"\\{each}" for each in "&%$#_"},
}  # fmt: skip
_WORDS = {"+-": r"$\pm$", "m^2": r"m$^2$"}  # how our text tables write these


def latex_text(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    pattern = "|".join(map(re.escape, [*_WORDS, *_SPECIAL]))
    return re.sub(pattern, lambda found: (_WORDS | _SPECIAL)[found[0]], text)


def latex_numbers(text: str) -> str:
    """Numbers of our text tables as LaTeX sets them: a minus sign, powers of ten."""
    text = re.sub(r"(-?[\d.]+)e([+-])0*(\d+)", lambda m: f"${m[1]}\\cdot10^{{{m[2].strip('+')}{m[3]}}}$", text)
    return re.sub(r"(?<![$\w{])-(?=\d)", "$-$", text)


def latex_table(rows: Sequence[Sequence[str]], note: str = "") -> str:
    """Rows of LaTeX cells, the heading first -> a `tabular` to \\input; the note stands above it as a comment."""
    assert len({len(row) for row in rows}) == 1, "rows of equal length"
    head, *body = (" & ".join(row) + r" \\" for row in rows)
    columns = "l" + "r" * (len(rows[0]) - 1)
    comment = [f"% {line}" for line in ["Needs \\usepackage{booktabs}.", *note.splitlines()]]
    lines = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join([*comment, *lines]) + "\n"
