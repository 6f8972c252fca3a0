"""Every choice of a training run, with its default and what it means; the command line and the recipes read it here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from gfnet_dynn.data.loading.augmentation_policy import AUGMENTATIONS, Augmentation
from gfnet_dynn.errors import TrainingError

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


def setting(default: Any, explanation: str) -> Any:
    """A field with its help."""
    return field(default=default, metadata={"help": explanation})


def require_finite(settings: Any) -> None:
    """Refuse numbers that compare with nothing.

    Args:
        settings: a dataclass.

    Raises:
        TrainingError: a field is infinite or no number.
    """
    for each in fields(settings):
        value = getattr(settings, each.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise TrainingError(f"{flag(each.name)} must be a finite number, not {value}")


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How a network is trained; the help of each field says what it does."""

    batch: int = setting(64, "Images in a batch.")
    num_epoch: int = setting(100, "Epochs of the joint stage.")
    backbone_epochs: int | None = setting(
        None,
        "Epochs of the backbone alone; with a --checkpoint-path only where this is given. (default: as --num_epoch)",
    )
    warmup_epochs: int | None = setting(
        None, "Most epochs of the exits' warm-up; patience ends it sooner. (default: as --num_epoch)"
    )
    patience: int = setting(5, "Epochs without a better selection accuracy after which an exit is frozen in warm-up.")
    ce_ic_tradeoff: float = setting(
        0.75, "λ: what the whole network's cost weighs against cross-entropy; larger means earlier exits."
    )
    bilevel_batches: int | None = setting(
        None,
        "Optimiser steps before the joint stage turns from gates to network and back, counted over the whole run. "
        "(default: an odd number of phases, at least nine, of at most 200 steps)",
    )
    gate_share: float = setting(
        0.2, "Share of the joint stage's steps that trains the gates; --bilevel-batches makes all phases alike instead."
    )
    exit_distillation: float = setting(
        0.2,
        "Weight of distillation into the exits in the joint stage: from the teacher, without one from the last exit.",
    )
    exit_floor: float = setting(
        0.1, "Share of the joint loss that all exits get evenly; with 0, as published, late exits can stop training."
    )
    freeze_backbone: bool = setting(
        False,
        "Keep backbone and final classifier as they are in the joint stage; with --refit the exits' heads too, so that "
        "it takes no steps and only fits the gates, in closed form.",
    )
    freeze_stages: int = setting(
        0, "Of weights that came trained: stem and so many first stages keep theirs, which trains faster. 0: none."
    )
    refit: bool = setting(
        True, "Fit heads anew in closed form after each stage, where selection gains by it, and then the gates to them."
    )
    allowed_loss: float = setting(
        0.01,
        "Share of the selection split that may get another answer than the full network's, by the threshold chosen.",
    )
    lr: float = setting(1e-3, "Peak learning rate; it follows a cosine to zero.")
    trunk_lr: float | None = setting(
        None,
        "The same for a trunk with ImageNet weights in the backbone stage: at a lower one it keeps what it knows while "
        "new blocks and heads learn. (default: --lr)",
    )
    joint_lr: float | None = setting(
        None, "The same for the network in the joint stage; lower where that begins from a good one. (default: --lr)"
    )
    optimizer: Literal["adamw", "sgd"] = setting("adamw", "adamw or sgd (momentum 0.9).")
    gate_lr: float = setting(1e-2, "Peak learning rate of the gates: five parameters each, and a share of the steps.")
    weight_decay: float | None = setting(
        None, "Decay of matrices and filters; not of position, biases and norms. (default: adamw 0.05, sgd 0.0005)"
    )
    label_smoothing: float = setting(0.1, "Label smoothing of every cross-entropy that trains heads or backbone.")
    drop_path: float = setting(0.1, "Stochastic depth at the last block, rising from 0 at the first.")
    augmentation: Augmentation = setting(
        "overhead", "none, overhead (8 symmetries, crop, colour) or randaugment (overhead and RandAugment)."
    )
    seed: int = setting(0, "Seed of weights, order and augmentation.")
    precision: Precision = setting(
        "auto",
        "auto (half where GPU or processor is faster at it), 32-true, bf16-mixed or 16-mixed. Filters stay in float32.",
    )
    device: str = setting("auto", "auto, cpu, cuda or mps.")
    checkpoint_minutes: float = setting(5.0, "Minutes between checkpoints within an epoch; each epoch ends with one.")

    def __post_init__(self) -> None:
        require_finite(self)
        counts = ("batch", "num_epoch", "backbone_epochs", "warmup_epochs", "patience", "bilevel_batches")
        for name in (*counts, "lr", "trunk_lr", "joint_lr", "gate_lr"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise TrainingError(f"{flag(name)} must be above 0, not {value}")
        for name in (
            "ce_ic_tradeoff",
            "exit_distillation",
            "freeze_stages",
            "weight_decay",
            "seed",
            "checkpoint_minutes",
        ):
            if (getattr(self, name) or 0) < 0:
                raise TrainingError(f"{flag(name)} must not be negative, not {getattr(self, name)}")
        for name in ("label_smoothing", "drop_path", "exit_floor", "allowed_loss", "gate_share"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{flag(name)} must lie from 0 to below 1, not {getattr(self, name)}")
        self._require_choices()
        self._require_effect()

    @property
    def gates_alone(self) -> bool:
        """Whether the joint stage only fits the gates, in closed form.

        On a backbone that stays, no gradient step can better heads that were fitted in closed form.
        """
        return self.freeze_backbone and self.refit

    def _require_effect(self) -> None:
        """Refuse choices about gradient steps of the joint stage where it takes none."""
        if not self.gates_alone:
            return
        idle = ("joint_lr", "bilevel_batches", "gate_share", "gate_lr", "exit_distillation", "exit_floor")
        for each in fields(self):
            if each.name in idle and getattr(self, each.name) != each.default:
                raise TrainingError(
                    f"{flag(each.name)} has no effect with --freeze-backbone and --refit, by which the joint stage "
                    "only fits the gates, in closed form: leave it away, or give --no-refit"
                )

    def _require_choices(self) -> None:
        choices: Mapping[str, tuple[str, ...]] = {
            "optimizer": ("adamw", "sgd"),
            "augmentation": AUGMENTATIONS,
            "precision": ("auto", "32-true", "bf16-mixed", "16-mixed"),
            "device": ("auto", "cpu", "cuda", "mps"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise TrainingError(f"{flag(name)} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)


def flag(name: str) -> str:
    """The command-line option of a field: as published, `num_epoch` and `ce_ic_tradeoff` keep their underscores."""
    return f"--{name}" if name in ("num_epoch", "ce_ic_tradeoff") else f"--{name.replace('_', '-')}"
