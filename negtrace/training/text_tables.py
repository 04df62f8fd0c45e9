"""Texts of a batch as tables of token ids: each distinct text once, with others of its length.

A text is never padded where that could change a number. A causal model that is read at the end
token of a text cannot see what follows it. Where a probe confirms this, texts are filled up to a
few lengths by repeating the end token, so a batch is a few tables instead of dozens.
"""

__all__ = ["TextTables", "can_be_filled", "filled", "text_tables"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import evaluating

STEP = 8
"""Texts are filled up to a multiple of this many tokens, where they may be filled at all."""

Tables = tuple[Int[Tensor, "_ _"], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class TextTables:
    """Token ids of the texts of a training, and how they are put together for a batch."""

    ids: tuple[tuple[int, ...], ...]
    """Token ids of each distinct text, by its number."""
    longest: int
    """Most tokens that the encoder reads."""
    step: int = 1
    """Texts are filled up to a multiple of this many tokens."""

    def of(self, numbers: Iterable[int]) -> tuple[Tables, Int[Tensor, " text"]]:
        """Return a table of tokens for each length, and the row of each text in all of them.

        Args:
            numbers: numbers of distinct texts.
        """
        numbers = list(numbers)
        by_length: dict[int, list[int]] = {}
        for index, number in enumerate(numbers):
            by_length.setdefault(self._length(number), []).append(index)
        tables = tuple(
            torch.tensor([filled(self.ids[numbers[index]], length) for index in indices])
            for length, indices in by_length.items()
        )
        texts = [index for indices in by_length.values() for index in indices]
        return tables, torch.tensor(texts, dtype=torch.long).argsort()

    def _length(self, number: int) -> int:
        """Return the number of tokens that a text is filled up to."""
        return min(-(-len(self.ids[number]) // self.step) * self.step, self.longest)


def text_tables(encoder: Encoder, texts: Sequence[str]) -> TextTables:
    """Return the tables of distinct texts; the number of a text is its place among them."""
    return TextTables(
        ids=tuple(tuple(tokens.ids) for tokens in encoder.tokenize(texts)),
        longest=encoder.max_tokens,
        step=STEP if can_be_filled(encoder) else 1,
    )


def filled(ids: Sequence[int], length: int) -> list[int]:
    """Return token ids with the last one repeated up to a length."""
    return [*ids, *[ids[-1]] * (length - len(ids))]


def can_be_filled(encoder: Encoder) -> bool:
    """Tell whether tokens after the last one of a text change nothing, by a probe."""
    ids = encoder.probe
    length = min(ids.shape[1] + STEP, encoder.max_tokens)
    longer = torch.tensor([filled(ids[0].tolist(), length)], device=ids.device)
    with torch.no_grad(), evaluating(encoder.model):
        plain, longer_embedding = encoder.encode(ids), encoder.encode(longer)
    return encoder.causal and torch.allclose(plain, longer_embedding, rtol=1e-4, atol=1e-5)
