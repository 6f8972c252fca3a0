"""What an evaluation is of: a trained network, and the images that it did not learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from gfnet_dynn.cli.options import DEFAULT_MODEL, DataOptions, NetOptions, parse_exits
from gfnet_dynn.cli.render.progress import Counter
from gfnet_dynn.data.learned_from import learned_from_provenance
from gfnet_dynn.data.loading.scenes import SceneData, locate, prepare
from gfnet_dynn.data.splits.split import SplitSettings
from gfnet_dynn.data.splits.trained_on import TrainedOn, prepare_report
from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.model.checkpoint import Checkpoint
from gfnet_dynn.model.weights import StateDict
from gfnet_dynn.spec.backbone import find_backbone
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.train.runs.start import kept_split, read_trained
from gfnet_dynn.workflows.training import input_size, say_skipped, split_settings

_UNFINISHED = {
    "backbone": "this is the result of the backbone stage: its exits and gates are not trained, only the final "
    "classifier is",
    "warmup": "this is the result of the warm-up: its gates are not trained, so which exit an image takes means "
    "nothing",
}


@dataclass(frozen=True)
class Origin:
    """Where a network comes from.

    Attributes:
        trained: what its file holds.
        provenance: empty for a `.pth`.
        trained_on: its data, where the checkpoint says so.
    """

    trained: Checkpoint | StateDict
    provenance: Mapping[str, Any]
    trained_on: TrainedOn | None


def find_origin(file: Path) -> Origin:
    """Read a trained network's file, and the split of its training where that is kept.

    Raises:
        CheckpointError: missing, damaged or unsafe.
        DataError: the kept split is damaged.
    """
    trained = read_trained(file)
    if not isinstance(trained, Checkpoint) or "data" not in trained.provenance:
        return Origin(trained, {}, None)
    data = trained.provenance["data"]
    trained_on = TrainedOn(
        data["data_set"],
        data["fingerprint"],
        SplitSettings(**data["split"]),
        kept_split(file, trained.provenance),
        learned_from_provenance(trained.provenance, file),
    )
    return Origin(trained, trained.provenance, trained_on)


def find_subject(
    origin: Origin, options: DataOptions, net_options: NetOptions, console: Console
) -> tuple[SceneData, NetSpec]:
    """Data and network: the checkpoint's own split, size and architecture, but for a size that the options ask for.

    Raises:
        CheckpointError: the options ask for another network or split than those of the checkpoint.
        DataError: the data cannot be used.
        SpecError: the network cannot take the size.
    """
    progress = Counter(console)
    source = locate(options.data_set, options.data_path, options.dataset_config, progress)
    known = origin.trained.spec if isinstance(origin.trained, Checkpoint) else None
    if known:
        _refuse_other_network(known, net_options)
    backbone = known.backbone if known else find_backbone(net_options.model or DEFAULT_MODEL)
    if known and options.input_size is None and not options.pad:
        image = known.input
    else:
        image = make_input(backbone, input_size(options, source), pad=options.pad)
    if origin.trained_on is None:
        data = prepare(source, image, split_settings(options), None, progress)
    else:
        _refuse_other_split(origin.trained_on.settings, options)
        data, note = prepare_report(source, image, _read_as(origin.trained_on, options), progress)
        unfinished = _UNFINISHED.get(origin.provenance.get("stage", "")) if known and known.exit_blocks else None
        notes = [note, unfinished]
        for each in filter(None, notes):
            console.print(f"note: {each}", markup=False, soft_wrap=True)
    say_skipped(data.split.skipped, console)
    exits = known.exit_blocks if known else parse_exits(net_options.exits, backbone)
    pooling = known.exit_pooling if known else backbone.exit_pooling
    return data, NetSpec(backbone, exits, image, data.split.classes, pooling)


def _read_as(trained_on: TrainedOn, options: DataOptions) -> TrainedOn:
    """Images are decoded as in training, but for what the options ask for."""
    then, split = trained_on.settings, trained_on.split
    settings = replace(
        then,
        on_bad_image=options.on_bad_image,
        max_pixels=max(then.max_pixels, options.max_pixels),
        stretch=then.stretch if options.stretch is None else options.stretch,
    )
    return replace(trained_on, settings=settings, split=split and replace(split, settings=settings))


def _refuse_other_network(known: NetSpec, options: NetOptions) -> None:
    if options.model is not None and find_backbone(options.model) != known.backbone:
        raise CheckpointError(f"the checkpoint holds another network than --model {options.model}: leave that away")
    if options.exits is not None and parse_exits(options.exits, known.backbone) != known.exit_blocks:
        stand = ",".join(map(str, known.exit_blocks))
        raise CheckpointError(f"the exits of the checkpoint stand after blocks {stand}: leave --exits away, or train")
    if options.exit_pooling not in (None, known.exit_pooling):
        raise CheckpointError(f"the exits of the checkpoint see the {known.exit_pooling}: leave --exit-pooling away")


def _refuse_other_split(then: SplitSettings, options: DataOptions) -> None:
    """Options that were given, but would have decided another split than that of training."""
    asked, unasked = split_settings(options), SplitSettings()
    for name in ("seed", "split_ratio", "selection_share"):
        if getattr(asked, name) not in (getattr(unasked, name), getattr(then, name)):
            option = "--split-seed" if name == "seed" else f"--{name.replace('_', '-')}"
            raise CheckpointError(
                f"the checkpoint was trained with {option} {getattr(then, name)}, and is evaluated on that split: "
                f"leave {option} away"
            )


def report_name(origin: Origin, data: SceneData) -> str:
    """`evaluation`, or a name of its own where data or size are not those of training."""
    trained, usual = origin.trained, "evaluation"
    if not isinstance(trained, Checkpoint) or origin.trained_on is None:
        return usual
    as_trained = data.split.fingerprint == origin.trained_on.fingerprint and data.input == trained.spec.input
    return usual if as_trained else f"{usual}_{data.source.name}_{data.input.size}px"
