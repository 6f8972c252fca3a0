"""Every choice of distillation, with its default and what it means."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from gfnet_dynn.errors import OptionError
from gfnet_dynn.options import flag, option, require, require_finite

Kind = Literal["none", "hard", "soft"]


@dataclass(frozen=True, slots=True)
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
    distillation: Kind = option(
        "soft",
        "hard: the teacher's class, for a second classifier (DeiT); soft: its probabilities; none.",
        rare=True,
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
        require_finite(self)
        positive = ("teacher_size", "teacher_epochs", "teacher_batch", "teacher_lr", "temperature")
        require(self, positive, lambda value: value > 0, "be above 0")
        require(self, ("frequency_weight", "views"), lambda value: value >= 0, "not be negative")
        require(self, ("distillation_weight",), lambda value: 0 <= value <= 1, "lie from 0 to 1")
        require(self, ("distillation",), lambda value: value in ("none", "hard", "soft"), "be none, hard or soft")
        if self.teacher is not None and self.teacher.casefold() == "none":
            object.__setattr__(self, "teacher", None)  # so that the command line can remove a recipe's teacher
        self._require_teacher()

    def _require_teacher(self) -> None:
        for name in ("unlabelled", "frequency_weight", "teacher_start"):
            if self.teacher is None and getattr(self, name):
                raise OptionError(f"{flag(name)} needs a --teacher")
        if self.teacher is not None and self.distillation == "none" and not self.frequency_weight:
            raise OptionError("the --teacher has no effect: with --distillation none, give a --frequency-weight")
        if self.distillation == "hard" and self.distillation_weight == 1:
            raise OptionError("--distillation hard needs a --distillation-weight below 1: labels train one head")

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}
