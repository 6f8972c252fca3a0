"""The sequential test for a shift: how often it gives a false alarm, and how many blurred frames it needs.

    python experiments/live_drift.py aerial UCM/val [STREAMS] [--write live_drift]

No change: the share of streams with an alarm at any image, at the levels of 1% and 5%. The streams are (a) random
halves of the images, one half the reference and the other the stream; (b) 5,000 images drawn from a distribution that
is known, the shares of all images' exits and confidences, against references of several sizes drawn from it; (c) the
simulated population of guarantee.py, with thresholds found on the images of the reference, as `gfnet-dynn calibrate`
finds them. Five times STREAMS are run of each: the share's interval at 1% is narrow only then.

Blur: half of the images, drawn at random for each stream, are the reference; half of the others come sharp, and then
all of the others blurred (Gaussian, by the radius in pixels of the original), in a new order four times. Radius 0 is
the control, in which the frames only repeat. Long streams are simulated as in (b). There two simple jumpers (Vovk et
al., arXiv 2102.10439), one on each rank at half the level, are the baseline. All at the level of 1%. A median over all
streams, those without an alarm last, is null where most have none. Sharp and blurred images alike are decoded at full
size and then resized: where a JPEG is decoded at a smaller size, as from a file, exits differ a little. Prints JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import chain, islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from figures import arguments, write_figures
from guarantee import SIZE, UNITS, population
from PIL import Image, ImageFilter
from targets import request_of

from gfnet_dynn.calibration.outputs import Outputs
from gfnet_dynn.calibration.search import find_policy
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import ExitArrays, first_exit, max_probability
from gfnet_dynn.guarantees.control import RiskTarget
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.files import find_images
from gfnet_dynn.runtime import load
from gfnet_dynn.runtime.predictor import Classifier
from gfnet_dynn.uncertainty.drift import BINS, Observations, Reference, reference_of
from gfnet_dynn.uncertainty.eprocess import LiveShiftTest, RankPool
from gfnet_dynn.uncertainty.intervals import Proportion

LEVEL, LEVELS = 0.01, (0.01, 0.05)
POLICIES, RADII = ("1-point", "fast"), (0.0, 1.0, 1.5, 2.0, 3.0, 4.0)
REFERENCES, LONG, PASSES = (100, 336, 1500), 5000, 4
QUIET, SIMULATED_RADII, AFTER = (0, 1000, 5000), (2.0, 3.0), 2000  # images before and at most after the change
CALIBRATED = RiskTarget("harmful-exits", 0.05, 0.95, "exact")
BATCH, JUMP = 64, 0.01

Ints = npt.NDArray[np.intp]
Frames = Iterable[tuple[int, float]]


class Outcomes(NamedTuple):
    """The exit that each image takes and its confidence there, [N]."""

    exits: Ints
    confidences: npt.NDArray[np.float64]
    num_exits: int

    def frames(self, rows: Ints) -> Frames:
        """One after the other."""
        return zip(self.exits[rows].tolist(), self.confidences[rows].tolist(), strict=True)

    def reference(self, rows: Ints) -> Reference:
        """Of some images; classes do not matter."""
        observed = Observations(self.exits[rows], self.confidences[rows], np.zeros(len(rows), np.intp))
        return reference_of(observed, self.num_exits, 1)

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Of all images by exit and bin, [(G + 1) · BINS]."""
        histogram = np.array(self.reference(np.arange(len(self.exits))).histogram)
        return np.asarray(histogram.ravel() / histogram.sum())


class Watching(Protocol):
    """A sequential test."""

    def observe(self, exit_index: int, confidence: float) -> None:
        """Take one image into account."""

    @property
    def alarm_image(self) -> int | None:
        """Number of images at the alarm."""


class SimpleJumpers:
    """The baseline: on each rank a martingale of linear bets at −1, 0 and 1, whose capital jumps between them."""

    def __init__(self, reference: Reference, level: float, seed: int) -> None:
        self._pool, self._needed = RankPool(reference, seed), 2 / level
        self._capitals, self._images = np.full((2, 3), 1 / 3), 0
        self.alarm_image: int | None = None

    def observe(self, exit_index: int, confidence: float) -> None:
        """Take one image into account."""
        centred = np.array(self._pool.add(exit_index, confidence)) - 0.5
        mixed = (1 - JUMP) * self._capitals + JUMP * self._capitals.mean(axis=1, keepdims=True)
        self._capitals = mixed * (1 + centred[:, None] * np.array([-1, 0, 1]))
        self._images += 1
        if self.alarm_image is None and self._capitals.sum(axis=1).max() >= self._needed:
            self.alarm_image = self._images


