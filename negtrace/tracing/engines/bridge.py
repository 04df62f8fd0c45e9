"""A `TransformerBridge` of transformer_lens as an encoder."""

__all__ = ["from_bridge"]

from typing import Any

from torch import nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.pooled import pooled
from negtrace.encoders.tokenizing import ReadOut
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError


def from_bridge(
    bridge: Any,
    tokenizer: Any = None,
    *,
    read_out: ReadOut = "mean",
    name: str | None = None,
) -> Encoder:
    """Return a `TransformerBridge` as an encoder; its forwards go through the bridge's own blocks.

    Args:
        bridge: from `TransformerBridge.boot_transformers`. Your hooks on it keep firing.
        tokenizer: the bridge's own when not given. transformer_lens may have set that one to add
            other start and end tokens than the tokenizer you booted the bridge with.
        read_out: which of the model's final token states is the embedding.
        name: the model's name in results; the name in the bridge's `cfg` when not given.

    Raises:
        EncoderError: when it is not a bridge over a model of transformers with a list of blocks.
    """
    model, blocks = getattr(bridge, "original_model", None), getattr(bridge, "blocks", None)
    tower = getattr(model, "base_model", None)
    if not isinstance(model, nn.Module) or not isinstance(blocks, nn.ModuleList) or tower is None:
        raise EncoderError(
            f"a {type(bridge).__name__} with no original_model, base_model or blocks; expected a "
            "TransformerBridge over a model of transformers"
        )
    # Blocks are the bridge's, named as in the wrapped model: trainers know those names.
    name = name or str(bridge.cfg.model_name)
    tokenizer = bridge.tokenizer if tokenizer is None else tokenizer
    names = {id(module): path for path, module in model.named_modules()}
    if missing := [str(i) for i, block in enumerate(blocks) if id(block) not in names]:
        raise EncoderError(f"blocks {', '.join(missing)} of the bridge are not in its model")
    return wrap(
        model,
        tokenizer,
        name=name,
        blocks=[names[id(block)] for block in blocks],
        encode=pooled(tower, read_out, tokenizer),
        max_tokens=int(bridge.cfg.n_ctx),
    )
