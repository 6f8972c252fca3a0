"""Evaluate a trained network in torch, on the images that its training held out."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from gfnet_dynn.benchmark.torch_latency import measure_exits
from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.evaluation.evaluation import Evaluator, ExitTimes, Subject, timed_rows
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.evaluation.policies import choose_thresholds, has_thresholds, trained_policies
from gfnet_dynn.evaluation.request import EvaluationRequest
from gfnet_dynn.evaluation.result import EvaluationResult
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.progress import OnProgress
from gfnet_dynn.spec.backbone import backbone_name
from gfnet_dynn.system.storage import require_writable
from gfnet_dynn.train.engine.device import choose_device, set_threads
from gfnet_dynn.workflows.subject import Origin, find_origin, find_source, load_subject, report_name

_BATCH = 64


def evaluate_run(request: EvaluationRequest, mistakes: int, on_progress: OnProgress) -> tuple[EvaluationResult, Path]:
    """Evaluate the weights that a request names.

    Args:
        request: network, data, timing.
        mistakes: how many to keep.
        on_progress: called while images are checked and timed.

    Returns:
        The result, and the folder for its report.
    """
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
    policies = {each.name: evaluator.judge(each) for each in trained_policies(provenance, len(net.gates))}
    files = [data.source.root / path for path, _ in data.split.parts[part]]
    result = EvaluationResult.of(
        evaluator,
        policies,
        sweeps={score: evaluator.sweep(score) for score in ("gate", "max_softmax")},
        mistakes=evaluator.mistakes(next(iter(policies.values())), files, mistakes),
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
    rows = timed_rows(len(loader), request.latency_images)
    if not len(rows):
        return None
    images = next(iter(loader.batches(rows.tolist(), len(rows), device))).images
    on_step = partial(on_progress, "Measuring latency")
    repeats = request.latency_repeats
    milliseconds, setting = measure_exits(net, images, repeats, lambda done: on_step(done, repeats))
    return ExitTimes(rows, milliseconds, asdict(setting))
