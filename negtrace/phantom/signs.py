"""Radiographic signs: each finding painted onto the film of a healthy chest."""

__all__ = ["SIGNS"]

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from negtrace.language.claims import Claim
from negtrace.phantom.anatomy import Chest, Field, lattice, soft, sway

Sign = Callable[[Field, Chest, Claim, np.random.Generator], Field]
"""Function of the film, the anatomy, the claim and a random generator; returns the new film."""

HEIGHTS = MappingProxyType({"upper": 0.28, "middle": 0.45, "lower": 0.62})
"""Height of each zone on the film, as y."""

EXTENTS = MappingProxyType({"small": 0.0, "moderate": 0.5, "large": 1.0})
"""Extent of each severity, from 0 to 1."""


def _sides(claim: Claim, rng: np.random.Generator) -> tuple[str, ...]:
    """Return the sides to paint. Where the claim states none, one is drawn at random."""
    if claim.side == "bilateral":
        return ("right", "left")
    return (claim.side or str(rng.choice(["left", "right"])),)


def _extent(claim: Claim, rng: np.random.Generator) -> float:
    stated = claim.severity or str(rng.choice(list(EXTENTS)))
    return EXTENTS[stated] + sway(rng, 0.08)


def _height(claim: Claim, rng: np.random.Generator) -> float:
    return HEIGHTS[claim.zone or str(rng.choice(list(HEIGHTS)))] + sway(rng, 0.035)


def _blend(film: Field, shade: float | Field, share: Field) -> Field:
    """Return the film covered by a shade, by the given share at each point."""
    return film * (1 - share) + shade * share


def _effusion(film: Field, body: Chest, claim: Claim, rng: np.random.Generator) -> Field:
    extent = _extent(claim, rng)
    for side in _sides(claim, rng):
        lateral = np.clip(body.lateral(side) / 0.37, 0, 1.1)
        # The meniscus: fluid climbs along the chest wall.
        rise = (0.055 + 0.26 * extent) * (0.75 + 0.25 * lateral) + 0.09 * lateral**4
        level = 0.79 - rise
        fluid = soft(np.minimum(body.y - level, body.cavity(side)), 0.018)
        film = _blend(film, 0.76, 0.96 * fluid * soft(0.9 - body.y, 0.03))
    return film


def _pneumothorax(film: Field, body: Chest, claim: Claim, rng: np.random.Generator) -> Field:
    extent = _extent(claim, rng)
    for side in _sides(claim, rng):
        # The lung leaves the chest wall at the apex first, so the rim of air narrows downwards.
        rim = (0.04 + 0.085 * extent) * np.clip(1.15 - (body.y - 0.1) / (0.62 + 0.3 * extent), 0, 1)
        edge = body.wall(side) - rim * 1.25
        air = soft(np.minimum(body.cavity(side), body.diaphragm(side)), 0.008)
        gap = air * soft(-edge, 0.006) * soft(rim - 0.008, 0.01) * soft(body.lateral(side) - 0.07)
        line = air * soft(0.006 + 0.3 * body.pixel - np.abs(edge), 0.004) * soft(rim - 0.008, 0.01)
        film = _blend(film, 0.035, 0.93 * gap)
        film = film + 0.3 * line * soft(body.lateral(side) - 0.07)
    return film


def _cardiomegaly(film: Field, body: Chest, claim: Claim, rng: np.random.Generator) -> Field:
    widen = 0.055 + 0.06 * _extent(claim, rng)
    return np.maximum(film, 0.78 * body.heart(widen))


def _consolidation(film: Field, body: Chest, claim: Claim, rng: np.random.Generator) -> Field:
    radius = 0.075 + 0.05 * _extent(claim, rng)
    for side in _sides(claim, rng):
        across = body.lateral(side) - 0.21 - sway(rng, 0.02)
        away = np.hypot(across / 1.1, body.y - _height(claim, rng)) / radius
        ragged = away + 0.45 * lattice(rng, 11, body.x, body.y)
        dense = soft(1 - ragged, 0.28) * body.lung(side)
        patchy = 0.60 + 0.08 * lattice(rng, 26, body.x, body.y)
        film = _blend(film, np.maximum(film, patchy), 0.92 * dense)
    return film


