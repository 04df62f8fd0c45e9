"""Agreement of the engine with plain forwards of the model, and the route that it allows.

A handful of the sweep's own cells is run in the plainest way: one row, one forward of the model's
own code, hooks that write the patch, nothing else. The fastest route that gives the same scores is
taken. So an architecture that breaks an assumption of a route costs time, not numbers.

A handful of cells need not show that rows depend on each other, so `coupling` looks for that too.

Scores agree within the rounding of the precision that the model computes in. That is the one of the
score, unless the model's own code turns states of float64 into float32, as routers of mixtures of
experts do: then a batch rounds like float32, and the limit is that of float32. Code that turns
states into half precision moves no limit, since a limit that wide would hide errors; such a model
takes a slower route, which repeats the operations of a plain forward.
"""

__all__ = ["Agreement", "agreement_with_plain", "fastest_route", "reasons"]

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.digests import settings_digest
from negtrace.encoders.hooks import Edit, captured, hooks_in, input_edited, widened
from negtrace.errors import EncoderError
from negtrace.tracing.engines.batch import record
from negtrace.tracing.engines.cells import Cell, LayerSite, cells_of, layer_sites
from negtrace.tracing.engines.coupling import coupled_rows, differ, learning_calls
from negtrace.tracing.engines.exact import batch_indices, rerun
from negtrace.tracing.engines.narrowing import narrows
from negtrace.tracing.engines.routes import ROUTES, Route
from negtrace.tracing.engines.sweep import Contrasts, ContrastScores, Patching, Sweep

SHARE_OF_D = {torch.float32: 1e-5, torch.float64: 1e-9}
"""Largest gap between two scores that counts as none, as a share of |d|."""

CANDIDATES = 8
"""Contrasts of a batch that are tried until one has finite scores."""

ROUNDING = 16
"""Units of rounding of the score's own terms that are allowed besides."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Agreement:
    """Result of comparing some cells with plain forwards."""

    route: Route
    """The fastest route that agrees."""
    cells: int
    """Number of cells that were compared."""
    gap: float
    """Largest gap between a score by that route and by a plain forward, as a share of |d|."""
    rejected: Mapping[str, str]
    """Faster routes that do not agree, with the reason."""
    scores: Mapping[int, ContrastScores] = field(default_factory=dict)
    """Scores of the contrasts that were run by that route, by index; the sweep can go on with them.
    """


def fastest_route(sweep: Sweep, digest: str, *, resumed: bool = False) -> Agreement:
    """Return the fastest route that gives the scores of plain forwards in this sweep.

    The result is kept with the encoder, for sweeps of the same statements, sites and positions. It
    is found anew when the model's weights, settings or hooks change.

    Args:
        sweep: contrasts of its first and of its last batch are compared, which hold the shortest
            and the longest statements.
        digest: of the model's weights.
        resumed: whether the sweep may have the scores of these batches already. Then a few
            contrasts of each are compared, and their scores are not kept.

    Raises:
        EncoderError: when the model gives two scores for one input.
    """
    model = sweep.encoder.model
    kinds = tuple(site.kind for site in sweep.plan.sites)
    key = (
        _model_key(model, digest),
        (sweep.direction, kinds, sweep.plan.window, sweep.row_tokens),
        _statements(sweep),
    )
    agreements = sweep.encoder.agreements
    if key in agreements:
        known: Agreement = agreements[key]
        return known
    result = agreement_with_plain(sweep, short=True, resumed=resumed)
    agreements[key] = replace(result, scores={})
    return result


def _model_key(model: nn.Module, digest: str) -> tuple[object, ...]:
    """Return what decides a forward of a model: its weights' digest, settings and hooks."""
    return digest, settings_digest(model), *hooks_in(model)


def _statements(sweep: Sweep) -> tuple[object, ...]:
    """Return what stands for the statements of a sweep, and for the positions to be patched."""
    contrasts = sweep.contrasts
    edited = contrasts[0].clean.edit is not None, contrasts[0].corrupt.edit is not None
    if isinstance(contrasts, Contrasts):
        return contrasts.digest, *edited
    return tuple((run.ids, run.groups) for c in contrasts for run in (c.clean, c.corrupt)), *edited


