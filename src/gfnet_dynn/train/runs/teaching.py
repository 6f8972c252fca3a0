"""Finds the teacher that the options name: a finished one, or one that is fine-tuned first and kept for later runs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from msgspec import structs
from torch import Tensor

from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.errors import BusyError, CheckpointError, TrainingError
from gfnet_dynn.model.checkpoint import Checkpoint
from gfnet_dynn.model.weights import is_of_exits, state_digest
from gfnet_dynn.progress import Log, ignore_log
from gfnet_dynn.runlayout import find_checkpoint_file
from gfnet_dynn.spec.backbone import (
    BACKBONES,
    BackboneSpec,
    EfficientNetLiteSpec,
    GFNetSpec,
    backbone_name,
    find_backbone,
)
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.system.storage import one_at_a_time
from gfnet_dynn.train.distillation import Teacher, WholeNet
from gfnet_dynn.train.engine.ranks import Ranks
from gfnet_dynn.train.engine.tracking import Reporter
from gfnet_dynn.train.request import Start, TrainSettings
from gfnet_dynn.train.runs.run import open_run, train
from gfnet_dynn.train.runs.run_folder import RunPlan, can_resume
from gfnet_dynn.train.runs.start import read_trained, require_unseen, trained_net
from gfnet_dynn.units import percent

_USUAL_SIZE = 224  # of ImageNet weights


def find_teacher(
    student: RunPlan, folder: Path, make_reporter: Callable[[RunPlan], Reporter], log: Log = ignore_log
) -> Teacher | None:
    """The teacher, ready to answer; None where the student's plan names none.

    It shares the student's data, seed, augmentation, device and precision. Trained teachers are kept below `folder`;
    `make_reporter` makes the reporter of a teacher's run from its plan.

    Raises:
        CheckpointError: its classes are not those of the data, or it has seen images that are held out.
        MissingExtraError: the weights that it starts from are not installed.
        KeyboardInterrupt: interrupted in its training; the state is saved, and the next call continues.
    """
    named, ranks = student.distillation.teacher, Ranks()
    if named is None:
        return None
    if named.casefold() in BACKBONES:
        file = _fine_tuned(teacher_plan(find_backbone(named), student, folder), make_reporter, log)
    else:
        file = ranks.by_first(lambda: _trained_file(named, student))
    teacher, accuracy = ranks.by_first(lambda: _judged(_wrapped(file, student.data), student.data))
    log(f"accuracy of the teacher on the selection split: {percent(accuracy, 1)}")
    return teacher


def _trained_file(named: str, student: RunPlan) -> Path:
    if student.distillation.teacher_start is not None:
        raise TrainingError("--teacher-start goes with a --teacher that is named and fine-tuned, not with a checkpoint")
    if not Path(named).exists():
        raise TrainingError(f"no teacher {named!r}: give a checkpoint's path, or one of {', '.join(BACKBONES)}")
    return find_checkpoint_file(Path(named))


def _judged(teacher: Teacher, data: SceneData) -> tuple[Teacher, float]:
    return teacher, _accuracy(teacher, data)


def _accuracy(teacher: Teacher, data: SceneData) -> float:
    """On the selection split, seen as the student sees it; a low one shows a teacher of other classes or colours."""
    loader = data.evaluation_loader("selection")
    right = sum(
        int((teacher(batch.images).logits.argmax(dim=1) == batch.labels).sum())
        for batch in loader.in_order(64, torch.device("cpu"))
    )
    return right / len(loader)


def _fine_tuned(plan: RunPlan, make_reporter: Callable[[RunPlan], Reporter], log: Log) -> Path:
    ranks = Ranks()
    with ExitStack() as stack:
        ranks.by_first(lambda: stack.enter_context(_locked(plan.folder, log)))
        file = plan.layout.model("backbone")
        resumable, finished = ranks.by_first(lambda: (can_resume(plan), file.is_file()))
        if resumable and finished:
            return file
        run = open_run(plan, resume=resumable)
        begun = "continues its fine-tuning" if resumable else "is fine-tuned first"
        name = backbone_name(plan.spec.backbone)
        log(f"the teacher, {name} at {plan.spec.input.size} px, {begun} in {plan.folder}")
        if plan.spec.backbone.trunk is None and plan.start.checkpoint is None:
            log("the teacher starts from random weights: name trained ones with --teacher-start")
        try:
            return train(run, make_reporter(plan))
        except KeyboardInterrupt:
            log("interrupted; the same command continues with the teacher")
            raise


@contextmanager
def _locked(folder: Path, log: Log) -> Iterator[None]:
    """Wait while another process trains the same teacher."""
    with ExitStack() as stack:
        try:
            stack.enter_context(one_at_a_time(folder, wait=False))
        except BusyError:
            log(f"another process trains the teacher in {folder}: waiting for it")
            stack.enter_context(one_at_a_time(folder))
        yield


def teacher_plan(backbone: BackboneSpec, student: RunPlan, folder: Path) -> RunPlan:
    """How a named teacher is fine-tuned below `folder`: on the student's split, at its own size, without exits."""
    data, asked, shared = student.data, student.distillation, student.settings
    usual = backbone.resolution if isinstance(backbone, EfficientNetLiteSpec) else _USUAL_SIZE
    size = asked.teacher_size if asked.teacher_size is not None else usual
    image = structs.replace(make_input(backbone, size, pad=False), stretch=data.input.stretch)
    settings = TrainSettings(  # nothing that differs from student to student, so that they can share the teacher
        backbone_epochs=asked.teacher_epochs,
        batch=asked.teacher_batch,
        lr=asked.teacher_lr,
        augmentation=shared.augmentation,
        seed=shared.seed,
        precision=shared.precision,
        device=shared.device,
        checkpoint_minutes=shared.checkpoint_minutes,
    )
    plan = RunPlan(
        spec=NetSpec(backbone, (), image, data.split.classes),
        data=replace(data, input=image),
        settings=settings,
        folder=folder,
        start=Start(asked.teacher_start, new_head=asked.teacher_start is not None),
    )
    described = {**plan.record().to_dict(), "versions": None, "source": None}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:8]  # each teacher has a place
    name = f"{data.source.name}_{backbone_name(backbone)}_{size}px_seed{settings.seed}_{digest}"
    return replace(plan, folder=folder / name)


def _wrapped(file: Path, data: SceneData) -> Teacher:
    trained = read_trained(file)
    if isinstance(trained, Checkpoint):
        require_unseen(trained.provenance, data, file)
        spec = structs.replace(trained.spec, classes=data.split.classes)
    else:
        trained = {name: tensor for name, tensor in trained.items() if not is_of_exits(name)}
        spec = _published_spec(trained, file, data.split.classes)
    net = trained_net(trained, spec, file)
    source: dict[str, Any] = {"network": spec.to_dict(), "weights": state_digest(net.state_dict())}
    return Teacher(WholeNet(net), spec.input, data.input, source, file)


def _published_spec(state: Mapping[str, Tensor], source: Path, classes: tuple[str, ...]) -> NetSpec:
    """A published GFNet, without exits, by the shapes of its tensors; a CheckpointError where it is none."""
    try:
        width, patch = state["pos_embed"].shape[2], state["patch_embed.proj.weight"].shape[-1]
        depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
        ratio = state["blocks.0.mlp.fc1.weight"].shape[0] // width
        side = math.isqrt(state["pos_embed"].shape[1])
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{source} is no published GFNet and cannot be a teacher: {error} is missing") from error
    backbone = GFNetSpec(width, depth, patch, ratio)
    return NetSpec(backbone, (), make_input(backbone, side * patch, pad=False), classes)
