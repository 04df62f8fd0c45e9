"""Encoder: the contract of every model that can be traced."""

__all__ = ["NO_BOUND", "PROBE", "Encoder", "EncoderDescription", "Unit"]

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.batching import batched, batches_by_length
from negtrace.encoders.call_layout import BlockCall, CallLayout, measured_layout, recorded_calls
from negtrace.encoders.digests import weights_digest
from negtrace.encoders.guard import guarded
from negtrace.encoders.hooks import HookSite, evaluating, widened
from negtrace.encoders.key_value_cache import PrefixAttention
from negtrace.encoders.sites import INNER, BlockSites, find_sites
from negtrace.encoders.structure import reads_one_layer
from negtrace.errors import EncoderError, SiteError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens

Unit = Literal["logit", "cosine"]

NO_BOUND = 1 << 20
"""Tokens of the longest statement where a model sets no bound."""

PROBE = "There is no abnormality in the chest."
"""A statement of several tokens, run to measure the structure of a tower."""

LONG_PROBE = f"The heart is of normal size, and the bones of the chest are intact. {PROBE} {PROBE}"
"""A longer one, in which tokens that are further apart may be mixed."""


@dataclass(frozen=True, kw_only=True)
class EncoderDescription:
    """Facts about an encoder that are known before it runs."""

    name: str
    """Name in results."""
    unit: Unit
    """Unit of the score: the model's own logit, or a cosine."""
    max_tokens: int
    """Tokens of the longest statement that the model reads."""
    scale: float = 1.0
    """Factor of the cosine in the score."""
    bias: float = 0.0
    """Constant that is added to the score."""
    revision: str | None = None
    """Commit of a model on the hub."""
    tokenizer_name: str = ""
    """Name of the tokenizer in results."""
    trained_on_phantom: bool = False
    """True if the model was trained on the phantom's radiographs."""


