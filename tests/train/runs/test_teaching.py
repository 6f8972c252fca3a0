"""Where a teacher comes from: fine-tuned once and kept, or a finished one that fits; and resuming with one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from msgspec import structs

from gfnet_dynn.data.learned_from import RECORD, find_unlabelled, learned_from_split
from gfnet_dynn.data.request import SplitSettings
from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.errors import CheckpointError, MissingExtraError, TrainingError
from gfnet_dynn.model import weights
from gfnet_dynn.model.checkpoint import load_checkpoint, save_checkpoint
from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.model.weights import published_state
from gfnet_dynn.progress import ignore_log
from gfnet_dynn.runlayout import find_checkpoint_file
from gfnet_dynn.spec.backbone import GFNetSpec
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.train.distillation import Teacher
from gfnet_dynn.train.engine.interruption import TrainingInterrupted
from gfnet_dynn.train.engine.tracking import Reporter
from gfnet_dynn.train.request import DistillationSettings
from gfnet_dynn.train.runs.run import open_run, train
from gfnet_dynn.train.runs.run_folder import RunPlan
from gfnet_dynn.train.runs.teaching import find_teacher
from tests.train.conftest import QUICK, TINY, tiny_data
from tests.train.drive import SendSignal

pytestmark = pytest.mark.usefixtures("quick_refit")

SMALL = DistillationSettings(
    teacher="GFNet-96x8", teacher_size=32, teacher_epochs=2, teacher_batch=32, views=2, temperature=1.0
)


class Counting(Reporter):
    """Counts epochs, and keeps the lines of a log."""

    def __init__(self) -> None:
        self.epochs = 0
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        """Keep it."""
        self.lines.append(message)

    def epoch_ended(self, stage: str, epoch: int, metrics: Any) -> None:
        """One more."""
        self.epochs += 1


Find = Callable[..., Teacher | None]


@pytest.fixture
def find(data: SceneData, tmp_path: Path) -> Find:
    """`find_teacher` for a student with the settings of a distillation, and with a reporter of its run."""

    def make(asked: DistillationSettings, reporter: Reporter | None = None, **settings: Any) -> Teacher | None:
        student = RunPlan(TINY, data, replace(QUICK, **settings), tmp_path / "run", distillation=asked)
        log = reporter.log if isinstance(reporter, Counting) else ignore_log
        return find_teacher(student, tmp_path / "teachers", lambda plan: reporter or Reporter(), log)

    return make


def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_no_teacher_where_none_is_named(find: Find) -> None:
    assert find(DistillationSettings()) is None


def test_a_named_teacher_is_fine_tuned_once_and_kept(find: Find, tmp_path: Path) -> None:
    reporter = Counting()
    first = find(SMALL, reporter)
    (folder,) = (each for each in (tmp_path / "teachers").iterdir() if each.is_dir())
    assert folder.name.startswith("Stripes_gfnet-96x8_32px_seed0_")
    kept = load_checkpoint(find_checkpoint_file(folder))
    assert (kept.spec.exit_blocks, reporter.epochs) == ((), 2)
    second = find(SMALL, reporter)
    assert reporter.epochs == 2
    assert first is not None
    assert second is not None
    assert first.source == second.source
    assert torch.equal(first(images()).logits, second(images()).logits)
    assert [line for line in reporter.lines if "fine-tuned first" in line]
    assert [line for line in reporter.lines if "accuracy of the teacher" in line and "%" in line]
    # Other choices make another teacher beside it; other choices of the student do not.
    find(replace(SMALL, teacher_epochs=1), reporter)
    assert reporter.epochs == 3
    find(SMALL, reporter, lr=1.0, batch=4)
    assert reporter.epochs == 3


class Stopped(Counting, SendSignal):
    """Counts, and stops itself."""

    def __init__(self) -> None:
        Counting.__init__(self)
        SendSignal.__init__(self, signal.SIGINT, "backbone", epoch=1, step=0)


def test_an_interrupted_teacher_goes_on(find: Find) -> None:
    stopped, reporter = Stopped(), Counting()
    with pytest.raises(TrainingInterrupted):
        find(SMALL, stopped)
    assert "interrupted" in stopped.lines[-1]
    assert find(SMALL, reporter) is not None
    assert reporter.epochs == 1


def test_a_checkpoint_of_the_same_data_teaches(data: SceneData, find: Find, tmp_path: Path) -> None:
    net = build_net(TINY).eval()
    save_checkpoint(tmp_path / "t.safetensors", net, TINY, {"data": msgspec.to_builtins(data.record())})
    teacher = find(DistillationSettings(teacher=str(tmp_path / "t.safetensors")))
    assert teacher is not None
    output = teacher(images())
    torch.testing.assert_close(output.logits, net(images()).logits[:, -1].detach(), rtol=1e-5, atol=1e-6)
    assert output.features is not None
    assert output.features.shape == (2, 16, 4, 4)


def test_a_published_gfnet_teaches_whatever_its_shape(find: Find, tmp_path: Path) -> None:
    backbone = GFNetSpec(width=24, depth=2, patch_size=8, mlp_ratio=3)
    net = build_net(NetSpec(backbone, (0,), make_input(backbone, 48, pad=False), TINY.classes)).eval()
    torch.save({"model": published_state(net)}, tmp_path / "big.pth")
    teacher = find(DistillationSettings(teacher=str(tmp_path / "big.pth")))
    assert teacher is not None
    assert teacher.source["network"]["backbone"]["width"] == 24  # type: ignore[index]
    assert teacher(images()).features.shape == (2, 24, 6, 6)


def test_a_teacher_of_other_classes_is_refused(data: SceneData, find: Find, tmp_path: Path) -> None:
    other = structs.replace(TINY, classes=("a", "b", "c"))
    save_checkpoint(tmp_path / "t.safetensors", build_net(other), other, {})
    torch.save(published_state(build_net(other)), tmp_path / "t.pth")
    for file in ("t.safetensors", "t.pth"):
        with pytest.raises(CheckpointError, match=r"classifies 3 classes .*but the data have 4"):
            find(DistillationSettings(teacher=str(tmp_path / file)))


def test_a_teacher_that_saw_what_is_held_out_is_refused(scenes: Path, find: Find, tmp_path: Path) -> None:
    other = tiny_data(scenes, tmp_path / "other", SplitSettings(split_seed=5, selection_share=0.2))
    provenance = {RECORD: msgspec.to_builtins(learned_from_split(other.split))}
    save_checkpoint(tmp_path / "t.safetensors", build_net(TINY), TINY, provenance)
    with pytest.raises(CheckpointError, match="held out now"):
        find(DistillationSettings(teacher=str(tmp_path / "t.safetensors")))


def test_what_cannot_teach_is_named(find: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match="no teacher 'efficientnet-lite9': give a checkpoint's path, or one of"):
        find(DistillationSettings(teacher="efficientnet-lite9"))
    torch.save({"weight": torch.zeros(2)}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"odd\.pth is no published GFNet and cannot be a teacher"):
        find(DistillationSettings(teacher=str(tmp_path / "odd.pth")))
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="teachers"):
        find(DistillationSettings(teacher="efficientnet-lite0", teacher_size=32))
    with pytest.raises(TrainingError, match="--teacher-start goes with a --teacher that is named"):
        find(DistillationSettings(teacher=str(tmp_path / "odd.pth"), teacher_start=tmp_path))


class Colours(torch.nn.Module):
    """A teacher that needs no training."""

    def forward(self, views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean colours and a fourth class, and the image as its map."""
        means = views.mean(dim=(2, 3))
        return torch.cat((means, means.sum(dim=1, keepdim=True)), dim=1), views


