"""Result of a fine-tuning, and its report: multipliers, change of the blocks, before and after."""

__all__ = ["REPORT", "TABLE", "Finetuned", "write_finetuned"]

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from negtrace._files import write_bytes
from negtrace._markdown import table
from negtrace.encoders.base import Encoder
from negtrace.experiments.before_after import Measurements
from negtrace.training.change import Change
from negtrace.training.config import FinetuneConfig
from negtrace.version import __version__

REPORT = "report.json"
TABLE = "report.md"
FORMATS = ("png",)


@dataclass(frozen=True, kw_only=True, eq=False)
class Finetuned:
    """A fine-tuned encoder, how it was trained, and what was measured before and after."""

    encoder: Encoder
    """The encoder that was given, with changed weights."""
    config: FinetuneConfig
    multipliers: Mapping[str, float]
    """Multiplier of each block by name."""
    scores: Mapping[str, Any]
    """Name of the layer scores, their model, their number of pairs and the note on their rank
    stability; or the multipliers, if they were given."""
    change: Change
    """Realised change of each block."""
    losses: tuple[Mapping[str, float], ...]
    """Losses, learning rate and gradient norm, an entry for each logged step."""
    before: Measurements
    after: Measurements
    run: Mapping[str, Any]
    """Everything that decides the result: digests of model and data, settings, version."""
    folder: Path | None
    """Folder with everything that was written."""

    @property
    def gap_closed(self) -> float:
        """Share of the polarity gap that was closed: (before - after) / before.

        Negative if the gap has widened; NaN if it was not measured, or was 0 before.
        """
        before = self.before.headlines().get("gap", nan)
        after = self.after.headlines().get("gap", nan)
        return (before - after) / before if before else nan

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values; it holds no statement and no image path."""
        after = self.after.headlines()
        return {
            "made": {"package_version": __version__},
            "run": dict(self.run),
            "config": asdict(self.config),
            "scores": dict(self.scores),
            "blocks": self._blocks(),
            "share_of_top": {
                str(k): self.change.top(k) for k in (3, 5) if k < len(self.change.blocks)
            },
            "losses": [
                {name: value if isfinite(value) else None for name, value in entry.items()}
                for entry in self.losses
            ],
            "figures": {
                name: {"before": value, "after": after.get(name)}
                for name, value in self.before.headlines().items()
            },
            "gap_closed": self.gap_closed if isfinite(self.gap_closed) else None,
        }

    def _blocks(self) -> list[dict[str, Any]]:
        change = self.change
        columns = (change.norms.tolist(), change.relative.tolist(), change.shares.tolist())
        return [
            {
                "block": block,
                "scale": self.multipliers[block],
                "norm": norm,
                "relative": relative,
                "share": share,
            }
            for block, norm, relative, share in zip(change.blocks, *columns, strict=True)
        ]

    def lines(self) -> list[str]:
        """Return the report as lines of Markdown."""
        document = self.document()
        figures = [
            (name, f"{values['before']:.3f}", f"{values['after']:.3f}")
            for name, values in document["figures"].items()
        ]
        blocks = [
            (row["block"], f"{row['scale']:.3f}", f"{row['norm']:.4g}", f"{row['share']:.3f}")
            for row in document["blocks"]
        ]
        sentences = [
            f"Top {k} blocks: {share:.3f} of the change."
            for k, share in document["share_of_top"].items()
        ]
        if (closed := document["gap_closed"]) is not None:
            verb = "closed" if closed >= 0 else "widened"
            sentences.append(f"The polarity gap {verb} by {100 * abs(closed):.0f} %.")
        head = ("block", "multiplier", "norm of the change", "share")
        return [
            *(table(("", "before", "after"), figures) if figures else []),
            "",
            *table(head, blocks),
            "",
            *sentences,
        ]


def write_finetuned(result: Finetuned, folder: Path) -> None:
    """Write `report.json`, `report.md`, `change.png`, `trace.png` and a figure of each suite.

    Raises:
        OutputError: when the folder cannot be written.
    """
    text = json.dumps(result.document(), indent=1, allow_nan=False)
    write_bytes(folder / REPORT, (text + "\n").encode())
    write_bytes(folder / TABLE, ("\n".join(result.lines()) + "\n").encode())
    _draw(result, folder)


def _draw(result: Finetuned, folder: Path) -> None:
    # Imported here, so that a fine-tuning that writes nothing needs no matplotlib.
    from negtrace.plots.bench import bench_figure
    from negtrace.plots.save import save_figure
    from negtrace.plots.training import before_after_figure, change_figure, change_table

    table = change_table(
        np.array([result.multipliers[block] for block in result.change.blocks]),
        result.change.shares,
        training=f"{result.config.weighting}, mode {result.config.mode}",
    )
    save_figure(change_figure(table), folder / "change", FORMATS)
    if result.before.document and result.after.document:
        effects = (result.before.document.effect(), result.after.document.effect())
        save_figure(before_after_figure(*effects), folder / "trace", FORMATS)
    for suite, report in result.before.reports.items():
        figure = bench_figure([report, result.after.reports[suite]])
        save_figure(figure, folder / suite, FORMATS)
