"""What to export. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.bundle.builtin import SUFFIX
from gfnet_dynn.errors import OptionError
from gfnet_dynn.options import lenient, option


@dataclass(frozen=True, kw_only=True)
@lenient
class ExportRequest:
    """Options."""

    run: Path = option(..., "Folder of a run, or its .safetensors file.", argument=True)
    output: Path = option(..., "Bundle to write, such as scene.gfd.", short="-o")
    single_graph: Path | None = option(
        None, "Also write one ONNX file with nested If, for any ONNX runtime, such as scene.onnx."
    )
    compact: bool = option(
        False, "Store the large weights of fp32 in 8 bits: a third of the file, computed in fp32 as before."
    )
    int8: bool = option(True, "Add int8, unless it is shown to lose more than half a point.")
    calibration_images: int = option(128, "Training images for the ranges of int8.")
    data_path: Path | None = option(None, "Folder of the data set. [default: as in training]")
    dataset_config: Path | None = option(
        None, "TOML file of the data set, for weights outside of a run's folder.", rare=True
    )

    def __post_init__(self) -> None:
        if self.calibration_images < 1:
            raise OptionError(f"--calibration-images must be at least 1, not {self.calibration_images}")
        for name, file in (("--output", self.output), ("--single-graph", self.single_graph)):
            if file is not None and file.is_dir():
                raise OptionError(
                    f"{name}: {file} is a folder; name the file to write, such as {file / f'scene{SUFFIX}'}"
                )

    @property
    def bundle(self) -> Path:
        """The file to write; without a suffix it gets that of bundles."""
        return self.output if self.output.suffix else self.output.with_suffix(SUFFIX)
