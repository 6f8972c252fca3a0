"""What to evaluate, and which evaluated runs to compare. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from gfnet_dynn.bundle.builtin import HELP, SUFFIX, find_bundle
from gfnet_dynn.errors import OptionError
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import flag, lenient, option, require
from gfnet_dynn.reporting.contact_sheet import require_sheet_format
from gfnet_dynn.runtime.request import EngineName, PrecisionName
from gfnet_dynn.spec.backbone import ExitPooling
from gfnet_dynn.spec.network import parse_exits
from gfnet_dynn.units import share_option

_DATA = "Other data than those of the run"
_run, _bundle = partial(option, panel="A run"), partial(option, panel="A bundle")
_data, _published = partial(option, panel=_DATA, rare=True), partial(option, panel="A published .pth file", rare=True)


@dataclass(frozen=True, kw_only=True)
@lenient
class EvaluationRequest:
    """Options."""

    subject: Path = option(
        ...,
        f"Folder of a run, or weights (.safetensors, .pth). {HELP}",
        argument=True,
        parse=find_bundle,
    )
    images: Path | None = option(None, "For a bundle: a folder with a folder of images for each class.", argument=True)
    report: Path | None = option(
        None, "Folder for JSON, HTML and plots. [default: for a run, `evaluation` beside its weights]"
    )
    mistakes: Path | None = option(None, "Picture of the most confident mistakes, such as mistakes.png.")
    threads: int | None = option(None, "Processor threads. [default: the engine's choice]")
    policy: str | None = _bundle(None, "Exit policy of the detailed tables. [default: the bundle's default]")
    engine: EngineName = _bundle("onnxruntime", "Inference engine; openvino is an extra.")
    precision: PrecisionName = _bundle("auto", "auto: as `classify` chooses.")
    data_path: Path | None = _run(None, "Folder of the data set. [default: as in training]")
    device: Literal["auto", "cpu", "cuda", "mps"] = _run("auto", "Where torch runs.")
    latency_images: int = _run(48, "Images to time at batch 1; 0: no timing.")
    latency_repeats: int = _run(3, "Rounds of timing; the median counts.")
    data_set: str | None = _data(None, "Name of the data set; see `data list`.")
    dataset_config: Path | None = _data(None, "TOML file that describes the data set.")
    input_size: int | None = _data(None, "Side of the input in pixels. [default: as in training]")
    pad: bool = _data(False, "Pad the input to whole patches by reflection.")
    split_seed: int | None = _data(None, "Seed of the split.")
    split_ratio: float | None = share_option(
        None, "Share of a random-split data set for training and selection.", panel=_DATA, rare=True
    )
    selection_share: float | None = share_option(
        None, "Share of the training images for selection.", panel=_DATA, rare=True
    )
    on_bad_image: Literal["refuse", "skip"] = _data("refuse", "What to do with files that cannot be decoded.")
    model: str | None = _published(None, "Network. [default: gfnet-192x12]")
    exits: tuple[int, ...] | None = _published(
        None, "Blocks with exits, such as 3,5,7,9.", parse=parse_exits, metavar="BLOCKS"
    )
    exit_pooling: ExitPooling | None = _published(None, "Pooling of the exits.")
    decode: DecodeOptions = DEFAULT

    def __post_init__(self) -> None:
        require(self, ("latency_images",), lambda count: count >= 0, "be at least 0")
        require(self, ("latency_repeats",), lambda count: count >= 1, "be at least 1")
        if self.mistakes is not None:
            require_sheet_format(self.mistakes)
        if self.is_bundle and self.images is None:
            raise OptionError(f"{self.subject} is a bundle: name the folder of images to evaluate it on")
        if not self.is_bundle and self.images is not None:
            raise OptionError(
                f"{self.images}: a run is evaluated on its own data set; for another folder export it, and evaluate "
                "the bundle"
            )
        others = ("data_path", "data_set", "dataset_config", "input_size", "model", "exits", "exit_pooling")
        if self.is_bundle and (given := [flag(name) for name in others if getattr(self, name) is not None]):
            raise OptionError(f"{', '.join(given)}: not for a bundle, which is evaluated on {self.images}")

    @property
    def is_bundle(self) -> bool:
        """Whether the subject runs in an inference engine, without torch."""
        return self.subject.suffix == SUFFIX


@dataclass(frozen=True, kw_only=True)
@lenient
class ReportRequest:
    """Options."""

    runs: tuple[Path, ...] = option(..., "Folders of evaluated runs; other folders are skipped.", argument=True)
    output: Path = option(Path("report"), "Folder for the report.")
