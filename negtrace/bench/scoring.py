"""Scores of statements against anchors: by the model, and by baselines that see no anchor.

Equal scores must tie exactly. So each distinct statement and each distinct anchor is embedded once.
A model that reads both in one row of tokens runs each distinct row once.
"""

__all__ = [
    "ItemScores",
    "correct_by_scorer",
    "is_correct",
    "score_items",
    "score_matrix",
    "scores_by_scorer",
    "shortness",
    "similarity_matrix",
    "text_similarities",
]

import hashlib
from collections.abc import Sequence
from random import Random
from typing import Protocol, runtime_checkable

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
from negtrace.results.statistics import rank_of_correct

BLANK_TEXT = "A chest radiograph."

ANCHOR_BATCH = 16
"""Anchors embedded at once by a model that reads statement and anchor together. An image that is
read as tokens needs much memory."""


@runtime_checkable
class ItemScores(Protocol):
    """Function that scores the statements of items, as `score_items` does."""

    def __call__(
        self, encoder: Encoder, items: Sequence[Item], *, blank: bool = False
    ) -> list[Float[np.ndarray, " _"]]:
        """Return one array for each item, with one score for each of its statements."""


def correct_by_scorer(
    encoder: Encoder, items: Sequence[Item], *, seed: int
) -> dict[str, Float[np.ndarray, " item"]]:
    """By scorer, 1 for each item that it answers correctly and 0 for each other."""
    by_scorer = scores_by_scorer(encoder, items, seed=seed)
    return {scorer: is_correct(items, scores) for scorer, scores in by_scorer.items()}


def scores_by_scorer(
    encoder: Encoder, items: Sequence[Item], *, seed: int, score: ItemScores | None = None
) -> dict[str, list[Float[np.ndarray, " _"]]]:
    """By scorer, the scores of each item's statements.

    The scorers are:

    - `model`: the encoder.
    - `prior`: the encoder with a blank anchor (see `blank_anchor`).
    - `length`: prefers the shortest statement.
    - `chance`: random scores, drawn by `seed`.

    Args:
        encoder: model to score with.
        items: items to score.
        seed: seed of the random scores.
        score: how the encoder scores; `score_items` when not given.
    """
    score = score or score_items
    return {
        "model": score(encoder, items),
        "prior": score(encoder, items, blank=True),
        "length": shortness(items),
        "chance": _random_scores(items, seed=seed),
    }


def is_correct(
    items: Sequence[Item], scores: Sequence[Float[np.ndarray, " _"]]
) -> Float[np.ndarray, " item"]:
    """1 for each item whose right statement scores above every other, else 0. A tie gives 0."""
    return np.array(
        [
            float(rank_of_correct(row[None], np.array([item.answer]))[0] == 1)
            for item, row in zip(items, scores, strict=True)
        ]
    )


def score_items(
    encoder: Encoder, items: Sequence[Item], *, blank: bool = False
) -> list[Float[np.ndarray, " _"]]:
    """Scores of each item's statements against its anchor, in the encoder's own unit.

    Args:
        encoder: model to score with.
        items: items to score.
        blank: replace each anchor by a blank one of the same kind.

    Returns:
        One array for each item, with one score for each of its statements.
    """
    texts = [text for item in items for text in item.texts]
    anchors = [
        blank_anchor(item.anchor) if blank else item.anchor for item in items for _ in item.texts
    ]
    with torch.no_grad(), evaluating(encoder.model):
        if encoder.reads_anchor_in_row:
            scores = _score_together(encoder, texts, anchors)
        else:
            embedded = _embed_texts(encoder, texts)
            scores = _to_numpy(encoder.score(embedded, encoder.embed_anchors(anchors)))
    return list(np.split(scores, np.cumsum([len(item.texts) for item in items])[:-1]))


def blank_anchor(anchor: Anchor) -> Anchor:
    """Anchor of the same kind that tells nothing: an even grey image, or "A chest radiograph."."""
    if anchor.text is not None:
        return Anchor(text=BLANK_TEXT)
    return Anchor(image=np.full((64, 64), 128, dtype=np.uint8))


def score_matrix(
    encoder: Encoder, texts: Sequence[str], anchors: Sequence[Anchor]
) -> Float[np.ndarray, "anchor text"]:
    """Score of every anchor with every statement.

    Raises:
        BenchError: for a model that reads a statement together with its anchor.
    """
    _require_text_embeddings(encoder, "retrieval")
    with torch.no_grad(), evaluating(encoder.model):
        embedded = _embed_texts(encoder, texts)
        rows = [
            encoder.score(embedded, anchor.expand_as(embedded))
            for anchor in encoder.embed_anchors(anchors)
        ]
    return np.stack([_to_numpy(row) for row in rows])


