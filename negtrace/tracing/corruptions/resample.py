"""Resample: words of other pairs replace the tokens of the cue."""

__all__ = ["Resample"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.errors import AlignmentError, TraceError
from negtrace.pairs.pair import Pair
from negtrace.pairs.roles import token_roles
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.corruptions.base import CORRUPTIONS, Corruption
from negtrace.tracing.corruptions.contrast import Contrast, contrast_at_cue, cue_positions
from negtrace.tracing.corruptions.seeding import generator_for


@CORRUPTIONS.register("resample")
@dataclass(frozen=True, kw_only=True)
class Resample(Corruption):
    """A word of another pair replaces each token of the cue (resampling ablation).

    After causal scrubbing (Chan et al. 2022), on single tokens. First another pair is drawn, then
    one of the text tokens of its two statements that belongs to no pair's cue. Draws are seeded by
    the content of the pair. They depend on which pairs are traced, not on their order.
    """

    name = "resample"

    samples: int = 8
    """Independent draws, whose scores are averaged."""
    seed: int = 0
    """Seed of the draws."""
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
        drawable = {
            id_: tuple(word for word in words[id_] if word not in cues) for id_ in sorted(words)
        }
        return replace(self, words={id_: ids for id_, ids in drawable.items() if ids})

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        if self.words is None:
            raise TraceError("resample needs all pairs first; call prepared(pairs, encoder)")
        cue = cue_positions(pair, true)
        others = [words for id_, words in self.words.items() if id_ != pair.id]
        if not others:
            raise AlignmentError(
                "nothing-to-draw", "no other pair holds a word that is no cue; add pairs"
            )
        contrasts = []
        for sample in range(self.samples):
            drawn = dict(zip(cue, self._drawn(pair, sample, others, len(cue)), strict=True))
            ids = tuple(drawn.get(i, token) for i, token in enumerate(true.ids))
            contrasts.append(contrast_at_cue(pair, true, ids=ids))
        return contrasts

    def _drawn(
        self, pair: Pair, sample: int, others: Sequence[Sequence[int]], count: int
    ) -> list[int]:
        """Return `count` token ids, each from a pair that is drawn first."""
        generator = generator_for(pair, self.seed, sample)

        def draw(length: int) -> int:
            return int(torch.randint(length, (), generator=generator))

        chosen = [others[draw(len(others))] for _ in range(count)]
        return [words[draw(len(words))] for words in chosen]


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
