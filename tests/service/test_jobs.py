"""The store of map jobs: their life, limits, and what survives."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from gfnet_dynn import errors
from gfnet_dynn.errors import BusyError, DataError, GFNetDynnError, MissingExtraError, OptionError, StorageError
from gfnet_dynn.geo.journal import Journal
from gfnet_dynn.geo.request import MapRequest
from gfnet_dynn.service import job_map
from gfnet_dynn.service.job_record import RESULTS, JobFolder, JobRecord, MapOptions, now
from gfnet_dynn.service.job_settings import JobSettings
from gfnet_dynn.service.jobs import JobStore
from gfnet_dynn.service.problems import ServiceError
from gfnet_dynn.workflows import map_scene
from tests import bundles
from tests.geo.scenes import CRS, PLACE, pixels, read_map, write_scene
from tests.service.map_jobs import (
    SMALL_UNITS,
    UNITS,
    Hold,
    ended,
    large_scene,
    list_files,
    make_bundle,
    make_store,
    place_of,
    small_scene,
    submit,
    wait_until,
)

NAMES = {name for name, _ in RESULTS.values()}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_bundle(tmp_path)


def contents(store: JobStore, job_id: str) -> dict[str, bytes]:
    return {name: store.result_file(job_id, name)[0].read_bytes() for name in sorted(NAMES)}


def test_a_job_makes_the_map_that_the_workflow_makes(bundle: Path, tmp_path: Path) -> None:
    scene = small_scene(tmp_path)
    (tmp_path / "scene.tif").write_bytes(scene)
    request = MapRequest(
        bundle=bundle, scene=tmp_path / "scene.tif", output=tmp_path / "map.tif", precision="fp32", threads=1
    )
    expected = map_scene(request)
    with make_store(bundle, tmp_path / "jobs") as store:
        job_id = submit(store, scene)
        record = ended(store, job_id)
        assert (record.status, record.progress, record.message) == ("successful", 100, "")
        assert record.started is not None
        assert record.finished is not None
        assert record.created <= record.started <= record.finished
        assert contents(store, job_id)["map.tif"] == (tmp_path / "map.tif").read_bytes()
        assert list_files(store, job_id) == {"job.json", *NAMES}
        assert record.summary is not None
        assert [(each.name, each.km2) for each in record.summary.areas] == [
            (each.name, each.km2) for each in expected.areas
        ]
        assert record.summary.cells == read_map(store.result_file(job_id, "map.tif")[0]).shape
        assert place_of(store, job_id).stat().st_mode & 0o077 == 0


def test_options_of_the_client_reach_the_map(bundle: Path, tmp_path: Path) -> None:
    with make_store(bundle) as store:
        job_id = submit(
            store, small_scene(tmp_path), model="tiny", policy="calibrated", bands="3,2,1", stride=80, scale="0,200"
        )
        summary = ended(store, job_id).summary
        assert summary is not None
        assert summary.cell_m == pytest.approx((80, 80), rel=1e-3)
        assert [each.name for each in summary.areas] == [*bundles.CLASSES, "unknown"]
        with rasterio.open(store.result_file(job_id, "map.tif")[0]) as dataset:
            tags = dataset.tags()
        assert (tags["POLICY"], tags["BANDS"], tags["SCALE"]) == ("calibrated", "3,2,1", "0,200")


def test_jobs_run_one_after_the_other(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Hold(monkeypatch, 0)
    with make_store(bundle) as store:
        first, second = (submit(store, small_scene(tmp_path), name) for name in ("a", "b"))
        hold.wait()
        assert [(each.name, each.status) for each in store.jobs()] == [("b", "accepted"), ("a", "running")]
        hold.release()
        records = [ended(store, each) for each in (first, second)]
        assert [each.status for each in records] == ["successful", "successful"]
        assert (records[0].finished or now()) <= (records[1].started or now())


def test_progress_counts_blocks(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Hold(monkeypatch, 7)
    with make_store(bundle) as store:
        job_id = submit(store, large_scene(tmp_path))
        hold.wait()
        assert (store.job(job_id).progress, store.job(job_id).status) == (100 * 7 // UNITS, "running")
        with pytest.raises(ServiceError) as caught:
            store.finished_job(job_id)
        assert caught.value.status == 404
        hold.release()
        assert ended(store, job_id).progress == 100


def test_a_running_job_is_cancelled_within_a_block(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = Hold(monkeypatch, 3)
    with make_store(bundle) as store:
        job_id, other = submit(store, large_scene(tmp_path)), submit(store, small_scene(tmp_path))
        hold.wait()
        assert store.dismiss(job_id).status == "dismissed"
        written = hold.written
        hold.release()
        assert ended(store, other).status == "successful"
        assert hold.written == written + 1 + SMALL_UNITS  # the block in hand, and those of the other job
        assert store.job(job_id).status == "dismissed"
        assert list_files(store, job_id) == {"job.json"}
        assert store.dismiss(job_id).status == "dismissed"
        assert not place_of(store, job_id).exists()
        with pytest.raises(ServiceError) as caught:
            store.job(job_id)
        assert caught.value.status == 404


def test_a_job_that_is_removed_while_it_is_being_stopped_leaves_nothing(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = Hold(monkeypatch, 3)
    with make_store(bundle) as store:
        job_id = submit(store, large_scene(tmp_path))
        hold.wait()
        store.dismiss(job_id)
        store.dismiss(job_id)
        assert store.jobs() == []
        assert (place_of(store, job_id) / "scene" / "scene.tif").exists()  # the reader has it open
        hold.release()
        wait_until(lambda: not place_of(store, job_id).exists())


def test_a_waiting_job_is_cancelled_at_once(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Hold(monkeypatch, 0)
    with make_store(bundle) as store:
        first, second = submit(store, small_scene(tmp_path)), submit(store, small_scene(tmp_path))
        hold.wait()
        assert store.dismiss(second).started is None
        assert list_files(store, second) == {"job.json"}
        hold.release()
        ended(store, first)
        assert hold.written == SMALL_UNITS


def test_a_finished_job_is_removed(bundle: Path, tmp_path: Path) -> None:
    with make_store(bundle) as store:
        job_id = submit(store, small_scene(tmp_path))
        ended(store, job_id)
        assert store.dismiss(job_id).status == "dismissed"
        assert not place_of(store, job_id).exists()
        assert store.jobs() == []


KILLED = """
import os, sys, time
from pathlib import Path
from gfnet_dynn.geo.journal import Journal
from tests.service.map_jobs import large_scene, make_store, submit

