"""The request of `archive`; needs neither NumPy nor pyarrow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from gfnet_dynn.archive.scene_options import AS_STATED, SceneOptions
from gfnet_dynn.bundle.builtin import HELP, find_bundle
from gfnet_dynn.errors import OptionError
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import lenient, option, require
from gfnet_dynn.runtime.request import (
    EngineName,
    PrecisionName,
    is_bundle,
    policy_option,
    precision_option,
    threshold_option,
)
from gfnet_dynn.units import parse_bytes, share_option

Kind = Literal["auto", "images", "list", "shards", "tables", "scenes"]

_BUNDLE_ON_HUB = re.compile(r"hf://(?!datasets/|buckets/|spaces/)[^/]+/[^/]+$")  # else files of a data set
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/")  # a path has lost one of its slashes

_source, _workers = partial(option, panel="Source"), partial(option, panel="Workers")


def _bundle_or_source(text: str) -> Path | str:
    """A URL stays text, as a path would lose one of its slashes; but for a bundle on the hub."""
    return text if "://" in text and not _BUNDLE_ON_HUB.match(text) else find_bundle(text)


@dataclass(frozen=True, kw_only=True)
@lenient
class ArchiveRequest:
    """Options."""

    bundle: Path | str | None = option(
        None, f"{HELP} [default: the built-in model for --gsd]", argument=True, parse=_bundle_or_source
    )
    sources: tuple[str, ...] = option(
        (),
        "A folder of images, a .txt list of paths and URLs (- for standard input), .tar shards, .parquet tables, "
        "GeoTIFFs or STAC, by path or URL (s3://, gs://, https://); of shards and tables any number of files, folders "
        "and patterns, of scenes files and folders.",
        argument=True,
    )
    output: Path = option(..., "Folder of the answers, one Parquet file for each partition.", short="-o")
    policy: str | None = policy_option()
    threshold: float | tuple[float, ...] | None = threshold_option()
    gsd: float | None = option(
        None,
        "Metres that a pixel covers, to choose among the built-in models; of scenes, in place of what they state.",
        metavar="METRES",
    )
    false_alarms: float = share_option(
        0.01, "Probability, for each partition, that its promise is put in doubt by chance."
    )
    kind: Kind = _source("auto", "What the source holds; auto: by the names of its files.")
    partition_size: int | None = _source(
        None,
        "Images of a partition; a .tar file is one, and row groups are not divided. [default: 1,000 to 10,000, for "
        "some 500 partitions]",
    )
    image_column: str | None = _source(None, "Column of the images in tables. [default: the only one, or image]")
    id_column: str | None = _source(None, "Column of unique ids in tables. [default: file and number of the row]")
    engine: Literal["local", "ray"] = _workers(
        "local", "Where workers run: processes on this machine, or a Ray cluster."
    )
    workers: int | None = _workers(None, "Workers. [default: one for each processor, over --threads]")
    threads: int = _workers(1, "Processor threads of each worker.")
    memory: int | None = _workers(
        None, "Memory of each worker, such as 1G, that Ray reserves.", parse=parse_bytes, metavar="SIZE"
    )
    address: str | None = _workers(None, "Ray cluster, HOST:PORT or auto. [default: this machine]")
    runtime: EngineName = _workers("onnxruntime", "Inference engine of each worker (classify calls it --engine).")
    precision: PrecisionName = precision_option()
    scenes: SceneOptions = AS_STATED
    decode: DecodeOptions = DEFAULT

    def __post_init__(self) -> None:
        if self.bundle is not None and (isinstance(self.bundle, str) or not is_bundle(self.bundle)):
            object.__setattr__(self, "sources", (str(self.bundle), *self.sources))  # the first of the sources
            object.__setattr__(self, "bundle", None)
        if not all(self.sources) or not self.sources:
            raise OptionError(f"nothing to classify: name a source{f' after {self.bundle}' if self.bundle else ''}")
        if _URL.match(str(self.output)):
            raise OptionError(
                f"--output {self.output}: answers are written to a folder that all workers see, local or shared; copy "
                "them to a store when they are there"
            )
        require(self, ("partition_size", "workers", "threads"), lambda value: value >= 1, "be at least 1")
        require(self, ("gsd",), lambda value: value > 0, "be a positive number of metres")
        require(self, ("false_alarms",), lambda value: 0 < value < 1, "be above 0 and below 100%")
        if self.bundle is not None and self.gsd is not None and self.kind != "scenes":
            raise OptionError(f"--gsd chooses among the built-in models: leave it out, or the bundle {self.bundle}")
        if self.engine == "local" and (self.address or self.memory):
            raise OptionError(
                f"--{'address' if self.address else 'memory'} is for --engine ray: leave it out, or add that"
            )

    @property
    def bundle_path(self) -> Path | None:
        """The bundle, where one is named."""
        return None if isinstance(self.bundle, str) else self.bundle
