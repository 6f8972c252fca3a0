"""The STAC item in a bundle: valid by the schemas of STAC and of the extensions, and in step with the manifest."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gfnet_dynn.bundle import archive
from gfnet_dynn.bundle.archive import MANIFEST, STAC, read_bundle, stored_file, update_bundle
from gfnet_dynn.bundle.builtin import builtin_models
from gfnet_dynn.bundle.stac import MLM, bundle_asset, graph_assets, stac_item
from gfnet_dynn.errors import BundleError
from gfnet_dynn.spec.network import InputSpec
from tests import bundles

jsonschema = pytest.importorskip("jsonschema", reason="the schemas are checked where jsonschema is installed")
pystac = pytest.importorskip("pystac", reason="the schemas of STAC come with pystac-core")
referencing = pytest.importorskip("referencing")

OURS = Path(__file__).parent / "stac_schemas"
CORE = Path(pystac.__file__).parent / "validation" / "jsonschemas"
ITEM = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"
# The newest schema of the extension that a package brings is 1.4.0. Version 1.5.0 adds data variables, bands of outputs
# and a task, and requires nothing more.
EARLIER = MLM.replace("v1.5.0", "v1.4.0")

Problems = Callable[[Any], list[str]]


@pytest.fixture(scope="module")
def problems() -> Problems:
    """Breaches of the schemas by an item: none of a valid one."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in (*OURS.glob("*.json"), *CORE.rglob("*.json"))]
    by_id = {content["$id"].rstrip("#"): content for content in contents}
    classification = by_id["https://stac-extensions.github.io/classification/v2.0.0/schema.json"]
    by_id["https://stac-extensions.github.io/classification/v1.1.0/schema.json"] = classification  # same for classes
    by_id["https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/common.json"] = next(
        content for name, content in by_id.items() if name.endswith("commonjson")
    )
    draft = referencing.jsonschema.DRAFT7
    registry = referencing.Registry().with_resources(
        (name, draft.create_resource(content)) for name, content in by_id.items()
    )

    def find(item: Any) -> list[str]:
        earlier = json.loads(json.dumps(item).replace(MLM, EARLIER))
        names = [ITEM, *earlier["stac_extensions"]]
        validators = [jsonschema.Draft7Validator(by_id[name], registry=registry) for name in names]
        return [f"{each.json_path}: {each.message[:200]}" for one in validators for each in one.iter_errors(earlier)]

    return find


def carried(path: Path) -> Any:
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read(STAC))


def test_the_schemas_notice_what_is_wrong(problems: Problems, tmp_path: Path) -> None:
    item = carried(bundles.write_tiny(tmp_path / "tiny.gfd"))
    faults: list[tuple[str, dict[str, Any]]] = [
        ("geometry", {"geometry": "everywhere"}),
        ("mlm:output", {"properties": {k: v for k, v in item["properties"].items() if k != "mlm:output"}}),
        ("bands", {"properties": {k: v for k, v in item["properties"].items() if k != "bands"}}),
        ("mlm:name", {"properties": {**item["properties"], "mlm:name": "?"}}),
        ("mlm:made_up", {"properties": {**item["properties"], "mlm:made_up": 1}}),
        ("roles", {"assets": {"model": {"href": "x", "mlm:artifact_type": "onnx"}}}),
        ("file:checksum", {"assets": {"model": {"href": "x", "roles": ["data"], "file:checksum": "x"}}}),
    ]
    for name, fault in faults:
        assert problems({**item, **fault}), name


def test_a_bundle_carries_a_valid_item(problems: Problems, tmp_path: Path) -> None:
    policies = (bundles.CALIBRATED, *bundles.POLICIES)
    path = bundles.write_tiny(tmp_path / "tiny.gfd", policies=policies, input=InputSpec(8, 2, stretch=(0.0, 2750.0)))
    item = carried(path)
    assert problems(item) == []
    properties = item["properties"]
    assert [each["name"] for each in properties["mlm:output"]] == ["exit 1", "exit 2", "final"]
    for output in properties["mlm:output"]:
        assert [each["description"] for each in output["classification:classes"]] == list(bundles.CLASSES)
    assert properties["mlm:input"][0]["value_scaling"][0]["expression"].count("2750.0") == 1
    assert "2 px" not in properties["mlm:input"][0]["name"]
    policies_told = {each["name"]: each for each in properties["mlm:hyperparameters"]["policies"]}
    assert policies_told["calibrated"]["thresholds"] == [0.7, None]
    assert policies_told["calibrated"]["guarantee"] == "harmful exits at most 1%"
    assert properties["mlm:hyperparameters"]["default_policy"] == "calibrated"


def test_its_graphs_are_those_of_the_bundle(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.gfd")
    assets = carried(path)["assets"]
    assert len(assets) == 2 * bundles.STAGES
    for asset in assets.values():
        stored = stored_file(read_bundle(path).read(asset["href"].removeprefix("./")))
        assert (asset["file:size"], asset["file:checksum"]) == (stored.bytes, f"1220{stored.sha256}")


def test_a_stac_library_reads_it(tmp_path: Path) -> None:
    item = pystac.Item.from_dict(carried(bundles.write_tiny(tmp_path / "tiny.gfd")))
    assert item.properties["mlm:name"] == "tiny"
    assert {role for asset in item.assets.values() for role in asset.roles} == {"mlm:model"}


@pytest.mark.parametrize("name", sorted(builtin_models()))
def test_items_of_the_built_in_models_are_valid(problems: Problems, name: str) -> None:
    bundle = read_bundle(builtin_models()[name])
    for assets in (graph_assets(bundle.manifest), bundle_asset("./model.gfd", stored_file(b"x"))):
        item = stac_item(bundle.manifest, bundle.sha256, assets)
        assert problems(item) == []
        assert item["properties"]["license"] == "MIT"
        assert item["id"] == f"{bundle.manifest.model}-{bundle.sha256[:12]}"


@pytest.mark.parametrize("model", ["a", "ümlaut model", "__", "9 lives", "gfnet-96x8"])
def test_odd_names_stay_valid(problems: Problems, tmp_path: Path, model: str) -> None:
    classes = ("sea / lake", "森林", "a\u00adb")
    item = carried(bundles.write_tiny(tmp_path / "tiny.gfd", model=model, classes=classes))
    assert problems(item) == []
    found = [each["name"] for each in item["properties"]["mlm:output"][0]["classification:classes"]]
    assert found == ["sea-lake", "class-1", "a-b"]


def test_a_changed_bundle_has_a_changed_item(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.gfd")
    update_bundle(path, lambda manifest: replace(manifest, policies=manifest.policies[1:]))
    bundle = read_bundle(path)
    assert carried(path) == stac_item(bundle.manifest, bundle.sha256, graph_assets(bundle.manifest))


def test_any_content_or_none_is_accepted_but_not_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bundles.members()
    for index, item in enumerate((None, b"", b"no JSON")):
        members = content if item is None else {MANIFEST: content[MANIFEST], STAC: item, **content}
        read_bundle(bundles.packed(tmp_path / f"{index}.gfd", members)).verify()
    monkeypatch.setattr(archive, "_LARGEST_STAC", 6)
    with pytest.raises(BundleError, match=re.escape(STAC)):
        read_bundle(tmp_path / "2.gfd")
    assert STAC not in zipfile.ZipFile(bundles.write_tiny(tmp_path / "tiny.gfd")).namelist()
