"""Network of the phantom: a small `transformers.CLIPModel`, its pixels, and a locality penalty."""

__all__ = ["WINDOWS", "build_network", "locality", "pixels"]

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from negtrace.experiments.train_phantom.vocabulary import CONTEXT
from negtrace.phantom.bundled import TRAINED_ON

SIZE = 48
MEAN, STD = 0.4, 0.25
"""Mean and standard deviation of the training radiographs' pixels, rounded."""

WINDOWS: tuple[int, ...] = (1, 1, 2, 2, 3, 3)
"""Number of tokens that each of the lowest text blocks may look back without a penalty."""


def build_network(vocabulary: int, tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """Return the untrained network. Attention is eager, so that `locality` can read its weights."""
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
    config = CLIPConfig(
        text_config=text, vision_config=vision, projection_dim=128, trained_on=TRAINED_ON
    )
    config._attn_implementation = "eager"
    return CLIPModel(config).train()


def pixels(images: NDArray[np.uint8]) -> torch.Tensor:
    """Return images as the bundled image processor would, of shape (image, 3, row, column)."""
    grey = (torch.from_numpy(images).float() / 255 - MEAN) / STD
    return grey[:, None].expand(-1, 3, -1, -1)


def locality(attentions: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """Return the attention that the lowest blocks pay to tokens beyond their window, as a penalty.

    Without the penalty, the end token reads every word in the first block, and the other blocks
    have nothing left to move. With it, the low blocks work on phrases.

    The end token counts as much as all other tokens together, because the model is read there: as
    one of about twenty tokens it would accept the penalty. Attention to the start token counts too,
    because otherwise heads rest on that token and only the first block moves anything.

    Args:
        attentions: weights of each text block, of shape (text, head, query, key).
        mask: 1 for a token and 0 for padding, of shape (text, token).
    """
    index = torch.arange(mask.shape[1])
    distance = index[:, None] - index[None, :]
    end_token = mask.sum(1) - 1
    rows = torch.arange(len(mask))
    penalty = torch.zeros(())
    for window, attention in zip(WINDOWS, attentions, strict=False):
        far = (distance > window).float()
        paid = (attention * far).sum(-1).mean(1)
        penalty = penalty + (paid * mask).sum() / mask.sum() + paid[rows, end_token].mean()
    return penalty
