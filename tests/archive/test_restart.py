"""A partition is finished exactly when its file is there; the same run continues, another one is refused."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from gfnet_dynn.archive import output as output_module
from gfnet_dynn.archive.job import Job
from gfnet_dynn.archive.ledger import worked_in
from gfnet_dynn.archive.work import PartitionWorker
from gfnet_dynn.errors import BundleError, BusyError, DataError, EngineError, OptionError, StorageError
from tests.archive.archives import COUNT, Run, files, folder, rows
from tests.bundles import CALIBRATED, CLASSES, POLICIES, write_tiny
from tests.bundles import files as bundle_files
from tests.bundles import segments as graphs


def write_calibrated(path: Path) -> Path:
    """The tiny bundle with a policy that has a guarantee in fp32."""
    policy = replace(CALIBRATED, guarantee={**CALIBRATED.guarantee, "precisions": ["fp32"]})
    return write_tiny(path, policies=(*POLICIES, policy))


def test_a_stopped_run_is_continued_to_the_same_bytes(run: Run, tmp_path: Path) -> None:
    chips, whole = folder(tmp_path / "chips"), tmp_path / "whole"
    run(chips, output=whole, partition_size=5)
    stop, done = threading.Event(), list[int]()

    def count(summary: object, finished: int, total: int) -> None:
        done.append(finished)
        if finished == 2:
            stop.set()

    first = run(chips, partition_size=5, on_partition=count, stop=stop)
    assert not first.is_complete
    assert not (tmp_path / "out" / "_summary.json").exists()
    kept = {name: (tmp_path / "out" / name).stat().st_ino for name in files(tmp_path / "out")}
    assert len(kept) == 2
    second = run(chips, partition_size=5, on_partition=count)
    assert done == [0, 1, 2, 2, 3, 4, 5]
    assert files(tmp_path / "out") == files(whole)
    assert all((tmp_path / "out" / name).stat().st_ino == number for name, number in kept.items())
    assert second.is_complete
    assert second.done_now == 15
    here, there = (json.loads((each / "_summary.json").read_text()) for each in (tmp_path / "out", whole))
    assert {**here, "last_run": 0} == {**there, "last_run": 0}


def test_the_summary_counts_what_the_rows_say(run: Run, tmp_path: Path) -> None:
    result = run(folder(tmp_path / "chips"), partition_size=6)
    found, counts = rows(tmp_path / "out"), result.summary
    assert counts.rows == len(found) == COUNT
    assert counts.errors == 1
    for name, number in counts.exits.items():
        assert number == sum(row["exit"] == name for row in found)
    assert {name: sum(row["label"] == name for row in found) for name in counts.classes} == counts.classes
    costs = {"exit 1": 100, "exit 2": 250, "final": 400}
    assert counts.macs == sum(costs[row["exit"]] for row in found if row["exit"])
    assert counts.full_macs == 400 * (COUNT - 1)
    described = json.loads((tmp_path / "out" / "_summary.json").read_text())
    assert described["macs_saved"] == pytest.approx(1 - counts.macs / counts.full_macs)


def test_a_finished_run_does_nothing_again(run: Run, tmp_path: Path) -> None:
    chips = folder(tmp_path / "chips")
    run(chips)
    before = (tmp_path / "out" / "_summary.json").read_bytes()
    again = run(chips)
    assert again.done_now == 0
    assert again.summary.rows == COUNT
    assert (tmp_path / "out" / "_summary.json").read_bytes() == before


def test_a_removed_partition_is_done_again(run: Run, tmp_path: Path) -> None:
    chips = folder(tmp_path / "chips")
    run(chips, partition_size=5)
    before = files(tmp_path / "out")
    (tmp_path / "out" / "part-00003.parquet").unlink()
    assert run(chips, partition_size=5).done_now == 5
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("change", "differs"),
    [("added", "images"), ("grown", "images"), ("bundle", "bundle"), ("policy", "policy"), ("size", "partitions"),
     ("precision", "precision"), ("threshold", "policy"), ("false alarms", "false_alarms")],
)  # fmt: skip
def test_another_run_is_refused_by_what_differs(run: Run, tmp_path: Path, change: str, differs: str) -> None:
    chips = folder(tmp_path / "chips")
    run(chips, partition_size=5, precision="fp32")
    before = files(tmp_path / "out")
    more: dict[str, Any] = {"partition_size": 5, "precision": "fp32"}
    if change == "added":
        (chips / "0" / "new.png").write_bytes((chips / "0" / "0000.png").read_bytes())
    elif change == "grown":
        (chips / "0" / "0000.png").write_bytes((chips / "0" / "0000.png").read_bytes() + b"0")
    elif change == "bundle":
        more["bundle"] = write_tiny(tmp_path / "b.gfd", bundle_files(fp32=graphs("int8"), int8=graphs()))
    else:
        changes: dict[str, dict[str, Any]] = {
            "policy": {"policy": "plain"},
            "size": {"partition_size": 6},
            "precision": {"precision": "int8"},
            "threshold": {"threshold": 0.5},
            "false alarms": {"false_alarms": 0.02},
        }
        more |= changes[change]
    with pytest.raises(StorageError, match=f"other {differs} "):
        run(chips, **more)
    assert files(tmp_path / "out") == before
    (chips / "0" / "new.png").unlink(missing_ok=True)


def test_a_wrong_option_without_an_answer_can_be_corrected(run: Run, tmp_path: Path) -> None:
    chips = folder(tmp_path / "chips")
    stop = threading.Event()
    stop.set()
    assert run(chips, partition_size=5, false_alarms=0.5, stop=stop).summary.partitions == 0
    assert run(chips, partition_size=6).is_complete


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_probability_of_false_alarms_that_is_none_is_refused_at_once(run: Run, tmp_path: Path, share: float) -> None:
    with pytest.raises(OptionError, match="--false-alarms must be above 0 and below 100%"):
        run(folder(tmp_path / "chips"), false_alarms=share)
    assert not (tmp_path / "out").exists()


def test_where_nothing_was_classified_nothing_is_promised(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no image")
    result = run(tmp_path / "bad", bundle=write_calibrated(tmp_path / "c.gfd"), policy="calibrated", precision="fp32")
    assert result.summary.promises == {"none": 1}
    assert [row["promise"] for row in rows(tmp_path / "out")] == ["none"]


def test_a_refused_list_is_removed_by_the_next_run(run: Run, tmp_path: Path) -> None:
    chips = folder(tmp_path / "chips")
    run(chips)
    (chips / "new.png").write_bytes(b"")
    with pytest.raises(StorageError):
        run(chips)
    (chips / "new.png").unlink()
    run(chips)
    assert len(list((tmp_path / "out").glob("_names*"))) == 1


def test_folders_of_something_else_and_busy_ones_are_refused(run: Run, tmp_path: Path) -> None:
    chips = folder(tmp_path / "chips")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(StorageError, match=r"mine\.txt"):
        run(chips, output=tmp_path / "other")
    with pytest.raises(StorageError, match="is a file"):
        run(chips, output=tmp_path / "other" / "mine.txt")
    with worked_in(tmp_path / "out"), pytest.raises(BusyError):
        run(chips)
    with pytest.raises(OptionError, match="shared"):
        run(chips, output="s3://bucket/out")


def test_what_killed_workers_left_is_removed(run: Run, tmp_path: Path) -> None:
    left = tmp_path / "out" / ".part-00000.parquet.0123456789ab.part"
    left.parent.mkdir()
    left.write_bytes(b"half")
    run(folder(tmp_path / "chips"))
    assert not left.exists()
    assert not list((tmp_path / "out").glob(".part*"))


def test_a_full_disk_publishes_nothing_and_the_same_command_continues(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips = folder(tmp_path / "chips")
    writer = pq.ParquetWriter

    class Full(writer):  # type: ignore[valid-type,misc]
        """Has room for two partitions."""

        room = 2

        def write_table(self, *arguments: object, **named: object) -> None:
            Full.room -= 1
            if Full.room < 0:
                raise OSError(28, os.strerror(28))
            super().write_table(*arguments, **named)

    with monkeypatch.context() as full:
        full.setattr(pq, "ParquetWriter", Full)
        with pytest.raises(StorageError, match="No space left"):
            run(chips, partition_size=5)
    assert len(files(tmp_path / "out")) == 2
    assert not list((tmp_path / "out").glob(".part*"))
    assert run(chips, partition_size=5).summary.rows == COUNT


def test_a_worker_with_another_bundle_or_engine_does_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips, jobs = folder(tmp_path / "chips"), list[Job]()
    opened = PartitionWorker.__init__

    def remember(self: PartitionWorker, job: Job) -> None:
        jobs.append(job)
        opened(self, job)

    monkeypatch.setattr(PartitionWorker, "__init__", remember)
    run(chips)
    bundle = tmp_path / "tiny.gfd"
    content = bundle.read_bytes()
    write_tiny(bundle, bundle_files(fp32=graphs("int8"), int8=graphs()))
    with pytest.raises(BundleError, match="another bundle here"):
        PartitionWorker(jobs[0])
    bundle.write_bytes(content)
    monkeypatch.setattr("onnxruntime.__version__", "0.0.1")
    with pytest.raises(EngineError, match=r"onnxruntime 0\.0\.1"):
        PartitionWorker(jobs[0])


def test_the_promise_is_that_of_the_policy_over_its_partition(run: Run, tmp_path: Path) -> None:
    bundle = write_calibrated(tmp_path / "c.gfd")
    chips = folder(tmp_path / "chips", 300)
    result = run(chips, bundle=bundle, policy="calibrated", precision="fp32", partition_size=150)
    promises = [{row["promise"] for row in pq.read_table(path).to_pylist()} for path in sorted(parts(tmp_path))]
    assert all(len(each) == 1 for each in promises)
    assert {*result.summary.promises} <= {"holds", "in doubt"}
    assert "in doubt" in result.summary.promises  # these images are other ones
    assert {row["unknown"] for row in rows(tmp_path / "out") if not row["error"]} == {True, False}
    run(chips, bundle=bundle, policy="plain", output=tmp_path / "plain")
    assert {row["promise"] for row in rows(tmp_path / "plain")} == {"none"}


def parts(folder_: Path) -> list[Path]:
    return list((folder_ / "out").glob("part*.parquet"))


def test_the_folder_reads_as_one_table(run: Run, tmp_path: Path) -> None:
    run(folder(tmp_path / "chips"), partition_size=5)
    found = ds.dataset(tmp_path / "out").to_table()
    assert found.num_rows == COUNT
    assert found.column_names == [name for name, _ in output_module.COLUMNS]
    assert set(found["label"].to_pylist()) <= {*CLASSES, None}


def test_duckdb_reads_the_folder(run: Run, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    run(folder(tmp_path / "chips"), partition_size=5)
    query = f"select count(*), count(label), count(error) from '{tmp_path / 'out'}/*.parquet'"
    assert duckdb.sql(query).fetchall() == [(COUNT, COUNT - 1, 1)]


def test_a_damaged_partition_is_named(run: Run, tmp_path: Path) -> None:
    chips = folder(tmp_path / "chips")
    run(chips)
    (tmp_path / "out" / "part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(StorageError, match=r"part-00000\.parquet is damaged"):
        run(chips)


def test_nothing_is_written_where_the_source_is_wrong(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        run(tmp_path / "none")
    assert not list((tmp_path / "out").glob("*"))
