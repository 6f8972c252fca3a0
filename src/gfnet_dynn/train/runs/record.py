"""The record of a run: every choice, what it learns from, and where its data lie. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from gfnet_dynn.data.learned_from import LearnedFrom
from gfnet_dynn.data.source import Source
from gfnet_dynn.data.splits.split import DataRecord
from gfnet_dynn.errors import CheckpointError, DataError
from gfnet_dynn.runlayout import RunLayout
from gfnet_dynn.spec.network import NetSpec
from gfnet_dynn.system.structured import structured_file
from gfnet_dynn.train.request import TrainSettings

_PROVENANCE = ("data", "settings", "precision", "start", "distillation", "versions", "started_from", "learned_from")


@dataclass(frozen=True)
class RunRecord:
    """A run, as `run.json` holds it.

    Attributes:
        source: where the data lie; they may be moved, so it does not identify the run.
        precision: the one in use, where the settings have `auto`.
        start: what the weights start from.
        distillation: teacher and how the network learns from it, or None.
        versions: of what the weights depend on beside all choices.
        keeps_statistics: batch norms keep the statistics of pretrained weights.
        started_from: provenance of the checkpoint that it starts from, without `learned_from`, or None.
        learned_from: all images that it learns from, those of the networks that it builds upon included.
    """

    network: NetSpec
    data: DataRecord
    source: Source
    settings: TrainSettings
    precision: str
    start: Mapping[str, Any]
    distillation: Mapping[str, Any] | None
    versions: Mapping[str, str]
    stages: tuple[str, ...] = ()
    keeps_statistics: bool = False
    started_from: Mapping[str, Any] | None = None
    learned_from: LearnedFrom | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self, enc_hook=str))  # paths as text
        return values

    def provenance(self) -> dict[str, Any]:
        """What a checkpoint of this run keeps of it, as JSON values; no place on this machine but the start's."""
        return {key: value for key, value in self.to_dict().items() if key in _PROVENANCE}


def remembered_source(folder: Path, data_path: Path | None = None) -> Source:
    """The data set that a run was trained on, in `data_path` if it was moved there.

    Raises:
        CheckpointError: there is no run, or its record is damaged.
        DataError: the data are no longer where they were; names the path and `--data-path`.
    """
    file = RunLayout(folder).record
    if not file.is_file():
        raise CheckpointError(f"{folder} is not the folder of a run: it has no {file.name}")
    source = structured_file(RunRecord, file, CheckpointError).source
    if data_path is not None:
        return replace(source, root=data_path)
    if not source.root.is_dir():
        raise DataError(
            f"the images of {source.name} that {folder} was trained on are no longer in {source.root}: give their "
            "folder with --data-path"
        )
    return source
