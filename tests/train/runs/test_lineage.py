"""What a run's network has learned from, its ancestors' images included."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gfnet_dynn.data.learned_from import (
    RECORD,
    LearnedFrom,
    find_unlabelled,
    learned_from_provenance,
    learned_from_split,
)
from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.images.copies import distinct
from gfnet_dynn.model.checkpoint import load_checkpoint, save_checkpoint
from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.model.weights import published_state
from gfnet_dynn.train.distillation import Teacher
from gfnet_dynn.train.engine.tracking import Reporter
from gfnet_dynn.train.request import DistillationSettings, Start
from gfnet_dynn.train.runs.run import open_run, train
from gfnet_dynn.train.runs.run_folder import RunPlan
from gfnet_dynn.train.runs.teaching import find_teacher
from tests.conftest import write_image
from tests.fingerprints import of_files
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


def record_of(plan: RunPlan) -> LearnedFrom:
    record = json.loads(plan.layout.record.read_text(encoding="utf-8"))
    return learned_from_provenance(record, plan.layout.record)


def kept(plan: RunPlan) -> bytes:
    return record_of(plan).images


def unknown(plan: RunPlan) -> tuple[str, ...]:
    return record_of(plan).unknown


def seen(*data: SceneData, more: bytes = b"") -> bytes:
    return distinct(b"".join(learned_from_split(each.split).images for each in data) + more)


def test_a_run_keeps_the_fingerprints_of_its_training_and_selection_images(plan: RunPlan, scenes: Path) -> None:
    open_run(plan, resume=False)
    found, root = record_of(plan), plan.data.source.root
    assert found.images == of_files((scenes / "train").rglob("*.png"))
    assert distinct(found.selected) == of_files(root / path for path, _ in plan.data.split.parts["selection"])
    assert found.unknown == ()


def test_a_run_keeps_the_fingerprints_of_unlabelled_images_too(plan: RunPlan, others: Path) -> None:
    open_run(replace(plan, unlabelled=find_unlabelled(others / "train", "refuse")), resume=False)
    assert kept(plan) == seen(plan.data, more=of_files((others / "train").rglob("*.png")))


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
    assert kept(plan) == seen(plan.data, first.data, more=of_files([pool / "one.png"]))
    assert unknown(plan) == ()


def test_a_run_that_starts_from_the_one_in_its_own_place_inherits_from_it(
    plan: RunPlan, others: Path, tmp_path: Path
) -> None:
    opened(replace(plan, data=other_data(others, tmp_path)))
    open_run(replace(plan, start=Start(plan.folder)), resume=False)
    assert kept(plan) == seen(plan.data, other_data(others, tmp_path))


def test_resuming_keeps_them_though_the_ancestor_is_gone(plan: RunPlan, others: Path, tmp_path: Path) -> None:
    first = replace(plan, data=other_data(others, tmp_path), folder=tmp_path / "first")
    opened(first)
    started = replace(plan, settings=replace(QUICK, num_epoch=1, warmup_epochs=1), start=Start(first.folder))
    result = train(open_run(started, resume=False), Reporter())
    before = kept(started)
    assert before == seen(plan.data, first.data)
    shutil.rmtree(first.folder)
    result.unlink()
    assert train(open_run(started, resume=True), Reporter()) == result
    assert kept(started) == before
    provenance = load_checkpoint(result).provenance
    assert learned_from_provenance(provenance, result).images == before
    assert RECORD not in provenance["started_from"], "the same images twice"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    torch.save({"model": published_state(build_net(TINY))}, tmp_path / "published.pth")
    return tmp_path / "published.pth"


def test_a_published_file_says_nothing_of_what_it_learned_from(plan: RunPlan, published: Path, tmp_path: Path) -> None:
    opened(replace(plan, start=Start(published)))
    assert unknown(plan) == (str(published),)
    assert kept(plan) == seen(plan.data)
    second = replace(plan, folder=tmp_path / "second", start=Start(plan.folder))
    open_run(second, resume=False)
    assert unknown(second) == (str(published),)


def test_a_copied_checkpoint_still_knows_what_it_learned_from(plan: RunPlan, others: Path, tmp_path: Path) -> None:
    first = replace(plan, data=other_data(others, tmp_path), folder=tmp_path / "first")
    copy = Path(shutil.copy(opened(first), tmp_path / "copy.safetensors"))
    shutil.rmtree(first.folder)
    found = replace(plan, start=Start(copy)).learned_from()
    assert (found.images, found.unknown) == (seen(plan.data, first.data), ())


@pytest.mark.parametrize(
    "record",
    [None, [], {}, {"trained": "?", "selected": "", "unknown": []}, {"trained": "AAAA", "selected": "", "unknown": []}],
)
def test_a_damaged_record_is_named(plan: RunPlan, record: object) -> None:
    file = opened(plan)
    found = load_checkpoint(file)
    save_checkpoint(file, found.build(), found.spec, {**found.provenance, RECORD: record})
    with pytest.raises(CheckpointError) as caught:
        replace(plan, start=Start(file)).learned_from()
    assert str(file) in str(caught.value)


@pytest.fixture
def taught_by(plan: RunPlan, tmp_path: Path) -> Callable[[str], RunPlan]:
    def make(named: str) -> RunPlan:
        settings = DistillationSettings(teacher=named, teacher_size=32, teacher_epochs=1, teacher_batch=64)
        student = replace(plan, distillation=settings)
        return replace(student, teacher=find_teacher(student, tmp_path / "teachers", lambda plan: Reporter()))

    return make


def test_what_a_teacher_learned_from_is_handed_down(
    taught_by: Callable[[str], RunPlan], plan: RunPlan, others: Path, published: Path, tmp_path: Path
) -> None:
    first = replace(plan, data=other_data(others, tmp_path), folder=tmp_path / "first")
    opened(first)
    assert taught_by(str(first.folder)).learned_from().images == seen(plan.data, first.data)
    named = taught_by("gfnet-96x8").learned_from()
    assert (named.images, named.unknown) == (seen(plan.data), ())
    assert taught_by(str(published)).learned_from().unknown == (str(published),)
    own = Teacher(build_net(TINY), TINY.input, TINY.input, {"what": "one's own"})
    assert replace(plan, teacher=own).learned_from().unknown == ("the teacher",)
