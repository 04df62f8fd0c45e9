"""Traces as whole experiments: their CTE JSON and figures, written to a folder."""

__all__ = ["HEADS", "HeadStudy", "run_heads", "run_trace"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from negtrace._files import pretty_json, require_writable, write_bytes, write_csv
from negtrace.encoders.base import Encoder
from negtrace.errors import SiteError
from negtrace.experiments.gallery import draw_documents
from negtrace.pairs.pair import Pair
from negtrace.plots.heads import heads_side_by_side
from negtrace.plots.save import FORMATS, save_figure
from negtrace.results.cte_json import Document, read_json, write_json
from negtrace.results.heads import HeadEffect, HeadGrid, HeadSelectivity
from negtrace.results.options import DIRECTIONS
from negtrace.tracing.config import TraceConfig
from negtrace.tracing.selectivity import head_selectivity
from negtrace.tracing.trace import trace

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
) -> list[Document]:
    """Trace every direction, write the JSON of each as soon as it is finished, then draw figures.

    Until a direction is finished, its work is in `<direction>.partial`. After an interruption, run
    the same again: it resumes where it stopped.

    Args:
        encoder: the model.
        out: folder for `<direction>.json`, its raw scores `<direction>.safetensors`, `heatmap.*`
            (one for each of several sites) and `layer_importance.*`.
        pairs: as for `negtrace.trace`.
        config: settings of the traces; `directions` replaces its direction.
        directions: `denoising`, `noising` or both.
        formats: of the figures: png, svg, pdf.
        progress: show a progress bar; None shows it on a terminal only.

    Returns:
        A document for each direction, as it was written.

    Raises:
        OutputError: when `out` cannot be written; nothing has been traced then.
    """
    require_writable(out)
    config = config or TraceConfig()
    documents = [
        _traced(encoder, pairs, replace(config, direction=direction), out / direction, progress)
        for direction in directions
    ]
    draw_documents(documents, out, formats)
    return documents


def _traced(
    encoder: Encoder,
    pairs: Sequence[Pair] | None,
    config: TraceConfig,
    path: Path,
    progress: bool | None,
) -> Document:
    """Trace, and write `path`.json; `path`.partial holds unfinished work."""
    partial = path.with_name(f"{path.name}.partial")
    cte = trace(encoder, pairs, config, checkpoint=partial, progress=progress)
    written = write_json(cte, path.with_name(f"{path.name}.json"), include_text=config.include_text)
    partial.unlink(missing_ok=True)
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
) -> HeadStudy:
    """Trace every head, measure its attention to the negator, and draw both side by side.

    The trace is on disk before attention is measured. After an interruption, run the same again: it
    resumes where it stopped.

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

    Raises:
        OutputError: when `out` cannot be written; nothing has been traced then.
        SiteError: when the model's heads cannot be patched, with the reason.
    """
    require_writable(out)
    config = replace(config, sites=("head",))
    document = _traced(encoder, pairs, config, out / f"heads_{config.direction}", progress)
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
