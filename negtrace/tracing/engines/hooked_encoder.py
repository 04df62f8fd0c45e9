"""An encoder in the shape that `transformer_lens.patching` expects of a model."""

__all__ = ["HOOK_NAMES", "HookedEncoder", "as_hooked"]

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import captured, evaluating
from negtrace.errors import EncoderError, UnknownNameError, require
from negtrace.pairs.anchor import Anchor
from negtrace.tracing.engines.cells import INSIDE, LayerSite, layer_sites

HookFunction = Callable[..., Any]
"""Called as `function(activation, hook=point)`. Unless it returns None, its value replaces the
activation."""

HOOK_NAMES = {
    "resid": "hook_resid_post",
    "resid_pre": "hook_resid_pre",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "head": "attn.hook_z",
}
"""The name that transformer_lens gives each kind of site."""

NamesFilter = str | Sequence[str] | Callable[[str], bool] | None


@dataclass(frozen=True, kw_only=True)
class HookedConfig:
    """The fields of a model's `cfg` that transformer_lens reads."""

    model_name: str
    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    n_ctx: int
    device: torch.device
    dtype: torch.dtype
    n_key_value_heads: int | None = None


@final
class HookedEncoder:
    """An encoder with named hook points. Its forward returns the score of every row.

    Every encoder has the points `blocks.{l}.hook_resid_pre` and `hook_resid_post`. Where the model
    offers the site, there are also `hook_attn_out` and `hook_mlp_out` (what attention and MLP
    write, before any norm that follows) and `attn.hook_z` (the heads, [row token head width]).
    Hooks are on the model only during a forward.
    """

    def __init__(self, encoder: Encoder, anchors: Float[Tensor, "anchor dim"]) -> None:
        self.encoder = encoder
        self.anchors = anchors
        """The anchors that rows are scored against: one for all rows, or one for each row."""
        self.cfg = _config(encoder)
        self._sites = _named_sites(encoder)
        self._hooks: list[tuple[str, HookFunction]] = []
        make = require("transformer_lens.hook_points", extra="interop").HookPoint
        self.hook_dict: dict[str, Any] = {name: make() for name in self._sites}
        """`transformer_lens.hook_points.HookPoint` by name; a hook is called with its point."""
        for name, point in self.hook_dict.items():
            point.name = name

    def __repr__(self) -> str:
        return f"HookedEncoder({self.encoder!r}, {len(self.anchors)} anchors)"

    def to_tokens(self, statements: str | Sequence[str]) -> Int[Tensor, "row token"]:
        """Return the token ids of statements that have the same number of tokens.

        Raises:
            EncoderError: when they have not; negtrace pads nothing.
        """
        rows = self.encoder.tokenize([statements] if isinstance(statements, str) else statements)
        lengths = sorted({len(row) for row in rows})
        if len(lengths) != 1:
            raise EncoderError(
                f"statements of {', '.join(map(str, lengths))} tokens in one batch; nothing is "
                "padded, so hand over equally long ones, or one at a time"
            )
        return torch.tensor([row.ids for row in rows], device=self.encoder.device)

    def __call__(self, tokens: Int[Tensor, "row token"]) -> Float[Tensor, " row"]:
        """Return the score of every row against its anchor, by one plain forward.

        Raises:
            EncoderError: when the number of anchors is neither 1 nor the number of rows.
        """
        rows, anchors = len(tokens), self.anchors
        if len(anchors) not in (1, rows):
            raise EncoderError(
                f"{rows} rows of tokens for {len(anchors)} anchors; expected one anchor for all "
                "rows, or one for each"
            )
        anchors = anchors.expand(rows, -1)
        with evaluating(self.encoder.model), ExitStack() as stack:
            for name in dict.fromkeys(name for name, _ in self._hooks):
                stack.enter_context(self._hooked(name))
            return self.encoder.score(self.encoder.encode_against(tokens, anchors), anchors)

    @contextmanager
    def hooks(
        self, fwd_hooks: Sequence[tuple[Any, HookFunction]] = ()
    ) -> Iterator["HookedEncoder"]:
        """Add hooks to the forwards inside a `with`.

        Args:
            fwd_hooks: names of points, or filters of names, each with a function.

        Raises:
            UnknownNameError: for a name that is no hook point, since such a hook would do nothing.
        """
        before = list(self._hooks)
        added = [(name, function) for names, function in fwd_hooks for name in self._names(names)]
        self._hooks = before + added
        try:
            yield self
        finally:
            self._hooks = before

    def run_with_hooks(
        self,
        tokens: Int[Tensor, "row token"],
        fwd_hooks: Sequence[tuple[Any, HookFunction]] = (),
        bwd_hooks: Sequence[Any] = (),
    ) -> Float[Tensor, " row"]:
        """Return the scores of a forward with hooks.

        Raises:
            EncoderError: for backward hooks, which are not supported.
            UnknownNameError: for a name that is no hook point.
        """
        if bwd_hooks:
            raise EncoderError("backward hooks are not supported; take gradients of the scores")
        with self.hooks(fwd_hooks):
            return self(tokens)

    def run_with_cache(
        self, tokens: Int[Tensor, "row token"], names_filter: NamesFilter = None
    ) -> tuple[Float[Tensor, " row"], Any]:
        """Return the scores, and a `transformer_lens.ActivationCache` of the points that match."""
        activations: dict[str, Tensor] = {}

        def record(activation: Tensor, *, hook: Any) -> None:
            activations[hook.name] = activation

        wanted = (lambda _: True) if names_filter is None else names_filter
        scores = self.run_with_hooks(tokens, fwd_hooks=[(wanted, record)])
        lens = require("transformer_lens", extra="interop")
        return scores, lens.ActivationCache(activations, self)

    def _names(self, wanted: NamesFilter) -> list[str]:
        if callable(wanted):
            return [name for name in self.hook_dict if wanted(name)]
        names = [wanted] if isinstance(wanted, str) else list(wanted or ())
        for name in names:
            if name not in self.hook_dict:
                raise UnknownNameError(
                    f"{self.encoder.name} has no hook point {name!r}; known: "
                    + ", ".join(self.hook_dict)
                )
        return names

    def _hooked(self, name: str) -> AbstractContextManager[None]:
        site, point = self._sites[name], self.hook_dict[name]
        functions = [function for at, function in self._hooks if at == name]
        heads = self.cfg.n_heads if site.site == "head" else 0

        def edit(activation: Tensor) -> Tensor:
            # A copy, since patch setters write in place and a tower may read a state again.
            activation = activation.clone()
            if heads:
                activation = activation.reshape(*activation.shape[:-1], heads, -1)
            for function in functions:
                replacement = function(activation, hook=point)
                activation = activation if replacement is None else replacement
            return activation.flatten(-2) if heads else activation

        return site.edited(edit)


