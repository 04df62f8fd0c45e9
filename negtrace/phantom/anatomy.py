"""A healthy chest as brightness over the unit square, seen from the front.

Distances are in units of the film's width. A `Field` has a value for every point of the film.
"""

__all__ = ["Chest", "Field", "chest", "lattice", "soft", "sway"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]


def soft(distance: Field, width: float = 0.012) -> Field:
    """Return 1 where `distance` is positive and 0 where it is negative, with an edge of `width`."""
    inside: Field = 0.5 * (1 + np.tanh(distance / width))
    return inside


def _meet(a: Field, b: Field, round_off: float = 0.03) -> Field:
    """Return the smaller of two distances, with a rounded corner where they cross."""
    gap = np.clip(1 - np.abs(a - b) / (2 * round_off), 0, 1)
    return np.minimum(a, b) - round_off / 2 * gap**2


def sway(rng: np.random.Generator, scale: float) -> float:
    """Return one deviation between -scale and scale."""
    return float(rng.uniform(-scale, scale))


def lattice(rng: np.random.Generator, cells: int, x: Field, y: Field) -> Field:
    """Return smooth noise in [-1, 1]; it is the same picture at every resolution.

    Args:
        rng: draws the noise.
        cells: number of random values along each side; more make a finer texture.
        x: horizontal position of each point.
        y: vertical position of each point.
    """
    knots = rng.uniform(-1, 1, (cells + 2, cells + 2))
    u, v = np.clip(x, 0, 1) * cells, np.clip(y, 0, 1) * cells
    column, row = u.astype(int), v.astype(int)
    s, t = u - column, v - row
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    top = knots[row, column] * (1 - s) + knots[row, column + 1] * s
    bottom = knots[row + 1, column] * (1 - s) + knots[row + 1, column + 1] * s
    noise: Field = top * (1 - t) + bottom * t
    return noise


