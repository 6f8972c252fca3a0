"""Every choice of a training run with its default; the Python API, the command line and the recipes read it here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from gfnet_dynn.data.request import Augmentation
from gfnet_dynn.errors import OptionError
from gfnet_dynn.options import flag, option, require, require_finite
from gfnet_dynn.units import parse_share

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Optimizer = Literal["adamw", "sgd"]

_NO_STEPS = ("joint_lr", "bilevel_batches", "gate_share", "gate_lr", "exit_distillation", "exit_floor")


@dataclass(frozen=True, slots=True)
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
    gate_share: float = option(
        0.2,
        "Share of the joint stage's steps that trains the gates, without --bilevel-batches.",
        rare=True,
        parse=parse_share,
        metavar="SHARE",
    )
    exit_distillation: float = option(
        0.2,
        "Weight of distillation into the exits in the joint stage: from the teacher, else from the final exit.",
        rare=True,
    )
    exit_floor: float = option(
        0.1,
        "Share of the joint loss that is spread evenly over the exits; with 0, as published, late exits can stop "
        "training.",
        rare=True,
        parse=parse_share,
        metavar="SHARE",
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
    allowed_loss: float = option(
        0.01,
        "Share of the selection split whose answer may differ from the full network's at the threshold chosen.",
        rare=True,
        parse=parse_share,
        metavar="SHARE",
    )
    lr: float = option(1e-3, "Peak learning rate; it follows a cosine to zero.")
    trunk_lr: float | None = option(
        None, "The same for a pretrained trunk in the backbone stage. [default: --lr]", rare=True
    )
    joint_lr: float | None = option(None, "The same for the network in the joint stage. [default: --lr]", rare=True)
    optimizer: Optimizer = option("adamw", "adamw or sgd (momentum 0.9).", rare=True)
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
    precision: Precision = option(
        "auto", "auto (half where the device is faster at it), 32-true, bf16-mixed or 16-mixed.", rare=True
    )
    device: Device = option("auto", "auto, cpu, cuda or mps.")
    checkpoint_minutes: float = option(
        5.0, "Minutes between checkpoints within an epoch; each epoch ends with one.", rare=True
    )

    def __post_init__(self) -> None:
        require_finite(self)
        counts = ("batch", "num_epoch", "backbone_epochs", "warmup_epochs", "patience", "bilevel_batches")
        require(self, (*counts, "lr", "trunk_lr", "joint_lr", "gate_lr"), lambda value: value > 0, "be above 0")
        weights = ("ce_ic_tradeoff", "exit_distillation", "freeze_blocks", "weight_decay", "seed", "checkpoint_minutes")
        require(self, weights, lambda value: value >= 0, "not be negative")
        shares = ("label_smoothing", "drop_path", "exit_floor", "allowed_loss", "gate_share")
        require(self, shares, lambda value: 0 <= value < 1, "lie from 0 to below 1")
        choices = {"optimizer": Optimizer, "augmentation": Augmentation, "precision": Precision, "device": Device}
        for name, kind in choices.items():
            require(self, (name,), get_args(kind).__contains__, f"be one of {', '.join(get_args(kind))}")
        if self.gates_alone:
            for each in fields(self):
                if each.name in _NO_STEPS and getattr(self, each.name) != each.default:
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

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)
