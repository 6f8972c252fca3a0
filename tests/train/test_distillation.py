"""What a teacher's outputs are for: each loss by its definition, and that students follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.errors import OptionError
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.spec.backbone import IMAGENET_MEAN, IMAGENET_STD
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.train.distillation import (
    Distiller,
    Teacher,
    TeacherOutput,
    exit_teacher_losses,
    frequency_loss,
    labelled_mean,
)
from gfnet_dynn.train.losses import soft_losses
from gfnet_dynn.train.request import DistillationSettings
from gfnet_dynn.train.stages.backbone import BackboneStage
from gfnet_dynn.train.stages.joint import JointStage
from gfnet_dynn.train.stages.stage import StageContext
from gfnet_dynn.train.stages.warmup import WarmupStage
from tests.train.conftest import TINY, MakeContext
from tests.train.test_stages import falls, run


class Oracle(nn.Module):
    """Knows the class of the striped scenes by their mean colour, counts its calls, and shows a feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.calls = 0

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls += 1
        return 3 * self.linear(images.mean(dim=(2, 3))), nn.functional.avg_pool2d(images, 8)


def teacher(net: nn.Module, takes: InputSpec = TINY.input) -> Teacher:
    return Teacher(net, takes, TINY.input, {"what": "an oracle"})


def taught(context: StageContext, net: nn.Module, **settings: Any) -> StageContext:
    distillation = DistillationSettings(teacher="given", **settings)
    return replace(context, distillation=distillation, teacher=teacher(net))


def test_soft_distillation_is_the_divergence_at_a_temperature() -> None:
    student, master = torch.randn(3, 5), torch.randn(3, 5)
    p, q = (master / 2).softmax(1), (student / 2).softmax(1)
    torch.testing.assert_close(soft_losses(student, master, 2.0), (p * (p / q).log()).sum(1) * 4)
    assert soft_losses(master, master).abs().max() < 1e-6


def test_every_way_out_learns_from_a_teacher_the_final_one_too() -> None:
    logits = torch.randn(2, 3, 4, requires_grad=True)
    master = torch.randn(2, 4)
    losses = exit_teacher_losses(logits, master, DistillationSettings(teacher="t", temperature=2.0))
    torch.autograd.backward(losses.mean(dim=0).sum())
    assert logits.grad is not None
    assert (logits.grad.abs().sum(dim=(0, 2)) > 0).all()
    torch.testing.assert_close(losses[:, 1], soft_losses(logits[:, 1], master, 2.0))
    hard = exit_teacher_losses(logits, master, DistillationSettings(teacher="t", distillation="hard"))
    wanted = nn.functional.cross_entropy(logits[:, 0], master.argmax(1), reduction="none")
    torch.testing.assert_close(hard[:, 0], wanted)


def test_hard_distillation_is_cross_entropy_with_the_teachers_class() -> None:
    distiller = Distiller(DistillationSettings(teacher="t", distillation="hard"), nn.Linear(6, 4), 6, None)
    pooled, logits = torch.randn(3, 6), torch.randn(3, 4)
    master = torch.tensor([[0.0, 5, 1, 2], [9, 0, 0, 0], [0, 0, 0, 1]])
    _, part = distiller(logits, pooled, torch.zeros(3, 6, 2, 2), torch.tensor(2.0), TeacherOutput(master, None))
    assert distiller.head is not None
    wanted = nn.functional.cross_entropy(distiller.head(pooled), torch.tensor([1, 0, 3]))
    torch.testing.assert_close(part, wanted)


def test_the_frequency_loss_sees_scale_free_maps_and_is_least_where_they_agree() -> None:
    torch.manual_seed(0)
    master = 5 + 3 * torch.randn(4, 6, 8, 8)
    standard = (master - master.mean((0, 2, 3), keepdim=True)) / master.std((0, 2, 3), keepdim=True)
    same = frequency_loss(standard, master)
    assert same < 1e-5
    # A shift in place leaves amplitudes alone, but not the low frequencies' phase.
    assert frequency_loss(standard.roll(3, dims=3), master) > 0.02
    assert frequency_loss(torch.randn_like(standard), master) > frequency_loss(standard.roll(1, dims=3), master)
    # Maps of different grids are compared on the smaller one, and zeros have a gradient.
    student = torch.zeros(4, 6, 4, 4, requires_grad=True)
    torch.autograd.backward(frequency_loss(student, master))
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_a_second_classifier_is_merged_into_the_first() -> None:
    distiller = Distiller(DistillationSettings(teacher="t", distillation="hard"), nn.Linear(6, 4), 6, None)
    head, pooled = nn.Linear(6, 4), torch.randn(5, 6)
    assert distiller.head is not None
    expected = (head(pooled) + distiller.head(pooled)) / 2
    distiller.merge(head)
    torch.testing.assert_close(head(pooled), expected)


def test_labels_count_only_where_they_are() -> None:
    assert labelled_mean(torch.tensor([2.0, 4.0, 0.0]), torch.tensor([1, 0, -1])) == 3
    assert labelled_mean(torch.zeros(2), torch.tensor([-1, -1])) == 0


