"""`gfnet-dynn benchmark`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.benchmark.request import BenchmarkRequest, is_bundle
from gfnet_dynn.errors import StorageError
from gfnet_dynn.options import option
from gfnet_dynn.system.storage import require_writable, write_bytes, write_json
from gfnet_dynn.workflows.extras import require_plots


@dataclass(frozen=True)
class Output:
    """Output."""

    json: Path | None = option(None, "Write the figures here; `gfnet-dynn calibrate --benchmark` reads them.")
    html: Path | None = option(None, "Write a page with tables and plots here.")

    def __post_init__(self) -> None:
        for file in filter(None, (self.json, self.html)):
            if file.is_dir():
                raise StorageError(f"{file} is a folder: name the file to write")
            require_writable(file.parent)
        if self.html:
            require_plots()


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options."""

    request: BenchmarkRequest
    output: Output


REQUEST = BenchmarkOptions


def benchmark(options: BenchmarkOptions) -> None:
    """Measure latency, accuracy, memory and energy on this device.

    The subject and all candidates that it is compared with are measured on the same images, in turns.
    """
    from rich.text import Text

    from gfnet_dynn.cli.render.progress import ProgressBars
    from gfnet_dynn.cli.render.tables import print_tables
    from gfnet_dynn.cli.render.terminal import Terminal
    from gfnet_dynn.workflows.benchmarking import benchmark as run

    request, output, console = options.request, options.output, Terminal()
    result = run(request, on_progress=ProgressBars(console), log=lambda line: console.print(Text(line)))
    written = []  # before anything is printed: the terminal may be closed
    if output.json:
        command = shlex.join(["gfnet-dynn", *sys.argv[1:]])
        written.append(f"figures: {write_json(output.json, {'command': command, **result.to_dict()})}")
    if output.html:
        written.append(f"page: {write_bytes(output.html, result.to_html())}")
    print_tables(result, console)
    frame = result.candidates[0].end_to_end
    if is_bundle(request.subject) and frame:
        bundle, figures = shlex.quote(request.subject), shlex.quote(str(output.json or "FILE"))
        first = "" if output.json else "the same with --json FILE, then "
        written.append(
            f"next: {first}gfnet-dynn calibrate {bundle} IMAGES --max-ms {0.9 * frame.mean_ms:.3g} "
            f"--benchmark {figures} --name fast"
        )
    elif Path(request.subject).exists():
        written.append(f"next: gfnet-dynn export {shlex.quote(request.subject)} -o scene.gfd")
    for line in written:
        console.print(Text(line), soft_wrap=True)