@dataclass(frozen=True, kw_only=True)
class Chest:
    """One patient's anatomy on the film; x runs to the right and y down, both from 0 to 1.

    As on real radiographs the patient faces the reader, so the patient's left is at larger x.
    """

    x: Field
    y: Field
    pixel: float
    """Width of one pixel."""
    heart_width: float
    heart_x: float
    dome: tuple[float, float]
    """Height of the right and of the left half of the diaphragm, as y."""
    tilt: float
    """Shift of the midline to the side from the top of the film to its bottom."""

    def lateral(self, side: str) -> Field:
        """Return the distance from the midline towards `side`, negative on the other side."""
        sign = 1.0 if side == "left" else -1.0
        return sign * (self.x - 0.5 - self.tilt * (self.y - 0.5))

    def diaphragm(self, side: str) -> Field:
        """Return the height of each point above the diaphragm on one side."""
        height = self.dome[0] if side == "right" else self.dome[1]
        arch: Field = height + 1.9 * (self.lateral(side) - 0.17) ** 2 - self.y
        return arch

    def wall(self, side: str) -> Field:
        """Return the distance of each point from the chest wall and apex, positive inside."""
        lateral = self.lateral(side)
        reach = 0.385 - 0.71 * np.clip(0.42 - self.y, 0, None) ** 1.35
        apex = self.y - 0.1 - 2.2 * (lateral - 0.17) ** 2
        return _meet(reach - lateral, apex)

    def cavity(self, side: str) -> Field:
        """Return the distance of each point from the pleural cavity's edge, positive inside."""
        return np.minimum(self.wall(side), self.lateral(side) - 0.045)

    def lung(self, side: str) -> Field:
        """Return the share of air at each point of the lung on one side, from 0 to 1."""
        air: Field = soft(np.minimum(self.cavity(side), self.diaphragm(side)))
        return air * (1 - self.heart())

    def heart(self, widen: float = 0.0) -> Field:
        """Return the share of heart at each point; `widen` is added to the width on both sides."""
        across = self.lateral("left") - self.heart_x - 0.45 * widen
        width = self.heart_width + widen
        down = (self.y - 0.63 - 0.25 * across) / (0.165 + 0.35 * widen)
        return soft((1 - (across / width) ** 2 - down**2) * 0.09)

    def hilum(self, side: str, *, reach: float) -> Field:
        """Return a haze around the root of one lung: 1 at its centre, fading over `reach`."""
        away = ((self.lateral(side) - 0.13) / reach) ** 2 + ((self.y - 0.47) / (1.2 * reach)) ** 2
        haze: Field = np.exp(-away)
        return haze

    def film(self, rng: np.random.Generator) -> Field:
        """Return the radiograph of a healthy patient, without the detector's noise."""
        body = self._body(rng)
        for side in ("right", "left"):
            air = self.lung(side)
            body = body * (1 - air) + air * (0.17 + self._markings(side, rng))
        body = body + self._bones()
        knob = np.hypot(self.lateral("left") - 0.04, (self.y - 0.365) / 1.3)
        body = np.maximum(body, 0.62 * soft(0.046 - knob, 0.02))
        return np.maximum(body, 0.78 * self.heart())

    def _body(self, rng: np.random.Generator) -> Field:
        outline = 0.5 - 0.55 * np.clip(0.16 - self.y, 0, None) - np.abs(self.x - 0.5)
        neck = soft(
            np.maximum(self.y - 0.07 - 0.1 * np.abs(self.x - 0.5), 0.13 - abs(self.x - 0.5))
        )
        tissue = 0.56 + 0.04 * lattice(rng, 5, self.x, self.y)
        midline = 0.2 * soft(0.058 - np.abs(self.lateral("left")), 0.03)
        belly = sum(
            0.15 * soft(-self.diaphragm(side)) * soft(self.lateral(side), 0.03)
            for side in ("right", "left")
        )
        return np.asarray((tissue + midline + belly) * neck * soft(outline, 0.03))

    def _markings(self, side: str, rng: np.random.Generator) -> Field:
        texture = np.abs(lattice(rng, 22, self.x, self.y)) * 0.10 + 0.03 * lattice(
            rng, 7, self.x, self.y
        )
        root = self.hilum(side, reach=0.09)
        vessels: Field = 0.16 * root + texture * (0.25 + self.hilum(side, reach=0.2))
        return vessels

    def _bones(self) -> Field:
        bones = np.zeros_like(self.x)
        for side in ("right", "left"):
            lateral = self.lateral(side)
            inside = soft(self.cavity(side) + 0.05, 0.03)
            for level in np.arange(0.02, 0.75, 0.082):
                arc = level + 0.35 * lateral + 0.9 * np.clip(lateral - 0.2, 0, None) ** 2
                bones += 0.075 * inside * soft(0.014 - np.abs(self.y - arc), 0.008)
            collar = 0.115 + 0.03 * np.sin(lateral * 14)
            span = soft(np.minimum(lateral - 0.05, 0.4 - lateral))
            bones += 0.13 * span * soft(0.013 - np.abs(self.y - collar), 0.007)
        spine = soft(0.035 - np.abs(self.lateral("left")), 0.015)
        ladder: Field = bones + 0.035 * spine * np.cos(self.y * 2 * np.pi / 0.06)
        return ladder


def chest(rng: np.random.Generator, size: int) -> Chest:
    """Return the anatomy of one patient on a film of `size` x `size` pixels."""
    ticks = (np.arange(size) + 0.5) / size
    zoom, dx, dy = 1 + sway(rng, 0.05), sway(rng, 0.025), sway(rng, 0.025)
    x, y = np.meshgrid((ticks - 0.5) * zoom + 0.5 + dx, (ticks - 0.5) * zoom + 0.5 + dy)
    right = 0.745 + sway(rng, 0.025)
    return Chest(
        x=x,
        y=y,
        pixel=1 / size,
        heart_width=0.125 + sway(rng, 0.01),
        heart_x=0.045 + sway(rng, 0.01),
        dome=(right, right + 0.025 + sway(rng, 0.01)),
        tilt=sway(rng, 0.05),
    )
