"""The self-check of an encoder: that its states carry everything and patches do what they say."""

__all__ = ["Check", "CheckItem", "check"]

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from negtrace._messages import listed
from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import Capture, captured, evaluating, hooks_in, starting_at
from negtrace.errors import EncoderError, NegtraceError

STATEMENTS = ("There is no pneumothorax.", "There is some pneumothorax.")


@dataclass(frozen=True, kw_only=True)
class CheckItem:
    """One thing that was checked."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a self-check found."""

    encoder: str
    items: tuple[CheckItem, ...]

    @property
    def passed(self) -> bool:
        """Whether every item holds."""
        return all(item.holds for item in self.items)

    def __str__(self) -> str:
        rows = [
            f"{'ok  ' if item.holds else 'FAIL'}  {item.name}: {item.detail}" for item in self.items
        ]
        return "\n".join([self.encoder, *rows])

    def require(self) -> None:
        """Raise an EncoderError that names what does not hold."""
        failed = [f"{item.name}: {item.detail}" for item in self.items if not item.holds]
        if failed:
            raise EncoderError(f"{self.encoder} does not pass its self-check; " + "; ".join(failed))


def check(encoder: Encoder) -> Check:
    """Run two statements through the encoder and look at every seam the engine relies on."""
    before = _fingerprint(encoder)
    try:
        with torch.inference_mode(), evaluating(encoder.model):
            items = list(_probe(encoder))
    except NegtraceError as error:
        items = [CheckItem(name="forward", holds=False, detail=str(error))]
    items += _hooks_of_the_user(encoder)
    same = _fingerprint(encoder) == before
    left = CheckItem(
        name="model untouched",
        holds=same,
        detail="no hook, override, flag or weight changed" if same else "something was left behind",
    )
    return Check(encoder=repr(encoder), items=(*items, left))


def _probe(encoder: Encoder) -> Iterator[CheckItem]:
    tokens = encoder.tokenize(STATEMENTS)
    yield _tokens_found(encoder)
    ids = [torch.tensor([row.ids], device=encoder.device) for row in tokens]
    runs = [_plain(encoder, row) for row in ids]
    (base, plain), (donor, other) = runs
    shapes = _shapes(encoder, base, ids[0])
    yield shapes
    if not shapes.holds:  # nothing below can be asked of states that are none
        return
    yield _own_state(encoder, base, ids[0], plain)
    yield _sites(encoder)
    if len(tokens[0]) == len(tokens[1]):
        yield _whole_state(encoder, base, donor, ids[0], other)
        yield _cue_counts(encoder, plain, other)
        yield _reads(encoder, base, donor, tokens[0].read_out)


def _plain(encoder: Encoder, ids: Int[Tensor, "1 token"]) -> tuple[Capture, Float[Tensor, "1 dim"]]:
    with captured(encoder.blocks) as capture:
        text = encoder.encode(ids)
    return capture, text


def _from(
    encoder: Encoder,
    base: Capture,
    ids: Int[Tensor, "1 token"],
    layer: int,
    state: Float[Tensor, "1 token width"],
) -> Float[Tensor, "1 dim"]:
    rows = torch.zeros(1, dtype=torch.long, device=ids.device)
    with starting_at(encoder.blocks, layer, state, base, rows):
        return encoder.encode(ids)


def _tokens_found(encoder: Encoder) -> CheckItem:
    [tokens] = encoder.tokenize(STATEMENTS[:1])
    start = STATEMENTS[0].index("no")
    found = any(span[0] <= start < span[1] for span in tokens.spans)
    detail = f"{len(tokens)} tokens, read at {tokens.read_out}" if found else "no token covers 'no'"
    return CheckItem(name="tokens", holds=found, detail=detail)


