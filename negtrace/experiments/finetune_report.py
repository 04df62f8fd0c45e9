"""What a fine-tuning gives: the scales, how far blocks moved, and figures before and after."""

__all__ = ["REPORT", "Finetuned", "write_report"]

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from negtrace._files import write_bytes
from negtrace.encoders.base import Encoder
from negtrace.experiments.before_after import Measurements
from negtrace.training.change import Change
from negtrace.training.config import FinetuneConfig
from negtrace.version import __version__

REPORT = "report.json"
TABLE = "report.md"


@dataclass(frozen=True, kw_only=True, eq=False)
class Finetuned:
    """A fine-tuned encoder and all that is known of how it came to be."""

    encoder: Encoder
    """The one that was given, its weights changed."""
    config: FinetuneConfig
    multipliers: Mapping[str, float]
    """Multiplier of each block."""
    scores: Mapping[str, Any]
    """Which layer scores they come from, and how stable their ranking is."""
    change: Change
    losses: tuple[Mapping[str, float], ...]
    """What was logged, by step."""
    before: Measurements
    after: Measurements
    run: Mapping[str, Any]
    """What decides the result: digests of the model and the data, the configuration, versions."""
    folder: Path | None
    """Where everything was written."""

    @property
    def closed(self) -> float:
        """The share of the polarity gap that was closed; NaN where it was not measured."""
        before = self.before.numbers().get("gap", float("nan"))
        after = self.after.numbers().get("gap", float("nan"))
        return (before - after) / before if before else float("nan")

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values; it holds no statement and no image path."""
        return {
            "made": {"package_version": __version__},
            "run": dict(self.run),
            "config": asdict(self.config),
            "scores": dict(self.scores),
            "blocks": [
                {
                    "block": block,
                    "scale": self.multipliers[block],
                    "norm": norm,
                    "relative": relative,
                    "share": share,
                }
                for block, norm, relative, share in zip(
                    self.change.blocks,
                    self.change.norms.tolist(),
                    self.change.relative.tolist(),
                    self.change.shares.tolist(),
                    strict=True,
                )
            ],
            "share_of_top": {"3": self.change.top(3), "5": self.change.top(5)},
            "losses": [
                {name: value if isfinite(value) else None for name, value in entry.items()}
                for entry in self.losses
            ],
            "figures": {
                name: {"before": old, "after": self.after.numbers().get(name)}
                for name, old in self.before.numbers().items()
            },
            "gap_closed": self.closed if isfinite(self.closed) else None,
        }

    def lines(self) -> list[str]:
        """Return the report in words, as Markdown."""
        document = self.document()
        table = _table(
            ("", "before", "after"),
            [
                (name, f"{found['before']:.3f}", f"{found['after']:.3f}")
                for name, found in document["figures"].items()
            ],
        )
        blocks = _table(
            ("block", "multiplier", "norm of the change", "share"),
            [
                (row["block"], f"{row['scale']:.3f}", f"{row['norm']:.4g}", f"{row['share']:.3f}")
                for row in document["blocks"]
            ],
        )
        top = document["share_of_top"]
        said = [f"Top 3 blocks: {top['3']:.3f} of the change; top 5: {top['5']:.3f}."]
        if (closed := document["gap_closed"]) is not None:
            way = "closed" if closed >= 0 else "widened"
            said.append(f"The polarity gap {way} by {100 * abs(closed):.0f} %.")
        return [*(table if document["figures"] else []), "", *blocks, "", *said]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def write_report(found: Finetuned, folder: Path) -> None:
    """Write `report.json` and `report.md`.

    Raises:
        OutputError: when the place cannot be written.
    """
    text = json.dumps(found.document(), indent=1, allow_nan=False)
    write_bytes(folder / REPORT, (text + "\n").encode())
    write_bytes(folder / TABLE, ("\n".join(found.lines()) + "\n").encode())
