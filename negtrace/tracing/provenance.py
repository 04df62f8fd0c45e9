"""Provenance of a result: the model, the pairs, the time, and the settings."""

__all__ = ["now", "provenance_of"]

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from negtrace.encoders.base import Encoder
from negtrace.pairs.pair import Pair, pairs_digest
from negtrace.results.provenance import Provenance
from negtrace.version import __version__


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance_of(
    encoder: Encoder, pairs: Iterable[Pair], config: Mapping[str, object]
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
        pairs_digest=pairs_digest(pairs),
        config={**config, "reading": encoder.reading},
    )
