"""Reads logs written by `gfnet-dynn classify --format json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gfnet_dynn.bundle.manifest import OWN, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import CalibrationError

_SHOWN = 40  # characters of a log's text in a message


class Entry(NamedTuple):
    """The prediction for one image.

    Attributes:
        exit_index: 0 to G.
        confidence: largest probability there.
        class_index: of the predicted class, 0 to K − 1.
        policy: name of the exit policy.
        policy_digest: of that policy at that time.
        precision: of the network, such as `fp32`.
    """

    exit_index: int
    confidence: float
    class_index: int
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
    exits = {each.name: index for index, each in enumerate(manifest.exits)}
    classes = {name: index for index, name in enumerate(manifest.classes)}
    for log in logs:
        for where, line in _lines(log):
            entry = _parse(line, where, exits, classes, manifest.precisions)
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
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"line {number} of {log}", line


def _parse(
    line: str, where: str, exits: Mapping[str, int], classes: Mapping[str, int], precisions: Mapping[str, object]
) -> Entry:
    try:
        value = json.loads(line)
        made_by = (value["policy"], value["policy_digest"], value["precision"])
        entry = Entry(exits[value["exit"]], float(value["confidence"]), classes[value["label"]], *made_by)
        if not all(isinstance(each, str) for each in made_by) or entry.precision not in precisions:
            raise ValueError(f"policy {entry.policy!r:.{_SHOWN}}, precision {entry.precision!r:.{_SHOWN}}")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CalibrationError(
            f"{where} is not what `gfnet-dynn classify --format json` writes for this bundle: "
            f"{type(error).__name__} {error}"
        ) from error
    return entry


def _instead(found: str, manifest: Manifest, policy: Policy) -> str:
    """What to give instead of a log by another policy."""
    log = f"a log of {policy.name!r}"
    if any(each.name == found and each.references for each in manifest.policies):
        return f"--policy {found}, or {log}"
    return f"{log} ({OWN!r} is the policy with --threshold)" if found == OWN else log
