"""Bundles and checkpoints with damage that follows from a number, so that each can be made again."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

from gfnet_dynn.bundle.archive import MANIFEST, stored_file

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_RAW = {"@digits@": "9" * 6000, "@huge@": "1e400", "@nan@": "NaN", "@deep@": "[" * 5000, "@half@": '"\\ud800"'}
_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 1.5, 10**9, 2**63, 10**30, -(10**400), 1e308),
    *("", "7", "fp32", "\u202e\x1b[2J", "x" * 10**5, *_RAW),
    *([], {}, [None], [[]], {"": {}}, [0] * 10_000, [1e-300, -1e300]),
)


def flip_bits(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 20))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.choice((rng.randrange(len(content)), len(content) - 1 - rng.randrange(64)))]


def insert_bytes(rng: random.Random, content: bytes) -> bytes:
    at = rng.choice((0, len(content), rng.randrange(len(content))))
    return content[:at] + rng.randbytes(rng.choice((1, 4, 4096))) + content[at:]


def edit_json(rng: random.Random, value: Any) -> str:
    """JSON with one to three values changed, removed, doubled or added, wherever they stand."""
    top = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = top
        while isinstance(place, dict | list) and place:
            key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.2:
                _edit(rng, place, key)
                break
            place = place[key]
    if rng.random() < 0.03:
        top = rng.choice(_VALUES)
    text = json.dumps(top)
    for name, raw in _RAW.items():
        text = text.replace(f'"{name}"', raw)
    return text


def _edit(rng: random.Random, place: Any, key: Any) -> None:
    how = rng.randrange(8)
    if how == 0:
        del place[key]
    elif how == 1 and isinstance(place, list):
        place.append(copy.deepcopy(place[key]))
    elif how == 1:
        place["more"] = rng.choice(_VALUES)
    elif how == 2 and isinstance(place[key], int | float):
        place[key] = rng.choice((place[key] + 1, place[key] - 1, place[key] * 1e6, -place[key], place[key] * 10**12))
    else:
        place[key] = copy.deepcopy(rng.choice(_VALUES))


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, method)
    return buffer.getvalue()


def members_of(bundle: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _edit_manifest(rng: random.Random, bundle: bytes) -> bytes:
    members = members_of(bundle)
    return zipped({**members, MANIFEST: edit_json(rng, json.loads(members[MANIFEST])).encode()})


def _exchange_graph(rng: random.Random, bundle: bytes) -> bytes:
    """Damage a graph, and make size and hash in the manifest right again."""
    members = members_of(bundle)
    name = rng.choice([each for each in members if each.endswith(".onnx")])
    graph = rng.choice((flip_bits, flip_bits, truncate, insert_bytes))(rng, members[name])
    manifest = json.loads(members[MANIFEST])
    stored = stored_file(graph)
    manifest["files"][name] = {"bytes": stored.bytes, "sha256": stored.sha256}
    return zipped({**members, name: graph, MANIFEST: json.dumps(manifest).encode()})


def _edit_zip_header(rng: random.Random, bundle: bytes) -> bytes:
    """Write a number into a header of the archive: of a member, of its directory, or of its end."""
    changed = bytearray(bundle)
    signature = rng.choice((b"PK\3\4", b"PK\1\2", b"PK\5\6"))
    starts = [at for at in range(len(bundle)) if bundle.startswith(signature, at)]
    at, size = rng.choice(starts) + rng.randrange(4, 46), rng.choice((1, 2, 4))
    changed[at : at + size] = struct.pack("<Q", rng.choice(_NUMBERS))[:size]
    return bytes(changed)


def _compress(rng: random.Random, bundle: bytes) -> bytes:
    """Pack it by another method, and damage it."""
    method = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    packed = zipped(members_of(bundle), method)
    packed = rng.choice((flip_bits, _edit_zip_header, truncate, lambda _, content: content))(rng, packed)
    if rng.random() < 0.5:
        packed = packed.replace(struct.pack("<H", method), b"\0\0")  # as though it were stored
    return packed


_Mutation = Callable[[random.Random, bytes], bytes]
_OF_BUNDLES: tuple[_Mutation, ...] = (
    *(flip_bits, truncate, insert_bytes, _edit_manifest, _edit_manifest),
    *(_exchange_graph, _exchange_graph, _edit_zip_header, _edit_zip_header, _compress),
)


def mutated_bundle(whole: bytes, number: int) -> bytes:
    return _OF_BUNDLES[number % len(_OF_BUNDLES)](random.Random(number), whole)


def with_header(checkpoint: bytes, change: Callable[[dict[str, Any]], str]) -> bytes:
    """A safetensors file with another header; its length is right again."""
    (length,) = struct.unpack("<Q", checkpoint[:8])
    header = change(json.loads(checkpoint[8 : 8 + length])).encode()
    return struct.pack("<Q", len(header)) + header + checkpoint[8 + length :]
