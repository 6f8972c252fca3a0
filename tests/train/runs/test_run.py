"""A run's folder: what lies in it, what may change on resuming, and that nothing old is lost."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from msgspec import structs

from gfnet_dynn.data.learned_from import find_unlabelled
from gfnet_dynn.data.request import SplitSettings
from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.errors import CheckpointError, TrainingError
from gfnet_dynn.model.checkpoint import load_checkpoint
from gfnet_dynn.model.weights import published_state
from gfnet_dynn.runlayout import find_checkpoint_file, run_folder
from gfnet_dynn.spec.backbone import GFNetSpec, HybridSpec
from gfnet_dynn.spec.network import InputSpec, NetSpec
from gfnet_dynn.train.engine.tracking import Reporter
from gfnet_dynn.train.request import DistillationSettings, Start
from gfnet_dynn.train.runs.run import check_start, open_run, train
from gfnet_dynn.train.runs.run_folder import RunPlan
from gfnet_dynn.train.runs.start import initial_net, read_trained, trained_net
from tests.conftest import CLASSES, write_image
from tests.fingerprints import store_anew
from tests.train.conftest import QUICK, TINY, tiny_data

pytestmark = pytest.mark.usefixtures("quick_refit")


def plan_in(place: Path, data: SceneData) -> RunPlan:
    return RunPlan(TINY, data, replace(QUICK, num_epoch=1), run_folder(place / "checkpoint", "Stripes", 0.75))


@pytest.fixture
def plan(data: SceneData, tmp_path: Path) -> RunPlan:
    return plan_in(tmp_path, data)


@pytest.fixture(scope="module")
def first_run(scenes: Path, tmp_path_factory: pytest.TempPathFactory, quick_refit: None) -> tuple[Path, Path]:
    """The folder of a trained run, and what its training returned; to be copied."""
    place = tmp_path_factory.mktemp("first_run")
    plan = plan_in(place, tiny_data(scenes, place / "splits"))
    return plan.folder, train(open_run(plan, resume=False), Reporter())


@pytest.fixture
def trained(plan: RunPlan, first_run: tuple[Path, Path]) -> Path:
    """The result of a run of `plan`."""
    folder, model = first_run
    shutil.copytree(folder, plan.folder)
    return plan.folder / model.relative_to(folder)


def test_the_folders_are_named_as_published(plan: RunPlan, trained: Path) -> None:
    assert plan.folder.name == "checkpoint_Stripes_0.75_confEE"
    assert trained == plan.folder / "checkpoint_result" / "model.safetensors"
    assert (plan.folder / "checkpoint_warmup" / "model.safetensors").is_file()


def test_a_checkpoint_says_where_it_comes_from(plan: RunPlan, trained: Path) -> None:
    provenance = load_checkpoint(trained).provenance
    assert provenance["settings"] == json.loads(json.dumps(asdict(plan.settings)))
    assert provenance["data"]["fingerprint"] == plan.data.split.fingerprint
    assert provenance["data"]["images"] == {"train": 64, "selection": 16, "val": 24}
    threshold = provenance["threshold"]
    assert threshold["chosen_on"] == "selection split"
    assert threshold["accuracy"] >= threshold["accuracy_full"] - 0.01
    assert provenance["started_from"] is None
    warm = load_checkpoint(plan.layout.model("warmup")).provenance
    assert "threshold" not in warm, "its gates have not learned"


def test_an_earlier_run_is_moved_aside(plan: RunPlan, trained: Path) -> None:
    before = trained.read_bytes()
    (note,) = open_run(plan, resume=False).notes
    moved = plan.folder.parent / ".previous" / f"{plan.folder.name}-1"
    assert moved.name not in {path.name for path in plan.folder.parent.glob("*")}
    assert str(moved) in note
    assert (moved / "checkpoint_result" / "model.safetensors").read_bytes() == before
    assert not trained.exists()


def test_resuming_needs_a_run_of_the_same_choices(plan: RunPlan, trained: Path) -> None:
    with pytest.raises(TrainingError, match="no run to resume"):
        open_run(replace(plan, folder=plan.folder / "elsewhere"), resume=True)
    with pytest.raises(TrainingError, match=r"--lr 0\.003 then, 0\.1 now"):
        open_run(replace(plan, settings=replace(plan.settings, lr=0.1)), resume=True)
    other = NetSpec(GFNetSpec(8, 3, 8), (0, 1), TINY.input, TINY.classes)
    with pytest.raises(TrainingError, match=r"other choices \(network: backbone\)"):
        open_run(replace(plan, spec=other), resume=True)
    open_run(replace(plan, settings=replace(plan.settings, checkpoint_minutes=1.0)), resume=True)


def test_a_checkpoint_spares_the_backbone_stage(plan: RunPlan, trained: Path) -> None:
    started = replace(plan, folder=plan.folder.with_name("second"), start=Start(trained))
    train(open_run(started, resume=False), Reporter())
    assert not (started.folder / "checkpoint_backbone").exists()
    fine_tuned = replace(started, folder=plan.folder.with_name("third"), settings=replace(QUICK, backbone_epochs=1))
    train(open_run(fine_tuned, resume=False), Reporter())
    assert (fine_tuned.folder / "checkpoint_backbone" / "model.safetensors").is_file()


def test_nothing_is_moved_when_a_start_fails(plan: RunPlan, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(plan.folder.parent.rglob("*"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    faulty = [
        replace(plan, start=Start(plan.folder / "typo.pth")),
        replace(plan, settings=replace(plan.settings, device="cuda")),
        replace(plan, settings=replace(plan.settings, precision="16-mixed")),
    ]
    for each in faulty:
        with pytest.raises((CheckpointError, TrainingError)):
            open_run(each, resume=False)
    assert sorted(plan.folder.parent.rglob("*")) == before


def test_choices_that_make_no_sense_together_are_refused_before_a_teacher_is_trained(
    plan: RunPlan, trained: Path, scenes: Path
) -> None:
    settings, started = plan.settings, Start(trained)
    pool = find_unlabelled(scenes / "train", "refuse")
    taught = DistillationSettings(teacher="gfnet-96x8", frequency_weight=1.0)
    faulty = {
        "--freeze-blocks 1 would freeze random weights": replace(plan, settings=replace(settings, freeze_blocks=1)),
        "--freeze-blocks 4 is more than the 3 blocks": replace(plan, settings=replace(settings, freeze_blocks=4)),
        "--trunk-lr needs a trunk with ImageNet": replace(plan, settings=replace(settings, trunk_lr=0.1)),
        "--frequency-weight need the backbone stage": replace(plan, start=started, distillation=taught),
        "--unlabelled and": replace(plan, start=started, unlabelled=pool),
    }
    for message, each in faulty.items():
        for look in (check_start, open_run):
            with pytest.raises(TrainingError, match=message):
                look(each, resume=False)
    check_start(replace(faulty["--unlabelled and"], settings=replace(settings, backbone_epochs=1)), resume=False)
    check_start(replace(plan, start=started, settings=replace(settings, freeze_blocks=1)), resume=False)
    with pytest.raises(TrainingError, match="no run to resume"):
        check_start(replace(plan, folder=plan.folder / "elsewhere"), resume=True)


def test_fresh_blocks_behind_a_pretrained_trunk_cannot_be_frozen(data: SceneData, tmp_path: Path) -> None:
    backbone = HybridSpec(cut=2, depth_after=2)
    spec = NetSpec(backbone, (1,), InputSpec(32, 0, backbone.mean, backbone.std), TINY.classes)
    settings = replace(QUICK, freeze_blocks=3)
    plan = RunPlan(spec, data, settings, tmp_path / "run")
    check_start(plan, resume=False)
    for further in (4, 5):
        with pytest.raises(TrainingError, match=f"--freeze-blocks {further} would freeze random weights"):
            check_start(replace(plan, settings=replace(settings, freeze_blocks=further)), resume=False)
    fresh = replace(plan, settings=replace(QUICK, trunk_lr=0.1), start=Start(pretrained=False))
    with pytest.raises(TrainingError, match="--trunk-lr needs a trunk with ImageNet weights"):
        check_start(fresh, resume=False)


@pytest.mark.parametrize("progress", [False, True])
def test_a_run_can_start_from_the_run_in_its_own_place_and_be_resumed(
    plan: RunPlan, trained: Path, *, progress: bool
) -> None:
    weights = load_checkpoint(trained).state
    started = replace(plan, start=Start(plan.folder))
    run = open_run(started, resume=False)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in published_state(run.net).items())
    assert run.record.started_from is not None
    assert run.record.started_from["stage"] == "joint"
    if progress:
        train(run, Reporter()).unlink()
    again = open_run(started, resume=True)
    if not progress:
        assert all(torch.equal(tensor, weights[name]) for name, tensor in published_state(again.net).items())
    train(again, Reporter())
    assert "the run is finished already" in open_run(started, resume=True).notes


def test_other_weights_behind_the_same_path_are_another_start(plan: RunPlan, trained: Path) -> None:
    copy = trained.with_name("start.safetensors")
    copy.write_bytes(trained.read_bytes())
    started = replace(plan, folder=plan.folder.with_name("second"), start=Start(copy))
    open_run(started, resume=False)
    elsewhere = trained.with_name("moved.safetensors")
    elsewhere.write_bytes(copy.read_bytes())
    open_run(replace(started, start=Start(elsewhere)), resume=True)
    copy.write_bytes(plan.layout.model("warmup").read_bytes())
    with pytest.raises(TrainingError, match=r"other choices \(start: sha256\)"):
        open_run(started, resume=True)


def test_resuming_does_not_need_the_checkpoint_that_it_started_from(plan: RunPlan, trained: Path) -> None:
    copy = trained.with_name("start.safetensors")
    copy.write_bytes(trained.read_bytes())
    started = replace(plan, folder=plan.folder.with_name("second"), start=Start(copy))
    model = train(open_run(started, resume=False), Reporter())
    model.unlink()
    copy.unlink()
    assert train(open_run(started, resume=True), Reporter()) == model


def test_a_damaged_record_is_named(plan: RunPlan, trained: Path) -> None:
    plan.layout.record.write_text("{", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"cannot read .*run\.json"):
        open_run(plan, resume=True)


def test_a_change_of_precision_is_no_resumption(plan: RunPlan, trained: Path) -> None:
    record = json.loads(plan.layout.record.read_text(encoding="utf-8"))
    plan.layout.record.write_text(json.dumps({**record, "precision": "16-mixed"}), encoding="utf-8")
    with pytest.raises(TrainingError, match=r"precision 16-mixed then, (32-true|bf16-mixed) now"):
        open_run(plan, resume=True)


def test_other_versions_are_said(plan: RunPlan, trained: Path) -> None:
    record = json.loads(plan.layout.record.read_text(encoding="utf-8"))
    record["versions"]["torch"] = "1.0"
    plan.layout.record.write_text(json.dumps(record), encoding="utf-8")
    note, finished = open_run(plan, resume=True).notes
    assert finished == "the run is finished already"
    assert "'torch': '1.0'" in note


def test_weights_depend_on_the_seed_alone(data: SceneData) -> None:
    first = initial_net(TINY, data, 1, 0.0, Start())
    torch.manual_seed(99)
    again, other = initial_net(TINY, data, 1, 0.1, Start()), initial_net(TINY, data, 2, 0.0, Start())
    assert not first.has_classifier
    assert torch.equal(first.net.head.weight, again.net.head.weight)
    assert not torch.equal(first.net.head.weight, other.net.head.weight)


def test_a_published_file_starts_a_run(data: SceneData, trained: Path, tmp_path: Path) -> None:
    state = dict(load_checkpoint(trained).state)
    torch.save({"model": state}, tmp_path / "net.pth")
    initial = initial_net(TINY, data, 5, 0.0, Start(tmp_path / "net.pth"))
    assert initial.has_classifier
    assert all(torch.equal(tensor, state[name]) for name, tensor in published_state(initial.net).items())


def test_new_heads_are_fresh_though_the_counts_agree(data: SceneData, trained: Path) -> None:
    initial = initial_net(TINY, data, 5, 0.0, Start(trained, new_head=True))
    fresh = initial_net(TINY, data, 5, 0.0, Start()).net
    assert not initial.has_classifier
    assert torch.equal(initial.net.head.weight, fresh.head.weight)
    assert torch.equal(published_state(initial.net)["pos_embed"], load_checkpoint(trained).state["pos_embed"])


def test_exits_that_stand_elsewhere_start_fresh(data: SceneData, trained: Path) -> None:
    kept = load_checkpoint(trained).state
    for changed in (structs.replace(TINY, exit_blocks=(0,)), structs.replace(TINY, exit_pooling="mean-deviation")):
        initial = initial_net(changed, data, 5, 0.0, Start(trained))
        state = published_state(initial.net)
        assert "start fresh" in initial.notes[0]
        assert torch.equal(state["head.weight"], kept["head.weight"])
        assert not torch.equal(state["intermediate_heads.0.bias"], kept["intermediate_heads.0.bias"])
    same = initial_net(TINY, data, 5, 0.0, Start(trained))
    assert same.notes == ()
    bias = "intermediate_heads.1.bias"
    assert torch.equal(published_state(same.net)[bias], kept[bias])


def test_new_heads_stand_wherever_they_are_wanted(data: SceneData, trained: Path) -> None:
    for exits in ((), (0,), (1,)):
        net = initial_net(structs.replace(TINY, exit_blocks=exits), data, 5, 0.0, Start(trained, new_head=True)).net
        assert torch.equal(net.backbone.get_parameter("pos_embed"), load_checkpoint(trained).state["pos_embed"])


def test_classes_of_other_names_are_refused_though_the_counts_agree(data: SceneData, trained: Path) -> None:
    renamed = structs.replace(TINY, classes=("forest", "harbour", "river", "zebra"))
    with pytest.raises(CheckpointError, match=r"classifies 4 classes \(desert, .*\(forest, .*--new-head"):
        initial_net(renamed, data, 0, 0.0, Start(trained))


def test_a_checkpoint_that_saw_what_would_be_held_out_is_refused(scenes: Path, trained: Path, tmp_path: Path) -> None:
    other = tiny_data(scenes, tmp_path / "splits", SplitSettings(split_seed=1, selection_share=0.2))
    with pytest.raises(CheckpointError, match=r"has learned from \d+ of .*--split-seed"):
        initial_net(TINY, other, 0, 0.0, Start(trained))
    by_another_name = replace(other, source=replace(other.source, name="Bands"))
    with pytest.raises(CheckpointError, match="held out now"):
        initial_net(TINY, by_another_name, 0, 0.0, Start(trained))


def test_what_decides_no_split_decides_no_refusal(scenes: Path, trained: Path, tmp_path: Path) -> None:
    same = tiny_data(scenes, tmp_path / "others", SplitSettings(0, 0.7, 0.2, "skip"))
    assert initial_net(TINY, same, 0, 0.0, Start(trained)).has_classifier


def test_a_descendant_of_one_that_saw_what_would_be_held_out_is_refused(
    plan: RunPlan, trained: Path, own_scenes: Path, scenes: Path, tmp_path: Path
) -> None:
    write_image(own_scenes / "val" / "river" / "new.png", 3, 5000)
    between = replace(
        plan, data=tiny_data(own_scenes, tmp_path / "between"), folder=tmp_path / "second", start=Start(trained)
    )
    between = replace(between, data=replace(between.data, source=replace(between.data.source, name="Between")))
    second = train(open_run(between, resume=False), Reporter())
    other = tiny_data(scenes, tmp_path / "other", SplitSettings(split_seed=1, selection_share=0.2))
    with pytest.raises(CheckpointError, match="or what it started from, has learned from"):
        initial_net(TINY, other, 0, 0.0, Start(second))
    assert initial_net(TINY, plan.data, 0, 0.0, Start(second)).has_classifier


def test_after_images_were_added_a_checkpoint_is_refused_if_it_learned_from_what_is_held_out(
    own_scenes: Path, tmp_path: Path
) -> None:
    plan = RunPlan(TINY, tiny_data(own_scenes, tmp_path), replace(QUICK, num_epoch=1), tmp_path / "first")
    start = Start(train(open_run(plan, resume=False), Reporter()))
    write_image(own_scenes / "val" / "river" / "new.png", 3, 5000)

    def check(seed: int) -> None:
        split = SplitSettings(split_seed=seed, selection_share=0.2)
        data = tiny_data(own_scenes, tmp_path, split)
        check_start(replace(plan, data=data, folder=tmp_path / "second", start=start), resume=False)

    check(seed=0)  # the same images of the training folder are held out
    with pytest.raises(CheckpointError, match=r"has learned from .* that are held out now, such as .*train/"):
        check(seed=1)


@pytest.mark.parametrize("part", ["train", "selection", "val"])
def test_a_checkpoint_is_refused_where_a_held_out_image_is_a_copy_of_one_that_it_saw(
    plan: RunPlan, trained: Path, own_scenes: Path, tmp_path: Path, part: str
) -> None:
    first = tmp_path / "another"
    for name in CLASSES:  # another data set, with one image that the checkpoint knows, stored anew
        for number in range(6):
            write_image(first / "train" / name / f"{number}.png", CLASSES.index(name), 6000 + number)
            write_image(first / "val" / name / f"{number}.png", CLASSES.index(name), 6100 + number)
    path = plan.data.split.parts[part][0][0]
    copy = store_anew(own_scenes / path, first / "val" / CLASSES[0] / "copy.jpg")
    data = tiny_data(first, tmp_path / "others", SplitSettings(selection_share=0.2))
    if part == "val":
        assert initial_net(TINY, data, 0, 0.0, Start(trained)).has_classifier
    else:
        with pytest.raises(CheckpointError) as caught:
            initial_net(TINY, data, 0, 0.0, Start(trained))
        assert str(copy) in str(caught.value)


@pytest.mark.parametrize("how", ["file", "result folder", "run folder"])
def test_a_path_to_file_or_folder_is_understood(plan: RunPlan, trained: Path, how: str) -> None:
    path = {"file": trained, "result folder": trained.parent, "run folder": plan.folder}[how]
    assert find_checkpoint_file(path) == trained


def test_absent_checkpoints_and_other_classes_are_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        find_checkpoint_file(tmp_path / "nothing")
    other = NetSpec(TINY.backbone, TINY.exit_blocks, TINY.input, ("x", "y"))
    with pytest.raises(
        CheckpointError, match=r"classifies 4 classes \(desert, forest, harbour, …\) but the data have 2"
    ):
        trained_net(read_trained(trained), other, trained)


def test_a_plain_network_is_not_evaluated_as_if_its_exits_were_trained(trained: Path, tmp_path: Path) -> None:
    plain = {n: t for n, t in load_checkpoint(trained).state.items() if not n.startswith(("gates", "intermediate"))}
    torch.save(plain, tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match=r"plain\.pth is a plain network without early exits"):
        trained_net(read_trained(tmp_path / "plain.pth"), TINY, tmp_path / "plain.pth")


def test_a_trained_network_is_evaluated_at_another_size(trained: Path) -> None:
    larger = structs.replace(TINY, input=structs.replace(TINY.input, size=64))
    net = trained_net(read_trained(trained), larger, trained)
    assert net(torch.zeros(1, 3, 64, 64)).logits.shape == (1, 3, 4)