def as_hooked(encoder: Encoder, anchor: Anchor | Sequence[Anchor]) -> HookedEncoder:
    """Return an encoder in the shape that `transformer_lens.patching` drives.

    Args:
        encoder: the encoder. Its forward returns one score for each row; the forward of a language
            model in transformer_lens returns logits.
        anchor: one anchor for all rows, or one for each row.

    Raises:
        EncoderError: when transformer_lens is not installed.
    """
    anchors = [anchor] if isinstance(anchor, Anchor) else list(anchor)
    with evaluating(encoder.model), torch.no_grad():
        return HookedEncoder(encoder, encoder.embed_anchors(anchors))


def _config(encoder: Encoder) -> HookedConfig:
    ids = encoder.probe
    with evaluating(encoder.model), torch.inference_mode(), captured(encoder.blocks) as probe:
        encoder.encode(ids)
    [state] = probe.embed
    heads = max(1, encoder.heads)
    return HookedConfig(
        model_name=encoder.name,
        n_layers=len(encoder.blocks),
        n_heads=heads,
        d_model=state.shape[-1],
        d_head=state.shape[-1] // heads,
        n_ctx=encoder.max_tokens,
        device=encoder.device,
        dtype=state.dtype,
    )


def _named_sites(encoder: Encoder) -> dict[str, LayerSite]:
    """Return the site of every hook point, by the point's name."""
    offered = [kind for kind in INSIDE if all(block.module(kind) for block in encoder.block_sites)]
    if "head" in offered and not encoder.heads:
        offered.remove("head")
    sites = layer_sites(encoder, {"resid", "resid_pre", *offered})
    return {f"blocks.{s.layer - 1}.{HOOK_NAMES[s.site]}": s for s in sites if s.layer}
