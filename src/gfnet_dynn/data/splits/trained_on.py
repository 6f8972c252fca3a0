"""The data of a finished training, found again for a report, so that nothing is reported on that was learned from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from gfnet_dynn.data.learned_from import LearnedFrom, held_out_copies
from gfnet_dynn.data.loading.scenes import SceneData, prepare
from gfnet_dynn.data.request import SplitSettings
from gfnet_dynn.data.source import Source
from gfnet_dynn.data.splits.split import Split, fingerprint_of
from gfnet_dynn.errors import DataError
from gfnet_dynn.images.copies import find_copies
from gfnet_dynn.images.fingerprint import fingerprint_files
from gfnet_dynn.progress import OnProgress, OnStep
from gfnet_dynn.spec.network import InputSpec


@dataclass(frozen=True)
class TrainedOn:
    """The data that a checkpoint learned from, as it records them; the fingerprint is as `Split` has it.

    `split` is the split itself, where it was kept beside the checkpoint.
    """

    data_set: str
    fingerprint: str
    settings: SplitSettings
    split: Split | None
    learned_from: LearnedFrom


def prepare_report(
    source: Source, image: InputSpec, trained_on: TrainedOn, on_progress: OnProgress
) -> tuple[SceneData, str | None]:
    """The images to report on: those that were held out in training, where these are the images of training.

    Returned with what the user should know of them, or None.

    Raises:
        DataError: images to report on are missing or replaced, or copies of images that the network has learned from.
    """
    then = trained_on.split
    if then is None or source.name != trained_on.data_set:
        data = prepare(source, image, trained_on.settings, None, on_progress)
        _require_unseen(data, trained_on.learned_from)
        return data, None
    data = SceneData(source, then, image)
    if fingerprint_of(source) == trained_on.fingerprint:
        return data, None
    _require_same(data, partial(on_progress, f"Checking the images of {source.name}"))
    return data, (
        f"the images of {source.name} under {source.root} changed since the checkpoint was trained; those held out "
        "then are reported on"
    )


def _require_same(data: SceneData, on_step: OnStep) -> None:
    """The images to report on are still those that were held out in training, or copies of them."""
    split, part = data.split, data.split.report_part
    files = [data.source.root / path for path, _ in split.parts[part]]
    found, unreadable = fingerprint_files(files, on_step, data.source.decode)
    same = find_copies(b"".join(found.values()), split.fingerprints[part]) >= 0
    others = [file for file, copy in zip(found, same.tolist(), strict=True) if not copy]
    if changed := [*unreadable, *others]:
        raise DataError(
            f"{len(changed)} of the images held out in training are missing or others now, such as {changed[0]}; "
            "restore them"
        )


def _require_unseen(data: SceneData, learned_from: LearnedFrom) -> None:
    reported = dict(data.split.parts[data.split.report_part])
    if seen := [path for path, _ in held_out_copies(data.split, learned_from) if path in reported]:
        raise DataError(
            f"the network was trained or selected on {len(seen)} of the {len(reported)} images to be reported on, such "
            f"as {data.source.root / seen[0]}: restore the images as they were in training, evaluate the checkpoint "
            "inside its run's folder, or choose other images"
        )
