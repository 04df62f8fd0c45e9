"""The losses: the two of NAST (arXiv 2602.12498), one that teaches, and one that keeps."""

__all__ = ["claim_loss", "contrastive_loss", "keeping_loss", "teaching_loss"]

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, normalize


def contrastive_loss(
    captions: Float[Tensor, "row dim"],
    anchors: Float[Tensor, "row dim"],
    no_negatives: Bool[Tensor, "row row"],
    scale: float,
) -> Float[Tensor, ""]:
    """Return the symmetric contrastive loss of CLIP (arXiv 2103.00020).

    With logits = scale * cosine of every caption with every anchor, it is the mean of two
    cross-entropies: the right anchor among all for each caption, and the right caption among all
    for each anchor.

    Args:
        captions: embeddings of the captions; caption i describes anchor i.
        anchors: embeddings of the anchors.
        no_negatives: True for pairs of rows that are left out of each other's cross-entropy, such
            as rows with the same caption. The diagonal is always in.
        scale: factor of the cosines.
    """
    logits = scale * normalize(captions, dim=-1) @ normalize(anchors, dim=-1).T
    diagonal = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(no_negatives & ~diagonal, float("-inf"))
    right = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2


def claim_loss(
    claims: Float[Tensor, "row claim dim"],
    anchors: Float[Tensor, "row dim"],
    present: Bool[Tensor, "row claim"],
    scale: float,
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the first claim of each row among all claims of that row.

    Args:
        claims: embeddings of the claims; the first of a row is right, the others are wrong.
        anchors: embeddings of the anchors.
        present: False where a row has fewer claims than the others.
        scale: factor of the cosines.
    """
    logits = scale * cosine_similarity(claims, anchors[:, None], dim=-1)
    right = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    return cross_entropy(logits.masked_fill(~present, float("-inf")), right)


def keeping_loss(
    now: Float[Tensor, "row dim"], before: Float[Tensor, "row dim"]
) -> Float[Tensor, ""]:
    """Return the mean over rows of 1 - cosine of the embeddings now and before; 0 for no row."""
    if not len(now):
        return now.sum()
    return (1 - cosine_similarity(now, before, dim=-1)).mean()


def teaching_loss(
    now: Float[Tensor, "row dim"],
    targets: Float[Tensor, "row dim"],
    images: Float[Tensor, "image dim"],
) -> Float[Tensor, ""]:
    """Return how far embeddings are from their targets; 0 for no row.

    Without images it is the mean of 1 - cosine. With images it is the mean over rows and images of
    dim / 2 times the squared difference of their cosines with the image: the same for images that
    point evenly into all directions, and blind to directions that no image has.

    Args:
        now: embeddings of the texts.
        targets: unit embeddings that they are to have.
        images: unit embeddings of unlabelled images.
    """
    if not len(images):
        return keeping_loss(now, targets)
    if not len(now):
        return now.sum()
    off = (normalize(now, dim=-1) - targets) @ images.T
    return off.square().mean() * now.shape[1] / 2
