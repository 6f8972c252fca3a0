"""Scenes of STAC documents, and of folders and files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from gfnet_dynn.archive.addresses import join, shown
from gfnet_dynn.archive.scene_finder import find_scenes
from gfnet_dynn.archive.stac_items import FoundScene
from gfnet_dynn.errors import DataError, OptionError
from tests.loopback import serving

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
VISUAL = {"href": "./a.tif", "type": COG, "roles": ["visual"]}


def item(name: str = "a", assets: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "Feature", "stac_version": "1.1.0", "id": name, "assets": assets or {"visual": VISUAL}, **more}


def written(path: Path, document: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def found(place: str | Path, asset: str | None = None) -> list[tuple[str, str]]:
    return [(each.id, each.address) for each in find_scenes([str(place)], asset)]


def error_of(scenes: Sequence[FoundScene]) -> str:
    (scene,) = scenes
    assert scene.error is not None
    return str(scene.error)


def test_assets_are_relative_to_the_item(tmp_path: Path) -> None:
    assets = {"visual": {**VISUAL, "href": "../pictures/a.tif"}}
    place = written(tmp_path / "items" / "a.json", item(assets=assets))
    assert found(place) == [("a", str(tmp_path / "pictures" / "a.tif"))]
    assert find_scenes([place], None)[0].error is None


@pytest.mark.parametrize(
    ("assets", "asset", "chosen"),
    [
        ({"x": {"href": "x.tif"}, "thumbnail": {"href": "t.png", "roles": ["thumbnail"]}}, None, "x.tif"),
        ({"x": {"href": "x.tif"}, "y": {"href": "y.TIFF", "roles": ["data"]}}, None, "y.TIFF"),
        ({"x": {"href": "x", "type": COG, "roles": ["visual"]}, "m": {"href": "m.tif"}}, None, "x"),
        ({"B04": {"href": "4.tif", "roles": ["data"]}, "visual": VISUAL}, "visual", "a.tif"),
    ],
)
def test_the_asset(tmp_path: Path, assets: dict[str, Any], asset: str | None, chosen: str) -> None:
    assert found(written(tmp_path / "a.json", item(assets=assets)), asset) == [("a", str(tmp_path / chosen))]


@pytest.mark.parametrize(
    ("assets", "asset", "message"),
    [
        ({"B04": {"href": "4.tif", "roles": ["data"]}, "visual": VISUAL}, None, r"2 GeoTIFFs.*it has: B04, visual"),
        ({"picture": {"href": "x.png"}}, None, r"no GeoTIFF: name an asset .*it has: picture"),
        ({"visual": VISUAL}, "visul", r"--asset: the STAC item a has no 'visul'; did you mean 'visual'"),
    ],
)
def test_an_asset_that_is_not_clear(tmp_path: Path, assets: dict[str, Any], asset: str | None, message: str) -> None:
    assert re.search(message, error_of(find_scenes([written(tmp_path / "a.json", item(assets=assets))], asset)))


def test_an_item_collection(tmp_path: Path) -> None:
    features = [item("a"), item("b", {"visual": {**VISUAL, "href": "b.tif"}})]
    place = written(tmp_path / "found.json", {"type": "FeatureCollection", "features": features})
    assert found(place) == [("a", str(tmp_path / "a.tif")), ("b", str(tmp_path / "b.tif"))]


def test_catalogs_are_followed_and_loops_end(tmp_path: Path) -> None:
    links = [{"rel": "child", "href": "./sub/collection.json"}, {"rel": "root", "href": "catalog.json"}]
    written(tmp_path / "catalog.json", {"type": "Catalog", "id": "c", "links": links})
    links = [{"rel": "item", "href": "a/a.json"}, {"rel": "item", "href": "gone.json"}]
    links += [{"rel": "child", "href": "../catalog.json"}]
    written(tmp_path / "sub" / "collection.json", {"type": "Collection", "id": "s", "links": links})
    written(tmp_path / "sub" / "a" / "a.json", item())
    first, second = find_scenes([str(tmp_path)], None)
    assert (first.id, first.address) == ("a", str(tmp_path / "sub" / "a" / "a.tif"))
    assert second.id == str(tmp_path / "sub" / "gone.json")
    assert "gone.json" in str(second.error)


def test_a_folder_of_items_with_other_files(tmp_path: Path) -> None:
    written(tmp_path / "b.json", item("b"))
    written(tmp_path / "a.json", item("a"))
    written(tmp_path / "settings.json", {"colour": "red"})
    written(tmp_path / "list.json", [1, 2])
    assert [name for name, _ in found(tmp_path)] == ["a", "b"]


def test_a_folder_of_tiffs_and_items(tmp_path: Path) -> None:
    written(tmp_path / "a.json", item("from the item"))
    (tmp_path / "deep").mkdir()
    for name in ("a.tif", "deep/b.TIFF", "c.png", ".hidden.tif"):
        (tmp_path / name).touch()
    assert [name for name, _ in found(tmp_path)] == ["a.tif", "deep/b.TIFF"]
    assert [name for name, _ in found(tmp_path, "visual")] == ["from the item"]


def test_places_without_a_scene(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file or folder"):
        find_scenes([str(tmp_path / "gone")], None)
    with pytest.raises(DataError, match="no file"):
        find_scenes([str(tmp_path / "gone.json")], None)
    with pytest.raises(DataError, match="no GeoTIFF and no STAC item"):
        find_scenes([str(tmp_path)], None)
    with pytest.raises(DataError, match="is no STAC item"):
        find_scenes([written(tmp_path / "x.json", {"colour": "red"})], None)
    with pytest.raises(DataError, match="of the type 'Topology'"):
        find_scenes([written(tmp_path / "x.json", {"type": "Topology"})], None)
    with pytest.raises(DataError, match="has no STAC item"):
        find_scenes([written(tmp_path / "x.json", {"type": "Collection", "links": []})], None)


def test_an_asset_without_items(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    for place in (tmp_path, tmp_path / "a.tif"):
        with pytest.raises(OptionError, match="--asset chooses among the assets of STAC items"):
            find_scenes([str(place)], "visual")


def test_two_scenes_of_one_name(tmp_path: Path) -> None:
    written(tmp_path / "a.json", item("a"))
    written(tmp_path / "b.json", item("a"))
    with pytest.raises(DataError, match="two scenes have the name a"):
        find_scenes([str(tmp_path)], None)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_by_url_with_pages(tmp_path: Path) -> None:
    with serving(partial(Quiet, directory=str(tmp_path))) as address:  # type: ignore[arg-type]
        at = {"rel": "self", "href": f"{address}/items/b.json"}
        written(tmp_path / "1.json", {"type": "FeatureCollection", "features": [item("a")],
                                      "links": [{"rel": "next", "href": "2.json?token=x"}]})  # fmt: skip
        written(tmp_path / "2.json", {"type": "FeatureCollection", "features": [item("b", links=[at])]})
        assert found(f"{address}/1.json") == [("a", f"{address}/a.tif"), ("b", f"{address}/items/a.tif")]
        assert found(f"{address}/scene.tif?key=secret") == [("scene.tif", f"{address}/scene.tif?key=secret")]


def test_references() -> None:
    assert join("s3://bucket/items/a.json", "../a.tif") == "s3://bucket/a.tif"
    assert join("https://host/items/a.json?key=x", "/a.tif") == "https://host/a.tif"
    assert join("items/a.json", "https://host/a.tif") == "https://host/a.tif"
    assert join("items/a.json", "file:///data/a%20b.tif") == "/data/a b.tif"
    with pytest.raises(DataError, match="a file of this computer"):
        join("https://host/a.json", "file:///etc/passwd")
    assert shown("https://host/a.tif?key=secret") == "https://host/a.tif"
