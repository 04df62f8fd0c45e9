"""Text that stands for an image in a prompt, as the model's own processor writes it."""

__all__ = ["ImagePrompt"]

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from negtrace.encoders.huggingface.prompt import PROBE, Prompt
from negtrace.encoders.tokenizing import unpadded_ids
from negtrace.errors import EncoderError

OFFSETS = "text_replacement_offsets"
"""The processor's record of the texts that it put in the place of images."""


@dataclass(frozen=True, kw_only=True)
class ImagePrompt:
    """A prompt about an image, read by the processor of a vision-language model.

    The processor puts as many image tokens in the place of an image as the model makes of it.
    """

    processor: Any
    """The processor, with a tokenizer and an image processor."""
    prompt: Prompt
    """The question and its two answers."""
    image_id: int
    """Token id that the model replaces by image features."""
    name: str
    """Name of the model in errors."""

    @property
    def placeholder(self) -> str:
        """Text that the processor takes for an image, with the tokens that the model expects around
        it according to its chat template.
        """
        tokenizer = self.processor.tokenizer
        token = getattr(self.processor, "image_token", None)
        token = token or tokenizer.convert_ids_to_tokens(self.image_id) or "<image>"
        around = _around_image(self.processor)
        return around if around.count(token) == 1 else str(token)

    def inputs(self, image: Any) -> dict[str, Tensor]:
        """Return the processor's own inputs for the prompt with an image and a short statement."""
        read = self._read(image)
        read.pop(OFFSETS, None)
        return {key: torch.as_tensor(np.array(value)) for key, value in read.items()}

    def text(self, image: Any) -> str:
        """Return the text that stands for an image, with all its image tokens.

        Raises:
            EncoderError: when the tokens of the prompt with this text are not those that the
                processor makes.
        """
        read = self._read(image)
        expected = tuple(read["input_ids"][0])
        for text in self._candidates(read, expected):
            ids = self.prompt.tokens(self.processor.tokenizer, PROBE, text).ids
            # Behind the prompt, a processor may add an end token or a line break.
            if ids == expected[: len(ids)]:
                return text
        raise EncoderError(
            f"{self.name}: its processor makes other tokens of a prompt with an image than its "
            "tokenizer makes of the same text; subclass negtrace.Encoder and override "
            "tokenize_against"
        )

    def _candidates(self, read: dict[str, Any], ids: tuple[int, ...]) -> Iterator[str]:
        tokenizer = self.processor.tokenizer
        record = read.get(OFFSETS)
        if record and record[0]:
            token, replacement = record[0][0]["text"], record[0][0]["replacement"]
            text = self.placeholder.replace(token, str(replacement))
        else:
            token = tokenizer.convert_ids_to_tokens(self.image_id)
            text = self.placeholder.replace(token, token * ids.count(self.image_id))
        yield text
        yield text + _own_start(tokenizer)

    def _read(self, image: Any) -> dict[str, Any]:
        text, _ = self.prompt.text(self.processor.tokenizer, PROBE, self.placeholder)
        try:
            options = {"add_special_tokens": False} if self.prompt.chat else {}
            read = dict(
                self.processor(
                    text=[text], images=[image], return_text_replacement_offsets=True, **options
                )
            )
        except Exception as error:  # a processor whose parts do not fit can raise anything
            raise EncoderError(
                f"{self.name}: its processor cannot read a text with an image ({error}); check "
                f"that its tokenizer knows {self.placeholder!r}"
            ) from error
        if self.image_id not in read["input_ids"][0]:
            raise EncoderError(
                f"{self.name}: its processor makes no image token of {self.placeholder!r}; check "
                "that its tokenizer knows it"
            )
        return read


def _around_image(processor: Any) -> str:
    """Return what the chat template writes for an image; nothing without a template."""
    if getattr(processor, "chat_template", None) is None:
        return ""
    text = {"type": "text", "text": PROBE}
    plain, shown = (
        processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
        for content in ([text], [{"type": "image"}, text])
    )
    before, found, after = plain.partition(PROBE)
    if not found or not shown.startswith(before) or not shown.endswith(PROBE + after):
        return ""
    return str(shown[len(before) : len(shown) - len(PROBE + after)]).strip()


def _own_start(tokenizer: Any) -> str:
    """Return the start token if the tokenizer does not add it: it may follow the image."""
    start = tokenizer.bos_token
    if start is None or unpadded_ids(tokenizer, PROBE)[0] == tokenizer.bos_token_id:
        return ""
    return str(start)
