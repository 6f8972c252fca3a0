"""What to train, on what, and how: the request of `gfnet_dynn.workflows.training.train`. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from gfnet_dynn.data.request import Augmentation, DataOptions, SplitSettings
from gfnet_dynn.errors import OptionError
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import flag, lenient, option, require
from gfnet_dynn.spec.network import NetworkOptions
from gfnet_dynn.units import share_option

_NO_STEPS = ("joint_lr", "bilevel_batches", "gate_share", "gate_lr", "exit_distillation", "exit_floor")


@dataclass(frozen=True, slots=True)
@lenient
class TrainSettings:
    """Training."""

    batch: int = option(64, "Images in a batch.")
    num_epoch: int = option(100, "Epochs of the joint stage.")
    backbone_epochs: int | None = option(
        None, "Epochs of the backbone stage; with --checkpoint-path only where given. [default: --num-epoch]"
    )
    warmup_epochs: int | None = option(
        None, "Most epochs of the exits' warm-up; --patience ends it sooner. [default: --num-epoch]"
    )
    patience: int = option(
        5, "Epochs without a better selection accuracy after which an exit is frozen in warm-up.", rare=True
    )
    ce_ic_tradeoff: float = option(
        0.75, "λ, weight of the inference cost against the cross-entropy; larger means earlier exits."
    )
    bilevel_batches: int | None = option(
        None,
        "Steps of each phase of the joint stage, which trains gates and network in turn. [default: an odd number of "
        "phases, at least nine, of at most 200 steps]",
        rare=True,
    )
    gate_share: float = share_option(
        0.2, "Share of the joint stage's steps that trains the gates, without --bilevel-batches.", rare=True
    )
    exit_distillation: float = option(
        0.2,
        "Weight of distillation into the exits in the joint stage: from the teacher, else from the final exit.",
        rare=True,
    )
    exit_floor: float = share_option(
        0.1,
        "Share of the joint loss that is spread evenly over the exits; with 0, as published, late exits can stop "
        "training.",
        rare=True,
    )
    freeze_backbone: bool = option(
        False,
        "Freeze backbone and final classifier in the joint stage; with --refit it then only fits the gates, in closed "
        "form.",
        rare=True,
    )
    freeze_blocks: int = option(0, "Freeze the stem and this many first blocks of pretrained weights.", rare=True)
    refit: bool = option(
        True,
        "Refit the classifiers in closed form after each stage, where the selection accuracy gains by it.",
        rare=True,
    )
    allowed_loss: float = share_option(
        0.01,
        "Share of the selection split whose answer may differ from the full network's at the threshold chosen.",
        rare=True,
    )
    lr: float = option(1e-3, "Peak learning rate; it follows a cosine to zero.")
    trunk_lr: float | None = option(
        None, "The same for a pretrained trunk in the backbone stage. [default: --lr]", rare=True
    )
    joint_lr: float | None = option(None, "The same for the network in the joint stage. [default: --lr]", rare=True)
    optimizer: Literal["adamw", "sgd"] = option("adamw", "adamw or sgd (momentum 0.9).", rare=True)
    gate_lr: float = option(1e-2, "Peak learning rate of the gates.", rare=True)
    weight_decay: float | None = option(
        None, "Decay of matrices and filters, not of position, biases and norms. [default: adamw 0.05, sgd 0.0005]"
    )
    label_smoothing: float = option(0.1, "Label smoothing of the cross-entropy.")
    drop_path: float = option(0.1, "Stochastic depth at the last block, rising from 0 at the first.", rare=True)
    augmentation: Augmentation = option(
        "overhead", "none, overhead (8 symmetries, crop, colour) or randaugment (overhead and RandAugment)."
    )
    seed: int = option(0, "Seed of weights, order and augmentation.")
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = option(
        "auto", "auto (half where the device is faster at it), 32-true, bf16-mixed or 16-mixed.", rare=True
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", "auto, cpu, cuda or mps.")
    checkpoint_minutes: float = option(
        5.0, "Minutes between checkpoints within an epoch; each epoch ends with one.", rare=True
    )

    def __post_init__(self) -> None:
        counts = ("batch", "num_epoch", "backbone_epochs", "warmup_epochs", "patience", "bilevel_batches")
        require(self, (*counts, "lr", "trunk_lr", "joint_lr", "gate_lr"), lambda value: value > 0, "be above 0")
        weights = ("ce_ic_tradeoff", "exit_distillation", "freeze_blocks", "weight_decay", "seed", "checkpoint_minutes")
        require(self, weights, lambda value: value >= 0, "not be negative")
        shares = ("label_smoothing", "drop_path", "exit_floor", "allowed_loss", "gate_share")
        require(self, shares, lambda value: 0 <= value < 1, "lie from 0 to below 1")
        for each in fields(self):
            if self.gates_alone and each.name in _NO_STEPS and getattr(self, each.name) != each.default:
                raise OptionError(
                    f"{flag(each.name)} has no effect with --freeze-backbone and --refit, as the joint stage then "
                    "only fits the gates, in closed form: omit it, or give --no-refit"
                )

    @property
    def gates_alone(self) -> bool:
        """Whether the joint stage only fits the gates, in closed form.

        With a frozen backbone, no gradient step improves heads that were fitted in closed form.
        """
        return self.freeze_backbone and self.refit


@dataclass(frozen=True, slots=True)
@lenient
class DistillationSettings:
    """Distillation."""

    teacher: str | None = option(
        None, "Model to fine-tune on the data first, or a trained one: run folder, .safetensors, .pth; or none."
    )
    teacher_start: Path | None = option(
        None, "Weights that a model named by --teacher starts from, such as a .pth.", rare=True
    )
    teacher_size: int | None = option(
        None, "Side of the teacher's input in pixels. [default: its usual one]", rare=True
    )
    teacher_epochs: int = option(8, "Epochs of the teacher's fine-tuning.", rare=True)
    teacher_batch: int = option(32, "Images in a batch of it.", rare=True)
    teacher_lr: float = option(1e-3, "Peak learning rate of it.", rare=True)
    distillation: Literal["none", "hard", "soft"] = option(
        "soft", "hard: the teacher's class, for a second classifier (DeiT); soft: its probabilities; none.", rare=True
    )
    distillation_weight: float = option(0.5, "α, weight of the teacher against the labels, 0 to 1.", rare=True)
    temperature: float = option(2.0, "τ, softens teacher and student in soft distillation.", rare=True)
    frequency_weight: float = option(
        0.0, "β, weight of distilling feature maps in the frequency domain (our own design).", rare=True
    )
    views: int = option(
        16, "Augmented views of each image, used in turn, whose teacher outputs are cached; 0: new ones.", rare=True
    )
    unlabelled: Path | None = option(None, "Folder of further images without labels for the student to learn from.")

    def __post_init__(self) -> None:
        positive = ("teacher_size", "teacher_epochs", "teacher_batch", "teacher_lr", "temperature")
        require(self, positive, lambda value: value > 0, "be above 0")
        require(self, ("frequency_weight", "views"), lambda value: value >= 0, "not be negative")
        require(self, ("distillation_weight",), lambda value: 0 <= value <= 1, "lie from 0 to 1")
        if self.teacher is not None and self.teacher.casefold() == "none":
            object.__setattr__(self, "teacher", None)  # so that the command line can remove a recipe's teacher
        for name in ("unlabelled", "frequency_weight", "teacher_start"):
            if self.teacher is None and getattr(self, name):
                raise OptionError(f"{flag(name)} needs a --teacher")
        if self.teacher is not None and self.distillation == "none" and not self.frequency_weight:
            raise OptionError("the --teacher has no effect: with --distillation none, give a --frequency-weight")
        if self.distillation == "hard" and self.distillation_weight == 1:
            raise OptionError("--distillation hard needs a --distillation-weight below 1: labels train one head")


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
