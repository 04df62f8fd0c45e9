"""Coupling of rows: whether the states of a row depend on the rows that run beside it.

They do in a mixture of experts whose experts take a bounded number of tokens, where statistics are
taken over a batch, and where numbers are quantized by the largest one of a batch. Then a row gives
its own numbers only when it runs alone.
"""

__all__ = ["coupled_rows", "differ", "embedded_alone", "learning_calls", "rely_on_others"]

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from negtrace.encoders.base import Encoder
from negtrace.encoders.batching import batched, batches_by_length
from negtrace.encoders.call_layout import recorded_calls
from negtrace.encoders.hooks import captured, widened
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.tracing.engines.narrowing import narrows
from negtrace.tracing.engines.sweep import Sweep

ROWS = 16
"""Rows that run together, at most. Two would do for statistics and for a bound on the tokens of an
expert. More show a coupling that some words alone bring about, and still cost less than the cells
of one statement."""

ROUNDING = 1e3
"""Units of rounding, as a share of the largest value of a state, up to which two states are equal.
A batch sums in another order than a row alone: that is 2 units in the phantom. Quantization by the
largest number of a batch, the weakest coupling that is known, is 200,000 units in a small BERT."""


def coupled_rows(sweep: Sweep, compared: Collection[int] = ()) -> str | None:
    """Return how rows depend on each other; None if they do not.

    At every length of a statement, some rows run together, and the first of them alone. In that row
    all tokens have one state, the mean of their own. So a mixture of experts sends all of them to
    the same experts, and any bound on the tokens of an expert shows.

    Args:
        sweep: names the model and the statements.
        compared: lengths at which patched rows are compared with plain forwards. They are left out,
            unless there are no others.
    """
    by_length: dict[int, list[int]] = {}
    for index, lengths in enumerate(sweep.lengths):
        for length in dict.fromkeys(lengths):
            by_length.setdefault(length, []).append(index)
    wanted = sorted(by_length.keys() - set(compared)) or [max(by_length)]
    found = (_coupling(sweep, length, by_length[length]) for length in wanted)
    return next((reason for reason in found if reason), None)


