"""What to evaluate, and which evaluated runs to compare. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gfnet_dynn.bundle.builtin import SUFFIX, find_bundle
from gfnet_dynn.errors import OptionError
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import flag, lenient, option, require
from gfnet_dynn.reporting.contact_sheet import require_sheet_format
from gfnet_dynn.runtime.request import EngineName, PrecisionName
from gfnet_dynn.spec.backbone import ExitPooling
from gfnet_dynn.spec.network import parse_exits
from gfnet_dynn.units import share_option

_RUN, _BUNDLE, _DATA, _PUBLISHED = "A run", "A bundle", "Other data than those of the run", "A published .pth file"


@dataclass(frozen=True, kw_only=True)
@lenient
class EvaluationRequest:
    """Options."""

    subject: Path = option(
        ...,
        f"Folder of a run, weights (.safetensors, .pth), bundle ({SUFFIX}), or the name of a built-in model.",
        argument=True,
        parse=find_bundle,
    )
    images: Path | None = option(None, "For a bundle: a folder with a folder of images for each class.", argument=True)
    report: Path | None = option(
        None, "Folder for JSON, HTML and plots. [default: for a run, `evaluation` beside its weights]"
    )
    mistakes: Path | None = option(None, "Picture of the most confident mistakes, such as mistakes.png.")
    threads: int | None = option(None, "Processor threads. [default: the engine's choice]")
    policy: str | None = option(
        None, "Exit policy of the detailed tables. [default: the bundle's default]", panel=_BUNDLE
    )
    engine: EngineName = option("onnxruntime", "Inference engine; openvino is an extra.", panel=_BUNDLE)
    precision: PrecisionName = option("auto", "auto: as `classify` chooses.", panel=_BUNDLE)
    data_path: Path | None = option(None, "Folder of the data set. [default: as in training]", panel=_RUN)
    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", "Where torch runs.", panel=_RUN)
    latency_images: int = option(48, "Images to time at batch 1; 0: no timing.", panel=_RUN)
    latency_repeats: int = option(3, "Rounds of timing; the median counts.", panel=_RUN)
    data_set: str | None = option(None, "Name of the data set; see `data list`.", panel=_DATA, rare=True)
    dataset_config: Path | None = option(None, "TOML file that describes the data set.", panel=_DATA, rare=True)
    input_size: int | None = option(
        None, "Side of the input in pixels. [default: as in training]", panel=_DATA, rare=True
    )
    pad: bool = option(False, "Pad the input to whole patches by reflection.", panel=_DATA, rare=True)
    split_seed: int | None = option(None, "Seed of the split.", panel=_DATA, rare=True)
    split_ratio: float | None = share_option(
        None, "Share of a random-split data set for training and selection.", panel=_DATA, rare=True
    )
    selection_share: float | None = share_option(
        None, "Share of the training images for selection.", panel=_DATA, rare=True
    )
    on_bad_image: Literal["refuse", "skip"] = option(
        "refuse", "What to do with files that cannot be decoded.", panel=_DATA, rare=True
    )
    model: str | None = option(None, "Network. [default: gfnet-192x12]", panel=_PUBLISHED, rare=True)
    exits: tuple[int, ...] | None = option(
        None, "Blocks with exits, such as 3,5,7,9.", panel=_PUBLISHED, rare=True, parse=parse_exits, metavar="BLOCKS"
    )
    exit_pooling: ExitPooling | None = option(None, "Pooling of the exits.", panel=_PUBLISHED, rare=True)
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
