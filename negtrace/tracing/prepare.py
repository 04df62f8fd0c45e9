"""Pairs prepared for a sweep: their contrasts, or the reason why a pair cannot be traced."""

__all__ = [
    "PreparedContrasts",
    "PreparedPair",
    "PreparedPairs",
    "prepare",
    "require_some",
    "warn_of_differences",
]

import hashlib
import warnings
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace

from typing_extensions import override

from negtrace._files import canonical
from negtrace._lazy import LazySequence
from negtrace.encoders.base import Encoder
from negtrace.errors import AlignmentError, EncoderError, NegtraceWarning, TraceError
from negtrace.pairs.differences import Differences, differences_note
from negtrace.pairs.pair import Pair
from negtrace.pairs.roles import ROLES
from negtrace.pairs.tokens import Tokens
from negtrace.results.provenance import Dropped, dropped_pair
from negtrace.tracing.corruptions.base import Corruption
from negtrace.tracing.corruptions.contrast import Contrast, Run
from negtrace.tracing.engines.sweep import Contrasts
from negtrace.tracing.positions import WHOLE, Positions, groups_of

AT_ONCE = 2_000
"""Most pairs whose contrasts are in memory. Of more, each is prepared again where it is run."""

LAST = 256
"""Pairs prepared again that are kept, the last ones: a batch is used more than once."""

LABELS = (*ROLES, WHOLE)
"""Every label of a group of positions."""

