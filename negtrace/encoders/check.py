"""Check of an encoder's structure: its states hold the whole statement."""

__all__ = [
    "STRUCTURE",
    "CheckItem",
    "CheckReport",
    "check_structure",
    "require_no_bypass",
    "state_of",
]

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace._messages import listed
from negtrace.encoders.base import Encoder
from negtrace.encoders.block_parts import Norm
from negtrace.encoders.digests import settings_digest, weight_versions
from negtrace.encoders.guard import exclusive
from negtrace.encoders.hooks import Capture, captured, evaluating, hooks_in, input_edited, replayed
from negtrace.encoders.sites import BlockSites
from negtrace.encoders.structure import ROUNDING
from negtrace.errors import EncoderError, NegtraceError
from negtrace.pairs.tokens import Tokens

STATEMENTS = (
    ("There is no pneumothorax.", "There is some pneumothorax.", "There is an abnormality."),
    ("No nodule.", "Some nodule.", "An opacity."),
)
"""Two statements and an anchor, and shorter ones for a model that does not read them whole."""
TOLERANCE = 1e-3
"""Largest difference of two embeddings that counts as none, as a share of the largest value."""

FEW = 8
"""Units of rounding up to which two inputs of block 0 are equal."""

STRUCTURE = ("structure",)
"""Key of an encoder's `agreements` under which the state stands that passed the check."""

IDENTITIES: dict[Norm, str] = {
    "pre": "resid_pre + attn_out + mlp_out = resid",
    "post": "norm(norm(resid_pre + attn_out) + mlp_out) = resid",
}
"""What the sites of a block add up to, by the place of its norms."""


@dataclass(frozen=True, kw_only=True)
class CheckItem:
    """Result of one check."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Results of a self-check; `str` gives one line for each item."""

    encoder: str
    items: tuple[CheckItem, ...]

    @property
    def passed(self) -> bool:
        """True if every item holds."""
        return all(item.holds for item in self.items)

    def __str__(self) -> str:
        rows = [
            f"{'ok  ' if item.holds else 'FAIL'}  {item.name}: {item.detail}" for item in self.items
        ]
        return "\n".join([self.encoder, *rows])

    def require(self) -> None:
        """Raise an EncoderError that names the items that do not hold, if there are any."""
        failed = [f"{item.name}: {item.detail}" for item in self.items if not item.holds]
        if failed:
            raise EncoderError(f"{self.encoder} does not pass its self-check; " + "; ".join(failed))


def check_structure(
    encoder: Encoder, *, then: Callable[[Encoder], Iterator[CheckItem]] | None = None
) -> CheckReport:
    """Run two statements through an encoder, and check what tracing relies on.

    `negtrace.check` compares patched scores too.

    Args:
        encoder: the encoder.
        then: further checks, made where all of these hold.

    >>> from negtrace.encoders import load
    >>> print(check_structure(load("toy")).items[0].detail)
    7 tokens, read at 6
    """
    with exclusive(encoder.model):  # hooks of another thread are not the user's
        return _report(encoder, then)


def require_no_bypass(encoder: Encoder) -> None:
    """Raise an EncoderError where a statement reaches the embedding by more than the blocks.

    The short form of `check_structure` for a trace: two forwards of a short statement. What else
    it checks, a trace finds out by itself: it compares patched rows with plain forwards, and asks
    for the sites that it patches.
    """
    if encoder.beyond_blocks:  # known, and said
        return
    tokens = encoder.tokenize(_statements(encoder)[:2])
    if len(tokens[0]) != len(tokens[1]) or len(tokens[0]) > encoder.max_tokens:
        return
    with torch.inference_mode(), evaluating(encoder.model), encoder.guarded("its input was traced"):
        base, other = (torch.tensor([row.ids], device=encoder.device) for row in tokens)
        source, source_text = _plain(encoder, other)
        items = [_states(encoder, source, other)]
        # A trace drops the pairs whose scores are not finite.
        if items[0].holds and source_text.isfinite().all():
            items.append(_whole_state(encoder, source, base, source_text))
    failed = [f"{item.name}: {item.detail}" for item in items if not item.holds]
    if failed:
        raise EncoderError(
            f"{encoder.name} cannot be traced through its blocks: {'; '.join(failed)}. Name other "
            "modules as the blocks, or go on without this check: trace(..., self_check=False)"
        )