def _shapes(encoder: Encoder, base: Capture, ids: Int[Tensor, "1 token"]) -> CheckItem:
    shapes = {tuple(state.shape) for state in base.states()} if _ran_once(encoder, base) else set()
    width = max((shape[-1] for shape in shapes), default=0)
    holds = shapes == {(1, ids.shape[1], width)}
    detail = (
        f"resid is [token, {width}] at embed and {len(encoder.blocks)} blocks"
        if holds
        else f"{len(base.outputs)} block outputs of shapes {sorted(shapes)}; expected "
        f"{len(encoder.blocks)} of [1, {ids.shape[1]}, width]"
    )
    return CheckItem(name="states", holds=holds, detail=detail)


def _ran_once(encoder: Encoder, base: Capture) -> bool:
    return len(base.outputs) == len(encoder.blocks) and len(base.embed) == 1


def _own_state(
    encoder: Encoder, base: Capture, ids: Int[Tensor, "1 token"], plain: Float[Tensor, "1 dim"]
) -> CheckItem:
    wrong = [
        encoder.layers[layer]
        for layer, state in enumerate(base.states())
        if not torch.equal(_from(encoder, base, ids, layer, state), plain)
    ]
    detail = "changes nothing, bit for bit" if not wrong else f"changes the embedding at {wrong}"
    return CheckItem(name="a run's own state", holds=not wrong, detail=detail)


def _sites(encoder: Encoder) -> CheckItem:
    """Say what the blocks offer; a site that is not there is no fault."""
    norms = {
        "pre": "resid_pre + attn_out + mlp_out = resid",
        "post": "norm(norm(resid_pre + attn_out) + mlp_out) = resid",
    }
    found = []
    for norm in dict.fromkeys(block.norm for block in encoder.block_sites):
        blocks = [block for block in encoder.block_sites if block.norm == norm]
        why = " and ".join(f"no {site}: {said}" for site, said in blocks[0].lacking.items())
        said = norms[norm] if norm else why
        heads = f"; {blocks[0].heads} heads" if blocks[0].heads else f"; {why}" if norm else ""
        found.append(f"{said} in {len(blocks)} of {len(encoder.blocks)} blocks{heads}")
    return CheckItem(name="sites", holds=True, detail="; ".join(found))


def _whole_state(
    encoder: Encoder,
    base: Capture,
    donor: Capture,
    ids: Int[Tensor, "1 token"],
    other: Float[Tensor, "1 dim"],
) -> CheckItem:
    # A tower that reads several layers keeps a part of the base run whatever one layer holds.
    gaps = [
        (_from(encoder, base, ids, layer, state) - other).abs().max().item()
        for layer, state in enumerate(donor.states())
    ]
    limit = 1e-3 * other.abs().max().item()
    if gaps[0] > limit:
        detail = f"at embed leaves the embedding {gaps[0]:.3g} away: the input bypasses the blocks"
    elif max(gaps) > limit:
        detail = "makes the other embedding at embed; the read-out reads several layers"
    else:
        detail = "makes the other statement's embedding at every layer"
    return CheckItem(name="the other run's whole state", holds=gaps[0] <= limit, detail=detail)


def _cue_counts(
    encoder: Encoder, plain: Float[Tensor, "1 dim"], other: Float[Tensor, "1 dim"]
) -> CheckItem:
    # At embed a patch of the whole state makes the other embedding, as the item above sees to.
    anchor = encoder.embed_texts(["There is an abnormality."])
    patched, plain = encoder.score(other, anchor), encoder.score(plain, anchor)
    moved = (patched - plain).abs().item()
    return CheckItem(
        name="a patch changes the score",
        holds=moved > 0,
        detail=f"'no' for 'some' moves it by {moved:.3g} {encoder.unit}",
    )


def _reads(encoder: Encoder, base: Capture, donor: Capture, read_out: int | None) -> CheckItem:
    differ = (base.states() != donor.states()).any(-1)[:, 0]
    # All positions come before the first difference where the tokenizer tells no words apart.
    first = int(differ[0].int().argmax()) if differ[0].any() else differ.shape[1]
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
    """Return what a trace must not change: hooks, overrides, modes, grad flags, weight versions."""
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
    weights = tuple(
        (name, value.requires_grad, value._version, value.data_ptr())
        for name, value in encoder.model.named_parameters()
    )
    return modules, weights
