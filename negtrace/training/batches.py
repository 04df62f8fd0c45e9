"""Claim sets as batches: each distinct text is tokenized and run once."""

__all__ = ["Examples", "TrainingBatch", "examples_of"]

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from negtrace.datasets.claim_sets import ClaimSet
from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import evaluating
from negtrace.errors import NegtraceWarning
from negtrace.language.cues import find_cues
from negtrace.pairs.anchor import Anchor
from negtrace.training.data import caption_of
from negtrace.training.text_tables import TextTables, text_tables

NO_TEXT = -1
"""Stands for an index where there is no text."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingBatch:
    """The texts of some claim sets, and the role of each text. A row is a claim set.

    A text is an index into the embeddings of `texts`.
    """

    tokens: tuple[Int[Tensor, "_ _"], ...]
    """Token ids of every distinct text, a table for each length."""
    order: Int[Tensor, " text"]
    """Row of each text in those tables, one table after another."""
    captions: Int[Tensor, " row"]
    """The text that describes the anchor."""
    claims: Int[Tensor, "row claim"]
    """The right claim, then the wrong ones; -1 where a row has fewer."""
    anchors: Float[Tensor, "row dim"]
    """Embeddings of the anchors by the original model."""
    anchor_texts: Int[Tensor, " row"]
    """The text that the anchor is, if it is embedded in training; else -1."""
    no_negatives: Bool[Tensor, "row row"]
    """True where two rows must not be negatives of each other in the contrastive loss."""
    kept: Int[Tensor, " kept"]
    """Texts whose embeddings are to stay as they were."""
    kept_embeddings: Float[Tensor, "kept dim"]
    """Embeddings of those texts by the original model."""

    def to(self, device: torch.device | str) -> "TrainingBatch":
        """Return the batch on a device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        tables = tuple(table.to(device) for table in tensors.pop("tokens"))
        return TrainingBatch(
            tokens=tables, **{name: value.to(device) for name, value in tensors.items()}
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A claim set with its texts and its anchor as numbers."""

    caption: int
    claims: tuple[int, ...]
    """The right claim first."""
    anchor: int
    anchor_text: int
    """-1 if the anchor is embedded once, before training."""
    kept: tuple[int, ...]
    """Texts whose embeddings are to stay as they were."""
    pictured: bool
    """Whether the anchor is an image."""

    @property
    def texts(self) -> tuple[int, ...]:
        """Every text of the example."""
        anchor = () if self.anchor_text == NO_TEXT else (self.anchor_text,)
        return self.caption, *self.claims, *self.kept, *anchor


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples(Dataset[Example]):
    """Claim sets, the tokens of their texts, and the embeddings of their anchors."""

    rows: tuple[Example, ...]
    texts: TextTables
    """Token ids of each distinct text, by its number."""
    anchors: Float[Tensor, "anchor dim"]
    """Embeddings of the distinct anchors before training."""
    kept: Mapping[int, int]
    """Row in `kept_embeddings` of each text that is to stay as it was."""
    kept_embeddings: Float[Tensor, "kept dim"]
    """Embeddings of those texts before training."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        return self.rows[index]

    def inputs(self, rows: Sequence[Example]) -> dict[str, TrainingBatch]:
        """Return the arguments of `Objective.forward` for some examples."""
        return {"batch": self.collate(rows)}

    def collate(self, rows: Sequence[Example]) -> TrainingBatch:
        """Return some examples as a batch.

        Warns when all captions are the same, because the contrastive loss is then 0.
        """
        _warn_of_identical([row.caption for row in rows])
        numbers = dict.fromkeys(number for row in rows for number in row.texts)
        index = {number: k for k, number in enumerate(numbers)}
        tokens, order = self.texts.of(index)
        kept = sorted({number for row in rows for number in row.kept})
        return TrainingBatch(
            tokens=tokens,
            order=order,
            captions=torch.tensor([index[row.caption] for row in rows]),
            claims=_padded([[index[number] for number in row.claims] for row in rows]),
            anchors=self.anchors[[row.anchor for row in rows]],
            anchor_texts=torch.tensor([index.get(row.anchor_text, NO_TEXT) for row in rows]),
            no_negatives=_no_negatives(rows),
            kept=torch.tensor([index[number] for number in kept], dtype=torch.long),
            kept_embeddings=self.kept_embeddings[[self.kept[number] for number in kept]],
        )


def _padded(rows: Sequence[Sequence[int]]) -> Int[Tensor, "row claim"]:
    """Return rows of unequal length as a table, filled up with -1."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[NO_TEXT] * (longest - len(row))] for row in rows])


def _no_negatives(rows: Sequence[Example]) -> Bool[Tensor, "row row"]:
    """Return True for rows with a caption or an anchor in common, or anchors of different kinds.

    A text is closer to every text than an image is, whatever they say. So texts and images are no
    negatives of each other.
    """
    same_caption = _equal([row.caption for row in rows])
    same_anchor = _equal([row.anchor for row in rows])
    same_kind = _equal([row.pictured for row in rows])
    return same_caption | same_anchor | ~same_kind


def _equal(numbers: Sequence[int]) -> Bool[Tensor, "row row"]:
    values = torch.tensor(numbers)
    return values[:, None] == values[None]


def _warn_of_identical(captions: Sequence[int]) -> None:
    if len(captions) > 1 and len(set(captions)) == 1:
        warnings.warn(
            f"a batch of {len(captions)} identical captions: the contrastive loss has nothing to "
            "tell apart in it and is 0 there; give more captions, or a larger batch",
            NegtraceWarning,
            stacklevel=3,
        )


def examples_of(encoder: Encoder, sets: Sequence[ClaimSet], *, joint: bool, keep: bool) -> Examples:
    """Return the examples of claim sets, with each distinct anchor embedded once.

    Args:
        encoder: the encoder before training.
        sets: usable claim sets.
        joint: leave text anchors to be embedded in every batch.
        keep: embed the affirmative texts too: captions without a denial, and text anchors.
    """
    anchors = list(dict.fromkeys(claim_set.anchor for claim_set in sets))
    kept_texts = [_affirmative(claim_set) if keep else () for claim_set in sets]
    kept = list(dict.fromkeys(text for texts in kept_texts for text in texts))
    texts = [text for claim_set in sets for text in _texts(claim_set, joint=joint)]
    number_of = {text: number for number, text in enumerate(dict.fromkeys([*texts, *kept]))}
    anchor_number = {anchor: number for number, anchor in enumerate(anchors)}
    with torch.no_grad(), evaluating(encoder.model):
        embedded = encoder.embed_anchors(anchors)
        kept_embeddings = encoder.embed_texts(kept) if kept else embedded[:0]
    return Examples(
        rows=tuple(
            _example(claim_set, kept_of_set, number_of, anchor_number[claim_set.anchor], joint)
            for claim_set, kept_of_set in zip(sets, kept_texts, strict=True)
        ),
        texts=text_tables(encoder, list(number_of)),
        anchors=embedded.cpu(),
        kept={number_of[text]: k for k, text in enumerate(kept)},
        kept_embeddings=kept_embeddings.cpu(),
    )


def _example(
    claim_set: ClaimSet,
    kept: Sequence[str],
    number_of: Mapping[str, int],
    anchor: int,
    joint: bool,
) -> Example:
    """Return a claim set as numbers of texts and of its anchor."""
    return Example(
        caption=number_of[caption_of(claim_set)],
        claims=tuple(number_of[text] for text in claim_set.statements),
        anchor=anchor,
        anchor_text=_anchor_text(claim_set.anchor, number_of) if joint else NO_TEXT,
        kept=tuple(number_of[text] for text in kept),
        pictured=claim_set.anchor.text is None,
    )


def _anchor_text(anchor: Anchor, number_of: Mapping[str, int]) -> int:
    return NO_TEXT if anchor.text is None else number_of[anchor.text]


def _affirmative(claim_set: ClaimSet) -> tuple[str, ...]:
    """Return the texts of a set that deny nothing; their meaning should not change."""
    caption, anchor = caption_of(claim_set), claim_set.anchor.text
    captions = () if find_cues(caption) else (caption,)
    return captions if anchor is None else (*captions, anchor)


def _texts(claim_set: ClaimSet, *, joint: bool) -> list[str]:
    texts = [caption_of(claim_set), *claim_set.statements]
    anchor = claim_set.anchor.text
    return [*texts, anchor] if joint and anchor is not None else texts