class Encoder(ABC):
    """A text tower whose residual stream can be read and replaced, and a score over it.

    Tracing uses this contract alone. A subclass turns statements into tokens (`tokenize`), a batch
    of equally long token rows into embeddings by one plain forward of the model's own code
    (`encode`), and image anchors into embeddings of the same width (`embed_images`).

    Args:
        model: the module that holds the text tower.
        description: name, score and context of the encoder. Its fields are attributes too.
        block_names: names of the blocks as in `model.named_modules()`, in the order they run.
        causal: whether a token sees only itself and the tokens before it.

    Raises:
        EncoderError: when no block is named.
    """

    family: ClassVar[str]
    """Kind of encoder, as in `negtrace models`."""

    def __init__(
        self,
        model: nn.Module,
        description: EncoderDescription,
        *,
        block_names: Sequence[str],
        causal: bool,
    ) -> None:
        if not block_names:
            raise EncoderError(f"{description.name}: no blocks given; name at least one")
        self.model = model
        self.block_names = tuple(block_names)
        self.causal = causal
        self.name = description.name
        self.unit: Unit = description.unit
        self.max_tokens = description.max_tokens
        self._scale = description.scale
        self._bias = description.bias
        self.revision = description.revision
        self.tokenizer_name = description.tokenizer_name
        self.trained_on_phantom = description.trained_on_phantom
        self.row_axis = 0
        """Axis of the rows in the blocks' states: 1 where tokens come first."""
        self._call_layout: CallLayout | None = None
        self._learned_lengths: set[int] = set()
        self.agreements: dict[tuple[object, ...], Any] = {}
        """Results of comparisons with plain forwards, by what they hold for; see `trace`."""

    def __repr__(self) -> str:
        attention = "causal" if self.causal else "bidirectional"
        return (
            f"{type(self).__name__}({self.name!r}, {len(self.block_names)} blocks, "
            f"{attention}, score in {self.unit})"
        )

    @abstractmethod
    def tokenize(self, statements: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each statement, without those behind the read-out."""

    def tokenize_against(
        self, statements: Sequence[str], anchors: Sequence[Anchor]
    ) -> list[Tokens]:
        """Return the tokens of each statement as it is scored against its anchor.

        They are those of the statement alone unless `reads_anchor_in_row`.
        """
        return self.tokenize(statements)

    @property
    def reads_anchor_in_row(self) -> bool:
        """True if the anchor is read in one row of tokens with the statement.

        True for language models. Then no statement has an embedding of its own.
        """
        return False

    @abstractmethod
    def encode(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        """Return the text embedding of each row, by one plain forward over equally long rows."""

    def encode_against(
        self, ids: Int[Tensor, "row token"], anchors: Float[Tensor, "row dim"]
    ) -> Float[Tensor, "row dim"]:
        """Return the embedding of each row, given its embedded anchor.

        Only a decoder that sees image tokens uses the anchor.
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
        """Attention that runs only the tokens from a patch on; None where the tower has none."""
        return None

    @property
    def mask_token_id(self) -> int | None:
        """Token id of the tokenizer's mask; None where it has none."""
        return None

    @property
    def beyond_blocks(self) -> str:
        """Part of an embedding that is made besides the blocks, in words; empty for most encoders.

        Then a patch of all states does not give the score of the other statement.
        """
        return ""

    @property
    def reads_images(self) -> bool:
        """True if an anchor may be an image."""
        return True

    @property
    def scale(self) -> float:
        """Factor of the cosine in the score, as the model holds it now."""
        return self._scale

    @property
    def bias(self) -> float:
        """Constant that is added to the score, as the model holds it now."""
        return self._bias

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """Blocks of the text tower, in the order in which the forward runs them.

        They are looked up each time: a model can be given other modules.

        Raises:
            EncoderError: when the model has no module of a block's name.
        """
        found = []
        for name in self.block_names:
            try:
                found.append(self.model.get_submodule(name))
            except AttributeError as error:
                raise EncoderError(
                    f"{self.name}: no module named {name!r}; "
                    "block names must be as in model.named_modules()"
                ) from error
        return tuple(found)

    @cached_property
    def block_sites(self) -> tuple[BlockSites, ...]:
        """Sites inside every block, measured when they are first asked for.

        They are those that statements of two lengths show, where the model reads the longer one.
        They are measured in float32 whatever the model's precision: in half precision, rounding
        hides whether two sums are equal.

        Raises:
            EncoderError: when the model raises anything.
        """
        with (
            widened(self.model),
            torch.autocast(self.device.type, enabled=False),
            self.guarded("its sites were measured"),
        ):
            return find_sites(self.model, self.block_names, self.encode, self._probes())

    def _probes(self) -> list[Int[Tensor, "1 _"]]:
        """Return the token ids of the probe, and of a longer one if the model reads it."""
        [tokens] = self.tokenize([LONG_PROBE])
        longer = torch.tensor([tokens.ids], device=self.device)
        if not self.probe.shape[1] < longer.shape[1] <= self.max_tokens:
            return [self.probe]
        try:
            with evaluating(self.model), torch.inference_mode(), self.guarded("a long probe ran"):
                self.encode(longer)
        except EncoderError:  # more tokens than it has positions for, though no setting says so
            return [self.probe]
        return [self.probe, longer]

    @cached_property
    def reads_one_layer(self) -> bool:
        """True if the embedding is read from the last block alone; measured.

        Raises:
            EncoderError: when the model raises anything.
        """
        with evaluating(self.model), self.guarded("the layers that are read were measured"):
            return reads_one_layer(self.blocks, self.encode, self.probe, row_axis=self.row_axis)

    @property
    def call_layout(self) -> CallLayout:
        """Axes of the rows and tokens in the calls of the blocks, as far as they were measured."""
        if self._call_layout is None:
            self._call_layout = self._measured_layout(self.probe)
        return self._call_layout

    def learn_calls(self, ids: Int[Tensor, "1 token"]) -> None:
        """Measure how the blocks are called for a statement, unless its calls are known already.

        A model may hand its blocks other arguments for a longer statement, such as a mask where the
        statement is longer than its window.
        """
        if ids.shape[1] in self._learned_lengths:
            return
        with (
            evaluating(self.model),
            self.guarded("its calls were measured"),
            recorded_calls(self.blocks) as calls,
            torch.inference_mode(),
        ):
            self.encode(ids)
        self.learn_from(calls, ids)

    def learn_from(self, calls: Sequence[BlockCall], ids: Int[Tensor, "1 token"]) -> None:
        """Learn how the blocks are called for a statement from the calls of a forward of it."""
        if ids.shape[1] in self._learned_lengths:
            return
        layout = self.call_layout
        if not all(layout.knows(block, call) for block, call in enumerate(calls)):
            self._call_layout = layout | self._measured_layout(ids)
        self._learned_lengths.add(ids.shape[1])

    def _measured_layout(self, ids: Int[Tensor, "1 token"]) -> CallLayout:
        with evaluating(self.model), self.guarded("its calls were measured"):
            return measured_layout(self.blocks, self.encode, ids)

    def guarded(self, action: str) -> AbstractContextManager[None]:
        """Turn whatever the model raises inside the `with` into an EncoderError.

        Args:
            action: what is done, as in "while ...".
        """
        return guarded(self.name, self.model, action)

    def run(
        self, ids: Int[Tensor, "row token"], anchors: Float[Tensor, "row _"]
    ) -> Float[Tensor, "row dim"]:
        """Return the embedding of each row by `encode_against`.

        Raises:
            EncoderError: when the model raises anything.
        """
        with self.guarded(f"{len(ids)} rows of {ids.shape[1]} tokens ran"):
            return self.encode_against(ids, anchors)

    def located(self, tokens: Sequence[Tokens]) -> list[Tokens]:
        """Return the tokens with the position at which each statement's embedding is read.

        The tokenizer's word is taken; a subclass may measure it.
        """
        return list(tokens)

    def magnitude(self, text: Float[Tensor, "row dim"]) -> float:
        """Return the size of the numbers that a score is the difference of; bounds its rounding."""
        return abs(self.scale) + abs(self.bias)

    @property
    def probe(self) -> Int[Tensor, "1 token"]:
        """Token ids of the statement that structure is measured on."""
        return torch.tensor([self.tokenize([PROBE])[0].ids], device=self.device)

    def hook_sites(self, sites: Sequence[str]) -> list[HookSite]:
        """Return the modules that hold sites inside the blocks, site by site, block by block.

        Args:
            sites: of `resid_pre`, `attn_out`, `mlp_out` and `head`.

        Raises:
            SiteError: when a block does not offer a site, with the reason.
        """
        hook_sites = []
        for site in sites:
            if site == "resid_pre":
                hook_sites += [
                    HookSite(site=site, module=block, at="input", row_axis=self.row_axis)
                    for block in self.blocks
                ]
                continue
            if site not in INNER:
                raise SiteError(f"no site {site!r} inside a block; known: {', '.join(INNER)}")
            for name, block in zip(self.block_names, self.block_sites, strict=True):
                module = block.module(site)
                if module is None:
                    raise SiteError(f"{self.name}: no {site} in {name}: {block.lacking[site]}")
                at: Literal["input", "output"] = "input" if site == "head" else "output"
                hook_sites.append(
                    HookSite(
                        site=site,
                        module=self.model.get_submodule(module),
                        at=at,
                        row_axis=self.row_axis,
                    )
                )
        return hook_sites

    @property
    def heads(self) -> int:
        """Number of attention heads of each block; 0 where it is not known or differs."""
        numbers = {block.heads for block in self.block_sites}
        return numbers.pop() if len(numbers) == 1 else 0

    @property
    def layers(self) -> tuple[str, ...]:
        """`embed` (the input of block 0), then the blocks by name."""
        return ("embed", *self.block_names)

    @property
    def device(self) -> torch.device:
        """Device of the model's first parameter."""
        return next(self.model.parameters(), torch.empty(0)).device

    @property
    def reading(self) -> dict[str, Any]:
        """Settings that decide the scores besides the weights, as JSON values; results keep them.

        Numbers are rounded to ten digits, so that every machine writes the same.
        """
        return {"scale": float(f"{self.scale:.10g}"), "bias": float(f"{self.bias:.10g}")}

    @property
    def digest(self) -> str:
        """SHA-256 of the weights as they are now."""
        return weights_digest(self.model)

    def embed_texts(self, statements: Sequence[str]) -> Float[Tensor, "statement dim"]:
        """Return the embedding of each statement; equally long ones run in one batch.

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
        """Return the embedding of each anchor; equal anchors are embedded once.

        The text tower embeds texts, the image tower images.
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
        """Return the score of each row: scale * cosine(text, anchor) + bias.

        Half-precision embeddings are scored in float32, where a cosine keeps its digits.
        """
        text, anchor = (
            embedding.float() if embedding.dtype in (torch.float16, torch.bfloat16) else embedding
            for embedding in (text, anchor)
        )
        return self.scale * torch.cosine_similarity(text, anchor, dim=-1) + self.bias