folder = Path(sys.argv[1])
write, written = Journal.write, []

def killed(journal, index, record):
    if len(written) == 5:
        os._exit(9)
    written.append(index)
    write(journal, index, record)

Journal.write = killed
with make_store(folder / "tiny.gfd", folder / "jobs") as store:
    for number in range(2):
        submit(store, large_scene(folder), f"scene {number}")
    time.sleep(60)
"""


def test_jobs_of_a_killed_service_are_finished_by_the_next(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, check=False, timeout=100)
    assert killed.returncode == 9
    hold = Hold(monkeypatch, -1)
    with make_store(bundle, tmp_path / "jobs") as store:
        records = [ended(store, each.id) for each in reversed(store.jobs())]
        assert [(each.name, each.status) for each in records] == [("scene 0", "successful"), ("scene 1", "successful")]
        assert hold.written == 2 * UNITS - 5
        uninterrupted = submit(store, large_scene(tmp_path))
        ended(store, uninterrupted)
        for each in records:
            assert contents(store, each.id) == contents(store, uninterrupted)


def test_a_closed_store_goes_on_where_it_was(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        hold = Hold(patch, 4)
        store = make_store(bundle, tmp_path / "jobs")
        with store:
            job_id = submit(store, large_scene(tmp_path))
            hold.wait()
            store._is_open = False  # as close() does first; it then waits for the worker
            hold.release()
        assert hold.written == 5
    hold = Hold(monkeypatch, -1)
    with make_store(bundle, tmp_path / "jobs") as again:
        assert ended(again, job_id).status == "successful"
    assert hold.written == UNITS - 5


def test_finished_jobs_are_listed_after_a_restart(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "jobs" / "photos").mkdir(parents=True)
    (tmp_path / "jobs" / "photos" / "cat.jpg").write_bytes(b"cat")
    with make_store(bundle, tmp_path / "jobs") as store:
        job_id = submit(store, small_scene(tmp_path))
        record = ended(store, job_id)
        made = contents(store, job_id)
    cut_off = tmp_path / "jobs" / ("a" * 32)
    JobFolder(cut_off).make()
    with make_store(bundle, tmp_path / "jobs") as store:
        assert store.jobs() == [record]
        assert contents(store, job_id) == made
    assert not cut_off.exists()
    assert (tmp_path / "jobs" / "photos" / "cat.jpg").exists()


def left_behind(folder: Path, **changes: Any) -> JobRecord:
    """A job of an earlier service that was not finished, without its scene."""
    record = JobRecord(id="b" * 32, name="old.tif", options=MapOptions(), created=now(), status="running")
    record = replace(record, **changes)
    JobFolder(folder / record.id).make()
    JobFolder(folder / record.id).write(record)
    return record


def test_a_job_whose_scene_is_gone_fails(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    record = left_behind(tmp_path / "jobs")
    with make_store(bundle, tmp_path / "jobs") as store:
        assert store.job(record.id).status == "failed"
        assert "send it again" in store.job(record.id).message


def test_a_scene_that_ends_the_service_again_and_again_is_given_up(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    record = left_behind(tmp_path / "jobs", starts=3)
    JobFolder(tmp_path / "jobs" / record.id).scene.write_bytes(small_scene(tmp_path))
    with make_store(bundle, tmp_path / "jobs") as store:
        assert store.job(record.id).status == "failed"
        assert list_files(store, record.id) == {"job.json"}


def test_starts_are_counted_until_a_block_is_finished(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for blocks, starts in ((0, 1), (2, 0)):
        with monkeypatch.context() as patch, make_store(bundle) as store:
            hold = Hold(patch, blocks)
            job_id = submit(store, large_scene(tmp_path))
            hold.wait()
            kept = JobFolder(place_of(store, job_id)).read()
            assert kept is not None
            assert kept.starts == starts
            store.dismiss(job_id)
            hold.release()


def test_a_damaged_record_is_left_alone(bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = JobFolder(tmp_path / "jobs" / ("c" * 32))
    folder.path.parent.mkdir()
    folder.make()
    (folder.path / "job.json").write_text("{", encoding="utf-8")
    with make_store(bundle, tmp_path / "jobs") as store:
        assert store.jobs() == []
    assert folder.path.exists()
    assert str(folder.path) in caplog.text


def test_a_folder_has_one_service(bundle: Path, tmp_path: Path) -> None:
    with make_store(bundle, tmp_path / "jobs"), pytest.raises(BusyError), make_store(bundle, tmp_path / "jobs"):
        pass
    with make_store(bundle, tmp_path / "jobs") as again:
        assert again.jobs() == []


def test_a_temporary_folder_is_removed(bundle: Path, tmp_path: Path) -> None:
    with make_store(bundle) as store:
        job_id = submit(store, small_scene(tmp_path))
        place = place_of(store, job_id)
        assert place.exists()
    assert not place.parent.exists()
    with pytest.raises(ServiceError) as caught, store.upload():
        pass
    assert caught.value.status == 503


# What is refused.


def test_a_scene_has_a_limit_of_bytes(bundle: Path, tmp_path: Path) -> None:
    scene = small_scene(tmp_path)
    with make_store(bundle, tmp_path / "jobs", scene_bytes=len(scene) - 1) as store:
        with pytest.raises(ServiceError) as caught, store.upload(len(scene)):
            pass
        assert caught.value.status == 413
        with store.upload() as upload:
            place = upload.folder.path
            upload.write(scene[:-1])
            with pytest.raises(ServiceError) as caught:
                upload.write(scene[-1:])
            assert caught.value.status == 413
            assert (place / "scene" / "scene.tif").stat().st_size <= len(scene) - 1
        assert not place.exists()


def test_few_jobs_wait(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Hold(monkeypatch, 0)
    with make_store(bundle, waiting=2) as store:
        running = submit(store, small_scene(tmp_path))
        hold.wait()
        submit(store, small_scene(tmp_path))
        with store.upload():
            with pytest.raises(ServiceError) as caught:
                submit(store, small_scene(tmp_path))
            assert caught.value.status == 429
            assert caught.value.retry_after is not None
        last = submit(store, small_scene(tmp_path))  # the upload gave its place back
        hold.release()
        assert ended(store, running).status == ended(store, last).status == "successful"


def test_finished_jobs_make_room(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = small_scene(tmp_path)
    with make_store(bundle, scene_bytes=len(scene), total_bytes=2 * len(scene)) as store:
        first = submit(store, scene)
        ended(store, first)
        hold = Hold(monkeypatch, 0)
        second = submit(store, scene)
        hold.wait()
        third = submit(store, scene)
        assert {each.id for each in store.jobs()} == {second, third}  # two scenes fill the room
        with pytest.raises(ServiceError) as caught:
            submit(store, scene)
        assert caught.value.status == 429
        hold.release()
        ended(store, third)


def test_finished_jobs_are_kept_for_a_while(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    for index, letter in enumerate("abcd"):
        ended_at = now() - timedelta(seconds=1000 * index)
        left_behind(folder, id=letter * 32, name=letter, status="failed", finished=ended_at)
    with make_store(bundle, folder, keep_seconds=2500, keep_jobs=2) as store:
        wait_until(lambda: len(store.jobs()) == 2)
        assert {each.name for each in store.jobs()} == {"a", "b"}
    with make_store(bundle, folder, keep_seconds=500, keep_jobs=2) as store:
        wait_until(lambda: [each.name for each in store.jobs()] == ["a"])
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["a" * 32]


def refused(store: JobStore, scene: bytes, **options: Any) -> GFNetDynnError:
    with pytest.raises(GFNetDynnError) as caught:
        submit(store, scene, "my field.tif", **options)
    assert str(store._shelf.folder_of("x").path.parent) not in str(caught.value)
    assert store.jobs() == []
    assert not [path for path in store._shelf.folder_of("x").path.parent.iterdir() if path.is_dir()]
    return caught.value


def test_what_opening_shows_is_refused_at_once(bundle: Path, tmp_path: Path) -> None:
    write_scene(tmp_path / "placeless.tif", crs=None)
    write_scene(tmp_path / "grey.tif", pixels()[:1])
    write_scene(tmp_path / "many.tif", np.concatenate([pixels(), pixels()]), descriptions=tuple("ABCDEF"))
    good = small_scene(tmp_path)
    with make_store(bundle) as store:
        for name in ("placeless", "grey", "many"):
            error = refused(store, (tmp_path / f"{name}.tif").read_bytes())
            assert isinstance(error, DataError)
            assert str(error).startswith("my field.tif ")
        assert "`bands`" in str(refused(store, (tmp_path / "many.tif").read_bytes()))
        for content in (b"", b"hello", good[:100], b"II*\0" + bytes(200)):
            assert isinstance(refused(store, content), DataError)
        for option, value in (("bands", "1,2"), ("bands", "1,2,9"), ("scale", "9"), ("policy", "x"), ("model", "x")):
            assert isinstance(refused(store, good, **{option: value}), OptionError)


def test_a_scene_cannot_make_the_service_read_other_files(bundle: Path, tmp_path: Path) -> None:
    secret = write_scene(tmp_path / "secret.tif", pixels(160, 160))
    redirected = write_scene(tmp_path / "redirected.tif", pixels(160, 160, seed=1))
    with rasterio.open(redirected, "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(secret))
    with rasterio.open(redirected) as dataset:
        assert str(secret) in dataset.files  # so GDAL would open it
    virtual = f"<VRTDataset rasterXSize='9' rasterYSize='9'><SourceFilename>{secret}</SourceFilename></VRTDataset>"
    with make_store(bundle) as store:
        assert "another file" in str(refused(store, redirected.read_bytes()))
        assert "not a TIFF" in str(refused(store, virtual.encode()))


def test_scenes_and_maps_that_take_too_much_are_refused(bundle: Path, tmp_path: Path) -> None:
    good = small_scene(tmp_path)
    with make_store(bundle, scene_pixels=70 * 90 - 1) as store:
        assert "90 × 70" in str(refused(store, good))
    with make_store(bundle, block_bytes=16 * 16 * 3 - 1) as store:
        assert "16 × 16" in str(refused(store, good))
    with make_store(bundle, cells=1000) as store:
        assert "`stride`" in str(refused(store, good, stride=10.0))
        assert ended(store, submit(store, good, stride=40.0)).status == "successful"
    big = {"width": 200_000, "height": 200_000, "count": 3, "dtype": "uint8", "tiled": True}
    blocks = {"blockxsize": 2048, "blockysize": 2048, "SPARSE_OK": True}
    with rasterio.open(tmp_path / "bomb.tif", "w", driver="GTiff", crs=CRS, transform=PLACE, **big, **blocks):
        pass
    assert (tmp_path / "bomb.tif").stat().st_size < 10**6
    with make_store(bundle) as store:
        assert "200,000 × 200,000" in str(refused(store, (tmp_path / "bomb.tif").read_bytes()))


def test_settings_and_options_out_of_range_are_refused() -> None:
    settings: tuple[dict[str, Any], ...] = ({"waiting": 0}, {"keep_seconds": 0.0}, {"total_bytes": 2**20})
    for each in settings:
        with pytest.raises(OptionError):
            JobSettings(**each)
    options: tuple[dict[str, Any], ...] = ({"gsd": 0.0}, {"stride": 1e9}, {"gsd": float("nan")})
    for each in options:
        with pytest.raises(OptionError):
            MapOptions(**each)


def test_without_rasterio_the_extra_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "find_spec", lambda name: None)
    with make_store(bundle) as store, pytest.raises(MissingExtraError, match="geo"), store.upload():
        pass


def test_names_are_shown_and_never_obeyed(bundle: Path, tmp_path: Path) -> None:
    with make_store(bundle, tmp_path / "jobs") as store:
        for name in ("../../etc/passwd", "a\x1b[31m\n", "x" * 5000, ""):
            record = ended(store, submit(store, small_scene(tmp_path), name))
            assert record.status == "successful"
            assert record.name.isprintable()
            assert 0 < len(record.name) <= 200
            assert list_files(store, record.id) == {"job.json", *NAMES}
            for file in ("../job.json", "job.json", "/etc/passwd", "..", "", "map.tif/../../job.json", "MAP.TIF"):
                with pytest.raises(ServiceError) as caught:
                    store.result_file(record.id, file)
                assert caught.value.status == 404
        for job_id in ("..", "", "photos", record.id.upper() + "/"):
            with pytest.raises(ServiceError) as caught:
                store.dismiss(job_id)
            assert caught.value.status == 404


# What fails later.


def test_a_scene_of_nodata_fails_with_the_reason(bundle: Path, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "empty.tif", np.zeros((3, 64, 64), np.uint8), nodata=0).read_bytes()
    with make_store(bundle) as store:
        record = ended(store, submit(store, scene))
        assert record.status == "failed"
        assert "no valid pixels" in record.message
        assert list_files(store, record.id) == {"job.json"}
        with pytest.raises(ServiceError) as caught:
            store.finished_job(record.id)
        assert (caught.value.status, caught.value.detail) == (422, record.message)


def test_parts_that_cannot_be_read_are_noted_by_the_name_of_the_client(bundle: Path, tmp_path: Path) -> None:
    path = write_scene(tmp_path / "torn.tif", pixels(70, 90), compress="DEFLATE")
    with rasterio.open(path) as dataset:
        place = int(dataset.get_tag_item("BLOCK_OFFSET_2_3", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[place : place + 40] = bytes(40)
    with make_store(bundle) as store:
        summary = ended(store, submit(store, bytes(content), "torn field")).summary
        assert summary is not None
        assert summary.unreadable_pixels == 16 * 16
        assert any("pixels of torn field cannot be read" in note for note in summary.notes)


def test_a_fault_of_the_service_ends_one_job_only(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("inside")

    with make_store(bundle) as store:
        with monkeypatch.context() as patch:
            patch.setattr(job_map, "map_dataset", broken)
            record = ended(store, submit(store, small_scene(tmp_path)))
        assert record.status == "failed"
        assert "inside" not in record.message
        assert "ZeroDivisionError" in caplog.text
        assert ended(store, submit(store, small_scene(tmp_path))).status == "successful"


def test_a_full_disk_fails_the_job_and_is_cleared(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(journal: Journal, *more: Any) -> None:
        raise StorageError(f"cannot write into {journal.folder}: No space left on device")

    monkeypatch.setattr(Journal, "write", full)
    with make_store(bundle) as store:
        record = ended(store, submit(store, small_scene(tmp_path)))
        assert record.status == "failed"
        assert "No space left" in record.message
        assert str(place_of(store, record.id)) not in record.message
        assert list_files(store, record.id) == {"job.json"}


def test_a_record_that_cannot_be_written_does_not_stop_the_job(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with make_store(bundle) as store:
        hold = Hold(monkeypatch, 0)
        job_id = submit(store, small_scene(tmp_path))
        hold.wait()

        def full(folder: JobFolder, record: JobRecord) -> None:
            raise StorageError("cannot save job.json: No space left on device")

        monkeypatch.setattr(JobFolder, "write", full)
        with caplog.at_level(logging.WARNING):
            hold.release()
            assert ended(store, job_id).status == "successful"
        assert "No space left" in caplog.text
