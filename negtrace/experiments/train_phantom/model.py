"""The phantom's network: a small `transformers.CLIPModel`, how it reads pixels and attends."""

__all__ = ["WINDOWS", "build", "locality", "pixels"]

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from negtrace.experiments.train_phantom.vocabulary import CONTEXT

SIZE = 48
MEAN, STD = 0.4, 0.25
"""Of the training radiographs, rounded."""

WINDOWS: tuple[int, ...] = (1, 1, 2, 2, 3, 3)
"""How far back each of the lowest text blocks may look before `locality` charges for it."""


def build(vocabulary: int, tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """Return the untrained network; attention is eager, so that `locality` can see it."""
    text = {
        "vocab_size": vocabulary,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "gelu",
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": SIZE,
        "patch_size": 8,
        "hidden_act": "gelu",
    }
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=128)
    config._attn_implementation = "eager"
    return CLIPModel(config).train()


def pixels(images: NDArray[np.uint8]) -> torch.Tensor:
    """Return (image, 3, row, column) as the bundled image processor would."""
    grey = (torch.from_numpy(images).float() / 255 - MEAN) / STD
    return grey[:, None].expand(-1, 3, -1, -1)


def locality(attentions: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """Return the attention that the lowest blocks pay to tokens beyond their window.

    Charged for in training, it makes the low blocks work on phrases: without it the end token
    gathers every word in the first block, cue included, and the other blocks have nothing to
    move. The end token counts as much as all others together: it alone is read, and would gladly
    pay a share in twenty. The start token is charged for too: where it was free, heads came to
    rest there, and the low blocks but the first moved nothing.
    """
    place = torch.arange(mask.shape[1])
    back = place[:, None] - place[None, :]
    last = mask.sum(1) - 1
    rows = torch.arange(len(mask))
    charge = torch.zeros(())
    for window, attention in zip(WINDOWS, attentions, strict=False):
        far = (back > window).float()
        paid = (attention * far).sum(-1).mean(1)
        charge = charge + (paid * mask).sum() / mask.sum() + paid[rows, last].mean()
    return charge
