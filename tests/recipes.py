"""The recipes of docs/how-to/models.md as encoders, so that the contract is tested on them."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from small_models import TEXT, word_tokenizer
from torch import nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.wrap import wrap

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "models.md").read_text("utf-8")


def shown(name: str) -> Callable[..., nn.Module]:
    """Return a class as the page defines it."""
    found = re.search(rf"^class {name}\(nn\.Module\):\n(?:(?: .*)?\n)+", PAGE, re.MULTILINE)
    space: dict[str, object] = {"nn": nn, "torch": torch}
    exec(compile(found.group(), "docs/how-to/models.md", "exec"), space)  # noqa: S102
    return space[name]


def text_tower(name: str, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    bert = transformers.BertModel(transformers.BertConfig(**TEXT, vocab_size=120))
    tower = shown(name)(bert, dim=16).eval()
    with torch.no_grad():
        for weight in tower.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.2)
    return tower.to(dtype)


def medclip(dtype: torch.dtype = torch.float32) -> Encoder:
    tower = text_tower("MedCLIPText", dtype)
    scale = 1 / 0.07
    return wrap(tower, word_tokenizer(), encode=tower, scale=scale, unit="logit", name="medclip")


def biovil(dtype: torch.dtype = torch.float32) -> Encoder:
    tower = text_tower("CXRBert", dtype)
    return wrap(tower, word_tokenizer(), encode=tower, name="biovil-t")


RECIPES: dict[str, Callable[[torch.dtype], Encoder]] = {"medclip": medclip, "biovil-t": biovil}
