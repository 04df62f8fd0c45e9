"""Pairs about the phantom's synthetic radiographs."""

__all__ = ["phantom_pairs"]

from pathlib import Path

from negtrace.language.findings import FINDINGS
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.pairs.sources import SOURCES


def phantom_pairs(n: int = 96, *, seed: int = 0, size: int = 48) -> list[Pair]:
    """Return `n` pairs about synthetic radiographs of `size` x `size` pixels.

    The radiographs are held out: the phantom was not trained on them. Present and absent findings
    alternate, and findings and templates take turns.
    """
    from negtrace.phantom.contrasts import draw_contrasts

    return [
        Pair(
            id=f"phantom-{seed}-{index}",
            id_is_public=True,
            true=contrast.true,
            false=contrast.false,
            anchor=Anchor(image=contrast.patient.image(size)),
            subject=FINDINGS[contrast.claim.finding].term,
            tags={
                "finding": contrast.claim.finding,
                "template": str(contrast.template),
                "condition": "abnormal" if contrast.claim.present else "normal",
            },
        )
        for index, contrast in enumerate(draw_contrasts(n, seed=seed))
    ]


@SOURCES.register("phantom")
def _phantom(*, file: Path | None, n: int, seed: int) -> list[Pair]:
    """Synthetic radiographs on which the phantom was not trained."""
    return phantom_pairs(n, seed=seed)