def agreement_with_plain(sweep: Sweep, *, short: bool = False, resumed: bool = False) -> Agreement:
    """Compare the routes with plain forwards, the fastest first, until one agrees.

    Half-precision weights are float32 meanwhile: rounding would hide what is to be seen.

    Args:
        sweep: contrasts of its first and of its last batch are compared.
        short: compare the middle layer alone in the first batch, which holds short statements, and
            the first and the last layer in the last batch.
        resumed: compare a few contrasts of each batch, and keep no scores.

    Raises:
        EncoderError: when the plainest route does not agree with itself.
    """
    encoder = sweep.encoder
    with widened(encoder.model) as half, torch.autocast(encoder.device.type, enabled=False):
        first, *last = _first_and_last(sweep)
        reused = {batch[0] for batch in _own_batches(sweep)} if not resumed else set[int]()
        # Long statements show more than short ones: windows, chunks and masks.
        judged = [
            _Judged(sweep, indices, layers=layers, whole=indices[0] in reused)
            for indices, layers in (
                (first, 1 if last and short else 3),
                *((indices, 2 if short else 3) for indices in last),
            )
        ]
        coupling = coupled_rows(sweep, [length for each in judged for length in each.lengths])
        rejected: dict[str, str] = {}
        lost = judged[-1].lost_in_tails()
        for route in _possible(encoder):
            if lost and route.tail:
                rejected[route.name] = lost
                continue
            if coupling and route.batched:
                rejected[route.name] = coupling
                continue
            try:
                gaps = [each.gap(route) for each in judged]
            except EncoderError as error:
                rejected[route.name] = str(error)
                continue
            gap = max((share for share, _ in gaps), default=0.0)
            if all(holds for _, holds in gaps):
                return Agreement(
                    route=route,
                    cells=sum(len(each.expected) for each in judged),
                    gap=gap,
                    rejected=rejected,
                    scores={}
                    if half
                    else {
                        index: scores
                        for each in judged
                        if each.whole
                        for index, scores in each.scores.items()
                    },
                )
            rejected[route.name] = f"{gap:.2g} of d away"
    raise EncoderError(
        f"{encoder.name}: patched forwards do not agree with plain forwards of the model: "
        + "; ".join(reasons(rejected))
        + ". It may draw random numbers in eval mode; trace(..., self_check=False) goes on without "
        "this comparison"
    )


def reasons(rejected: Mapping[str, str]) -> list[str]:
    """Return each reason once, behind the names of the routes that it rejects.

    >>> reasons({"tail": "1 of d away", "whole rows": "1 of d away"})
    ['tail, whole rows: 1 of d away']
    """
    names: dict[str, list[str]] = {}
    for name, reason in rejected.items():
        names.setdefault(reason, []).append(name)
    return [f"{', '.join(routes)}: {reason}" for reason, routes in names.items()]


def _possible(encoder: Encoder) -> list[Route]:
    """Return the routes that the encoder has the parts for, the fastest first."""
    tails = encoder.prefix_attention is not None
    return [route for route in ROUTES if tails or not route.tail]


def _own_batches(sweep: Sweep) -> list[list[int]]:
    """Return the indices of the contrasts in every batch that a sweep runs."""
    return list(batch_indices(replace(sweep, progress=False, done=frozenset())))


def _first_and_last(sweep: Sweep) -> list[list[int]]:
    """Return the contrasts in the first and in the last batch of a sweep, of all its shards."""
    batches = _own_batches(replace(sweep, shard=None))
    return [batches[0], batches[-1]] if len(batches) > 1 else batches


