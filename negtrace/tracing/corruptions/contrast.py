"""Contrasts: the clean and the corrupted run of a pair, and which of their positions correspond."""

__all__ = ["Contrast", "Run", "RunEdit", "contrast_at_cue", "cue_positions"]

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from negtrace.errors import AlignmentError
from negtrace.pairs.alignment import Correspondence
from negtrace.pairs.differences import Differences
from negtrace.pairs.pair import Pair
from negtrace.pairs.roles import token_roles
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.positions import Group

RunEdit = Callable[[Tensor], Tensor]
"""A function from the input of block 0, [token width], to the input that is run instead."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One statement as the text tower runs it."""

    ids: tuple[int, ...]
    """Token ids."""
    roles: tuple[str, ...]
    """Role of each token."""
    read_out: int | None
    """Position at which the embedding is read; None where the tower pools over positions."""
    edit: RunEdit | None = None
    """Applied to the input of block 0."""
    groups: tuple[Group, ...] = ()
    """Positions that are patched together, each group with its label. Empty: each one alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """A clean and a corrupted run, and which of their positions correspond."""

    clean: Run
    corrupt: Run
    clean_from_corrupt: Correspondence
    """For each clean position, the corrupted positions whose mean state is patched into it."""
    corrupt_from_clean: Correspondence
    """For each corrupted position, the clean positions whose mean state is patched into it."""
    first_difference: int
    """First position where the tokens or embeddings differ, or that has no plain counterpart."""
    rule: str = "identity"
    """Name of the rule that aligned the two runs; counted in the provenance."""
    differing: Differences = field(default_factory=Differences)
    """Words in which the two runs differ apart from the negation. There are none where the cue
    alone is corrupted."""


def cue_positions(pair: Pair, true: Tokens) -> list[int]:
    """Return the positions of the cue in the true statement.

    Raises:
        AlignmentError: "affirmative-clean" when the true statement has no cue, "truncated" when
            the cue has no token.
    """
    return [i for i, role in enumerate(_roles(pair, true)) if role == "cue"]


def contrast_at_cue(
    pair: Pair, true: Tokens, *, ids: tuple[int, ...] | None = None, edit: RunEdit | None = None
) -> Contrast:
    """Return a contrast whose corrupted run differs from the clean one at the cue only.

    Args:
        pair: a pair whose true statement is the negated one.
        true: the tokens of that statement.
        ids: token ids of the corrupted run, as many as the statement has. They differ from the
            statement's own at the cue only. For a corruption by other words.
        edit: edit of the input of block 0, [token width], in the corrupted run. For a corruption
            that no words express.

    Raises:
        AlignmentError: "affirmative-clean" when the true statement has no cue, "truncated" when
            the cue has no token.
    """
    roles = _roles(pair, true)
    identity = tuple((i,) for i in range(len(true)))
    return Contrast(
        clean=Run(ids=true.ids, roles=roles, read_out=true.read_out),
        corrupt=Run(ids=ids or true.ids, roles=roles, read_out=true.read_out, edit=edit),
        clean_from_corrupt=identity,
        corrupt_from_clean=identity,
        first_difference=roles.index("cue"),
    )


def _roles(pair: Pair, true: Tokens) -> tuple[str, ...]:
    if pair.negated != "true":
        raise AlignmentError(
            "affirmative-clean",
            "the true statement holds no cue to corrupt; swap works on such pairs",
        )
    return token_roles(pair.true, true, cue=pair.cue, subject=pair.subject)