def text_similarities(
    encoder: Encoder, texts: Sequence[str], others: Sequence[str]
) -> Float[np.ndarray, " row"]:
    """Cosine between the embeddings of `texts[i]` and `others[i]`.

    Raises:
        BenchError: for a model that reads a statement together with its anchor.
    """
    _require_text_embeddings(encoder, "collapse")
    with torch.no_grad(), evaluating(encoder.model):
        left, right = (_embed_texts(encoder, side).float() for side in (texts, others))
        return _to_numpy(torch.cosine_similarity(left, right, dim=-1))


def similarity_matrix(encoder: Encoder, texts: Sequence[str]) -> Float[np.ndarray, "text text"]:
    """Cosine between the embeddings of every two texts.

    Raises:
        BenchError: for a model that reads a statement together with its anchor.
    """
    _require_text_embeddings(encoder, "collapse")
    with torch.no_grad(), evaluating(encoder.model):
        embedded = torch.nn.functional.normalize(_embed_texts(encoder, texts).double(), dim=-1)
        return np.asarray((embedded @ embedded.T).cpu().numpy())


def _require_text_embeddings(encoder: Encoder, suite: str) -> None:
    if encoder.reads_anchor_in_row:
        raise BenchError(
            f"{encoder.name} reads a statement together with its anchor, so it has no embedding "
            f"of a statement alone, which {suite} needs; run the polarity or claims suite"
        )


def _embed_texts(encoder: Encoder, texts: Sequence[str]) -> Float[Tensor, "text dim"]:
    unique = list(dict.fromkeys(texts))
    row = {text: number for number, text in enumerate(unique)}
    return encoder.embed_texts(unique)[[row[text] for text in texts]]


def _score_together(
    encoder: Encoder, texts: Sequence[str], anchors: Sequence[Anchor]
) -> Float[np.ndarray, " row"]:
    """Scores of a model that reads each statement in one row of tokens with its anchor."""
    scores: dict[Anchor, dict[str, float]] = {}
    for text, anchor in zip(texts, anchors, strict=True):
        scores.setdefault(anchor, {})[text] = 0.0
    for some in batched(list(scores), ANCHOR_BATCH):
        rows = [(anchor, text) for anchor in some for text in scores[anchor]]
        embedded = dict(zip(some, encoder.embed_anchors(some), strict=True))
        stacked = torch.stack([embedded[anchor] for anchor, _ in rows])
        for (anchor, text), score in zip(rows, _score_rows(encoder, rows, stacked), strict=True):
            scores[anchor][text] = float(score)
    return np.array([scores[anchor][text] for text, anchor in zip(texts, anchors, strict=True)])


def _score_rows(
    encoder: Encoder, rows: Sequence[tuple[Anchor, str]], embedded: Float[Tensor, "row dim"]
) -> Float[np.ndarray, " row"]:
    tokens = encoder.tokenize_against([text for _, text in rows], [anchor for anchor, _ in rows])
    scores = np.empty(len(rows))
    for batch in batches_by_length(tokens):
        ids = torch.tensor([tokens[index].ids for index in batch], device=encoder.device)
        anchors = embedded[batch]
        scores[batch] = _to_numpy(encoder.score(encoder.encode_against(ids, anchors), anchors))
    return scores


def _to_numpy(scores: Tensor) -> Float[np.ndarray, " row"]:
    return scores.double().cpu().numpy()


def _random_scores(items: Sequence[Item], *, seed: int) -> list[Float[np.ndarray, " _"]]:
    rng = np.random.default_rng(seed)
    return [rng.random(len(item.texts)) for item in items]


def shortness(items: Sequence[Item]) -> list[Float[np.ndarray, " _"]]:
    """Scores that are higher the shorter a statement is.

    Statements of equal length are ordered by a hash of their text, the same way in every item.
    Without that, ties would count as wrong and the baseline would fall below its true accuracy.
    """
    return [np.array([_hash_fraction(text) - len(text) for text in item.texts]) for item in items]


def _hash_fraction(text: str) -> float:
    """Number in [0, 1) that depends on the text alone."""
    return Random(hashlib.sha256(text.encode()).digest()).random()  # noqa: S311
