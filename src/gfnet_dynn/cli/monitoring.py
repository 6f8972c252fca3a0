"""What `gfnet-dynn monitor` does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.cli.classifying import find_images
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.drift import Drift, compare
from gfnet_dynn.runtime.predictor import load

_LOGS = (".json", ".jsonl", ".ndjson", ".log")


@dataclass(frozen=True)
class Wanted:
    """What to compare, as the options of `gfnet-dynn monitor` say it."""

    bundle: Path
    seen: Sequence[Path]
    policy: str | None
    level: float
    as_json: bool
    engine: str
    precision: str
    threads: int | None
    seed: int


def run_monitor(wanted: Wanted, console: Console) -> Drift:
    """Compare, and say what was found."""
    manifest = read_bundle(wanted.bundle).manifest
    policy = manifest.policy(wanted.policy)
    if not policy.references:
        calibrated = [each.name for each in manifest.policies if each.references]
        known = f"--policy {calibrated[0]}" if calibrated else "`gfnet-dynn calibrate` makes one"
        raise CalibrationError(f"the policy {policy.name} was not calibrated, so there is nothing to compare: {known}")
    logs = [each for each in wanted.seen if each.suffix.lower() in _LOGS]
    answers = [answer for log in logs for answer in _read_log(log, manifest)]
    pictures = [each for each in wanted.seen if each not in logs]
    # A log does not say in which precision it was written: in that which `classify` takes here by the same options.
    classifier = load(wanted.bundle, engine=wanted.engine, precision=wanted.precision, threads=wanted.threads)
    if (reference := policy.references.get(classifier.net.precision)) is None:
        raise CalibrationError(
            f"the policy {policy.name} was calibrated in {', '.join(policy.references)} and not in "
            f"{classifier.net.precision}: give --precision"
        )
    if pictures:
        places = {way.name: index for index, way in enumerate(manifest.ways_out)}
        made = classifier.classify_each(find_images(pictures), policy=policy.name)
        answers.extend((places[each.exit], each.confidence) for each in made)
    exits = np.array([exit_index for exit_index, _ in answers], np.intp)
    confidences = np.array([confidence for _, confidence in answers], np.float64)
    found = compare(reference, exits, confidences, wanted.level, wanted.seed)
    said = (
        json.dumps({**asdict(found), "rejected": found.rejected, "policy": policy.name})
        if wanted.as_json
        else str(found)
    )
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    return found


def _read_log(log: Path, manifest: Manifest) -> Iterator[tuple[int, float]]:
    """Exit and confidence of each line."""
    places = {way.name: index for index, way in enumerate(manifest.ways_out)}
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise CalibrationError(f"cannot read the log {log}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            yield places[entry["exit"]], float(entry["confidence"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise CalibrationError(
                f"line {number} of {log} is not what `gfnet-dynn classify --format json` writes for this bundle: "
                f"{type(error).__name__} {error}"
            ) from error
