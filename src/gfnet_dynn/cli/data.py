"""`gfnet-dynn data`: list, download and check data sets."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.cli.command import Group, command
from gfnet_dynn.data.request import DataCheckRequest, DataDownloadRequest, DataListRequest
from gfnet_dynn.options import option

app = Group("data", "List, download and check data sets.")


@command(app, "list")
def list_datasets(request: DataListRequest) -> None:
    """List the data sets that are known by name."""
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.datasets import list_datasets as run

    Terminal().show(run(request))


@command(app, "download")
def download(request: DataDownloadRequest) -> None:
    """Fetch a data set, verify it and put its images into train and val folders."""
    from gfnet_dynn.cli.terminal import ProgressBars, Terminal
    from gfnet_dynn.data.catalogue.download import download_dataset

    result = download_dataset(request, on_progress=ProgressBars(Terminal(stderr=True)))
    path = shlex.quote(str(result.path))
    Terminal().show(result, following=[f"data check {path}", f"train {path}"])


@dataclass(frozen=True, kw_only=True)
class CheckOptions(DataCheckRequest):
    """Options."""

    json: Path | None = option(None, "Write the whole report to this file.", panel="Output")


@command(app, "check")
def check(options: CheckOptions) -> None:
    """Decode and compare every image; the exit status is 2 if there are problems."""
    from gfnet_dynn.cli.terminal import ProgressBars, Terminal
    from gfnet_dynn.system.storage import write_json
    from gfnet_dynn.workflows.datasets import check_dataset

    result = check_dataset(options, on_progress=ProgressBars(Terminal(stderr=True)))
    if options.json is not None:
        write_json(options.json, result.to_dict())
    Terminal().show(result, following=[] if result.problems else [f"train {shlex.quote(result.root)}"])
    if result.problems:
        raise SystemExit(2)
