"""A whole experiment written to a folder: traces, their JSON, and the figures drawn from them."""

__all__ = ["HeadStudy", "run", "run_heads"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from negtrace.tracing.corruptions.base import Corruption
from negtrace.tracing.engines.exact import DIRECTIONS, Direction
from negtrace.tracing.positions import Positions
from negtrace.tracing.selectivity import head_selectivity
from negtrace.tracing.trace import trace


def run(
    encoder: Encoder,
    out: Path,
    pairs: Sequence[Pair] | None = None,
    *,
    directions: Sequence[Direction] = DIRECTIONS,
    corruption: str | Corruption = "swap",
    settings: Mapping[str, object] | None = None,
    sites: Sequence[str] = ("resid",),
    positions: Positions = "token",
    window: int = 1,
    method: str = "exact",
    steps: int = 8,
    verify: int = 0,
    include_text: bool = False,
    formats: Sequence[str] = FORMATS,
    progress: bool | None = None,
) -> list[Document]:
    """Trace every direction, write each one's JSON as soon as it is there, then the figures.

    Finished work is kept in `<direction>.partial` until then: run the same again after an
    interruption, and it goes on where it stopped.

    Args:
        encoder: what to trace.
        out: folder for `<direction>.json`, its raw scores `<direction>.safetensors`, `heatmap.*`
            (one for each of several sites) and `layer_importance.*`.
        pairs: as for `negtrace.trace`; so are the corruption, its settings, what is patched
            (sites, positions, window), how (method, steps, verify) and `include_text`.
        directions: `denoising`, `noising` or both.
        formats: of the figures: png, svg, pdf.
        progress: show a bar; None shows it on a terminal only.

    Returns:
        What was written, a document for each direction.

    Raises:
        OutputError: when `out` cannot be written; nothing has been traced then.
    """
    require_writable(out)
    documents = []
    for direction in directions:
        cte = trace(
            encoder,
            pairs,
            corruption=corruption,
            settings=settings,
            direction=direction,
            sites=sites,
            positions=positions,
            window=window,
            method=method,
            steps=steps,
            verify=verify,
            include_text=include_text,
            checkpoint=out / f"{direction}.partial",
            progress=progress,
        )
        path = write_json(cte, out / f"{direction}.json", include_text=include_text)
        (out / f"{direction}.partial").unlink(missing_ok=True)
        documents.append(read_json(path))
    draw_documents(documents, out, formats)
    return documents


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadStudy:
    """What the heads of a model do, as it was written to a folder."""

    document: Document
    effect: HeadEffect
    selectivity: HeadSelectivity | None
    """None where the model gives no attention patterns."""
    refused: str | None
    """Why there is no selectivity."""
    files: tuple[Path, ...]


def run_heads(
    encoder: Encoder,
    out: Path,
    pairs: Sequence[Pair] | None = None,
    *,
    direction: Direction = "noising",
    corruption: str | Corruption = "swap",
    settings: Mapping[str, object] | None = None,
    positions: Positions = "all",
    queries: str = "later",
    formats: Sequence[str] = FORMATS,
    progress: bool | None = None,
) -> HeadStudy:
    """Trace every head, measure how far each looks for the negator, and draw both side by side.

    The trace is on disk before attention is looked at. Run the same again after an interruption,
    and it goes on where it stopped.

    Args:
        encoder: what to study.
        out: folder for `heads_<direction>.json` (CTE JSON), its raw scores, `heads.csv` (a row per
            measure and head, with intervals), `heads.json` (the same with provenance and what was
            dropped) and `head_heatmap.*`.
        pairs: as for `negtrace.trace`; so are the direction, the corruption and its settings.
        positions: `all` patches a head everywhere at once; effects of `token` are added up.
        queries: as for `negtrace.head_selectivity`.
        formats: of the figure: png, svg, pdf.
        progress: show a bar; None shows it on a terminal only.

    Raises:
        OutputError: when `out` cannot be written; nothing has been traced then.
        SiteError: when the model's heads cannot be reached, with the reason.
    """
    require_writable(out)
    partial = out / f"heads_{direction}.partial"
    cte = trace(
        encoder,
        pairs,
        corruption=corruption,
        settings=settings,
        direction=direction,
        sites=("head",),
        positions=positions,
        checkpoint=partial,
        progress=progress,
    )
    path = write_json(cte, out / f"heads_{direction}.json")
    partial.unlink(missing_ok=True)
    document = read_json(path)
    effect, selectivity, refused = document.head_effect(), None, None
    try:
        selectivity = head_selectivity(encoder, pairs, queries=queries, progress=progress)
    except SiteError as error:
        refused = str(error)
    grids: list[HeadEffect | HeadSelectivity] = [effect]
    grids += [] if selectivity is None else [selectivity]
    files = [path, document.path.with_name(document.raw_file), *_tables(grids, refused, out)]
    files += save_figure(heads_side_by_side(grids), out / "head_heatmap", formats)
    return HeadStudy(
        document=document,
        effect=effect,
        selectivity=selectivity,
        refused=refused,
        files=tuple(files),
    )


def _tables(grids: Sequence[HeadGrid], refused: str | None, out: Path) -> list[Path]:
    """Write every head's numbers as CSV and as JSON."""
    import pandas as pd

    table = pd.concat([grid.to_dataframe() for grid in grids], ignore_index=True)
    found = {"measures": [grid.to_json() for grid in grids], "no_selectivity": refused}
    return [
        write_csv(out / "heads.csv", list(table.columns), table.itertuples(index=False)),
        write_bytes(out / "heads.json", pretty_json(found)),
    ]