def state_of(model: nn.Module) -> tuple[object, ...]:
    """Return what decides the structure of a model: its weights, settings and hooks as they are."""
    return weight_versions(model), settings_digest(model), *hooks_in(model)


def _report(encoder: Encoder, then: Callable[[Encoder], Iterator[CheckItem]] | None) -> CheckReport:
    before = _fingerprint(encoder)
    try:
        with (
            torch.inference_mode(),
            evaluating(encoder.model),
            encoder.guarded("the check ran it"),
        ):
            items = list(_probe(encoder))
            if then is not None and all(item.holds for item in items):
                items += then(encoder)
    except NegtraceError as error:
        items = [CheckItem(name="forward", holds=False, detail=str(error))]
    items += _hooks_of_the_user(encoder)
    same = _fingerprint(encoder) == before
    if same and all(item.holds for item in items):
        encoder.agreements[STRUCTURE] = state_of(encoder.model)
    untouched = CheckItem(
        name="model untouched",
        holds=same,
        detail="no hook, override, flag or weight changed"
        if same
        else "the check changed the model",
    )
    return CheckReport(encoder=repr(encoder), items=(*items, untouched))


def _statements(encoder: Encoder) -> tuple[str, str, str]:
    """Return the first statements that the model reads whole, or else the shortest."""
    for texts in STATEMENTS:
        if all(len(row) <= encoder.max_tokens for row in encoder.tokenize(texts)):
            return texts
    return STATEMENTS[-1]


def _probe(encoder: Encoder) -> Iterator[CheckItem]:
    texts = _statements(encoder)
    tokens = encoder.tokenize(texts)
    yield _tokens(texts[0], tokens[0])
    ids = [torch.tensor([row.ids], device=encoder.device) for row in tokens]
    (base, base_text), (source, source_text) = (_plain(encoder, row) for row in ids[:2])
    states = _states(encoder, base, ids[0])
    yield states
    if not states.holds:  # the items below need states
        return
    yield _own_state(encoder, base, ids[0], base_text)
    yield _sites(encoder)
    if len(tokens[0]) == len(tokens[1]):
        yield _whole_state(encoder, source, ids[0], source_text)
        yield _score_changes(encoder, base_text, source_text, encoder.encode(ids[2]))
        yield _attention(encoder, base, source, tokens[0].read_out)


def _plain(encoder: Encoder, ids: Int[Tensor, "1 token"]) -> tuple[Capture, Float[Tensor, "1 dim"]]:
    with captured(encoder.blocks, row_axis=encoder.row_axis) as capture:
        text = encoder.encode(ids)
    return capture, text


def _tokens(statement: str, tokens: Tokens) -> CheckItem:
    start = statement.lower().index("no")
    covered = any(span[0] <= start < span[1] for span in tokens.spans)
    detail = (
        f"{len(tokens)} tokens, read at {tokens.read_out}" if covered else "no token covers 'no'"
    )
    return CheckItem(name="tokens", holds=covered, detail=detail)


def _states(encoder: Encoder, base: Capture, ids: Int[Tensor, "1 token"]) -> CheckItem:
    ran_once = len(base.outputs) == len(encoder.blocks) and len(base.embed) == 1
    shapes = {tuple(state.shape) for state in base.states()} if ran_once else set()
    width = max((shape[-1] for shape in shapes), default=0)
    holds = shapes == {(1, ids.shape[1], width)}
    detail = (
        f"resid is [token, {width}] at embed and {len(encoder.blocks)} blocks"
        if holds
        else f"{len(base.outputs)} block outputs of shapes {sorted(shapes)}; expected "
        f"{len(encoder.blocks)} of [1, {ids.shape[1]}, width]"
    )
    return CheckItem(name="states", holds=holds, detail=detail)


def _own_state(
    encoder: Encoder, base: Capture, ids: Int[Tensor, "1 token"], text: Float[Tensor, "1 dim"]
) -> CheckItem:
    """Give every block its own output again, which must change nothing."""
    with replayed(encoder.blocks, base, base.stream[-1]):
        same = torch.equal(encoder.encode(ids), text)
    detail = "changes nothing, bit for bit" if same else "changes the embedding"
    return CheckItem(name="a run's own state", holds=same, detail=detail)


