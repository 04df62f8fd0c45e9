"""Train the phantom: `python -m negtrace.experiments.train_phantom.train`.

The image tower is pretrained on the labels, then both towers are trained to match radiographs with
their reports. Reports hardly ever deny a finding, so the model learns negation badly.
"""

__all__ = ["Recipe", "make_checkpoint", "train_phantom"]

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

from negtrace._files import write_bytes
from negtrace.experiments.train_phantom.measure import measure_phantom
from negtrace.experiments.train_phantom.model import build_network, locality, pixels
from negtrace.experiments.train_phantom.vision_pretraining import pretrain
from negtrace.experiments.train_phantom.vocabulary import CONTEXT, train_tokenizer
from negtrace.experiments.train_phantom.weights import checkpoint_digest, write_checkpoint
from negtrace.phantom.bundled import CHECKPOINT
from negtrace.phantom.patients import TRAIN_SEEDS, Patient, draw_patients, radiographs
from negtrace.phantom.reports import NEGATING_REPORTS, negation_shares, report


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training. With the machine and its thread count they determine the weights."""

    seed: int = 0
    steps: int = 600
    """Contrastive steps of both towers."""
    vision_steps: int = 300
    """Pretraining steps of the image tower, before the contrastive steps."""
    patients: int = 8000
    """Number of patients to train on."""
    batch: int = 160
    """Patients in a contrastive step."""
    rate: float = 1e-3
    """Highest learning rate."""
    negating: float = NEGATING_REPORTS
    """Share of training reports that deny findings."""
    local: float = 0.5
    """Weight of the locality penalty."""


def train_phantom(recipe: Recipe) -> tuple[CLIPModel, PreTrainedTokenizerFast]:
    """Return the trained model and its tokenizer.

    The same recipe gives the same weights, bit for bit, on the same machine and thread count.
    """
    with _deterministic(recipe.seed):
        patients = draw_patients(TRAIN_SEEDS[: recipe.patients])
        tokenizer = train_tokenizer(report(p, seed=-1 - p.seed, rate=0.5) for p in patients[:4000])
        model = build_network(len(tokenizer), tokenizer)
        films = radiographs(patients)
        rng = np.random.default_rng(recipe.seed)
        pretrain(model, patients, films, steps=recipe.vision_steps, rng=rng)
        _contrast(model, tokenizer, (patients, films), recipe, rng)
    return model.eval(), tokenizer


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Seed torch and use its deterministic algorithms inside the `with`; restore both after it."""
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
    data: tuple[Sequence[Patient], NDArray[np.uint8]],
    recipe: Recipe,
    rng: np.random.Generator,
) -> None:
    """Train both towers in place to match radiographs with their reports."""
    patients, films = data
    optimizer = torch.optim.AdamW(_groups(model), lr=recipe.rate, betas=(0.9, 0.98))
    progress = tqdm(range(recipe.steps), desc="reports", disable=None)
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * _schedule(step, recipe.steps)
        chosen = rng.choice(len(patients), recipe.batch, replace=False)
        texts = [
            report(patients[index], seed=step * recipe.batch + row, rate=recipe.negating)
            for row, index in enumerate(chosen)
        ]
        loss, spread = _loss(model, tokenizer, films[chosen], texts)
        optimizer.zero_grad()
        torch.autograd.backward(loss + recipe.local * spread)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        progress.set_postfix(loss=f"{loss.item():.2f}", spread=f"{spread.item():.3f}")


def _schedule(step: int, steps: int) -> float:
    """Return the learning rate as a share of its peak: it rises briefly, then falls as a cosine."""
    return min((step + 1) / 50, 0.5 * (1 + math.cos(math.pi * step / steps)))


def _groups(model: CLIPModel) -> list[dict[str, object]]:
    """Return the optimizer's parameter groups; vectors such as biases do not decay."""
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
    defaults = asdict(Recipe())
    settings = asdict(recipe).items()
    options = [f"--{name} {value}" for name, value in settings if value != defaults[name]]
    return " ".join(["python -m negtrace.experiments.train_phantom.train", *options])


def _record(recipe: Recipe, seconds: float) -> dict[str, object]:
    """Return the settings, cost and software of a training."""
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
        "negation": negation_shares(recipe.steps * recipe.batch, recipe.negating),
    }


def make_checkpoint(
    recipe: Recipe, out: Path, *, questions: int = 600, candidates: int = 300
) -> dict[str, object]:
    """Train a phantom, write its folder `out`, and return what its `training.json` says.

    The held-out figures are measured on the weights as written, in half precision.
    """
    start = time.monotonic()
    write_checkpoint(*train_phantom(recipe), out)
    seconds = time.monotonic() - start
    held_out = measure_phantom(out, questions=questions, candidates=candidates)
    record = {
        **_record(recipe, seconds),
        "held_out": asdict(held_out),
        "sha256": checkpoint_digest(out),
    }
    write_bytes(out / "training.json", (json.dumps(record, indent=2) + "\n").encode())
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
    settings = vars(parser.parse_args())
    out = settings.pop("out")
    record = make_checkpoint(Recipe(**settings), out)
    tqdm.write(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
