"""Several evaluated runs side by side: what differs between them, and mean and deviation over their seeds."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfnet_dynn.errors import DataError
from gfnet_dynn.spec.backbone import BACKBONES

_TOLD_PARTS = 3  # of a path: run, stage or data set, file
_NOT_CHOICES = ("seed", "device", "precision", "checkpoint_minutes")  # precision stands as it was in force
_REPORT = Path("checkpoint_result") / "evaluation" / "evaluation.json"


@dataclass(frozen=True)
class EvaluatedRun:
    """A finished run and what its evaluation found.

    Attributes:
        folder: of the run.
        choices: every choice but the seed, by name.
        seed: of weights, order and augmentation.
        data: data set, part, number of images and a digest of their names: what results are comparable on.
        evaluation: as stored.
        train_seconds: spent on training steps, by stage; measured, without the epochs' selection.
    """

    folder: Path
    choices: Mapping[str, str]
    seed: int
    data: tuple[str, str, int, str]
    evaluation: Mapping[str, Any]
    train_seconds: Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """A number of several runs that differ in their seed alone.

    Attributes:
        mean: over the runs.
        deviation: sample standard deviation, None for a single run.
    """

    mean: float
    deviation: float | None

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        """`97.6` or `97.6 ± 0.3`."""
        spread = "" if self.deviation is None else f" ± {scale * self.deviation:.{digits}f}"
        return f"{scale * self.mean:.{digits}f}{spread}"


@dataclass(frozen=True)
class Way:
    """One way to use a network: all of it, or leaving early by one rule.

    Attributes:
        accuracy: top-1, 0 to 1.
        macro_f1: 0 to 1.
        mean_macs: multiply-accumulates of an image.
        cost: the same as a share of the full network's.
    """

    accuracy: Figure
    macro_f1: Figure
    mean_macs: Figure
    cost: Figure


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Attributes:
        name: the network, and what sets it apart from the other groups.
        data: as `EvaluatedRun` has it.
        runs: at least one.
        parameters: weights of all exits together.
        full: the whole network.
        gates: leaving by the learned gates; None where some run has no threshold that saves anything.
        plain: leaving by the largest probability; None likewise.
        exit_accuracy: top-1 of each exit over all images, [G + 1].
        exit_macs: multiply-accumulates up to each exit, [G + 1].
        train_seconds: in all.
    """

    name: str
    data: tuple[str, str, int, str]
    runs: tuple[EvaluatedRun, ...]
    parameters: int
    full: Way
    gates: Way | None
    plain: Way | None
    exit_accuracy: tuple[Figure, ...]
    exit_macs: tuple[int, ...]
    train_seconds: Figure


