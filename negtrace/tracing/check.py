"""Check of an encoder: its structure, and patched scores against plain forwards of its model."""

__all__ = ["check"]

from collections.abc import Iterator
from dataclasses import replace

from negtrace.encoders.base import Encoder
from negtrace.encoders.check import CheckItem, CheckReport, check_structure
from negtrace.errors import NegtraceError, SiteError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.tracing.corruptions.base import corruption_named
from negtrace.tracing.engines.agreement import agreement_with_plain, reasons
from negtrace.tracing.engines.sweep import Sweep
from negtrace.tracing.plan import KINDS
from negtrace.tracing.prepare import prepare
from negtrace.tracing.sites import plan_for

BEFORE = ("", "The heart is of normal size, and the bones of the chest are intact. ")
"""Text before the statement, for two lengths."""


def check(encoder: Encoder) -> CheckReport:
    """Check that a model can be traced: its structure, and that patched scores are right.

    A handful of cells at every site that the model offers, in the first, the middle and the last
    layer of statements of two lengths, is run as `trace` runs it and by plain forwards of the
    model, one row at a time. The largest gap is given as a share of d, the difference between the
    scores of the clean and the corrupted run.

    >>> from negtrace.encoders import load
    >>> print(check(load("toy")).items[-2].name)
    patched scores
    """
    return check_structure(encoder, then=_patched_scores)


def _patched_scores(encoder: Encoder) -> Iterator[CheckItem]:
    """Yield the result of comparing patched scores with plain forwards."""
    prepared, dropped = prepare(encoder, _pairs(encoder), corruption_named("swap"), "token")
    if not prepared:
        why = "; ".join(dict.fromkeys(drop.reason for drop in dropped)) or (
            f"the model reads {encoder.max_tokens} tokens at most"
        )
        yield CheckItem(name="patched scores", holds=True, detail=f"not compared: {why}")
        return
    contrasts = [contrast for each in prepared for contrast in each.contrasts]
    sweep = Sweep(
        encoder=encoder,
        contrasts=contrasts,
        anchors=encoder.embed_anchors([each.pair.anchor for each in prepared]),
        plan=plan_for(encoder, _sites(encoder)),
    )
    try:
        results = [
            agreement_with_plain(replace(sweep, direction=direction))
            for direction in ("denoising", "noising")
        ]
    except NegtraceError as error:
        yield CheckItem(name="patched scores", holds=False, detail=str(error))
        return
    lengths = " and ".join(str(len(contrast.clean.ids)) for contrast in contrasts)
    cells, gap = sum(result.cells for result in results), max(result.gap for result in results)
    slowest = max(results, key=lambda result: len(result.rejected))
    detail = (
        f"{cells} cells at {', '.join(sorted({site.kind for site in sweep.plan.sites}))} in "
        f"statements of {lengths} tokens are at most {gap:.1g} of d from plain forwards; "
        f"rows run: {slowest.route.name}"
    )
    rejected = "".join(f"; not {each}" for each in reasons(slowest.rejected))
    yield CheckItem(name="patched scores", holds=True, detail=detail + rejected)


def _sites(encoder: Encoder) -> list[str]:
    """Return the kinds of site that every block of the encoder offers."""
    offered: list[str] = []
    for kind in KINDS:
        try:
            plan_for(encoder, [kind])
        except SiteError:
            continue
        offered.append(kind)
    return offered


def _pairs(encoder: Encoder) -> list[Pair]:
    """Return one pair for each length that the model reads; a short one where it reads neither."""
    anchor = Anchor(text="Both lungs are fully expanded.")
    pairs = [
        Pair(
            true=f"{before}There is no pneumothorax.",
            false=f"{before}There is some pneumothorax.",
            anchor=anchor,
        )
        for before in BEFORE
    ]
    short = Pair(true="No nodule.", false="Some nodule.", anchor=Anchor(text="Clear lungs."))
    fitting = [pair for pair in pairs if _fits(encoder, pair)]
    return fitting or [pair for pair in [short] if _fits(encoder, pair)]


def _fits(encoder: Encoder, pair: Pair) -> bool:
    tokens = encoder.tokenize([pair.true, pair.false, pair.anchor.text or ""])
    return all(len(each) <= encoder.max_tokens for each in tokens)
