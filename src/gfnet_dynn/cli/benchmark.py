"""`gfnet-dynn benchmark`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.benchmark.request import BenchmarkRequest, is_bundle
from gfnet_dynn.errors import StorageError, require_extra
from gfnet_dynn.options import option
from gfnet_dynn.system.storage import require_writable, write_bytes, write_json


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
