"""A causal tower of three blocks whose effects are worked out by hand.

Every token has a polarity: -1 for a negator, +1 for its affirmative twin, 0 otherwise. The state of
a token has four channels: its polarity, what it has `heard` from the token before it, what has been
`collected` for the read-out, and its position, which nothing reads. The blocks write:

1. heard[t] += 3/4 polarity[t - 1]
2. collected[end] += sum over t < end of heard[t]
3. collected[end] += 1/4 sum over t < end of polarity[t]

A text is read as collected[end]; an anchor whose value is 0 is read as 1. The score of a statement
is its value times the anchor's. With one cue, the effects at embed and behind blocks 1, 2 and 3 are
1, 1/4, 1/4, 0 at the cue; 0, 3/4, 0, 0 at the token after it; and 0, 0, 3/4, 1 at the end.
"""

__all__ = ["ToyEncoder"]

import re
from collections.abc import Sequence
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import override

from negtrace.encoders.base import Encoder, EncoderDescription
from negtrace.encoders.families import FAMILIES, Family, LoadRequest
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens

NEGATORS = frozenset({"no", "not", "without", "absent"})
AFFIRMERS = frozenset({"some", "a", "an", "with", "present"})
POLARITY, HEARD, COLLECTED, POSITION = range(4)
START, END, FIRST_WORD = 0, 1, 2


class _Hear(nn.Module):
    """Block 1: each token hears three quarters of the polarity of the token before it."""

    def forward(self, hidden: Float[Tensor, "row token 4"]) -> Float[Tensor, "row token 4"]:
        heard = torch.zeros_like(hidden)
        heard[:, 1:, HEARD] = 0.75 * hidden[:, :-1, POLARITY]
        return hidden + heard


class _Collect(nn.Module):
    """Blocks 2 and 3: the last token collects one channel of all tokens before it."""

    def __init__(self, channel: int, weight: float) -> None:
        super().__init__()
        self.channel = channel
        self.weight = weight

    def forward(self, hidden: Float[Tensor, "row token 4"]) -> Float[Tensor, "row token 4"]:
        collected = torch.zeros_like(hidden)
        collected[:, -1, COLLECTED] = self.weight * hidden[:, :-1, self.channel].sum(dim=1)
        return hidden + collected


class _Tower(nn.Module):
    """Embed the polarity of words, run the three blocks and read the last position."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.polarity = nn.Embedding(3, 1, dtype=dtype)
        self.polarity.weight.data[:, 0] = torch.tensor([0.0, -1.0, 1.0])
        self.blocks = nn.ModuleList([_Hear(), _Collect(HEARD, 1.0), _Collect(POLARITY, 0.25)])

    def forward(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row 1"]:
        hidden = self.polarity.weight.new_zeros(*ids.shape, 4)
        # The id of a word is its class of polarity plus three times its number.
        hidden[..., POLARITY] = self.polarity((ids - FIRST_WORD).clamp(min=0) % 3)[..., 0]
        hidden[..., POSITION] = torch.arange(ids.shape[1]).to(hidden)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden[:, -1, COLLECTED : COLLECTED + 1]


@final
class ToyEncoder(Encoder):
    """The worked example: words and punctuation as tokens, text anchors, a product as score."""

    family: ClassVar[str] = "toy"

    def __init__(self, dtype: torch.dtype = torch.float32, *, name: str = "toy") -> None:
        super().__init__(
            _Tower(dtype),
            EncoderDescription(name=name, unit="logit", max_tokens=64, tokenizer_name="words"),
            block_names=[f"blocks.{i}" for i in range(3)],
            causal=True,
        )
        self.words: dict[str, int] = {}

    @override
    def tokenize(self, statements: Sequence[str]) -> list[Tokens]:
        return [self._tokens(statement) for statement in statements]

    def _tokens(self, statement: str) -> Tokens:
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
        number = self.words.setdefault(word, len(self.words) + 1)
        return FIRST_WORD + 3 * number + polarity

    @override
    def encode(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        value: Tensor = self.model(ids)
        return value

    @property
    @override
    def reads_images(self) -> bool:
        return False

    @override
    def embed_images(self, anchors: Sequence[Anchor]) -> Float[Tensor, "anchor dim"]:
        raise EncoderError("the toy encoder has no image tower; use pairs with text anchors")

    @override
    def embed_texts(self, statements: Sequence[str]) -> Float[Tensor, "statement dim"]:
        value = super().embed_texts(statements)
        return torch.where(value == 0, torch.ones_like(value), value)

    @override
    def score(
        self, text: Float[Tensor, "row dim"], anchor: Float[Tensor, "row dim"]
    ) -> Float[Tensor, " row"]:
        return (text * anchor).sum(dim=-1)


@final
@FAMILIES.register("toy")
class ToyFamily(Family):
    """Three blocks whose effects are worked out by hand."""

    accepts: ClassVar[str] = "toy"

    @override
    def matches(self, request: LoadRequest) -> bool:
        return request.name_or_path == "toy"

    @override
    def load(self, request: LoadRequest) -> Encoder:
        return ToyEncoder(request.dtype, name=request.name)
