"""What each exit of a bundle costs: counted from shapes, or from a benchmark on the device."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.guarantees.budget import Costs

Quantity = Literal["macs", "latency", "energy"]

_SAME_SHARE = 1e-6
_DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, IndexError, AttributeError),
    *(ArithmeticError, RecursionError),  # no seconds, whole numbers that no float holds, brackets without end
)


def macs(manifest: Manifest) -> Costs:
    """Millions of multiply-accumulates of one image."""
    return Costs("MACs", "MMACs", tuple(way.macs / 1e6 for way in manifest.exits), None, "counted from shapes")


def from_benchmark(
    file: Path, manifest: Manifest, quantity: Quantity, precision: str | None = None, engine: str | None = None
) -> Costs:
    """Costs that `gfnet-dynn benchmark BUNDLE … --json FILE` measured.

    Latency is that of a frame, from the file to the label: decoding, resizing, and the network up to the exit. Energy
    is the mean power that a meter saw while images were classified, times that latency: an estimate for single exits.

    Args:
        file: the JSON.
        manifest: of the bundle; its exits must be those that were measured.
        quantity: `latency` in milliseconds or `energy` in millijoules.
        precision: whose figures; by default those of the fastest.
        engine: that will run the network; by default the fastest that was measured.

    Raises:
        CalibrationError: missing, no such file of ours, or of another network; or no meter was there.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        mine = [each for each in report["candidates"] if _is_of(each, manifest, precision, engine)]
        # Resizing was measured for the bundle that the benchmark is about, which stands first.
        if not mine or report["candidates"][0]["identity"]["input_px"] != manifest.input.size:
            asked = " ".join(filter(None, (engine, precision)))
            raise CalibrationError(
                f"{file} holds no figures of this network{f' in {asked}' if asked else ''}: make them by "
                f"`gfnet-dynn benchmark BUNDLE IMAGES --json FILE{f' --engine {engine}' if engine else ''}`"
            )
        fastest = min(mine, key=lambda each: each["exits"][-1]["latency"]["mean_ms"])
        means, worst = _frames(fastest, [report["preprocessing"][name] for name in ("decode", "fit")])
        identity = fastest["identity"]
        where = f"{identity['engine']}, {identity['precision']}, on {report['machine']['processor']}"
        if quantity == "latency":
            costs = Costs("latency", "ms", means, worst, f"measured from file to label; {where}")
        else:
            watts, meter = _power(report["energy"]["figures"], identity, file)
            energies = tuple(watts * each for each in means)
            source = f"estimated: {watts:.2f} W by {meter} times measured ms; {where}"
            costs = Costs("energy", "mJ", energies, None, source)
        costs.source.encode()  # the bundle will say it, and holds no halves of characters
        return costs
    except _DAMAGED as error:
        raise CalibrationError(f"cannot read the figures of `gfnet-dynn benchmark` in {file}: {error}") from error


def _is_of(candidate: Mapping[str, Any], manifest: Manifest, precision: str | None, engine: str | None) -> bool:
    shares = [each["macs_share"] for each in candidate["exits"]]
    identity = candidate["identity"]
    same = len(shares) == manifest.num_exits and all(
        math.isclose(found, own, abs_tol=_SAME_SHARE) for found, own in zip(shares, manifest.costs, strict=True)
    )
    same = same and identity["macs"] == manifest.exits[-1].macs and identity["input_px"] == manifest.input.size
    wanted = manifest.precisions if precision is None else (precision,)
    name = identity["engine"].split()[0]
    return same and identity["precision"] in wanted and name != "torch" and engine in (None, name)


def _frames(candidate: Mapping[str, Any], reading: list[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and 99th percentile of a frame that leaves at each exit.

    What a frame takes beside the network is the difference of what both took over the mix of exits. Sums of means are
    means; sums of three 99th percentiles are kept by at least ninety-seven frames in a hundred.
    """
    beside = float(candidate["end_to_end"]["mean_ms"] - candidate["mix"]["mean_ms"])
    read, read_worst = (float(sum(each[figure] for each in reading)) for figure in ("mean_ms", "p99_ms"))
    beside = max(beside, read)  # noise must not make reading free
    exits = [way["latency"] for way in candidate["exits"]]
    means = tuple(beside + float(each["mean_ms"]) for each in exits)
    return means, tuple(beside - read + read_worst + float(each["p99_ms"]) for each in exits)


def _power(figures: list[Any], identity: Mapping[str, Any], file: Path) -> tuple[float, str]:
    same = ("name", "engine", "precision")
    for each in figures:
        if each["kind"] == "measured" and all(each["identity"][key] == identity[key] for key in same):
            return float(each["image_mj"]) * float(each["images"]) / float(each["seconds"]) / 1e3, str(each["meter"])
    raise CalibrationError(f"{file} holds no measured energy: measure where a meter is, with --energy-seconds")
