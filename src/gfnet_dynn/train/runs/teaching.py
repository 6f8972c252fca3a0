"""Finds the teacher that the settings name: a finished one, or one that is fine-tuned first and kept for later runs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from msgspec import structs
from torch import Tensor

from gfnet_dynn.data.loading.scenes import SceneData
from gfnet_dynn.errors import BusyError, CheckpointError, TrainingError
from gfnet_dynn.model.checkpoint import Checkpoint
from gfnet_dynn.model.pretrained import trunk_of
from gfnet_dynn.model.weights import is_of_exits, state_digest
from gfnet_dynn.spec.backbone import (
    BACKBONES,
    BackboneSpec,
    EfficientNetLiteSpec,
    GFNetSpec,
    backbone_name,
    find_backbone,
)
from gfnet_dynn.spec.network import InputSpec, NetSpec, make_input
from gfnet_dynn.system.storage import one_at_a_time
from gfnet_dynn.train.config.distillation import DistillationSettings
from gfnet_dynn.train.config.training import TrainSettings
from gfnet_dynn.train.engine.device import choose_device, choose_precision
from gfnet_dynn.train.engine.reporter import Reporter
from gfnet_dynn.train.objectives.teacher import Teacher, WholeNet
from gfnet_dynn.train.runs.run import open_run, train
from gfnet_dynn.train.runs.run_folder import RunPlan, can_resume
from gfnet_dynn.train.runs.start import Start, find_checkpoint_file, read_trained, require_same_split, trained_net

_USUAL_SIZE = 224  # of ImageNet weights


@dataclass(frozen=True)
class TeacherContext:
    """What a teacher is found or trained for.

    Attributes:
        data: of the student.
        settings: of the student's training; the teacher shares seed, augmentation, device and precision.
        folder: trained teachers are kept below it.
        reporter: given the plan of a teacher's run, who is told of its training.
        say: told what a person should know.
    """

    data: SceneData
    settings: TrainSettings
    folder: Path
    reporter: Callable[[RunPlan], Reporter]
    say: Callable[[str], None]


def find_teacher(distillation: DistillationSettings, school: TeacherContext) -> Teacher | None:
    """The teacher, ready to answer; None where the settings name none.

    Raises:
        CheckpointError: its classes are not those of the data, or it has seen images that are held out.
        MissingExtraError: the weights that it starts from are not installed.
        KeyboardInterrupt: interrupted in its training; the state is saved, and the next call goes on with it.
    """
    named = distillation.teacher
    if named is None:
        return None
    if named.casefold() in BACKBONES:
        file = _fine_tuned(find_backbone(named), distillation, school)
    elif distillation.teacher_start is not None:
        raise TrainingError("--teacher-start goes with a --teacher that is named and fine-tuned, not with a checkpoint")
    elif Path(named).exists():
        file = find_checkpoint_file(Path(named))
    else:
        raise TrainingError(f"no teacher {named!r}: give a checkpoint's path, or one of {', '.join(BACKBONES)}")
    teacher = _wrapped(file, school.data)
    school.say(f"the teacher is right on {100 * _accuracy(teacher, school.data):.1f} % of the selection split")
    return teacher


def _accuracy(teacher: Teacher, data: SceneData) -> float:
    """On the selection split, seen as the student sees it; a low one shows a teacher of other classes or colours."""
    loader = data.evaluation_loader("selection")
    right = sum(
        int((teacher(batch.images).logits.argmax(dim=1) == batch.labels).sum())
        for batch in loader.in_order(64, torch.device("cpu"))
    )
    return right / len(loader)


def _fine_tuned(backbone: BackboneSpec, distillation: DistillationSettings, school: TeacherContext) -> Path:
    plan = teacher_plan(backbone, distillation, school)
    with _alone(plan.folder, school.say):
        file = plan.model_file("backbone")
        resumable = can_resume(plan)
        if resumable and file.is_file():
            return file
        run = open_run(plan, resume=resumable)
        reporter = school.reporter(plan)
        begun = "goes on with its fine-tuning" if resumable else "is fine-tuned first"
        school.say(f"the teacher, {backbone_name(backbone)} at {plan.spec.input.size} px, {begun} in {plan.folder}")
        if trunk_of(backbone) is None and distillation.teacher_start is None:
            school.say("no weights to start it from are known here: --teacher-start names some")
        completed = False
        try:
            train(run, reporter)
            completed = True
        except KeyboardInterrupt:
            school.say("interrupted; the same command goes on with the teacher")
            raise
        finally:
            reporter.close(completed=completed)
        return file


@contextmanager
def _alone(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Wait, with a word, while another student's process trains the same teacher."""
    with ExitStack() as stack:
        try:
            stack.enter_context(one_at_a_time(folder, wait=False))
        except BusyError:
            say(f"another process trains the teacher in {folder}: waiting for it")
            stack.enter_context(one_at_a_time(folder))
        yield