def _nodule(film: Field, body: Chest, claim: Claim, rng: np.random.Generator) -> Field:
    radius = 0.028 + 0.024 * _extent(claim, rng)
    for side in _sides(claim, rng):
        across = body.lateral(side) - 0.22 - sway(rng, 0.045)
        away = np.hypot(across, body.y - _height(claim, rng))
        film = np.maximum(film, film + (0.70 - film) * soft(radius - away, 0.011))
    return film


def _edema(film: Field, body: Chest, claim: Claim, rng: np.random.Generator) -> Field:
    depth = 0.27 + 0.2 * _extent(claim, rng)
    for side in ("right", "left"):
        wings = body.hilum(side, reach=0.15) * body.lung(side)
        cloud = 1 + 0.3 * lattice(rng, 15, body.x, body.y)
        film = film + depth * wings * cloud * (0.85 - film)
    return film + 0.03 * depth


def _curve(body: Chest, points: tuple[tuple[float, float], ...], width: float) -> Field:
    """Return a smooth line from the first point to the third, bent towards the second."""
    (x0, y0), (x1, y1), (x2, y2) = points
    near = np.full_like(body.x, np.inf)
    for t in np.linspace(0, 1, round(0.6 / body.pixel)):
        px = (1 - t) ** 2 * x0 + 2 * t * (1 - t) * x1 + t * t * x2
        py = (1 - t) ** 2 * y0 + 2 * t * (1 - t) * y1 + t * t * y2
        near = np.minimum(near, (body.x - px) ** 2 + (body.y - py) ** 2)
    return soft(width - np.sqrt(near), 0.004)


def _pacemaker(film: Field, body: Chest, side: str, rng: np.random.Generator) -> Field:
    sign = 1 if side == "left" else -1
    cx, cy = 0.5 + sign * (0.3 + sway(rng, 0.02)), 0.19 + sway(rng, 0.015)
    box = ((body.x - cx) / 0.058) ** 4 + ((body.y - cy) / 0.045) ** 4
    lead = _curve(body, ((cx, cy), (0.5 + sign * 0.02, 0.12), (0.55, 0.7)), 0.006)
    case = soft((1 - box) * 0.02, 0.006)
    return np.maximum(film, np.maximum(0.97 * case, 0.92 * lead))


def _catheter(film: Field, body: Chest, side: str, rng: np.random.Generator) -> Field:
    sign = 1 if side == "left" else -1
    neck = (0.5 + sign * (0.42 + sway(rng, 0.02)), 0.17 + sway(rng, 0.02))
    line = _curve(body, (neck, (0.5 + sign * 0.08, 0.06), (0.46, 0.5 + sway(rng, 0.03))), 0.009)
    return np.maximum(film, 0.95 * line)


def _device(film: Field, body: Chest, claim: Claim, rng: np.random.Generator) -> Field:
    if claim.side is None:
        tip = (0.5 + sway(rng, 0.01), 0.36 + sway(rng, 0.02))
        return np.maximum(
            film, 1.05 * _curve(body, ((0.5, 0.0), (0.5, 0.2), tip), 0.005 + body.pixel)
        )
    kind = rng.choice(2)
    for side in _sides(claim, rng):
        film = (_pacemaker, _catheter)[int(kind)](film, body, side, rng)
    return film


SIGNS: Mapping[str, Sign] = MappingProxyType(
    {
        # In painting order: haze and air first, then what covers them, and metal on top.
        "edema": _edema,
        "consolidation": _consolidation,
        "nodule": _nodule,
        "pneumothorax": _pneumothorax,
        "cardiomegaly": _cardiomegaly,
        "effusion": _effusion,
        "device": _device,
    }
)
"""Function that paints each finding, by the key of the finding, in painting order."""
