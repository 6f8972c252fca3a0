"""What a run remembers of its data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gfnet_dynn.errors import CheckpointError, DataError
from gfnet_dynn.runlayout import run_of_checkpoint
from gfnet_dynn.train.engine.tracking import Reporter
from gfnet_dynn.train.runs.run import open_run, train
from gfnet_dynn.train.runs.run_folder import RunPlan, remembered_source
from tests.train.conftest import QUICK, TINY, tiny_data

pytestmark = pytest.mark.usefixtures("quick_refit")


@pytest.fixture
def plan(own_scenes: Path, tmp_path: Path) -> RunPlan:
    plan = RunPlan(TINY, tiny_data(own_scenes, tmp_path / "splits"), replace(QUICK, num_epoch=1), tmp_path / "run")
    train(open_run(plan, resume=False), Reporter())
    return plan


def test_a_run_remembers_its_data_until_they_are_moved(plan: RunPlan, own_scenes: Path, tmp_path: Path) -> None:
    source = plan.data.source
    assert remembered_source(plan.folder) == source
    assert (found := run_of_checkpoint(plan.layout.model())) is not None
    assert found.folder == plan.folder
    moved = own_scenes.rename(tmp_path / "moved")
    with pytest.raises(DataError) as error:
        remembered_source(plan.folder)
    assert str(source.root) in str(error.value)
    assert "--data-path" in str(error.value)
    assert remembered_source(plan.folder, moved) == replace(source, root=moved)
    data = replace(plan.data, source=replace(source, root=moved))
    assert open_run(replace(plan, data=data), resume=True).notes == ("the run is finished already",)


def test_no_run_and_a_damaged_record_are_named(plan: RunPlan, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        remembered_source(tmp_path / "nowhere")
    assert run_of_checkpoint(Path(shutil.copy(plan.layout.model(), tmp_path / "net.safetensors"))) is None
    record = json.loads(plan.layout.record.read_text(encoding="utf-8"))
    for damage, word in (
        ({"root": 3}, "root"),
        ({"rot": "x"}, "rot"),
        ({"config": {"num_classes": "4", "default_input_size": 32}}, "num_classes"),
    ):
        plan.layout.record.write_text(json.dumps({**record, "source": {**record["source"], **damage}}))
        with pytest.raises(CheckpointError, match=f"run.json.*{word}"):
            remembered_source(plan.folder)
    for text in ("{", "3", "[]", "{}"):
        plan.layout.record.write_text(text)
        with pytest.raises(CheckpointError, match=r"run\.json"):
            remembered_source(plan.folder)