def _sites(encoder: Encoder) -> CheckItem:
    """Name the sites inside each kind of block; a site that is not offered is no failure."""
    kinds = Counter(_sites_of(block) for block in encoder.block_sites)
    details = [
        f"{count} of {len(encoder.block_names)} blocks: " + "; ".join(found)
        for found, count in kinds.items()
    ]
    return CheckItem(name="sites", holds=True, detail="; ".join(details))


def _sites_of(block: BlockSites) -> tuple[str, ...]:
    """Return what a block's sites add up to, its heads, and each reason for missing sites."""
    found = []
    if block.norm is not None and block.attn_out and block.mlp_out:
        found.append(IDENTITIES[block.norm])
    if block.heads:
        found.append(f"{block.heads} heads")
    for reason in dict.fromkeys(block.lacking.values()):
        sites = [site for site, why in block.lacking.items() if why == reason]
        found.append(f"no {', '.join(sites)}: {reason}")
    return tuple(found)


def _whole_state(
    encoder: Encoder,
    source: Capture,
    ids: Int[Tensor, "1 token"],
    source_text: Float[Tensor, "1 dim"],
) -> CheckItem:
    """Put the other run's input of block 0 into a run, which must make the other embedding."""
    [state] = source.embed
    with input_edited(encoder.blocks[0], lambda _: state, row_axis=encoder.row_axis):
        gap = (encoder.encode(ids) - source_text).abs().max().item()
    holds = gap <= TOLERANCE * source_text.abs().max().item()
    detail = "makes the other statement's embedding"
    if not holds:
        detail = f"leaves the embedding {gap:.3g} away: the input bypasses the blocks"
    if encoder.beyond_blocks:
        holds, detail = True, f"leaves the embedding {gap:.3g} away, by {encoder.beyond_blocks}"
    return CheckItem(name="the other run's input", holds=holds, detail=detail)


def _score_changes(
    encoder: Encoder,
    base_text: Float[Tensor, "1 dim"],
    source_text: Float[Tensor, "1 dim"],
    anchor: Float[Tensor, "1 dim"],
) -> CheckItem:
    # A patch of the whole state at embed makes the other embedding, as the item above checks.
    patched, base = encoder.score(source_text, anchor), encoder.score(base_text, anchor)
    change = (patched - base).abs().item()
    return CheckItem(
        name="a patch changes the score",
        holds=change > 0,
        detail=f"'no' for 'some' moves it by {change:.3g} {encoder.unit}",
    )


def _attention(encoder: Encoder, base: Capture, source: Capture, read_out: int | None) -> CheckItem:
    states = base.states()
    gap = (states - source.states()).abs().amax(-1)[:, 0]
    eps = torch.finfo(gap.dtype).eps
    # A mixture of experts rounds by all of its tokens, so a gap within rounding is none.
    differ = gap > ROUNDING * eps * states.abs().max()
    # No token is mixed at `embed`, so there a few units of rounding tell. Where the tokenizer reads
    # both statements alike, no position differs.
    changed = gap[0] > FEW * eps * states[0].abs().max()
    first = int(changed.int().argmax()) if changed.any() else differ.shape[1]
    holds = not encoder.causal or not differ[:, :first].any().item()
    kind = "causal" if encoder.causal else "bidirectional"
    where = "all positions" if read_out is None else f"position {read_out}"
    detail = f"{kind}, read at {where}" if holds else "states before the first difference differ"
    return CheckItem(name="attention", holds=bool(holds), detail=detail)


def _hooks_of_the_user(encoder: Encoder) -> list[CheckItem]:
    hooked = hooks_in(encoder.model)
    if not hooked:
        return []
    detail = f"{listed(hooked)}; they stay, and act in every run of a trace"
    return [CheckItem(name="hooks of your own", holds=True, detail=detail)]


def _fingerprint(encoder: Encoder) -> tuple[object, ...]:
    """Return all that a trace must not change: hooks, overrides, modes, grad flags, weights."""
    modules = tuple(
        (
            name,
            module.training,
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            "forward" in vars(module),
        )
        for name, module in encoder.model.named_modules()
    )
    trained = tuple(value.requires_grad for value in encoder.model.parameters())
    return modules, trained, weight_versions(encoder.model)
