"""Wrap any `nn.Module` with a list of blocks as an encoder; its structure is measured."""

__all__ = ["EmbedImages", "ModuleEncoder", "WrapOptions", "wrap"]

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import override

from negtrace._messages import one_of
from negtrace._settings import with_settings
from negtrace.encoders.base import PROBE, Encoder, EncoderDescription, Unit
from negtrace.encoders.batching import batches_by_length
from negtrace.encoders.block_lists import find_blocks
from negtrace.encoders.checked import checked, require_finite, require_one_pass
from negtrace.encoders.guard import exclusive, guarded, guards
from negtrace.encoders.hooks import evaluating, try_widened, widened
from negtrace.encoders.key_value_cache import PrefixAttention
from negtrace.encoders.pooled import PooledStates, pooled
from negtrace.encoders.structure import (
    is_causal,
    only_device,
    read_out_of,
    reads_elsewhere,
    row_axis_of,
)
from negtrace.encoders.token_types import TokenTypes
from negtrace.encoders.tokenizing import ReadOut, StatementTokenizer, unpadded_ids
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens

EncodeAt = Callable[[Tensor, Tensor], Tensor]
"""Maps token ids [row, token] at positions [1, token] to embeddings [row, dim]."""

LOCATED = 64
"""Statements whose read-out is measured at once."""

PROBES = (PROBE, "There is no nodule.", "No nodule.")
"""Statements to measure structure on, shorter ones for towers that read a few tokens only."""

EmbedImages = Callable[[Sequence[Any]], Tensor]
"""Maps Pillow images to embeddings [image, dim]."""


