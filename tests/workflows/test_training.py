"""Training by the Python API: one request in, one typed result out, nothing printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gfnet_dynn.data.request import DataOptions
from gfnet_dynn.errors import DataError, OptionError
from gfnet_dynn.spec.network import NetworkOptions
from gfnet_dynn.train.engine.tracking import Reporter, StageExtent
from gfnet_dynn.train.request import RunOptions, Start, TrainRequest, TrainSettings
from gfnet_dynn.train.runs.run_folder import remembered_source
from gfnet_dynn.workflows.training import train

pytestmark = pytest.mark.usefixtures("quick_refit")


class Events(Reporter):
    """Keeps the stages that are announced, started and ended."""

    def __init__(self) -> None:
        self.stages: list[StageExtent] = []
        self.seen: list[str] = []

    def run_started(self, stages: object) -> None:
        """Keep them."""
        self.stages = list(stages)  # type: ignore[call-overload] # a sequence

    def stage_started(self, stage: str, *more: object) -> None:
        """Keep its name."""
        self.seen.append(stage)

    def stage_ended(self, stage: str, accuracies: object) -> None:
        """Keep its accuracies."""
        self.seen.append(f"{stage}: {', '.join(accuracies)}")  # type: ignore[arg-type] # by exit


def test_a_folder_becomes_a_run(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = TrainRequest(
        folder=scenes,
        data=DataOptions(input_size=32),
        network=NetworkOptions(model="gfnet-96x8", exits=(1,)),
        training=TrainSettings(num_epoch=2, warmup_epochs=1, batch=16, seed=3),
        run=RunOptions(output=tmp_path / "out", tensorboard=False),
    )
    events, lines = Events(), list[str]()
    result = train(request, log=lines.append, reporters=[events])
    assert [(each.name, each.epochs, each.images) for each in events.stages] == [
        ("backbone", 2, 72),
        ("warmup", 1, 72),
        ("joint", 2, 72),
    ]
    both = "accuracy/exit1, accuracy/final"
    assert events.seen == [
        *("backbone", "backbone: accuracy/final"),
        *("warmup", f"warmup: {both}"),
        *("joint", f"joint: {both}"),
    ]
    assert any("train 72, selection 8, val 24" in line for line in lines)
    assert remembered_source(result.run).root == scenes
    assert (result.images, len(result.accuracies), len(result.exit_macs)) == (8, 2, 2)
    assert result.model.is_file()
    (table,) = result.tables()
    assert [row[0] for row in table.rows] == ["exit 1", "final exit"]
    assert table.rows[-1][-1] == "100%"
    assert "<table>" in result._repr_html_()
    # The same request resumes, to the same result.
    again = train(replace(request, run=RunOptions(output=tmp_path / "out", resume=True)))
    assert (again.accuracies, again.remarks) == (result.accuracies, ("the run is finished already",))
    assert capsys.readouterr() == ("", "")


def test_requests_that_cannot_be_met_are_refused(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=str(scenes)):
        TrainRequest(folder=scenes, data=DataOptions(data_path=tmp_path))
    with pytest.raises(OptionError, match="--checkpoint-path"):
        Start(new_head=True)
    with pytest.raises(DataError, match="--data-set"):
        train(TrainRequest(run=RunOptions(output=tmp_path)))
    with pytest.raises(OptionError, match=r"--threads must lie from 1 to .*, not 0"):
        train(TrainRequest(folder=scenes, run=RunOptions(output=tmp_path, threads=0)))
