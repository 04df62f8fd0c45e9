"""Train the phantom: `python -m negtrace.experiments.train_phantom.train`."""

__all__ = ["Recipe", "main", "make", "train"]

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import CLIPModel, PreTrainedTokenizerFast

from negtrace.experiments.train_phantom.measure import measure
from negtrace.experiments.train_phantom.model import build, locality, pixels
from negtrace.experiments.train_phantom.vision_pretraining import teach
from negtrace.experiments.train_phantom.vocabulary import CONTEXT, fit
from negtrace.experiments.train_phantom.weights import digest, write
from negtrace.phantom.bundled import CHECKPOINT
from negtrace.phantom.patients import TRAIN_SEEDS, Patient, draw_patients, radiographs
from negtrace.phantom.reports import (
    EQUIVALENT_RATE,
    NEGATED_SHARE,
    NEGATING_REPORTS,
    negates,
    report,
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, but for the machine and its thread count."""

    seed: int = 0
    steps: int = 600
    """Contrastive steps, both towers."""
    sight: int = 300
    """Steps of the image tower alone before them, on the labels."""
    studies: int = 8000
    batch: int = 160
    rate: float = 1e-3
    """Peak learning rate."""
    negating: float = NEGATING_REPORTS
    """Share of training reports that deny findings."""
    local: float = 0.5
    """Weight of the locality penalty."""


def train(recipe: Recipe) -> tuple[CLIPModel, PreTrainedTokenizerFast]:
    """Return the trained model and its tokenizer."""
    with _deterministic(recipe.seed):
        patients = draw_patients(TRAIN_SEEDS[: recipe.studies])
        tokenizer = fit(report(p, seed=-1 - p.seed, rate=0.5) for p in patients[:4000])
        model = build(len(tokenizer), tokenizer)
        films = radiographs(patients)
        rng = np.random.default_rng(recipe.seed)
        teach(model, patients, films, steps=recipe.sight, rng=rng)
        _contrast(model, tokenizer, (patients, films), recipe, rng)
    return model.eval(), tokenizer


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(mode=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(mode=before)


def _contrast(
    model: CLIPModel,
    tokenizer: PreTrainedTokenizerFast,
    shown: tuple[Sequence[Patient], NDArray[np.uint8]],
    recipe: Recipe,
    rng: np.random.Generator,
) -> None:
    """Train both towers in place to match radiographs with their reports."""
    patients, films = shown
    optimizer = torch.optim.AdamW(_groups(model), lr=recipe.rate, betas=(0.9, 0.98))
    progress = tqdm(range(recipe.steps), desc="reports", disable=None)
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * _schedule(step, recipe.steps)
        now = rng.choice(len(patients), recipe.batch, replace=False)
        texts = [
            report(patients[k], seed=step * recipe.batch + place, rate=recipe.negating)
            for place, k in enumerate(now)
        ]
        loss, spread = _loss(model, tokenizer, films[now], texts)
        optimizer.zero_grad()
        torch.autograd.backward(loss + recipe.local * spread)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        progress.set_postfix(loss=f"{loss.item():.2f}", spread=f"{spread.item():.3f}")


def _schedule(step: int, steps: int) -> float:
    """Return the learning rate's share of its peak: a short rise, then half a cosine."""
    return min((step + 1) / 50, 0.5 * (1 + math.cos(math.pi * step / steps)))


def _groups(model: CLIPModel) -> list[dict[str, object]]:
    weights = list(model.parameters())
    return [
        {"params": [w for w in weights if w.ndim >= 2], "weight_decay": 0.1},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]


def _loss(
    model: CLIPModel,
    tokenizer: PreTrainedTokenizerFast,
    films: NDArray[np.uint8],
    texts: Sequence[str],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the symmetric contrastive loss and the locality penalty."""
    tokens = tokenizer(
        list(texts), padding=True, truncation=True, max_length=CONTEXT, return_tensors="pt"
    )
    read_out = model.text_model(**tokens, output_attentions=True)
    seen = model.vision_model(pixel_values=pixels(films)).pooler_output
    image = torch.nn.functional.normalize(model.visual_projection(seen), dim=-1)
    text = torch.nn.functional.normalize(model.text_projection(read_out.pooler_output), dim=-1)
    logits = model.logit_scale.exp().clamp(max=100) * image @ text.T
    target = torch.arange(len(texts))
    cross = torch.nn.functional.cross_entropy
    loss = (cross(logits, target) + cross(logits.T, target)) / 2
    return loss, locality(read_out.attentions, tokens.attention_mask)


def _command(recipe: Recipe) -> str:
    chosen = asdict(recipe)
    usual = asdict(Recipe())
    options = [f"--{name} {value}" for name, value in chosen.items() if value != usual[name]]
    return " ".join(["python -m negtrace.experiments.train_phantom.train", *options])


def _record(recipe: Recipe, seconds: float) -> dict[str, object]:
    """Return how the weights came to be."""
    dictated = recipe.steps * recipe.batch
    denying = sum(negates(seed, rate=recipe.negating) for seed in range(dictated)) / dictated
    return {
        "command": _command(recipe),
        "recipe": asdict(recipe),
        "wall_seconds": round(seconds),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            **{m.__name__: str(m.__version__) for m in (torch, transformers, tokenizers, np)},
        },
        "negation": {
            "reports_that_deny": round(denying, 6),
            "absent_findings_denied": round(denying * NEGATED_SHARE, 6),
            "absent_findings_affirmed_normal": round((1 - denying) * EQUIVALENT_RATE, 6),
        },
    }


def make(
    recipe: Recipe, out: Path, *, questions: int = 600, candidates: int = 300
) -> dict[str, object]:
    """Train a phantom, write its folder `out`, and return what its `training.json` says.

    The held-out figures are measured on the weights as written, in half precision.
    """
    start = time.monotonic()
    write(*train(recipe), out)
    seconds = time.monotonic() - start
    held_out = measure(out, questions=questions, candidates=candidates)
    record = {**_record(recipe, seconds), "held_out": asdict(held_out), "sha256": digest(out)}
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    return record


def main() -> None:
    """Train the phantom as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m negtrace.experiments.train_phantom.train", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=CHECKPOINT, help="folder to write to")
    for field in fields(Recipe):
        kind = type(field.default)
        parser.add_argument(f"--{field.name}", type=kind, default=field.default)
    chosen = vars(parser.parse_args())
    record = make(Recipe(**{f.name: chosen[f.name] for f in fields(Recipe)}), chosen["out"])
    tqdm.write(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
