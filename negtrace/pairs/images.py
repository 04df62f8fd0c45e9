"""Image files as they come: one that cannot be used is told from one that is read otherwise."""

__all__ = ["UNUSABLE", "check_image"]

import warnings
from pathlib import Path

import numpy as np

from negtrace.errors import PairError
from negtrace.pairs.anchor import Anchor

UNUSABLE = ("missing_image", "unreadable_image", "huge_image")
"""What a row is left out for; `sixteen_bit` and `transparent` images are read."""

TRANSPARENT = ("RGBA", "RGBa", "LA", "La", "PA")


def check_image(image: Path) -> tuple[str, str]:
    """Open an image in full; return the code and the detail of what there is to say about it.

    An image is missing; unreadable (truncated, or none at all); huge, beyond Pillow's limit on
    pixels; of sixteen bits; or transparent. Blank where it is none of these.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(image) as opened:
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
        told = f"{image}: read as eight bits; its brightest level is {brightest} of 65535"
        return "sixteen_bit", told
    return ("transparent", f"{image}: read without its alpha") if mode in TRANSPARENT else ("", "")
