"""Runs side by side: who shares a row, what a row is called, and that every figure is that of the evaluations."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gfnet_dynn.errors import DataError
from gfnet_dynn.evaluation.comparison import compare, read_run
from gfnet_dynn.evaluation.comparison_report import SOURCES
from gfnet_dynn.evaluation.request import ReportRequest
from gfnet_dynn.uncertainty.intervals import Proportion
from gfnet_dynn.workflows.evaluation import report


def judged(accuracy: float, macs: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "macro_f1": accuracy - 0.01, "mean_macs": macs, "macs_share": macs / 400e6}


def make_run(folder: Path, seed: int = 0, final: float = 0.9, exits: bool = True, **changes: Any) -> Path:
    """A run as training and evaluation leave it, as far as a comparison reads it."""
    settings = {"seed": seed, "lr": 0.001, "batch": 64, "device": "cpu", "checkpoint_minutes": seed} | changes
    distillation, changed = settings.pop("distillation", None), changes.get("network", {})
    settings.pop("network", None)
    network: dict[str, Any] = {"exit_blocks": [3] if exits else [], "input": {"pad": 0}}
    record = {
        "network": {**network, **changed},
        "settings": settings,
        "data": {"fingerprint": "f" * 64, "split": {"seed": 0}},
        "start": {"checkpoint": None, "new_head": False, "pretrained": True},
        "precision": "32-true",
        "versions": {"torch": "2"},
        "distillation": distillation,
    }
    early = {name: judged(final - 0.01, 200e6) for name in ("gates", "max-softmax")} if exits else {}
    accuracies = {100e6: final - 0.2, 400e6: final} if exits else {400e6: final}
    evaluation = {
        "data": {"data_set": "UCM", "part": "val", "images": 336},
        "network": {
            "model": "gfnet-xs",
            "parameters": 4_000_000,
            "input_px": 128,
            "exits": [{"macs": macs, "accuracy": accuracy} for macs, accuracy in accuracies.items()],
        },
        "policies": {**early, "full": judged(final, 400e6)},
        "sweeps": {"gate": [judged(final - 0.2, 100e6), judged(final, 400e6)]},
    }
    where = folder / "checkpoint_result" / "evaluation"
    where.mkdir(parents=True)
    (folder / "split.json").write_text(json.dumps({"parts": {"val": [["a.png", 0]]}}), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    (where / "evaluation.json").write_text(json.dumps(evaluation), encoding="utf-8")
    # The second epoch stands twice, as after a kill.
    lines = [{"stage": "joint", "epoch": epoch, "seconds": 60.0} for epoch in (0, 1, 1)]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


def test_runs_that_differ_in_seed_alone_share_a_row(tmp_path: Path) -> None:
    finals = (0.9, 0.92, 0.97)
    runs = [read_run(make_run(tmp_path / str(seed), seed, final)) for seed, final in enumerate(finals)]
    (group,) = compare(runs)
    assert group.name == "gfnet-xs 128 px"
    assert group.policies["full"].accuracy.mean == pytest.approx(statistics.fmean(finals))
    assert group.policies["full"].accuracy.deviation == pytest.approx(statistics.stdev(finals))
    assert group.policies["full"].accuracy.text(100) == "93.0 ± 3.6"
    assert group.policies["gates"].macs_share.text(100, 0) == "50 ± 0"
    right = np.arange(336) < round(0.93 * 336)
    assert group.policies["full"].interval == Proportion.of(right)
    assert [each.text(100) for each in group.exit_accuracy] == ["73.0 ± 3.6", "93.0 ± 3.6"]
    assert group.train_seconds.mean == 120


def distilled(kind: str, images: int | None = None, teacher: str = "efficientnet-lite0") -> dict[str, Any]:
    unlabelled = {"images": images, "fingerprint": "1234567890"} if images else None
    settings = {"distillation": kind, "views": 16}
    return {
        "settings": settings,
        "teacher_name": teacher,
        "teacher": {"weights": "abcdefghij"},
        "unlabelled": unlabelled,
    }


def test_rows_are_named_by_what_sets_them_apart(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "a", lr=0.1, joint_lr=None),
        make_run(tmp_path / "b", joint_lr=0.01, distillation=distilled("hard")),
        make_run(tmp_path / "c", joint_lr=None, distillation=distilled("soft", 50)),
    ]
    assert [group.name.removeprefix("gfnet-xs 128 px, ") for group in compare([read_run(run) for run in runs])] == [
        "lr 0.1, joint lr none, teacher none, unlabelled images none",
        "lr 0.001, joint lr 0.01, teacher efficientnet-lite0, unlabelled images none, distillation hard",
        "lr 0.001, joint lr none, teacher efficientnet-lite0, unlabelled images 50 (12345678), distillation soft",
    ]


def test_a_teacher_of_ones_own_is_told_by_its_weights(tmp_path: Path) -> None:
    one, other = distilled("soft", teacher="checkpoint"), distilled("soft", teacher="checkpoint")
    other["teacher"] = {"weights": "0123456789"}
    runs = [make_run(tmp_path / str(index), index, distillation=each) for index, each in enumerate((one, other))]
    assert [group.name[-24:] for group in compare([read_run(run) for run in runs])] == [
        "teacher weights abcdefgh",
        "teacher weights 01234567",
    ]


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ({}, {"exit_pooling": "mean-deviation"}, ["exit pooling mean", "exit pooling mean-deviation"]),
        ({}, {"input": {"pad": 8}}, ["padding 0", "padding 8"]),
    ],
)
def test_other_networks_with_other_seeds_share_no_row(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], apart: list[str]
) -> None:
    runs = [make_run(tmp_path / str(seed), seed, network=each) for seed, each in enumerate((first, second))]
    groups = compare([read_run(run) for run in runs])
    assert [group.name.removeprefix("gfnet-xs 128 px, ") for group in groups] == apart


def test_a_teacher_of_other_beginnings_is_told_by_them(tmp_path: Path) -> None:
    taught = [distilled("soft") | {"teacher_start": start} for start in ("0123456789", "abcdefghij")]
    runs = [make_run(tmp_path / str(seed), seed, distillation=each) for seed, each in enumerate(taught)]
    names = [group.name for group in compare([read_run(run) for run in runs])]
    assert [name[-22:] for name in names] == ["teacher start 01234567", "teacher start abcdefgh"]


def test_a_seed_counts_once(tmp_path: Path) -> None:
    first, second = (read_run(make_run(tmp_path / name)) for name in "ab")
    with pytest.raises(DataError, match="are the same run, or repeat it with the same seed 0"):
        compare([first, second])
    with pytest.raises(DataError, match="are the same run"):
        compare([first, first])


def test_a_report_has_every_number_and_its_source(tmp_path: Path) -> None:
    runs = (make_run(tmp_path / "a"), make_run(tmp_path / "b", final=0.95, exits=False))
    files = report(ReportRequest(runs=runs, output=tmp_path / "out")).files
    assert [file.name for file in files] == [f"comparison.{kind}" for kind in ("md", "html", "json", "png")]
    markdown = files[0].read_text(encoding="utf-8")
    assert "## UCM, 336 val images (list " in markdown
    row = (
        "| gfnet-xs 128 px, exits 3 | 1 | 4.00 | 90.0 (86.2–92.7) | 89.0 | 400 (100%) | 89.0 (85.2–91.9) | 200 (50%) "
        "| 89.0 (85.2–91.9) | 200 (50%) | 2.0 |"
    )
    assert row in markdown
    static = "| gfnet-xs 128 px, exits none | 1 | 4.00 | 95.0 (92.0–96.8) | 94.0 | 400 (100%) | – | – | – | – | 2.0 |"
    assert static in markdown
    assert "70.0 at 100 · 90.0 at 400" in markdown
    assert all(source in markdown for source in SOURCES.values())
    page = files[1].read_text(encoding="utf-8")
    cells = re.findall(r"<td>([^<]*)</td>", page)
    assert set(row.strip("| ").split(" | ")) <= set(cells)
    described = json.loads(files[2].read_text(encoding="utf-8"))
    assert [group["policies"]["full"]["accuracy"] for group in described["groups"]] == [
        {"mean": 0.9, "deviation": None},
        {"mean": 0.95, "deviation": None},
    ]
    with Image.open(files[3]) as picture:
        assert picture.size[0] > 600


def test_results_on_other_data_stand_in_another_table(tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    (second / "split.json").write_text(json.dumps({"parts": {"val": [["b.png", 0]]}}), encoding="utf-8")
    result = report(ReportRequest(runs=(first, second), output=tmp_path / "out"))
    assert sum(table.headings[:2] == ("network", "seeds") for table in result.tables()) == 2


def test_folders_that_cannot_be_compared_are_skipped_and_named(tmp_path: Path) -> None:
    run, earlier, unfinished = make_run(tmp_path / "a"), make_run(tmp_path / "a.previous-1"), make_run(tmp_path / "b c")
    (unfinished / "checkpoint_result" / "evaluation" / "evaluation.json").unlink()
    (tmp_path / "splits").mkdir()
    result = report(ReportRequest(runs=(run, earlier, unfinished, tmp_path / "splits"), output=tmp_path / "out"))
    assert [each.folder for group in result.groups for each in group.runs] == [run]
    noted = [next(note for note in result.notes() if str(each) in note) for each in (earlier, unfinished)]
    assert "earlier run" in noted[0]
    assert f"gfnet-dynn evaluate '{unfinished}'" in noted[1]
    assert any("splits" in note and "run.json" in note for note in result.notes())


def test_an_earlier_run_by_itself_is_compared(tmp_path: Path) -> None:
    earlier = make_run(tmp_path / "a.previous-1")
    assert report(ReportRequest(runs=(earlier,), output=tmp_path / "out")).groups[0].runs[0].folder == earlier


def test_nothing_to_compare_and_damaged_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run\.json"):
        report(ReportRequest(runs=(tmp_path,), output=tmp_path / "out"))
    run = make_run(tmp_path / "a")
    (run / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(str(run))):
        report(ReportRequest(runs=(run,), output=tmp_path / "out"))
