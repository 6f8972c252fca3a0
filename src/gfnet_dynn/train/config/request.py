"""What to train, on what, and how: the request of `gfnet_dynn.workflows.training.train`. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from gfnet_dynn.data.request import DataOptions, SplitSettings
from gfnet_dynn.errors import OptionError
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import lenient, option
from gfnet_dynn.spec.request import NetworkOptions
from gfnet_dynn.train.config.distillation import DistillationSettings
from gfnet_dynn.train.config.training import TrainSettings


@dataclass(frozen=True)
@lenient
class Start:
    """Start."""

    checkpoint: Path | None = option(
        None, "Weights to start from: a .pth, a .safetensors, or the folder of a run.", flag="--checkpoint-path"
    )
    new_head: bool = option(
        False, "With --checkpoint-path: keep its backbone, train new classifiers and gates.", rare=True
    )
    pretrained: bool = option(
        True, "Without --checkpoint-path: start a convolutional trunk from ImageNet weights.", rare=True
    )

    def __post_init__(self) -> None:
        if self.new_head and self.checkpoint is None:
            raise OptionError("--new-head needs a --checkpoint-path, whose classifiers it replaces")


@dataclass(frozen=True, kw_only=True)
@lenient
class RunOptions:
    """Run."""

    output: Path = option(Path("checkpoint"), "Folder of runs and splits.")
    resume: bool = option(False, "Continue the interrupted run of the same settings.")
    tensorboard: bool = option(True, "Write metrics for TensorBoard beside the JSON lines.", rare=True)
    mlflow: bool = option(False, "Log to MLflow too.", rare=True)
    threads: int | None = option(None, "Processor threads. [default: torch's choice]", rare=True)


@dataclass(frozen=True, kw_only=True)
@lenient
class TrainRequest:
    """Options.

    Each field is a group of options, and a table of a recipe.
    """

    folder: Path | None = option(
        None,
        "Folder of class folders, or of train, val (and test) with class folders; instead of --data-set.",
        argument=True,
    )
    data: DataOptions = field(default_factory=DataOptions)
    split: SplitSettings = field(default_factory=SplitSettings)
    decode: DecodeOptions = DEFAULT
    network: NetworkOptions = field(default_factory=NetworkOptions)
    start: Start = field(default_factory=Start)
    training: TrainSettings = field(default_factory=TrainSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        if self.folder is not None:
            if self.data.data_path is not None:
                raise OptionError(f"the data set is given twice: as {self.folder} and as {self.data.data_path}")
            object.__setattr__(self, "data", replace(self.data, data_path=self.folder))
            object.__setattr__(self, "folder", None)
