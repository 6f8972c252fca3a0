"""The cost of each exit of a bundle: counted from shapes, or from a benchmark on the device."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.calibration.request import CalibrationRequest, Quantity
from gfnet_dynn.errors import CalibrationError, OptionError
from gfnet_dynn.guarantees.budget import Costs, require_in_reach
from gfnet_dynn.options import flag
from gfnet_dynn.runtime.precision import AUTO

_SAME_SHARE = 1e-6
_MILLION = 1e6
_DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, IndexError, AttributeError),
    *(ArithmeticError, RecursionError),  # no seconds, whole numbers that no float holds, brackets without end
)


def costs_of(request: CalibrationRequest, manifest: Manifest) -> Costs:
    """The costs that a request limits, in the unit of its budget.

    Raises OptionError: a budget that the full network keeps; CalibrationError: a budget that no exit keeps, or a
    benchmark that cannot be used.
    """
    precision = None if request.precision == AUTO else request.precision
    if request.benchmark is None or request.quantity == "macs":
        costs = macs(manifest)
    else:
        costs = from_benchmark(request.benchmark, manifest, request.quantity, precision, request.engine)
    if request.budget_option:
        _require_needed(request.budget_option, request.budget, costs.means[-1], costs)
    if costs.worst:
        _require_needed("p99_ms", request.p99_ms, costs.worst[-1], costs)
    require_in_reach(costs, request.budget, request.p99_ms)
    return costs


def _require_needed(name: str, limit: float | None, full: float, costs: Costs) -> None:
    if limit is None or limit < full:
        return
    meant = limit / _MILLION
    hint = f"; did you mean {flag(name)} {meant:g}?" if costs.means[0] <= meant < full else ""
    raise OptionError(
        f"{flag(name)} {limit:g}: the full network needs {full:.4g} {costs.unit} ({costs.source}), so no image has to "
        f"exit early{hint}"
    )


def macs(manifest: Manifest) -> Costs:
    """Millions of multiply-accumulates of one image."""
    return Costs("MACs", "M MACs", tuple(each.macs / _MILLION for each in manifest.exits), None, "counted from shapes")


def from_benchmark(
    file: Path, manifest: Manifest, quantity: Quantity, precision: str | None = None, engine: str | None = None
) -> Costs:
    """Costs measured by `gfnet-dynn benchmark BUNDLE … --json FILE`, of one precision.

    Latency, in milliseconds, is end-to-end: decoding, resizing, and the network up to the exit. Energy, in millijoules,
    is the mean power that a meter read while images were classified, times that latency: an estimate for single exits.
    The exits of the manifest must be those that were measured. By default the fastest precision that `auto` may take
    counts, and the fastest engine that was measured.

    Raises CalibrationError: missing, no such file, of another network, or without a meter's readings.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        mine = [each for each in report["candidates"] if _is_of(each, manifest, precision, engine)]
        # Resizing was measured for the bundle that the benchmark is about, which comes first.
        if not mine or report["candidates"][0]["identity"]["input_px"] != manifest.input.size:
            asked = " ".join(filter(None, (engine, precision)))
            raise CalibrationError(
                f"{file} has no figures of this network{f' in {asked}' if asked else ''}: make them by "
                f"`gfnet-dynn benchmark BUNDLE IMAGES --json FILE{f' --engine {engine}' if engine else ''}`"
            )
        fastest = min(mine, key=lambda each: each["exits"][-1]["latency"]["mean_ms"])
        means, worst = _end_to_end(fastest, [report["preprocessing"][name] for name in ("decode", "fit")])
        identity = fastest["identity"]
        where = f"{identity['engine']}, {identity['precision']}, on {report['machine']['processor']}"
        if quantity == "latency":
            costs = Costs("latency", "ms", means, worst, f"measured end to end; {where}", identity["precision"])
        else:
            watts, meter = _power(report["energy"]["figures"], identity, file)
            energies = tuple(watts * each for each in means)
            source = f"estimated: {watts:.2f} W by {meter} times measured ms; {where}"
            costs = Costs("energy", "mJ", energies, None, source, identity["precision"])
        costs.source.encode()  # the bundle stores it, and holds no halves of characters
        return costs
    except _DAMAGED as error:
        raise CalibrationError(f"cannot read the figures of `gfnet-dynn benchmark` in {file}: {error}") from error


def _is_of(candidate: Mapping[str, Any], manifest: Manifest, precision: str | None, engine: str | None) -> bool:
    shares, identity = [each["macs_share"] for each in candidate["exits"]], candidate["identity"]
    same = len(shares) == manifest.num_exits and all(
        math.isclose(found, own, abs_tol=_SAME_SHARE) for found, own in zip(shares, manifest.costs, strict=True)
    )
    same = same and (identity["macs"], identity["input_px"]) == (manifest.exits[-1].macs, manifest.input.size)
    known = set(manifest.auto_precisions) if precision is None else {precision}
    name = identity["engine"].split()[0]
    return same and identity["precision"] in known and name != "torch" and engine in (None, name)


def _end_to_end(candidate: Mapping[str, Any], reading: list[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and 99th percentile of the end-to-end latency of each exit.

    The time outside the network is the difference of both over the mix of exits. Sums of means are means; at least 97%
    of images keep the sum of three 99th percentiles.
    """
    outside = float(candidate["end_to_end"]["mean_ms"] - candidate["mix"]["mean_ms"])
    read, read_worst = (float(sum(each[figure] for each in reading)) for figure in ("mean_ms", "p99_ms"))
    outside = max(outside, read)  # noise must not make reading free
    exits = [each["latency"] for each in candidate["exits"]]
    means = tuple(outside + float(each["mean_ms"]) for each in exits)
    return means, tuple(outside - read + read_worst + float(each["p99_ms"]) for each in exits)


def _power(figures: list[Any], identity: Mapping[str, Any], file: Path) -> tuple[float, str]:
    same = ("name", "engine", "precision")
    for each in figures:
        if each["kind"] == "measured" and all(each["identity"][key] == identity[key] for key in same):
            return float(each["image_mj"]) * float(each["images"]) / float(each["seconds"]) / 1e3, str(each["meter"])
    raise CalibrationError(f"{file} has no measured energy: measure where a meter is, with --energy-seconds")