class ModuleEncoder(Encoder):
    """An encoder over a module, a tokenizer and a function that embeds rows of tokens.

    Blocks, causality and the read-out position are measured by running a probe.

    Args:
        model: the module that holds the text tower.
        tokenizer: a transformers tokenizer, or any function from a statement to `input_ids` and
            `offset_mapping`.
        encode: maps token ids [row, token] to embeddings [row, dim].
        description: name, score and context of the encoder; the tokenizer's name is added.
        blocks: names of the blocks as in `model.named_modules()`; found when not given.
        embed_images: maps Pillow images to embeddings [image, dim]; None for texts as anchors only.
        fill_context: fill statements with padding up to `max_tokens` where the tower is
            bidirectional and read at its last position.
        encode_at: maps token ids and their positions to embeddings, for a causal tower that can
            run the end of a row alone.

    Raises:
        EncoderError: when the blocks cannot be found or the read-out position is not understood.
    """

    family: ClassVar[str] = "wrapped module"

    token_types: TokenTypes | None = None
    """Token types that `encode` gives the model beside token ids, if any."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        encode: Callable[[Tensor], Tensor],
        description: EncoderDescription,
        *,
        blocks: Sequence[str] | None = None,
        embed_images: EmbedImages | None = None,
        fill_context: bool = False,
        encode_at: EncodeAt | None = None,
    ) -> None:
        self._encode = checked(encode, description.name)
        if isinstance(encode, PooledStates):
            self.token_types = encode.token_types
        self._embed_images = embed_images
        device = only_device(model, description.name)
        with guarded(description.name, model, "its structure was measured"), evaluating(model):
            ids = torch.tensor(
                [self._chosen_probe(tokenizer, description.max_tokens)], device=device
            )
            super().__init__(
                model,
                replace(description, tokenizer_name=type(tokenizer).__name__),
                block_names=blocks or find_blocks(model, self._encode, ids),
                causal=False,
            )
            require_finite(self._encode, ids, self.name)
            self._probe_row = ids
            try_widened(self.model, self._run_probe)
            require_one_pass(self._encode, self.blocks, ids, self.name)
            self.row_axis = row_axis_of(self.blocks, self._encode, ids)
            self.causal = self._measured_causality(ids)
            read_out = self._measured_rule(ids)
        self._prefix_attention = self._prefix(encode_at) if encode_at and self.causal else None
        self._tokenizer = StatementTokenizer(tokenizer=tokenizer, read_out=read_out)
        if fill_context and read_out == "last" and not self.causal:
            self._fill(device)

    def _chosen_probe(self, tokenizer: Any, longest: int) -> tuple[int, ...]:
        """Choose the probe that the tower reads whole, or else the shortest; return its ids."""
        for self._probe_text in PROBES:
            ids = self._probe_ids(tokenizer, self._probe_text)
            if len(ids) <= longest:
                break
        return ids

    def _probe_ids(self, tokenizer: Any, text: str) -> tuple[int, ...]:
        """Return the token ids of the statement that structure is measured on."""
        return unpadded_ids(tokenizer, text)

    def _run_probe(self) -> None:
        self._encode(self._probe_row)

    @property
    @override
    def probe(self) -> Int[Tensor, "1 token"]:
        [tokens] = self.tokenize([self._probe_text])
        return torch.tensor([tokens.ids], device=self.device)

    def _measured_causality(self, ids: Int[Tensor, "1 token"]) -> bool:
        if is_causal(self.blocks, self._encode, ids, row_axis=self.row_axis):
            return True
        # Half precision rounds a sum in another order to another number.
        with widened(self.model) as some:
            return some and is_causal(self.blocks, self._encode, ids, row_axis=self.row_axis)

    def _measured_rule(self, ids: Int[Tensor, "1 token"]) -> ReadOut:
        """Return the read-out of the tower, measured on a statement."""
        return _rule(self._positions_read(ids), ids.shape[1], self.name)

    def _positions_read(self, ids: Int[Tensor, "1 token"]) -> tuple[int, ...]:
        """Return the positions that a statement is read at.

        A tower that looks for the largest id reads an added word, if there is one. Such a word is
        replaced by the one before it.
        """
        count, before, plain = ids.shape[1], -1, ids.clone()
        first: tuple[int, ...] = ()
        for _ in range(count):
            positions = read_out_of(self.blocks, self._encode, plain, row_axis=self.row_axis)
            if len(positions) != 1 or positions[0] in (0, count - 1):
                return positions
            if positions[0] == before:
                break
            first = first or positions
            [before] = positions
            plain[0, before] = plain[0, before - 1]
        return first

    def _prefix(self, encode_at: EncodeAt) -> PrefixAttention:
        from negtrace.encoders.huggingface.attention import HFPrefixAttention

        return HFPrefixAttention(self.blocks, partial(_encode_tail, encode_at))

    def _fill(self, device: torch.device) -> None:
        """Fill statements with padding if the embedding is then read at the last padding token."""
        filled = replace(self._tokenizer, pad_to=self.max_tokens)
        ids = torch.tensor([filled([self._probe_text])[0].ids], device=device)
        with evaluating(self.model), self.guarded("its structure was measured"):
            if read_out_of(self.blocks, self._encode, ids, row_axis=self.row_axis) == (
                ids.shape[1] - 1,
            ):
                self._tokenizer = filled

    @override
    def located(self, tokens: Sequence[Tokens]) -> list[Tokens]:
        """Return the tokens with the position at which each embedding is read, measured.

        A tower may look for a token (the first end token, the largest id), which a statement can
        hold anywhere.

        Raises:
            EncoderError: when an embedding is read at several positions, but not at all of them.
        """
        if self._tokenizer.read_out == "mean":
            return list(tokens)
        unique = list({row.ids: row for row in tokens}.values())
        elsewhere: dict[tuple[int, ...], int | None] = {}
        with evaluating(self.model):
            for batch in batches_by_length(unique, LOCATED):
                ids = torch.tensor([unique[i].ids for i in batch], device=self.device)
                expected = torch.tensor([unique[i].read_out for i in batch], device=self.device)
                with self.guarded("the position that is read out was measured"):
                    others = reads_elsewhere(
                        self.blocks, self._encode, ids, expected, row_axis=self.row_axis
                    )
                for index, other in zip(batch, others.tolist(), strict=True):
                    if other:
                        elsewhere[unique[index].ids] = self._position_read(unique[index])
        return [
            replace(row, read_out=elsewhere[row.ids]) if row.ids in elsewhere else row
            for row in tokens
        ]

    def _position_read(self, tokens: Tokens) -> int:
        """Return the position at which the embedding of one statement is read."""
        ids = torch.tensor([tokens.ids], device=self.device)
        with self.guarded("the position that is read out was measured"):
            positions = read_out_of(self.blocks, self._encode, ids, row_axis=self.row_axis)
        if len(positions) != 1:
            raise EncoderError(
                f"{self.name}: the embedding of a statement is read at {len(positions)} of "
                f"{len(tokens)} positions, that of the probe at one; subclass negtrace.Encoder"
            )
        return positions[0]

    @property
    @override
    def reading(self) -> dict[str, Any]:
        tokenizer = self._tokenizer
        padded = {} if tokenizer.pad_to is None else {"pad_to": tokenizer.pad_to}
        return {**super().reading, "read_out": tokenizer.read_out, **padded}

    @override
    def tokenize(self, statements: Sequence[str]) -> list[Tokens]:
        return self._typed(self._tokenizer(statements))

    def _typed(self, tokens: list[Tokens]) -> list[Tokens]:
        """Return the tokens as they are, once their types are those that the model is given."""
        if self.token_types is not None:
            for row in tokens:
                self.token_types.require(row, self.name)
        return tokens

    @override
    def encode(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        rows = f"{len(ids)} rows of {ids.shape[1]} tokens ran"
        # A guard around this one says more. Hooks of another thread would act in this forward.
        with exclusive(self.model), nullcontext() if guards() else self.guarded(rows):
            return self._encode(ids)

    @override
    def embed_texts(self, statements: Sequence[str]) -> Float[Tensor, "statement dim"]:
        # A score must not depend on dropout.
        with evaluating(self.model), self.guarded("statements were embedded"):
            return super().embed_texts(statements)

    @property
    @override
    def mask_token_id(self) -> int | None:
        return getattr(self._tokenizer.tokenizer, "mask_token_id", None)

    @property
    @override
    def reads_images(self) -> bool:
        return self._embed_images is not None

    @property
    @override
    def prefix_attention(self) -> PrefixAttention | None:
        return self._prefix_attention

    @override
    def embed_images(self, anchors: Sequence[Anchor]) -> Float[Tensor, "anchor dim"]:
        if self._embed_images is None:
            raise EncoderError(
                f"{self.name} has no image tower, but an anchor is an image; "
                "use pairs with text anchors"
            )
        images = [anchor.open_image() for anchor in anchors]
        with evaluating(self.model), self.guarded("images were embedded"):
            return self._embed_images(images)


def _encode_tail(
    encode_at: EncodeAt, ids: Int[Tensor, "row token"], start: int, _: Float[Tensor, "row _"]
) -> Float[Tensor, "row dim"]:
    """Return the embedding of rows whose tokens from a position on are run."""
    positions = torch.arange(start, ids.shape[1], device=ids.device)[None]
    return encode_at(ids[:, start:], positions)


def _rule(positions: tuple[int, ...], count: int, name: str) -> ReadOut:
    """Return the read-out of a tower that reads a probe of `count` tokens at these positions."""
    if not positions:
        raise EncoderError(
            f"{name}: changing the state after the last block changes no embedding; "
            "are these the text tower's blocks? Name them with wrap(..., blocks=[...])"
        )
    if len(positions) > 1:
        return "mean"
    if positions[0] not in (0, count - 1):
        raise EncoderError(
            f"{name}: the embedding is read at position {positions[0]} of {count}; expected the "
            "first, the last or all. Cut off what follows the read-out in your tokenizer"
        )
    return "first" if positions[0] == 0 else "last"


@dataclass(frozen=True, kw_only=True)
class WrapOptions:
    """Options for wrapping a module.

    Raises:
        UnknownNameError: for an unknown read-out.
    """

    name: str | None = None
    """Name in results; the class of the module when not given."""
    blocks: Sequence[str] | None = None
    """Names of the blocks as in `module.named_modules()`; found when not given."""
    read_out: str = "mean"
    """Token state that is the embedding, where `encode` is not given: first, last or mean."""
    encode: Callable[[Tensor], Tensor] | None = None
    """Function from token ids [row, token] to embeddings [row, dim]. It gives the model all else
    that its tokenizer gives beside ids, such as token types."""
    embed_images: EmbedImages | None = None
    """Function from Pillow images to embeddings [image, dim], for image anchors."""
    scale: float = 1.0
    """Factor of the cosine in the score: exp(logit_scale) for a dual encoder."""
    unit: Unit = "cosine"
    """Unit of the score: `logit` where the scale is the model's own."""
    max_tokens: int = 512
    """Tokens of the longest statement that the tower reads."""
    fill_context: bool = False
    """Fill statements with padding up to `max_tokens`, where the tower is bidirectional and read at
    its last position. SigLIP was trained so."""

    def __post_init__(self) -> None:
        one_of("read-out", self.read_out, get_args(ReadOut))


def wrap(
    module: nn.Module, tokenizer: Any, options: WrapOptions | None = None, **settings: Any
) -> Encoder:
    """Return any module with a list of blocks as an encoder.

    Args:
        module: holds the text tower; it is used as it is and never altered.
        tokenizer: a transformers tokenizer, or any function from a statement to `input_ids` and
            `offset_mapping`.
        options: options of the wrapping; the defaults when not given.
        settings: single options by name, such as `read_out="last"`: the fields of `WrapOptions`.

    Raises:
        EncoderError: when the blocks cannot be found or the read-out position is not understood.
        UnknownNameError: for an unknown option.
    """
    options = with_settings(options or WrapOptions(), settings, "option of wrap")
    return ModuleEncoder(
        module,
        tokenizer,
        options.encode or pooled(module, options.read_out, tokenizer),
        EncoderDescription(
            name=options.name or type(module).__name__,
            unit=options.unit,
            max_tokens=options.max_tokens,
            scale=options.scale,
        ),
        blocks=options.blocks,
        embed_images=options.embed_images,
        fill_context=options.fill_context,
    )
