"""What `gfnet-dynn monitor` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from rich.console import Console

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import CalibrationError, DataError
from gfnet_dynn.images.decode import DEFAULT, DecodeOptions
from gfnet_dynn.runtime.precision import AUTO
from gfnet_dynn.runtime.predictor import load
from gfnet_dynn.system.storage import json_line
from gfnet_dynn.uncertainty.drift import FEWEST_IMAGES, Reference, compare
from gfnet_dynn.workflows.image_files import find_readable
from gfnet_dynn.workflows.prediction_log import Answer, read_logs


class Unread:
    """Names files that cannot be read, and counts them."""

    def __init__(self, err: TextIO) -> None:
        self._err, self.count = err, 0

    def __call__(self, error: DataError) -> None:
        """Name one."""
        self.count += 1
        self._err.write(f"error: {error}\n")


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
    decode: DecodeOptions = DEFAULT


def run_monitor(wanted: Wanted, console: Console, err: TextIO) -> int:
    """Compare, and say what was found.

    Returns:
        The exit status: 1 where images do not come as they did; else 2 where some could not be read; else 0.
    """
    manifest = read_bundle(wanted.bundle).manifest
    policy = _calibrated(manifest, wanted.policy)
    logs = [each for each in wanted.seen if each.suffix.lower() in _LOGS]
    pictures = [each for each in wanted.seen if each not in logs]
    answers, unread = read_logs(logs, manifest, policy), Unread(err)
    precision = _common_precision(wanted.precision, answers)
    if pictures:
        answers += _classify(wanted, policy, precision, pictures, unread)
    if not answers:
        raise CalibrationError(f"the logs are empty, so there is nothing to compare: give at least {FEWEST_IMAGES}")
    reference = _reference(policy, answers[0].precision)
    exits = np.array([each.exit_index for each in answers], np.intp)
    confidences = np.array([each.confidence for each in answers], np.float64)
    found = compare(reference, exits, confidences, wanted.level, wanted.seed)
    more = {"rejected": found.rejected, "policy": policy.name}
    said = json_line({**asdict(found), **more}) if wanted.as_json else str(found)
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    return 1 if found.rejected else 2 if unread.count else 0


def _calibrated(manifest: Manifest, name: str | None) -> Policy:
    policy = manifest.policy(name)
    if policy.references:
        return policy
    calibrated = [each.name for each in manifest.policies if each.references]
    known = f"--policy {calibrated[0]}" if calibrated else "`gfnet-dynn calibrate` makes one"
    raise CalibrationError(f"the policy {policy.name} was not calibrated, so there is nothing to compare: {known}")


def _common_precision(asked: str, logged: Sequence[Answer]) -> str:
    """That of the logs, where there are any, for images beside them too."""
    if not logged or asked in (AUTO, logged[0].precision):
        return logged[0].precision if logged else asked
    raise CalibrationError(
        f"the logs were made in {logged[0].precision} and --precision says {asked}: leave it out, or give logs made in "
        f"{asked}"
    )


def _reference(policy: Policy, precision: str) -> Reference:
    if precision in policy.references:
        return policy.references[precision]
    raise CalibrationError(
        f"the policy {policy.name} was calibrated in {', '.join(policy.references)} and not in {precision}: classify "
        f"with --precision {next(iter(policy.references))}"
    )


def _classify(wanted: Wanted, policy: Policy, precision: str, pictures: Sequence[Path], unread: Unread) -> list[Answer]:
    files = find_readable(pictures, unread)
    classifier = load(
        wanted.bundle, engine=wanted.engine, precision=precision, threads=wanted.threads, decode=wanted.decode
    )
    _reference(policy, classifier.net.precision)  # to refuse before the images are classified, not after
    places = {way.name: index for index, way in enumerate(classifier.manifest.exits)}
    made = [
        Answer(places[each.exit], each.confidence, each.policy, each.policy_digest, each.precision)
        for each in classifier.classify_each(files, policy=policy.name, on_unreadable=unread)
    ]
    if not made:
        raise DataError("none of the images can be read, so there is nothing to compare")
    return made
