"""Evaluate a bundle (no torch) or a run on images that its training held out, and compare evaluated runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError, MissingExtraError, require_extra
from gfnet_dynn.evaluation.comparison import EvaluatedRun, compare, read_run
from gfnet_dynn.evaluation.comparison_report import ReportResult
from gfnet_dynn.evaluation.evaluation import Evaluator, Subject
from gfnet_dynn.evaluation.labelled_folder import collect_exits, find_labelled, seen_in_training
from gfnet_dynn.evaluation.request import EvaluationRequest, ReportRequest
from gfnet_dynn.evaluation.result import EvaluationResult
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.progress import Log, OnProgress, ignore_log, ignore_progress
from gfnet_dynn.reporting.contact_sheet import Tile, write_contact_sheet
from gfnet_dynn.runlayout import RunLayout
from gfnet_dynn.runtime.predictor import load
from gfnet_dynn.system.storage import require_writable, write_bytes, write_json
from gfnet_dynn.units import percent


def evaluate(
    request: EvaluationRequest, *, on_progress: OnProgress = ignore_progress, log: Log = ignore_log
) -> EvaluationResult:
    """Evaluate exit policies: accuracy with intervals, exits, cost, classes, mistakes.

    For a run a report is written beside its weights; for a bundle where the request names a folder. `log` is called at
    once where images are among those that the network was trained on.

    Raises:
        BundleError, CheckpointError: the network cannot be read.
        DataError: the images cannot be used.
        StorageError: nothing can be written there.
        MissingExtraError: a run needs torch.
    """
    for place in filter(None, (request.report, request.mistakes and request.mistakes.parent)):
        require_writable(place)
    folder = request.report
    if request.is_bundle:
        result = _evaluate_bundle(request, on_progress, log)
    else:
        require_extra("evaluating a run", "train")
        from gfnet_dynn.workflows.subject import evaluate_run

        result, folder = evaluate_run(request, on_progress)
    files = _write_report(result, folder) if folder else []
    if request.mistakes:
        files.append(_write_mistakes(result, request.mistakes))
    return replace(result, files=tuple(files))


def _evaluate_bundle(request: EvaluationRequest, on_progress: OnProgress, log: Log) -> EvaluationResult:
    assert request.images is not None
    bundle = read_bundle(request.subject)
    manifest, chosen = bundle.manifest, bundle.manifest.policy(request.policy)
    images = find_labelled(request.images, manifest.classes)
    net = load(request.subject, engine=request.engine, precision=request.precision, threads=request.threads).net
    unreadable: list[DataError] = []
    looking = partial(on_progress, "Looking for training images")
    if warning := seen_in_training(bundle, images.files, looking, request.decode):
        log(f"warning: {warning}")
    on_step = partial(on_progress, "Classifying")
    outputs, rows = collect_exits({"": net}, images.files, on_step, request.decode, unreadable.append)
    logits, gates, distances = outputs[""]
    arrays = ExitArrays(logits, gates, images.labels[rows], distances)
    files = [images.files[row] for row in rows]
    run_in = f"{net.precision}, {net.engine_name}"
    subject = Subject.of_bundle(manifest, run_in, printable(request.images.resolve().name))
    evaluator = Evaluator(arrays, subject)
    return EvaluationResult.of(
        evaluator,
        sorted(manifest.policies, key=lambda each: each is not chosen),
        files,
        remarks=(*images.remarks, *([warning] if warning else [])),
        unreadable=tuple(unreadable),
    )


def _write_report(result: EvaluationResult, folder: Path) -> list[Path]:
    files = [write_json(folder / "evaluation.json", result.to_dict())]
    if result.mistakes:
        files.append(_write_mistakes(result, folder / "mistakes.png"))
    try:
        require_extra("an HTML report with plots", "plots")
    except MissingExtraError:  # on a device the figures alone will do
        return files
    from gfnet_dynn.evaluation.plots import draw_evaluation

    page = write_bytes(folder / "evaluation.html", result.to_html("Evaluation"))
    return [*files, *draw_evaluation(result, folder), page]


def _write_mistakes(result: EvaluationResult, path: Path) -> Path:
    tiles = []
    for each in result.mistakes:
        answer = f"{percent(each.confidence, 1)}, {each.exit}"
        lines = (f"is: {each.true}", f"predicted: {each.predicted}", answer, each.file.name)
        tiles.append(Tile(load_input(each.file, result.subject.input), lines))
    title = f"{len(tiles)} most confident mistakes, policy {result.default.policy.name}: {result.title}"
    return write_contact_sheet(path, title if tiles else f"No mistakes: {result.title}", tiles)


_EARLIER = re.compile(r"(.+)\.previous-\d+")


def report(request: ReportRequest) -> ReportResult:
    """Compare runs, and write the comparison as Markdown, HTML, JSON and a plot.

    Folders that are no runs, runs that were moved aside by one of the others, and runs without evaluation are skipped.

    Raises:
        DataError: no evaluated run is left, one is damaged, or two repeat each other.
        StorageError: nothing can be written there.
        MissingExtraError: matplotlib is not installed.
    """
    require_extra("an HTML report with plots", "plots")
    runs, skipped = _read_runs(request.runs)
    if not runs:
        raise DataError("no evaluated run to report on: " + "; ".join(skipped))
    folder = require_writable(request.output)
    result = ReportResult(compare(runs), tuple(skipped))
    title = "Runs compared"
    files = (
        write_bytes(folder / "comparison.md", f"# {title}\n\n{result.to_markdown()}".encode()),
        write_bytes(folder / "comparison.html", result.to_html(title)),
        write_json(folder / "comparison.json", result.to_dict()),
        result.plot(folder / "comparison.png"),
    )
    return replace(result, files=files)


def _read_runs(folders: Sequence[Path]) -> tuple[list[EvaluatedRun], list[str]]:
    runs: list[EvaluatedRun] = []
    skipped: list[str] = []
    given = {folder.resolve() for folder in folders}
    for folder in folders:
        layout, earlier = RunLayout(folder), _EARLIER.fullmatch(folder.name)
        if not layout.record.is_file():
            skipped.append(f"skipped {folder}: not a run, it has no {layout.record.name}")
        elif earlier and folder.with_name(earlier[1]).resolve() in given:
            skipped.append(f"skipped {folder}: the earlier run in the folder {earlier[1]}")
        elif not layout.evaluation.is_file():
            skipped.append(f"skipped {folder}: not evaluated; run: gfnet-dynn evaluate {shlex.quote(str(folder))}")
        else:
            runs.append(read_run(folder))
    return runs, skipped