def read_run(folder: Path) -> EvaluatedRun:
    """Read a run's record, metrics and evaluation.

    Args:
        folder: of the run, with `run.json`.

    Raises:
        DataError: it is no run, or it was not evaluated.
    """
    record_file, report_file = folder / "run.json", folder / _REPORT
    if not record_file.is_file():
        raise DataError(f"{folder} is no run: it has no run.json; give the folder that a training wrote")
    if not report_file.is_file():
        raise DataError(f"{folder} has no evaluation: run `gfnet-dynn evaluate --checkpoint-path {folder}` first")
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        evaluation = json.loads(report_file.read_text(encoding="utf-8"))
        data = evaluation["data"]
        return EvaluatedRun(
            folder=folder,
            choices=_choices(record, evaluation),
            seed=record["settings"]["seed"],
            data=(data["data_set"], data["part"], data["images"], _digest(folder / "split.json", data["part"])),
            evaluation=evaluation,
            train_seconds=_train_seconds(folder / "metrics.jsonl"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"cannot read the run {folder}: {error}; it may be of another version") from error


def _choices(record: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, str]:
    distillation = record["distillation"]
    choices: dict[str, Any] = {
        "model": evaluation["network"]["model"],
        "px": evaluation["input_px"],
        "exits": ",".join(map(str, record["network"]["exit_blocks"])) or "none",
        "exit pooling": record["network"].get("exit_pooling", "mean"),
        "padding": record["network"]["input"]["pad"],
        **{key: value for key, value in record["settings"].items() if key not in _NOT_CHOICES},
        "precision": record["precision"],
        **{f"split {key.removeprefix('split_')}": value for key, value in record["data"]["split"].items()},
        **{key: value for key, value in record["start"].items() if key in ("new_head", "pretrained")},
        "start": _place(record["start"].get("checkpoint")),
        **{f"{name} version": value for name, value in record["versions"].items()},
        "teacher": None,
        "unlabelled images": None,
    }
    if distillation:
        choices |= {**distillation["settings"], "teacher": distillation["teacher_name"]}
        if unlabelled := distillation["unlabelled"]:
            choices["unlabelled images"] = f"{unlabelled['images']} ({unlabelled['fingerprint'][:8]})"
        if distillation["teacher_name"] not in BACKBONES:  # one that is named is trained anew for each seed
            choices["teacher weights"] = distillation["teacher"]["weights"][:8]
        if start := distillation.get("teacher_start"):
            choices["teacher start"] = start[:8]
    return {key: "none" if value is None else str(value) for key, value in choices.items()}


def _place(checkpoint: str | None) -> str | None:
    """The end of a path: enough to tell runs apart, and no one's folders."""
    return "/".join(Path(checkpoint).parts[-_TOLD_PARTS:]) if checkpoint else None


def _digest(split_file: Path, part: str) -> str:
    files = json.loads(split_file.read_text(encoding="utf-8"))["parts"][part]
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()


def _train_seconds(metrics: Path) -> dict[str, float]:
    seconds: dict[str, dict[int, float]] = {}
    for line in metrics.read_text(encoding="utf-8").splitlines():
        epoch = json.loads(line)
        seconds.setdefault(epoch["stage"], {})[epoch["epoch"]] = epoch["seconds"]  # an epoch told twice counts once
    return {stage: sum(each.values()) for stage, each in seconds.items()}


def compare(runs: Sequence[EvaluatedRun]) -> list[Group]:
    """Put runs that differ in their seed alone together, and name each group by what sets it apart.

    Args:
        runs: at least one; their order is kept.

    Raises:
        DataError: two runs of one kind have the same seed, so that their deviation would mean nothing.
    """
    together: dict[tuple[Any, ...], list[EvaluatedRun]] = {}
    for run in runs:
        together.setdefault((run.data, tuple(sorted(run.choices.items()))), []).append(run)
    members = list(together.values())
    for group in members:
        _require_other_seeds(group)
    varying = _varying([group[0].choices for group in members])
    return [_group(tuple(group), varying) for group in members]


def _require_other_seeds(group: Sequence[EvaluatedRun]) -> None:
    by_seed: dict[int, Path] = {}
    for run in group:
        if run.seed in by_seed:
            raise DataError(
                f"{by_seed[run.seed]} and {run.folder} are the same run, or repeat it with the same seed {run.seed}: "
                "give one of them"
            )
        by_seed[run.seed] = run.folder


def _varying(choices: Sequence[Mapping[str, str]]) -> list[str]:
    """Choices that set runs apart: several values among those that make the choice at all."""
    keys = dict.fromkeys(key for each in choices for key in each if key not in ("model", "px"))
    return [key for key in keys if len({each[key] for each in choices if key in each}) > 1]


def _group(runs: tuple[EvaluatedRun, ...], varying: Sequence[str]) -> Group:
    first = runs[0]
    apart = [f"{key.replace('_', ' ')} {first.choices[key]}" for key in varying if key in first.choices]
    networks = [run.evaluation["network"] for run in runs]
    accuracies = zip(*(network["exit_accuracy_over_all_images"] for network in networks), strict=True)
    return Group(
        name=", ".join((f"{first.choices['model']} {first.choices['px']} px", *apart)),
        data=first.data,
        runs=runs,
        parameters=networks[0]["parameters"],
        full=_way([run.evaluation["full_network"] for run in runs]),
        gates=_way_if_all([run.evaluation["chosen_on_selection"] for run in runs]),
        plain=_way_if_all([run.evaluation["plain_rule"]["chosen_on_selection"] for run in runs]),
        exit_accuracy=tuple(figure(values) for values in accuracies),
        exit_macs=tuple(networks[0]["exit_macs"]),
        train_seconds=figure([sum(run.train_seconds.values()) for run in runs]),
    )


def _way_if_all(judgements: Sequence[Mapping[str, Any] | None]) -> Way | None:
    there = [judgement for judgement in judgements if judgement is not None]
    return _way(there) if len(there) == len(judgements) else None


def _way(judgements: Sequence[Mapping[str, Any]]) -> Way:
    names = ("accuracy", "macro_f1", "mean_macs", "mean_cost")
    return Way(*(figure([judgement[name] for judgement in judgements]) for name in names))


def figure(values: Sequence[float]) -> Figure:
    """Mean and, of several values, sample standard deviation."""
    return Figure(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