class _Judged:
    """A batch of contrasts, with the plain scores of some cells of its last finite contrast.

    A batch that another shard or an earlier run has run is judged by a few of its contrasts.
    """

    def __init__(self, sweep: Sweep, indices: Sequence[int], *, layers: int, whole: bool) -> None:
        self.sweep, self.whole = sweep, whole
        self.indices = indices if whole else indices[-CANDIDATES:]
        # Not the first row of the batch, where there are several, and none that overflows.
        for self.judged in reversed(indices[-CANDIDATES:]):
            [patching] = sweep.part([self.judged]).patchings()
            self.plain = _PlainForwards(sweep.encoder, sweep, patching, sweep.anchors[self.judged])
            cells = _handful(sweep, patching, layers)
            self.expected = {cell: self.plain.score(cell) for cell in cells}
            if all(map(math.isfinite, self.expected.values())):
                break
        self.lengths = len(patching.base.ids), len(patching.source.ids)
        self.scores: dict[int, ContrastScores] = {}

    def lost_in_tails(self) -> str | None:
        """Return what a row loses when only its second half runs; None if nothing is.

        A block may carry more from token to token than the keys and values of its attention: a
        state space or a convolution beside it.
        """
        encoder, anchor = self.sweep.encoder, self.plain.anchor
        run = replace(self.plain.patching.base, edit=None)
        start = len(run.ids) // 2
        if (prefix := encoder.prefix_attention) is None or not start:
            return None
        try:
            whole = record(self.sweep.part([self.judged]), [run], cache=True)
            if whole.cache is None:  # such a tower runs whole rows
                return None
            with (
                captured(encoder.blocks, row_axis=encoder.row_axis) as tail,
                encoder.guarded("rows ran from their middle on"),
            ):
                prefix.encode_from(whole.ids, start, whole.cache, whole.ids.new_zeros(1), anchor)
        except EncoderError as error:
            return str(error)
        for layer, state, end in zip(
            encoder.layers, whole.capture.stream, tail.stream, strict=True
        ):
            if differ(end, state[:, start:], lambda: encoder.run(whole.ids, anchor)):
                return f"states at {layer} depend on earlier tokens by more than keys and values"
        return None

    def gap(self, route: Route) -> tuple[float, bool]:
        """Return the largest gap of a route as a share of |d|, and whether it counts as none."""
        run = rerun(replace(self.sweep, route=route), self.indices)
        self.scores = {scores.index: scores for scores in run}
        scores = self.scores[self.judged]
        d = abs(scores.clean - scores.corrupt)
        if not math.isfinite(d):  # `collect` drops such a pair
            return 0.0, True
        gaps = [abs(scores.patched[cell] - plain) for cell, plain in self.expected.items()]
        largest = max(gaps)
        return largest / d if d else largest, self._is_rounding(largest, d)

    def _is_rounding(self, gap: float, d: float) -> bool:
        """Return whether a gap is within the rounding of the precision that is computed in."""
        plain = self.plain

        def within(dtype: torch.dtype) -> bool:
            rounding = ROUNDING * torch.finfo(dtype).eps * plain.magnitude
            return bool(gap <= SHARE_OF_D.get(dtype, 1e-5) * d + rounding)

        if within(plain.dtype):
            return True
        return plain.dtype == torch.float64 and within(torch.float32) and plain.narrows


