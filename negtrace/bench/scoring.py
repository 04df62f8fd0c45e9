"""What an encoder scores: statements against their anchors, and against none that tells anything.

Every distinct statement and anchor is embedded once (every distinct row of both, where they are
read together), so that equal ones tie exactly.
"""

__all__ = ["blank", "matrix", "options", "reads_together", "require_alone", "similarities"]

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from negtrace.bench.items import Item
from negtrace.encoders.base import Encoder
from negtrace.encoders.batching import batched, batches_by_length
from negtrace.encoders.hooks import evaluating
from negtrace.errors import BenchError
from negtrace.pairs.anchor import Anchor

BLANK_TEXT = "A chest radiograph."

ANCHORS = 16
"""Anchors embedded at once where statements are read together with them."""


def blank(anchor: Anchor) -> Anchor:
    """Return an anchor of the same kind that says nothing: an even grey, or a bare caption."""
    if anchor.text is not None:
        return Anchor(text=BLANK_TEXT)
    return Anchor(image=np.full((64, 64), 128, dtype=np.uint8))


def options(
    encoder: Encoder, items: Sequence[Item], *, uninformed: bool = False
) -> list[Float[np.ndarray, " _"]]:
    """Return the scores of each item's statements against its anchor.

    Args:
        encoder: scores in its own unit.
        items: what to score.
        uninformed: put an anchor that says nothing in the place of each item's own.
    """
    texts = [text for item in items for text in item.texts]
    own = [blank(item.anchor) if uninformed else item.anchor for item in items]
    anchors = [a for item, a in zip(items, own, strict=True) for _ in item.texts]
    scores = _rows(encoder, texts, anchors)
    ends = np.cumsum([len(item.texts) for item in items])[:-1]
    return list(np.split(scores, ends))


def matrix(
    encoder: Encoder, texts: Sequence[str], anchors: Sequence[Anchor]
) -> Float[np.ndarray, "anchor text"]:
    """Return the score of every anchor with every statement.

    Raises:
        BenchError: for a model that reads a statement together with its anchor.
    """
    require_alone(encoder, "retrieval")
    with torch.no_grad(), evaluating(encoder.model):
        embedded = _texts(encoder, texts)
        rows = [
            encoder.score(embedded, anchor.expand_as(embedded))
            for anchor in encoder.embed_anchors(anchors)
        ]
    return np.stack([_numbers(row) for row in rows])


def similarities(
    encoder: Encoder, texts: Sequence[str], others: Sequence[str]
) -> Float[np.ndarray, " row"]:
    """Return the cosine of each statement's embedding with its counterpart's.

    Raises:
        BenchError: for a model that reads a statement together with its anchor.
    """
    require_alone(encoder, "collapse")
    with torch.no_grad(), evaluating(encoder.model):
        one, other = _texts(encoder, texts).float(), _texts(encoder, others).float()
        return _numbers(torch.cosine_similarity(one, other, dim=-1))


def reads_together(encoder: Encoder) -> bool:
    """Whether a statement is read in one row of tokens with its anchor."""
    return type(encoder).tokenize_against is not Encoder.tokenize_against


def require_alone(encoder: Encoder, suite: str) -> None:
    """Raise a BenchError for an encoder that embeds no statement by itself."""
    if reads_together(encoder):
        raise BenchError(
            f"{encoder.name} reads a statement together with its anchor, so it has no embedding "
            f"of a statement alone, which {suite} needs; run the polarity or claims suite"
        )


def _rows(
    encoder: Encoder, texts: Sequence[str], anchors: Sequence[Anchor]
) -> Float[np.ndarray, " row"]:
    with torch.no_grad(), evaluating(encoder.model):
        if reads_together(encoder):
            return _together(encoder, texts, anchors)
        return _numbers(encoder.score(_texts(encoder, texts), encoder.embed_anchors(anchors)))


def _texts(encoder: Encoder, texts: Sequence[str]) -> Float[Tensor, "text dim"]:
    unique = list(dict.fromkeys(texts))
    place = {text: row for row, text in enumerate(unique)}
    return encoder.embed_texts(unique)[[place[text] for text in texts]]


def _together(
    encoder: Encoder, texts: Sequence[str], anchors: Sequence[Anchor]
) -> Float[np.ndarray, " row"]:
    """Return the scores of statements that are each read in one row with its anchor.

    A few anchors at a time: an image that is read as tokens is large.
    """
    asked: dict[Anchor, dict[str, float]] = {}
    for text, anchor in zip(texts, anchors, strict=True):
        asked.setdefault(anchor, {})[text] = 0.0
    for some in batched(list(asked), ANCHORS):
        rows = [(anchor, text) for anchor in some for text in asked[anchor]]
        embedded = dict(zip(some, encoder.embed_anchors(some), strict=True))
        scores = _read(encoder, rows, torch.stack([embedded[anchor] for anchor, _ in rows]))
        for (anchor, text), score in zip(rows, scores.tolist(), strict=True):
            asked[anchor][text] = score
    return np.array([asked[anchor][text] for text, anchor in zip(texts, anchors, strict=True)])


def _read(
    encoder: Encoder, rows: Sequence[tuple[Anchor, str]], against: Float[Tensor, "row dim"]
) -> Float[np.ndarray, " row"]:
    tokens = encoder.tokenize_against([text for _, text in rows], [anchor for anchor, _ in rows])
    scores = np.empty(len(rows))
    for batch in batches_by_length(tokens):
        ids = torch.tensor([tokens[place].ids for place in batch], device=encoder.device)
        own = against[batch]
        scores[batch] = _numbers(encoder.score(encoder.encode_against(ids, own), own))
    return scores


def _numbers(scores: Tensor) -> Float[np.ndarray, " row"]:
    return scores.double().cpu().numpy()
