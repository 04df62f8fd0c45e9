"""Claim sets as batches of tokens: every text once, equally long ones together.

Statements are never padded where that could change a number. A causal tower that is read at a
statement's end token cannot see what follows it: where a probe shows so, statements are filled to
a few lengths by repeating that token, which makes a batch of few tables instead of dozens.
"""

__all__ = ["Batch", "Examples", "prepare"]

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from negtrace.datasets.claim_sets import ClaimSet
from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import evaluating
from negtrace.errors import NegtraceWarning
from negtrace.language.cues import find_cues
from negtrace.pairs.anchor import Anchor
from negtrace.training.data import caption_of

STEP = 8
"""Lengths that statements are filled to are multiples of this."""

Batch = dict[str, Any]
"""Tensors by name; `Objective.forward` says which."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A claim set by the numbers of its texts and of its anchor."""

    caption: int
    claims: tuple[int, ...]
    """The right one first."""
    anchor: int
    anchor_text: int
    """-1 where the anchor is embedded once and for all."""
    keep: tuple[int, ...]
    """Texts to keep near what they were."""
    pictured: bool
    """Whether the anchor is an image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples(Dataset[Example]):
    """Claim sets, their texts as tokens and their anchors embedded."""

    rows: tuple[Example, ...]
    ids: tuple[tuple[int, ...], ...]
    """Tokens of each distinct text."""
    anchors: Float[Tensor, "anchor dim"]
    kept: Float[Tensor, "kept dim"]
    """Embeddings, before training, of the texts to keep."""
    kept_place: dict[int, int]
    """The row in `kept` of each such text."""
    longest: int
    """Most tokens that the encoder reads."""
    step: int = 1
    """Statements are filled to a multiple of so many tokens."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        return self.rows[index]

    def collate(self, rows: Sequence[Example]) -> Batch:
        """Return a batch: texts by length, and which of them is what."""
        wanted = [
            number
            for row in rows
            for number in (row.caption, *row.claims, *row.keep, row.anchor_text)
        ]
        place = {number: k for k, number in enumerate(dict.fromkeys(w for w in wanted if w >= 0))}
        by_length: dict[int, list[int]] = {}
        for number in place:
            by_length.setdefault(self._length(number), []).append(number)
        order = [place[number] for same in by_length.values() for number in same]
        if len(rows) > 1 and len({row.caption for row in rows}) == 1:
            _warn_of_identical(len(rows))
        alike = _same([row.caption for row in rows]) | _same([row.anchor for row in rows])
        # A text is nearer to a text than an image is, whatever they say.
        alike |= ~_same([row.pictured for row in rows])
        keep = sorted({number for row in rows for number in row.keep})
        most = max(len(row.claims) for row in rows)
        return {
            "ids": [
                torch.tensor([filled(self.ids[number], length) for number in same])
                for length, same in by_length.items()
            ],
            "order": torch.tensor(order).argsort(),
            "captions": torch.tensor([place[row.caption] for row in rows]),
            "claims": torch.tensor(
                [
                    [*(place[c] for c in row.claims), *[-1] * (most - len(row.claims))]
                    for row in rows
                ]
            ),
            "anchors": self.anchors[[row.anchor for row in rows]],
            "anchor_texts": torch.tensor([place.get(row.anchor_text, -1) for row in rows]),
            "same": alike,
            "keep": torch.tensor([place[number] for number in keep], dtype=torch.long),
            "kept": self.kept[[self.kept_place[number] for number in keep]],
        }

    def _length(self, number: int) -> int:
        """Return how many tokens a text is run at."""
        return min(-(-len(self.ids[number]) // self.step) * self.step, self.longest)


def filled(ids: Sequence[int], length: int) -> list[int]:
    """Return tokens with the last of them repeated up to a length."""
    return [*ids, *[ids[-1]] * (length - len(ids))]


def can_be_filled(encoder: Encoder) -> bool:
    """Tell whether what follows a statement's last token changes nothing, by running a probe."""
    ids = encoder.probe
    length = min(ids.shape[1] + STEP, encoder.max_tokens)
    longer = torch.tensor([filled(ids[0].tolist(), length)], device=ids.device)
    with torch.no_grad(), evaluating(encoder.model):
        plain, other = encoder.encode(ids), encoder.encode(longer)
    return encoder.causal and torch.allclose(plain, other, rtol=1e-4, atol=1e-5)


def _warn_of_identical(count: int) -> None:
    warnings.warn(
        f"a batch of {count} identical captions: the contrastive loss has nothing to tell apart "
        "in it and is 0 there; give more captions, or a larger batch",
        NegtraceWarning,
        stacklevel=3,
    )


def _same(numbers: Sequence[int]) -> Tensor:
    given = torch.tensor(numbers)
    return given[:, None] == given[None]


def prepare(encoder: Encoder, sets: Sequence[ClaimSet], *, joint: bool, keep: bool) -> Examples:
    """Return the examples of claim sets; each distinct anchor is embedded once, without gradient.

    Args:
        encoder: as it is before training.
        sets: usable ones.
        joint: leave text anchors to be embedded in every batch.
        keep: embed the captions that deny nothing, and text anchors, to be kept near what they are.
    """
    anchors = list(dict.fromkeys(one.anchor for one in sets))
    anchor_place = {anchor: k for k, anchor in enumerate(anchors)}
    kept = [_to_keep(one) if keep else () for one in sets]
    steady = list(dict.fromkeys(text for texts in kept for text in texts))
    texts = dict.fromkeys(text for one in sets for text in _texts(one, joint=joint))
    place = {text: k for k, text in enumerate(dict.fromkeys([*texts, *steady]))}
    with torch.no_grad(), evaluating(encoder.model):
        embedded = encoder.embed_anchors(anchors)
        before = encoder.embed_texts(steady) if steady else embedded[:0]
    return Examples(
        rows=tuple(
            _example(one, told, place, anchor_place, joint=joint)
            for one, told in zip(sets, kept, strict=True)
        ),
        ids=tuple(tuple(tokens.ids) for tokens in encoder.tokenize(list(place))),
        anchors=embedded.cpu(),
        kept=before.cpu(),
        longest=encoder.max_tokens,
        step=STEP if can_be_filled(encoder) else 1,
        kept_place={place[text]: k for k, text in enumerate(steady)},
    )


def _to_keep(one: ClaimSet) -> tuple[str, ...]:
    """Return the texts of a set that affirm: what they mean is not to change."""
    caption = caption_of(one)
    said = () if find_cues(caption) else (caption,)
    return said if one.anchor.text is None else (*said, one.anchor.text)


def _texts(one: ClaimSet, *, joint: bool) -> list[str]:
    told = [caption_of(one), *one.statements]
    return [*told, one.anchor.text] if joint and one.anchor.text is not None else told


def _example(
    one: ClaimSet,
    kept: Sequence[str],
    place: dict[str, int],
    anchor_place: dict[Anchor, int],
    *,
    joint: bool,
) -> Example:
    text = one.anchor.text
    return Example(
        caption=place[caption_of(one)],
        claims=tuple(place[told] for told in one.statements),
        anchor=anchor_place[one.anchor],
        anchor_text=place[text] if joint and text is not None else -1,
        keep=tuple(place[told] for told in kept),
        pictured=text is None,
    )
