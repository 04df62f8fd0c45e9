"""A whole experiment written to a folder: traces, their JSON, and the figures drawn from them."""

__all__ = ["run"]

from collections.abc import Mapping, Sequence
from pathlib import Path

from negtrace.encoders.base import Encoder
from negtrace.export import Document, read_json, write_json
from negtrace.gallery import FORMATS, draw
from negtrace.pairs import Pair
from negtrace.schema.files import require_writable
from negtrace.tracing.corruption import Corruption
from negtrace.tracing.plan import Positions
from negtrace.tracing.sweep import DIRECTIONS, Direction
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
            and `layer_importance.*`.
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
            sites=sites,
            positions=positions,
            window=window,
            method=method,
            steps=steps,
            verify=verify,
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
