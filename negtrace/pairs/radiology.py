"""Pairs about findings on chest radiographs, with texts as anchors."""

__all__ = ["radiology_pairs"]

from collections.abc import Iterator
from pathlib import Path

from negtrace.language.findings import FINDINGS, Finding
from negtrace.language.twins import finding_twins
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.pairs.sources import SOURCES


def radiology_pairs() -> list[Pair]:
    """Return 140 pairs: every finding in every twin template, once normal and once abnormal.

    In a normal pair the anchor is the finding's affirmative equivalent ("The heart size is
    normal."), so the negated statement is true. In an abnormal pair the anchor describes the
    finding without naming it ("The heart is enlarged."), so the affirmative statement is true.

    >>> pair = radiology_pairs()[0]
    >>> pair.id, pair.negated
    ('effusion-0-normal', 'true')
    """
    return [
        pair
        for finding in FINDINGS.values()
        for template, (affirmative, negated) in enumerate(finding_twins(finding))
        for pair in _two_conditions(finding, template, affirmative, negated)
    ]


def _two_conditions(
    finding: Finding, template: int, affirmative: str, negated: str
) -> Iterator[Pair]:
    for condition, true, false, anchor in (
        ("normal", negated, affirmative, finding.normal),
        ("abnormal", affirmative, negated, finding.abnormal),
    ):
        yield Pair(
            id=f"{finding.key}-{template}-{condition}",
            id_is_public=True,
            true=true,
            false=false,
            anchor=Anchor(text=anchor),
            subject=finding.term,
            tags={"finding": finding.key, "template": str(template), "condition": condition},
        )


@SOURCES.register("radiology")
def _radiology(*, file: Path | None, n: int, seed: int) -> list[Pair]:
    """Findings on chest radiographs, with texts as anchors."""
    return radiology_pairs()
