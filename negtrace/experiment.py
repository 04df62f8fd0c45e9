"""A whole experiment written to a folder: traces, their JSON, and the figures drawn from them."""

__all__ = ["FORMATS", "draw", "require_writable", "run", "summary"]

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from negtrace.encoders.base import Encoder
from negtrace.errors import OutputError
from negtrace.export import Document, read_json, write_json
from negtrace.pairs import Pair
from negtrace.plots import both_directions, heatmap_figure, importance_grid, save_figure
from negtrace.tracing.corruption import Corruption
from negtrace.tracing.sweep import DIRECTIONS, Direction
from negtrace.tracing.trace import trace

FORMATS = ("png", "svg", "pdf")


def require_writable(folder: Path) -> None:
    """Make `folder`, and see that a file can be written there, before hours of work.

    Raises:
        OutputError: when it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror or error}; name another folder"
        ) from error


def run(
    encoder: Encoder,
    out: Path,
    pairs: Sequence[Pair] | None = None,
    *,
    directions: Sequence[Direction] = DIRECTIONS,
    corruption: str | Corruption = "swap",
    settings: Mapping[str, object] | None = None,
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
            and `layer_importance.*`.
        pairs: as for `negtrace.trace`; so are the corruption, its settings and `include_text`.
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
            include_text=include_text,
            checkpoint=out / f"{direction}.partial",
            progress=progress,
        )
        path = write_json(cte, out / f"{direction}.json", include_text=include_text)
        (out / f"{direction}.partial").unlink(missing_ok=True)
        documents.append(read_json(path))
    draw(documents, out, formats)
    return documents


def draw(documents: Sequence[Document], out: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Draw the heatmap, two directions side by side, and the layer scores of each document.

    Returns:
        The files written: `heatmap.*`, and `layer_importance.*` or one for each direction.
    """
    require_writable(out)
    effects = sorted((document.effect() for document in documents), key=lambda e: e.direction)
    heatmaps = heatmap_figure(*effects) if len(effects) == 1 else both_directions(*effects)
    files = save_figure(heatmaps, out / "heatmap", formats)
    for document in documents:
        scores = [one for one in document.scores if one.condition is None]
        stem = "layer_importance"
        if len(documents) > 1:
            stem += f"_{scores[0].direction}"
        files += save_figure(importance_grid(scores), out / stem, formats)
    return files


def summary(document: Document) -> list[str]:
    """Return a few lines on what one trace found."""
    effect = document.effect()
    segments = ", ".join(f"{n} {name}" for name, n in document.cte().segment_counts.items())
    dropped = Counter(drop.code for drop in document.dropped)
    lost = ", ".join(f"{count} {code}" for code, count in dropped.items()) or "none"
    lines = [f"{effect.direction}: {effect.n} pairs ({segments}); dropped: {lost}"]
    for one in document.scores:
        if one.condition is None:
            best = max(zip(one.values, one.layers, strict=True))
            lines.append(f"  {one.method:10} peaks at {best[1]} ({best[0]:.3f}); {one.note}")
    return lines
