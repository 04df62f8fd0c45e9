"""Traces as whole experiments: their CTE JSON and figures, written to a folder."""

__all__ = ["HEADS", "HeadStudy", "reserve_trace", "run_heads", "run_shard", "run_trace"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from negtrace._files import canonical, pretty_json, sha256, write_bytes, write_csv
from negtrace._messages import one_of
from negtrace.encoders.base import Encoder
from negtrace.errors import SiteError
from negtrace.experiments.gallery import draw_documents
from negtrace.pairs.pair import Pair, as_sequence, ordered_digest, with_public_ids
from negtrace.pairs.radiology import radiology_pairs
from negtrace.plots.heads import heads_side_by_side
from negtrace.plots.save import FORMATS, require_formats, save_figure
from negtrace.results.cte_json import Document, read_json, write_json
from negtrace.results.heads import HeadEffect, HeadGrid, HeadSelectivity
from negtrace.results.options import DIRECTIONS
from negtrace.results.run_folder import RunFolder
from negtrace.tracing.begun import require_possible
from negtrace.tracing.config import QUERIES, TraceConfig
from negtrace.tracing.selectivity import head_selectivity
from negtrace.tracing.shard import Shard, shard_files
from negtrace.tracing.trace import trace, trace_shard
from negtrace.version import __version__

ENDINGS = ("json", "safetensors", "partial", "partial.*-of-*")

RESULTS = tuple(f"{direction}.{end}" for direction in DIRECTIONS for end in ENDINGS)

FILES = (
    *RESULTS,
    *(f"{name}.{end}" for name in ("heatmap*", "layer_importance*") for end in FORMATS),
)
"""Patterns of the files of a trace."""

HEAD_FILES = (
    *(f"heads_{name}" for name in RESULTS),
    *("heads.csv", "heads.json"),
    *(f"head_heatmap.{end}" for end in FORMATS),
)
"""Patterns of the files of a study of heads."""

SECONDS_TO_RESERVE = 60.0
"""The longest that a shard waits while others reserve the same folder."""

HEADS = TraceConfig(direction="noising", sites=("head",), positions="all")
"""The settings of a study of heads, when none are given."""


def run_trace(
    encoder: Encoder,
    out: Path,
    pairs: Sequence[Pair] | None = None,
    config: TraceConfig | None = None,
    *,
    directions: Sequence[str] = DIRECTIONS,
    formats: Sequence[str] = FORMATS,
    progress: bool | None = None,
    overwrite: bool = False,
) -> list[Document]:
    """Trace every direction, write the JSON of each as soon as it is finished, then draw figures.

    Until a direction is finished, its work is in `<direction>.partial`. After an interruption, run
    the same again: it goes on where it stopped, and a direction that is finished is read from its
    JSON. `run.json` says which trace the folder holds.

    Args:
        encoder: the model.
        out: folder for `<direction>.json`, its raw scores `<direction>.safetensors`, `heatmap.*`
            (one for each of several sites) and `layer_importance.*`.
        pairs: as for `negtrace.trace`.
        config: settings of the traces; `directions` replaces its direction.
        directions: `denoising`, `noising` or both.
        formats: of the figures: png, svg, pdf.
        progress: show a progress bar; None shows it on a terminal only.
        overwrite: start anew, and remove the trace that the folder holds.

    Returns:
        A document for each direction, as it was written.

    Raises:
        OutputError: when `out` cannot be written, holds another trace (the differences are shown),
            or another run is writing there; nothing has been traced then.
        UnknownNameError: for an unknown direction or format; nothing has been traced then.
    """
    folder = RunFolder(out, "trace")
    pairs = radiology_pairs() if pairs is None else as_sequence(pairs)
    config = config or TraceConfig()
    configs = _in_directions(config, directions)
    require_possible(encoder, config)
    require_formats(formats)
    with folder.held():
        folder.reserve(_trace_run(encoder, pairs, config), FILES, overwrite=overwrite)
        documents = [
            _traced(encoder, pairs, each, out / each.direction, progress) for each in configs
        ]
        draw_documents(documents, out, formats)
    return documents


def reserve_trace(
    encoder: Encoder,
    out: Path,
    pairs: Sequence[Pair] | None = None,
    config: TraceConfig | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Reserve a folder for a trace that `run_shard` and `run_trace` will write there.

    Args:
        encoder: the model.
        out: the folder.
        pairs: all pairs of the trace.
        config: its settings.
        overwrite: start anew, and remove the trace that the folder holds.

    Raises:
        OutputError: as for `run_trace`.
    """
    folder = RunFolder(out, "trace")
    pairs = radiology_pairs() if pairs is None else as_sequence(pairs)
    config = config or TraceConfig()
    require_possible(encoder, config)
    with folder.held(wait=SECONDS_TO_RESERVE):
        folder.reserve(_trace_run(encoder, pairs, config), FILES, overwrite=overwrite)


def run_shard(
    encoder: Encoder,
    out: Path,
    pairs: Sequence[Pair] | None = None,
    config: TraceConfig | None = None,
    *,
    shard: Shard,
    directions: Sequence[str] = DIRECTIONS,
    progress: bool | None = None,
) -> None:
    """Run one of several parts of `run_trace`, in a process of its own or on another machine.

    All shards write into one folder. When they are finished, `run_trace` with the same arguments
    merges them, and its result is identical to that of a single process.

    Args:
        encoder: the model.
        out: the folder; all processes see it.
        pairs: all pairs of the trace.
        config: its settings.
        shard: the part to run.
        directions: as for `run_trace`.
        progress: show a progress bar; None shows it on a terminal only.

    Raises:
        OutputError: as for `run_trace`, or when another process runs the same shard.
    """
    pairs = radiology_pairs() if pairs is None else as_sequence(pairs)
    config = config or TraceConfig()
    configs = _in_directions(config, directions)
    reserve_trace(encoder, out, pairs, config)
    for each in configs:
        checkpoint = out / f"{each.direction}.partial"
        if not (out / f"{each.direction}.json").is_file():
            trace_shard(encoder, pairs, each, shard=shard, checkpoint=checkpoint, progress=progress)


def _in_directions(config: TraceConfig, directions: Sequence[str]) -> list[TraceConfig]:
    """Return the settings of each direction, so that an unknown one is refused before any work."""
    return [replace(config, direction=direction) for direction in directions]


def _trace_run(encoder: Encoder, pairs: Sequence[Pair], config: TraceConfig) -> dict[str, Any]:
    """Return everything that decides the result of a trace in any direction, as JSON values."""
    run = _run(encoder, pairs, config)
    del run["config"]["direction"]  # the other direction may be added later
    return run


def _run(encoder: Encoder, pairs: Sequence[Pair], config: TraceConfig) -> dict[str, Any]:
    """Return everything that decides the result of a trace, as JSON values."""
    return {
        "version": __version__,
        "model": encoder.name,
        "weights_digest": encoder.digest,
        "reading": encoder.reading,
        "pairs": {"count": len(pairs), "digest": ordered_digest(pairs)},
        "config": _settings(config),
    }


def _settings(config: TraceConfig) -> dict[str, Any]:
    """Return every setting as JSON values; positions that are given by pair as their digest."""
    corruption, method, positions = config.corruption, config.method, config.positions
    return {
        **vars(config),
        "corruption": corruption if isinstance(corruption, str) else corruption.settings(),
        "method": method if isinstance(method, str) else repr(method),
        "positions": sha256(canonical({name: list(at) for name, at in positions.items()}))
        if isinstance(positions, Mapping)
        else positions,
    }


def _traced(
    encoder: Encoder,
    pairs: Sequence[Pair],
    config: TraceConfig,
    path: Path,
    progress: bool | None,
) -> Document:
    """Trace, and write `path`.json; `path`.partial holds unfinished work.

    A finished trace is read: the folder is reserved for this very run.
    """
    partial, written = (path.with_name(f"{path.name}.{end}") for end in ("partial", "json"))
    if not written.is_file():
        cte = trace(encoder, pairs, config, checkpoint=partial, progress=progress)
        write_json(cte, written, include_text=config.include_text)
    for file in (partial, *shard_files(partial)):
        file.unlink(missing_ok=True)
    return read_json(written)


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadStudy:
    """Effect and selectivity of a model's heads, as written to a folder."""

    document: Document
    effect: HeadEffect
    selectivity: HeadSelectivity | None
    """None when the model's attention patterns cannot be read."""
    refused: str | None
    """The reason when there is no selectivity."""
    files: tuple[Path, ...]


def run_heads(
    encoder: Encoder,
    out: Path,
    pairs: Sequence[Pair] | None = None,
    config: TraceConfig = HEADS,
    *,
    queries: str = "after_cue",
    formats: Sequence[str] = FORMATS,
    progress: bool | None = None,
    overwrite: bool = False,
) -> HeadStudy:
    """Trace every head, measure its attention to the negator, and draw both side by side.

    The trace is on disk before attention is measured. After an interruption, run the same again: it
    goes on where it stopped, and a trace that is finished is read from its JSON.

    Args:
        encoder: the model.
        out: folder for `heads_<direction>.json` (CTE JSON), its raw scores, `heads.csv` (a row per
            measure and head, with intervals), `heads.json` (the same with provenance and the pairs
            that were dropped) and `head_heatmap.*`.
        pairs: as for `negtrace.trace`.
        config: settings of the trace; its sites are always the heads. Positions `all` patch a head
            at all positions at once; the effects of single positions are summed.
        queries: as for `negtrace.head_selectivity`.
        formats: of the figure: png, svg, pdf.
        progress: show a progress bar; None shows it on a terminal only.
        overwrite: start anew, and remove the study that the folder holds.

    Raises:
        OutputError: when `out` cannot be written, holds another study (the differences are shown),
            or another run is writing there; nothing has been traced then.
        SiteError: when the model's heads cannot be patched, with the reason.
        UnknownNameError: for unknown queries or formats; nothing has been traced then.
    """
    folder = RunFolder(out, "heads")
    pairs = radiology_pairs() if pairs is None else as_sequence(pairs)
    config = replace(config, sites=("head",))
    if config.include_ids:  # attention is measured without the config
        pairs = with_public_ids(pairs)
    require_possible(encoder, config)
    require_formats(formats)
    one_of("queries", queries, QUERIES)
    with folder.held():
        run = {**_run(encoder, pairs, config), "queries": queries}
        folder.reserve(run, HEAD_FILES, overwrite=overwrite)
        document = _traced(encoder, pairs, config, out / f"heads_{config.direction}", progress)
        return _head_study(encoder, pairs, document, out, queries, formats, progress)


def _head_study(
    encoder: Encoder,
    pairs: Sequence[Pair],
    document: Document,
    out: Path,
    queries: str,
    formats: Sequence[str],
    progress: bool | None,
) -> HeadStudy:
    """Measure the attention of every head, and write tables and figure."""
    effect, selectivity, refused = document.head_effect(), None, None
    try:
        selectivity = head_selectivity(encoder, pairs, queries=queries, progress=progress)
    except SiteError as error:
        refused = str(error)
    grids: list[HeadEffect | HeadSelectivity] = [effect]
    grids += [] if selectivity is None else [selectivity]
    raw = document.path.with_name(document.raw_file)
    files = [document.path, raw, *_tables(grids, refused, out)]
    files += save_figure(heads_side_by_side(grids), out / "head_heatmap", formats)
    return HeadStudy(
        document=document,
        effect=effect,
        selectivity=selectivity,
        refused=refused,
        files=tuple(files),
    )


def _tables(grids: Sequence[HeadGrid], refused: str | None, out: Path) -> list[Path]:
    """Write the numbers of every head as CSV and as JSON."""
    import pandas as pd

    table = pd.concat([grid.to_dataframe() for grid in grids], ignore_index=True)
    found = {"measures": [grid.to_json() for grid in grids], "no_selectivity": refused}
    return [
        write_csv(out / "heads.csv", list(table.columns), table.itertuples(index=False)),
        write_bytes(out / "heads.json", pretty_json(found)),
    ]
