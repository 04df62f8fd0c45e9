"""The contract every encoder keeps: tokenize, name the blocks, embed, score."""

__all__ = [
    "PROBE",
    "Encoder",
    "KeyValueCache",
    "PrefixAttention",
    "Unit",
    "weights_digest",
]

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.batching import batched, batches_by_length
from negtrace.encoders.hooks import HookSite, evaluating, widened
from negtrace.encoders.sites import INNER, BlockSites, find_sites
from negtrace.encoders.structure import reads_one_layer
from negtrace.errors import EncoderError, SiteError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens

Unit = Literal["logit", "cosine"]

PROBE = "There is no abnormality in the chest."
"""A statement of several tokens that structure is measured on."""


def weights_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's state: names, types, shapes and bytes, in name order."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


KeyValueCache = Mapping[nn.Module, tuple[Tensor, Tensor]]
"""Keys and values of a batch of runs, by attention module: [run, head, token, width]."""


class PrefixAttention(ABC):
    """Runs only the tokens from a position on, with the recorded keys and values before it."""

    @abstractmethod
    def recording(self) -> AbstractContextManager[KeyValueCache]:
        """Record every attention module's keys and values in the plain run inside the `with`."""

    @abstractmethod
    def encode_from(
        self,
        ids: Int[Tensor, "row token"],
        start: int,
        cache: KeyValueCache,
        runs: Int[Tensor, " row"],
    ) -> Float[Tensor, "row dim"]:
        """Return the embedding of each row, running only its tokens from `start` on.

        Row `i` continues run `runs[i]` of the cache. A block may be given the first rows only.
        """

    @property
    @abstractmethod
    def reads_last(self) -> bool:
        """Whether `run_last` is exact here."""

    @abstractmethod
    def run_last(self, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return what a block gives at the last token, its keys and values taken from all.

        For the last block, which needs no other query; called within `encode_from`.
        """


class Encoder(ABC):
    """A text tower whose residual states can be read and replaced, and a score over it.

    The engine talks to this contract alone. A subclass says how statements become tokens,
    how a batch of equally long token rows becomes embeddings (one plain forward of the model's
    own code) and how an anchor becomes an embedding of the same width.
    """

    family: ClassVar[str]
    """What kind of encoder this is, as in `negtrace models`."""

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        block_names: Sequence[str],
        unit: Unit,
        causal: bool,
        max_tokens: int,
        scale: float = 1.0,
        bias: float = 0.0,
        revision: str | None = None,
        tokenizer_name: str = "",
    ) -> None:
        if not block_names:
            raise EncoderError(f"{name}: no blocks given; name at least one")
        self.model = model
        self.name = name
        self.block_names = tuple(block_names)
        self.unit: Unit = unit
        self.causal = causal
        self.max_tokens = max_tokens
        self.scale = scale
        self.bias = bias
        self.revision = revision
        self.tokenizer_name = tokenizer_name

    def __repr__(self) -> str:
        reads = "causal" if self.causal else "bidirectional"
        return (
            f"{type(self).__name__}({self.name!r}, {len(self.block_names)} blocks, "
            f"{reads}, score in {self.unit})"
        )

    @abstractmethod
    def tokenize(self, statements: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each statement, trimmed to what the read-out can see."""

    def tokenize_against(
        self, statements: Sequence[str], anchors: Sequence[Anchor]
    ) -> list[Tokens]:
        """Return the tokens of each statement as it is scored against its anchor.

        A tower that embeds statements alone reads them the same whatever the anchor; a language
        model reads the anchor first, in the same row of tokens.
        """
        return self.tokenize(statements)

    @abstractmethod
    def encode(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        """Return the text embedding of each row, equally long ones, by one plain forward."""

    def encode_against(
        self, ids: Int[Tensor, "row token"], anchors: Float[Tensor, "row dim"]
    ) -> Float[Tensor, "row dim"]:
        """Return the embedding of each row as it is read together with its embedded anchor.

        For a decoder that sees image tokens; every other tower encodes the row alone. A forward
        that starts from recorded states has the anchor in them, so it goes through `encode`.
        """
        return self.encode(ids)

    @abstractmethod
    def embed_images(self, anchors: Sequence[Anchor]) -> Float[Tensor, "anchor dim"]:
        """Return the embedding of each image anchor.

        Raises:
            EncoderError: when the model has no image tower.
        """

    @property
    def prefix_attention(self) -> PrefixAttention | None:
        """How a causal tower skips what a patch cannot reach; None where it cannot."""
        return None

    @property
    def mask_token_id(self) -> int | None:
        """The token a masked word is read as; None where the tokenizer has none."""
        return None

    @property
    def reads_images(self) -> bool:
        """Whether an anchor may be an image."""
        return True

    @cached_property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The blocks of the text tower, in the order the forward runs them."""
        modules = dict(self.model.named_modules())
        missing = [name for name in self.block_names if name not in modules]
        if missing:
            raise EncoderError(
                f"{self.name}: no module named {missing[0]!r}; "
                "block names must be as in model.named_modules()"
            )
        return tuple(modules[name] for name in self.block_names)

    @cached_property
    def block_sites(self) -> tuple[BlockSites, ...]:
        """The sites inside every block, measured when first asked for.

        In float32 whatever the model's own precision: sums in half precision prove little.
        """
        with widened(self.model), torch.autocast(self.device.type, enabled=False):
            return find_sites(self.model, self.block_names, self.encode, self.probe)

    @cached_property
    def reads_one_layer(self) -> bool:
        """Whether the embedding is read from the last block alone; measured."""
        with evaluating(self.model):
            return reads_one_layer(self.blocks, self.encode, self.probe)

    @property
    def probe(self) -> Int[Tensor, "1 token"]:
        """Token ids of a statement that structure is measured on."""
        return torch.tensor([self.tokenize([PROBE])[0].ids], device=self.device)

    def hook_sites(self, sites: Sequence[str]) -> list[HookSite]:
        """Return the modules that hold these sites (`attn_out`, `mlp_out`, `head`), block by block.

        Raises:
            SiteError: when a block does not offer one, with the reason.
        """
        found = []
        for site in sites:
            if site not in INNER:
                raise SiteError(f"no site {site!r} inside a block; known: {', '.join(INNER)}")
            for name, block in zip(self.block_names, self.block_sites, strict=True):
                module = block.module(site)
                if module is None:
                    raise SiteError(f"{self.name}: no {site} in {name}: {block.lacking[site]}")
                at: Literal["input", "output"] = "input" if site == "head" else "output"
                found.append(HookSite(site=site, module=self.model.get_submodule(module), at=at))
        return found

    @property
    def heads(self) -> int:
        """Number of attention heads of each block; 0 where they cannot be told apart or differ."""
        numbers = {block.heads for block in self.block_sites}
        return numbers.pop() if len(numbers) == 1 else 0

    @property
    def layers(self) -> tuple[str, ...]:
        """`embed` (the input of block 0), then the blocks by name."""
        return ("embed", *self.block_names)

    @property
    def device(self) -> torch.device:
        """Where the model's first parameter lives."""
        return next(self.model.parameters(), torch.empty(0)).device

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights, as they were when first asked for."""
        return weights_digest(self.model)

    def embed_texts(self, statements: Sequence[str]) -> Float[Tensor, "statement dim"]:
        """Return the embedding of each statement, equally long ones batched together.

        Raises:
            EncoderError: when a statement is longer than the model's context.
        """
        tokens = self.tokenize(statements)
        for row in tokens:
            self.require_fit(row)
        rows: dict[int, Tensor] = {}
        for batch in batches_by_length(tokens):
            ids = torch.tensor([tokens[i].ids for i in batch], device=self.device)
            rows.update(zip(batch, self.encode(ids), strict=True))
        return torch.stack([rows[i] for i in range(len(statements))])

    def embed_anchors(self, anchors: Sequence[Anchor]) -> Float[Tensor, "anchor dim"]:
        """Return the embedding of each anchor, computed once for equal ones.

        A text is embedded by the text tower, an image by the image tower.
        """
        unique = list(dict.fromkeys(anchors))
        texts = [anchor for anchor in unique if anchor.text is not None]
        images = [anchor for anchor in unique if anchor.text is None]
        rows: dict[Anchor, Tensor] = {}
        if texts:
            embedded = self.embed_texts([anchor.text or "" for anchor in texts])
            rows.update(zip(texts, embedded, strict=True))
        for batch in batched(images):
            rows.update(zip(batch, self.embed_images(batch), strict=True))
        return torch.stack([rows[anchor] for anchor in anchors])

    def require_fit(self, tokens: Tokens) -> None:
        """Raise an EncoderError when a statement is longer than the model's context."""
        if len(tokens) > self.max_tokens:
            raise EncoderError(
                f"{len(tokens)} tokens, but {self.name} reads at most {self.max_tokens}; "
                "shorten the statement"
            )

    def score(
        self, text: Float[Tensor, "row dim"], anchor: Float[Tensor, "row dim"]
    ) -> Float[Tensor, " row"]:
        """Return each row's cosine to its anchor, times the model's scale, plus its bias.

        A half-precision embedding is widened first: a cosine has no digits to lose.
        """
        text, anchor = (
            one.float() if one.dtype in (torch.float16, torch.bfloat16) else one
            for one in (text, anchor)
        )
        return self.scale * torch.cosine_similarity(text, anchor, dim=-1) + self.bias
