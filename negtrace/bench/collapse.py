"""Collapse suite: similarity of a statement to its negation, and to a paraphrase of itself.

A model may find the right image and still give a statement and its negation almost the same
embedding (Sammani, arXiv 2603.20554). Recall does not show that. Similarity is the cosine between
the embeddings of two statements; no anchor takes part.

Denials may collapse onto each other too: "no effusion" and "no edema" become one point, which says
"nothing there" and forgets the noun. So the mean cosine between denials of different findings is
shown beside that between their affirmations.
"""

__all__ = ["collapse_suite", "radiology_triples", "read_triples", "rows_between"]

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from negtrace.bench.config import BenchConfig
from negtrace.bench.items import require_any, too_long
from negtrace.bench.report import ReportRow
from negtrace.bench.result import Intervals, SuiteResult, describe_data, model_row
from negtrace.bench.scoring import similarity_matrix, text_similarities
from negtrace.bench.suites import SUITES
from negtrace.datasets.note import NOWHERE, Note, Origin
from negtrace.datasets.readers.files import json_objects
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.language.findings import FINDINGS
from negtrace.language.twins import finding_twins


@dataclass(frozen=True, kw_only=True)
class Triple:
    """A statement, its negation and a paraphrase.

    Raises:
        BenchError: for blank or equal statements.
    """

    caption: str
    negation: str
    paraphrase: str
    """The same statement in other words."""
    unrelated: str | None = None
    """The same sentence about something else."""
    group: str
    """Intervals take triples of one group together."""
    frame: str = ""
    """Frame of caption and negation. Only statements in one frame are compared between groups."""
    source: Origin = NOWHERE
    """File and line, for notes."""

    def __post_init__(self) -> None:
        texts = (self.caption, self.negation, self.paraphrase)
        if not all(map(str.strip, texts)) or len(set(texts)) < 3:
            raise BenchError("caption, negation and paraphrase must be distinct and not blank")

    @property
    def texts(self) -> list[str]:
        """All statements of the triple."""
        texts = (self.caption, self.negation, self.paraphrase, self.unrelated)
        return [text for text in texts if text is not None]


@SUITES.register("collapse")
def collapse_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """Similarity of a statement to its negation and to a paraphrase of itself."""
    notes: list[Note] = []
    if config.data in (None, "text", "phantom"):
        triples, name = radiology_triples(), "radiology"
    else:
        path = Path(str(config.data))
        (triples, notes), name = read_triples(path), path.name
    triples, too_long_notes = _drop_long_triples(encoder, triples[: config.count])
    unasked = ("source", "frame")
    questions = [{k: v for k, v in asdict(t).items() if k not in unasked} for t in triples]
    intervals = Intervals.from_config(config)
    rows = [*_rows(encoder, triples, intervals), *rows_between(encoder, triples, intervals)]
    return SuiteResult(
        rows=tuple(rows),
        notes=(*notes, *too_long_notes),
        data=describe_data(name, (), questions, len(triples)),
    )


def radiology_triples() -> list[Triple]:
    """Triples of every finding in every twin template; the next template is the paraphrase."""
    findings = list(FINDINGS.values())
    triples = []
    for number, finding in enumerate(findings):
        twins_here = finding_twins(finding)
        twins_there = finding_twins(findings[(number + 1) % len(findings)])
        for template, (affirmed, negated) in enumerate(twins_here):
            triples.append(
                Triple(
                    caption=affirmed,
                    negation=negated,
                    paraphrase=twins_here[(template + 1) % len(twins_here)][0],
                    unrelated=twins_there[template][0],
                    group=finding.key,
                    frame=str(template),
                )
            )
    return triples


def read_triples(path: Path | str) -> tuple[list[Triple], list[Note]]:
    """Read triples from JSONL: objects with `caption`, `negation` and `paraphrase`.

    A line that cannot be used is left out and noted.

    Raises:
        DatasetError: for a file that cannot be read.
        BenchError: for a file without a usable line.
    """
    path = Path(path)
    triples, notes = [], []
    for number, record in json_objects(path):
        if isinstance(record, Note):
            notes.append(record)
            continue
        try:
            texts = {key: str(record[key]) for key in ("caption", "negation", "paraphrase")}
            triples.append(Triple(**texts, group=str(number), source=(path.name, number)))
        except (ValueError, KeyError) as error:
            notes.append(Note(file=path.name, row=number, code="triple", detail=repr(error)))
    if not triples:
        raise BenchError(
            f"no usable line in {path.name}; expected JSON objects of caption, negation and "
            "paraphrase, one a line"
        )
    return triples, notes


