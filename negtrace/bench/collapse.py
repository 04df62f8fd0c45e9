"""Collapse: is a statement as near to its negation as to a paraphrase of itself?

Recall hides it: a model may find the right image and still give a statement and its negation one
embedding (Sammani, arXiv 2603.20554). Similarities are cosines between embeddings of statements.
"""

__all__ = ["Triple", "fitting", "radiology_triples", "read_triples", "results"]

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from negtrace.bench import scoring
from negtrace.bench.context import require_some, too_long
from negtrace.bench.rates import Bootstrap
from negtrace.bench.report import Row
from negtrace.bench.tables import json_lines
from negtrace.datasets.note import NOWHERE, Note, Origin
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.language.findings import FINDINGS
from negtrace.language.twins import finding_twins


@dataclass(frozen=True, kw_only=True)
class Triple:
    """A statement, its negation, and the same said in other words."""

    caption: str
    negation: str
    paraphrase: str
    unrelated: str | None = None
    """The same sentence about something else."""
    group: str
    """Triples of one group are drawn together by the bootstrap."""
    source: Origin = NOWHERE
    """Where it stands, for notes."""

    def __post_init__(self) -> None:
        texts = (self.caption, self.negation, self.paraphrase)
        if not all(map(str.strip, texts)) or len(set(texts)) < 3:
            raise BenchError("caption, negation and paraphrase must be distinct and not blank")

    @property
    def texts(self) -> list[str]:
        """Everything that is said."""
        texts = (self.caption, self.negation, self.paraphrase, self.unrelated)
        return [text for text in texts if text is not None]


def radiology_triples() -> list[Triple]:
    """Return every finding in every twin template, paraphrased by the next template."""
    findings = list(FINDINGS.values())
    found = []
    for place, finding in enumerate(findings):
        own, other = finding_twins(finding), finding_twins(findings[(place + 1) % len(findings)])
        for template, (affirmed, negated) in enumerate(own):
            found.append(
                Triple(
                    caption=affirmed,
                    negation=negated,
                    paraphrase=own[(template + 1) % len(own)][0],
                    unrelated=other[template][0],
                    group=finding.key,
                )
            )
    return found


def read_triples(path: Path | str) -> tuple[list[Triple], list[Note]]:
    """Read JSONL of objects with `caption`, `negation` and `paraphrase`; bad lines are noted.

    Raises:
        BenchError: for a file that cannot be read, or of which no line is usable.
    """
    path = Path(path)
    found, noted = [], []
    for number, line in json_lines(path):
        try:
            row = json.loads(line.decode())
            texts = {key: str(row[key]) for key in ("caption", "negation", "paraphrase")}
            found.append(Triple(**texts, group=str(number), source=(path.name, number)))
        except (ValueError, KeyError, TypeError) as error:
            noted.append(Note(file=path.name, row=number, code="triple", detail=repr(error)))
    if not found:
        raise BenchError(f"no line of {path.name} has caption, negation and paraphrase")
    return found, noted


def fitting(encoder: Encoder, triples: Sequence[Triple]) -> tuple[list[Triple], list[Note]]:
    """Return the triples whose every text the encoder can read, and a note on each other.

    Raises:
        BenchError: when there is none.
    """
    kept, noted = [], []
    for triple in triples:
        longest = max(len(tokens) for tokens in encoder.tokenize(triple.texts))
        if longest <= encoder.max_tokens:
            kept.append(triple)
        else:
            noted.append(too_long(encoder, f"triple {triple.group}", longest, triple.source))
    require_some(encoder, kept, len(triples))
    return kept, noted


def results(encoder: Encoder, triples: Sequence[Triple], bootstrap: Bootstrap) -> list[Row]:
    """Return mean similarities; the margin of paraphrases over negations; how often it is lost."""
    groups = [triple.group for triple in triples]
    captions = [triple.caption for triple in triples]
    nearness = {
        "negation": scoring.similarities(encoder, captions, [t.negation for t in triples]),
        "paraphrase": scoring.similarities(encoder, captions, [t.paraphrase for t in triples]),
    }
    margin = nearness["paraphrase"] - nearness["negation"]
    unrelated = [triple.unrelated for triple in triples if triple.unrelated is not None]
    if len(unrelated) == len(triples):
        nearness["unrelated"] = scoring.similarities(encoder, captions, unrelated)
    rows = [
        _row("similarity", series, values, groups, bootstrap) for series, values in nearness.items()
    ]
    rows.append(_row("margin", "paraphrase - negation", margin, groups, bootstrap))
    nearer = (margin <= 0).astype(float)
    rows.append(_row("share", "negation as near as paraphrase", nearer, groups, bootstrap))
    return rows


def _row(
    measure: str, series: str, values: np.ndarray, groups: Sequence[str], bootstrap: Bootstrap
) -> Row:
    mean, low, high = bootstrap.mean(values, groups)
    return Row(
        measure=measure,
        scorer="model",
        series=series,
        axis="all",
        level="all",
        estimate=mean,
        low=low,
        high=high,
        n=len(groups),
    )
