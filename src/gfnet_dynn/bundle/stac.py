"""A bundle as an item of a SpatioTemporal Asset Catalog (STAC), by the machine learning model extension (MLM).

Everything follows from the manifest, so that the item cannot disagree with it. Source: stac-extensions/mlm, v1.5.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from gfnet_dynn.bundle.manifest import FORMAT, Exit, Manifest, StoredFile
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.system.storage import to_json

MLM = "https://stac-extensions.github.io/mlm/v1.5.0/schema.json"
"""The extension, by the address of its schema."""

_STAC_VERSION = "1.1.0"
_FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_COLOURS = ("red", "green", "blue")
_ALWAYS = ("1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
_SHA256 = "1220"  # what a multihash of 32 bytes by SHA-256 begins with

Assets = Mapping[str, Mapping[str, Any]]


def stac_item(manifest: Manifest, sha256: str, assets: Assets) -> dict[str, Any]:
    """The item as a value of JSON.

    It has no geometry, as nothing in a bundle says where the model may be used, and is valid at any time.

    Args:
        manifest: of the bundle.
        sha256: of the manifest, hexadecimal: identifies the bundle.
        assets: the files that make the model, see `graph_assets` and `bundle_asset`.
    """
    item = {
        "type": "Feature",
        "stac_version": _STAC_VERSION,
        "stac_extensions": [MLM, _FILE],
        "id": f"{_name(manifest)}-{sha256[:12]}",
        "geometry": None,
        "properties": _properties(manifest),
        "links": [],
        "assets": assets,
    }
    described: dict[str, Any] = msgspec.json.decode(to_json(item))
    return described


def graph_assets(manifest: Manifest) -> Assets:
    """The graphs, for an item that lies in the bundle itself: addresses are relative to it."""
    return {
        f"{precision}-{PurePosixPath(file).stem}": {
            "title": f"segment {number} of {len(files)}, {precision}",
            "type": "application/octet-stream; application=onnx",
            "mlm:artifact_type": "onnx",
            **_asset(f"./{file}", manifest.files[file]),
            **(_bands() if number == 1 else {}),
        }
        for precision, files in manifest.precisions.items()
        for number, file in enumerate(files, start=1)
    }


def bundle_asset(href: str, stored: StoredFile) -> Assets:
    """The bundle as one file, for an item that lies outside of it."""
    described = {"title": FORMAT, "type": "application/zip", "mlm:artifact_type": FORMAT}
    return {"model": {**described, **_asset(href, stored), **_bands()}}


def _asset(href: str, stored: StoredFile) -> Mapping[str, Any]:
    known = {"file:size": stored.bytes, "file:checksum": _SHA256 + stored.sha256}
    return {"href": href, "roles": ["mlm:model"], **known}


def _bands() -> Mapping[str, Any]:
    """Bands that a file takes; the extension wants them in the properties too, where STAC wants them in a file too."""
    return {"bands": [{"name": name} for name in _COLOURS]}


def _properties(manifest: Manifest) -> dict[str, Any]:
    card = manifest.card
    known = {"title": card.title, "description": card.intended_use} if card else {}
    if card and re.fullmatch(r"[\w.+-]+", card.licence):
        known["license"] = card.licence
    return {
        **known,
        "datetime": None,
        "start_datetime": _ALWAYS[0],
        "end_datetime": _ALWAYS[1],
        **_bands(),
        "mlm:name": _name(manifest),
        "mlm:architecture": manifest.model,
        "mlm:tasks": ["scene-classification", "classification"],
        "mlm:framework": "ONNX",
        "mlm:input": [_input(manifest.input)],
        "mlm:output": [_output(manifest, each) for each in manifest.exits],
        "mlm:hyperparameters": _hyperparameters(manifest),
    }


def _name(manifest: Manifest) -> str:
    """The model's name in the characters that the extension allows: letters, digits, and `_.-` within."""
    cleaned = re.sub(r"[^A-Za-z0-9_.-]+", "-", manifest.model).strip("_.-")
    return cleaned if len(cleaned) > 2 and cleaned[0].isalpha() else f"model-{cleaned}".rstrip("-")


def _input(spec: InputSpec) -> dict[str, Any]:
    side = spec.size - spec.pad
    padding = f", then padded to {spec.size} px by reflection" if spec.pad else ""
    return {
        "name": "image",
        "description": f"8-bit RGB, resized to {side} × {side} px{padding}; the graph normalises the channels itself",
        "bands": list(_COLOURS),
        "input": {
            "shape": [-1, spec.size, spec.size, 3],
            "dim_order": ["batch", "height", "width", "channel"],
            "data_type": "uint8",
        },
        "value_scaling": _value_scaling(spec),
        "resize_type": "interpolation-cubic",
    }


def _value_scaling(spec: InputSpec) -> list[dict[str, Any]] | None:
    """Samples of more than 8 bit to 0 … 255; the extension's min-max would end at 1."""
    if spec.stretch is None:
        return None
    low, high = spec.stretch
    expression = f"rint(clip(255 * (A - {low}) / {high - low}, 0, 255))"
    return [{"type": "processing", "format": "gdal-calc", "expression": expression}]


def _output(manifest: Manifest, each: Exit) -> dict[str, Any]:
    """Logits of one exit."""
    full = manifest.exits[-1].macs
    return {
        "name": each.name,
        "description": f"after block {each.block}: {each.macs / 1e6:.4g} M MACs, {100 * each.macs / full:.0f}% of all",
        "tasks": ["scene-classification", "classification"],
        "result": {"shape": [-1, len(manifest.classes)], "dim_order": ["batch", "class"], "data_type": "float32"},
        "classification:classes": [_class(index, name) for index, name in enumerate(manifest.classes)],
        "post_processing_function": {"format": "python", "expression": "scipy.special.softmax"},
    }


def _class(index: int, name: str) -> dict[str, Any]:
    """A class; the extension allows letters, digits, `-` and `_` in names, and any text in descriptions."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
    return {"value": index, "name": plain or f"class-{index}", "description": name}


def _hyperparameters(manifest: Manifest) -> dict[str, Any]:
    return {
        "mean": manifest.input.mean,
        "std": manifest.input.std,
        "stretch": manifest.input.stretch,
        "exit_blocks": [each.block for each in manifest.exits],
        "exit_macs": [each.macs for each in manifest.exits],
        "default_policy": manifest.policies[0].name,
        "policies": [_policy(each) for each in manifest.policies],
    }


def _policy(policy: Policy) -> dict[str, Any]:
    """What decides where images exit; a threshold that is null lets none."""
    return {
        "name": policy.name,
        "score": policy.score,
        "thresholds": policy.thresholds,
        "source": policy.source,
        "guarantee": policy.guarantee.get("statement"),
        "digest": policy.digest,
    }
