"""Cost of a trace before it runs: arithmetic, time and memory, from a few of its batches."""

__all__ = ["Cost", "cost_of_trace", "peak_memory"]

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from negtrace._settings import with_settings
from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import evaluating
from negtrace.pairs.pair import Pair
from negtrace.tracing.begun import Begun, begun_trace
from negtrace.tracing.config import TraceConfig, TraceOptions
from negtrace.tracing.engines.exact import batch_indices

SAMPLES = 5
"""Lengths of which one batch is run."""

COPIES = 6
"""Copies of the scores that are in memory while a result is collected, reduced and written."""

BYTES = 2_000
"""Memory that a finished pair takes besides its scores."""

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Arithmetic, time and memory of a trace in one direction."""

    pairs: int
    """Number of pairs that can be traced."""
    dropped: int
    """Number of the others."""
    cells: int
    """Number of scores in the result."""
    flops: float
    """Floating-point operations of matrix products and attention."""
    seconds: float
    """Time of `negtrace.trace` with this model on this machine as it is now."""
    mebibytes: float | None
    """Peak memory of the process, with all that it holds now; None on Windows."""
    device_mebibytes: float | None
    """Peak memory on the GPU; None without one."""

    def __str__(self) -> str:
        pairs = f"{self.pairs:,} pairs" + (f", {self.dropped:,} dropped" if self.dropped else "")
        memory = "" if self.mebibytes is None else f", {self.mebibytes:,.0f} MiB of memory"
        if self.device_mebibytes is not None:
            memory += f", {self.device_mebibytes:,.0f} MiB on the GPU"
        return (
            f"{pairs}, {self.cells:,} cells: about {self.flops:.2g} FLOPs, "
            f"{self.seconds:,.2g} s{memory}"
        )


def cost_of_trace(
    encoder: Encoder,
    pairs: Sequence[Pair] | None = None,
    config: TraceConfig | None = None,
    **options: Unpack[TraceOptions],
) -> Cost:
    """Return what a trace would take; it runs the preparation and a few batches.

    One batch of up to five lengths of statements runs. Between them the cost of a pair is
    interpolated. Intervals and figures are made afterwards, and are not part of it.

    Args:
        encoder: as for `negtrace.trace`.
        pairs: as for `negtrace.trace`.
        config: as for `negtrace.trace`.
        options: as for `negtrace.trace`.

    Raises:
        UnknownNameError: as `negtrace.trace` does.
        SiteError: as `negtrace.trace` does.
        TraceError: as `negtrace.trace` does.
    """
    config = with_settings(config or TraceConfig(), options, "setting of a trace")
    with torch.inference_mode(), evaluating(encoder.model):
        start = time.perf_counter()
        begun = begun_trace(encoder, pairs, config, progress=False)
        preparing = time.perf_counter() - start
        embedding = _flops_of_anchors(begun)
        batches = _by_length(begun)
        lengths = sorted(batches)
        chosen = np.unique(np.linspace(0, len(lengths) - 1, SAMPLES).astype(int)).tolist()
        samples = {lengths[n]: _sample(begun, batches[lengths[n]][0]) for n in chosen}
    counts = np.array([sum(map(len, batches[length])) for length in lengths])
    sampled = np.array(list(samples.values()))
    seconds, flops, cells = (
        float(counts @ np.interp(lengths, list(samples), column)) for column in sampled.T
    )
    bytes_ = COPIES * 8 * cells + BYTES * len(begun.prepared)
    return Cost(
        pairs=len(begun.prepared),
        dropped=len(begun.dropped),
        cells=round(cells),
        flops=embedding + flops,
        seconds=preparing + seconds,
        mebibytes=None if (now := peak_memory()) is None else now + bytes_ / MIB,
        device_mebibytes=torch.cuda.max_memory_allocated(encoder.device) / MIB
        if encoder.device.type == "cuda"
        else None,
    )


def _flops_of_anchors(begun: Begun) -> float:
    """Return the FLOPs of embedding every anchor, from some of them."""
    anchors = [pair.anchor for pair in begun.prepared.pairs()]
    distinct = list({each.text or id(each): each for each in anchors}.values())
    some = distinct[:SAMPLES]
    with FlopCounterMode(display=False) as counter:
        begun.sweep.encoder.embed_anchors(some)
    return float(counter.get_total_flops()) * len(distinct) / len(some)


def _by_length(begun: Begun) -> dict[int, list[list[int]]]:
    """Return the batches of a trace by the number of tokens of their two runs."""
    batches: dict[int, list[list[int]]] = {}
    tokens = [sum(both) for both in begun.sweep.lengths]
    for batch in batch_indices(begun.sweep):
        batches.setdefault(tokens[batch[0]], []).append(batch)
    return batches


def _sample(begun: Begun, batch: Sequence[int]) -> tuple[float, float, float]:
    """Run one batch, and return seconds, FLOPs and scores of each of its contrasts."""
    part = begun.sweep.part(batch)
    with FlopCounterMode(display=False) as counter:
        scores = list(begun.engine.run(part))  # also what a first run of this shape costs
    start = time.perf_counter()
    list(begun.engine.run(part))
    seconds = time.perf_counter() - start
    cells = sum(each.patched.size for each in scores)
    return seconds / len(batch), counter.get_total_flops() / len(batch), cells / len(batch)


def peak_memory() -> float | None:
    """Return the peak memory of this process so far, in MiB; None on Windows."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)