@pytest.mark.parametrize("distillation", ["hard", "soft"])
def test_a_run_with_a_teacher_and_unlabelled_images_resumes_to_the_same_weights(
    scenes: Path, tmp_path: Path, distillation: Any
) -> None:
    def plan(name: str) -> RunPlan:
        return RunPlan(
            TINY,
            tiny_data(scenes, tmp_path / "splits"),
            replace(QUICK, num_epoch=3, bilevel_batches=2, augmentation="overhead"),
            tmp_path / name,
            distillation=replace(SMALL, distillation=distillation),
            teacher=Teacher(Colours(), TINY.input, TINY.input, {"what": "colours"}),
            unlabelled=find_unlabelled(scenes / "train", "refuse"),
        )

    whole = load_checkpoint(train(open_run(plan("whole"), resume=False), Reporter()))
    assert whole.provenance["distillation"]["unlabelled"]["images"] == 80
    for stage in ("backbone", "warmup", "joint"):
        with pytest.raises(TrainingInterrupted):
            train(
                open_run(plan("broken"), resume=stage != "backbone"), SendSignal(signal.SIGINT, stage, epoch=1, step=1)
            )
    state = load_checkpoint(train(open_run(plan("broken"), resume=True), Reporter())).state
    assert not [name for name in whole.state if not torch.equal(whole.state[name], state[name])]
    other = replace(plan("broken"), distillation=replace(SMALL, distillation=distillation, temperature=3.0))
    with pytest.raises(TrainingError, match=r"other choices \(distillation: settings\)"):
        open_run(other, resume=True)
