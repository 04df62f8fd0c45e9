"""Embedding of a text as sentence-transformers makes it: pooled token states, then linear maps."""

__all__ = ["Dense", "SentenceModel", "embedding_of", "pool"]

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from negtrace.encoders.huggingface.sentence_transformers import (
    DenseSettings,
    Pooling,
    SentenceSettings,
)
from negtrace.encoders.token_types import TokenTypes, type_inputs
from negtrace.errors import EncoderError


class Dense(nn.Module):
    """Linear map of an embedding, followed by an activation.

    Args:
        settings: sizes and activation.
        weights: of `linear`, and of `residual` where the settings have one, by name.

    Raises:
        EncoderError: when a weight is missing, is not expected or has another size.
    """

    def __init__(self, settings: DenseSettings, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        sizes = settings.in_features, settings.out_features
        self.settings = settings
        self.linear = nn.Linear(*sizes, bias=settings.bias)
        self.residual = (
            nn.Linear(*sizes, bias=False)
            if settings.residual and settings.in_features != settings.out_features
            else nn.Identity()
        )
        self.activation = getattr(nn, settings.activation)()
        try:
            self.load_state_dict(dict(weights))
        except RuntimeError as error:
            raise EncoderError(
                f"the weights of its Dense module in {settings.path} do not fit its config.json: "
                f"{str(error).splitlines()[-1].strip()}"
            ) from error

    @override
    def forward(self, x: Float[Tensor, "row dim"]) -> Float[Tensor, "row out"]:
        if x.shape[-1] != self.settings.in_features:
            raise EncoderError(
                f"an embedding of width {x.shape[-1]} reaches the Dense module in "
                f"{self.settings.path}, which expects {self.settings.in_features}; leave read_out "
                "out, so that the model's own pooling is used, or give the whole model to "
                "negtrace.wrap(..., encode=...)"
            )
        mapped: Tensor = self.activation(self.linear(x))
        return mapped + self.residual(x) if self.settings.residual else mapped


class SentenceModel(nn.Module):
    """A model of transformers and the linear maps behind its pooling, as one module.

    Args:
        transformer: a model of transformers without a head.
        maps: linear maps, in the order in which they act.
    """

    def __init__(self, transformer: Any, maps: Sequence[Dense]) -> None:
        super().__init__()
        self.transformer = transformer
        self.config = transformer.config
        self.name_or_path = transformer.name_or_path
        # Not in a list: the longest list of equal modules is that of the blocks.
        for index, dense in enumerate(maps):
            self.add_module(f"dense_{index}", dense)

    @property
    def maps(self) -> list[Dense]:
        """Linear maps behind the pooling, in the order in which they act."""
        return [module for module in self.children() if isinstance(module, Dense)]

    @override
    def forward(self, input_ids: Int[Tensor, "row token"], **inputs: Tensor) -> Any:
        """Return the output of the transformer."""
        return self.transformer(input_ids=input_ids, **inputs)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the transformer, and the weights of each linear map into its own folder."""
        self.transformer.save_pretrained(folder)
        for dense in self.maps:
            path = Path(folder) / dense.settings.path
            path.mkdir(parents=True, exist_ok=True)
            weights = {k: v.detach().cpu().contiguous() for k, v in dense.state_dict().items()}
            save_file(weights, path / "model.safetensors", metadata={"format": "pt"})


def pool(
    states: Float[Tensor, "row token width"], pooling: Pooling, skipped: int = 0
) -> Float[Tensor, "row width"]:
    """Return the token states of rows without padding, pooled as sentence-transformers does.

    | pooling | embedding of n states s_i at positions i = 1, 2, ... |
    |---|---|
    | `cls`, `lasttoken` | the first, the last |
    | `mean`, `mean_sqrt_len_tokens` | sum s_i / n, sum s_i / sqrt(n) |
    | `weightedmean` | sum i s_i / sum i |
    | `max` | largest value of each coordinate |

    Args:
        states: token states.
        pooling: a pooling.
        skipped: number of tokens at the start that are not pooled; positions count them.
    """
    pooled = states[:, skipped:]
    if pooling in ("cls", "lasttoken"):
        return states[:, -1] if pooling == "lasttoken" else pooled[:, 0]
    if pooling == "max":
        return pooled.amax(dim=1)
    wide = pooled.float() if states.dtype in (torch.float16, torch.bfloat16) else pooled
    count = pooled.shape[1]
    if pooling == "weightedmean":
        weights = torch.arange(skipped + 1, skipped + count + 1, device=wide.device).to(wide.dtype)
        summed = (wide * weights[:, None]).sum(dim=1) / weights.sum()
    else:
        summed = wide.sum(dim=1) / (count if pooling == "mean" else count**0.5)
    return summed.to(states.dtype)


def embedding_of(
    model: nn.Module,
    settings: SentenceSettings,
    prompt_tokens: int,
    types: TokenTypes | None = None,
) -> Callable[[Tensor], Tensor]:
    """Return a function from token ids [row, token] to embeddings [row, dim].

    Args:
        model: a model of transformers, or one with linear maps.
        settings: poolings and what follows them.
        prompt_tokens: number of tokens at the start of a row that belong to the prompt.
        types: token types that the model is given beside token ids.
    """
    skipped = 0 if settings.pool_prompt else prompt_tokens
    return partial(_embedding, model, settings, _steps(model, settings), skipped, types)


def _embedding(
    model: nn.Module,
    settings: SentenceSettings,
    steps: Sequence[Callable[[Tensor], Tensor]],
    skipped: int,
    types: TokenTypes | None,
    ids: Int[Tensor, "row token"],
) -> Float[Tensor, "row dim"]:
    states = model(input_ids=ids, **type_inputs(types, ids)).last_hidden_state
    if skipped >= states.shape[1]:
        raise EncoderError("a statement has no tokens behind the prompt; reword it")
    embedding = torch.cat([pool(states, each, skipped) for each in settings.pooling], dim=-1)
    for step in steps:
        embedding = step(embedding)
    return embedding[:, : settings.truncate_dim]


def _steps(model: nn.Module, settings: SentenceSettings) -> list[Callable[[Tensor], Tensor]]:
    maps: list[Callable[[Tensor], Tensor]] = (
        list(model.maps) if isinstance(model, SentenceModel) else []
    )

    def of(step: DenseSettings | Literal["normalize"]) -> Callable[[Tensor], Tensor]:
        return _normalize if step == "normalize" else maps.pop(0)

    return [of(step) for step in settings.after_pooling]


def _normalize(embedding: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
    return functional.normalize(embedding, dim=-1)
