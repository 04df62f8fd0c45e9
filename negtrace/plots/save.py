"""Figures as files: the same data gives the same bytes."""

__all__ = ["FORMATS", "Format", "require_formats", "save_figure"]

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from negtrace._messages import one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Matplotlib and NumPy are imported where a figure is saved: the command line reads the formats.

Format = Literal["png", "svg", "pdf"]
FORMATS: tuple[Format, ...] = get_args(Format)

# Matplotlib writes its version and the time into files unless told otherwise.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "negtrace"},
    "pdf": {"CreationDate": None, "Creator": "negtrace", "Producer": None},
}


def require_formats(formats: Sequence[str]) -> None:
    """Refuse an unknown format of figures, before the work that would be drawn.

    Raises:
        UnknownNameError: for an unknown format.
    """
    for ending in formats:
        one_of("figure format", ending, FORMATS)


def save_figure(figure: "Figure", stem: Path | str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write `figure` as `stem`.png and so on, each file whole or not at all.

    Args:
        figure: figure of matplotlib.
        stem: path without the ending.
        formats: endings: png, svg, pdf.

    Raises:
        OutputError: when a file cannot be written.
        UnknownNameError: for an unknown format.
    """
    import matplotlib as mpl

    from negtrace._files import write_bytes

    require_formats(formats)
    paths = []
    with mpl.rc_context({"svg.hashsalt": "negtrace", "svg.fonttype": "none", "pdf.fonttype": 42}):
        for ending in formats:
            data = io.BytesIO()
            figure.savefig(data, format=ending, dpi=300, metadata=_METADATA[ending])
            paths.append(write_bytes(Path(f"{stem}.{ending}"), data.getvalue()))
    return paths
