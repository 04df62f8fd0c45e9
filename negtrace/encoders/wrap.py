"""Any `nn.Module` with a list of blocks as an encoder, its structure measured on a probe."""

__all__ = ["ModuleEncoder", "wrap"]

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import override

from negtrace.encoders.base import PROBE, Encoder, PrefixAttention, Unit
from negtrace.encoders.hooks import evaluating
from negtrace.encoders.structure import find_blocks, is_causal, only_device, read_out_of
from negtrace.encoders.tokenizing import ReadOut, StatementTokenizer, unpadded_ids
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens

EncodeAt = Callable[[Tensor, Tensor], Tensor]
"""Maps token ids [row, token] at positions [1, token] to embeddings [row, dim]."""

EmbedImages = Callable[[Sequence[Any]], Tensor]
"""Maps PIL images to embeddings, [image dim]."""


class ModuleEncoder(Encoder):
    """An encoder over a module, a function that embeds token rows and a tokenizer.

    Blocks, causality and the read-out position are measured, not declared.
    """

    family: ClassVar[str] = "wrapped module"

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        encode: Callable[[Tensor], Tensor],
        *,
        name: str,
        unit: Unit,
        max_tokens: int,
        blocks: Sequence[str] | None = None,
        embed_images: EmbedImages | None = None,
        fill_context: bool = False,
        encode_at: EncodeAt | None = None,
        scale: float = 1.0,
        bias: float = 0.0,
        revision: str | None = None,
        probe: Sequence[int] | None = None,
    ) -> None:
        self._encode = encode
        self._embed_images = embed_images
        device = only_device(model, name)
        ids = torch.tensor([probe or unpadded_ids(tokenizer, PROBE)], device=device)
        super().__init__(
            model,
            name=name,
            block_names=blocks or find_blocks(model, encode, ids),
            unit=unit,
            causal=False,
            max_tokens=max_tokens,
            scale=scale,
            bias=bias,
            revision=revision,
            tokenizer_name=type(tokenizer).__name__,
        )
        with evaluating(model):
            self.causal = is_causal(self.blocks, encode, ids)
            read_out = _rule(read_out_of(self.blocks, encode, ids), ids.shape[1], name)
        self._prefix_attention = self._measured_prefix(encode_at, ids) if encode_at else None
        self._tokenizer = StatementTokenizer(tokenizer=tokenizer, read_out=read_out)
        if fill_context and read_out == "last" and not self.causal:
            self._fill(device)

    def _measured_prefix(
        self, encode_at: EncodeAt, ids: Int[Tensor, "1 token"]
    ) -> PrefixAttention | None:
        """Return prefix attention where a run from its middle embeds as the whole run does."""
        from negtrace.encoders.huggingface.attention import HFPrefixAttention

        if not self.causal:
            return None
        prefix = HFPrefixAttention(self.blocks, encode_at)
        with evaluating(self.model), torch.inference_mode():
            return prefix if prefix.agrees(ids) else None

    def _fill(self, device: torch.device) -> None:
        """Run statements filled, if what fills them is where the embedding is then read."""
        filled = replace(self._tokenizer, pad_to=self.max_tokens)
        ids = torch.tensor([filled([PROBE])[0].ids], device=device)
        with evaluating(self.model):
            if read_out_of(self.blocks, self._encode, ids) == (ids.shape[1] - 1,):
                self._tokenizer = filled

    @override
    def tokenize(self, statements: Sequence[str]) -> list[Tokens]:
        return self._tokenizer(statements)

    @override
    def encode(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        return self._encode(ids)

    @override
    def embed_texts(self, statements: Sequence[str]) -> Float[Tensor, "statement dim"]:
        with evaluating(self.model):  # a score must not depend on dropout
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
        with evaluating(self.model):
            return self._embed_images([anchor.open_image() for anchor in anchors])


def _rule(read: tuple[int, ...], count: int, name: str) -> ReadOut:
    """Return the rule behind the positions a probe of `count` tokens is read at."""
    if not read:
        raise EncoderError(
            f"{name}: changing the state after the last block changes no embedding; "
            "are these the text tower's blocks? Name them with wrap(..., blocks=[...])"
        )
    if len(read) > 1:
        return "mean"
    if read[0] not in (0, count - 1):
        raise EncoderError(
            f"{name}: the embedding is read at position {read[0]} of {count}; expected the first, "
            "the last or all. Trim what follows the read-out in your tokenizer"
        )
    return "first" if read[0] == 0 else "last"


def token_states(output: Any) -> Float[Tensor, "row token width"]:
    """Return the token states in what a text tower returns."""
    states = getattr(output, "last_hidden_state", output)
    states = states[0] if isinstance(states, tuple) else states
    if not isinstance(states, Tensor) or states.ndim != 3:
        shape = tuple(states.shape) if isinstance(states, Tensor) else type(states).__name__
        raise EncoderError(
            f"the module returned {shape}; expected token states [row, token, width]. "
            "Pass encode=, a function from ids [row, token] to embeddings [row, dim]"
        )
    return states


def wrap(
    module: nn.Module,
    tokenizer: Any,
    *,
    blocks: Sequence[str] | None = None,
    read_out: Literal["first", "last", "mean"] = "mean",
    encode: Callable[[Tensor], Tensor] | None = None,
    embed_images: EmbedImages | None = None,
    scale: float = 1.0,
    unit: Unit = "cosine",
    max_tokens: int = 512,
    fill_context: bool = False,
    name: str | None = None,
) -> Encoder:
    """Return any module as an encoder.

    Args:
        module: holds the text tower; it is used as it is and never altered.
        tokenizer: called with a statement, gives `input_ids`; a transformers tokenizer.
        blocks: names of the blocks as in `module.named_modules()`; found when not given.
        read_out: which token state is the embedding, where `encode` is not given.
        encode: from token ids [row, token] to embeddings [row, dim].
        embed_images: from PIL images to embeddings [image, dim], for image anchors.
        scale: what the cosine is multiplied by; a dual encoder's exp(logit_scale).
        unit: `logit` where the scale is the model's own, `cosine` otherwise.
        max_tokens: the longest statement the tower reads, in tokens.
        fill_context: run statements filled to `max_tokens`, where the tower is bidirectional and
            read at its last position (SigLIP was trained so).
        name: what to call it in results.

    Raises:
        EncoderError: when the blocks cannot be found or the read-out is not understood.
    """
    if encode is None:
        encode = pooled(module, read_out)
    return ModuleEncoder(
        module,
        tokenizer,
        encode,
        name=name or type(module).__name__,
        unit=unit,
        max_tokens=max_tokens,
        blocks=blocks,
        embed_images=embed_images,
        fill_context=fill_context,
        scale=scale,
    )


def pooled(module: nn.Module, read_out: ReadOut) -> Callable[[Tensor], Tensor]:
    """Return a function from token ids to one vector a row: mean, first or last token state."""

    def encode(ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        states = token_states(module(ids))
        if read_out == "mean":
            return states.mean(dim=1)
        return states[:, 0 if read_out == "first" else -1]

    return encode