def _handful(sweep: Sweep, patching: Patching, layers: int) -> list[Cell]:
    """Return cells at every kind of site, in some of the layers that it has.

    Three are the first, the middle and the last one, two the first and the last, one the middle
    one. The groups are spread over the positions from the first difference on.
    """
    count = len(sweep.encoder.layers)
    members = patching.patched_groups
    cells = cells_of(sweep.plan, count, members)
    by_kind: dict[str, list[Cell]] = {}
    for cell in cells:
        by_kind.setdefault(sweep.plan.sites[cell[0]].kind, []).append(cell)
    chosen = []
    for of_kind in by_kind.values():
        at = sorted({layer for _, layer, _ in of_kind})
        middle = at[len(at) // 2]
        wanted = {1: [middle], 2: [at[0], at[-1]], 3: [at[0], middle, at[-1]]}[layers]
        for number, layer in enumerate(dict.fromkeys(wanted)):
            at_layer = _from_difference([cell for cell in of_kind if cell[1] == layer], patching)
            # The cue at first, a position in the middle, and the last one at last.
            place = number * (len(at_layer) - 1) // max(1, len(set(wanted)) - 1)
            chosen.append(at_layer[place])
    return chosen


def _from_difference(cells: Sequence[Cell], patching: Patching) -> list[Cell]:
    """Return the cells whose groups hold a position that differs; all of them if there is none."""
    base, source = patching.base.ids, patching.source.ids
    differ = [
        tuple(source[i] for i in sources) != (base[position],)
        for position, sources in enumerate(patching.correspondence)
    ]
    first = differ.index(True) if True in differ else 0
    behind = [c for c in cells if any(i >= first for i in patching.patched_groups[c[2]])]
    return behind or list(cells)


class _PlainForwards:
    """Plain forwards of one contrast, one row at a time: what the routes are compared with."""

    def __init__(self, encoder: Encoder, sweep: Sweep, patching: Patching, anchor: Tensor) -> None:
        self.encoder, self.plan, self.patching = encoder, sweep.plan, patching
        self.anchor = anchor[None]
        kinds = {site.kind for site in sweep.plan.sites}
        self.sites = {(s.site, s.layer): s for s in layer_sites(encoder, kinds)}
        self.magnitude, self.dtype = 0.0, torch.float32
        self.source_states: dict[tuple[str, int], Float[Tensor, "token width"]] = {}
        source = self.patching.source
        recorders = [(site, self._recorder(key)) for key, site in self.sites.items()]
        with learning_calls(encoder, torch.tensor([source.ids], device=anchor.device)):
            self._run(source.ids, source.edit, recorders)

    @cached_property
    def narrows(self) -> bool:
        """True if the model computes in float32 although its states are float64."""
        source = self.patching.source
        return narrows(lambda: self._run(source.ids, source.edit, []))

    def score(self, cell: Cell) -> float:
        """Return the score of the base run with one cell patched."""
        base = self.patching.base
        return self._run(base.ids, base.edit, list(self._patches(cell)))

    def _patches(self, cell: Cell) -> Iterator[tuple[LayerSite, Edit]]:
        index, layer, group = cell
        site = self.plan.sites[index]
        positions = self.patching.patched_groups[group]
        for at in self.plan.layers(layer, len(self.encoder.layers), site.kind):
            states = self.patching.aligned(self.source_states[site.kind, at])
            yield self.sites[site.kind, at], self._writer(states, positions, site.head)

    def _writer(self, states: Tensor, positions: Sequence[int], head: int | None) -> Edit:
        width = states.shape[-1]
        part = slice(0, width)
        if head is not None:
            size = width // self.encoder.heads
            part = slice(head * size, (head + 1) * size)

        def write(hidden: Float[Tensor, "1 token width"]) -> Float[Tensor, "1 token width"]:
            hidden = hidden.clone()
            for position in positions:
                hidden[0, position, part] = states[position, part]
            return hidden

        return write

    def _recorder(self, key: tuple[str, int]) -> Edit:
        def record(hidden: Float[Tensor, "1 token width"]) -> Float[Tensor, "1 token width"]:
            self.source_states[key] = hidden[0].clone()
            return hidden

        return record

    def _run(
        self,
        token_ids: Sequence[int],
        edit: Edit | None,
        hooks: Sequence[tuple[LayerSite, Edit]],
    ) -> float:
        encoder = self.encoder
        ids = torch.tensor([list(token_ids)], device=self.anchor.device)
        with ExitStack() as stack:
            if edit is not None:
                embed = _first_row(edit)
                stack.enter_context(
                    input_edited(encoder.blocks[0], embed, row_axis=encoder.row_axis)
                )
            for site, function in hooks:
                stack.enter_context(site.edited(function))
            text = encoder.run(ids, self.anchor)
        score = encoder.score(text, self.anchor)
        self.dtype = score.dtype
        self.magnitude = max(self.magnitude, encoder.magnitude(text))
        return float(score.item())


def _first_row(edit: Edit) -> Edit:
    """Return the edit of a row [token width] as one of a batch of one row."""
    return lambda hidden: edit(hidden[0])[None]
