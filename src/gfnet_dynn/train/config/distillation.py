"""Every choice of distillation, with its default and what it means."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from gfnet_dynn.errors import TrainingError
from gfnet_dynn.train.config.training import flag, require_finite, setting

DISTILLATIONS = ("none", "hard", "soft")


@dataclass(frozen=True, slots=True)
class DistillationSettings:
    """What a network learns from a teacher; the help of each field says what it does."""

    teacher: str | None = setting(
        None,
        "Model to fine-tune on the data first, or a checkpoint that is: run folder, .safetensors, .pth. Or none.",
    )
    teacher_start: Path | None = setting(None, "Weights that a model named by --teacher starts from, such as a .pth.")
    teacher_size: int | None = setting(None, "Side of the teacher's input in pixels. (default: its usual one)")
    teacher_epochs: int = setting(8, "Epochs of the teacher's fine-tuning.")
    teacher_batch: int = setting(32, "Images in a batch of it.")
    teacher_lr: float = setting(1e-3, "Peak learning rate of it.")
    distillation: Literal["none", "hard", "soft"] = setting(
        "soft", "hard: the teacher's class, for a second classifier (DeiT); soft: its probabilities; none."
    )
    distillation_weight: float = setting(0.5, "α, what the teacher weighs against the labels: 0 to 1.")
    temperature: float = setting(2.0, "τ, softens teacher and student in soft distillation.")
    frequency_weight: float = setting(
        0.0, "β, weight of the distillation of feature maps in the frequency domain (our own design)."
    )
    views: int = setting(
        16, "Augmented versions of an image, shown in turn: the teacher answers once for each. 0: always new ones."
    )
    unlabelled: Path | None = setting(None, "Folder of further images without labels for the student to learn from.")

    def __post_init__(self) -> None:
        require_finite(self)
        for name in ("teacher_epochs", "teacher_batch", "teacher_lr", "temperature"):
            if getattr(self, name) <= 0:
                raise TrainingError(f"{flag(name)} must be above 0, not {getattr(self, name)}")
        for name in ("frequency_weight", "views"):
            if getattr(self, name) < 0:
                raise TrainingError(f"{flag(name)} must not be negative, not {getattr(self, name)}")
        if not 0 <= self.distillation_weight <= 1:
            raise TrainingError(f"--distillation-weight must lie from 0 to 1, not {self.distillation_weight}")
        if self.distillation not in DISTILLATIONS:
            raise TrainingError(f"--distillation must be one of {', '.join(DISTILLATIONS)}, not {self.distillation!r}")
        if self.teacher is not None and self.teacher.casefold() == "none":
            object.__setattr__(self, "teacher", None)  # so that a command line can take away what a recipe says
        self._require_teacher()

    def _require_teacher(self) -> None:
        for name in ("unlabelled", "frequency_weight", "teacher_start"):
            if self.teacher is None and getattr(self, name):
                raise TrainingError(f"{flag(name)} needs a --teacher: there is nobody else to learn from")
        if self.teacher is not None and self.distillation == "none" and not self.frequency_weight:
            raise TrainingError("the --teacher teaches nothing: with --distillation none, give a --frequency-weight")
        if self.distillation == "hard" and self.distillation_weight == 1:
            raise TrainingError("--distillation hard needs a --distillation-weight below 1: labels train one head")

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}
