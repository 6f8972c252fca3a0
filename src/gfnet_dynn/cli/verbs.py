"""The verbs that only call a workflow, show its result and name the next commands."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.benchmark.request import BenchmarkRequest, is_bundle
from gfnet_dynn.bundle.request import PullRequest, PushRequest
from gfnet_dynn.calibration.request import CalibrationRequest, MonitorRequest
from gfnet_dynn.cli.streams import print_error, print_note
from gfnet_dynn.errors import StorageError, require_extra
from gfnet_dynn.evaluation.request import EvaluationRequest, ReportRequest
from gfnet_dynn.export.request import ExportRequest
from gfnet_dynn.options import option
from gfnet_dynn.system.storage import json_line, require_writable, write_bytes, write_json
from gfnet_dynn.workflows.costing import CostRequest

_TARGET = "--risk harmful-exits --risk-limit 2%"


def evaluate(request: EvaluationRequest) -> None:
    """Accuracy with 95% intervals, exits, cost and classes of a run, or of a bundle on your own images.

    A run is evaluated on the images that its training held out; a bundle on a folder that has a folder of images for
    each class, without torch.
    """
    from gfnet_dynn.cli.terminal import ProgressBars, Terminal
    from gfnet_dynn.workflows.evaluation import evaluate as run

    console, subject = Terminal(), shlex.quote(str(request.subject))
    result = run(request, on_progress=ProgressBars(console), log=console.print_line)
    following = f"calibrate {subject} FOLDER {_TARGET}" if request.is_bundle else f"export {subject} -o scene.gfd"
    console.show(result, files=result.files, following=[following])
    for error in result.unreadable:
        print_error(error)
    if result.unreadable:
        raise SystemExit(2)


def report(request: ReportRequest) -> None:
    """Compare evaluated runs: Markdown, HTML, JSON and a plot.

    Runs that differ in their seed alone share a row: mean ± standard deviation, and the 95% interval.
    """
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.evaluation import report as run

    result = run(request)
    best = shlex.quote(str(result.groups[0].runs[0].folder))
    Terminal().show(result, files=result.files, following=[f"export {best} -o scene.gfd"])


def export(request: ExportRequest) -> None:
    """Write a trained network as one file that classifies without torch.

    The outputs of every exit are compared with torch's on the selection split; differences are refused.
    """
    require_extra("export", "train,export")
    from gfnet_dynn.cli.terminal import ProgressBars, Terminal
    from gfnet_dynn.workflows.exporting import export as run

    console = Terminal()
    result = run(request, on_progress=ProgressBars(console), log=console.print_line)
    bundle, files = shlex.quote(str(result.bundle)), filter(None, (result.bundle, result.single_graph))
    console.show(result, files=files, following=[f"classify {bundle} IMAGES", f"calibrate {bundle} FOLDER {_TARGET}"])


def calibrate(request: CalibrationRequest) -> None:
    """Find the cheapest exit policy that keeps a risk, a budget or both, and store it in the bundle with its guarantee.

    The policy becomes the bundle's default, unless the present one is better. No torch, no network connection.
    """
    from gfnet_dynn.cli.terminal import ProgressBars, Terminal
    from gfnet_dynn.workflows.calibration import calibrate as run

    console = Terminal()
    result = run(request, on_progress=ProgressBars(console))
    bundle, policy = request.output or request.bundle, f"--policy {request.name}"
    steps = [f"bundle set-default {bundle} {request.name}"] if result.not_default else []
    steps += [f"classify {bundle} IMAGES {policy}", f"monitor {bundle} NEW_IMAGES {policy}"]
    console.show(result, following=steps)


@dataclass(frozen=True, kw_only=True)
class MonitorOptions(MonitorRequest):
    """Options."""

    json: bool = option(False, "Print one line of JSON instead of tables.", panel="Output")


def monitor(options: MonitorOptions) -> None:
    """Test whether new images, without labels, still have the distribution of the calibration images.

    Exits, confidences and predicted classes are compared. The exit status is 1 where a shift is detected; else 2 where
    some images could not be read, which are named and omitted; else 0.
    """
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.monitoring import monitor as run

    result = run(options, on_unreadable=print_error, log=print_note)
    shift = result.comparison.shift_detected
    if options.json:
        sys.stdout.write(json_line(result.to_dict()) + "\n")
    else:
        again = f"calibrate {options.bundle} LABELLED_IMAGES {_TARGET}"
        Terminal().show(result, following=[again] if shift else [])
    if shift or result.unreadable:
        raise SystemExit(1 if shift else 2)


def push(request: PushRequest) -> None:
    """Share a bundle on the Hugging Face Hub, with its card as the repository's page.

    Needs a token that may write: set HF_TOKEN, or run `hf auth login`. HF_ENDPOINT names another hub.
    """
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.sharing import push as run

    Terminal().show(run(request), following=[f"classify hf://{request.repository} IMAGES"])


def pull(request: PullRequest) -> None:
    """Copy a bundle from the Hugging Face Hub to a file of your own.

    Without a connection, or with HF_HUB_OFFLINE=1, the copy in the cache of the hub's client is taken, if there is one.
    """
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.sharing import pull as run

    result = run(request)
    bundle = shlex.quote(str(result.bundle.path))
    Terminal().show(result, following=[f"bundle info {bundle}", f"classify {bundle} IMAGES"])


def cost(request: CostRequest) -> None:
    """Count weights, and multiply-accumulates up to each exit with their share of the full network's."""
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.costing import cost as run

    Terminal().show(run(request))


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(BenchmarkRequest):
    """Options."""

    json: Path | None = option(
        None, "Write the figures here; `gfnet-dynn calibrate --benchmark` reads them.", panel="Output"
    )
    html: Path | None = option(None, "Write a page with tables and plots here.", panel="Output")

    def __post_init__(self) -> None:
        super().__post_init__()
        for file in filter(None, (self.json, self.html)):
            if file.is_dir():
                raise StorageError(f"{file} is a folder: name the file to write")
            require_writable(file.parent)
        if self.html:
            require_extra("an HTML report with plots", "plots")


def benchmark(options: BenchmarkOptions) -> None:
    """Measure latency, accuracy, memory and energy on this device.

    The subject and all candidates that it is compared with are measured on the same images, in turns.
    """
    from gfnet_dynn.cli.terminal import ProgressBars, Terminal
    from gfnet_dynn.workflows.benchmarking import benchmark as run

    console, subject = Terminal(), shlex.quote(options.subject)
    result = run(options, on_progress=ProgressBars(console), log=console.print_line)
    written = []  # before anything is printed: the terminal may be closed
    if options.json:
        command = shlex.join(["gfnet-dynn", *sys.argv[1:]])
        written.append(f"figures: {write_json(options.json, {'command': command, **result.to_dict()})}")
    if options.html:
        title = f"{result.subject} on {result.machine.processor}"
        written.append(f"page: {write_bytes(options.html, result.to_html(title))}")
    frame = result.candidates[0].end_to_end
    if is_bundle(options.subject) and frame:
        first = "" if options.json else "the same with --json FILE, then "
        written.append(
            f"next: {first}gfnet-dynn calibrate {subject} IMAGES --max-ms {0.9 * frame.mean_ms:.3g} "
            f"--benchmark {shlex.quote(str(options.json or 'FILE'))} --name fast"
        )
    elif Path(options.subject).exists():
        written.append(f"next: gfnet-dynn export {subject} -o scene.gfd")
    console.show(result)
    for line in written:
        console.print_line(line)
