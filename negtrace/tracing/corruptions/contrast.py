"""Contrasts: a clean and a corrupted run of a pair, and which of their positions correspond."""

__all__ = ["Contrast", "Run", "RunEdit", "Sources", "on_cue", "positions_of_cue"]

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from negtrace.pairs.pair import Pair
from negtrace.pairs.roles import AlignmentError, token_roles
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.plan import Group

Sources = tuple[tuple[int, ...], ...]
RunEdit = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One statement as the tower will run it."""

    ids: tuple[int, ...]
    roles: tuple[str, ...]
    """What each token does in its statement."""
    read_out: int | None
    """Position the embedding is read at; None where the tower pools over positions."""
    edit: RunEdit | None = None
    """Maps the input of block 0, [token width], to the one to run instead."""
    groups: tuple[Group, ...] = ()
    """Positions that are patched together, each with its label; none stands for each one alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """A clean and a corrupted run, and which of their positions correspond."""

    clean: Run
    corrupt: Run
    clean_from_corrupt: Sources
    """For each clean position, the corrupted positions whose mean state stands for it."""
    corrupt_from_clean: Sources
    """The same, the other way round."""
    first_difference: int
    """First position at which the two runs differ, or correspond otherwise than to themselves."""
    rule: str = "identity"
    """How positions were brought to correspond, to count pairs by."""


def positions_of_cue(pair: Pair, true: Tokens) -> list[int]:
    """Return the positions of the cue in the true statement.

    Raises:
        AlignmentError: "affirmative-clean" where the true statement holds no cue, "truncated"
            where no token stands for it.
    """
    return [i for i, role in enumerate(_roles(pair, true)) if role == "cue"]


def on_cue(
    pair: Pair, true: Tokens, *, ids: tuple[int, ...] | None = None, edit: RunEdit | None = None
) -> Contrast:
    """Return the contrast of the true statement with itself, corrupted at its cue alone.

    Args:
        pair: its true statement is the negated one.
        true: the tokens of that statement.
        ids: token ids to run instead, as many, which differ in the cue only; for what puts
            other words there.
        edit: what happens to the input of block 0, [token width]; for what has no words.

    Raises:
        AlignmentError: "affirmative-clean" where the true statement holds no cue, "truncated"
            where no token stands for it.
    """
    roles = _roles(pair, true)
    own = tuple((i,) for i in range(len(true)))
    return Contrast(
        clean=Run(ids=true.ids, roles=roles, read_out=true.read_out),
        corrupt=Run(ids=ids or true.ids, roles=roles, read_out=true.read_out, edit=edit),
        clean_from_corrupt=own,
        corrupt_from_clean=own,
        first_difference=roles.index("cue"),
    )


def _roles(pair: Pair, true: Tokens) -> tuple[str, ...]:
    if pair.negated != "true":
        raise AlignmentError(
            "affirmative-clean",
            "the true statement holds no cue to corrupt; swap works on such pairs",
        )
    return token_roles(pair.true, true, cue=pair.cue, subject=pair.subject)
