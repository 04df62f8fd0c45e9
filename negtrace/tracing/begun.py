"""A trace that has begun: its pairs are prepared, and the route of its rows is known."""

__all__ = ["Begun", "begun_trace", "require_possible"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from negtrace.encoders.base import Encoder
from negtrace.encoders.check import STRUCTURE, require_no_bypass, state_of
from negtrace.pairs.pair import Pair, as_sequence, with_public_ids
from negtrace.pairs.radiology import radiology_pairs
from negtrace.results.provenance import Dropped, Provenance
from negtrace.tracing.config import TraceConfig, refuse_to_verify
from negtrace.tracing.corruptions.base import Corruption, corruption_named
from negtrace.tracing.engines.agreement import Agreement, fastest_route
from negtrace.tracing.engines.base import Engine, engine_named
from negtrace.tracing.engines.coupling import embedded_alone, rely_on_others
from negtrace.tracing.engines.exact import Exact
from negtrace.tracing.engines.routes import FASTEST
from negtrace.tracing.engines.sweep import Sweep
from negtrace.tracing.positions import name_of
from negtrace.tracing.prepare import AT_ONCE, PreparedPairs, prepare, require_some
from negtrace.tracing.provenance import provenance_of
from negtrace.tracing.shard import Shard
from negtrace.tracing.sites import plan_for


@dataclass(frozen=True, kw_only=True, eq=False)
class Begun:
    """A trace whose pairs are prepared and whose route is known."""

    engine: Engine
    sweep: Sweep
    prepared: PreparedPairs
    dropped: Sequence[Dropped]
    provenance: Provenance
    agreement: Agreement


def begun_trace(
    encoder: Encoder,
    pairs: Sequence[Pair] | None,
    config: TraceConfig,
    *,
    progress: bool | None,
    shard: Shard | None = None,
    resumed: bool = False,
) -> Begun:
    """Prepare the pairs, and choose the route.

    Args:
        encoder: the model.
        pairs: the pairs; the built-in radiology pairs when not given.
        config: the settings.
        progress: whether to show a progress bar.
        shard: the part of the batches to run.
        resumed: whether scores of an earlier run are at hand. Then the comparison with plain
            forwards runs few of them again.
    """
    pairs = radiology_pairs() if pairs is None else as_sequence(pairs)
    if config.include_ids:
        pairs = with_public_ids(pairs)
    engine = _engine(config)
    plan = plan_for(encoder, config.sites, config.window)
    corruption = _corruption(config).prepared(pairs, encoder)
    prepared, dropped = prepare(encoder, pairs, corruption, config.positions)
    require_some(prepared, dropped)
    sweep = Sweep(
        encoder=encoder,
        contrasts=prepared.contrasts,
        anchors=_anchors(encoder, prepared),
        direction=config.direction,
        plan=plan,
        row_tokens=config.row_tokens,
        shard=shard,
        progress=progress,
    )
    provenance = provenance_of(
        encoder, prepared.pairs(), _settings(config, corruption, engine, sweep)
    )
    agreement = _agreement(sweep, config, engine, provenance.weights_digest, resumed=resumed)
    sweep = replace(sweep, route=agreement.route)
    if config.self_check and (own := _own_anchors(sweep, prepared, agreement)) is not None:
        sweep = replace(sweep, anchors=own)
        agreement = replace(agreement, scores={})  # they hold for the anchors of before
    return Begun(
        engine=engine,
        sweep=sweep,
        prepared=prepared,
        dropped=dropped,
        provenance=provenance,
        agreement=agreement,
    )


def require_possible(encoder: Encoder, config: TraceConfig) -> None:
    """Raise the error that `trace` would raise for settings that do not fit, before any work.

    Raises:
        UnknownNameError: for an unknown setting of the corruption.
        SiteError: for a site that the model does not offer, or a window that is too wide.
        TraceError: for a setting out of its range, or sites or a window that the engine cannot run.
    """
    engine = _engine(config)
    _corruption(config)
    engine.require(encoder, plan_for(encoder, config.sites, config.window))


def _engine(config: TraceConfig) -> Engine:
    """Return the engine that the config names."""
    method = config.method
    engine = method if isinstance(method, Engine) else engine_named(method, steps=config.steps)
    if config.verify and engine.estimator == "exact":
        refuse_to_verify(config.verify, engine.name)
    return engine


def _corruption(config: TraceConfig) -> Corruption:
    """Return the corruption that the config names."""
    if isinstance(config.corruption, Corruption):
        return config.corruption
    return corruption_named(config.corruption, config.settings)


def _anchors(encoder: Encoder, prepared: PreparedPairs) -> torch.Tensor:
    """Return the embedded anchor of every contrast, [contrast dim]."""
    anchors, embedded = (pair.anchor for pair in prepared.pairs()), []
    while some := list(islice(anchors, AT_ONCE)):
        embedded.append(encoder.embed_anchors(some))
    return _per_contrast(prepared, torch.cat(embedded))


def _per_contrast(prepared: PreparedPairs, rows: torch.Tensor) -> torch.Tensor:
    """Return the row of each pair for every contrast that it has."""
    starts = np.array(prepared.contrasts.starts)
    counts = np.diff(starts, append=len(prepared.contrasts))
    return rows[np.repeat(np.arange(len(starts)), counts)]


def _own_anchors(
    sweep: Sweep, prepared: PreparedPairs, agreement: Agreement
) -> torch.Tensor | None:
    """Return the anchors embedded one by one, if that changes them; None if it does not."""
    rows = sweep.anchors[list(prepared.contrasts.starts)]
    if sweep.route.batched:
        some = [pair.anchor for pair in islice(prepared.pairs(), AT_ONCE)]
        compared = sweep.lengths if agreement.cells else ()
        lengths = {length for both in compared for length in both}
        if not rely_on_others(sweep.encoder, some, rows[: len(some)], lengths):
            return None
    anchors = [pair.anchor for pair in prepared.pairs()]
    return _per_contrast(prepared, embedded_alone(sweep.encoder, anchors, rows))


def _agreement(
    sweep: Sweep, config: TraceConfig, engine: Engine, digest: str, *, resumed: bool
) -> Agreement:
    """Return the fastest route that agrees with plain forwards; the fastest if none is asked for.

    An estimate needs no route, unless it is verified.
    """
    exact = isinstance(engine, Exact)
    agreement = Agreement(route=FASTEST, cells=0, gap=0.0, rejected={})
    if config.self_check and (exact or config.verify):
        agreement = fastest_route(sweep, digest, resumed=resumed)
    if config.self_check:  # of a model that draws random numbers, the route says so before
        _require_no_bypass(sweep.encoder)
    return agreement if exact else replace(agreement, scores={})


def _require_no_bypass(encoder: Encoder) -> None:
    """Check that statements go through the blocks alone, unless the model as it is was checked."""
    if encoder.agreements.get(STRUCTURE) != state_of(encoder.model):
        require_no_bypass(encoder)
        encoder.agreements[STRUCTURE] = state_of(encoder.model)


def _settings(
    config: TraceConfig, corruption: Corruption, engine: Engine, sweep: Sweep
) -> dict[str, object]:
    """Return the settings that the provenance holds, as JSON values."""
    return {
        "corruption": corruption.settings(),
        "direction": config.direction,
        "sites": [site.name for site in sweep.plan.sites],
        "positions": name_of(config.positions),
        "window": config.window,
        "method": engine.estimator,
        "steps": getattr(engine, "steps", None),
        # An engine that gives the same scores in another way; the key is part of the file format.
        "sweeper": None if engine.name == engine.estimator else engine.name,
    }
