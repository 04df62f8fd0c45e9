"""Where a result comes from: the model, the pairs, when, and by which settings."""

__all__ = ["now", "provenance_of", "rules_of"]

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from negtrace.encoders.base import Encoder
from negtrace.pairs.pair import pairs_digest
from negtrace.results.provenance import Provenance
from negtrace.tracing.prepare import Job
from negtrace.version import __version__


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def rules_of(jobs: Sequence[Job]) -> dict[str, int]:
    """Return how many pairs were aligned by which rule; those dropped are listed apart."""
    return dict(sorted(Counter(job.contrasts[0].rule for job in jobs).items()))


def provenance_of(
    encoder: Encoder, jobs: Sequence[Job], config: Mapping[str, object]
) -> Provenance:
    """Return the provenance of what is measured on some jobs now."""
    return Provenance(
        package_version=__version__,
        time=now(),
        model=encoder.name,
        family=encoder.family,
        revision=encoder.revision,
        weights_digest=encoder.digest,
        tokenizer=encoder.tokenizer_name,
        pairs_digest=pairs_digest([job.pair for job in jobs]),
        config=dict(config),
    )
