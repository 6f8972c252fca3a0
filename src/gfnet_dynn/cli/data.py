"""`gfnet-dynn data`: list, download and check data sets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.table import Table

from gfnet_dynn.cli.options import MaxPixels, Stretch, path
from gfnet_dynn.cli.terminal import Terminal
from gfnet_dynn.data.catalogue import fetch
from gfnet_dynn.data.catalogue.configs import DatasetConfig, find_dataset, known_names
from gfnet_dynn.data.catalogue.download import download_dataset
from gfnet_dynn.data.catalogue.registry import KNOWN_SETS
from gfnet_dynn.data.checks.check import CheckReport, check_dataset
from gfnet_dynn.data.checks.report import PartReport
from gfnet_dynn.errors import DataError
from gfnet_dynn.images.decode import MAX_PIXELS, DecodeOptions
from gfnet_dynn.system.storage import write_json

app = typer.Typer(help="List, download and check data sets.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Data set, whatever the case: see 'gfnet-dynn data list'.")]
Config = Annotated[Path | None, typer.Option(help="TOML file that describes further data sets.", parser=path)]


@app.command("list")
def list_datasets(dataset_config: Config = None) -> None:
    """List the data sets that are known by name."""
    table = Table(
        *("name", "classes", "px", "split", "images", "licence", "get it by", "here"),
        title="Data sets",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for column in table.columns:
        column.no_wrap = True
    for name in known_names(dataset_config):
        proper, config = find_dataset(name, dataset_config)
        known = KNOWN_SETS.get(proper)
        split = "random" if config.use_random_split else "folders"
        numbers = (str(config.num_classes), str(config.default_input_size), split, str(known.images) if known else "–")
        origin = (known.licence, known.way) if known else ("–", "by hand")
        table.add_row(proper, *numbers, *origin, "yes" if _is_here(config) else "no")
    _stdout().print(table)


def _is_here(config: DatasetConfig) -> bool:
    return config.default_data_path is not None and (Path(config.default_data_path) / config.train_folder).is_dir()


@app.command()
def download(
    name: Name,
    to: Annotated[
        Path | None, typer.Option(help="Folder of the data sets; the set goes into a folder in it.", parser=path)
    ] = None,
    dataset_config: Config = None,
    split_ratio: Annotated[
        float | None,
        typer.Option("--split-ratio", "--split_ratio", help="Share of each class for the train folder (default 0.8)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split into train and val, or of the drawing.")] = 0,
) -> None:
    """Fetch a data set, verify it and lay it out in train and val folders."""
    proper, config = find_dataset(name, dataset_config)
    folder = to if to is not None else Path(config.default_data_path or f"data/{proper}").parent
    with _progress() as report:
        done = download_dataset(proper, config, folder, split_ratio=split_ratio, seed=seed, progress=report)
    counts = ", ".join(f"{count} {part}" for part, count in done.images.items())
    state = "is ready" if done.fetched else "is there already, left as it is"
    _say(f"{proper} {state}: {done.path} ({counts} images; licence: {KNOWN_SETS[proper].licence})")


@app.command()
def check(
    name: Name,
    data_path: Annotated[
        Path | None, typer.Option(help="Folder of the data set; by default its usual place.", parser=path)
    ] = None,
    dataset_config: Config = None,
    json: Annotated[Path | None, typer.Option(help="Write the whole report to this file.", parser=path)] = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    stretch: Stretch = None,
) -> None:
    """Decode and compare every image; the exit status is 2 if there are problems."""
    proper, config = find_dataset(name, dataset_config)
    root = data_path or (Path(config.default_data_path) if config.default_data_path else None)
    if root is None:
        raise DataError(f"{proper} has no usual place: say where it is with --data-path")
    with _progress() as report:
        options = DecodeOptions(max_pixels, stretch)
        found = check_dataset(proper, config, root, lambda done, total: report("decoding", done, total), options)
    if json is not None:
        write_json(json, found.to_dict())
    _show(found)
    if found.problems:
        raise typer.Exit(2)


def _show(report: CheckReport) -> None:
    table = Table("part", "classes", "images", "per class", "size (px)", "formats", "corrupt", title=report.name)
    for part in report.parts:
        table.add_row(*_row(part))
    _stdout().print(table)
    for note in report.notes:
        _say(f"note: {note}")
    for problem in report.problems:
        _say(f"problem: {problem}", style="red")
    if not report.problems:
        _say(f"{report.name} is fine", style="green")


def _row(part: PartReport) -> Iterator[str]:
    counts = part.images_per_class.values()
    least, most = min(counts, default=0), max(counts, default=0)
    yield part.part
    yield str(len(counts))
    yield str(sum(counts))
    yield str(least) if least == most else f"{least} to {most}"
    yield part.common_size or "-"
    yield ", ".join(sorted(part.formats)) or "-"
    yield str(len(part.corrupt))


def _stdout() -> Console:
    return Terminal(highlight=False)


def _say(message: str, style: str | None = None) -> None:
    Terminal(highlight=False, soft_wrap=True).print(escape(message), style=style)


@contextmanager
def _progress() -> Iterator[fetch.Progress]:
    console = Terminal(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(escape(stage), total=total)
            bars.update(tasks[stage], completed=done)

        yield report
