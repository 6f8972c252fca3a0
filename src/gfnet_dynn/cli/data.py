"""`gfnet-dynn data`: list, download and check data sets."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.cli.command import Group, command
from gfnet_dynn.data.request import DataCheckRequest, DataDownloadRequest, DataListRequest
from gfnet_dynn.options import option

app = Group("data", "List, download and check data sets.")


@command(app, "list", DataListRequest)
def list_datasets(request: DataListRequest) -> None:
    """List the data sets that are known by name."""
    from gfnet_dynn.cli.render.tables import print_tables
    from gfnet_dynn.cli.render.terminal import Terminal
    from gfnet_dynn.workflows.datasets import list_datasets as run

    print_tables(run(request), Terminal(highlight=False))


@command(app, "download", DataDownloadRequest)
def download(request: DataDownloadRequest) -> None:
    """Fetch a data set, verify it and put its images into train and val folders."""
    from gfnet_dynn.cli.render.progress import ProgressBars
    from gfnet_dynn.cli.render.tables import print_next, print_tables
    from gfnet_dynn.cli.render.terminal import Terminal
    from gfnet_dynn.data.catalogue.download import download_dataset

    console = Terminal(highlight=False)
    result = download_dataset(request, on_progress=ProgressBars(Terminal(stderr=True)))
    print_tables(result, console)
    print_next(console, f"data check {shlex.quote(str(result.path))}", f"train {shlex.quote(str(result.path))}")


@dataclass(frozen=True)
class CheckOutput:
    """Output."""

    json: Path | None = option(None, "Write the whole report to this file.")


@dataclass(frozen=True)
class CheckOptions:
    """Options."""

    request: DataCheckRequest
    output: CheckOutput


@command(app, "check", CheckOptions)
def check(options: CheckOptions) -> None:
    """Decode and compare every image; the exit status is 2 if there are problems."""
    from gfnet_dynn.cli.render.progress import ProgressBars
    from gfnet_dynn.cli.render.tables import print_next, print_tables
    from gfnet_dynn.cli.render.terminal import Terminal
    from gfnet_dynn.system.storage import write_json
    from gfnet_dynn.workflows.datasets import check_dataset

    result = check_dataset(options.request, on_progress=ProgressBars(Terminal(stderr=True)))
    if options.output.json is not None:
        write_json(options.output.json, result.to_dict())
    console = Terminal(highlight=False)
    print_tables(result, console)
    if result.problems:
        raise SystemExit(2)
    print_next(console, f"train {shlex.quote(result.root)}")
