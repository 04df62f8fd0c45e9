"""Measure a trained phantom on held-out patients, with the suites of `negtrace.bench`.

`python -m negtrace.experiments.train_phantom.measure` measures the bundled checkpoint again and
rewrites `held_out` in its `training.json`; the weights stay as they are.
"""

__all__ = ["HeldOut", "measure_phantom"]

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from negtrace._files import write_bytes
from negtrace._json import parse_json
from negtrace.bench.config import BenchConfig
from negtrace.bench.report import ReportRow
from negtrace.bench.run import run
from negtrace.encoders.base import Encoder
from negtrace.encoders.load import load
from negtrace.phantom.bundled import CHECKPOINT

SEED = 0
"""Chooses the questions and the patients; the weights are never chosen by these figures."""

DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Accuracy and recall on held-out patients, as shares from 0 to 1."""

    questions: int
    """Number of polarity questions; each is asked in both wordings."""
    affirmative: float
    """Accuracy where absence is worded as an affirmative equivalent ("normal heart size")."""
    negated: float
    """Accuracy where absence is worded as a negation ("no cardiomegaly")."""
    gap: float
    """`affirmative - negated`."""
    question_chance: float
    candidates: int
    """Number of patients among which a radiograph's report is retrieved, and the other way."""
    image_to_text: dict[str, float]
    """Recall at k of each radiograph's own report, for k = 1, 5 and 10."""
    text_to_image: dict[str, float]
    """Recall at k of each report's own radiograph."""
    recall_chance: dict[str, float]


def measure_phantom(folder: Path, *, questions: int = 600, candidates: int = 300) -> HeldOut:
    """Run the polarity and the retrieval suite on the model in `folder`.

    Retrieval uses reports that deny nothing (series `affirmative` of the suite).
    """
    encoder = load(folder)
    answers = _rows(encoder, "polarity", questions)
    accuracy = {row.series: row for row in answers if row.axis == "all"}
    recalls = [r for r in _rows(encoder, "retrieval", candidates) if r.series == "affirmative"]
    by_axis = {
        axis: {row.level: row for row in recalls if row.axis == axis}
        for axis in ("anchor to text", "text to anchor")
    }
    return HeldOut(
        questions=accuracy["affirmative"].n,
        affirmative=round(accuracy["affirmative"].estimate, DIGITS),
        negated=round(accuracy["negated"].estimate, DIGITS),
        gap=round(accuracy["affirmative - negated"].estimate, DIGITS),
        question_chance=_chance(accuracy["affirmative"]),
        candidates=by_axis["anchor to text"]["R@1"].n,
        image_to_text=_recalls(by_axis["anchor to text"]),
        text_to_image=_recalls(by_axis["text to anchor"]),
        recall_chance={level: _chance(row) for level, row in by_axis["anchor to text"].items()},
    )


def _rows(encoder: Encoder, suite: str, count: int) -> list[ReportRow]:
    """Return the model's rows of one suite on the phantom's held-out patients."""
    config = BenchConfig(suite=suite, data="phantom", count=count, seed=SEED)
    [report] = run(encoder, config)
    return [row for row in report.rows if row.scorer == "model"]


def _recalls(rows: dict[str, ReportRow]) -> dict[str, float]:
    return {level: round(row.estimate, DIGITS) for level, row in rows.items()}


def _chance(row: ReportRow) -> float:
    return round(row.chance or 0.0, DIGITS)


def main() -> None:
    """Measure the checkpoint that the command names, and rewrite `held_out` in its record."""
    parser = argparse.ArgumentParser(
        prog="python -m negtrace.experiments.train_phantom.measure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=CHECKPOINT, help="folder of the model")
    options = parser.parse_args()
    path = options.folder / "training.json"
    record = parse_json(path.read_bytes())
    record["held_out"] = asdict(measure_phantom(options.folder))
    write_bytes(path, (json.dumps(record, indent=2) + "\n").encode())
    tqdm.write(json.dumps(record["held_out"], indent=2))


if __name__ == "__main__":
    main()
