"""Anchors: the text or image that the statements of a pair are about."""

__all__ = ["IMAGE_FORMATS", "Anchor", "require_text"]

import hashlib
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from negtrace.errors import PairError

if TYPE_CHECKING:
    from PIL.Image import Image
else:
    Image = Any  # Pillow is imported only where an image is opened.

IMAGE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM")
"""Formats of image files that are opened. Others can run programs (EPS) or hide text."""

LONGEST_TEXT = 1_000_000
"""Characters of the longest text that is taken for a statement or an anchor."""

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")

_EIGHT_BIT = {"1": "L", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}
_EIGHT_BIT |= {mode: mode for mode in ("L", "RGB", "RGBA")}
_EIGHT_BIT |= dict.fromkeys(("P", "PA", "LA", "La", "RGBa", "RGBX"), "RGBA")


@dataclass(frozen=True, kw_only=True, eq=False)
class Anchor:
    """Text or image (exactly one of the two) that the statements of a pair are about.

    Two anchors with the same content are equal, even if their images come from different files.

    Raises:
        PairError: for neither or both, a blank text, or an unknown kind of image.
    """

    text: str | None = None
    image: Path | Image | NDArray[Any] | None = None
    """Path of a file, a Pillow image, or uint8 pixels of shape (row, column[, 3 or 4])."""

    def __post_init__(self) -> None:
        if self.text is None and self.image is None:
            raise PairError("an anchor with neither text nor image; give exactly one of them")
        if self.text is not None and self.image is not None:
            raise PairError("an anchor with both text and image; give exactly one of them")
        if self.text is not None:
            require_text("anchor text", self.text)
        elif not isinstance(self.image, Path):
            _eight_bit(self.image)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Anchor) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text, or of the image's mode, size and pixels."""
        if self.text is not None:
            return hashlib.sha256(f"text|{self.text}".encode()).hexdigest()
        return _pixels_digest(_eight_bit(self.image))

    def open_image(self) -> Image:
        """Return the image in RGB.

        Raises:
            PairError: for a text anchor, a file that cannot be read as an image, or an image that
                is no longer the one that `digest` names.
        """
        if self.text is not None:
            raise PairError("this anchor is a text; only an image anchor can be opened")
        return self._unchanged().convert("RGB")

    def png(self) -> bytes:
        """Return the image as a PNG file. An anchor of that file has the same digest.

        Raises:
            PairError: as for `open_image`.
        """
        if self.text is not None:
            raise PairError("this anchor is a text; only an image anchor can be saved")
        buffer = BytesIO()
        self._unchanged().save(buffer, format="PNG")
        return buffer.getvalue()

    def _unchanged(self) -> Image:
        """Return the image; raise a PairError if it changed since the digest was taken."""
        image = _eight_bit(self.image)
        digest = _pixels_digest(image)
        # The property keeps its value there: a file that was not read before is read once.
        if self.__dict__.setdefault("digest", digest) != digest:
            raise PairError(
                "the image of an anchor changed after the pair was made, so the pair's digest no "
                "longer names it; make the pair anew"
            )
        return image


def _pixels_digest(image: Image) -> str:
    """Return the SHA-256 of an image's mode, size and pixels."""
    head = f"image|{image.mode}|{image.size}|".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


def _eight_bit(image: object) -> Image:
    """Return the image in a mode that a PNG file keeps exactly: L, RGB or RGBA."""
    from PIL import Image as pillow  # noqa: N813

    if isinstance(image, np.ndarray):
        return pillow.fromarray(_require_pixels(image))
    if isinstance(image, Path):
        with _opened(image) as file:
            return _convert(file)
    if isinstance(image, pillow.Image):
        return _convert(image)
    raise PairError(
        f"an anchor image of type {type(image).__name__}; "
        "expected a pathlib.Path, a Pillow image or a uint8 array"
    )


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Open an image file of one of the `IMAGE_FORMATS`.

    Raises:
        PairError: for a file that is no such image, is damaged, or has more pixels than Pillow
            takes for safe (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    from PIL import Image as pillow  # noqa: N813

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(path, formats=IMAGE_FORMATS) as file:
                file.load()
                yield file
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise PairError(f"{path} is too large an image ({error}); make it smaller") from error
    except PairError:
        raise
    # Pillow's decoders raise all kinds of errors on damaged files.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error) as error:
        raise PairError(
            f"{path} cannot be read as an image ({error}); give a PNG or JPEG file"
        ) from error


def _require_pixels(image: NDArray[Any]) -> NDArray[Any]:
    shape = image.shape
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and shape[2] in (3, 4))):
        raise PairError(
            f"an anchor image of {image.dtype} and shape {shape}; expected uint8 of shape "
            "(row, column), (row, column, 3) or (row, column, 4)"
        )
    return image


def _convert(image: Image) -> Image:
    from PIL import Image as pillow  # noqa: N813

    if image.mode in _EIGHT_BIT:
        return image.convert(_EIGHT_BIT[image.mode])
    levels = np.asarray(image)
    if not image.mode.startswith("I") or levels.min() < 0 or levels.max() > 65535:
        raise PairError(
            f"an image of mode {image.mode} has no fixed range; convert it to 8 or 16 bits first"
        )
    # Radiographs often have 16 bits; models see 8. 65535 / 257 is 255.
    return pillow.fromarray(np.rint(levels / 257).astype(np.uint8))


def require_text(what: str, text: object) -> None:
    """Raise a PairError unless `text` is a text that a tokenizer can read."""
    if not isinstance(text, str):
        raise PairError(f"the {what} is of type {type(text).__name__}; expected a text")
    if len(text) > LONGEST_TEXT:
        raise PairError(
            f"the {what} has {len(text)} characters; expected {LONGEST_TEXT} or fewer: no model "
            "reads more"
        )
    if not text.strip():
        raise PairError(f"the {what} is blank; give it some words")
    if _HALF_CHARACTER.search(text):
        raise PairError(f"the {what} holds half a character; decode its source as UTF-8")
