"""What a run's network has learned from, its ancestors' images included."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gfnet_dynn.bundle.learned_from import digests, unpack
from gfnet_dynn.data.loading.scenes import SceneData
from gfnet_dynn.data.splits.unlabelled import find_unlabelled
from gfnet_dynn.errors import DataError
from gfnet_dynn.model.build import build_net
from gfnet_dynn.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from gfnet_dynn.model.weights import published_state
from gfnet_dynn.progress import ignore_progress
from gfnet_dynn.train.config.distillation import DistillationSettings
from gfnet_dynn.train.config.request import Start
from gfnet_dynn.train.engine.reporter import Reporter
from gfnet_dynn.train.objectives.teacher import Teacher
from gfnet_dynn.train.runs.lineage import RECORD, lineage_of_checkpoint, lineage_of_data, lineage_of_plan
from gfnet_dynn.train.runs.run import open_run, train
from gfnet_dynn.train.runs.run_folder import RunPlan
from gfnet_dynn.train.runs.teaching import TeacherContext, find_teacher
from tests.conftest import write_image
from tests.train.conftest import QUICK, TINY, tiny_data


@pytest.fixture
def plan(data: SceneData, tmp_path: Path) -> RunPlan:
    return RunPlan(TINY, data, QUICK, tmp_path / "run")


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Images like those of the data set, none of them in it; the data set `Other` when split."""
    for index, name in enumerate(TINY.classes):
        for number in range(4):
            write_image(tmp_path / "others" / "train" / name / f"{number}.png", index, 7000 + number)
        write_image(tmp_path / "others" / "val" / name / "0.png", index, 8000)
    return tmp_path / "others"


def other_data(root: Path, folder: Path) -> SceneData:
    data = tiny_data(root, folder / "others_split")
    return replace(data, source=replace(data.source, name="Other"))


def opened(plan: RunPlan) -> Path:
    """A run's result without its training: random weights, with the record that training gives them."""
    run = open_run(plan, resume=False)
    return save_checkpoint(plan.layout.model("joint"), run.net, plan.spec, run.record.provenance())


def kept(plan: RunPlan) -> frozenset[bytes]:
    return unpack(plan.layout.learned_from.read_bytes())


def unknown(plan: RunPlan) -> list[str]:
    found: list[str] = json.loads(plan.layout.record.read_text(encoding="utf-8"))[RECORD]["unknown"]
    return found


def seen(data: SceneData) -> frozenset[bytes]:
    return frozenset(
        digests(data.source.root / path for part in ("train", "selection") for path, _ in data.split.parts[part])
    )


def of_earlier_version(file: Path, **changes: object) -> Checkpoint:
    """The same checkpoint, from before digests were kept; the file is written anew."""
    found = load_checkpoint(file)
    provenance = {key: value for key, value in found.provenance.items() if key != RECORD} | changes
    save_checkpoint(file, found.build(), found.spec, provenance)
    (file.parent.parent / "learned_from.sha256").unlink()
    return load_checkpoint(file)


def test_a_run_keeps_the_digests_of_its_training_and_selection_images(plan: RunPlan, scenes: Path) -> None:
    counted: list[tuple[str, int, int]] = []
    open_run(plan, resume=False, on_progress=lambda *call: counted.append(call))
    assert kept(plan) == frozenset(digests((scenes / "train").rglob("*.png")))
    assert unknown(plan) == []
    assert counted[-1] == ("Hashing the training images", 80, 80)


def test_a_run_keeps_the_digests_of_unlabelled_images_too(plan: RunPlan, others: Path) -> None:
    open_run(replace(plan, unlabelled=find_unlabelled(others / "train", "refuse")), resume=False)
    assert kept(plan) == seen(plan.data) | frozenset(digests((others / "train").rglob("*.png")))