def _coupling(sweep: Sweep, length: int, indices: Sequence[int]) -> str | None:
    """Return how rows of one length depend on each other; None if they do not.

    Args:
        sweep: names the model and the statements.
        length: number of tokens.
        indices: the contrasts that have a run of this length.
    """
    count = min(ROWS, sweep.row_tokens // length)
    if count < 2:  # a row runs alone in any case
        return None
    rows = _rows(sweep, length, indices, count - 1)
    ids = torch.tensor([next(iter(rows)), *rows], device=sweep.anchors.device)
    indices = list(rows.values())
    anchors = sweep.anchors[[indices[0], *indices]]
    encoder = sweep.encoder
    run = partial(_first_row, encoder, ids[:1], anchors[:1])
    try:
        with learning_calls(encoder, ids[:1]):
            alone = run()
        away = _away(encoder, _first_row(encoder, ids, anchors), alone, run)
        if away is None or _away(encoder, run(), alone, run):  # or the model draws random numbers
            return None
    except EncoderError as error:
        return str(error)
    return (
        f"rows depend on the rows that run beside them: in a batch of {len(ids)} rows of {length} "
        f"tokens, {away}"
    )


def _rows(
    sweep: Sweep, length: int, indices: Sequence[int], count: int
) -> dict[tuple[int, ...], int]:
    """Return different token ids of one length, at most `count`, each with its contrast's index.

    They are spread over the sweep.
    """
    rows: dict[tuple[int, ...], int] = {}
    for index in indices[:: -(-len(indices) // max(1, count // 2))]:  # a contrast has two runs
        contrast = sweep.contrasts[index]
        for run in (contrast.clean, contrast.corrupt):
            if len(run.ids) == length and len(rows) < count:
                rows.setdefault(run.ids, index)
    return rows


def _away(
    encoder: Encoder,
    together: Sequence[Tensor],
    alone: Sequence[Tensor],
    run: Callable[[], object],
) -> str | None:
    """Return which states of two runs of a row differ first, and by how much; None if none do."""
    names = *(f"states at {layer}" for layer in encoder.layers), "embeddings"
    for name, one, other in zip(names, together, alone, strict=False):
        if differ(one, other, run):
            share = float((one - other).abs().max() / other.abs().max())
            return f"{name} are {share:.1g} of their size away from those of a row alone"
    return None


def _first_row(
    encoder: Encoder, ids: Int[Tensor, "row token"], anchors: Float[Tensor, "row _"]
) -> list[Tensor]:
    """Return the states of the first row at every layer, and its embedding.

    All its tokens get the mean of their states as the input of block 0.
    """

    def even(hidden: Float[Tensor, "row token width"]) -> Float[Tensor, "row token width"]:
        hidden = hidden.clone()
        hidden[0] = hidden[0].mean(dim=0)
        return hidden

    with captured(encoder.blocks, even, row_axis=encoder.row_axis) as capture:
        text = encoder.run(ids, anchors)
    return [state[0] for state in (*capture.stream, text)]


@contextmanager
def learning_calls(encoder: Encoder, ids: Int[Tensor, "1 token"]) -> Iterator[None]:
    """Learn how the blocks are called from the forward inside the `with`, a statement alone.

    A fast route needs that, and would run the statement once more.
    """
    with recorded_calls(encoder.blocks) as calls:
        yield
    with suppress(EncoderError):  # that route learns why not
        encoder.learn_from(calls, ids)


def differ(one: Tensor, other: Tensor, run: Callable[[], object]) -> bool:
    """Return whether two results for one row differ by more than rounding.

    Args:
        one: a result.
        other: another one.
        run: runs the model, to see whether float64 weights are used in float32. Their rounding is
            that of float32.
    """
    gap, largest = (one - other).abs().max(), other.abs().max()

    def beyond(dtype: torch.dtype) -> bool:
        return bool(gap > ROUNDING * torch.finfo(dtype).eps * largest)

    if not beyond(one.dtype):
        return False
    return one.dtype != torch.float64 or beyond(torch.float32) or not narrows(run)


def rely_on_others(
    encoder: Encoder,
    anchors: Sequence[Anchor],
    embedded: Float[Tensor, "anchor dim"],
    compared: Collection[int] = (),
) -> bool:
    """Return whether the embedding of an anchor depends on the anchors that are embedded with it.

    One anchor of each batch is embedded once more, alone.

    Args:
        encoder: the model.
        anchors: the anchors.
        embedded: their embeddings.
        compared: lengths of text at which rows are known not to depend on each other.
    """
    rows = dict(zip(anchors, embedded, strict=True))
    with (
        widened(encoder.model) as half,
        torch.autocast(encoder.device.type, enabled=False),
    ):
        for batch in _embedded_together(encoder, list(rows), compared):
            one = batch[-1]
            # Half precision rounds a batch in another way: two anchors are embedded in float32.
            together = encoder.embed_anchors(batch[-2:])[-1] if half else rows[one]
            [alone] = encoder.embed_anchors([one])
            same_shape = together.shape == alone.shape  # not where a batch is padded
            if same_shape and differ(together, alone, partial(encoder.embed_anchors, [one])):
                return True
    return False


def _embedded_together(
    encoder: Encoder, anchors: Sequence[Anchor], compared: Collection[int]
) -> Iterator[Sequence[Anchor]]:
    """Yield the anchors of every batch of more than one, except texts of some lengths."""
    texts = [a for a in anchors if a.text is not None and not encoder.reads_anchor_in_row]
    tokens = encoder.tokenize([anchor.text or "" for anchor in texts]) if texts else []
    for batch in batches_by_length(tokens):
        if len(batch) > 1 and len(tokens[batch[0]]) not in compared:
            yield [texts[index] for index in batch]
    for images in batched([anchor for anchor in anchors if anchor.text is None]):
        if len(images) > 1:
            yield images


def embedded_alone(
    encoder: Encoder, anchors: Sequence[Anchor], embedded: Float[Tensor, "anchor dim"]
) -> Float[Tensor, "anchor dim"]:
    """Return the embedding of each anchor, each one embedded alone; equal ones once.

    Args:
        encoder: the model.
        anchors: the anchors.
        embedded: their embeddings in batches. Texts that a model reads with the statement have no
            embedding of their own, and keep what stands for it.
    """
    alone: dict[Anchor, Tensor] = {}
    for anchor, row in zip(anchors, embedded, strict=True):
        if anchor in alone:
            continue
        in_row = encoder.reads_anchor_in_row and anchor.text is not None
        alone[anchor] = row if in_row else encoder.embed_anchors([anchor])[0]
    return torch.stack([alone[anchor] for anchor in anchors])
