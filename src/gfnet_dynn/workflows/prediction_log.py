"""Reads logs that `gfnet-dynn classify --format json` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gfnet_dynn.bundle.manifest import OWN, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import CalibrationError

_SHOWN = 40  # characters of what a log says


class Answer(NamedTuple):
    """How one image left.

    Attributes:
        exit_index: 0 to G.
        confidence: largest probability there.
        policy: name of the one by which it left.
        policy_digest: of that policy as it was then.
        precision: of the network, such as `fp32`.
    """

    exit_index: int
    confidence: float
    policy: str
    policy_digest: str
    precision: str


def read_logs(logs: Sequence[Path], manifest: Manifest, policy: Policy) -> list[Answer]:
    """What logs say of their images, all by one policy and in one precision.

    Args:
        logs: files, a JSON object a line.
        manifest: of the bundle that wrote them.
        policy: by which the images must have left.

    Raises:
        CalibrationError: a log cannot be read, is not of this bundle or policy, or the logs mix precisions.
    """
    answers: list[Answer] = []
    places = {way.name: index for index, way in enumerate(manifest.exits)}
    for log in logs:
        for where, line in _lines(log):
            answer = _read_line(line, where, places, manifest.precisions)
            if answer.policy != policy.name:
                raise CalibrationError(
                    f"{where} was made by the policy {answer.policy[:_SHOWN]!r} and not by {policy.name!r}: give "
                    f"{_instead(answer.policy, manifest, policy)}"
                )
            if answer.policy_digest != policy.digest:
                raise CalibrationError(
                    f"{where} was made by a policy {policy.name!r} with another score, other thresholds or "
                    "temperatures than it has now, as before a new calibration: give logs made since"
                )
            if answers and answer.precision != answers[0].precision:
                raise CalibrationError(
                    f"{where} was made in {answer.precision}, the lines before it in {answers[0].precision}: each "
                    "precision has a reference of its own, so give logs of one at a time"
                )
            answers.append(answer)
    return answers


def _lines(log: Path) -> Iterator[tuple[str, str]]:
    """Where each line stands, and the line, but for empty ones."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise CalibrationError(f"cannot read the log {log}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"line {number} of {log}", line


def _read_line(line: str, where: str, places: Mapping[str, int], precisions: Mapping[str, object]) -> Answer:
    try:
        entry = json.loads(line)
        made_by = (entry["policy"], entry["policy_digest"], entry["precision"])
        answer = Answer(places[entry["exit"]], float(entry["confidence"]), *made_by)
        if not all(isinstance(each, str) for each in made_by) or answer.precision not in precisions:
            raise ValueError(f"policy {answer.policy!r:.{_SHOWN}}, precision {answer.precision!r:.{_SHOWN}}")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CalibrationError(
            f"{where} is not what `gfnet-dynn classify --format json` writes for this bundle: "
            f"{type(error).__name__} {error}"
        ) from error
    return answer


def _instead(found: str, manifest: Manifest, policy: Policy) -> str:
    """What to give in place of a log by another policy."""
    log = f"a log of {policy.name!r}"
    if any(each.name == found and each.references for each in manifest.policies):
        return f"--policy {found}, or {log}"
    return f"{log} ({OWN!r} is what --threshold makes of any policy)" if found == OWN else log
