"""Checks of image files: an image may be unusable, or it may be read differently from its mode."""

__all__ = ["UNUSABLE", "check_image"]

import warnings
from pathlib import Path

import numpy as np

from negtrace.errors import PairError
from negtrace.pairs.anchor import IMAGE_FORMATS, Anchor

UNUSABLE = ("missing_image", "unreadable_image", "huge_image")
"""Codes of images that cannot be used. Images noted as `sixteen_bit` or `transparent` are read."""

_TRANSPARENT = ("RGBA", "RGBa", "LA", "La", "PA")


def check_image(image: Path) -> tuple[str, str]:
    """Open an image in full, and return a code and a detail; both are blank if all is well.

    The code is `missing_image`; `unreadable_image` (truncated, or not an image); `huge_image`
    (beyond Pillow's limit on pixels); `sixteen_bit` (read as 8 bits); or `transparent` (read
    without its alpha).
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(image, formats=IMAGE_FORMATS) as opened:
                mode = opened.mode
                brightest = int(np.asarray(opened).max()) if mode.startswith("I") else 0
            Anchor(image=image).open_image()
    except (FileNotFoundError, IsADirectoryError):
        return "missing_image", f"{image}: no such file"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return "huge_image", f"{image}: {error}; make it smaller"
    except (PairError, OSError, ValueError, SyntaxError) as error:
        return "unreadable_image", f"{image}: {error}"
    if mode.startswith("I"):
        detail = f"{image}: read as eight bits; its brightest level is {brightest} of 65535"
        return "sixteen_bit", detail
    if mode in _TRANSPARENT:
        return "transparent", f"{image}: read without its alpha"
    return "", ""
