"""Results made by hand, whose effects are known, so that derived numbers can be checked.

`python tests/golden/results.py` writes the golden files anew.
"""

from pathlib import Path
from typing import Any

import numpy as np

from negtrace.results.cte import CTE
from negtrace.results.cte_json import write_json
from negtrace.results.provenance import Dropped, Provenance

GOLDEN = Path(__file__).parent / "cte-2.json"

# Quantmeyer, Mosteiro, Gatt 2024, released results: CLIP ViT-B/32, negation in the foil, correct.
PUBLISHED = np.array(
    [
        [1.000, 0.900, 0.857, 0.693, 0.182, 0.116, 0.098, 0.094, 0.065, 0.049, 0.013, 0.012, 0],
        [0, 0.026, 0.090, 0.148, 0.166, 0.094, 0.088, 0.071, 0.035, 0.006, 0.017, 0.018, 0],
        [0, 0.008, 0.037, 0.063, 0.106, 0.084, 0.085, 0.057, 0.037, 0.017, 0.019, 0.011, 0],
        [0, 0.011, 0.027, 0.074, 0.364, 0.299, 0.293, 0.262, 0.191, 0.128, 0.089, 0.047, 0],
        [0, 0.003, 0.005, 0.011, 0.194, 0.255, 0.293, 0.327, 0.447, 0.593, 0.684, 0.789, 1.000],
    ]
).T
ROW = (0, 1, 1, 2, 3, 4, 6, 8)
"""start, prefix, prefix, cue, subject, subject_rest, punct, end."""


def provenance(**changes: Any) -> Provenance:
    fields = {
        "package_version": "1.2.3",
        "time": "2026-01-02T03:04:05+00:00",
        "model": "toy",
        "family": "toy",
        "revision": None,
        "weights_digest": "sha256:weights",
        "tokenizer": "words",
        "pairs_digest": "sha256:pairs",
        "config": {"batch": 4, "sites": ["resid"]},
    }
    return Provenance(**{**fields, **changes})


def result(ratios: np.ndarray, d: np.ndarray, **changes: Any) -> CTE:
    """Return the CTE with these ratios [pair layer position], at one site, and differences d."""
    pairs, layers = ratios.shape[:2]
    direction = changes.get("direction", "denoising")
    clean, numerators = 10 + d, ratios * d[:, None, None]
    patched = 10 + numerators if direction == "denoising" else clean[:, None, None] - numerators
    fields = {
        "clean": clean,
        "corrupt": np.full(pairs, 10.0),
        "patched": patched[:, None],
        "roles": np.tile(np.array(ROW), (pairs, 1))[:, : ratios.shape[2]],
        "negated": np.arange(pairs) % 2 == 0,
        "ids": tuple(f"p{index:03}" for index in range(pairs)),
        "layers": ("embed", *(f"blocks.{block}" for block in range(layers - 1))),
        "direction": "denoising",
        "corruption": "swap",
        "unit": "logit",
        "provenance": provenance(),
    }
    return CTE(**{**fields, **changes})


def published(d: np.ndarray, **changes: Any) -> CTE:
    """Return a CTE in which every pair has exactly the published effect."""
    ratios = np.zeros((len(d), len(PUBLISHED), len(ROW)))
    ratios[:, :, 3:] = PUBLISHED
    return result(ratios, d, **changes)


def noisy(pairs: int = 12, layers: int = 4, seed: int = 0, **changes: Any) -> CTE:
    rng = np.random.default_rng(seed)
    ratios = rng.normal(0.3, 0.3, size=(pairs, layers, len(ROW)))
    d = rng.normal(0.5, 2.0, size=pairs)
    return result(ratios, np.where(np.abs(d) < 0.2, 0.2, d), **changes)


def golden() -> CTE:
    """Return a small exact CTE: binary fractions, a missing cell, a pair below the floor, texts."""
    ratios = np.zeros((6, 3, 4))
    ratios[:, :, 1] = [0.25, 0.5, 0.125]
    ratios[:, :, 3] = np.array([1.0, 0.5, 0.25]) * np.array([1, 0.5, 1, 2, 1, 1])[:, None]
    ratios[:3, :, 0] = np.nan
    return result(
        ratios,
        np.array([2.0, 4.0, -2.0, 0.5, 1.0, 0.0625]),
        dropped=(Dropped(id="p9", code="too-long", reason="90 tokens, at most 77"),),
        texts=tuple((f"No shadow {n}.", f"A shadow {n}.") for n in range(6)),
    )


def write_golden(path: Path) -> Path:
    return write_json(golden(), path, resamples=20)


if __name__ == "__main__":
    write_golden(GOLDEN)
