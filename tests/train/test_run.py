"""A run's folder: what lies in it, what may change on resuming, and that nothing old is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gfnet_dynn.backbone_spec import GFNetSpec
from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.errors import CheckpointError, TrainingError
from gfnet_dynn.model.checkpoint import load_checkpoint
from gfnet_dynn.model.weights import published_state
from gfnet_dynn.spec import NetSpec
from gfnet_dynn.train.reporter import Reporter
from gfnet_dynn.train.run import RunPlan, open_run, run_folder, train
from gfnet_dynn.train.start import Start, find_checkpoint_file, initial_net, read_trained
from tests.train.conftest import QUICK, TINY


@pytest.fixture
def plan(data: SceneData, tmp_path: Path) -> RunPlan:
    return RunPlan(TINY, data, replace(QUICK, num_epoch=1), run_folder(tmp_path / "checkpoint", "Stripes", 0.75))


@pytest.fixture
def trained(plan: RunPlan) -> Path:
    open_run(plan, resume=False)
    return train(plan, Reporter())


def test_the_folders_are_named_as_published(plan: RunPlan, trained: Path) -> None:
    assert plan.folder.name == "checkpoint_Stripes_0.75_confEE"
    assert trained == plan.folder / "checkpoint_result" / "model.safetensors"
    assert (plan.folder / "checkpoint_warmup" / "model.safetensors").is_file()


def test_a_checkpoint_says_where_it_comes_from(plan: RunPlan, trained: Path) -> None:
    provenance = load_checkpoint(trained).provenance
    assert provenance["settings"] == json.loads(json.dumps(plan.settings.to_dict()))
    assert provenance["data"]["fingerprint"] == plan.data.split.fingerprint
    assert provenance["data"]["images"] == {"train": 64, "selection": 16, "val": 24}
    threshold = provenance["threshold"]
    assert threshold["chosen_on"] == "selection split"
    assert threshold["selection_accuracy"] >= threshold["selection_accuracy_full"] - 0.01


def test_an_earlier_run_is_moved_aside(plan: RunPlan, trained: Path) -> None:
    before = trained.read_bytes()
    note = open_run(plan, resume=False)
    moved = plan.folder.with_name(plan.folder.name + ".previous-1")
    assert note is not None
    assert str(moved) in note
    assert (moved / "checkpoint_result" / "model.safetensors").read_bytes() == before
    assert not trained.exists()


def test_resuming_needs_a_run_of_the_same_choices(plan: RunPlan, trained: Path) -> None:
    with pytest.raises(TrainingError, match="no run to resume"):
        open_run(replace(plan, folder=plan.folder / "elsewhere"), resume=True)
    with pytest.raises(TrainingError, match=r"lr: 0\.003 then, 0\.1 now"):
        open_run(replace(plan, settings=replace(plan.settings, lr=0.1)), resume=True)
    other = NetSpec(GFNetSpec(8, 3, 8), (0, 1), TINY.input, TINY.classes)
    with pytest.raises(TrainingError, match="other choices \\(network\\)"):
        open_run(replace(plan, spec=other), resume=True)
    open_run(replace(plan, settings=replace(plan.settings, checkpoint_minutes=1.0)), resume=True)


def test_a_checkpoint_spares_the_backbone_stage(plan: RunPlan, trained: Path) -> None:
    started = replace(plan, folder=plan.folder.with_name("second"), start=Start(trained))
    open_run(started, resume=False)
    train(started, Reporter())
    assert not (started.folder / "checkpoint_backbone").exists()
    fine_tuned = replace(started, folder=plan.folder.with_name("third"), settings=replace(QUICK, backbone_epochs=1))
    open_run(fine_tuned, resume=False)
    train(fine_tuned, Reporter())
    assert (fine_tuned.folder / "checkpoint_backbone" / "model.safetensors").is_file()


def test_weights_depend_on_the_seed_alone() -> None:
    first, has_classifier = initial_net(TINY, 1, 0.0, Start())
    torch.manual_seed(99)
    again, _ = initial_net(TINY, 1, 0.1, Start())
    other, _ = initial_net(TINY, 2, 0.0, Start())
    assert not has_classifier
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_a_published_file_starts_a_run(plan: RunPlan, trained: Path, tmp_path: Path) -> None:
    state = dict(load_checkpoint(trained).state)
    torch.save({"model": state}, tmp_path / "net.pth")
    net, has_classifier = initial_net(TINY, 5, 0.0, Start(tmp_path / "net.pth"))
    assert has_classifier
    assert all(torch.equal(tensor, state[name]) for name, tensor in published_state(net).items())


@pytest.mark.parametrize("how", ["file", "result folder", "run folder"])
def test_a_path_to_file_or_folder_is_understood(plan: RunPlan, trained: Path, how: str) -> None:
    path = {"file": trained, "result folder": trained.parent, "run folder": plan.folder}[how]
    assert find_checkpoint_file(path) == trained


def test_absent_checkpoints_and_other_classes_are_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        find_checkpoint_file(tmp_path / "nothing")
    other = NetSpec(TINY.backbone, TINY.exit_blocks, TINY.input, ("x", "y"))
    with pytest.raises(CheckpointError, match=r"classifies 4 classes \(desert, forest, harbour, …\), the data have 2"):
        read_trained(trained, other)


def test_a_trained_network_is_evaluated_at_another_size(trained: Path) -> None:
    larger = replace(TINY, input=replace(TINY.input, size=64))
    net = read_trained(trained, larger).build()
    assert net(torch.zeros(1, 3, 64, 64)).logits.shape == (1, 3, 4)
