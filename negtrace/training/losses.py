"""The two losses of NAST (arXiv 2602.12498), and a third that keeps embeddings where they were."""

__all__ = ["claim_loss", "contrastive_loss", "keeping_loss"]

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, normalize


def contrastive_loss(
    captions: Float[Tensor, "row dim"],
    anchors: Float[Tensor, "row dim"],
    same: Bool[Tensor, "row row"],
    scale: float,
) -> Float[Tensor, ""]:
    """Return the symmetric contrastive loss of CLIP (arXiv 2103.00020).

    Args:
        captions: embeddings; row i tells of anchor i.
        anchors: embeddings.
        same: which rows are no negatives of each other, such as those with a caption in common.
        scale: what a cosine is multiplied by.
    """
    logits = scale * normalize(captions, dim=-1) @ normalize(anchors, dim=-1).T
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(same & ~own, float("-inf"))
    place = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, place) + cross_entropy(logits.T, place)) / 2


def claim_loss(
    claims: Float[Tensor, "row claim dim"],
    anchors: Float[Tensor, "row dim"],
    there: Bool[Tensor, "row claim"],
    scale: float,
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the first claim of each row, the right one, among its own.

    Rows may have different numbers of claims: `there` says which places hold one.
    """
    logits = scale * cosine_similarity(claims, anchors[:, None], dim=-1)
    right = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    return cross_entropy(logits.masked_fill(~there, float("-inf")), right)


def keeping_loss(
    now: Float[Tensor, "row dim"], before: Float[Tensor, "row dim"]
) -> Float[Tensor, ""]:
    """Return the mean of 1 - cosine; 0 for no row."""
    if not len(now):
        return now.sum()
    return (1 - cosine_similarity(now, before, dim=-1)).mean()
