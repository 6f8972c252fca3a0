"""The canvas of the synthetic scenes: shapes in scene units, colours and soft noise.

A scene lies in a square of side 1 around (0, 0) that is turned, scaled and shifted at random on the picture, so that no
class can be told by where its parts lie. All lengths here are shares of that side, unless they are said to be pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]


def soft_noise(rng: np.random.Generator, side: int, cells: Sequence[int]) -> NDArray[np.float32]:
    """Smooth noise [side, side] around 0, the mean of one layer for each entry of `cells` (blotches along a side)."""
    total = np.zeros((side, side), np.float32)
    for count in cells:
        grid = Image.fromarray(rng.standard_normal((count, count), dtype=np.float32))
        total += np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC))
    return total / np.float32(len(cells))


def jitter(rng: np.random.Generator, colour: Colour, spread: float = 12.0) -> Colour:
    """`colour` (0-255) with its brightness and, less, its hue moved by normal noise of `spread`."""
    shared, *own = rng.normal(0.0, spread, 4).tolist()
    red, green, blue = (min(255, max(0, round(c + shared + 0.5 * o))) for c, o in zip(colour, own, strict=True))
    return red, green, blue


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """The colour that is `share` of `other` and the rest of `one`."""
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(one, other, strict=True))
    return red, green, blue


class Canvas:
    """A picture [side, side, 3] drawn in scene units through one random turn, scale and shift."""

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        turn, zoom, right, down, sun = rng.random(5).tolist()
        angle, scale = 2 * math.pi * turn, side * (0.85 + 0.7 * zoom)
        self._cos, self._sin = scale * math.cos(angle), scale * math.sin(angle)
        self._x, self._y = side * (0.4 + 0.2 * right), side * (0.4 + 0.2 * down)
        self._scale, self._rng, self._side = scale, rng, side
        self.ground_side = side // 2  # the ground is soft: drawn at half the resolution it takes a quarter of the time
        self.sun = (math.cos(2 * math.pi * sun), math.sin(2 * math.pi * sun))
        self.image = Image.new("RGB", (side, side))
        self._draw = ImageDraw.Draw(self.image)

    def _place(self, x: float, y: float) -> Point:
        return self._x + self._cos * x - self._sin * y, self._y + self._sin * x + self._cos * y

    def shows(self, x: float, y: float) -> bool:
        """Whether something small at (x, y) could be seen: most of a scene lies outside, and skipping it saves time."""
        column, row = self._place(x, y)
        margin = 0.15 * self._scale
        return all(-margin < place < self._side + margin for place in (column, row))

    def ground(self, colour: Colour, roughness: float, pattern: NDArray[np.float32] | None = None) -> None:
        """Fill with `colour`, brightness varied by `roughness` × noise and `pattern` [ground_side, ground_side]."""
        height = roughness * soft_noise(self._rng, self.ground_side, (5, 14, self.ground_side // 2))
        height = height if pattern is None else height + pattern
        filled = np.asarray(colour, np.float32) * (1 + height[..., None] / 128)
        soft = Image.fromarray(filled.clip(0, 255).astype(np.uint8))
        self.image.paste(soft.resize(self.image.size, Image.Resampling.BILINEAR))

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill the polygon with corners `points`."""
        self._draw.polygon([self._place(x, y) for x, y in points], fill=colour)

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill the rectangle of `width` × `height` around (x, y), turned with the scene."""
        right, down = width / 2, height / 2
        self.polygon(
            [(x - right, y - down), (x + right, y - down), (x + right, y + down), (x - right, y + down)], colour
        )

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw the polyline through `points`."""
        placed = [self._place(x, y) for x, y in points]
        self._draw.line(placed, fill=colour, width=max(1, round(width * self._scale)), joint="curve")

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill the disc around (x, y)."""
        (column, row), reach = self._place(x, y), radius * self._scale
        self._draw.ellipse((column - reach, row - reach, column + reach, row + reach), fill=colour)
