"""Selective fine-tuning: train an encoder so that each block moves as far as its score says.

The method is that of NAST (arXiv 2602.12498): the loss is balance * contrastive + (1 - balance) *
claims, the weights are adapters on the text tower, and block l is scaled by alpha_l ** beta. Image
towers are frozen, so anchors are embedded once.

Besides claims, a model can be taught what a correction of it does, or that a denial says the same
as a text in other words. Neither needs labels.
"""

__all__ = ["selective_finetune"]

import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from negtrace._messages import listed
from negtrace._settings import with_settings
from negtrace.datasets.claim_sets import ClaimSet
from negtrace.encoders.base import Encoder
from negtrace.errors import FinetuneError, NegtraceWarning
from negtrace.experiments.before_after import NO_EVALUATION, Evaluation, measure
from negtrace.experiments.finetune_report import REPORT, TABLE, Finetuned, write_finetuned
from negtrace.language.complements import Complement
from negtrace.pairs.anchor import Anchor
from negtrace.results.cte_json import Document, read_json
from negtrace.results.layer_scores import LayerScores
from negtrace.results.run_folder import RunFolder
from negtrace.training.adapters import require_no_adapters
from negtrace.training.config import FinetuneConfig
from negtrace.training.fit import BlockScores, fit, require_trainable
from negtrace.training.material import material_for
from negtrace.training.multipliers import require_names
from negtrace.training.trainer import training_arguments
from negtrace.version import __version__

CHECKPOINTS = "checkpoints"

FILES = (CHECKPOINTS, "adapter", "model", "before", "after", REPORT, TABLE)
"""Files and folders of a run, besides its figures."""


