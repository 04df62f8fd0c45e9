"""Curves of an interpolation: models between before and after a training, and a choice of one."""

__all__ = ["SHARES", "Curve", "interpolation_curve"]

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from negtrace._files import write_bytes
from negtrace._markdown import table
from negtrace.encoders.base import Encoder
from negtrace.errors import FinetuneError
from negtrace.experiments.before_after import Evaluation, measure
from negtrace.results.run_folder import RunFolder
from negtrace.training.adapters import write_model
from negtrace.training.interpolation import interpolate
from negtrace.version import __version__

SHARES = tuple(k / 10 for k in range(11))

MENDED = "accuracy, negated wording"

KEPT = (
    "accuracy, affirmative wording",
    "R@5 anchor to text, affirmative",
    "R@5 text to anchor, affirmative",
)

FILES = ("curve.json", "curve.md", "curve.png", "model", "choice-*", "report-*")


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Figures of models between before and after a training, and the one that was chosen."""

    shares: tuple[float, ...]
    """Share t of the training in the weights, from 0 (before) to 1 (after)."""
    choice: tuple[Mapping[str, float], ...]
    """Figures of each on the questions of the choice."""
    chosen: float
    """The share with the best accuracy in negated wording of those that keep the rest."""
    within: float
    """Largest fall of a kept figure."""
    before: Mapping[str, float]
    """Figures of the model before, on other questions."""
    after: Mapping[str, float]
    """Figures of the chosen model on these other questions."""
    encoder: Encoder
    """The chosen model."""

    def document(self) -> dict[str, Any]:
        """Return the curve as JSON values."""
        fields = ("shares", "choice", "chosen", "within", "before", "after")
        return {"package_version": __version__, **{name: getattr(self, name) for name in fields}}

    def lines(self) -> list[str]:
        """Return the curve as lines of Markdown."""
        names = list(self.before)
        choice = [
            (f"{share:.2f}", *(f"{figures[name]:.3f}" for name in names))
            for share, figures in zip(self.shares, self.choice, strict=True)
        ]
        reported = [(name, f"{self.before[name]:.3f}", f"{self.after[name]:.3f}") for name in names]
        return [
            *table(("t", *names), choice),
            "",
            f"Chosen on these questions: t = {self.chosen:.2f}, the best in negated wording of "
            f"those that lose at most {self.within} of the rest. On other questions:",
            "",
            *table(("", "before", f"t = {self.chosen:.2f}"), reported),
        ]


def interpolation_curve(
    before: Encoder,
    after: Encoder,
    shares: Sequence[float] = SHARES,
    *,
    within: float = 0.01,
    evaluation: Evaluation | None = None,
    choice_seed: int = 11,
    out: Path | str | None = None,
    overwrite: bool = False,
) -> Curve:
    """Measure models between before and after a training, and choose one of them.

    The choice is made on questions of its own: the share with the best accuracy in negated wording
    of those that keep the accuracy in affirmative wording and R@5 of affirmative texts. Report the
    figures on the other questions, not those that the choice was made on.

    Args:
        before: the encoder before a training.
        after: the same encoder after it; another instance.
        shares: shares t to measure; each is from 0 to 1.
        within: how much each kept figure may fall.
        evaluation: what to measure; by default 600 questions of the suites polarity and retrieval.
        choice_seed: seed of the questions that the choice is made on.
        out: folder for the curve, its figure and the chosen model. The same call again goes on.
        overwrite: start anew, and remove the curve that `out` holds.

    Raises:
        FinetuneError: for models that are not alike, a share that is no number from 0 to 1, or
            equal questions for the choice and for the report.
        OutputError: when `out` holds another curve, cannot be written, or is in use.
    """
    evaluation = evaluation or Evaluation(suites=("polarity", "retrieval"), pairs=0)
    _require(shares, evaluation, choice_seed)
    choosing = replace(evaluation, seed=choice_seed)
    run = {
        "version": __version__,
        "before": before.digest,
        "after": after.digest,
        "shares": list(shares),
        "within": within,
        "evaluation": evaluation.as_json(),
        "choice_seed": choice_seed,
    }
    with ExitStack() as stack:
        folder = Path(out) if out else Path(stack.enter_context(TemporaryDirectory()))
        runs = RunFolder(folder, "interpolate")
        stack.enter_context(runs.held())
        runs.reserve(run, FILES, overwrite=overwrite)
        found = {
            share: measure(
                interpolate(before, after, share), choosing, folder / f"choice-{share:.3f}"
            ).headlines()
            for share in dict.fromkeys((0.0, *shares))  # the share 0 is the model before
        }
        figures = tuple(found[share] for share in shares)
        chosen = _chosen(shares, figures, found[0.0], within)
        encoder = interpolate(before, after, chosen)
        curve = Curve(
            shares=tuple(shares),
            choice=figures,
            chosen=chosen,
            within=within,
            before=measure(before, evaluation, folder / "report-before").headlines(),
            after=measure(encoder, evaluation, folder / "report-after").headlines(),
            encoder=encoder,
        )
        if out:
            _write(curve, folder)
    return curve


def _require(shares: Sequence[float], evaluation: Evaluation, choice_seed: int) -> None:
    if not shares:
        raise FinetuneError("no share to measure; give one or more numbers from 0 to 1")
    if wrong := [share for share in shares if not 0 <= share <= 1]:
        raise FinetuneError(f"t is {wrong[0]}; expected a number from 0 to 1")
    if {"polarity", "retrieval"} - {*evaluation.suites}:
        raise FinetuneError("the choice needs the suites polarity and retrieval; measure both")
    if evaluation.seed == choice_seed:
        raise FinetuneError(
            f"the questions of the choice and of the report are the same (seed {choice_seed}); "
            "give two seeds"
        )


def _chosen(
    shares: Sequence[float],
    figures: Sequence[Mapping[str, float]],
    before: Mapping[str, float],
    within: float,
) -> float:
    """Return the share with the best mended figure of those that keep the others; else 0."""
    keeping = [
        (found[MENDED], -share)
        for share, found in zip(shares, figures, strict=True)
        if all(found[name] >= before[name] - within for name in KEPT)
    ]
    return -max(keeping)[1] if keeping else 0.0


def _write(curve: Curve, folder: Path) -> None:
    # Imported here, so that a curve that is not written needs no matplotlib.
    from negtrace.plots.save import save_figure
    from negtrace.plots.training import curve_figure

    text = json.dumps(curve.document(), indent=1, allow_nan=False)
    write_bytes(folder / "curve.json", (text + "\n").encode())
    write_bytes(folder / "curve.md", ("\n".join(curve.lines()) + "\n").encode())
    lines = {name: [found[name] for found in curve.choice] for name in (MENDED, *KEPT)}
    save_figure(curve_figure(curve.shares, lines, curve.chosen), folder / "curve", ("png",))
    write_model(curve.encoder, folder / "model")
