"""Options: claims on the same findings, one of them the truth, put into words alike."""

__all__ = ["Options", "bare"]

from dataclasses import dataclass

from negtrace.language.claims import Claim
from negtrace.language.realize import Wording, caption


@dataclass(frozen=True, kw_only=True)
class Options:
    """Statements to choose from that differ in their labels alone."""

    options: tuple[tuple[Claim, ...], ...]
    """The truth and distinct flips of its labels, shuffled."""
    answer: int
    """The place of the truth."""
    seed: int
    """Chooses the template, the same for every option and wording."""

    def texts(self, wording: Wording) -> tuple[str, ...]:
        """Return the options in words."""
        return tuple(caption(claims, wording=wording, seed=self.seed) for claims in self.options)


def bare(finding: str, present: bool) -> Claim:
    """Return the claim without attributes: they would give away which label was flipped."""
    return Claim(finding=finding, present=present)
