"""Small encoders of every family, and a brute-force oracle for their traces."""

import contextlib
from collections.abc import Callable

import numpy as np
import torch
import transformers
from dual_encoders import DUALS
from language_models import LANGUAGES
from open_clip_models import OPEN_CLIPS
from recipes import RECIPES
from small_models import TEXT, VISION, build, word_tokenizer
from torch import Tensor

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import input_edited, output_edited
from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.encoders.huggingface.text import TextEncoder
from negtrace.encoders.load import load
from negtrace.encoders.toy import ToyEncoder
from negtrace.tracing.corruptions.contrast import Contrast, Run
from negtrace.tracing.engines.exact import Exact
from negtrace.tracing.engines.sweep import ContrastScores, Sweep


def clip(dtype: torch.dtype = torch.float32) -> Encoder:
    ids = {"vocab_size": 120, "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
    config = transformers.CLIPConfig(
        text_config={**TEXT, **ids}, vision_config=VISION, projection_dim=16
    )
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    return DualEncoder(build(config, dtype), word_tokenizer(), processor, name="clip")


def siglip(dtype: torch.dtype = torch.float32) -> Encoder:
    text = {**TEXT, "max_position_embeddings": 14, "vocab_size": 120, "projection_size": 32}
    config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
    processor = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return DualEncoder(build(config, dtype), word_tokenizer(), processor, name="siglip")


def bert(dtype: torch.dtype = torch.float32, read_out: str = "mean") -> Encoder:
    config = transformers.BertConfig(**TEXT, vocab_size=120)
    return TextEncoder(
        build(config, dtype),
        word_tokenizer(mask=True),
        name=f"bert-{read_out}",
        read_out=read_out,
    )


ENCODERS: dict[str, Callable[[torch.dtype], Encoder]] = {
    "toy": ToyEncoder,
    "clip": clip,
    "siglip": siglip,
    "bert-mean": bert,
    "bert-cls": lambda dtype: bert(dtype, "cls"),
    "bert-pooler": lambda dtype: bert(dtype, "pooler"),
    "phantom": lambda dtype: load("phantom", dtype=str(dtype).removeprefix("torch.")),
    **{name: DUALS[name] for name in ("siglip2", "blip", "groupvit", "tipsv2", "flava")},
    **{name: LANGUAGES[name] for name in ("gpt2", "llama", "llava", "paligemma")},
    **{name: OPEN_CLIPS[name] for name in ("open_clip", "open_clip-bert")},
    **RECIPES,
}
"""One encoder of each kind, for slow tests."""

EVERY_ENCODER: dict[str, Callable[[torch.dtype], Encoder]] = {
    **ENCODERS,
    **DUALS,
    **LANGUAGES,
    **OPEN_CLIPS,
}
"""Every small encoder."""

SPREAD = {"bert-mean", "medclip", "tipsv2"}
"""Encoders whose embedding is read from all tokens, or from several layers."""


def exact_scores(
    encoder: Encoder, contrasts: list[Contrast], anchors: Tensor, **options: object
) -> list[ContrastScores]:
    """Return the scores of some contrasts, in their order, by the exact engine."""
    sweep = Sweep(encoder=encoder, contrasts=contrasts, anchors=anchors, progress=False, **options)
    return sorted(Exact().run(sweep), key=lambda scores: scores.index)


def patched_at(
    encoder: Encoder, layer: int, state: Tensor
) -> contextlib.AbstractContextManager[None]:
    """Put a state, [row token width], in the place of that at a layer."""
    if layer == 0:
        return input_edited(encoder.blocks[0], lambda _: state, row_axis=encoder.row_axis)
    block = encoder.blocks[layer - 1]
    return output_edited(block, lambda _: state, row_axis=encoder.row_axis)


def oracle(encoder: Encoder, contrast: Contrast, anchor: Tensor, direction: str) -> np.ndarray:
    """Return the score of every cell, [layer, token], by one plain forward for each cell.

    No engine is used: each forward is the model's own over all its blocks, with one hook that
    writes one position: the mean of the corresponding states. Without any, the score is NaN.
    """
    base, source, correspondence = (
        contrast.clean,
        contrast.corrupt,
        contrast.clean_from_corrupt,
    )
    if direction == "denoising":
        base, source, correspondence = source, base, contrast.corrupt_from_clean
    states = _plain_states(encoder, source, anchor)
    grid = np.full((len(encoder.layers), len(base.ids)), np.nan)
    for layer, position in np.ndindex(grid.shape):
        if matches := list(correspondence[position]):
            state = states[layer][matches].mean(dim=0)
            grid[layer, position] = _patched_score(encoder, base, layer, position, state, anchor)
    return grid


def _plain_states(encoder: Encoder, run: Run, anchor: Tensor) -> list[Tensor]:
    states: list[Tensor] = []

    def record(hidden: Tensor) -> Tensor:
        states.append(hidden[0].clone())
        return hidden

    _forward(encoder, run, anchor, [record] * len(encoder.layers))
    return states


def _patched_score(
    encoder: Encoder, base: Run, layer: int, position: int, state: Tensor, anchor: Tensor
) -> float:
    def write(hidden: Tensor) -> Tensor:
        hidden = hidden.clone()
        hidden[0, position] = state
        return hidden

    writes = [write if index == layer else None for index in range(len(encoder.layers))]
    return encoder.score(_forward(encoder, base, anchor, writes), anchor[None]).item()


def _first(output: object) -> Tensor:
    return output[0] if isinstance(output, tuple | list) else output


def _with_first(output: object, hidden: Tensor) -> object:
    """Return what a block returned with other hidden states."""
    if isinstance(output, Tensor):
        return hidden
    items = [hidden, *output[1:]]
    return output._make(items) if hasattr(output, "_make") else type(output)(items)


def _forward(
    encoder: Encoder, run: Run, anchor: Tensor, writes: list[Callable[[Tensor], Tensor] | None]
) -> Tensor:
    """Run the model with a function on the state of each layer, after the corruption's edits."""

    def turned(hidden: Tensor) -> Tensor:
        return hidden.transpose(0, encoder.row_axis)  # rows first, or back

    def at_embed(hidden: Tensor) -> Tensor:
        hidden = turned(hidden)
        hidden = run.edit(hidden[0])[None] if run.edit else hidden
        return turned(writes[0](hidden) if writes[0] else hidden)

    def before(_: object, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if args:
            return (at_embed(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": at_embed(kwargs["hidden_states"])}

    def after(write: Callable[[Tensor], Tensor]) -> Callable:
        return lambda _, __, out: _with_first(out, turned(write(turned(_first(out)))))

    handles = [encoder.blocks[0].register_forward_pre_hook(before, with_kwargs=True)]
    for block, write in zip(encoder.blocks, writes[1:], strict=True):
        if write:
            handles.append(block.register_forward_hook(after(write), prepend=True))
    with torch.no_grad():
        text = encoder.encode_against(torch.tensor([run.ids]), anchor[None])
    for handle in handles:
        handle.remove()
    return text