def teacher_plan(backbone: BackboneSpec, distillation: DistillationSettings, school: TeacherContext) -> RunPlan:
    """How a named teacher is fine-tuned: on the student's split, at its own size, without exits."""
    usual = backbone.resolution if isinstance(backbone, EfficientNetLiteSpec) else _USUAL_SIZE
    size = distillation.teacher_size if distillation.teacher_size is not None else usual
    image = make_input(backbone, size, pad=False)
    student = school.settings
    settings = TrainSettings(  # nothing that differs from student to student, so that they can share the teacher
        backbone_epochs=distillation.teacher_epochs,
        batch=distillation.teacher_batch,
        lr=distillation.teacher_lr,
        augmentation=student.augmentation,
        seed=student.seed,
        precision=student.precision,
        device=student.device,
        checkpoint_minutes=student.checkpoint_minutes,
    )
    plan = RunPlan(
        spec=NetSpec(backbone, (), image, school.data.split.classes),
        data=replace(school.data, input=image),
        settings=settings,
        folder=school.folder,
        start=Start(distillation.teacher_start, new_head=distillation.teacher_start is not None),
    )
    described = {
        **plan.describe(choose_precision(settings.precision, choose_device(settings.device))),
        "versions": None,
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:8]  # each teacher has a place
    name = f"{school.data.source.name}_{backbone_name(backbone)}_{size}px_seed{settings.seed}_{digest}"
    return replace(plan, folder=school.folder / name)


def _wrapped(file: Path, data: SceneData) -> Teacher:
    trained = read_trained(file)
    if isinstance(trained, Checkpoint):
        require_same_split(trained, data, file)
        spec = structs.replace(trained.spec, classes=data.split.classes)
        net = trained_net(trained, spec, file)
    else:
        plain = {name: tensor for name, tensor in trained.items() if not is_of_exits(name)}
        spec = NetSpec(*published_backbone(plain, file), data.split.classes)
        net = trained_net(plain, spec, file)
    source: dict[str, Any] = {"network": spec.to_dict(), "weights": state_digest(net.state_dict())}
    return Teacher(WholeNet(net), spec.input, data.input, source, file)


def published_backbone(state: Mapping[str, Tensor], source: Path) -> tuple[GFNetSpec, tuple[int, ...], InputSpec]:
    """What a published GFNet's tensors say of it: backbone, no exits, and the input that it was trained at.

    Raises:
        CheckpointError: it is no GFNet.
    """
    try:
        width, patch = state["pos_embed"].shape[2], state["patch_embed.proj.weight"].shape[-1]
        depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
        ratio = state["blocks.0.mlp.fc1.weight"].shape[0] // width
        side = math.isqrt(state["pos_embed"].shape[1])
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{source} is no published GFNet, so it cannot teach: {error} is missing") from error
    backbone = GFNetSpec(width, depth, patch, ratio)
    return backbone, (), make_input(backbone, side * patch, pad=False)
