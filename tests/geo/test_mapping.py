"""From a scene to maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.shutil import copy

from gfnet_dynn.errors import DataError, StorageError
from gfnet_dynn.geo.journal import Journal, Record
from gfnet_dynn.geo.products import Maps
from gfnet_dynn.geo.raster import SceneArray
from gfnet_dynn.geo.request import MapRequest
from gfnet_dynn.geo.result import MapResult
from gfnet_dynn.runtime import load
from gfnet_dynn.workflows import map_scene
from tests import bundles
from tests.geo.scenes import CRS, GSD_M, ORIGIN, PLACE, pixels, read_map, write_scene

pytestmark = pytest.mark.usefixtures("bundle")

QUICK: dict[str, Any] = {"bundle": Path("tiny.gfd"), "precision": "fp32", "threads": 1}
OUTPUTS = ("map.tif", "map_confidence.tif", "map_exit.tif", "map.tif.aux.xml", "map.qml")


def mapped(scene: Any = None, **options: Any) -> MapResult:
    request = MapRequest(**{**QUICK, "scene": Path("scene.tif"), "output": Path("map.tif"), **options})
    return map_scene(request, scene)


def leftovers() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"scene.tif", "tiny.gfd", "cache", *OUTPUTS}


def test_cells_without_overlap_are_what_classify_answers() -> None:
    values = pixels(64, 80)
    write_scene(Path("scene.tif"), values)
    result = mapped(blend=False)
    chips = [values[:, row : row + 8, column : column + 8] for row in range(0, 64, 8) for column in range(0, 80, 8)]
    answers = load("tiny.gfd", precision="fp32", threads=1).classify([np.moveaxis(chip, 0, -1) for chip in chips])
    labels = [bundles.CLASSES.index(each.label) for each in answers]
    assert read_map(Path("map.tif")).ravel().tolist() == labels
    assert len(set(labels)) == 3
    exits = [("exit 1", "exit 2", "final").index(each.exit) + 1 for each in answers]
    assert read_map(Path("map_exit.tif")).ravel().tolist() == exits
    confidences = [round(100 * each.confidence) for each in answers]
    assert read_map(Path("map_confidence.tif")).ravel() == pytest.approx(confidences, abs=1)
    assert [each.chips for each in result.exits] == [exits.count(number) for number in (1, 2, 3)]
    assert result.macs == sum(each.macs for each in answers)
    assert leftovers() == set()


def test_place_and_size_of_the_maps() -> None:
    write_scene(Path("scene.tif"), pixels(70, 90))
    result = mapped()
    for name in OUTPUTS[:3]:
        with rasterio.open(name) as dataset:
            assert dataset.shape == (18, 23)  # cells of 4 px, the last ones cut
            assert dataset.crs.to_string() == CRS
            assert dataset.bounds == (ORIGIN[0], ORIGIN[1] - 18 * 40, ORIGIN[0] + 23 * 40, ORIGIN[1])
            assert dataset.nodata == 255
            assert dataset.dtypes == ("uint8",)
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert dataset.tags()["POLICY"] == "gates"
    assert result.cells == (18, 23)
    assert result.cell_m == pytest.approx((40.016, 40.016), abs=0.001)  # on the ground


def test_areas_count_the_pixels_of_the_scene_alone() -> None:
    write_scene(Path("scene.tif"), pixels(70, 90))
    areas = mapped().areas
    assert sum(each.km2 for each in areas) == pytest.approx(70 * 90 * GSD_M**2 / 0.9996**2 / 1e6, rel=1e-4)
    assert sum(each.share for each in areas) == pytest.approx(1)


def test_gdal_reads_the_names_of_the_classes() -> None:
    write_scene(Path("scene.tif"))
    mapped(policy="calibrated")
    copy("map.tif", "map.vrt", driver="VRT")
    described = Path("map.vrt").read_text(encoding="utf-8")
    names = [f"<Category>{name}</Category>" for name in (*bundles.CLASSES, "unknown")]
    assert all(name in described for name in names)
    with rasterio.open("map.tif") as dataset:
        assert dataset.colormap(1)[3] == (128, 128, 128, 255)


def test_large_maps_have_overviews_of_the_commonest_class() -> None:
    cells = np.full((300, 300), 250, np.uint8)
    cells[::2, ::2] = 0  # one cell in four, the one that nearest-neighbour overviews would keep
    write_scene(
        Path("scene.tif"), np.stack([cells.repeat(8, axis=0).repeat(8, axis=1)] * 3), blockxsize=256, blockysize=256
    )
    mapped(blend=False)
    rare, common = read_map(Path("map.tif"))[0, :2]
    assert rare != common
    with rasterio.open("map.tif") as dataset:
        assert dataset.overviews(1) == [2]
    with rasterio.open("map.tif", overview_level=0) as dataset:
        assert (dataset.read(1) == common).all()


@pytest.mark.parametrize("policy", ["gates", "calibrated"])
def test_unknown_is_a_class_of_its_own(policy: str) -> None:
    write_scene(Path("scene.tif"))
    names = [each.name for each in mapped(policy=policy).areas]
    assert names == [*bundles.CLASSES, *(["unknown"] if policy == "calibrated" else [])]
    assert (3 in read_map(Path("map.tif"))) == (policy == "calibrated")


def contents() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in OUTPUTS}


def interrupt_after(monkeypatch: pytest.MonkeyPatch, units: int) -> None:
    write = Journal.write
    written: list[int] = []

    def counted(self: Journal, index: int, record: Record) -> None:
        if len(written) == units:
            raise KeyboardInterrupt
        written.append(index)
        write(self, index, record)

    monkeypatch.setattr(Journal, "write", counted)


def test_the_maps_are_the_same_whatever_memory_threads_and_interruptions(monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(Path("scene.tif"), pixels(300, 420), nodata=0)
    assert mapped().times.units == 35
    expected = contents()
    for options in ({"max_memory": 2**40}, {"threads": 2}):
        mapped(**options)
        assert contents() == expected
    log: list[str] = []
    for units in (1, 0, 20):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt_after(patch, units)
            map_scene(MapRequest(scene=Path("scene.tif"), output=Path("map.tif"), **QUICK), log=log.append)
        assert "the same command continues" in log[-1]
    result = mapped()
    assert result.times.resumed_units == 21
    assert contents() == expected
    assert leftovers() == set()


def test_a_changed_scene_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(Path("scene.tif"), pixels(300, 420))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 3)
        mapped()
    write_scene(Path("scene.tif"), pixels(300, 420, seed=1), compress="DEFLATE")
    assert mapped().times.resumed_units == 0


def test_a_block_of_a_scene_is_the_same_in_any_scene() -> None:
    values = pixels(300, 420)
    write_scene(Path("scene.tif"), values)
    mapped()
    whole = read_map(Path("map.tif"))
    moved = PLACE @ Affine.translation(40, 80)
    write_scene(Path("scene.tif"), values[:, 80:, 40:], transform=moved)
    mapped()
    part = read_map(Path("map.tif"))
    assert (whole[21:, 11:] == part[1:, 1:]).all()  # its first row and column had further chips


def test_parts_that_cannot_be_read_are_nodata_and_named() -> None:
    values = pixels(320, 320)
    write_scene(Path("scene.tif"), values, blockxsize=64, blockysize=64, compress="DEFLATE")
    mapped()
    whole = read_map(Path("map.tif"))
    with rasterio.open("scene.tif") as dataset:
        place = int(dataset.get_tag_item("BLOCK_OFFSET_2_3", "TIFF", bidx=1))  # column 2, row 3
    content = bytearray(Path("scene.tif").read_bytes())
    content[place : place + 40] = bytes(40)
    Path("scene.tif").write_bytes(bytes(content))
    result = mapped()
    found = read_map(Path("map.tif"))
    lost = np.s_[3 * 16 : 4 * 16, 2 * 16 : 3 * 16]
    assert (found[lost] == 255).all()
    assert (found == 255).sum() == 16 * 16
    assert result.unreadable is not None
    assert result.unreadable.pixels == 64 * 64
    assert result.unreadable.first == (128, 192)
    far = np.ones_like(found, bool)
    far[46:66, 30:50] = False
    assert (found[far] == whole[far]).all()
    assert any("4,096 pixels of scene.tif" in note and "row 192, column 128" in note for note in result.notes())


def test_a_vrt_with_a_missing_part_is_mapped_but_for_it() -> None:
    for name, left in (("left.tif", 0), ("right.tif", 160)):
        place = PLACE @ Affine.translation(left, 0)
        write_scene(Path(name), pixels(160, 160, seed=left), transform=place)
    sources = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>BAND</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="160" ySize="160"/><DstRect xOff="{left}" yOff="0" xSize="160" ySize="160"/>'
        "</SimpleSource>"
        for name, left in (("left.tif", 0), ("right.tif", 160))
    )
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>{colour}</ColorInterp>'
        f"{sources.replace('BAND', str(band))}</VRTRasterBand>"
        for band, colour in enumerate(("Red", "Green", "Blue"), 1)
    )
    text = f"<GeoTransform>{ORIGIN[0]}, 10, 0, {ORIGIN[1]}, 0, -10</GeoTransform>"
    Path("scene.vrt").write_text(
        f'<VRTDataset rasterXSize="320" rasterYSize="160"><SRS>{CRS}</SRS>{text}{bands}</VRTDataset>', encoding="utf-8"
    )
    Path("right.tif").unlink()
    result = mapped(Path("scene.vrt"), blend=False)
    found = read_map(Path("map.tif"))
    assert (found[:, :20] < 3).all()
    assert (found[:, 20:] == 255).all()
    assert result.unreadable is not None
    assert result.unreadable.pixels == 160 * 160


@pytest.mark.parametrize(
    "place",
    [PLACE @ Affine.rotation(30), Affine.translation(9, 48) @ Affine.scale(1e-4, -1e-4)],
    ids=["rotated", "degrees"],
)
def test_rotated_and_geographic_scenes_are_mapped_in_their_own_grid(place: Affine) -> None:
    crs = CRS if place.b else "EPSG:4326"
    write_scene(Path("scene.tif"), transform=place, crs=crs)
    result = mapped()
    with rasterio.open("map.tif") as dataset:
        assert dataset.crs.to_string() == crs
        corner = dataset.transform @ (1, 1)
    stride = [
        round(cell / gsd)
        for cell, gsd in zip(result.cell_m, (10.004, 10.004) if place.b else (7.45, 11.12), strict=True)
    ]
    assert corner == pytest.approx(place @ tuple(stride), rel=1e-9)
    assert result.chips > 100


def test_a_scene_of_nodata_is_refused_and_leaves_nothing() -> None:
    write_scene(Path("scene.tif"), np.zeros((3, 64, 64), np.uint8), nodata=0)
    with pytest.raises(DataError, match="no valid pixels"):
        mapped()
    assert leftovers() == set()
    assert not Path("map.tif").exists()


def test_a_full_disk_leaves_no_map_and_the_blocks_that_are_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(Path("scene.tif"), pixels(300, 420))

    def full(*arguments: object, **more: object) -> None:
        raise StorageError("cannot write the maps: No space left on device")

    with monkeypatch.context() as patch, pytest.raises(StorageError):
        patch.setattr(Maps, "add", full)
        mapped()
    assert not Path("map.tif").exists()
    assert mapped().times.resumed_units == 35


def test_the_scene_itself_is_not_overwritten() -> None:
    write_scene(Path("scene.tif"))
    content = Path("scene.tif").read_bytes()
    with pytest.raises(StorageError, match="the scene itself"):
        mapped(output=Path("scene.tif"))
    assert Path("scene.tif").read_bytes() == content


def test_an_array_and_an_open_dataset_give_the_map_of_the_file() -> None:
    write_scene(Path("scene.tif"), pixels(100, 120))
    mapped()
    expected = read_map(Path("map.tif"))
    mapped(SceneArray(pixels(100, 120), PLACE, CRS))
    assert (read_map(Path("map.tif")) == expected).all()
    with rasterio.open("scene.tif") as dataset:
        mapped(dataset)
    assert (read_map(Path("map.tif")) == expected).all()


def test_polygons_picture_and_item() -> None:
    write_scene(Path("scene.tif"), pixels(100, 120))
    more = {"polygons": Path("map.gpkg"), "png": Path("map.png"), "stac": Path("map.json")}
    result = mapped(policy="calibrated", **more)
    assert set(result.files) == {*map(Path, OUTPUTS), *more.values()}
    assert leftovers() == {"map.gpkg", "map.png", "map.json"}
    _, _, shapes, (values, names) = pyogrio.raw.read("map.gpkg")
    assert len(shapes) == len(values)
    assert {(*bundles.CLASSES, "unknown").index(name) for name in names} == set(values.tolist())
    assert set(values.tolist()) == set(np.unique(read_map(Path("map.tif"))).tolist())
    with Image.open("map.png") as picture:
        assert picture.size[0] > 1000
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 4
    item = json.loads(Path("map.json").read_text(encoding="utf-8"))
    assert item["assets"]["class"]["href"] == "map.tif"
    assert item["properties"]["proj:code"] == CRS
    assert item["properties"]["processing:level"] == "L4"
    west, south, east, north = item["bbox"]
    assert (west, north) == pytest.approx((9.0, 48.75), abs=0.01)
    assert west < east
    assert south < north
    assert [each["name"] for each in item["assets"]["class"]["classification:classes"]][-1] == "unknown"
    assert {link["rel"] for link in item["links"]} == {"derived_from", "ml-model"}


def test_the_result_is_shown_as_tables() -> None:
    write_scene(Path("scene.tif"), pixels(100, 120))
    shown = mapped().to_markdown()
    for fact in ("river", "km²", "exit 1", "30 × 25 cells", "chips of", "MACs", "as stored"):
        assert fact in shown
    assert "early exits" not in shown  # no guarantee


def test_a_guarantee_gives_intervals() -> None:
    stated = {"risk": "harmful-exits", "risk_limit": 0.02, "statement": "harmful exits at most 2%"}
    policy = bundles.POLICIES[0]
    promised = type(policy)("promised", policy.score, policy.thresholds, "made up", guarantee=stated)
    bundles.write_tiny(Path("tiny.gfd"), policies=(promised, *bundles.POLICIES))
    write_scene(Path("scene.tif"), pixels(300, 420))
    result = mapped()
    assert result.blocks == 35
    for area in result.areas:
        assert area.interval is not None
        assert area.interval[0] <= area.share <= area.interval[1]
    assert "harmful exits at most 2%" in result.to_markdown()
    assert "draws: 35" in result.to_markdown()