def blurred_outcomes(classifier: Classifier, pictures: list[npt.NDArray[np.uint8]], radius: float) -> list[Outcomes]:
    """By each policy."""
    blur = ImageFilter.GaussianBlur(radius)
    blurred = [np.asarray(Image.fromarray(each).filter(blur)) for each in pictures] if radius else pictures
    names = [each.name for each in classifier.manifest.exits]
    found = []
    for policy in POLICIES:
        predictions = classifier.classify(blurred, policy=policy, batch=BATCH)
        exits = np.array([names.index(each.exit) for each in predictions], np.intp)
        found.append(Outcomes(exits, np.array([each.confidence for each in predictions]), len(names)))
    return found


def drawn(shares: npt.NDArray[np.float64], count: int, generator: np.random.Generator) -> Frames:
    """Images from a known distribution, each in the middle of its bin."""
    cells = generator.choice(len(shares), count, p=shares)
    return zip((cells // BINS).tolist(), ((cells % BINS + 0.5) / BINS).tolist(), strict=True)


def drawn_reference(shares: npt.NDArray[np.float64], count: int, generator: np.random.Generator) -> Reference:
    """Of so many images from the same."""
    histogram = generator.multinomial(count, shares).reshape(-1, BINS)
    return Reference(tuple(tuple(row) for row in histogram.tolist()), (count,))


def after(reference: Reference, live: Frames, seed: int) -> float:
    """The largest evidence within a stream."""
    test = LiveShiftTest(reference, LEVEL, seed)
    for frame in live:
        test.observe(*frame)
    return test.largest_evidence


def halves(sharp: Outcomes, streams: int) -> Iterator[float]:
    """Of (a)."""
    for seed in range(streams):
        rows = np.random.default_rng([1, seed]).permutation(len(sharp.exits))
        old, new = np.array_split(rows, 2)
        yield after(sharp.reference(old), sharp.frames(new), seed)


def from_shares(shares: npt.NDArray[np.float64], old: int, streams: int) -> Iterator[float]:
    """Of (b)."""
    for seed in range(streams):
        generator = np.random.default_rng([2, old, seed])
        yield after(drawn_reference(shares, old, generator), drawn(shares, LONG, generator), seed)


def calibrated(everyone: ExitArrays, old: int, new: int, streams: int) -> Iterator[float]:
    """Of (c); a draw that supports no guarantee is left out."""
    for seed in range(streams):
        generator = np.random.default_rng([3, old, seed])
        outputs = Outputs({"fp32": everyone.take(generator.integers(0, SIZE, old))}, "", "", "")
        try:
            policy = find_policy(outputs, request_of(CALIBRATED, per_exit=False), UNITS).policy
        except CalibrationError:
            continue
        live = everyone.take(generator.integers(0, SIZE, new))
        exits = first_exit(live.gates, policy.thresholds)
        confidences = max_probability(live.logits[np.arange(new), exits]).astype(np.float64)
        frames = Outcomes(exits, confidences, live.logits.shape[1]).frames(np.arange(new))
        yield after(policy.references["fp32"], frames, seed)


def false_alarms(streams: str, old: int, new: int, largest: Iterator[float]) -> dict[str, Any]:
    """One row."""
    evidence = np.array(list(largest))
    shares = {f"alarms_at_{level:.0%}": asdict(Proportion.of(evidence >= 1 / level)) for level in LEVELS}
    return {"streams": streams, "reference_images": old, "live_images": new, **shares}


def alarm_of(test: Watching, live: Frames) -> int | None:
    """Number of images at the alarm, None without one."""
    for frame in live:
        test.observe(*frame)
        if test.alarm_image is not None:
            return test.alarm_image
    return None


def delays(alarms: list[int | None], before: int) -> dict[str, Any]:
    """From the change on; alarms before it are false ones, and no detection."""
    frames = [np.inf if each is None or each <= before else each - before for each in alarms]
    median, detected = float(np.median(frames)), [int(each) for each in frames if each < np.inf]
    return {
        "frames_before": before,
        "alarms_before": sum(each is not None and each <= before for each in alarms),
        "detected": asdict(Proportion.of(np.isfinite(frames))),
        "frames_until_alarm_median": median if np.isfinite(median) else None,
        "frames_until_alarm_range": [min(detected), max(detected)] if detected else None,
    }


def blurred_from_the_middle(sharp: Outcomes, blurred: Outcomes, streams: int) -> dict[str, Any]:
    """Of UCM's frames."""
    alarms: list[int | None] = []
    for seed in range(streams):
        generator = np.random.default_rng([4, seed])
        old, new = np.array_split(generator.permutation(len(sharp.exits)), 2)
        first = new[: len(new) // 2]
        passes = [blurred.frames(generator.permutation(new)) for _ in range(PASSES)]
        live = chain(sharp.frames(first), *passes)
        alarms.append(alarm_of(LiveShiftTest(sharp.reference(old), LEVEL, seed), live))
    return {"reference_images": len(old), "frames_blurred_at_most": PASSES * len(new), **delays(alarms, len(first))}


def blurred_late(
    sharp: Outcomes, blurred: Outcomes, quiet: int, make: Callable[[Reference, float, int], Watching], streams: int
) -> dict[str, Any]:
    """Of frames that are drawn from the shares."""
    alarms: list[int | None] = []
    for seed in range(streams):
        generator = np.random.default_rng([5, quiet, seed])
        reference = drawn_reference(sharp.shares, len(sharp.exits), generator)
        live = chain(drawn(sharp.shares, quiet, generator), drawn(blurred.shares, AFTER, generator))
        alarms.append(alarm_of(make(reference, LEVEL, seed), islice(live, quiet + AFTER)))
    return {"reference_images": len(sharp.exits), "frames_blurred_at_most": AFTER, **delays(alarms, quiet)}


def main() -> None:
    """All rows."""
    given = arguments("bundle", "images", streams=200)
    classifier = load(str(given.bundle), threads=1, precision="fp32")
    pictures = [read_image(path) for path in find_images(given.images).images]
    by_radius = {radius: blurred_outcomes(classifier, pictures, radius) for radius in RADII}
    everyone, sharp, few, many = population(), by_radius[0.0], given.streams, 5 * given.streams
    half = len(pictures) // 2
    unchanged = [
        *(
            false_alarms(f"halves, {name}", half, half, halves(each, many))
            for name, each in zip(POLICIES, sharp, strict=True)
        ),
        *(false_alarms("drawn", old, LONG, from_shares(sharp[0].shares, old, many)) for old in REFERENCES),
        *(false_alarms("calibrated", old, 1000, calibrated(everyone, old, 1000, many)) for old in REFERENCES[1:]),
    ]
    frames = [
        {"policy": name, "radius_px": radius, **blurred_from_the_middle(sharp[index], by_radius[radius][index], few)}
        for index, name in enumerate(POLICIES)
        for radius in RADII
    ]
    tests: dict[str, Callable[[Reference, float, int], Watching]] = {"live": LiveShiftTest, "jumpers": SimpleJumpers}
    late = [
        {"test": name, "radius_px": radius, **blurred_late(sharp[0], by_radius[radius][0], quiet, make, few)}
        for name, make in tests.items()
        for radius in SIMULATED_RADII
        for quiet in QUIET
    ]
    described = {
        "command": f"python experiments/live_drift.py {given.bundle} UCM/val {few} --write live_drift",
        "what": "alarms of the sequential test for a shift; level 1% where none is named; intervals of 95%",
        "images": len(pictures),
        "every_share_of_false_alarms_within_its_level": all(
            row[f"alarms_at_{level:.0%}"]["value"] <= level for row in unchanged for level in LEVELS
        ),
        "every_interval_reaches_down_to_its_level": all(
            row[f"alarms_at_{level:.0%}"]["low"] <= level for row in unchanged for level in LEVELS
        ),
        "unchanged": unchanged,
        "ucm_blurred_from_the_middle": frames,
        "simulated_blurred_late": late,
    }
    write_figures(described, given.write)


if __name__ == "__main__":
    main()
