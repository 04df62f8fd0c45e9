"""Teaching the image tower to see the labels, before it meets a report."""

__all__ = ["labels", "teach"]

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import CLIPModel

from negtrace.experiments.train_phantom.model import pixels
from negtrace.phantom.patients import Patient

RATE = 1e-3
BATCH = 192


def labels(study: Patient) -> list[float]:
    """Return what there is to see: presence, sides, zone and severity of every finding."""
    return [
        float(seen)
        for claim in study.claims
        for seen in (
            claim.present,
            claim.side in ("left", "bilateral"),
            claim.side in ("right", "bilateral"),
            claim.zone == "upper",
            claim.zone == "lower",
            claim.severity == "small",
            claim.severity == "large",
        )
    ]


def teach(
    model: CLIPModel,
    studies: Sequence[Patient],
    images: NDArray[np.uint8],
    *,
    steps: int,
    rng: np.random.Generator,
) -> None:
    """Train the image tower in place on the labels, through a linear head that is dropped.

    Contrastive training alone spends its first third on a plateau, until images tell reports
    apart; two hundred cheap steps on the labels skip it.
    """
    truth = torch.tensor([labels(study) for study in studies])
    tower = model.vision_model
    head = torch.nn.Linear(model.config.vision_config.hidden_size, truth.shape[1])
    weights = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.05)
    for step in tqdm(range(steps), desc="labels", disable=None):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((step + 1) / 30, 1)
        now = rng.integers(0, len(studies), BATCH)
        logits = head(tower(pixel_values=pixels(images[now])).pooler_output)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth[now])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
