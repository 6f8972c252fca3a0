"""Reads logs written by `gfnet-dynn classify --format json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from gfnet_dynn.bundle.manifest import OWN, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import CalibrationError

_SHOWN = 40  # characters of a log's text in a message


class Entry(msgspec.Struct):
    """What a log keeps of a `Prediction`, under the same names."""

    label: str
    confidence: float
    exit: str
    policy: str
    policy_digest: str
    precision: str


def read_logs(logs: Sequence[Path], manifest: Manifest, policy: Policy) -> list[Entry]:
    """The predictions in logs, all by one policy and in one precision.

    Args:
        logs: files, a JSON object a line.
        manifest: of the bundle that wrote them.
        policy: by which the images must have been classified.

    Raises:
        CalibrationError: a log cannot be read, is not of this bundle or policy, or the logs mix precisions.
    """
    entries: list[Entry] = []
    for where, line in (each for log in logs for each in _lines(log)):
        entry = _parse(line, where, manifest)
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


def _parse(line: str, where: str, manifest: Manifest) -> Entry:
    try:
        entry = msgspec.convert(json.loads(line), Entry)
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
