"""Encoders that read statements by rule, so each measure of the benchmark has a known value."""

import hashlib
import re
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from scorers import RandomEncoder
from torch import Tensor

from negtrace.language.findings import FINDINGS

KEYS = tuple(FINDINGS)

Reading = Callable[[str], list[float]]


def reading_of(text: str) -> list[float]:
    """1 for each finding that the text says is there, -1 for each that it denies, else 0."""
    words, reading = text.lower(), []
    for finding in FINDINGS.values():
        named = re.search(rf"\b(no |without )?{finding.term}\b( is absent)?", words)
        normal = (finding.normal, finding.normal_phrase)
        if finding.abnormal.lower() in words or (named and not any(named.groups())):
            reading.append(1.0)
        elif named or any(phrase.lower() in words for phrase in normal):
            reading.append(-1.0)
        else:
            reading.append(0.0)
    return reading


class ReadingEncoder(RandomEncoder):
    """Scores a statement by a rule: agreement with the anchor, plus a taste for each statement.

    score = agreement * sum over findings of statement * anchor + taste(statement)

    Args:
        reading: from a text to a number for each finding.
        taste: what the encoder likes in a statement, whatever the anchor.
        agreement: weight of the agreement; 0 ignores the anchor.
    """

    def __init__(
        self,
        *,
        reading: Reading = reading_of,
        taste: Callable[[str], float] | None = None,
        agreement: float = 1.0,
    ) -> None:
        super().__init__("reading")
        self.read, self.taste, self.agreement = reading, taste or hashed_taste, agreement

    def embed_texts(self, statements: Sequence[str]) -> Float[Tensor, "statement dim"]:
        rows = [[*self.read(text), self.taste(text)] for text in statements]
        return torch.tensor(rows, dtype=torch.float64)

    def score(
        self, text: Float[Tensor, "row dim"], anchor: Float[Tensor, "row dim"]
    ) -> Float[Tensor, " row"]:
        return self.agreement * (text * anchor)[:, :-1].sum(dim=-1) + text[:, -1]


def hashed_taste(text: str) -> float:
    """A small number by the text alone, so that equal readings do not tie."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32 / 1000


def no_taste(text: str) -> float:
    """The same for every text."""
    return 0.0


def deaf_reading(text: str) -> list[float]:
    """Reading of a model that hears the finding and not its negation."""
    return [abs(value) for value in reading_of(text)]


def love_of_denials(text: str) -> float:
    """Number of findings that the text denies."""
    return float(sum(value < 0 for value in reading_of(text)))


def love_of_findings(text: str) -> float:
    """Minus the number of findings that the text denies."""
    return -love_of_denials(text)
