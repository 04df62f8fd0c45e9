"""Image tokens of a vision-language model as rows of numbers: one row for each image."""

__all__ = ["GRID", "ImageRows"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from negtrace.errors import EncoderError

GRID = "image_grid_thw"
"""Argument of models that need the grid of patches of every image: frames, rows and columns."""

GRID_SIZES = 3


@dataclass(frozen=True, kw_only=True)
class ImageRows:
    """Layout of the image features of one model, which are kept as rows of equal width.

    A row holds the number of image tokens, the grid of patches (zeros where the model needs none),
    the features of all tokens, and zeros up to the width of the longest row. Some models, such as
    Qwen3-VL, add further features to the states after their first blocks; these follow the first.
    """

    kind: type
    """Class of the output of the model's `get_image_features`."""
    shape: tuple[int, ...]
    """Shape of the features of one tile or token."""
    in_list: bool
    """True if the model takes a list of features, one for each image."""
    deep: bool
    """True if the model adds features to the states after its first blocks."""
    depth: int
    """Number of features of one token: 1, and 1 for each of these blocks."""

    @classmethod
    def of(cls, output: Any) -> "ImageRows":
        """Return the layout of an output of `get_image_features` for one image."""
        pooled = output.pooler_output
        deep = getattr(output, "deepstack_features", None)
        return cls(
            kind=type(output),
            shape=tuple(_joined(pooled).shape[1:]),
            in_list=not isinstance(pooled, Tensor),
            deep=deep is not None,
            depth=1 + len(deep or ()),
        )

    def row(self, output: Any, grid: Int[Tensor, "1 3"] | None) -> Float[Tensor, " dim"]:
        """Return the row of one image.

        Args:
            output: the output of `get_image_features` for this image alone.
            grid: its grid of patches, where the model needs one.
        """
        layers = [output.pooler_output, *(getattr(output, "deepstack_features", None) or ())]
        features = torch.stack([_joined(each).flatten(0, -2) for each in layers])
        # In half precision, a row could not hold the exact number of tokens.
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        count = features.new_tensor([features.shape[1]])
        sizes = features.new_zeros(GRID_SIZES) if grid is None else grid.flatten().to(features)
        return torch.cat([count, sizes, features.flatten()])

    def grids(self, rows: Float[Tensor, "image dim"]) -> Int[Tensor, "image 3"]:
        """Return the grid of patches of every image."""
        return rows[:, 1 : 1 + GRID_SIZES].long()

    def output(self, rows: Float[Tensor, "image dim"], counts: Sequence[int]) -> Any:
        """Return what `get_image_features` would give for the images of these rows together.

        Args:
            rows: rows of images.
            counts: number of image tokens that is expected of each.

        Raises:
            EncoderError: when an image has another number of tokens.
        """
        held = [int(count) for count in rows[:, 0].tolist()]
        if held != list(counts):
            raise EncoderError(
                f"a batch holds rows with {', '.join(map(str, counts))} image tokens, and their "
                f"images have {', '.join(map(str, held))}; tokenize each statement with its own "
                "anchor, and keep the image in front of the statement or behind it"
            )
        width = self.shape[-1]
        parts = [
            row[1 + GRID_SIZES :][: self.depth * count * width].view(self.depth, count, width)
            for row, count in zip(rows, counts, strict=True)
        ]
        first, *deep = torch.cat(parts, dim=1)
        features = first.reshape(-1, *self.shape)
        more = {"deepstack_features": [(each,) for each in deep]} if self.deep else {}
        return self.kind(pooler_output=(features,) if self.in_list else features, **more)


def _joined(features: Any) -> Tensor:
    """Return features as one tensor; a list holds those of every image."""
    return features if isinstance(features, Tensor) else torch.cat(list(features))
