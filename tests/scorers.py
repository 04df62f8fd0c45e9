"""Encoders that know nothing: one embeds everything the same, one embeds at random."""

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.base import Encoder, EncoderDescription
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens

DIM = 64


class RandomEncoder(Encoder):
    """Embeds a statement or an image at random, by a hash of it, so scores are reproducible."""

    family: ClassVar[str] = "random"

    def __init__(self, name: str = "random", *, max_tokens: int = 10_000) -> None:
        super().__init__(
            nn.Linear(1, 1),
            EncoderDescription(name=name, unit="cosine", max_tokens=max_tokens),
            block_names=["block"],
            causal=False,
        )

    def tokenize(self, statements: Sequence[str]) -> list[Tokens]:
        return [
            Tokens(
                ids=tuple(map(ord, text)),
                spans=tuple((start, start + 1) for start in range(len(text))),
                padding=(False,) * len(text),
                read_out=len(text) - 1,
            )
            for text in statements
        ]

    def encode(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        return torch.stack([self.hashed(str(row)) for row in ids.tolist()])

    def embed_images(self, anchors: Sequence[Anchor]) -> Float[Tensor, "anchor dim"]:
        return torch.stack([self.hashed(anchor.digest) for anchor in anchors])

    def hashed(self, key: str) -> Float[Tensor, " dim"]:
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        return torch.randn(DIM, generator=torch.Generator().manual_seed(seed >> 1))


class ConstantEncoder(RandomEncoder):
    """Embeds everything the same, so all scores tie."""

    def hashed(self, key: str) -> Float[Tensor, " dim"]:
        return torch.linspace(-1, 1, DIM)
