"""Retrieval: each anchor's own statement among those of the others, and the other way round."""

__all__ = ["KS", "Gallery", "fitting", "phantom_galleries", "results", "text_galleries"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from jaxtyping import Float

from negtrace.bench import scoring
from negtrace.bench.cases import TextSupply
from negtrace.bench.context import counts, require_some, too_long
from negtrace.bench.rates import Bootstrap
from negtrace.bench.report import Row
from negtrace.datasets.note import NOWHERE, Note, Origin
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.language.claims import Claim
from negtrace.language.wording import realize
from negtrace.pairs.anchor import Anchor
from negtrace.phantom.patients import HELD_OUT_SEEDS, draw_patients
from negtrace.phantom.reports import report
from negtrace.results.statistics import rank_of_correct

KS = (1, 5, 10)

SAID = 5
"""Findings that a text and its caption are about."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Anchors and their statements, row by row."""

    anchors: tuple[Anchor, ...]
    texts: tuple[str, ...]
    sources: tuple[Origin, ...] = ()
    """Where each row stands, for notes; none where they are made."""

    def __post_init__(self) -> None:
        if len(self.anchors) != len(self.texts) or len(self.texts) < 2:
            raise BenchError(
                f"a gallery of {len(self.anchors)} anchors and {len(self.texts)} statements; "
                "expected as many of each, two or more"
            )

    def rows(self, places: Sequence[int]) -> "Gallery":
        """Return the gallery of these rows alone."""
        return Gallery(
            anchors=tuple(self.anchors[place] for place in places),
            texts=tuple(self.texts[place] for place in places),
            sources=tuple(self.sources[place] for place in places) if self.sources else (),
        )


def phantom_galleries(count: int, *, seed: int) -> dict[str, Gallery]:
    """Return held-out radiographs with reports that deny nothing, and with ones that deny."""
    patients = draw_patients(Random(f"gallery {seed}").sample(HELD_OUT_SEEDS, count))  # noqa: S311
    anchors = tuple(Anchor(image=patient.image()) for patient in patients)
    galleries = {}
    for series, rate in (("affirmative", 0.0), ("with negation", 1.0)):
        texts = tuple(report(patient, seed=patient.seed, rate=rate) for patient in patients)
        galleries[series] = Gallery(anchors=anchors, texts=texts)
    return galleries


def text_galleries(count: int, *, seed: int) -> dict[str, Gallery]:
    """Return texts that affirm five findings' states, and statements of the same in two wordings.

    Both word what is there alike; what is not is affirmed to be normal, or denied.
    """
    rng = Random(f"texts {seed}")  # noqa: S311
    supply, anchors = TextSupply(), []
    told: dict[str, list[str]] = {"affirmative": [], "with negation": []}
    for _ in range(count):
        labels = {f: rng.random() < 0.5 for f in rng.sample(tuple(supply.findings), SAID)}
        anchors.append(supply.take(labels, rng).anchor)
        claims = [Claim(finding=finding, present=there) for finding, there in labels.items()]
        draw = rng.getrandbits(32)
        told["affirmative"].append(realize(claims, wording="equivalent", seed=draw))
        told["with negation"].append(realize(claims, wording="negated", seed=draw))
    return {s: Gallery(anchors=tuple(anchors), texts=tuple(texts)) for s, texts in told.items()}


def fitting(
    encoder: Encoder, galleries: Mapping[str, Gallery]
) -> tuple[dict[str, Gallery], list[Note]]:
    """Return the rows that the encoder can read in every gallery, and a note on each other.

    Galleries of a set have the same anchors in the same places, and are to stay so.

    Raises:
        BenchError: when fewer than two rows are left.
    """
    read = [counts(encoder, gallery.texts, gallery.anchors) for gallery in galleries.values()]
    longest = [max(row) for row in zip(*read, strict=True)]
    kept = [place for place, count in enumerate(longest) if count <= encoder.max_tokens]
    require_some(encoder, kept[1:], len(longest))
    sources = next(iter(galleries.values())).sources or (NOWHERE,) * len(longest)
    noted = [
        too_long(encoder, f"statement {place}", count, sources[place])
        for place, count in enumerate(longest)
        if count > encoder.max_tokens
    ]
    return {series: gallery.rows(kept) for series, gallery in galleries.items()}, noted


def results(encoder: Encoder, galleries: Mapping[str, Gallery], bootstrap: Bootstrap) -> list[Row]:
    """Return recall at 1, 5 and 10 of each gallery, both ways; a tie counts against the model."""
    rows = []
    for series, found in galleries.items():
        scores = scoring.matrix(encoder, found.texts, found.anchors)
        for axis, table in (("anchor to text", scores), ("text to anchor", scores.T)):
            rows += _recalls(table, bootstrap, series=series, axis=axis)
    return rows


def _recalls(
    scores: Float[np.ndarray, "row row"], bootstrap: Bootstrap, *, series: str, axis: str
) -> list[Row]:
    n = len(scores)
    rank = rank_of_correct(scores, np.arange(n))
    groups: Sequence[str] = [str(place) for place in range(n)]
    rows = []
    for k in KS:
        mean, low, high = bootstrap.mean((rank <= k).astype(float), groups)
        rows.append(
            Row(
                measure="recall",
                scorer="model",
                series=series,
                axis=axis,
                level=f"R@{k}",
                estimate=mean,
                low=low,
                high=high,
                n=n,
                chance=min(k / n, 1.0),
            )
        )
    return rows
