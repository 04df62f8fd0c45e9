"""Corruptions by other words: swap, neutral, mask, resample."""

__all__ = ["Mask", "Neutral", "Resample", "Swap"]

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.errors import TraceError
from negtrace.pairs.alignment import lay_out
from negtrace.pairs.pair import Pair
from negtrace.pairs.roles import AlignmentError, token_roles
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.corruptions.base import CORRUPTIONS, Corruption, generator_of
from negtrace.tracing.corruptions.contrast import Contrast, Run, on_cue, positions_of_cue


@CORRUPTIONS.register("swap")
@dataclass(frozen=True, kw_only=True)
class Swap(Corruption):
    """The false statement takes the place of the true one (symmetric token replacement).

    The corruption that Zhang & Nanda (arXiv 2309.16042) recommend, and that NAST
    (arXiv 2602.12498) and Quantmeyer et al. (arXiv 2407.10488) use.
    """

    name = "swap"

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        layout = lay_out(pair, true, false)
        return [
            Contrast(
                clean=Run(ids=true.ids, roles=layout.roles_true, read_out=true.read_out),
                corrupt=Run(ids=false.ids, roles=layout.roles_false, read_out=false.read_out),
                clean_from_corrupt=layout.true_from_false,
                corrupt_from_clean=layout.false_from_true,
                first_difference=layout.first_difference,
                rule=layout.rule,
            )
        ]


@CORRUPTIONS.register("neutral")
@dataclass(frozen=True, kw_only=True)
class Neutral(Corruption):
    """Each token of the cue becomes a word that neither negates nor affirms."""

    name = "neutral"

    word: str = "the"
    """The neutral word; the encoder's tokenizer must read it as one token."""

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        cue = positions_of_cue(pair, true)
        start, end = pair.cue
        word = self.word.capitalize() if pair.true[start].isupper() else self.word
        phrase = " ".join([word, *[self.word] * (len(cue) - 1)])
        reworded = pair.true[:start] + phrase + pair.true[end:]
        [neutral] = encoder.tokenize_against([reworded], [pair.anchor])
        changed = _changed(true.ids, neutral.ids) if len(neutral) == len(true) else set()
        if not changed or not changed <= {*cue}:
            raise AlignmentError(
                "neutral-word",
                "the neutral word does not fill the cue token for token; choose another word",
            )
        return [on_cue(pair, true, ids=neutral.ids)]


@CORRUPTIONS.register("mask")
@dataclass(frozen=True, kw_only=True)
class Mask(Corruption):
    """Each token of the cue becomes the tokenizer's mask token (BERT, arXiv 1810.04805)."""

    name = "mask"

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        mask = encoder.mask_token_id
        if mask is None:
            raise TraceError(
                f"the tokenizer of {encoder.name} has no mask token, and a tower that never saw "
                "one cannot read it; choose neutral, mean or resample"
            )
        cue = positions_of_cue(pair, true)
        return [on_cue(pair, true, ids=_replaced(true.ids, cue, [mask] * len(cue)))]


@CORRUPTIONS.register("resample")
@dataclass(frozen=True, kw_only=True)
class Resample(Corruption):
    """Each token of the cue becomes a word of another pair (resampling ablation).

    After causal scrubbing (Chan et al. 2022), on single tokens: another pair is drawn, then one of
    the text tokens of its two statements that belongs to no pair's cue. Draws are seeded by the
    pair's content; they depend on which pairs there are, not on their order.
    """

    name = "resample"

    samples: int = 8
    """Independent draws whose scores are averaged."""
    seed: int = 0
    words: dict[str, tuple[int, ...]] | None = field(default=None, repr=False, compare=False)
    """Token ids to draw from, by pair id."""

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise TraceError(f"{self.samples} samples to resample; expected at least one")

    @override
    def prepared(self, pairs: Sequence[Pair], encoder: Encoder) -> Corruption:
        if len(pairs) < 2:
            raise TraceError(
                f"resample draws words from other pairs, and {len(pairs)} was given; give at "
                "least two, or choose another corruption"
            )
        cues: set[int] = set()
        words: dict[str, list[int]] = {}
        for pair, token, role in _text_tokens(pairs, encoder):
            if role == "cue":
                cues.add(token)
            else:
                words.setdefault(pair.id, []).append(token)
        drawable = {id_: _without(words[id_], cues) for id_ in sorted(words)}
        return replace(self, words={id_: kept for id_, kept in drawable.items() if kept})

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        if self.words is None:
            raise TraceError("resample needs all pairs first; call prepared(pairs, encoder)")
        cue = positions_of_cue(pair, true)
        others = [words for id_, words in self.words.items() if id_ != pair.id]
        if not others:
            raise AlignmentError(
                "nothing-to-draw", "no other pair holds a word that is no cue; add pairs"
            )
        drawn = (self._drawn(pair, sample, others, len(cue)) for sample in range(self.samples))
        return [on_cue(pair, true, ids=_replaced(true.ids, cue, tokens)) for tokens in drawn]

    def _drawn(
        self, pair: Pair, sample: int, others: Sequence[Sequence[int]], count: int
    ) -> list[int]:
        generator = generator_of(pair, self.seed, sample)

        def one_of(choices: Sequence[Sequence[int]] | Sequence[int]) -> int:
            return int(torch.randint(len(choices), (), generator=generator))

        chosen = [others[one_of(others)] for _ in range(count)]
        return [words[one_of(words)] for words in chosen]


def _text_tokens(pairs: Sequence[Pair], encoder: Encoder) -> Iterator[tuple[Pair, int, str]]:
    """Yield every text token of both statements of every pair, with its role."""
    for pair in pairs:
        for text in (pair.true, pair.false):
            [tokens] = encoder.tokenize_against([text], [pair.anchor])
            negated = text == pair.negated_statement
            try:
                roles = token_roles(text, tokens, cue=pair.cue if negated else None, subject=None)
            except AlignmentError:
                continue
            for token, role, added in zip(tokens.ids, roles, tokens.added, strict=True):
                if not added:
                    yield pair, token, role


def _without(words: Sequence[int], cues: Collection[int]) -> tuple[int, ...]:
    return tuple(word for word in words if word not in cues)


def _changed(ids: Sequence[int], others: Sequence[int]) -> set[int]:
    """Return the positions at which two rows differ."""
    return {i for i, (one, other) in enumerate(zip(ids, others, strict=True)) if one != other}


def _replaced(
    ids: tuple[int, ...], positions: Sequence[int], tokens: Sequence[int]
) -> tuple[int, ...]:
    new = dict(zip(positions, tokens, strict=True))
    return tuple(new.get(i, token) for i, token in enumerate(ids))
