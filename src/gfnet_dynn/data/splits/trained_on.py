"""The data of a finished training, found again for a report, so that nothing is reported on that was learned from."""

from __future__ import annotations

from dataclasses import dataclass

from gfnet_dynn.data.loading.scenes import SceneData, prepare
from gfnet_dynn.data.request import SplitSettings
from gfnet_dynn.data.source import Source
from gfnet_dynn.data.splits.split import Split, fingerprint_of
from gfnet_dynn.errors import DataError
from gfnet_dynn.progress import OnProgress
from gfnet_dynn.spec.network import InputSpec


@dataclass(frozen=True)
class TrainedOn:
    """The data that a checkpoint learned from, as it records them.

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
    source: Source, image: InputSpec, trained_on: TrainedOn, on_progress: OnProgress
) -> tuple[SceneData, str | None]:
    """The images to report on: those that were held out in training, where these are the images of training.

    Args:
        source: the data set to report on.
        image: what the network takes.
        trained_on: where the network comes from.
        on_progress: called while images are decoded.

    Returns:
        The data, and what the user should know of them, or None.

    Raises:
        DataError: the images of training have changed so that those it learned from cannot be identified any more.
    """
    now, before = fingerprint_of(source), trained_on.split
    if now == trained_on.fingerprint:
        same = before and SceneData(source, before, image)
        return same or prepare(source, image, trained_on.settings, None, on_progress), None
    if source.name == trained_on.data_set and before is not None:
        return _as_split_then(source, image, before)
    if source.name == trained_on.data_set and source.config.use_random_split:
        raise DataError(
            f"{_changed(source)}, and its split is not kept beside it (split.json in the folder of the run): a new "
            "random split would report on images that it learned from; restore them, or evaluate from the run's folder"
        )
    return prepare(source, image, trained_on.settings, None, on_progress), (
        f"the checkpoint was trained on other files ({trained_on.data_set}) than those under {source.root}: make sure "
        "that none of these images served to train it"
    )


def _as_split_then(source: Source, image: InputSpec, split: Split) -> tuple[SceneData, str]:
    """What was held out then: among images that came later, or changed places, may be some that were learned from."""
    missing = [path for path, _ in split.parts[split.report_part] if not (source.root / path).is_file()]
    if missing:
        raise DataError(
            f"{_changed(source)}: {len(missing)} of those held out are gone, such as {missing[0]}; restore them"
        )
    return SceneData(source, split, image), f"{_changed(source)}; those held out then are reported on"


def _changed(source: Source) -> str:
    return f"the images of {source.name} under {source.root} changed since the checkpoint was trained"
