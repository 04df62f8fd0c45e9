"""Synthetic chest radiographs, drawn from claims by seeded arithmetic."""

__all__ = ["render"]

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from negtrace.errors import UnknownNameError
from negtrace.language.claims import Claim
from negtrace.phantom.anatomy import Field, chest, sway
from negtrace.phantom.signs import SIGNS


def render(claims: Sequence[Claim], *, seed: int, size: int = 48) -> NDArray[np.uint8]:
    """Return the radiograph of a patient with these claims, as a (size, size) array of bytes.

    A seed stands for one patient: the anatomy is the same at every size and for every set of
    claims. As on real radiographs, the patient's left is at the right of the film.

    >>> render([Claim(finding="effusion", present=True, side="left")], seed=0).shape
    (48, 48)

    Raises:
        UnknownNameError: for a present finding without a radiographic sign.
    """
    present = {claim.finding: claim for claim in claims if claim.present}
    if unknown := sorted(present.keys() - SIGNS.keys()):
        raise UnknownNameError(
            f"no radiographic sign for {unknown}; findings with a sign: {', '.join(SIGNS)}"
        )
    # Drawn at twice the size and averaged, so that thin lines stay visible on small films.
    body = chest(np.random.default_rng([seed, 0]), 2 * size)
    film = body.film(np.random.default_rng([seed, 1]))
    for index, (finding, paint) in enumerate(SIGNS.items()):
        if finding in present:
            film = paint(film, body, present[finding], np.random.default_rng([seed, 2, index]))
    return _expose(film, np.random.default_rng([seed, 3]))


def _expose(film: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    size = len(film) // 2
    shrunk = film.reshape(size, 2, size, 2).mean((1, 3))
    shrunk = np.clip(shrunk, 0, 1.05) * (1 + sway(rng, 0.06)) + sway(rng, 0.03)
    grain = rng.normal(0, 0.014, shrunk.shape)
    exposed: NDArray[np.uint8] = np.clip((shrunk + grain) * 255, 0, 255).astype(np.uint8)
    return exposed
