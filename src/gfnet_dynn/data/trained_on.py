"""The data of a finished training, found again for a report, so that nothing is reported on that was learned from."""

from __future__ import annotations

from dataclasses import dataclass

from gfnet_dynn.data.scenes import ProgressFor, SceneData, Source, prepare
from gfnet_dynn.data.splits import Split, SplitSettings, fingerprint_of
from gfnet_dynn.errors import DataError
from gfnet_dynn.spec import InputSpec


@dataclass(frozen=True)
class TrainedOn:
    """What a checkpoint says of the data that it learned from.

    Attributes:
        data_set: name in its proper spelling.
        fingerprint: of the images, as `Split` has it.
        settings: what decided the split.
        split: the split itself, where it was kept beside the checkpoint.
    """

    data_set: str
    fingerprint: str
    settings: SplitSettings
    split: Split | None


def prepare_report(
    source: Source, image: InputSpec, trained_on: TrainedOn, progress: ProgressFor
) -> tuple[SceneData, str | None]:
    """The images to report on: those that were held out in training, where these are the images of training.

    Args:
        source: the data set to report on.
        image: what the network takes.
        trained_on: where the network comes from.
        progress: told while images are tried.

    Returns:
        The data, and what a person should know of them, or None.

    Raises:
        DataError: the images of training have changed so that those it learned from can no longer be told.
    """
    now = fingerprint_of(source.name, source.config, source.root)
    if now == trained_on.fingerprint and trained_on.split is not None:
        return SceneData(source, trained_on.split, image), None
    if now != trained_on.fingerprint and source.name == trained_on.data_set and source.config.use_random_split:
        return _as_split_then(source, image, trained_on)
    data = prepare(source, image, trained_on.settings, None, progress)
    if now == trained_on.fingerprint:
        return data, None
    return data, (
        f"the checkpoint was trained on other files ({trained_on.data_set}) than those under {source.root}: make sure "
        "that none of these images served to train it"
    )


def _as_split_then(source: Source, image: InputSpec, trained_on: TrainedOn) -> tuple[SceneData, str]:
    """A new draw would put images that the checkpoint learned from among those to report on."""
    changed = f"the images of {source.name} under {source.root} changed since the checkpoint was trained"
    if trained_on.split is None:
        raise DataError(
            f"{changed}, and its split is not kept beside it (split.json in the folder of the run): a new random split "
            "would report on images that it learned from; restore the images, or evaluate from the run's folder"
        )
    files = [path for part in trained_on.split.parts.values() for path, _ in part]
    missing = [path for path in files if not (source.root / path).is_file()]
    if missing:
        raise DataError(f"{changed}: {len(missing)} of them are gone, such as {missing[0]}; restore them")
    return SceneData(source, trained_on.split, image), f"{changed}; those held out then are reported on"
