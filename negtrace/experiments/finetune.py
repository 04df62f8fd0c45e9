"""Selective fine-tuning: each block of the text tower moves as far as its score says.

After NAST (arXiv 2602.12498): lambda * contrastive + (1 - lambda) * claims, on adapters of the
text tower, block l scaled by alpha_l ** beta. Anchors are embedded once, for they do not change:
image towers are frozen. The report's second trace is `negtrace.experiments.trace`'s.
"""

__all__ = ["selective_finetune"]

import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from negtrace._files import canonical, sha256
from negtrace.datasets.claim_sets import ClaimSet
from negtrace.encoders.base import Encoder
from negtrace.errors import FinetuneError, NegtraceWarning
from negtrace.experiments.before_after import NO_EVALUATION, Evaluation, measure
from negtrace.experiments.finetune_report import Finetuned, write_report
from negtrace.experiments.run_folder import RunFolder
from negtrace.results.cte_json import Document, read_json
from negtrace.results.layer_scores import LayerScores
from negtrace.training.config import FinetuneConfig
from negtrace.training.data import training_sets, usable
from negtrace.training.fit import BlockScores, fit
from negtrace.training.multipliers import require_names
from negtrace.training.trainer import training_arguments
from negtrace.version import __version__

Scores = LayerScores | Document | Path | str | Mapping[str, float]


def selective_finetune(
    encoder: Encoder,
    data: str | Path | Sequence[ClaimSet],
    scores: Scores,
    *,
    method: str | None = None,
    out: Path | str | None = None,
    evaluation: Evaluation | None = None,
    config: FinetuneConfig | None = None,
    trainer: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Finetuned:
    """Fine-tune an encoder's text tower in place, each block scaled by its layer score.

    Args:
        encoder: what to train; after an error its weights are as they were.
        data: `phantom` or `text` (ready-made), a JSONL file of claim sets, or claim sets.
        scores: layer scores of this encoder; a CTE JSON, or its path, with a `method`; or the
            multiplier of each block by name, used as it is.
        method: which layer scores of a CTE JSON.
        out: folder for checkpoints, weights and report; nothing is kept when not given. Run the
            same again after an interruption, and it goes on to the same result.
        evaluation: what to measure before and after training. Without it, everything is measured
            if there is an `out`, and nothing otherwise.
        config: the settings; single ones may be given by name: `mode="lr"`, `beta=1.0`,
            `floor=0.1`, `adapter="lora"`, ...
        trainer: further `transformers.TrainingArguments`, such as `{"bf16": True}`.
        progress: show bars; None shows them on a terminal only.

    Raises:
        FinetuneError: for scores of another model, data or settings that cannot be used, or a loss
            that is no longer a number, with the step and the last good checkpoint.
        OutputError: when `out` holds another run, or cannot be written.
    """
    config = _config(config, settings)
    found, about = _scores(scores, method, encoder)
    layers = found.layers if isinstance(found, LayerScores) else tuple(found)
    require_names(layers, encoder.block_names, encoder.name)
    sets = usable(training_sets(data, seed=config.seed), encoder, balance=config.balance)
    run = _run(encoder, sets, config, found, about, trainer)
    with ExitStack() as stack:
        folder = Path(out) if out else Path(stack.enter_context(TemporaryDirectory()))
        args = training_arguments(
            config,
            RunFolder(folder).checkpoints,
            cpu=encoder.device.type == "cpu",
            save=out is not None,
            progress=sys.stderr.isatty() if progress is None else progress,
            overrides=trainer,
        )
        RunFolder(folder).lock(run, write=args.should_save)
        wanted = (
            (evaluation or (Evaluation() if out else NO_EVALUATION))
            if args.should_save
            else NO_EVALUATION
        )
        before = measure(encoder, wanted, folder / "before", progress=progress)
        fitted = fit(encoder, sets, found, config, args, folder if out else None)
        after = measure(encoder, wanted, folder / "after", progress=progress)
        result = Finetuned(
            encoder=encoder,
            config=config,
            scores=about,
            before=before,
            after=after,
            run=run,
            folder=Path(out) if out else None,
            **vars(fitted),
        )
        if out and args.should_save:
            _told(result, folder)
    return result


def _told(result: Finetuned, folder: Path) -> None:
    # Imported here, so that a run that keeps nothing needs no matplotlib.
    from negtrace.experiments.finetune_figures import draw

    write_report(result, folder)
    draw(result, folder)


def _config(config: FinetuneConfig | None, settings: Mapping[str, Any]) -> FinetuneConfig:
    known = [field.name for field in fields(FinetuneConfig)]
    if unknown := [name for name in settings if name not in known]:
        raise FinetuneError(f"no setting {unknown[0]!r}; known: {', '.join(known)}")
    return replace(config or FinetuneConfig(), **settings)


def _scores(
    scores: Scores, method: str | None, encoder: Encoder
) -> tuple[BlockScores, dict[str, Any]]:
    """Return the scores, or multipliers, and what a report says of them."""
    if isinstance(scores, str | Path):
        scores = read_json(scores)
    if isinstance(scores, Document):
        if method is None:
            there = sorted({one.method for one in scores.scores})
            raise FinetuneError(f"a CTE JSON holds several layer scores; method= {there}")
        if scores.provenance.weights_digest != encoder.digest:
            _warn(f"the CTE JSON was traced on other weights than those of {encoder.name}")
        scores = scores.layer_scores(method)
    if not isinstance(scores, LayerScores):
        return scores, {"method": "given", "scales": dict(scores)}
    if not scores.stable:
        _warn(f"{scores.method}: {scores.note}")
    about = {
        "method": scores.method,
        "model": scores.model,
        "direction": scores.direction,
        "pairs": scores.n,
        "note": scores.note,
    }
    return scores, about


def _warn(message: str) -> None:
    warnings.warn(message, NegtraceWarning, stacklevel=4)


def _run(
    encoder: Encoder,
    sets: Sequence[ClaimSet],
    config: FinetuneConfig,
    scores: BlockScores,
    about: Mapping[str, Any],
    trainer: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what decides the result."""
    told = [[one.anchor.digest, one.caption, one.right, *one.wrong] for one in sets]
    values = scores.alpha.tolist() if isinstance(scores, LayerScores) else list(scores.values())
    return {
        "version": __version__,
        "model": {"name": encoder.name, "weights_digest": encoder.digest},
        "data": {"sets": len(sets), "digest": sha256(canonical(told))},
        "scores": {**about, "values": values},
        "config": asdict(config),
        "trainer": {name: str(value) for name, value in (trainer or {}).items()},
    }
