"""The objective of a fine-tuning: a module that holds the trained weights and gives their loss."""

__all__ = ["LOSSES", "Objective"]

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.training.batches import TrainingBatch
from negtrace.training.config import FinetuneConfig
from negtrace.training.losses import claim_loss, contrastive_loss, keeping_loss

LOSSES = ("contrastive", "claims", "keeping")
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
        self._weights = dict(
            zip(LOSSES, (config.balance, 1 - config.balance, config.keep), strict=True)
        )
        model_scale = encoder.scale if encoder.unit == "logit" else DEFAULT_SCALE
        self.scale = config.scale or model_scale

    def forward(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Return `loss`, and without gradients its terms: `contrastive`, `claims` and `keeping`."""
        batch = batch.to(self._encoder.device)
        texts = torch.cat([self._encoder.encode(table) for table in batch.tokens])[batch.order]
        in_training = batch.anchor_texts >= 0
        anchors = torch.where(
            in_training[:, None], texts[batch.anchor_texts], batch.anchors.to(texts)
        )
        captions, claims = texts[batch.captions], texts[batch.claims]
        terms = {
            "contrastive": contrastive_loss(captions, anchors, batch.no_negatives, self.scale),
            "claims": claim_loss(claims, anchors, batch.claims >= 0, self.scale),
            "keeping": keeping_loss(texts[batch.kept], batch.kept_embeddings.to(texts)),
        }
        # A term of weight 0 is left out: 0 times NaN is NaN.
        weighted = [self._weights[name] * terms[name] for name in LOSSES if self._weights[name]]
        detached = {name: term.detach() for name, term in terms.items()}
        return {"loss": torch.stack(weighted).sum(), **detached}
