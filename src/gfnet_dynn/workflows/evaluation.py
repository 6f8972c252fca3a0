"""What `gfnet-dynn evaluate` and `main_dynn.py --eval` do: from options to table, JSON and plots."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from gfnet_dynn.benchmark.torch_latency import measure_exits
from gfnet_dynn.cli.options import DataOptions, EvaluationOptions, NetOptions
from gfnet_dynn.cli.render.evaluation import print_evaluation
from gfnet_dynn.cli.render.progress import ProgressBars
from gfnet_dynn.data.loading.scenes import SceneData
from gfnet_dynn.evaluation.evaluation import Evaluation, ExitTimes, Subject, Thresholds, evaluate, timed_rows
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.evaluation.plots import draw_evaluation
from gfnet_dynn.evaluation.report import evaluation_to_dict
from gfnet_dynn.exits.scores import by_max_softmax
from gfnet_dynn.exits.sweep import choose_threshold
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.runlayout import find_checkpoint_file
from gfnet_dynn.spec.backbone import backbone_name
from gfnet_dynn.system.storage import require_writable, write_json
from gfnet_dynn.train.engine.device import choose_device
from gfnet_dynn.train.runs.start import trained_net
from gfnet_dynn.workflows.subject import Origin, find_origin, find_subject, report_name

_BATCH = 64


def run_evaluation(
    data_options: DataOptions,
    net_options: NetOptions,
    options: EvaluationOptions,
    checkpoint: Path,
    device_name: str,
    console: Console,
) -> Evaluation:
    """Evaluate a checkpoint on the data that nothing was chosen on; print the table, write JSON and plots."""
    file = find_checkpoint_file(checkpoint)
    device = torch.device(choose_device(device_name))
    origin = find_origin(file)
    data, spec = find_subject(origin, data_options, net_options, console)
    folder = require_writable(options.report or file.parent / report_name(origin, data))
    net = trained_net(origin.trained, spec, file).to(device)

    part = data.split.report_part
    arrays = collect(net, data.evaluation_loader(part).in_order(_BATCH, device))
    thresholds, chosen_where = _thresholds(origin, net, data, device)
    times = _time(net, data, device, options, console)
    subject = Subject(
        data_set=data.source.name,
        part=part,
        classes=data.split.classes,
        exit_macs=net.exit_macs(),
        parameters=_parameters(net),
        model=backbone_name(spec.backbone),
        input_px=data.input.size,
    )
    evaluation = evaluate(arrays, subject, times, thresholds)

    described = {
        **evaluation_to_dict(evaluation),
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


def _thresholds(origin: Origin, net: EarlyExitNet, data: SceneData, device: torch.device) -> tuple[Thresholds, str]:
    stored = [origin.provenance.get(name) for name in ("threshold", "plain_threshold")]
    if all(stored):
        found = (each["thresholds"] for each in stored if each)
        return Thresholds(*found), "at the end of training, on the selection split"
    arrays = collect(net, data.evaluation_loader("selection").in_order(_BATCH, device))
    known = origin.trained_on is not None and origin.trained_on.fingerprint == data.split.fingerprint
    where = (
        "now, on the selection split of training"
        if known
        else ("now, on a selection split of the training folder; whether the checkpoint was trained on it is not known")
    )
    costs = net.exit_costs()
    found = (choose_threshold(score, costs).thresholds for score in (arrays, by_max_softmax(arrays)))
    return Thresholds(*found), where


def _time(
    net: EarlyExitNet, data: SceneData, device: torch.device, options: EvaluationOptions, console: Console
) -> ExitTimes | None:
    loader = data.evaluation_loader(data.split.report_part)
    rows = timed_rows(len(loader), options.latency_images)
    if not len(rows):
        return None
    images = next(iter(loader.batches(rows.tolist(), len(rows), device))).images
    told = partial(ProgressBars(console), "Measuring latency")
    milliseconds, setting = measure_exits(
        net, images, options.latency_repeats, lambda done: told(done, options.latency_repeats)
    )
    return ExitTimes(rows, milliseconds, setting)


def _parameters(net: EarlyExitNet) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