_NOWHERE = -1
"""Stands for the read-out of a tower that pools over positions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedPair:
    """A pair, and what is run for it."""

    pair: Pair
    contrasts: Sequence[Contrast]
    """One contrast, or several samples whose scores are averaged."""

    @property
    def differing(self) -> Differences:
        """Words in which the two runs differ apart from the negation, the same in every sample."""
        return self.contrasts[0].differing

    @property
    def rule(self) -> str:
        """Name of the rule that aligned the two runs, the same in every sample."""
        return self.contrasts[0].rule


class PreparedPairs(LazySequence[PreparedPair]):
    """Pairs that can be traced, prepared one by one where there are very many.

    What a trace needs to know about all of them beforehand is a few numbers a pair.

    Args:
        encoder: the model.
        pairs: all pairs, also those that turn out to be untraceable.
        corruption: the corruption, prepared.
        positions: what is patched at once.
    """

    def __init__(
        self, encoder: Encoder, pairs: Sequence[Pair], corruption: Corruption, positions: Positions
    ) -> None:
        self._encoder, self._all = encoder, pairs
        self._corruption, self._positions = corruption, positions
        self._indices = array("q")
        self._read_outs = array("q")
        self._held: list[PreparedPair] | None = []
        self._last: dict[int, PreparedPair] = {}
        self.differing: list[Differences] = []
        """Words in which the two runs of each pair differ apart from the negation."""
        self.rules: list[str] = []
        """Name of the rule that aligned each pair."""
        self.contrasts = PreparedContrasts(self)
        """The contrasts of one pair after the other."""
        self._seen: dict[Differences, Differences] = {}

    @override
    def __len__(self) -> int:
        return len(self._indices)

    @override
    def item(self, index: int) -> PreparedPair:
        if self._held is not None:
            return self._held[index]
        if index not in self._last:
            if len(self._last) == LAST:
                del self._last[next(iter(self._last))]
            self._last[index] = self._again(index)
        return self._last[index]

    def pair(self, index: int) -> Pair:
        """Return one pair without preparing it."""
        return self._all[self._indices[index]]

    def of_contrast(self, index: int) -> Pair:
        """Return the pair that a contrast belongs to, without preparing it."""
        return self.pair(bisect_right(self.contrasts.starts, index) - 1)

    def pairs(self) -> Iterator[Pair]:
        """Yield all pairs in their order, without preparing them."""
        wanted = iter(self._indices)
        following = next(wanted, None)
        for index, pair in enumerate(self._all):
            if index == following:
                yield pair
                following = next(wanted, None)

    def add(self, index: int, prepared: PreparedPair, true: Tokens, false: Tokens) -> None:
        """Add the pair at an index of all pairs, which was prepared from these tokens."""
        self._indices.append(index)
        self._read_outs.extend(
            _NOWHERE if each.read_out is None else each.read_out for each in (true, false)
        )
        self.differing.append(self._seen.setdefault(prepared.differing, prepared.differing))
        self.rules.append(prepared.rule)
        self.contrasts.add(prepared.contrasts)
        if self._held is not None and len(self) <= AT_ONCE:
            self._held.append(prepared)
        else:
            self._held = None

    def _again(self, index: int) -> PreparedPair:
        """Prepare a pair again, read out where the first preparation found."""
        pair = self.pair(index)
        tokens = self._encoder.tokenize_against([pair.true, pair.false], [pair.anchor] * 2)
        true, false = (
            replace(each, read_out=None if at == _NOWHERE else at)
            for each, at in zip(tokens, self._read_outs[2 * index : 2 * index + 2], strict=True)
        )
        contrasts = self._corruption.contrasts(pair, true, false, self._encoder)
        return _prepared(pair, contrasts, self._positions)


class PreparedContrasts(Contrasts):
    """The contrasts of prepared pairs, one pair after the other."""

    def __init__(self, prepared: PreparedPairs) -> None:
        self._prepared = prepared
        self._digest = hashlib.sha256()
        self._labels = {"clean": array("b"), "corrupt": array("b")}
        self._widths = {"clean": array("l"), "corrupt": array("l")}
        self._lengths = array("l"), array("l")
        self.starts = array("q")
        """Index of the first contrast of each pair."""

    @override
    def __len__(self) -> int:
        return len(self._lengths[0])

    @override
    def item(self, index: int) -> Contrast:
        owner = bisect_right(self.starts, index) - 1
        return self._prepared[owner].contrasts[index - self.starts[owner]]

    @property
    @override
    def lengths(self) -> Iterable[tuple[int, int]]:
        return zip(*self._lengths, strict=True)

    @property
    @override
    def digest(self) -> str:
        """SHA-256 of tokens, groups and correspondence of every contrast."""
        return f"sha256:{self._digest.hexdigest()}"

    def widths(self, run: str) -> Sequence[int]:
        """Return the number of groups of every contrast that are patched in one of its runs.

        Args:
            run: `clean` or `corrupt`.
        """
        return self._widths[run]

    def groups(self, run: str) -> Iterator[list[str]]:
        """Yield the labels of the groups of every contrast that are patched in one of its runs.

        Args:
            run: `clean` or `corrupt`.
        """
        start, labels = 0, self._labels[run]
        for width in self._widths[run]:
            yield [LABELS[label] for label in labels[start : start + width]]
            start += width

    def add(self, contrasts: Sequence[Contrast]) -> None:
        """Add the contrasts of the next pair."""
        self.starts.append(len(self))
        for contrast in contrasts:
            for run, lengths in zip((contrast.clean, contrast.corrupt), self._lengths, strict=True):
                lengths.append(len(run.ids))
            for name in self._labels:
                groups = getattr(contrast, name).groups
                self._labels[name].extend(LABELS.index(label) for label, _ in groups)
                self._widths[name].append(len(groups))
            runs = [[r.ids, r.read_out, r.groups] for r in (contrast.clean, contrast.corrupt)]
            maps = [contrast.clean_from_corrupt, contrast.corrupt_from_clean]
            self._digest.update(canonical([runs, maps]) + b"\n")


def prepare(
    encoder: Encoder, pairs: Sequence[Pair], corruption: Corruption, positions: Positions
) -> tuple[PreparedPairs, list[Dropped]]:
    """Return the pairs that can be traced, prepared, and the others with their reasons.

    Raises:
        TraceError: when an id occurs twice, or positions are not in a pair's runs.
    """
    _require_unique_ids(pairs)
    prepared, dropped = PreparedPairs(encoder, pairs, corruption, positions), []
    for start in range(0, len(pairs), AT_ONCE):
        part = pairs[start : start + AT_ONCE]
        for index, (pair, true, false) in enumerate(_tokenized(encoder, part), start):
            try:
                _require_fit(encoder, pair, true, false)
                contrasts = corruption.contrasts(pair, true, false, encoder)
            except AlignmentError as error:
                dropped.append(dropped_pair(pair, error.code, str(error)))
            else:
                prepared.add(index, _prepared(pair, contrasts, positions), true, false)
    return prepared, dropped


def _tokenized(encoder: Encoder, pairs: Sequence[Pair]) -> Iterator[tuple[Pair, Tokens, Tokens]]:
    """Yield every pair with the tokens of its true and of its false statement."""
    anchors = [pair.anchor for pair in pairs]
    statements = [pair.true for pair in pairs] + [pair.false for pair in pairs]
    tokens = _located(encoder, encoder.tokenize_against(statements, [*anchors, *anchors]))
    yield from zip(pairs, tokens[: len(pairs)], tokens[len(pairs) :], strict=True)


def _located(encoder: Encoder, tokens: Sequence[Tokens]) -> list[Tokens]:
    """Return the tokens with the position that is read out; too long ones are dropped later."""
    fitting = [index for index, each in enumerate(tokens) if len(each) <= encoder.max_tokens]
    located = dict(zip(fitting, encoder.located([tokens[n] for n in fitting]), strict=True))
    return [located.get(index, each) for index, each in enumerate(tokens)]


def _require_unique_ids(pairs: Sequence[Pair]) -> None:
    counts = Counter(pair.id for pair in pairs)
    if repeated := [id_ for id_, count in counts.items() if count > 1]:
        raise TraceError(
            f"{len(repeated)} pair ids occur twice, {repeated[0]!r} first; make each one unique"
        )


def _prepared(pair: Pair, contrasts: Sequence[Contrast], positions: Positions) -> PreparedPair:
    grouped = [_grouped(contrast, positions, pair.id) for contrast in contrasts]
    return PreparedPair(pair=pair, contrasts=grouped)


def _grouped(contrast: Contrast, positions: Positions, pair_id: str) -> Contrast:
    """Return the contrast with the positions that are patched together."""

    def grouped(run: Run) -> Run:
        return replace(run, groups=groups_of(run.roles, positions, pair_id))

    return replace(contrast, clean=grouped(contrast.clean), corrupt=grouped(contrast.corrupt))


def _require_fit(encoder: Encoder, pair: Pair, true: Tokens, false: Tokens) -> None:
    """Raise an AlignmentError when the model cannot read a statement or the anchor."""
    try:
        encoder.require_fit(true)
        encoder.require_fit(false)
        if pair.anchor.text is not None:
            encoder.require_fit(encoder.tokenize([pair.anchor.text])[0])
    except EncoderError as error:
        raise AlignmentError("too-long", str(error)) from error
    if pair.anchor.text is None and not encoder.reads_images:
        raise AlignmentError(
            "image-anchor", "the encoder has no image tower; give the pair a text anchor"
        )


def require_some(prepared: Sized, dropped: Sequence[Dropped]) -> None:
    """Raise a TraceError, with the reasons counted, when no pair is left."""
    if len(prepared):
        return
    reasons = {drop.code: drop.reason for drop in dropped}
    counts = Counter(drop.code for drop in dropped)
    summary = "; ".join(f"{count} {code} ({reasons[code]})" for code, count in counts.items())
    raise TraceError(f"no pair is left to trace: {summary or 'no pairs were given'}")


def warn_of_differences(differing: Iterable[Differences]) -> None:
    """Warn once of all pairs whose two runs differ in more than the negation.

    The warning names the line that called the caller of this function.
    """
    if note := differences_note(differing):
        warnings.warn(note, NegtraceWarning, stacklevel=3)