def test_what_ancestors_learned_from_is_handed_down(plan: RunPlan, others: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    write_image(pool / "one.png", 0, 9000)
    first = replace(
        plan,
        data=other_data(others, tmp_path),
        folder=tmp_path / "first",
        unlabelled=find_unlabelled(pool, "refuse"),
    )
    opened(first)
    second = replace(plan, folder=tmp_path / "second", start=Start(first.folder))
    opened(second)
    open_run(replace(plan, start=Start(second.folder)), resume=False)
    assert kept(plan) == seen(plan.data) | seen(first.data) | frozenset(digests([pool / "one.png"]))
    assert unknown(plan) == []


def test_a_run_that_starts_from_the_one_in_its_own_place_inherits_from_it(
    plan: RunPlan, others: Path, tmp_path: Path
) -> None:
    opened(replace(plan, data=other_data(others, tmp_path)))
    open_run(replace(plan, start=Start(plan.folder)), resume=False)
    assert kept(plan) == seen(plan.data) | seen(other_data(others, tmp_path))


def test_resuming_keeps_them_though_the_ancestor_is_gone(plan: RunPlan, others: Path, tmp_path: Path) -> None:
    first = replace(plan, data=other_data(others, tmp_path), folder=tmp_path / "first")
    opened(first)
    started = replace(plan, settings=replace(QUICK, num_epoch=1, warmup_epochs=1), start=Start(first.folder))
    result = train(open_run(started, resume=False), Reporter())
    before = kept(started)
    assert before > seen(first.data)
    shutil.rmtree(first.folder)
    result.unlink()
    assert train(open_run(started, resume=True), Reporter()) == result
    assert kept(started) == before
    provenance = load_checkpoint(result).provenance
    assert (
        lineage_of_checkpoint(result, provenance, plan.data, lineage_of_data(plan.data, ignore_progress)).images
        == before
    )


@pytest.fixture
def published(tmp_path: Path) -> Path:
    torch.save({"model": published_state(build_net(TINY))}, tmp_path / "published.pth")
    return tmp_path / "published.pth"


def test_a_published_file_says_nothing_of_what_it_learned_from(plan: RunPlan, published: Path, tmp_path: Path) -> None:
    opened(replace(plan, start=Start(published)))
    assert unknown(plan) == [str(published)]
    assert kept(plan) == seen(plan.data)
    second = replace(plan, folder=tmp_path / "second", start=Start(plan.folder))
    open_run(second, resume=False)
    assert unknown(second) == [str(published)]


def test_a_run_of_an_earlier_version_is_known_only_where_it_saw_the_same_data_alone(
    plan: RunPlan, others: Path, tmp_path: Path
) -> None:
    started = replace(plan, folder=tmp_path / "second", start=Start(plan.folder))
    file = opened(plan)
    of_earlier_version(file)
    assert lineage_of_plan(started, ignore_progress).unknown == ()
    for change in ({"start": {"checkpoint": "elsewhere"}}, {"distillation": {"teacher_name": "checkpoint"}}):
        opened(plan)
        of_earlier_version(file, **change)
        assert lineage_of_plan(started, ignore_progress).unknown == (str(file),)
    opened(replace(plan, data=other_data(others, tmp_path)))
    of_earlier_version(file)
    assert lineage_of_plan(started, ignore_progress).unknown == (str(file),)


def test_digests_that_are_not_those_of_the_checkpoint_are_not_believed(
    plan: RunPlan, others: Path, tmp_path: Path
) -> None:
    first = replace(plan, data=other_data(others, tmp_path), folder=tmp_path / "first")
    file = opened(first)
    first.layout.learned_from.write_bytes(b"12345678")
    found = lineage_of_plan(replace(plan, start=Start(file)), ignore_progress)
    assert found.unknown == (str(file),)
    assert found.images == seen(plan.data)
    # A file outside its run is known where it saw the same data and no others.
    copy = Path(shutil.copy(opened(plan), tmp_path / "copy.safetensors"))
    assert lineage_of_plan(replace(plan, start=Start(copy)), ignore_progress).unknown == ()


@pytest.fixture
def taught_by(plan: RunPlan, tmp_path: Path) -> Callable[[str], RunPlan]:
    def make(named: str) -> RunPlan:
        settings = DistillationSettings(teacher=named, teacher_size=32, teacher_epochs=1, teacher_batch=64)
        school = TeacherContext(plan.data, QUICK, tmp_path / "teachers", lambda plan: Reporter(), lambda said: None)
        return replace(plan, distillation=settings, teacher=find_teacher(settings, school))

    return make


def test_what_a_teacher_learned_from_is_handed_down(
    taught_by: Callable[[str], RunPlan], plan: RunPlan, others: Path, published: Path, tmp_path: Path
) -> None:
    first = replace(plan, data=other_data(others, tmp_path), folder=tmp_path / "first")
    opened(first)
    assert lineage_of_plan(taught_by(str(first.folder)), ignore_progress).images == seen(plan.data) | seen(first.data)
    named = lineage_of_plan(taught_by("gfnet-96x8"), ignore_progress)
    assert (named.images, named.unknown) == (seen(plan.data), ())
    assert lineage_of_plan(taught_by(str(published)), ignore_progress).unknown == (str(published),)
    own = Teacher(build_net(TINY), TINY.input, TINY.input, {"what": "one's own"})
    assert lineage_of_plan(replace(plan, teacher=own), ignore_progress).unknown == ("the teacher",)


def test_an_image_that_went_away_is_named_before_the_folder_is_touched(own_scenes: Path, tmp_path: Path) -> None:
    plan = RunPlan(TINY, tiny_data(own_scenes, tmp_path / "splits"), QUICK, tmp_path / "run")
    (own_scenes / "train" / "river" / "000.png").unlink()
    with pytest.raises(DataError, match=r"cannot read .*000\.png"):
        open_run(plan, resume=False)
    assert not plan.folder.exists()
