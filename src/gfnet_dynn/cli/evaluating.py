"""What `gfnet-dynn evaluate` and `main_dynn.py --eval` do: from options to table, JSON and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from gfnet_dynn.backbone_spec import find_backbone
from gfnet_dynn.cli.evaluation_tables import print_evaluation
from gfnet_dynn.cli.options import DataOptions, EvaluationOptions, NetOptions
from gfnet_dynn.cli.progress import Counter
from gfnet_dynn.cli.training import network, prepare_data, split_settings
from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.data.splits import SplitSettings
from gfnet_dynn.exits.sweep import choose_threshold, sweep
from gfnet_dynn.measure.evaluation import Evaluation, ExitTimes, Subject, evaluate, timed_rows
from gfnet_dynn.measure.latency import measure_exits
from gfnet_dynn.measure.outputs import collect
from gfnet_dynn.measure.plots import draw_evaluation
from gfnet_dynn.measure.report import evaluation_to_dict
from gfnet_dynn.model.checkpoint import Checkpoint
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.weights import StateDict
from gfnet_dynn.spec import NetSpec
from gfnet_dynn.storage import require_writable, write_json
from gfnet_dynn.train.device import choose_device
from gfnet_dynn.train.start import find_checkpoint_file, read_trained, trained_net

_BATCH = 64


def run_evaluation(
    data_options: DataOptions,
    net_options: NetOptions,
    options: EvaluationOptions,
    checkpoint: Path,
    output: Path,
    device_name: str,
    console: Console,
) -> Evaluation:
    """Evaluate a checkpoint on the data that nothing was chosen on; print the table, write JSON and plots."""
    file = find_checkpoint_file(checkpoint)
    device = torch.device(choose_device(device_name))
    folder = require_writable(options.report or file.parent / "evaluation")
    trained = read_trained(file)
    provenance = trained.provenance if isinstance(trained, Checkpoint) else {}
    data = _data(trained, provenance, data_options, net_options, output, console)
    _warn_of_other_data(provenance, data, console)
    net = trained_net(trained, _spec(trained, net_options, data), file).to(device)

    part = data.split.report_part
    arrays = collect(net, data.evaluation_loader(part).in_order(_BATCH, device))
    thresholds, chosen_where = _thresholds(provenance, net, data, device)
    times = _time(net, data, device, options, console)
    subject = Subject(data.source.name, part, data.split.classes, net.exit_macs(), _parameters(net))
    evaluation = evaluate(arrays, subject, times, thresholds)

    described = {
        **evaluation_to_dict(evaluation),
        "input_px": data.input.size,
        "checkpoint": str(checkpoint),
        "threshold_chosen": chosen_where,
    }
    report = write_json(folder / "evaluation.json", described)
    plots = draw_evaluation(evaluation, folder)
    print_evaluation(evaluation, chosen_where, console)
    console.print(
        "\n".join([f"report: {report}", *(f"plot:   {plot}" for plot in plots)]), markup=False, soft_wrap=True
    )
    return evaluation


def _data(
    trained: Checkpoint | StateDict,
    provenance: Mapping[str, Any],
    options: DataOptions,
    net_options: NetOptions,
    output: Path,
    console: Console,
) -> SceneData:
    """The data at the size that the checkpoint was trained with, unless the options ask for another."""
    split = _split(provenance, options)
    if not isinstance(trained, Checkpoint):
        return prepare_data(options, find_backbone(net_options.model), split, output, console)
    asks = options.input_size is not None or options.pad
    return prepare_data(
        options, trained.spec.backbone, split, output, console, image=None if asks else trained.spec.input
    )


def _spec(trained: Checkpoint | StateDict, options: NetOptions, data: SceneData) -> NetSpec:
    if not isinstance(trained, Checkpoint):
        return network(options, data)
    return replace(trained.spec, input=data.input, classes=data.split.classes)


def _split(provenance: Mapping[str, Any], options: DataOptions) -> SplitSettings:
    """The split that the checkpoint was trained with, so that nothing it learned from is reported on."""
    asked = split_settings(options)
    stored = provenance.get("data", {}).get("split")
    return SplitSettings(**{**stored, "on_bad_image": asked.on_bad_image}) if stored else asked


def _warn_of_other_data(provenance: Mapping[str, Any], data: SceneData, console: Console) -> None:
    trained_on = provenance.get("data", {})
    if trained_on and trained_on["fingerprint"] != data.split.fingerprint:
        console.print(
            f"note: the checkpoint was trained on other files ({trained_on['data_set']}) than those under "
            f"{data.source.root}: make sure that none of these images served to train it",
            markup=False,
            soft_wrap=True,
        )


def _thresholds(
    provenance: Mapping[str, Any], net: EarlyExitNet, data: SceneData, device: torch.device
) -> tuple[Sequence[float] | None, str]:
    stored = provenance.get("threshold")
    if stored:
        return stored["thresholds"], "at the end of training, on the selection split"
    arrays = collect(net, data.evaluation_loader("selection").in_order(_BATCH, device))
    where = "now, on a selection split of the training folder; whether the checkpoint was trained on it is not known"
    return choose_threshold(sweep(arrays, net.exit_costs())).thresholds, where


def _time(
    net: EarlyExitNet, data: SceneData, device: torch.device, options: EvaluationOptions, console: Console
) -> ExitTimes | None:
    loader = data.evaluation_loader(data.split.report_part)
    rows = timed_rows(len(loader), options.latency_images)
    if not len(rows):
        return None
    images = next(iter(loader.batches(rows.tolist(), len(rows), device))).images
    told = Counter(console)("Measuring latency")
    milliseconds, setting = measure_exits(
        net, images, options.latency_repeats, lambda done: told(done, options.latency_repeats)
    )
    return ExitTimes(rows, milliseconds, setting)


def _parameters(net: EarlyExitNet) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
