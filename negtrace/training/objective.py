"""The objective of a fine-tuning: a module that holds the trained weights and gives their loss."""

__all__ = ["LOSSES", "Objective"]

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.training.batches import TrainingBatch
from negtrace.training.config import FinetuneConfig
from negtrace.training.lessons import LessonBatch
from negtrace.training.losses import claim_loss, contrastive_loss, keeping_loss, teaching_loss
from negtrace.training.text_tables import Tables

LOSSES = ("contrastive", "claims", "keeping", "teaching", "staying")
"""Names of the terms of the loss."""

DEFAULT_SCALE = 20.0
"""Factor of the cosines for a model without a logit scale of its own."""


class Objective(nn.Module):
    """The loss of a batch as a function of the weights that are trained.

    Its parameters are exactly those weights. The frozen rest of the model is not among them, so it
    is neither saved in checkpoints nor synchronized between processes.
    """

    def __init__(
        self, encoder: Encoder, trained: Mapping[str, nn.Parameter], config: FinetuneConfig
    ) -> None:
        super().__init__()
        # Names in a module must not contain dots.
        self.trained = nn.ParameterDict({n.replace(".", "/"): w for n, w in trained.items()})
        self._encoder = encoder
        self._weights = {
            "contrastive": config.balance,
            "claims": 1 - config.balance,
            "keeping": config.keep,
            "teaching": config.teach,
            "staying": config.stay,
        }
        model_scale = encoder.scale if encoder.unit == "logit" else DEFAULT_SCALE
        self.scale = config.scale or model_scale

    def forward(
        self, batch: TrainingBatch | None = None, lessons: LessonBatch | None = None
    ) -> dict[str, Tensor]:
        """Return `loss`, and without gradients its terms by their names in `LOSSES`."""
        terms: dict[str, Tensor] = {}
        if batch is not None:
            terms |= self._of_claims(batch.to(self._encoder.device))
        if lessons is not None:
            terms |= self._of_lessons(lessons.to(self._encoder.device))
        # A term of weight 0 is left out: 0 times NaN is NaN.
        weighted = [self._weights[name] * terms[name] for name in terms if self._weights[name]]
        detached = {name: term.detach() for name, term in terms.items()}
        return {"loss": torch.stack(weighted).sum(), **detached}

    def _embedded(self, tokens: Tables, order: Int[Tensor, " text"]) -> Float[Tensor, "text dim"]:
        return torch.cat([self._encoder.encode(table) for table in tokens])[order]

    def _of_claims(self, batch: TrainingBatch) -> dict[str, Tensor]:
        texts = self._embedded(batch.tokens, batch.order)
        in_training = batch.anchor_texts >= 0
        anchors = torch.where(
            in_training[:, None], texts[batch.anchor_texts], batch.anchors.to(texts)
        )
        captions, claims = texts[batch.captions], texts[batch.claims]
        return {
            "contrastive": contrastive_loss(captions, anchors, batch.no_negatives, self.scale),
            "claims": claim_loss(claims, anchors, batch.claims >= 0, self.scale),
            "keeping": keeping_loss(texts[batch.kept], batch.kept_embeddings.to(texts)),
        }

    def _of_lessons(self, lessons: LessonBatch) -> dict[str, Tensor]:
        texts, denying = self._embedded(lessons.tokens, lessons.order), lessons.denying
        targets, images = lessons.targets.to(texts), lessons.images.to(texts)
        return {
            "teaching": teaching_loss(texts[denying], targets[denying], images),
            "staying": keeping_loss(texts[~denying], targets[~denying]),
        }
