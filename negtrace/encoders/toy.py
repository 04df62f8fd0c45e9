"""A causal tower of three blocks whose effects are worked out by hand.

Every token has a polarity: -1 for a negator, +1 for its affirmative twin, 0 otherwise. The state
has four channels: the token's own polarity `own`, what it was told by the token before it
`heard`, what the read-out has collected `read`, and where the token stands, `place`, which
nothing reads. The blocks write:

1. `tell`     heard[t] += 3/4 own[t-1]
2. `collect`  read[end] += sum over t < end of heard[t]
3. `finish`   read[end] += 1/4 sum over t < end of own[t]

The score of a statement against an anchor is the product of what the two read-outs read; an anchor
that holds no polarity reads 1. So with
one cue the cell (cue, layer) has the effect 1, 1/4, 1/4, 0 at embed, 1, 2, 3; the token after it
0, 3/4, 0, 0; the read-out 0, 0, 3/4, 1.
"""

__all__ = ["ToyEncoder"]

import re
from collections.abc import Sequence
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens

NEGATORS = frozenset({"no", "not", "without", "absent"})
AFFIRMERS = frozenset({"some", "a", "an", "with", "present"})
OWN, HEARD, READ, PLACE = range(4)
START, END, FIRST_WORD = 0, 1, 2


class _Tell(nn.Module):
    def forward(self, hidden: Float[Tensor, "row token 4"]) -> Float[Tensor, "row token 4"]:
        told = torch.zeros_like(hidden)
        told[:, 1:, HEARD] = 0.75 * hidden[:, :-1, OWN]
        return hidden + told


class _Collect(nn.Module):
    def __init__(self, channel: int, weight: float) -> None:
        super().__init__()
        self.channel = channel
        self.weight = weight

    def forward(self, hidden: Float[Tensor, "row token 4"]) -> Float[Tensor, "row token 4"]:
        collected = torch.zeros_like(hidden)
        collected[:, -1, READ] = self.weight * hidden[:, :-1, self.channel].sum(dim=1)
        return hidden + collected


class _Tower(nn.Module):
    """Embeds word polarities, runs the three blocks and reads the last position."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.polarity = nn.Embedding(3, 1, dtype=dtype)
        self.polarity.weight.data[:, 0] = torch.tensor([0.0, -1.0, 1.0])
        self.blocks = nn.ModuleList([_Tell(), _Collect(HEARD, 1.0), _Collect(OWN, 0.25)])

    def forward(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row 1"]:
        hidden = self.polarity.weight.new_zeros(*ids.shape, 4)
        # A word's id is its polarity class plus three times the rest of its identity.
        hidden[..., OWN] = self.polarity((ids - FIRST_WORD).clamp(min=0) % 3)[..., 0]
        hidden[..., PLACE] = torch.arange(ids.shape[1]).to(hidden)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden[:, -1, READ : READ + 1]


@final
class ToyEncoder(Encoder):
    """The worked example: words by blanks and punctuation, text anchors, a product as score."""

    family: ClassVar[str] = "toy"

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(
            _Tower(dtype),
            name="toy",
            block_names=[f"blocks.{i}" for i in range(3)],
            unit="logit",
            causal=True,
            max_tokens=64,
            tokenizer_name="words",
        )
        self.words: dict[str, int] = {}

    @override
    def tokenize(self, statements: Sequence[str]) -> list[Tokens]:
        return [self._one(statement) for statement in statements]

    def _one(self, statement: str) -> Tokens:
        words = list(re.finditer(r"\w+|[^\w\s]", statement))
        ids = (START, *(self._id(word.group().lower()) for word in words), END)
        return Tokens(
            ids=ids,
            spans=((0, 0), *(word.span() for word in words), (0, 0)),
            padding=(False,) * len(ids),
            read_out=len(ids) - 1,
        )

    def _id(self, word: str) -> int:
        polarity = 1 if word in NEGATORS else 2 if word in AFFIRMERS else 0
        identity = self.words.setdefault(word, len(self.words) + 1)
        return FIRST_WORD + 3 * identity + polarity

    @override
    def encode(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        read: Tensor = self.model(ids)
        return read

    @property
    @override
    def reads_images(self) -> bool:
        return False

    @override
    def embed_images(self, anchors: Sequence[Anchor]) -> Float[Tensor, "anchor dim"]:
        raise EncoderError("the toy encoder has no image tower; use pairs with text anchors")

    @override
    def embed_texts(self, statements: Sequence[str]) -> Float[Tensor, "statement dim"]:
        read = super().embed_texts(statements)
        return torch.where(read == 0, torch.ones_like(read), read)

    @override
    def score(
        self, text: Float[Tensor, "row dim"], anchor: Float[Tensor, "row dim"]
    ) -> Float[Tensor, " row"]:
        return (text * anchor).sum(dim=-1)
