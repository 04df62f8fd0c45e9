"""Pairs: a true and a false statement about one anchor, one of them negated."""

__all__ = [
    "Pair",
    "as_sequence",
    "ordered_digest",
    "pairs_digest",
    "public_ids",
    "with_public_ids",
]

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, cast

from typing_extensions import override

from negtrace._lazy import LazySequence
from negtrace._messages import excerpt
from negtrace.errors import PairError
from negtrace.language.cues import Cue, find_cues, subject_of, subject_span
from negtrace.language.words import Span
from negtrace.pairs.anchor import Anchor, require_text

Polarity = Literal["true", "false"]

_FIND = cast(Any, None)
"""Default of a field that is never None after `__post_init__`."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two statements about one anchor, one true and one false; exactly one is negated, by one cue.

    The cue and its subject (what it negates) are found in the text. If both statements hold a cue,
    say which one counts with `negated` and `cue`; then no cue is searched.

    >>> pair = Pair(
    ...     true="There is no effusion.",
    ...     false="There is some effusion.",
    ...     anchor=Anchor(text="The costophrenic angles are sharp."),
    ... )
    >>> pair.negated, pair.cue, pair.subject
    ('true', (9, 11), 'effusion')

    Raises:
        PairError: for equal or blank statements, no cue, a cue in both, two cues in one, a cue
            outside the text, or a subject that is not in the negated statement.
    """

    true: str
    false: str
    anchor: Anchor
    id: str = ""
    """Unique name; by default, the first 12 characters of the digest."""
    id_is_public: bool = field(default=False, compare=False)
    """True where the id tells nothing of anyone, as with built-in pairs: files of results hold it.
    They name any other pair by its digest, unless the trace is told to include ids."""
    subject: str | None = None
    """Words that are negated; by default, the first noun phrase in the cue's scope, if any."""
    negated: Polarity = _FIND
    """Which statement is negated; by default, the one with a cue."""
    cue: Span = _FIND
    """Character span of the cue in the negated statement; by default, it is found."""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Labels to group results by. The digest does not depend on them."""

    def __post_init__(self) -> None:
        require_text("true statement", self.true)
        require_text("false statement", self.false)
        if self.true == self.false:
            raise PairError(
                "the true and the false statement are equal; they must differ by a negation"
            )
        if (self.negated is None) != (self.cue is None):
            raise PairError("only one of `negated` and `cue` is given; give both or neither")
        negated, cue = self._found() if self.cue is None else self._given()
        text = self.true if negated == "true" else self.false
        subject = _derived(text, cue) if self.subject is None else self.subject
        if subject is not None and subject_span(text, subject, cue=cue) is None:
            raise PairError(
                f"the subject {excerpt(subject)} is not in the negated statement {excerpt(text)}; "
                "give words that stand in it outside its cue, or leave the subject out"
            )
        self._fill(negated=negated, cue=cue, subject=subject, tags=dict(self.tags))
        self._fill(id=self.id or self.digest[:12])

    def _fill(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _found(self) -> tuple[Polarity, Span]:
        """Return the one negated statement and its one cue."""
        cues: dict[Polarity, tuple[Cue, ...]]
        cues = {"true": find_cues(self.true), "false": find_cues(self.false)}
        negated: list[Polarity] = [polarity for polarity in cues if cues[polarity]]
        way_out = "or say which cue counts with `negated` and `cue`"
        if not negated:
            raise PairError(
                f"no cue of negation in {excerpt(self.true)} nor in {excerpt(self.false)}; "
                f"reword the negated one, {way_out}"
            )
        if len(negated) == 2:
            raise PairError(
                f"a cue in both statements: {cues['true'][0].text!r} in {excerpt(self.true)} and "
                f"{cues['false'][0].text!r} in {excerpt(self.false)}; make one affirmative, "
                f"{way_out}"
            )
        [polarity] = negated
        first, *others = cues[polarity]
        if others:
            text = self.true if polarity == "true" else self.false
            words = ", ".join(repr(cue.text) for cue in (first, *others))
            raise PairError(
                f"{1 + len(others)} cues in one statement, {words} in {excerpt(text)}; keep one, "
                f"{way_out}"
            )
        return polarity, (first.start, first.end)

    def _given(self) -> tuple[Polarity, Span]:
        """Return `negated` and `cue` as given, or raise a PairError if they do not fit the text."""
        if self.negated not in ("true", "false"):
            raise PairError(f"negated is {excerpt(self.negated)}; expected 'true' or 'false'")
        start, end = self.cue
        text = self.true if self.negated == "true" else self.false
        if not 0 <= start < end <= len(text) or not text[start:end].strip():
            raise PairError(
                f"the cue ({start}, {end}) spans no word of the negated statement {excerpt(text)}, "
                f"which has {len(text)} characters; give (first character, character after the "
                "last)"
            )
        return self.negated, (start, end)

    @property
    def public_id(self) -> str:
        """Name of the pair in files of results: the id if it is public, else a part of the digest.

        Who has the pair can find it by this name; who has only the name learns neither id nor text.
        """
        return self.id if self.id_is_public else self.digest[:12]

    @property
    def negated_statement(self) -> str:
        """The statement that holds the cue."""
        return self.true if self.negated == "true" else self.false

    @property
    def affirmative_statement(self) -> str:
        """The statement without the cue."""
        return self.false if self.negated == "true" else self.true

    @cached_property
    def digest(self) -> str:
        """SHA-256 of statements, anchor, polarity and cue; not of id, subject and tags."""
        content = [self.true, self.false, self.anchor.digest, self.negated, *self.cue]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _derived(text: str, cue: Span) -> str | None:
    """Return the subject of the cue that stands at a span."""
    return next(
        (subject_of(text, found) for found in find_cues(text) if (found.start, found.end) == cue),
        None,
    )


def as_sequence(pairs: Iterable[Pair]) -> Sequence[Pair]:
    """Return pairs that can be read several times: themselves, or a list."""
    return pairs if isinstance(pairs, Sequence) else list(pairs)


def public_ids(pairs: Iterable[Pair]) -> tuple[str, ...]:
    """Return the name of each pair in files of results; pairs of equal content are numbered."""
    seen: Counter[str] = Counter()
    names = []
    for pair in pairs:
        seen[pair.public_id] += 1
        count = seen[pair.public_id]
        names.append(pair.public_id if count == 1 else f"{pair.public_id}-{count}")
    return tuple(names)


def with_public_ids(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """Return the pairs with ids that files of results may hold, each made where it is used."""
    return _PublicPairs(pairs)


class _PublicPairs(LazySequence[Pair]):
    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    @override
    def item(self, index: int) -> Pair:
        return _public(self._pairs[index])

    @override
    def items(self, index: slice) -> list[Pair]:
        return list(map(_public, self._pairs[index]))

    def __iter__(self) -> Iterator[Pair]:
        return map(_public, self._pairs)


def _public(pair: Pair) -> Pair:
    return replace(pair, id_is_public=True)


def ordered_digest(pairs: Iterable[Pair]) -> str:
    """Return one SHA-256 over id, digest and subject of all pairs, in their order."""
    digest = hashlib.sha256(b"[")
    for index, pair in enumerate(pairs):
        row = json.dumps([pair.id, pair.digest, pair.subject])
        digest.update(f"{', ' if index else ''}{row}".encode())
    digest.update(b"]")
    return digest.hexdigest()


def pairs_digest(pairs: Iterable[Pair]) -> str:
    """Return one SHA-256 over the digests of all pairs; their order does not matter."""
    digest = hashlib.sha256()
    for each in sorted(bytes.fromhex(pair.digest) for pair in pairs):
        digest.update(each.hex().encode())
    return digest.hexdigest()
