"""How each class of the synthetic scenes is drawn, before haze, noise and confusion are laid over it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np

from gfnet_dynn.data.synthetic.canvas import Canvas, Colour, Point, jitter, mix, soft_noise

_REACH = 1.05  # half of what is drawn: a turned, shrunk and shifted scene must still fill the picture's corners
_GRASS, _SOIL, _ASPHALT, _WATER = (98, 122, 72), (150, 126, 96), (112, 112, 116), (58, 86, 108)


def _steps(pitch: float) -> list[float]:
    count = int(_REACH / pitch)
    return [pitch * step for step in range(-count, count + 1)]


def _scatter(canvas: Canvas, rng: np.random.Generator, count: int) -> list[Point]:
    return [(x, y) for x, y in rng.uniform(-_REACH, _REACH, (count, 2)).tolist() if canvas.shows(x, y)]


def _trees(canvas: Canvas, rng: np.random.Generator, count: int) -> None:
    for x, y in _scatter(canvas, rng, count):
        canvas.disc(x, y, rng.uniform(0.012, 0.03), jitter(rng, (62, 88, 52), 9))


def _dense_housing(canvas: Canvas, rng: np.random.Generator, hard: float) -> None:
    ground = jitter(rng, (112, 114, 92))
    canvas.ground(ground, 9)
    pitch, shadow = rng.uniform(0.13, 0.18) * (1 - 0.3 * hard), 0.018
    roofs = [mix(jitter(rng, roof), ground, 0.6 * hard) for roof in ((172, 92, 72), (148, 124, 112), (196, 178, 164))]
    for number, y in enumerate(_steps(1.15 * pitch)):
        if number % 2:
            middle = y + 0.575 * pitch
            canvas.line([(-_REACH, middle), (_REACH, middle)], 0.22 * pitch, jitter(rng, (142, 140, 138), 5))
        for x in _steps(pitch):
            if not canvas.shows(x, y) or rng.random() < 0.06 + 0.2 * hard:
                continue
            width, depth = pitch * rng.uniform(0.55, 0.8), pitch * rng.uniform(0.6, 0.8)
            roof = jitter(rng, roofs[rng.integers(3)], 8)
            canvas.box(
                x + shadow * canvas.sun[0], y + shadow * canvas.sun[1], width, depth, mix(ground, (20, 22, 30), 0.6)
            )
            canvas.box(x, y, width, depth, roof)
            canvas.box(x, y + depth / 4, width, depth / 2, mix(roof, (30, 28, 30), 0.25))
    _trees(canvas, rng, 60)


def _desert(canvas: Canvas, rng: np.random.Generator, hard: float) -> None:
    along = np.linspace(0, 1, canvas.ground_side, dtype=np.float32)
    angle, waves = rng.uniform(0, 2 * math.pi), rng.uniform(5, 11)
    across = np.cos(angle) * along[:, None] + np.sin(angle) * along[None, :]
    phase = 2 * math.pi * waves * across + 1.6 * soft_noise(rng, canvas.ground_side, (4,))
    # The crest is sharp on its lee side, as a dune's is: a sine alone would look like crop rows.
    dunes = (np.sin(phase) + 0.4 * np.sin(2 * phase + 0.9)).astype(np.float32)
    canvas.ground(jitter(rng, mix((205, 174, 128), _SOIL, 0.5 * hard)), 12, 20 * (1 - 0.6 * hard) * dunes)
    for x, y in _scatter(canvas, rng, int(70 * hard)):
        canvas.disc(x, y, rng.uniform(0.008, 0.018), jitter(rng, (120, 112, 76), 8))


def _fields(canvas: Canvas, rng: np.random.Generator, hard: float) -> None:
    base = jitter(rng, (118, 122, 76))
    canvas.ground(base, 8)
    crops = [
        mix(crop, base, 0.45 * hard) for crop in ((86, 128, 62), (186, 172, 100), _SOIL, (128, 146, 78), (66, 98, 54))
    ]
    edges = [-_REACH]
    while edges[-1] < _REACH:
        edges.append(edges[-1] + rng.uniform(0.2, 0.38) * (1 - 0.4 * hard))
    for top, bottom in itertools.pairwise(edges):
        left = -_REACH - rng.uniform(0, 0.3)
        while left < _REACH:
            right = left + rng.uniform(0.22, 0.55) * (1 - 0.4 * hard)
            _parcel(canvas, rng, (left, top, right, bottom), jitter(rng, crops[rng.integers(len(crops))], 9))
            left = right


def _parcel(canvas: Canvas, rng: np.random.Generator, place: tuple[float, float, float, float], crop: Colour) -> None:
    left, top, right, bottom = place
    middle, width, height = (left + right) / 2, right - left - 0.014, bottom - top - 0.014
    canvas.box(middle, (top + bottom) / 2, width, height, crop)
    furrow = mix(crop, (40, 36, 28), 0.22)
    for step in range(1, int(height / 0.045) if rng.random() < 0.6 else 0):
        canvas.box(middle, top + 0.045 * step, width, 0.014, furrow)


def _forest(canvas: Canvas, rng: np.random.Generator, hard: float) -> None:
    leaf = jitter(rng, mix((66, 96, 56), _GRASS, 0.6 * hard))
    canvas.ground(mix(leaf, (16, 26, 20), 0.55), 14)
    clearings = _scatter(canvas, rng, int(5 * hard))
    for x, y in clearings:
        canvas.disc(x, y, rng.uniform(0.06, 0.16), jitter(rng, _GRASS))
    for x, y in _scatter(canvas, rng, int(420 * (1 - 0.5 * hard))):
        crown, radius = jitter(rng, leaf, 11), rng.uniform(0.02, 0.05)
        canvas.disc(x, y, radius, mix(crown, (14, 22, 18), 0.4))
        canvas.disc(x - 0.3 * radius * canvas.sun[0], y - 0.3 * radius * canvas.sun[1], 0.7 * radius, crown)


def _harbour(canvas: Canvas, rng: np.random.Generator, hard: float) -> None:
    water, quay = jitter(rng, _WATER), jitter(rng, (158, 152, 144))
    canvas.ground(water, 9)
    shore = rng.uniform(0.18, 0.38)
    canvas.box(0, shore + 0.5, 2 * _REACH, 1, quay)
    canvas.box(0, shore + 0.62, 2 * _REACH, 0.9, jitter(rng, _ASPHALT))
    length = rng.uniform(0.22, 0.3)
    for x in _steps(length * (1 + 0.4 * hard)):
        canvas.box(x, shore - 0.35, 0.028, 0.7, quay)
        for y in np.arange(shore - 0.64, shore - 0.03, rng.uniform(0.06, 0.08)).tolist():
            for sign in (-1, 1):
                if canvas.shows(x, y) and rng.random() > 0.12 + 0.55 * hard:
                    _boat(
                        canvas,
                        (x + 0.02 * sign, y),
                        sign * length * rng.uniform(0.25, 0.38),
                        jitter(rng, (222, 222, 224)),
                    )


def _boat(canvas: Canvas, berth: Point, length: float, hull: Colour) -> None:
    (x, y), half = berth, 0.017
    bow, shoulder = x + length, x + 0.6 * length
    canvas.polygon([(x, y - half), (shoulder, y - half), (bow, y), (shoulder, y + half), (x, y + half)], hull)
    canvas.box(x + 0.4 * length, y, 0.35 * abs(length), half, mix(hull, (60, 64, 80), 0.6))


def _parking_lot(canvas: Canvas, rng: np.random.Generator, hard: float) -> None:
    asphalt = jitter(rng, _ASPHALT)
    canvas.ground(asphalt, 6)
    stall, depth = rng.uniform(0.05, 0.065), rng.uniform(0.1, 0.12)
    paints = ((226, 226, 228), (44, 46, 54), (168, 44, 40), (58, 82, 150), (176, 178, 182))
    for aisle in _steps(3.3 * depth):
        for y in (aisle - depth / 2, aisle + depth / 2):
            for x in (x for x in _steps(stall) if canvas.shows(x, y)):
                if hard < 0.8:
                    canvas.box(x + stall / 2, y, 0.009, depth, mix((206, 206, 200), asphalt, 0.3 + 0.6 * hard))
                if rng.random() > 0.2 + 0.4 * hard:
                    car = mix(jitter(rng, paints[rng.integers(len(paints))]), asphalt, 0.35 * hard)
                    canvas.box(x, y, 0.68 * stall, 0.8 * depth, car)
                    canvas.box(x, y + 0.06 * depth, 0.54 * stall, 0.34 * depth, mix(car, (24, 26, 34), 0.55))


def _river(canvas: Canvas, rng: np.random.Generator, hard: float) -> None:
    land = jitter(rng, _GRASS if rng.random() < 0.6 else _SOIL)
    canvas.ground(land, 16)
    _trees(canvas, rng, 90)
    bend, phase, waves = rng.uniform(0.1, 0.17) * (1 - 0.85 * hard), rng.uniform(0, 6), rng.uniform(1.0, 1.7)
    along = np.linspace(-_REACH, _REACH, 40)
    course = bend * np.sin(2 * math.pi * waves * along + phase) + 0.4 * bend * np.sin(9 * along + 2 * phase)
    points = list(zip(along.tolist(), course.tolist(), strict=True))
    width = rng.uniform(0.13, 0.2) * (1 - 0.35 * hard)
    canvas.line(points, width + 0.035, mix(land, (196, 180, 150), 0.35))
    canvas.line(points, width, jitter(rng, mix(_WATER, (122, 116, 104), hard * rng.uniform(0.2, 1))))


def _roundabout(canvas: Canvas, rng: np.random.Generator, hard: float) -> None:
    land, road = jitter(rng, _GRASS if rng.random() < 0.6 else _SOIL), jitter(rng, (134, 132, 132))
    canvas.ground(land, 13)
    _trees(canvas, rng, 50)
    outer = rng.uniform(0.19, 0.26) * (1 - 0.4 * hard)
    arms, lane = int(rng.integers(3, 6)), outer * rng.uniform(0.42, 0.52)
    for arm in range(arms):
        angle = 2 * math.pi * (arm + rng.uniform(-0.12, 0.12)) / arms
        end = (1.5 * math.cos(angle), 1.5 * math.sin(angle))
        canvas.line([(0, 0), end], lane * rng.uniform(0.75, 1), road)
        canvas.line([(0, 0), end], 0.01, mix(road, (228, 228, 220), 0.6 * (1 - hard)))
    canvas.disc(0, 0, outer, road)
    island = jitter(rng, mix((88, 128, 66), road, 0.45 * hard))
    canvas.disc(0, 0, outer - lane + 0.014, mix(road, (228, 226, 220), 0.7 * (1 - hard)))
    canvas.disc(0, 0, outer - lane, island)
    canvas.disc(0, 0, 0.3 * (outer - lane), mix(island, (52, 72, 46), 0.6))


def _runway(canvas: Canvas, rng: np.random.Generator, hard: float) -> None:
    land = jitter(rng, _GRASS if rng.random() < 0.6 else _SOIL)
    canvas.ground(land, 11)
    tar, width = jitter(rng, _ASPHALT), rng.uniform(0.15, 0.22) * (1 - 0.3 * hard)
    beside = width * rng.uniform(1.5, 1.9)
    canvas.box(0, beside, 2.4, 0.35 * width, tar)
    for x in rng.uniform(-0.6, 0.6, 3).tolist():
        canvas.line([(x, 0), (x + 0.12, beside)], 0.3 * width, tar)
    canvas.box(0, 0, 2.4, width, tar)
    paint = mix(tar, (236, 236, 232), 1 - 0.8 * hard)
    for x in _steps(0.12):
        canvas.box(x, 0, 0.065, 0.018, paint)
    end = rng.uniform(-0.3, 0.3)
    for y in np.linspace(-0.38 * width, 0.38 * width, 6).tolist():
        canvas.box(end, y, 0.1, 0.07 * width, paint)


def _storage_tanks(canvas: Canvas, rng: np.random.Generator, hard: float) -> None:
    land = jitter(rng, mix((156, 148, 134), _GRASS, rng.choice([0.0, 0.8])))
    canvas.ground(land, 9)
    pitch = rng.uniform(0.27, 0.38) * (1 - 0.25 * hard)
    radius, shell = pitch * rng.uniform(0.34, 0.43), jitter(rng, mix((222, 220, 214), land, 0.5 * hard))
    canvas.box(pitch / 2, 0, 2.4, 0.05, jitter(rng, _ASPHALT))
    for y in _steps(pitch):
        for x in _steps(pitch):
            # The middle tank always stands: without a single tank there would be nothing to recognise.
            if not canvas.shows(x, y) or (rng.random() < 0.22 + 0.45 * hard and (x, y) != (0, 0)):
                continue
            size, roof = radius * rng.uniform(0.8, 1), jitter(rng, shell, 7)
            canvas.disc(
                x + 0.4 * size * canvas.sun[0], y + 0.4 * size * canvas.sun[1], size, mix(land, (24, 26, 34), 0.55)
            )
            canvas.disc(x, y, size, mix(roof, (70, 72, 80), 0.35))
            canvas.disc(x, y, 0.86 * size, roof)
            canvas.disc(
                x - 0.3 * size * canvas.sun[0], y - 0.3 * size * canvas.sun[1], 0.2 * size, mix(roof, (90, 90, 96), 0.4)
            )


DRAWINGS: Mapping[str, Callable[[Canvas, np.random.Generator, float], None]] = {
    "dense_housing": _dense_housing,
    "desert": _desert,
    "fields": _fields,
    "forest": _forest,
    "harbour": _harbour,
    "parking_lot": _parking_lot,
    "river": _river,
    "roundabout": _roundabout,
    "runway": _runway,
    "storage_tanks": _storage_tanks,
}
"""Class name → what draws it on a canvas, given how faint and sparse (0 to 1) its parts shall be; sorted by name."""
