"""What an encoder scores: statements against their anchors, and against none that tells anything.

Every distinct statement and anchor is embedded once, so that equal ones tie exactly.
"""

__all__ = ["blank", "matrix", "options", "require_alone", "similarities"]

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from negtrace.anchors import Anchor
from negtrace.bench.items import Item
from negtrace.encoders.base import BATCH, Encoder, batched
from negtrace.errors import BenchError
from negtrace.hooks import evaluating

BLANK_TEXT = "A chest radiograph."


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


def require_alone(encoder: Encoder, suite: str) -> None:
    """Raise a BenchError for an encoder that embeds no statement by itself."""
    if type(encoder).tokenize_against is not Encoder.tokenize_against:
        raise BenchError(
            f"{encoder.name} reads a statement together with its anchor, so it has no embedding "
            f"of a statement alone, which {suite} needs; run the polarity or claims suite"
        )


def _rows(
    encoder: Encoder, texts: Sequence[str], anchors: Sequence[Anchor]
) -> Float[np.ndarray, " row"]:
    with torch.no_grad(), evaluating(encoder.model):
        against = encoder.embed_anchors(anchors)
        if type(encoder).tokenize_against is Encoder.tokenize_against:
            return _numbers(encoder.score(_texts(encoder, texts), against))
        return _numbers(encoder.score(_read_against(encoder, texts, anchors, against), against))


def _texts(encoder: Encoder, texts: Sequence[str]) -> Float[Tensor, "text dim"]:
    unique = list(dict.fromkeys(texts))
    place = {text: row for row, text in enumerate(unique)}
    return encoder.embed_texts(unique)[[place[text] for text in texts]]


def _read_against(
    encoder: Encoder,
    texts: Sequence[str],
    anchors: Sequence[Anchor],
    embedded: Float[Tensor, "row dim"],
) -> Float[Tensor, "row dim"]:
    tokens = encoder.tokenize_against(texts, anchors)
    by_length: dict[int, list[int]] = {}
    for place, row in enumerate(tokens):
        encoder.require_fit(row)
        by_length.setdefault(len(row), []).append(place)
    found: dict[int, Tensor] = {}
    for places in by_length.values():
        for batch in batched(places, BATCH):
            ids = torch.tensor([tokens[place].ids for place in batch], device=encoder.device)
            found.update(
                zip(batch, encoder.encode_against(ids, embedded[list(batch)]), strict=True)
            )
    return torch.stack([found[place] for place in range(len(texts))])


def _numbers(scores: Tensor) -> Float[np.ndarray, " row"]:
    return scores.double().cpu().numpy()
