"""What is trained, as a module whose parameters are exactly the trained ones, giving its loss."""

__all__ = ["Objective"]

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.training.config import FinetuneConfig
from negtrace.training.losses import claim_loss, contrastive_loss, keeping_loss


class Objective(nn.Module):
    """The loss of a batch, by the weights that are trained.

    The frozen rest of the model is none of its own: it is neither saved in checkpoints nor
    synchronized between processes.
    """

    def __init__(
        self, encoder: Encoder, trained: Mapping[str, nn.Parameter], config: FinetuneConfig
    ) -> None:
        super().__init__()
        # A module's names hold no dots.
        self.trained = nn.ParameterDict({n.replace(".", "/"): w for n, w in trained.items()})
        self._settings = config
        self._encoder = encoder
        own = encoder.scale if encoder.unit == "logit" else 20.0
        self.scale = config.scale or own

    def forward(
        self,
        ids: list[Int[Tensor, "_ _"]],
        order: Int[Tensor, " text"],
        captions: Int[Tensor, " row"],
        claims: Int[Tensor, "row claim"],
        anchors: Float[Tensor, "row dim"],
        anchor_texts: Int[Tensor, " row"],
        same: Bool[Tensor, "row row"],
        keep: Int[Tensor, " kept"],
        kept: Float[Tensor, "kept dim"],
    ) -> dict[str, Tensor]:
        """Return `loss` and its parts: `contrastive`, `claims` and `keeping`.

        Args:
            ids: tokens of every text of the batch, a table for each length.
            order: where each text is among the rows of `ids`, one table after another.
            captions: the text that tells of each anchor.
            claims: the right claim and the wrong ones, -1 where there is none.
            anchors: embeddings that were made once.
            anchor_texts: the text that each anchor is, -1 where it is embedded already.
            same: rows with a caption or an anchor in common, or anchors of different kinds.
            keep: texts to keep near what they were.
            kept: the embeddings that they had.
        """
        texts = torch.cat([self._encoder.encode(rows) for rows in ids])[order]
        live = anchor_texts >= 0
        anchors = torch.where(live[:, None], texts[anchor_texts], anchors.to(texts))
        parts = {
            "contrastive": contrastive_loss(texts[captions], anchors, same, self.scale),
            "claims": claim_loss(texts[claims], anchors, claims >= 0, self.scale),
            "keeping": keeping_loss(texts[keep], kept.to(texts)),
        }
        weights = (self._settings.balance, 1 - self._settings.balance, self._settings.keep)
        # A term of weight 0 is left out, so that what is not a number in it stays out too.
        terms = [w * part for w, part in zip(weights, parts.values(), strict=True) if w]
        return {"loss": torch.stack(terms).sum(), **{k: v.detach() for k, v in parts.items()}}
