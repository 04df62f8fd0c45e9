"""Claim sets as batches of tokens: every text once, equally long ones together, none padded."""

__all__ = ["Batch", "Examples", "prepare"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from negtrace.bench.claims import ClaimSet
from negtrace.encoders.base import Encoder
from negtrace.finetune.data import caption_of
from negtrace.hooks import evaluating
from negtrace.language.cues import find_cues

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples(Dataset[Example]):
    """Claim sets, their texts as tokens and their anchors embedded."""

    rows: tuple[Example, ...]
    ids: tuple[tuple[int, ...], ...]
    """Tokens of each distinct text."""
    anchors: Float[Tensor, "anchor dim"]
    kept: Float[Tensor, "kept dim"]
    """Embeddings, before training, of the captions to keep."""
    kept_place: dict[int, int]
    """The row in `kept` of each such caption."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        return self.rows[index]

    def collate(self, rows: Sequence[Example]) -> Batch:
        """Return a batch: texts by length, and which of them is what."""
        wanted = [number for row in rows for number in (row.caption, *row.claims, row.anchor_text)]
        place = {number: k for k, number in enumerate(dict.fromkeys(w for w in wanted if w >= 0))}
        by_length: dict[int, list[int]] = {}
        for number in place:
            by_length.setdefault(len(self.ids[number]), []).append(number)
        order = [place[number] for same in by_length.values() for number in same]
        keep = sorted({row.caption for row in rows} & set(self.kept_place))
        most = max(len(row.claims) for row in rows)
        return {
            "ids": [torch.tensor([self.ids[n] for n in same]) for same in by_length.values()],
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
            "same": _same([row.caption for row in rows]) | _same([row.anchor for row in rows]),
            "keep": torch.tensor([place[number] for number in keep], dtype=torch.long),
            "kept": self.kept[[self.kept_place[number] for number in keep]],
        }


def _same(numbers: Sequence[int]) -> Tensor:
    given = torch.tensor(numbers)
    return given[:, None] == given[None]


def prepare(encoder: Encoder, sets: Sequence[ClaimSet], *, joint: bool, keep: bool) -> Examples:
    """Return the examples of claim sets; each distinct anchor is embedded once, without gradient.

    Args:
        encoder: as it is before training.
        sets: usable ones.
        joint: leave text anchors to be embedded in every batch.
        keep: embed the captions that deny nothing, to be kept near what they are.
    """
    anchors = list(dict.fromkeys(one.anchor for one in sets))
    anchor_place = {anchor: k for k, anchor in enumerate(anchors)}
    texts = dict.fromkeys(text for one in sets for text in _texts(one, joint=joint))
    place = {text: k for k, text in enumerate(texts)}
    captions = dict.fromkeys(caption_of(one) for one in sets) if keep else {}
    affirmed = [text for text in captions if not find_cues(text)]
    with torch.no_grad(), evaluating(encoder.model):
        embedded = encoder.embed_anchors(anchors)
        kept = encoder.embed_texts(affirmed) if affirmed else embedded[:0]
    return Examples(
        rows=tuple(_example(one, place, anchor_place, joint=joint) for one in sets),
        ids=tuple(tuple(tokens.ids) for tokens in encoder.tokenize(list(texts))),
        anchors=embedded.cpu(),
        kept=kept.cpu(),
        kept_place={place[text]: k for k, text in enumerate(affirmed)},
    )


def _texts(one: ClaimSet, *, joint: bool) -> list[str]:
    told = [caption_of(one), one.right, *(text for _, text in one.wrong)]
    return [*told, one.anchor.text] if joint and one.anchor.text is not None else told


def _example(
    one: ClaimSet, place: dict[str, int], anchor_place: dict[Any, int], *, joint: bool
) -> Example:
    text = one.anchor.text
    return Example(
        caption=place[caption_of(one)],
        claims=tuple(place[told] for told in (one.right, *(wrong for _, wrong in one.wrong))),
        anchor=anchor_place[one.anchor],
        anchor_text=place[text] if joint and text is not None else -1,
    )
