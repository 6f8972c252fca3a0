"""What a run remembers of its data, so that its evaluation and export need no further options. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gfnet_dynn.data.source import Source
from gfnet_dynn.errors import CheckpointError, DataError
from gfnet_dynn.runlayout import RunLayout
from gfnet_dynn.system.structured import structured

SOURCE = "source"
"""Under this name a run's record holds where its data lie. Not part of what identifies a run: data may be moved."""


def describe_source(source: Source) -> dict[str, Any]:
    """As JSON values, with the absolute path."""
    return {**asdict(source), "root": str(source.root.resolve())}


def remembered_source(folder: Path, data_path: Path | None = None) -> Source:
    """The data set that a run was trained on.

    Args:
        folder: of the run.
        data_path: where the data lie now, if they were moved.

    Raises:
        CheckpointError: there is no run, or its record is damaged.
        DataError: the data are no longer where they were; names the path and `--data-path`.
    """
    record = RunLayout(folder).record
    try:
        stored = json.loads(record.read_text(encoding="utf-8"))[SOURCE]
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} is not the folder of a run: it has no {record.name}") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"cannot read {record}: {error!r}; it may be damaged or of another version") from error
    source = structured(Source, stored, f"{record}: {SOURCE}", CheckpointError)
    if data_path is not None:
        return replace(source, root=data_path)
    if not source.root.is_dir():
        raise DataError(
            f"the images of {source.name} that {folder} was trained on are no longer in {source.root}: give their "
            "folder with --data-path"
        )
    return source