def test_the_weights_share_the_loss_between_labels_and_teacher() -> None:
    settings = DistillationSettings(teacher="t", distillation_weight=0.25, temperature=1.0)
    logits, output = torch.randn(3, 4), TeacherOutput(torch.randn(3, 4), None)
    loss, part = Distiller(settings, nn.Linear(6, 4), 6, None)(
        logits, torch.randn(3, 6), torch.zeros(3, 6, 2, 2), torch.tensor(2.0), output
    )
    torch.testing.assert_close(part, soft_losses(logits, output.logits).mean())
    torch.testing.assert_close(loss, 0.75 * 2.0 + 0.25 * part)


def test_a_teacher_sees_the_students_view_in_its_own_normalisation_and_size() -> None:
    seen = []

    class Watcher(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            seen.append(images)
            return images.mean(dim=(2, 3)), images

    takes = InputSpec(64, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    raw = torch.rand(2, 3, 1, 1).expand(2, 3, 32, 32)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    teacher(Watcher(), takes)((raw - mean) / std)
    torch.testing.assert_close(seen[0], ((raw - 0.5) / 0.25)[:, :, :1, :1].expand(2, 3, 64, 64))


def test_a_teacher_never_learns() -> None:
    wise = teacher(nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(8, 4)))
    wise.train()
    assert not any(module.training for module in wise.modules())
    assert not any(parameter.requires_grad for parameter in wise.parameters())


def test_answers_are_kept_for_views_that_come_again() -> None:
    net = Oracle()
    wise = teacher(net)
    images = torch.randn(2, 3, 32, 32)
    first = wise.cached(images, ("backbone", 0, 0)).logits
    assert wise.cached(images, ("backbone", 0, 0)).logits is first
    wise.cached(images, ("backbone", 0, 1))
    assert net.calls == 2
    for view, with_features in ((None, False), (("backbone", 0, 2), True)):
        net.calls = 0
        for _ in range(2):
            wise.cached(images, view, with_features=with_features)
        assert net.calls == 2


def test_feature_maps_are_asked_for_by_the_backbone_stage_alone(data: SceneData, make_context: MakeContext) -> None:
    net = Oracle()
    context = taught(make_context(), net, frequency_weight=1.0, views=1)
    batch = next(data.training_loader("none").batches(range(16), 16, torch.device("cpu")))
    for kind, calls in ((BackboneStage, 2), (WarmupStage, 1), (JointStage, 1)):
        stage = kind(context, 2)
        net.calls = 0
        for epoch in range(2):
            stage.teacher_output(batch, epoch * context.steps_per_epoch)
        assert net.calls == calls, kind


@pytest.mark.parametrize(
    "settings", [{}, {"distillation": "hard"}, {"distillation": "none", "frequency_weight": 1.0}, {"views": 0}]
)
def test_a_student_follows_its_teacher(data: SceneData, make_context: MakeContext, settings: dict[str, Any]) -> None:
    torch.manual_seed(1)
    context = taught(make_context(num_epoch=6), Oracle(), **settings)
    stage = BackboneStage(context, 6)
    losses = run(data, stage, stage.steps)
    assert falls(losses["loss/teacher"])
    before = context.net.head.weight.detach().clone()
    stage.end_epoch(0)
    stage.finish()
    assert torch.equal(before, context.net.head.weight) == (settings.get("distillation") != "hard")


def test_a_student_of_feature_maps_alone_leaves_its_exits_to_the_labels(
    data: SceneData, make_context: MakeContext
) -> None:
    net = Oracle()
    context = taught(make_context(bilevel_batches=1), net, distillation="none", frequency_weight=1.0)
    for stage in (WarmupStage(context, 1), JointStage(context, 2)):
        run(data, stage, 2)
    assert net.calls == 0


def test_hard_distillation_is_judged_by_what_becomes_of_it(make_context: MakeContext) -> None:
    context = taught(make_context(), Oracle(), distillation="hard")
    stage = BackboneStage(context, 1)
    before = context.net.head.weight.detach().clone()
    seen = []
    selection = context.selection

    def watched() -> ExitArrays:
        seen.append(context.net.head.weight.detach().clone())
        return selection()

    context.selection = watched
    stage.end_epoch(0)
    assert torch.equal(context.net.head.weight, before)
    stage.finish()
    assert torch.equal(seen[0], context.net.head.weight)
    assert not torch.equal(seen[0], before)


def test_views_come_again_in_turn_only_with_a_teacher(make_context: MakeContext) -> None:
    context = make_context()
    assert [context.view(epoch) for epoch in range(4)] == [0, 1, 2, 3]
    assert [taught(context, Oracle(), views=2).view(epoch) for epoch in range(4)] == [0, 1, 0, 1]
    assert [taught(context, Oracle(), views=0).view(epoch) for epoch in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "--temperature must be above 0"),
        ({"teacher_epochs": 0}, "--teacher-epochs must be above 0"),
        ({"views": -1}, "--views must not be negative"),
        ({"distillation_weight": 1.5}, "--distillation-weight must lie from 0 to 1"),
        ({"distillation": "firm"}, "--distillation must be one of none, hard, soft, not 'firm'"),
        ({"frequency_weight": 1.0}, "--frequency-weight needs a --teacher"),
        ({"teacher_start": Path("x")}, "--teacher-start needs a --teacher"),
        ({"unlabelled": Path("x"), "teacher": "None"}, "--unlabelled needs a --teacher"),
        ({"teacher": "t", "distillation": "none"}, "the --teacher has no effect"),
        ({"teacher": "t", "distillation": "hard", "distillation_weight": 1.0}, "below 1"),
    ],
)
def test_settings_out_of_range_name_their_option(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        DistillationSettings(**changes)