def _drop_long_triples(
    encoder: Encoder, triples: Sequence[Triple]
) -> tuple[list[Triple], list[Note]]:
    """Triples whose every text fits the encoder's context, and a note on each other triple.

    Raises:
        BenchError: when none fits.
    """
    short, notes = [], []
    for triple in triples:
        longest = max(len(tokens) for tokens in encoder.tokenize(triple.texts))
        if longest <= encoder.max_tokens:
            short.append(triple)
        else:
            notes.append(too_long(encoder, f"triple {triple.group}", longest, triple.source))
    require_any(encoder, short, len(triples))
    return short, notes


def _rows(encoder: Encoder, triples: Sequence[Triple], intervals: Intervals) -> list[ReportRow]:
    """Rows of mean similarities, of paraphrase minus negation, and of how often that is <= 0."""
    groups = [triple.group for triple in triples]
    captions = [triple.caption for triple in triples]
    similarities = {
        "negation": text_similarities(encoder, captions, [t.negation for t in triples]),
        "paraphrase": text_similarities(encoder, captions, [t.paraphrase for t in triples]),
    }
    margin = similarities["paraphrase"] - similarities["negation"]
    unrelated = [triple.unrelated for triple in triples if triple.unrelated is not None]
    if len(unrelated) == len(triples):
        similarities["unrelated"] = text_similarities(encoder, captions, unrelated)
    rows = [
        model_row("similarity", series, intervals.mean(values, groups), len(triples))
        for series, values in similarities.items()
    ]
    of_margin = intervals.mean(margin, groups)
    of_none = intervals.share((margin <= 0).astype(float), groups)
    rows.append(model_row("margin", "paraphrase - negation", of_margin, len(triples)))
    rows.append(model_row("share", "negation as near as paraphrase", of_none, len(triples)))
    return rows


def rows_between(
    encoder: Encoder, triples: Sequence[Triple], intervals: Intervals
) -> list[ReportRow]:
    """Rows of the mean similarity between statements of different groups, such as findings.

    Each finding has the mean over all others, in every frame that both have; the row over all is
    the mean of these. A pair of findings is in both their means, so the interval takes the distance
    of each mean from that of all twice: the jackknife of a mean over pairs.
    """
    series = {
        "affirmations": _means_between(encoder, triples, [t.caption for t in triples]),
        "denials": _means_between(encoder, triples, [t.negation for t in triples]),
    }
    groups = list(series["denials"])
    if not groups:
        return []
    means = {name: np.array(list(by_group.values())) for name, by_group in series.items()}
    means["denials - affirmations"] = means["denials"] - means["affirmations"]
    rows = []
    for name, values in means.items():
        measure = "collapse" if name == "denials - affirmations" else "similarity"
        ends = intervals.mean(2 * values - values.mean(), groups)
        rows.append(model_row(measure, name, ends, len(groups)))
        # Findings are built in. The groups of a file are its lines.
        for group, value in zip(groups, values, strict=True):
            if group in FINDINGS:
                alone = (float(value), np.nan, np.nan)
                rows.append(model_row(measure, name, alone, len(groups) - 1, at=("finding", group)))
    return rows


def _means_between(
    encoder: Encoder, triples: Sequence[Triple], texts: Sequence[str]
) -> dict[str, float]:
    """By group, the mean similarity of its texts to those of other groups in the same frame."""
    similarities = similarity_matrix(encoder, texts)
    frames = np.array([triple.frame for triple in triples])
    groups = np.array([triple.group for triple in triples])
    means: dict[str, float] = {}
    for group in dict.fromkeys(groups.tolist()):
        own = groups == group
        pairs = (frames[own, None] == frames[None, :]) & ~own[None, :]
        if pairs.any():
            means[group] = float(similarities[own][pairs].mean())
    return means
