"""AUC suite: how well scores of "X" and of "no X" tell the anchors with a finding from the others.

The AUC is the probability that an anchor with the finding ranks above one without it; a tie counts
one half. Anchors are ranked in three ways. `pair` is the usual zero-shot classifier (CheXzero,
Tiu et al. 2022): exp(s(X)) / (exp(s(X)) + exp(s(no X))). `affirmative` is s(X) alone. `negated` is
-s(no X) alone. Each is averaged over several frames. The gap is affirmative minus negated, as in
Bi-MCQ (arXiv 2601.22696).
"""

__all__ = ["auc_items", "auc_rows", "auc_suite", "auc_values"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
from jaxtyping import Bool, Float

from negtrace.bench.cases import Case, TextCases, case_source, data_name
from negtrace.bench.config import BenchConfig
from negtrace.bench.items import Item, drop_long_items
from negtrace.bench.report import ReportRow
from negtrace.bench.result import Intervals, SuiteResult, describe_items, model_row
from negtrace.bench.scoring import score_items, score_matrix
from negtrace.bench.suites import SUITES
from negtrace.datasets.note import Note
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.language.findings import FINDINGS
from negtrace.language.twins import finding_twins

FINDINGS_PER_TEXT = 5

GAP = "affirmative - negated"


@SUITES.register("auc")
def auc_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """AUC by finding, from the scores of "X" and of "no X"."""
    source, notes = case_source(encoder, config)
    if isinstance(source, TextCases):
        source = TextCases(source.findings, least=FINDINGS_PER_TEXT)
    cases = source.sample(config.count, Random(f"auc {config.seed}"))  # noqa: S311
    items, too_long = drop_long_items(encoder, auc_items(cases, source.findings))
    items, one_sided = _drop_one_sided(items)
    return SuiteResult(
        rows=tuple(
            auc_rows(items, _ranks_by(_scores(encoder, items)), Intervals.from_config(config))
        ),
        notes=(*notes, *too_long, *one_sided),
        data=describe_items(Path(data_name(encoder, config)).name, items),
    )


def auc_items(cases: Sequence[Case], findings: Sequence[str]) -> list[Item]:
    """Item for each case and each of its known findings: "X" in every frame, then "no X"."""
    twins = {finding: finding_twins(FINDINGS[finding]) for finding in findings}
    return [
        Item(
            id=f"{case.id}-{finding}",
            anchor=case.anchor,
            texts=tuple(twin[side] for side in range(2) for twin in twins[finding]),
            answer=0 if case.labels[finding] else len(twins[finding]),
            group=case.id,
            tags={"finding": (finding,)},
        )
        for case in cases
        for finding in findings
        if finding in case.labels
    ]


def _drop_one_sided(items: Sequence[Item]) -> tuple[list[Item], list[Note]]:
    """Items on findings that some cases have and others lack, and a note on each other finding.

    Raises:
        BenchError: when there is no such finding.
    """
    answers: dict[str, set[int]] = {}
    for item in items:
        answers.setdefault(_finding(item), set()).add(item.answer)
    notes = [
        Note(file="", row=0, code="one_label", detail=f"{finding}: present in all cases or in none")
        for finding, labels in answers.items()
        if len(labels) < 2
    ]
    kept = [item for item in items if len(answers[_finding(item)]) == 2]
    if not kept:
        raise BenchError("no finding is present in some cases and absent in others; raise count")
    return kept, notes


def _finding(item: Item) -> str:
    return item.tags["finding"][0]


def _scores(encoder: Encoder, items: Sequence[Item]) -> Float[np.ndarray, "item text"]:
    if encoder.reads_anchor_in_row:
        return np.stack(score_items(encoder, items))
    texts = {text: None for item in items for text in item.texts}
    anchors = {item.anchor: None for item in items}
    scores = score_matrix(encoder, list(texts), list(anchors))
    columns = {text: column for column, text in enumerate(texts)}
    rows = {anchor: row for row, anchor in enumerate(anchors)}
    return np.stack([scores[rows[i.anchor], [columns[t] for t in i.texts]] for i in items])


def _ranks_by(scores: Float[np.ndarray, "item text"]) -> dict[str, Float[np.ndarray, " item"]]:
    """By series, the number that ranks each item's anchor: higher means the finding is there."""
    affirmative, negated = np.split(scores, 2, axis=1)
    return {
        "pair": _expit(affirmative - negated).mean(axis=1),
        "affirmative": affirmative.mean(axis=1),
        "negated": -negated.mean(axis=1),
    }


def _expit(x: Float[np.ndarray, "item frame"]) -> Float[np.ndarray, "item frame"]:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def auc_values(
    ranks: Float[np.ndarray, " item"], present: Bool[np.ndarray, " item"]
) -> Float[np.ndarray, " item"]:
    """One number for each item, whose mean is the AUC and whose spread gives its interval.

    They are the structural components of DeLong et al. (1988, Biometrics 44), put on one scale.
    With A the AUC, m items present and k = n - m absent, V the share of the absent ones that an
    item ranks above if it is present, and of the present ones that rank above it if it is absent:

        A + n / sqrt(m (m - 1)) (V - A) if present, A + n / sqrt(k (k - 1)) (V - A) if absent

    Ties count one half. A label with one item alone says nothing of its spread: m - 1 is 1 then.

    >>> ranks, present = np.array([3.0, 1, 2, 0]), np.array([True, True, False, False])
    >>> print(auc_values(ranks, present).mean())
    0.75

    Args:
        ranks: numbers to rank by.
        present: whether each item has the finding; some have it and others lack it.
    """
    above = np.sort(ranks[~present])
    wins = np.searchsorted(above, ranks, "left") + np.searchsorted(above, ranks, "right")
    below = np.sort(ranks[present])
    losses = np.searchsorted(below, ranks, "left") + np.searchsorted(below, ranks, "right")
    shares = np.where(present, wins / (2 * len(above)), 1 - losses / (2 * len(below)))
    counts = np.where(present, len(below), len(above))
    auc = shares[present].mean()
    factors = len(ranks) / np.sqrt(counts * np.maximum(counts - 1, 1))
    return np.asarray(auc + factors * (shares - auc))


def auc_rows(
    items: Sequence[Item], ranks: Mapping[str, Float[np.ndarray, " item"]], intervals: Intervals
) -> list[ReportRow]:
    """Rows of the AUC and its gap, over all findings and by finding.

    Over all is the mean of the findings, each with the same weight. Its interval is over cases.

    Args:
        items: the items; the right statement of an item tells whether its finding is present.
        ranks: by series (`pair`, `affirmative`, `negated`), the number to rank each item by.
        intervals: settings of the intervals.
    """
    findings = list(dict.fromkeys(map(_finding, items)))
    present = np.array([item.answer == 0 for item in items])
    of_finding = {f: np.array([_finding(item) == f for item in items]) for f in findings}
    values = {
        series: {f: auc_values(by[of_finding[f]], present[of_finding[f]]) for f in findings}
        for series, by in ranks.items()
    }
    values[GAP] = {f: values["affirmative"][f] - values["negated"][f] for f in findings}
    cases = [item.group for item in items]
    rows = []
    for series, by_finding in values.items():
        lowest, measure = (-1.0, "gap") if series == GAP else (0.0, "auc")
        chance = None if series == GAP else 0.5
        ends = intervals.share(*_over_all(by_finding, of_finding, cases), lowest=lowest)
        rows.append(model_row(measure, series, ends, len(set(cases)), chance=chance))
        for finding, numbers in by_finding.items():
            groups = _groups(present[of_finding[finding]])
            ends = intervals.share(numbers, groups, lowest=lowest)
            at = ("finding", finding)
            rows.append(model_row(measure, series, ends, len(numbers), at=at, chance=chance))
    return rows


def _over_all(
    by_finding: dict[str, Float[np.ndarray, " _"]],
    of_finding: dict[str, Bool[np.ndarray, " item"]],
    cases: Sequence[str],
) -> tuple[Float[np.ndarray, " case"], list[str]]:
    """One number for each case, whose mean is the mean AUC of all findings; and the cases."""
    names, of_case = np.unique(cases, return_inverse=True)
    total = np.zeros(len(names))
    for finding, numbers in by_finding.items():
        mean = numbers.mean()
        total += mean
        # A case whose label is unknown does not move the AUC.
        np.add.at(total, of_case[of_finding[finding]], (numbers - mean) * len(names) / len(numbers))
    return total / len(by_finding), names.tolist()


def _groups(present: Bool[np.ndarray, " item"]) -> list[str]:
    """Groups of items, as many as the rarer label has items, each with an equal share of both.

    An interval then holds where all anchors are ranked right: each group counts as one answer.
    """
    groups = min(int(present.sum()), int((~present).sum()))
    number = np.where(present, np.cumsum(present), np.cumsum(~present)) % groups
    return [str(index) for index in number]
