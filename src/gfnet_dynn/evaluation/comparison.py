"""Several evaluated runs side by side: what differs between them, and mean and deviation over their seeds. No torch."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfnet_dynn.errors import DataError
from gfnet_dynn.runlayout import RunLayout
from gfnet_dynn.spec.backbone import BACKBONES
from gfnet_dynn.uncertainty.intervals import Proportion

_KEPT_PARTS = 3  # of a path: run, stage or data set, file
_NOT_CHOICES = ("seed", "device", "precision", "checkpoint_minutes")  # of precisions, the one in force is compared


@dataclass(frozen=True, order=True)
class ReportedImages:
    """The images that a run was evaluated on, with a digest of their names: the same ones are comparable."""

    data_set: str
    part: str
    images: int
    fingerprint: str


@dataclass(frozen=True)
class EvaluatedRun:
    """A finished run: all choices but the seed, the evaluation as stored, and measured seconds in training steps."""

    folder: Path
    choices: Mapping[str, str]
    seed: int
    data: ReportedImages
    evaluation: Mapping[str, Any]
    train_seconds: float


@dataclass(frozen=True)
class SeedMean:
    """Mean of a number over runs that differ in their seed alone; sample standard deviation, None for a single run."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> SeedMean:
        """Of one value or more."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        """`97.6` or `97.6 ± 0.3`."""
        spread = "" if self.deviation is None else f" ± {scale * self.deviation:.{digits}f}"
        return f"{scale * self.mean:.{digits}f}{spread}"


@dataclass(frozen=True)
class PolicyMeans:
    """One exit policy, over the seeds; shares from 0 to 1.

    The interval is that of the mean accuracy for the number of images, 95%; that of the seeds is not included.
    """

    accuracy: SeedMean
    interval: Proportion
    macro_f1: SeedMean
    mean_macs: SeedMean
    macs_share: SeedMean


@dataclass(frozen=True)
class Group:
    """Runs, one at least, that differ in their seed alone."""

    name: str  # the network, and what sets it apart from the other groups
    data: ReportedImages
    runs: tuple[EvaluatedRun, ...]
    parameters: int  # weights of all exits together
    policies: Mapping[str, PolicyMeans]  # by name; those that every run has
    exit_accuracy: tuple[SeedMean, ...]  # top-1 of each exit over all images, [G + 1]
    exit_macs: tuple[int, ...]  # multiply-accumulates up to each exit, [G + 1]
    train_seconds: SeedMean


def read_run(folder: Path) -> EvaluatedRun:
    """Read record, metrics and evaluation of a run; raises DataError if they are damaged or of another version."""
    layout = RunLayout(folder)
    try:
        record = json.loads(layout.record.read_text(encoding="utf-8"))
        evaluation = json.loads(layout.evaluation.read_text(encoding="utf-8"))
        data = evaluation["data"]
        files = json.loads(layout.split.read_text(encoding="utf-8"))["parts"][data["part"]]
        fingerprint = hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()
        return EvaluatedRun(
            folder=folder,
            choices=_choices(record, evaluation),
            seed=record["settings"]["seed"],
            data=ReportedImages(data["data_set"], data["part"], data["images"], fingerprint),
            evaluation=evaluation,
            train_seconds=_train_seconds(layout.metrics),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"cannot read the run {folder}: {error!r}; it may be of another version") from error


def _choices(record: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, str]:
    distillation, checkpoint = record["distillation"], record["start"].get("checkpoint")
    choices: dict[str, Any] = {
        "model": evaluation["network"]["model"],
        "px": evaluation["network"]["input_px"],
        "exits": ",".join(map(str, record["network"]["exit_blocks"])) or "none",
        "exit pooling": record["network"].get("exit_pooling", "mean"),
        "padding": record["network"]["input"]["pad"],
        **{key: value for key, value in record["settings"].items() if key not in _NOT_CHOICES},
        "precision": record["precision"],
        **{f"split {key.removeprefix('split_')}": value for key, value in record["data"]["split"].items()},
        **{key: value for key, value in record["start"].items() if key in ("new_head", "pretrained")},
        "start": checkpoint and "/".join(Path(checkpoint).parts[-_KEPT_PARTS:]),  # no folders of a user
        **{f"{name} version": value for name, value in record["versions"].items()},
        "teacher": None,
        "unlabelled images": None,
    }
    if distillation:
        choices |= {**distillation["settings"], "teacher": distillation["teacher_name"]}
        if unlabelled := distillation["unlabelled"]:
            choices["unlabelled images"] = f"{unlabelled['images']} ({unlabelled['fingerprint'][:8]})"
        if distillation["teacher_name"] not in BACKBONES:  # a named one is trained anew for each seed
            choices["teacher weights"] = distillation["teacher"]["weights"][:8]
        if start := distillation.get("teacher_start"):
            choices["teacher start"] = start[:8]
    return {key: "none" if value is None else str(value) for key, value in choices.items()}


def _train_seconds(metrics: Path) -> float:
    epochs = map(json.loads, metrics.read_text(encoding="utf-8").splitlines())
    seconds = {(each["stage"], each["epoch"]): float(each["seconds"]) for each in epochs}  # repeated ones count once
    return sum(seconds.values())


def compare(runs: Sequence[EvaluatedRun]) -> tuple[Group, ...]:
    """Group one run or more that differ in their seed alone, and name each group by what sets it apart.

    Raises DataError where two of a group have the same seed, so their deviation would mean nothing.
    """
    together: dict[tuple[Any, ...], list[EvaluatedRun]] = {}
    for run in runs:
        together.setdefault((run.data, tuple(sorted(run.choices.items()))), []).append(run)
    for members in together.values():
        _require_different_seeds(members)
    varying = _varying([members[0].choices for members in together.values()])
    return tuple(_group(tuple(members), varying) for members in together.values())


def _require_different_seeds(members: Sequence[EvaluatedRun]) -> None:
    by_seed: dict[int, Path] = {}
    for run in members:
        if run.seed in by_seed:
            raise DataError(
                f"{by_seed[run.seed]} and {run.folder} are the same run, or repeat it with the same seed {run.seed}: "
                "give one of them"
            )
        by_seed[run.seed] = run.folder


def _varying(choices: Sequence[Mapping[str, str]]) -> list[str]:
    """Choices with several values among the groups that make them."""
    keys = dict.fromkeys(key for each in choices for key in each if key not in ("model", "px"))
    return [key for key in keys if len({each[key] for each in choices if key in each}) > 1]


def _group(runs: tuple[EvaluatedRun, ...], varying: Sequence[str]) -> Group:
    first, found = runs[0], [run.evaluation for run in runs]
    apart = [f"{key.replace('_', ' ')} {first.choices[key]}" for key in varying if key in first.choices]
    exits = [each["network"]["exits"] for each in found]
    names = [name for name in found[0]["policies"] if all(name in each["policies"] for each in found)]
    return Group(
        name=", ".join((f"{first.choices['model']} {first.choices['px']} px", *apart)),
        data=first.data,
        runs=runs,
        parameters=found[0]["network"]["parameters"],
        policies={name: _means([each["policies"][name] for each in found], first.data.images) for name in names},
        exit_accuracy=tuple(SeedMean.of([exit_["accuracy"] for exit_ in each]) for each in zip(*exits, strict=True)),
        exit_macs=tuple(exit_["macs"] for exit_ in exits[0]),
        train_seconds=SeedMean.of([run.train_seconds for run in runs]),
    )


def _means(results: Sequence[Mapping[str, Any]], images: int) -> PolicyMeans:
    means = {
        key: SeedMean.of([each[key] for each in results]) for key in ("accuracy", "macro_f1", "mean_macs", "macs_share")
    }
    return PolicyMeans(**means, interval=Proportion.of(np.arange(images) < round(means["accuracy"].mean * images)))
