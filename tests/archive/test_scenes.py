"""Collections of scenes: their chips, their places, and what cannot be read."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine

from gfnet_dynn.archive import places
from gfnet_dynn.archive.partition import Item
from gfnet_dynn.archive.scene_options import AS_STATED, SceneOptions
from gfnet_dynn.archive.scenes import SceneSource, scene_source
from gfnet_dynn.archive.source import Listing
from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.errors import DataError, ImageError, OptionError
from gfnet_dynn.geo import chips
from gfnet_dynn.geo.request import Scale
from gfnet_dynn.progress import ignore_log
from gfnet_dynn.runtime import load
from tests import bundles
from tests.archive.test_stac_items import COG, Quiet, item, written
from tests.geo.scenes import CRS, ORIGIN, map_by_chip, pixels, read_map, write_scene
from tests.loopback import serving

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "geotiff"


@pytest.fixture(autouse=True)
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny bundle, which takes 8 px, in the working folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("answers").mkdir()
    return bundles.write_tiny(tmp_path / "tiny.gfd")


def source(*places: str | Path, options: SceneOptions = AS_STATED, size: int | None = 10_000) -> SceneSource:
    return scene_source([str(place) for place in places], options, None, read_bundle(Path("tiny.gfd")).manifest, size)


def listed(scenes: SceneSource) -> Listing:
    return scenes.listed(Path("answers"), ignore_log)


def items(scenes: SceneSource) -> list[Item]:
    return [each for partition in listed(scenes).partitions for each in scenes.items(partition)]


def error_of(found: Item) -> str:
    assert isinstance(found.picture, ImageError)
    return str(found.picture)


def picture_of(found: Item) -> Any:
    assert isinstance(found.picture, np.ndarray)
    return found.picture


def test_chips_get_the_answers_of_the_map() -> None:
    write_scene(Path("scene.tif"), pixels(70, 90))
    map_by_chip(Path("scene.tif"))
    found = items(source("scene.tif"))
    answers = load("tiny.gfd", precision="fp32", threads=1).classify([picture_of(each) for each in found])
    labels, exits, confidences = (read_map(Path(f"map{kind}.tif")) for kind in ("", "_exit", "_confidence"))
    assert labels.size == len(found) == 9 * 12
    for each, answer in zip(found, answers, strict=True):
        place = each.place["row"], each.place["column"]
        assert bundles.CLASSES.index(answer.label) == labels[place]
        assert ("exit 1", "exit 2", "final").index(answer.exit) + 1 == exits[place]
        assert 100 * answer.confidence == pytest.approx(float(confidences[place]), abs=0.51)
    assert len(set(labels.ravel().tolist())) == 3


def test_ids_and_places() -> None:
    Path("scenes").mkdir()
    write_scene(Path("scenes/b.tif"), pixels(16, 24))
    write_scene(Path("scenes/a.tif"), pixels(16, 16), crs="EPSG:32633")
    found = items(source("scenes"))
    assert [each.id for each in found] == [
        *(f"a.tif#{row},{column}" for row in range(2) for column in range(2)),
        *(f"b.tif#{row},{column}" for row in range(2) for column in range(3)),
    ]
    assert {(each.place["scene"], each.place["crs"]) for each in found} == {("a.tif", "EPSG:32633"), ("b.tif", CRS)}
    assert found[0].place["bbox"]["xmin"] == pytest.approx(found[4].place["bbox"]["xmin"] + 6)  # one zone further east
    assert found[4].place["bbox"]["xmin"] == pytest.approx(9)  # the central meridian


def test_partitions_are_blocks_of_one_scene_and_hold_the_same_chips() -> None:
    write_scene(Path("a.tif"), pixels(300, 200))
    write_scene(Path("b.tif"), pixels(64, 64))
    whole, divided = source("a.tif", "b.tif"), source("a.tif", "b.tif", size=256)
    assert [each.name for each in listed(whole).partitions] == ["a.tif", "b.tif"]
    names = [each.name for each in listed(divided).partitions]
    assert names == ["a.tif"] * 6 + ["b.tif"]
    by_number = listed(source("a.tif", "b.tif", size=None))  # some 1,000 chips, in units of at most 256
    assert [(each.name, each.number) for each in by_number.partitions] == [("a.tif", 0), ("a.tif", 1), ("b.tif", 2)]
    one, other = items(whole), items(divided)
    assert [each.id for each in one] == [each.id for each in other]
    assert len({each.id for each in one}) == 38 * 25 + 64
    assert all((picture_of(a) == picture_of(b)).all() for a, b in zip(one, other, strict=True))


def test_chips_without_a_valid_pixel_are_no_rows() -> None:
    values = np.full((3, 16, 16), 90, np.uint8)
    values[:, :8, :8] = 0
    values[:, 8:12, :8] = 0
    write_scene(Path("scene.tif"), values, nodata=0)
    assert [(each.id, each.place["valid"]) for each in items(source("scene.tif"))] == [
        ("scene.tif#0,1", 1), ("scene.tif#1,0", 0.5), ("scene.tif#1,1", 1)
    ]  # fmt: skip


def test_options_of_the_map() -> None:
    values = pixels(64, 64).astype(np.uint16) * 10
    write_scene(Path("scene.tif"), np.concatenate([values, values[:1]]), photometric="MINISBLACK")
    options = SceneOptions(bands=("3", "2", "4"), scale=Scale(0, 2550), chip=160, stride=80)
    found = items(source("scene.tif", options=options))
    assert [each.id for each in found if each.place["row"] == 0] == [f"scene.tif#0,{column}" for column in range(7)]
    expected = np.moveaxis(values[[2, 1, 0], :16, :16] // 10, 0, -1)
    assert np.abs(picture_of(found[0]).astype(int) - expected).max() <= 1


def test_percentiles_are_taken_once_of_the_whole_scene() -> None:
    values = pixels(64, 400).astype(np.uint16)
    values[:, :, 300:] += 1000
    write_scene(Path("scene.tif"), values)
    scenes = source("scene.tif", options=SceneOptions(scale=Scale(0.02, 0.98, of_samples=True)), size=256)
    low, high = np.quantile(values, [0.02, 0.98])
    partitions = listed(scenes).partitions
    assert len(partitions) == 4
    write_scene(Path("scene.tif"), values // 2)  # has other percentiles, which nobody takes any more
    for partition in (partitions[0], partitions[3]):
        first = next(iter(scenes.items(partition)))
        left = 8 * first.place["column"]
        chip = np.moveaxis(values[:, :8, left : left + 8] // 2, 0, -1)
        expected = ((chip - low) / (high - low) * 255).clip(0, 255)
        assert np.abs(picture_of(first) - expected).max() <= 1


def test_bad_scenes_are_rows_with_an_error() -> None:
    Path("scenes").mkdir()
    write_scene(Path("scenes/b good.tif"), pixels(8, 8))
    Path("scenes/a damaged.tif").write_bytes(b"II*\0 no more than the beginning")
    write_scene(Path("scenes/c placeless.tif"), pixels(8, 8), crs=None)
    write_scene(Path("scenes/d small.tif"), pixels(4, 4))
    notes: list[str] = []
    scenes = source("scenes")
    partitions = scenes.listed(Path("answers"), notes.append).partitions
    found = [each for partition in partitions for each in scenes.items(partition)]
    assert [each.id for each in found] == ["a damaged.tif", "b good.tif#0,0", "c placeless.tif", "d small.tif"]
    assert "cannot open the scene" in error_of(found[0])
    assert "no coordinate reference system" in error_of(found[2])
    assert "fewer than a chip" in error_of(found[3])
    assert found[0].place == {"scene": "a damaged.tif"}
    assert len(notes) == 1
    assert notes[0].startswith("note: 3 scenes cannot be taken, the first is a damaged.tif: ")


def test_a_source_without_any_usable_scene_stops() -> None:
    write_scene(Path("a.tif"), pixels(8, 8), crs=None)
    write_scene(Path("b.tif"), pixels(8, 8), crs=None)
    with pytest.raises(DataError, match=r"a\.tif has no coordinate reference system.*and 1 more"):
        listed(source("a.tif", "b.tif"))
    write_scene(Path("a.tif"), pixels(8, 8))
    with pytest.raises(OptionError, match=r"--bands: a\.tif has no band '9'"):
        listed(source("a.tif", options=SceneOptions(bands=("9", "2", "1"))))


def test_a_block_that_cannot_be_read_is_rows_with_an_error() -> None:
    scene = write_scene(Path("scene.tif"), pixels(32, 32), compress="deflate")
    with rasterio.open(scene) as dataset:
        place = int(dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    content = scene.read_bytes()
    scene.write_bytes(content[:place] + b"\xff" * 40 + content[place + 40 :])
    found = items(source("scene.tif"))
    bad = [each for each in found if isinstance(each.picture, ImageError)]
    assert len(found) == 16
    assert [each.id for each in bad] == [f"scene.tif#{row},{column}" for row in (2, 3) for column in (2, 3)]
    assert "row 2, column 2 of scene.tif cannot be read" in error_of(bad[0])
    assert "geometry" in bad[0].place


def test_a_scene_that_vanishes_is_tried_again() -> None:
    write_scene(Path("scene.tif"), pixels(32, 32))
    scenes = source("scene.tif")
    (partition,) = listed(scenes).partitions
    Path("scene.tif").rename("elsewhere.tif")
    with pytest.raises(DataError, match="no scene at"):
        list(scenes.items(partition))
    write_scene(Path("scene.tif"), pixels(4, 4))
    with pytest.raises(DataError, match="fewer than a chip"):
        list(scenes.items(partition))
    Path("elsewhere.tif").replace("scene.tif")
    assert len(list(scenes.items(partition))) == 16
    Path(partition.uris[0]).unlink()
    with pytest.raises(DataError, match="all workers must see the folder of answers"):
        list(scenes.items(partition))


def test_the_digest_follows_the_scenes_and_how_they_are_cut() -> None:
    write_scene(Path("a.tif"), pixels(32, 32))
    digests = [listed(source("a.tif")).digest, listed(source("a.tif")).digest]
    digests += [listed(source("a.tif", options=SceneOptions(bands=("3", "2", "1")))).digest]
    digests += [listed(source("a.tif", size=1)).digest]
    write_scene(Path("a.tif"), pixels(40, 32))
    digests += [listed(source("a.tif")).digest]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3  # one block is one partition, of whatever size


def table(scenes: SceneSource, number: int = 0) -> Path:
    """One partition as a file, as the worker writes it."""
    partition = listed(scenes).partitions[number]
    rows = [{"id": each.id, **each.place} for each in scenes.items(partition)]
    schema = pa.schema([("id", pa.string()), *scenes.columns()], metadata=dict(scenes.schema_metadata(partition)))
    pq.write_table(pa.Table.from_pylist(rows, schema), "part.parquet")
    return Path("part.parquet")


def geo_of(file: Path) -> Any:
    return json.loads(pq.read_schema(file).metadata[b"geo"])


def test_metadata_of_geoparquet() -> None:
    write_scene(Path("scene.tif"), pixels(32, 32))
    file = table(source("scene.tif"))
    geo = geo_of(file)
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"], column["encoding"]) == ("1.1.0", "geometry", "WKB")
    assert column["geometry_types"] == ["Polygon"]
    assert "crs" not in column  # OGC:CRS84
    assert column["covering"]["bbox"] == {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}
    boxes = pq.read_table(file)["bbox"].to_pylist()
    fewest = [min(each[side] for each in boxes) for side in ("xmin", "ymin")]
    assert column["bbox"] == fewest + [max(each[side] for each in boxes) for side in ("xmax", "ymax")]
    content = file.read_bytes()
    assert table(source("scene.tif")).read_bytes() == content


def test_metadata_across_the_antimeridian_and_of_errors() -> None:
    place = Affine(0.01, 0, 179.84, 0, -0.01, 10)
    write_scene(Path("a.tif"), pixels(32, 32), crs="EPSG:4326", transform=place)
    write_scene(Path("b.tif"), pixels(32, 32), crs=None)
    scenes = source("a.tif", "b.tif")
    assert geo_of(table(scenes))["columns"]["geometry"]["geometry_types"] == ["Polygon"]  # chips end at 180 degrees
    column = geo_of(table(scenes, 1))["columns"]["geometry"]
    assert column["geometry_types"] == []
    assert "bbox" not in column
    write_scene(Path("a.tif"), pixels(32, 32), crs="EPSG:4326", transform=Affine(0.01, 0, 179.8, 0, -0.01, 10))
    column = geo_of(table(source("a.tif")))["columns"]["geometry"]
    assert column["geometry_types"] == ["MultiPolygon", "Polygon"]
    assert column["bbox"] == [-180, 9.68, 180, 10]


def test_geopandas_reads_the_footprints() -> None:
    geopandas = pytest.importorskip("geopandas")
    write_scene(Path("scene.tif"), pixels(32, 48))
    file = table(source("scene.tif"))
    frame = geopandas.read_parquet(file)
    assert frame.crs.to_string() == "OGC:CRS84"
    assert frame.geometry.is_valid.all()
    assert frame.to_crs(CRS).area.to_numpy() == pytest.approx(6400, rel=1e-6)
    west, _, _, north = frame.to_crs(CRS).total_bounds[[0, 1, 2, 3]]
    assert (west, north) == pytest.approx(ORIGIN, abs=0.001)
    first = frame.geometry.iloc[0].bounds
    assert len(geopandas.read_parquet(file, bbox=(first[0] + 1e-4, first[1] + 1e-4, first[0] + 2e-4, first[3]))) == 1


def test_duckdb_reads_the_columns() -> None:
    duckdb = pytest.importorskip("duckdb")
    write_scene(Path("scene.tif"), pixels(32, 48))
    file = table(source("scene.tif"))
    query = f"SELECT scene, max(row), max(\"column\"), min(bbox.xmin), any_value(crs) FROM '{file}' GROUP BY scene"
    ((scene, row, column, west, crs),) = duckdb.sql(query).fetchall()
    assert (scene, row, column, crs) == ("scene.tif", 3, 5, CRS)
    assert west == pytest.approx(9, abs=1e-6)


def test_scenes_of_stac_items_by_url() -> None:
    Path("site").mkdir()
    write_scene(Path("site/scene.tif"), pixels(32, 32), compress="deflate")
    assets = {"visual": {"href": "../scene.tif", "type": COG, "roles": ["visual"]}}
    written(Path("site/items/a.json"), item("one", assets))
    written(Path("site/items/b.json"), item("two", {"visual": {**assets["visual"], "href": "../gone.tif"}}))
    links = [{"rel": "item", "href": f"./items/{name}.json"} for name in "ab"]
    written(Path("site/collection.json"), {"type": "Collection", "id": "c", "links": links})
    local = items(source("site/scene.tif"))
    with serving(partial(Quiet, directory="site")) as address:  # type: ignore[arg-type]
        found = items(source(f"{address}/collection.json"))
    assert [each.id for each in found[:-1]] == [each.id.replace("scene.tif", "one") for each in local]
    assert all((picture_of(a) == picture_of(b)).all() for a, b in zip(found[:-1], local, strict=True))
    assert found[-1].id == "two"
    assert "gone.tif" in error_of(found[-1])


class Ranges(Quiet):
    """Gives parts of files; while it fails only their beginning, until somebody asks whether the file is there."""

    fails = False

    def do_HEAD(self) -> None:  # noqa: N802 # its name there
        type(self).fails = self.fails and "aiohttp" not in self.headers["User-Agent"]
        super().do_HEAD()

    def do_GET(self) -> None:  # noqa: N802 # its name there
        first, last = (int(each) for each in self.headers["Range"].removeprefix("bytes=").split("-"))
        if first and self.fails:
            self.send_error(503)
            return
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{min(last + 1, len(content)) - 1}/{len(content)}")
        part = content[first : last + 1]
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


def test_a_network_that_fails_for_a_moment_changes_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(chips._REMOTE, "GDAL_HTTP_MAX_RETRY", 0)
    write_scene(Path("scene.tif"), pixels(128, 192), blockxsize=64, blockysize=64)
    local = items(source("scene.tif"))
    with serving(partial(Ranges, directory=".")) as address:  # type: ignore[arg-type]
        scenes = source(f"{address}/scene.tif")
        partitions = listed(scenes).partitions
        monkeypatch.setattr(Ranges, "fails", True)
        found = [each for partition in partitions for each in scenes.items(partition)]
    assert not Ranges.fails
    assert all((picture_of(a) == picture_of(b)).all() for a, b in zip(found, local, strict=True))


class Refusing(Quiet):
    """Answers with one status to all requests for scenes that it does not have."""

    status = 503

    def send_head(self) -> Any:
        if "refused" in self.path:
            self.send_error(self.status)
            return None
        return super().send_head()


@pytest.mark.parametrize("status", [403, 503])
def test_a_scene_that_cannot_be_reached_now_stops(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be an error for ever, and another listing when the run continues; what is forbidden stays so."""
    monkeypatch.setattr(places, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setitem(chips._REMOTE, "GDAL_HTTP_MAX_RETRY", 0)
    monkeypatch.setattr(Refusing, "status", status)
    write_scene(Path("scene.tif"), pixels(8, 8))
    with serving(partial(Refusing, directory=".")) as address:  # type: ignore[arg-type]
        scenes = source("scene.tif", f"{address}/refused.tif?key=secret")
        if status == 503:
            with pytest.raises(DataError, match=r"refused\.tif: ") as caught:
                listed(scenes)
            assert "secret" not in str(caught.value)
            return
        found = items(scenes)
    assert [each.id for each in found] == ["scene.tif#0,0", "refused.tif"]
    assert "secret" not in error_of(found[1])


@pytest.mark.skipif(not REAL.is_dir(), reason="the real scenes are not on this machine")
def test_real_scenes() -> None:
    scenes = source(REAL, options=SceneOptions(chip=20_000))
    found = items(scenes)
    ids = {each.place["scene"]: each for each in found}
    assert set(ids) == {file.name for file in REAL.glob("*.tif")}
    good = [each for each in found if not isinstance(each.picture, ImageError)]
    assert {each.place["crs"] for each in good} == {"EPSG:32618"}
    assert all(-80 < each.place["bbox"]["xmin"] < each.place["bbox"]["xmax"] < -74 for each in good)
