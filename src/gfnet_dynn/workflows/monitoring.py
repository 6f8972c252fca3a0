"""Test whether new images still have the distribution of the calibration images. No torch, no network connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gfnet_dynn.bundle.archive import Bundle, read_bundle
from gfnet_dynn.bundle.manifest import OWN, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.calibration.request import MonitorRequest
from gfnet_dynn.errors import CalibrationError, DataError
from gfnet_dynn.images.fingerprint import fingerprint_files
from gfnet_dynn.images.fit import decode_options
from gfnet_dynn.images.options import DecodeOptions
from gfnet_dynn.progress import Log, ignore_log
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.runtime.precision import AUTO
from gfnet_dynn.runtime.prediction import Prediction
from gfnet_dynn.runtime.predictor import load
from gfnet_dynn.uncertainty.drift import FEWEST_IMAGES, Comparison, Observations, Reference, ShiftTest, compare
from gfnet_dynn.units import percent, points
from gfnet_dynn.wording import counted
from gfnet_dynn.workflows.classification import find_readable

_SHOWN = 40  # characters of a log's text in a message
_LOGS = (".json", ".jsonl", ".ndjson", ".log")
_CLASSES_SHOWN = 8


@dataclass(frozen=True)
class MonitorResult(Tabular):
    """The comparison of new images with the calibration images: by which policy, and what could not be read."""

    comparison: Comparison
    policy: str
    precision: str
    exits: tuple[str, ...]
    classes: tuple[str, ...]
    unreadable: tuple[DataError, ...]

    def tables(self) -> Sequence[Table]:
        """The tests, the share of each exit, and the classes whose share differs most."""
        found = self.comparison
        tests = tuple((each.of, f"{each.p:.2g}", percent(each.distance, 1)) for each in found.tests)
        caption = (
            f"n = {found.images} new and {found.reference_images} calibration images; a shift is detected where p is "
            f"at most {found.level_each:.2g}, a third of the significance level."
        )
        exits, _, classes = found.tests
        most = np.argsort(-np.abs(np.subtract(classes.shares, classes.reference_shares)), kind="stable")
        return [
            Table("Tests for a shift", ("of", "p", "total variation"), tests, caption),
            _shares("exit", self.exits, exits, range(len(self.exits))),
            _shares("class", self.classes, classes, most[:_CLASSES_SHOWN].tolist()),
        ]

    def notes(self) -> Sequence[str]:
        """The verdict, with what to do."""
        if self.comparison.shift_detected:
            return ["shift detected: the guarantees of the policy may no longer hold; calibrate on recent images"]
        return ["no shift detected"]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        shift = self.comparison.shift_detected
        return {**asdict(self.comparison), "shift_detected": shift, "policy": self.policy, "precision": self.precision}


def _shares(of: str, names: Sequence[str], found: ShiftTest, rows: Sequence[int]) -> Table:
    then, now = found.reference_shares, found.shares
    shown = tuple(
        (names[row], percent(then[row], 1), percent(now[row], 1), points(now[row] - then[row])) for row in rows
    )
    more = "" if len(shown) == len(names) else f"The {len(shown)} of {len(names)} classes that differ most."
    return Table(f"Shares by {of}", (of, "calibration", "new", "difference"), shown, more)


def monitor(
    request: MonitorRequest, *, on_unreadable: Callable[[DataError], None] = lambda error: None, log: Log = ignore_log
) -> MonitorResult:
    """Compare exits, confidences and predicted classes of new images with those at calibration.

    `on_unreadable` is called with the error of each file or folder that cannot be read, which is then skipped.

    Raises:
        BundleError: the bundle is missing or damaged, or has no such policy.
        CalibrationError: the policy was not calibrated, a log cannot be used, or there are too few images.
        DataError: no image can be read.
        OptionError: the significance level is out of range.
    """
    unreadable: list[DataError] = []

    def omit(error: DataError) -> None:
        unreadable.append(error)
        on_unreadable(error)

    bundle = read_bundle(request.bundle)
    manifest = bundle.manifest
    policy = _calibrated(manifest, request.policy)
    logs = [each for each in request.images if each.suffix.lower() in _LOGS]
    places = [each for each in request.images if each not in logs]
    made: list[_Entry | Prediction] = [*_read_logs(logs, manifest, policy)]
    precision = _common_precision(request.precision, made)
    if places:
        files = _new_images(bundle, request.decode, find_readable(places, omit, log), log)
        made += _classify(request, policy, precision, files, omit)
    if not made:
        raise CalibrationError(f"the logs are empty: give at least {FEWEST_IMAGES} images")
    precision = made[0].precision
    exits = tuple(each.name for each in manifest.exits)
    observed = Observations(
        np.array([exits.index(each.exit) for each in made], np.intp),
        np.array([each.confidence for each in made], np.float64),
        np.array([manifest.classes.index(each.label) for each in made], np.intp),
    )
    found = compare(_reference(policy, precision), observed, request.significance_level, request.seed)
    return MonitorResult(found, policy.name, precision, exits, manifest.classes, tuple(unreadable))


def _calibrated(manifest: Manifest, name: str | None) -> Policy:
    policy = manifest.policy(name)
    if policy.references:
        return policy
    calibrated = [each.name for each in manifest.policies if each.references]
    known = f"take --policy {calibrated[0]}" if calibrated else "`gfnet-dynn calibrate` makes one that is"
    raise CalibrationError(f"the policy {policy.name} is not calibrated: {known}")


def _common_precision(asked: str, logged: Sequence[_Entry | Prediction]) -> str:
    """That of the logs, if there are any, for images beside them too."""
    if not logged or asked in (AUTO, logged[0].precision):
        return logged[0].precision if logged else asked
    raise CalibrationError(
        f"the logs were made in {logged[0].precision}, not in --precision {asked}: omit the option, or give logs made "
        f"in {asked}"
    )


def _reference(policy: Policy, precision: str) -> Reference:
    if precision in policy.references:
        return policy.references[precision]
    raise CalibrationError(
        f"the policy {policy.name} was calibrated in {', '.join(policy.references)} and not in {precision}: classify "
        f"with --precision {next(iter(policy.references))}, or calibrate with --all-precisions"
    )


def _new_images(bundle: Bundle, decode: DecodeOptions, files: Sequence[Path], log: Log) -> list[Path]:
    """Without copies of training images, on which the network is more confident."""
    # Classification reports what cannot be decoded.
    fingerprints, _ = fingerprint_files(files, decode=decode_options(bundle.manifest.input, decode))
    known = bundle.find_learned(list(fingerprints), b"".join(fingerprints.values()))
    if known and len(known) == len(files):
        raise DataError(f"the network was trained or selected on all {len(files)} images: give images from its use")
    if known:
        count = counted(len(known), "image")
        log(f"note: skipped {count} that the network was trained or selected on, such as {known[0]}")
    return [file for file in files if file not in set(known)]


def _classify(
    request: MonitorRequest, policy: Policy, precision: str, files: Sequence[Path], omit: Callable[[DataError], None]
) -> list[Prediction]:
    classifier = load(
        request.bundle, engine=request.engine, precision=precision, threads=request.threads, decode=request.decode
    )
    _reference(policy, classifier.net.precision)  # refuses before the images are classified
    made = list(classifier.classify_each(files, policy=policy.name, on_unreadable=omit))
    if not made:
        raise DataError("none of the images can be read")
    return made


class _Entry(msgspec.Struct):
    """What a log keeps of a `Prediction`, under the same names."""

    label: str
    confidence: float
    exit: str
    policy: str
    policy_digest: str
    precision: str


def _read_logs(logs: Sequence[Path], manifest: Manifest, policy: Policy) -> list[_Entry]:
    """The predictions in logs of one bundle, all by one policy and in one precision.

    Raises CalibrationError: a log cannot be read, is not of this bundle or policy, or the logs mix precisions.
    """
    entries: list[_Entry] = []
    for where, line in (each for log in logs for each in _lines(log)):
        entry = _parse(line, where, manifest)
        if entry is None:
            continue
        if entry.policy != policy.name:
            raise CalibrationError(
                f"{where} was made by the policy {entry.policy[:_SHOWN]!r} and not by {policy.name!r}: give "
                f"{_instead(entry.policy, manifest, policy)}"
            )
        if entry.policy_digest != policy.digest:
            raise CalibrationError(
                f"{where} was made by a policy {policy.name!r} with another score, other thresholds or "
                "temperatures than it has now, as before a new calibration: give logs made since"
            )
        if entries and entry.precision != entries[0].precision:
            raise CalibrationError(
                f"{where} was made in {entry.precision}, the lines before it in {entries[0].precision}: each "
                "precision has its own reference, so give logs of one at a time"
            )
        entries.append(entry)
    return entries


def _lines(log: Path) -> Iterator[tuple[str, str]]:
    """The place and text of each line that is not empty."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise CalibrationError(f"cannot read the log {log}: {error}") from error
    return ((f"line {number} of {log}", line) for number, line in enumerate(lines, start=1) if line.strip())


def _parse(line: str, where: str, manifest: Manifest) -> _Entry | None:
    """None where the line is that of an image that could not be read."""
    try:
        value = json.loads(line)
        if isinstance(value, dict) and "error" in value and "label" not in value:
            return None
        entry = msgspec.convert(value, _Entry)
        exits = [each.name for each in manifest.exits]
        known = ((entry.exit, exits), (entry.label, manifest.classes), (entry.precision, manifest.precisions))
        for found, names in known:
            if found not in names:
                raise ValueError(f"the bundle has no {found!r:.{_SHOWN}}")
    except (ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise CalibrationError(
            f"{where} is not what `gfnet-dynn classify --format json` writes for this bundle: {error}"
        ) from error
    return entry


def _instead(found: str, manifest: Manifest, policy: Policy) -> str:
    """What to give instead of a log by another policy."""
    log = f"a log of {policy.name!r}"
    if any(each.name == found and each.references for each in manifest.policies):
        return f"--policy {found}, or {log}"
    return f"{log} ({OWN!r} is the policy with --threshold)" if found == OWN else log