def selective_finetune(  # noqa: PLR0913 - every argument is a choice of the user's
    encoder: Encoder,
    data: str | Path | Sequence[ClaimSet] | None = None,
    scores: BlockScores | Document | Path | str | None = None,
    config: FinetuneConfig | None = None,
    *,
    texts: str | Path | Sequence[str] | None = None,
    complements: str | Path | Sequence[Complement] | None = None,
    images: str | Path | Sequence[Anchor] = (),
    out: Path | str | None = None,
    evaluation: Evaluation | None = None,
    trainer: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> Finetuned:
    """Fine-tune the text tower of an encoder in place, each block scaled by its layer score.

    After an error or an interruption the encoder's model is as it was before. After a training only
    the values of the weights in the blocks differ.

    Args:
        encoder: the encoder to train.
        data: claim sets for the objective `claims`: the name of ready-made training data, the path
            of a JSONL file, or claim sets.
        scores: layer scores of this encoder; or a CTE JSON, or its path, together with
            `method="transport"` or another of its layer scores; or the multiplier of each block by
            name, which is used as it is. Where more than claims are trained on, every block has
            the multiplier 1 without any.
        config: the settings.
        texts: texts without labels, for a correction that is taught: the name of ready-made texts
            (by default `findings`), a file or folder of reports, or texts. What denies nothing
            keeps its embedding.
        complements: for the objective `complements`: denials, and texts that say the same without
            one, or their JSONL file; by default the shipped ones.
        images: unlabelled images, or their folder, for lessons that compare scores instead of
            embeddings.
        out: folder of the run, for checkpoints, weights and report. Without it nothing is written.
            The same call again goes on after an interruption, to the same result.
        evaluation: what to measure before and after training. Without it, everything is measured
            if there is an `out`, and nothing otherwise.
        trainer: further `transformers.TrainingArguments`, such as `{"bf16": True}`. Those that are
            settings of the config under another name are refused: `steps=`, not `max_steps`.
        progress: show bars; None shows them on a terminal only.
        overwrite: start anew, and remove the run that `out` holds.
        settings: fields of the config by name, such as `beta=2.0` or `adapter="full"`. They win
            over those of `config`.

    Raises:
        FinetuneError: for a model with adapters attached, for scores of another model, for data or
            settings that cannot be used, or when the loss or a weight becomes NaN or infinite.
        CTEError: when the CTE JSON cannot be read, or has no such layer scores.
        UnknownNameError: for a setting that is no field of `FinetuneConfig`.
        OutputError: when `out` holds another run (the differences are shown) or cannot be written,
            or another run is writing there.
    """
    require_no_adapters(encoder)
    config = with_settings(config or FinetuneConfig(), settings, "setting of a fine-tuning")
    block_scores, about = _block_scores(scores, config, encoder)
    material = material_for(encoder, config, data, texts, complements, images)
    run = {
        "version": __version__,
        "model": {"name": encoder.name, "weights_digest": encoder.digest},
        "data": material.as_json(),
        "scores": {**about, "values": _values(block_scores)},
        "config": asdict(config),
        "trainer": {name: str(value) for name, value in (trainer or {}).items()},
    }
    with ExitStack() as stack:
        folder = Path(out) if out else Path(stack.enter_context(TemporaryDirectory()))
        args = training_arguments(
            config,
            folder / CHECKPOINTS,
            cpu=encoder.device.type == "cpu",
            save=out is not None,
            progress=sys.stderr.isatty() if progress is None else progress,
            overrides=trainer,
        )
        default = Evaluation() if out else NO_EVALUATION
        evaluation = evaluation or default if args.should_save else NO_EVALUATION
        if args.should_save:  # one of several processes
            runs = RunFolder(folder, "finetune")
            stack.enter_context(runs.held())
            runs.reserve({**run, "evaluation": evaluation.as_json()}, FILES, overwrite=overwrite)
        before = measure(encoder, evaluation, folder / "before", progress=progress)
        fitted = fit(encoder, material, block_scores, config, args, folder if out else None)
        after = measure(encoder, evaluation, folder / "after", progress=progress)
        result = Finetuned(
            encoder=encoder,
            config=config,
            scores=about,
            before=before,
            after=after,
            run=run,
            folder=Path(out) if out else None,
            multipliers=fitted.multipliers,
            losses=fitted.losses,
            change=fitted.change,
        )
        if out and args.should_save:
            write_finetuned(result, folder)
    return result


def _block_scores(
    scores: BlockScores | Document | Path | str | None, config: FinetuneConfig, encoder: Encoder
) -> tuple[BlockScores, dict[str, Any]]:
    """Return the layer scores or multipliers, and what a report says about them.

    What could not be trained with them is refused here, before any work.
    """
    if scores is None:
        if config.objectives == ("claims",):
            raise FinetuneError(
                "no layer scores; give them, the CTE JSON of a trace, or a multiplier for each "
                "block: scores={block: 1.0 for block in encoder.block_names} trains all alike"
            )
        scores = dict.fromkeys(encoder.block_names, 1.0)
    if isinstance(scores, str | Path | Document):
        scores = _stored_scores(scores, config.method, encoder)
    elif config.method is not None:
        raise FinetuneError(
            f"method is {config.method!r}, but no CTE JSON was given to choose from; leave it out"
        )
    layers = scores.layers if isinstance(scores, LayerScores) else tuple(scores)
    require_names(layers, encoder.block_names, encoder.name)
    if not isinstance(scores, LayerScores):
        if changed := config.changed():
            raise FinetuneError(
                f"{listed(changed)} would change nothing, because the multiplier of each block was "
                "given; leave the setting out, or give layer scores"
            )
        require_trainable(encoder, scores, config)
        return scores, {"method": "given", "scales": dict(scores)}
    require_trainable(encoder, scores, config)
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


def _stored_scores(
    document: Document | Path | str, method: str | None, encoder: Encoder
) -> LayerScores:
    """Return the layer scores of one method in a CTE JSON."""
    if not isinstance(document, Document):
        document = read_json(document)
    if method is None:
        methods = sorted({one.method for one in document.scores})
        raise FinetuneError(
            f"the CTE JSON holds several layer scores; say which with method= {methods}"
        )
    if document.provenance.weights_digest != encoder.digest:
        _warn(f"the CTE JSON was traced on other weights than those of {encoder.name}")
    return document.layer_scores(method)


def _warn(message: str) -> None:
    warnings.warn(message, NegtraceWarning, stacklevel=4)


def _values(scores: BlockScores) -> list[float]:
    """Return the number of each block, as it was given."""
    return scores.alpha.tolist() if isinstance(scores, LayerScores) else list(scores.values())
