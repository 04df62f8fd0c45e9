"""What the fields of a result must be before anything is derived from them."""

__all__ = ["check_names", "check_scores", "check_shapes"]

from collections import Counter
from collections.abc import Mapping

import numpy as np

from negtrace._messages import listed, tally
from negtrace.errors import CTEError
from negtrace.results.provenance import Dropped


def check_names(
    ids: tuple[str, ...],
    layers: tuple[str, ...],
    sites: tuple[str, ...],
    dropped: tuple[Dropped, ...],
) -> None:
    """Refuse a result without pairs, without an embedding, or with a name that occurs twice."""
    if not ids:
        reasons = tally(Counter(drop.code for drop in dropped))
        raise CTEError(f"a result needs at least one pair; dropped: {reasons or 'none'}")
    if len(layers) < 2 or layers[0] != "embed":
        raise CTEError(f"layers must be 'embed', then the blocks' names, not {layers}")
    for kind, names in (("pair id", ids), ("layer", layers), ("site", sites)):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise CTEError(f"every {kind} must occur once; repeated: {listed(repeated)}")


def check_shapes(
    arrays: Mapping[str, np.ndarray], *, pairs: int, sites: int, layers: int, role_names: int
) -> None:
    """Refuse arrays whose axes are not those that the names say."""
    roles = arrays["roles"]
    positions = roles.shape[-1] if roles.ndim else 0
    expected = {
        "clean": (pairs,),
        "corrupt": (pairs,),
        "patched": (pairs, sites, layers, positions),
        "roles": (pairs, positions),
        "negated": (pairs,),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise CTEError(f"{name} has shape {arrays[name].shape}, expected {shape}")
    if roles.size and (roles.min() < -1 or roles.max() >= role_names):
        raise CTEError(f"roles must lie in -1 .. {role_names - 1}, indices of role_names")


def check_scores(arrays: Mapping[str, np.ndarray], ids: tuple[str, ...]) -> None:
    """Refuse pairs whose scores are no numbers, or stand where there is no token."""
    patched, cells = arrays["patched"], ~np.isnan(arrays["patched"])
    token = (arrays["roles"] >= 0)[:, None, None]
    finite = np.isfinite(arrays["clean"]) & np.isfinite(arrays["corrupt"])
    wrong = {
        "a clean or corrupt score that is not finite": ~finite,
        "an infinite patched score": np.isinf(patched).any(axis=(1, 2, 3)),
        "a patched score where there is no token": (cells & ~token).any(axis=(1, 2, 3)),
        "no patched cell at all": ~cells.any(axis=(1, 2, 3)),
    }
    for what, pairs in wrong.items():
        if pairs.any():
            named = listed([ids[place] for place in np.flatnonzero(pairs)])
            raise CTEError(
                f"{pairs.sum()} of {len(ids)} pairs have {what}: {named}; drop them, or trace in "
                "float32"
            )
