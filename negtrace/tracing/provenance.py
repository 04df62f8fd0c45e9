"""Provenance of a result: the model, the pairs, the time, and the settings."""

__all__ = ["differing_pairs", "now", "provenance_of", "rules_of"]

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from negtrace.encoders.base import Encoder
from negtrace.pairs.pair import pairs_digest
from negtrace.results.provenance import Provenance
from negtrace.tracing.prepare import PreparedPair
from negtrace.version import __version__


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def rules_of(prepared: Sequence[PreparedPair]) -> dict[str, int]:
    """Return the number of pairs that each alignment rule aligned."""
    return dict(sorted(Counter(each.contrasts[0].rule for each in prepared).items()))


def differing_pairs(prepared: Sequence[PreparedPair]) -> int:
    """Return the number of pairs that differ in more than the negation."""
    return sum(bool(each.differing) for each in prepared)


def provenance_of(
    encoder: Encoder, prepared: Sequence[PreparedPair], config: Mapping[str, object]
) -> Provenance:
    """Return the provenance of what is measured now on these pairs."""
    return Provenance(
        package_version=__version__,
        time=now(),
        model=encoder.name,
        family=encoder.family,
        revision=encoder.revision,
        weights_digest=encoder.digest,
        tokenizer=encoder.tokenizer_name,
        pairs_digest=pairs_digest([each.pair for each in prepared]),
        config={**config, "reading": encoder.reading},
    )
