"""Write the page of the architectures from the figures of the benchmark.

python benchmarks/architectures/page.py
"""

__all__ = ["FIGURES", "PAGE", "page"]

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from negtrace._markdown import table

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "benchmarks" / "results" / "architectures.json"
PAGE = ROOT / "docs" / "explanation" / "architectures.md"

LONGEST = 160
"""Characters of a reason that the table shows; the JSON file has all of it."""

TEXT = """\
# Architectures

`python benchmarks/architectures --out benchmarks/results/architectures.json` builds every
decoder, text encoder and dual encoder of transformers {transformers} tiny, with random weights of
a fixed seed. It saves each, loads it with negtrace, runs `negtrace check` and traces a short and
a long pair of statements in both directions, at every site that the model offers. Each score is
compared with one plain forward of the model that changes the same state by a plain hook. `python
benchmarks/architectures/page.py` writes this page from the figures.

| outcome | classes | meaning |
|---|---|---|
| exact | {exact} | every score is that of a plain forward |
| refused | {refused} | negtrace says why it does not trace the class, and gives no number |
| wrong | {wrong} | a score differs from that of a plain forward |
| crash | {crash} | an error that is not one of negtrace's own, or no result in two minutes |
| not built | {not_built} | transformers does not build, run or reload it tiny, from token ids |

Gaps are shares of |d|, the difference between the scores of the clean and the corrupted run. Of
the exact classes, {double} are within 1e-9. The code of the {narrow} others computes in float32
though their weights are float64: such a class is held to 1e-5, and to 16 units of rounding of the
score's own terms, which is more where |d| is small. The largest gap of all is {largest:.1e}, of
{class_name}. "Check" is the time of `negtrace check` on one thread of a busy two-core machine:
half of the checks take less than {median:.1f} s, the longest {longest:.0f} s.

Weights are random and the models have three or four blocks, so the table says that a class is
traced as its code computes, and nothing about what a trained model does. Mixtures of experts run
with the plain implementation of transformers, since torch has no grouped multiplication in
float64.

"""

KINDS = {"decoder": "Decoders", "text": "Text encoders", "dual": "Dual encoders"}


def page(figures: Mapping[str, Any]) -> str:
    """Return the page, in Markdown."""
    rows = figures["classes"]
    exact = [row for row in rows if row["verdict"] == "exact"]
    beyond = [row for row in exact if row["gap"] > figures["limits"]["float64"]]
    largest = max(exact, key=lambda row: row["gap"])
    checks = sorted(row["check_s"] for row in exact)
    text = TEXT.format(
        **{name.replace(" ", "_"): count for name, count in figures["verdicts"].items()},
        transformers=figures["transformers"],
        double=len(exact) - len(beyond),
        narrow=len(beyond),
        largest=largest["gap"],
        class_name=largest["class_name"],
        longest=checks[-1],
        median=checks[len(checks) // 2],
    )
    return text + "\n".join(
        _table(title, [row for row in rows if row["name"].startswith(kind + "/")])
        for kind, title in KINDS.items()
    )


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    head = ("class", "outcome", "largest gap, or reason", "check, s")
    return "\n".join([f"## {title}", "", *table(head, map(_cells, rows))]) + "\n"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    detail = f"{row['gap']:.1e}" if row["verdict"] == "exact" else _reason(row)
    seconds = f"{row['check_s']:.2f}" if "check_s" in row else ""
    return row["class_name"], row["verdict"], detail, seconds


def _reason(row: Mapping[str, Any]) -> str:
    """Return the reason of a row, without what is beyond the longest text of a cell."""
    text = row["message"].replace("`", "'")
    text = text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " ..."
    return f"{row['stage']}: {text}"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(FIGURES.read_text("utf-8"))), "utf-8")
