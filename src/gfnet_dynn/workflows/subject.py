"""A trained network with the images that its training held out, and its evaluation on them in torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from msgspec import structs

from gfnet_dynn.benchmark.in_torch import measure_exits
from gfnet_dynn.benchmark.measurement import spread_rows
from gfnet_dynn.data.learned_from import TrainedOn, learned_from_provenance, prepare_report
from gfnet_dynn.data.request import DataOptions, SplitSettings
from gfnet_dynn.data.scenes import SceneData, prepare
from gfnet_dynn.data.source import Source, locate
from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.evaluation.evaluation import Evaluator, ExitTimes, Subject
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.evaluation.policies import choose_thresholds, has_thresholds, trained_policies
from gfnet_dynn.evaluation.request import EvaluationRequest
from gfnet_dynn.evaluation.result import EvaluationResult
from gfnet_dynn.model.checkpoint import Checkpoint
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.weights import StateDict
from gfnet_dynn.options import flag
from gfnet_dynn.progress import OnProgress
from gfnet_dynn.runlayout import find_checkpoint_file, run_of_checkpoint
from gfnet_dynn.spec.backbone import backbone_name, find_backbone
from gfnet_dynn.spec.network import DEFAULT_MODEL, NetSpec, make_input
from gfnet_dynn.system.storage import require_writable
from gfnet_dynn.train.engine.device import choose_device, set_threads
from gfnet_dynn.train.runs.run_folder import remembered_source
from gfnet_dynn.train.runs.start import kept_split, read_trained, trained_net

_BATCH = 64
_SPLIT = ("split_seed", "split_ratio", "selection_share")  # options that decide a split
_UNFINISHED = {
    "backbone": "This is the result of the backbone stage: its exits and gates are not trained, only the final "
    "classifier is.",
    "warmup": "This is the result of the warm-up stage: its gates are not trained, so the exits taken mean nothing.",
}


@dataclass(frozen=True)
class Origin:
    """Where a network comes from: the file of its weights, what it holds, and the data where they are recorded."""

    file: Path
    trained: Checkpoint | StateDict
    trained_on: TrainedOn | None

    @property
    def spec(self) -> NetSpec | None:
        """The network; None for a `.pth`, which does not record it."""
        return self.trained.spec if isinstance(self.trained, Checkpoint) else None

    @property
    def provenance(self) -> Mapping[str, Any]:
        """How it was trained; empty for a `.pth`, and for a checkpoint that does not record its data."""
        return self.trained.provenance if isinstance(self.trained, Checkpoint) and self.trained_on else {}


def find_origin(path: Path) -> Origin:
    """Read the weights that a path means, and the split of their training where it is kept.

    Raises CheckpointError: missing, damaged or unsafe; DataError: the kept split is damaged.
    """
    file = find_checkpoint_file(path)
    trained = read_trained(file)
    if not isinstance(trained, Checkpoint) or "data" not in trained.provenance:
        return Origin(file, trained, None)
    data = trained.provenance["data"]
    trained_on = TrainedOn(
        data["data_set"],
        data["fingerprint"],
        SplitSettings(**data["split"]),
        kept_split(file, trained.provenance),
        learned_from_provenance(trained.provenance, file),
    )
    return Origin(file, trained, trained_on)


def find_source(
    origin: Origin, name: str | None, path: Path | None, config: Path | None, on_progress: OnProgress
) -> Source:
    """The data set that is asked for; by default the one of the run.

    Raises CheckpointError: none is asked for, and the checkpoint does not record its own; DataError: it is not known,
    or not there.
    """
    run, own = run_of_checkpoint(origin.file), origin.trained_on
    if run and own and config is None and (name is None or name.casefold() == own.data_set.casefold()):
        return remembered_source(run.folder, path)
    if name is None and own is None and path is None:
        raise CheckpointError(f"{origin.file} does not record its data set: give --data-set or --data-path")
    name = name or (own.data_set if own else None)
    return locate(DataOptions(data_set=name, data_path=path, dataset_config=config), on_progress)


@dataclass(frozen=True)
class Trained:
    """A trained network, in evaluation mode on the CPU, its description at the size of the evaluation, and its data."""

    net: EarlyExitNet
    spec: NetSpec
    data: SceneData
    remarks: tuple[str, ...]


def load_subject(origin: Origin, source: Source, request: EvaluationRequest, on_progress: OnProgress) -> Trained:
    """Data and network: the checkpoint's own split, size and architecture, but for a size that is asked for.

    Raises CheckpointError: another network or split is asked for than those of the checkpoint, or it does not fit;
    DataError: the data cannot be used; SpecError: the network cannot take the size.
    """
    known = origin.spec
    _refuse_others(request, known, origin.trained_on.settings if origin.trained_on else None)
    backbone = known.backbone if known else find_backbone(request.model or DEFAULT_MODEL)
    if known and request.input_size is None and not request.pad:
        image = known.input
    else:
        image = make_input(backbone, request.input_size or source.config.default_input_size, pad=request.pad)
    if request.decode.stretch:
        image = structs.replace(image, stretch=request.decode.stretch)
    source = replace(source, decode=replace(request.decode, stretch=image.stretch))
    unfinished = _UNFINISHED.get(origin.provenance.get("stage", "")) if known and known.exit_blocks else None
    remarks = [unfinished] if unfinished else []
    if origin.trained_on is None:
        asked = {name: value for name in _SPLIT if (value := getattr(request, name)) is not None}
        settings = SplitSettings(**asked, on_bad_image=request.on_bad_image)
        data = prepare(source, image, settings, None, on_progress)
    else:
        settings = replace(origin.trained_on.settings, on_bad_image=request.on_bad_image)
        data, note = prepare_report(source, image, replace(origin.trained_on, settings=settings), on_progress)
        remarks += [note] if note else []
    remarks += [f"skipped: {reason}" for reason in data.split.skipped.values()]
    exits = known.exit_blocks if known else backbone.default_exits if request.exits is None else request.exits
    pooling = known.exit_pooling if known else request.exit_pooling or backbone.exit_pooling
    spec = NetSpec(backbone, exits, image, data.split.classes, pooling)
    return Trained(trained_net(origin.trained, spec, origin.file), spec, data, tuple(remarks))


def _refuse_others(request: EvaluationRequest, network: NetSpec | None, split: SplitSettings | None) -> None:
    """Refuse options that would have made another network or split than those of training."""
    own: dict[str, Any] = {name: getattr(split, name) for name in _SPLIT} if split else {}
    if network:
        own |= {"exits": network.exit_blocks, "exit_pooling": network.exit_pooling}
        own["model"] = backbone_name(network.backbone)
    for name, value in own.items():
        asked = getattr(request, name)
        if name == "model" and asked is not None:
            asked = backbone_name(find_backbone(asked))
        if asked not in (None, value):
            raise CheckpointError(
                f"the checkpoint was trained with {flag(name)} {value}, and is evaluated as it was trained: omit "
                f"{flag(name)}"
            )


def report_name(origin: Origin, data: SceneData) -> str:
    """`evaluation`, or a name of its own where data or size are not those of training."""
    spec, trained_on = origin.spec, origin.trained_on
    if not spec or not trained_on or (data.split.fingerprint, data.input) == (trained_on.fingerprint, spec.input):
        return "evaluation"
    return f"evaluation_{data.source.name}_{data.input.size}px"


def evaluate_run(request: EvaluationRequest, on_progress: OnProgress) -> tuple[EvaluationResult, Path]:
    """Evaluate the weights that a request names; the result, and the folder for its report."""
    set_threads(request.threads)
    device = torch.device(choose_device(request.device))
    origin = find_origin(request.subject)
    source = find_source(origin, request.data_set, request.data_path, request.dataset_config, on_progress)
    trained = load_subject(origin, source, request, on_progress)
    data, net = trained.data, trained.net.to(device)
    folder = require_writable(request.report or origin.file.parent / report_name(origin, data))
    part = data.split.report_part
    arrays = collect(net, data.evaluation_loader(part).in_order(_BATCH, device))
    provenance = origin.provenance
    if not has_thresholds(provenance):
        provenance = _choose(origin, net, data, device)
    subject = Subject(
        model=backbone_name(trained.spec.backbone),
        run_in="fp32, torch",
        input=data.input,
        classes=data.split.classes,
        exits=(*(f"exit {index + 1}" for index in range(len(net.gates))), "final"),
        exit_macs=net.exit_macs(),
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        data_set=data.source.name,
        part=part,
    )
    evaluator = Evaluator(arrays, subject, _time(net, data, device, request, on_progress))
    files = [data.source.root / path for path, _ in data.split.parts[part]]
    result = EvaluationResult.of(
        evaluator,
        trained_policies(provenance, len(net.gates)),
        files,
        sweeps={score: evaluator.sweep(score) for score in ("gate", "max-softmax")},
        remarks=trained.remarks,
    )
    return result, folder


def _choose(origin: Origin, net: EarlyExitNet, data: SceneData, device: torch.device) -> dict[str, object]:
    """Thresholds of a network whose training did not choose any."""
    arrays = collect(net, data.evaluation_loader("selection").in_order(_BATCH, device))
    known = origin.trained_on is not None and origin.trained_on.fingerprint == data.split.fingerprint
    chosen_on = "selection split of training, now"
    if not known:
        chosen_on = "selection split of the training folder, now; whether the checkpoint was trained on it is not known"
    return choose_thresholds(arrays, net.exit_costs(), chosen_on)


def _time(
    net: EarlyExitNet, data: SceneData, device: torch.device, request: EvaluationRequest, on_progress: OnProgress
) -> ExitTimes | None:
    loader = data.evaluation_loader(data.split.report_part)
    rows = spread_rows(len(loader), request.latency_images)
    if not len(rows):
        return None
    images = next(iter(loader.batches(rows.tolist(), len(rows), device))).images
    on_step = partial(on_progress, "Measuring latency")
    return ExitTimes(rows, *measure_exits(net, images, request.latency_repeats, on_step))
