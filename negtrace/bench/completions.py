"""Suites of prompts that a text goes on from: LM_Negation, and FACTOR.

A language model is asked how probable it finds each completion: the mean log-probability of its
tokens. Any other model is asked how similar prompt and completion are.
"""

__all__ = ["factor_suite", "lm_negation_suite"]

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from negtrace.bench.config import BenchConfig
from negtrace.bench.items import Item, TokenCounts, drop_long_items
from negtrace.bench.multiple_choice import accuracy_rows
from negtrace.bench.result import Intervals, SuiteResult, describe_items, item_records
from negtrace.bench.scoring import ItemScores, blank_anchor, is_correct, scores_by_scorer
from negtrace.bench.squares import ask_squares
from negtrace.bench.suites import SUITES
from negtrace.bench.text_files import data_file, read_factor, read_lm_negation
from negtrace.encoders.base import Encoder
from negtrace.encoders.completions import CompletionScorer
from negtrace.encoders.hooks import evaluating
from negtrace.pairs.anchor import Anchor


@SUITES.register("lm-negation")
def lm_negation_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """LM_Negation: a prompt and its negation, and which answer goes on from which."""
    path = data_file(config, "lm-negation", "LM_Negation's JSON")
    squares, notes = read_lm_negation(path)
    score, counts = _ways_of(encoder)
    squares = squares[: config.count]
    return ask_squares(
        encoder, squares, config, name=path.name, score=score, counts=counts, notes=notes
    )


@SUITES.register("factor")
def factor_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """FACTOR: a text, how it goes on, and three changes of that which make it wrong."""
    path = data_file(config, "factor", "FACTOR's CSV")
    items, notes = read_factor(path)
    score, counts = _ways_of(encoder)
    items, too_long = drop_long_items(encoder, items[: config.count], counts)
    by_scorer = scores_by_scorer(encoder, items, seed=config.seed, score=score)
    correct = {scorer: is_correct(items, scores) for scorer, scores in by_scorer.items()}
    intervals = Intervals.from_config(config)
    rows = [
        row
        for scorer, values in correct.items()
        for row in accuracy_rows(items, values, intervals, scorer=scorer, series="questions")
    ]
    return SuiteResult(
        rows=tuple(rows),
        notes=(*notes, *too_long),
        data=describe_items(path.name, items),
        items=item_records(items, {"model": correct["model"]}, include_text=config.include_text),
    )


def _ways_of(encoder: Encoder) -> tuple[ItemScores | None, TokenCounts | None]:
    """Functions that score and count completions of a language model; None for other models."""
    if isinstance(encoder, CompletionScorer):
        return score_completions, count_completions
    return None, None


def score_completions(
    encoder: Encoder, items: Sequence[Item], *, blank: bool = False
) -> list[Float[np.ndarray, " _"]]:
    """Mean log-probability of each item's statements after its anchor, by a language model."""
    assert isinstance(encoder, CompletionScorer)  # noqa: S101
    prompts = [
        (blank_anchor(item.anchor) if blank else item.anchor).text or ""
        for item in items
        for _ in item.texts
    ]
    texts = [text for item in items for text in item.texts]
    rows = list(dict.fromkeys(zip(prompts, texts, strict=True)))
    with evaluating(encoder.model):
        scores = encoder.completion_scores([prompt for prompt, _ in rows], [t for _, t in rows])
    of_row = dict(zip(rows, scores.tolist(), strict=True))
    flat = np.array([of_row[row] for row in zip(prompts, texts, strict=True)])
    return list(np.split(flat, np.cumsum([len(item.texts) for item in items])[:-1]))


def count_completions(
    encoder: Encoder, texts: Sequence[str], anchors: Sequence[Anchor]
) -> list[int]:
    """Number of tokens of each anchor and the statement behind it."""
    assert isinstance(encoder, CompletionScorer)  # noqa: S101
    return [
        len(encoder.tokenize_completion(anchor.text or "", text))
        for text, anchor in zip(texts, anchors, strict=True)
    ]
