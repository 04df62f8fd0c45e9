"""Pretraining of the image tower on the labels, before it is trained on reports."""

__all__ = ["labels", "pretrain"]

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


def labels(patient: Patient) -> list[float]:
    """Return seven labels for every finding, each 0 or 1.

    They are present, left, right, upper zone, lower zone, small and large. A finding on both sides
    is left and right.
    """
    return [
        float(label)
        for claim in patient.claims
        for label in (
            claim.present,
            claim.side in ("left", "bilateral"),
            claim.side in ("right", "bilateral"),
            claim.zone == "upper",
            claim.zone == "lower",
            claim.severity == "small",
            claim.severity == "large",
        )
    ]


def pretrain(
    model: CLIPModel,
    patients: Sequence[Patient],
    radiographs: NDArray[np.uint8],
    *,
    steps: int,
    rng: np.random.Generator,
) -> None:
    """Train the image tower of `model` in place to predict the labels through a linear head.

    The head is dropped afterwards. Contrastive training alone spends its first third without
    progress; a few hundred cheap steps on the labels avoid that.
    """
    truth = torch.tensor([labels(patient) for patient in patients])
    tower = model.vision_model
    head = torch.nn.Linear(model.config.vision_config.hidden_size, truth.shape[1])
    weights = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.05)
    for step in tqdm(range(steps), desc="labels", disable=None):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((step + 1) / 30, 1)
        batch = rng.integers(0, len(patients), BATCH)
        logits = head(tower(pixel_values=pixels(radiographs[batch])).pooler_output)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
