"""Scenes on their way through the verb: from a request to files that say what a map says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gfnet_dynn.archive.open_source import files_to_choose_by, kind_of, open_source
from gfnet_dynn.archive.plan import ArchivePlan, prepare
from gfnet_dynn.archive.request import ArchiveRequest
from gfnet_dynn.archive.scene_options import SceneOptions
from gfnet_dynn.archive.scenes import SceneSource
from gfnet_dynn.archive.work import PartitionWorker
from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.errors import OptionError
from gfnet_dynn.progress import ignore_log
from tests import bundles
from tests.geo.scenes import map_by_chip, pixels, read_map, write_scene


@pytest.fixture(autouse=True)
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return bundles.write_tiny(tmp_path / "tiny.gfd")


def asked(*sources: str, **options: Any) -> ArchiveRequest:
    return ArchiveRequest(**{"bundle": Path("tiny.gfd"), "sources": sources, "output": Path("answers"),
                             "precision": "fp32", **options})  # fmt: skip


def classified(*sources: str, **options: Any) -> tuple[ArchivePlan, pa.Table]:
    Path("answers").mkdir()  # as the lock on it does
    plan = prepare(asked(*sources, **options), ignore_log)
    worker = PartitionWorker(plan.job)
    for partition in plan.missing:
        worker.run(partition)
    return plan, pa.concat_tables([pq.read_table(Path("answers") / each.file_name) for each in plan.partitions])


def test_the_file_says_what_the_map_says() -> None:
    write_scene(Path("scene.tif"), pixels(200, 150))
    map_by_chip(Path("scene.tif"))
    plan, table = classified("scene.tif", partition_size=1)
    labels, exits = read_map(Path("map.tif")), read_map(Path("map_exit.tif"))
    assert len(plan.partitions) == 4
    assert len(table) == labels.size == 25 * 19
    for row in table.to_pylist():
        place = row["row"], row["column"]
        assert bundles.CLASSES.index(row["label"]) == labels[place]
        assert ("exit 1", "exit 2", "final").index(row["exit"]) + 1 == exits[place]
    assert table["error"].null_count == len(table)


def test_bad_scenes_at_the_start_do_not_stop_the_others() -> None:
    Path("scenes").mkdir()
    for name in ("a.tif", "b.tif"):
        Path(f"scenes/{name}").write_bytes(b"II*\0")
    write_scene(Path("scenes/c.tif"), pixels(8, 8))
    plan, table = classified("scenes", kind="scenes")
    assert [row["label"] is None for row in table.to_pylist()] == [True, True, False]
    assert table["id"].to_pylist() == ["a.tif", "b.tif", "c.tif#0,0"]
    assert prepare(asked("scenes", kind="scenes"), ignore_log).missing == []
    (Path("answers") / plan.partitions[0].file_name).unlink()  # of a bad scene: the rest of an interrupted run
    assert [each.name for each in prepare(asked("scenes", kind="scenes"), ignore_log).missing] == ["a.tif"]


@pytest.mark.parametrize("source", ["scene.tif", "items.json", "folder", "https://host/a.json?x=1"])
def test_what_is_taken_for_scenes(source: str) -> None:
    Path("folder").mkdir()
    Path("folder/collection.json").touch()
    assert kind_of(asked(source)) == "scenes"


def test_options_reach_the_source() -> None:
    options = SceneOptions(bands=("3", "2", "1"), chip=160, stride=80, asset="visual")
    request = asked("a.json", scenes=options, gsd=20.0, kind="scenes")
    source = open_source(request, read_bundle(Path("tiny.gfd")).manifest)
    assert isinstance(source, SceneSource)
    assert (source.rule.bands, source.rule.chip_m, source.rule.stride_m) == (("3", "2", "1"), 160, 80)
    assert (source.rule.gsd_m, source.asset, source.places) == (20.0, "visual", (str(Path("a.json").absolute()),))


def test_options_of_scenes_for_images() -> None:
    Path("images").mkdir()
    Path("images/a.jpg").touch()
    request = asked("images", scenes=SceneOptions(chip=160))
    with pytest.raises(OptionError, match=r"are for scenes, and images holds images: .*--kind scenes"):
        open_source(request, read_bundle(Path("tiny.gfd")).manifest)


def test_the_model_is_chosen_by_the_scenes() -> None:
    write_scene(Path("scene.tif"), pixels(8, 8))
    assert files_to_choose_by(asked("scene.tif")) == [Path("scene.tif")]
    assert files_to_choose_by(asked("images", kind="images")) == ()
