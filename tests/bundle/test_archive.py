from __future__ import annotations

import hashlib
import os
import struct
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from gfnet_dynn.bundle import archive
from gfnet_dynn.bundle.archive import MANIFEST, Bundle, read_bundle, write_bundle
from gfnet_dynn.errors import BundleError, StorageError
from tests import bundles


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return bundles.write_tiny(tmp_path / "tiny.gfd")


def in_directory(path: Path, name: str, offset: int, value: bytes) -> None:
    """Change a member's entry in the zip's directory."""
    content = bytearray(path.read_bytes())
    entry = content.rindex(name.encode()) - 46  # its fixed part goes before the name
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + offset : entry + offset + len(value)] = value
    path.write_bytes(content)


def test_what_is_written_is_read_back(path: Path) -> None:
    bundle = read_bundle(path)
    assert bundle.path == path
    assert bundle.manifest == bundles.manifest()
    assert list(bundle.segments("fp32")) == bundles.segments()
    assert list(bundle.segments("int8")) == bundles.segments("int8")
    bundle.verify()


def test_a_bundle_is_known_by_the_hash_of_its_manifest(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        assert read_bundle(path).sha256 == hashlib.sha256(file.read(MANIFEST)).hexdigest()
    other = bundles.write_tiny(path.with_name("other.gfd"), bundles.files(fp32=bundles.segments("int8")))
    assert read_bundle(other).sha256 != read_bundle(path).sha256


def test_the_same_bundle_is_the_same_file_whenever_it_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1e9)
        bundles.write_tiny(path)
    assert path.read_bytes() == first


def test_hashes_are_those_of_the_content_whatever_the_manifest_said(path: Path) -> None:
    content = bundles.files(fp32=bundles.segments("int8"), int8=bundles.segments("int8"))
    write_bundle(path, bundles.manifest(), content)
    read_bundle(path).verify()
    assert list(read_bundle(path).segments("fp32")) == bundles.segments("int8")


def test_nothing_is_compressed(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        assert {member.compress_type for member in file.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.parametrize("files", [bundles.files(fp32=bundles.segments()), bundles.files() | {"more": b""}])
def test_files_that_are_not_those_of_the_manifest_leave_the_old_file(path: Path, files: dict[str, bytes]) -> None:
    before = path.read_bytes()
    with pytest.raises(BundleError, match="disagrees with itself on its files"):
        write_bundle(path, bundles.manifest(), files)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_what_is_no_number_is_null(path: Path) -> None:
    bundles.write_tiny(path, report={"accuracy": float("nan"), "worst": [-np.inf, np.float32(0.5)]})
    assert read_bundle(path).manifest.report == {"accuracy": None, "worst": [None, 0.5]}


def test_what_json_cannot_hold_leaves_the_old_file(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(TypeError):
        bundles.write_tiny(path, report={"accuracy": object()})
    assert path.read_bytes() == before


def test_a_disk_that_is_full_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StorageError, match=r"cannot save .*tiny\.gfd .*No space left on device; the previous file is"):
        bundles.write_tiny(path, bundles.files(fp32=bundles.segments()))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_unknown_precision_is_refused_with_the_known_ones(path: Path) -> None:
    with pytest.raises(BundleError, match=r"tiny\.gfd has no segments in fp16; it has fp32, int8"):
        read_bundle(path).segments("fp16")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("absent.gfd", "no bundle at .*absent.gfd: `gfnet-dynn export` writes one"),
        ("", "no bundle at .*: `gfnet-dynn export"),
        ("tiny.gfd/below", "below is not a bundle, or a damaged one: .*Not a directory"),
        ("nul\0.gfd", "is not a bundle, or a damaged one: embedded null byte"),
    ],
)
def test_a_place_without_a_bundle_is_named(path: Path, place: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read_bundle(path.parent / place)


def test_a_bundle_that_may_not_be_read_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")  # root may read everything

    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    with pytest.raises(BundleError, match=r"cannot read .*tiny\.gfd: Permission denied"):
        read_bundle(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"tiny\.gfd"):
        read_bundle(path)


def test_another_archive_is_refused(path: Path) -> None:
    bundles.packed(path, {"holiday.jpg": b"x"})
    with pytest.raises(BundleError, match=r"tiny\.gfd: it has no manifest: it is another kind of archive"):
        read_bundle(path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_a_truncated_bundle_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BundleError, match=r"tiny\.gfd is not a bundle, or a damaged one: .*; copy or export it anew"):
        read_bundle(path)


@pytest.mark.parametrize("name", [MANIFEST, "fp32/segment1.onnx"])
def test_a_flipped_bit_is_found(path: Path, name: str) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(name.encode()) + len(name) + 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match="Bad CRC-32"):
        read_bundle(path).verify()


@pytest.mark.parametrize("read", [Bundle.verify, lambda bundle: list(bundle.segments("fp32"))])
def test_a_graph_that_was_exchanged_is_found_by_its_hash(path: Path, read: Callable[[Bundle], object]) -> None:
    content = bundles.members()
    graph = content["fp32/segment1.onnx"]
    content["fp32/segment1.onnx"] = graph[:-1] + bytes([graph[-1] ^ 1])  # the zip's own sum is right
    bundle = read_bundle(bundles.packed(path, content))
    with pytest.raises(
        BundleError, match=r"tiny\.gfd: its fp32/segment1.onnx is not what was exported .*: copy it anew"
    ):
        read(bundle)
    assert list(bundle.segments("int8")) == bundles.segments("int8")


def test_a_missing_stage_is_named(path: Path) -> None:
    content = bundles.members()
    del content["int8/segment1.onnx"]
    with pytest.raises(BundleError, match=r"it lacks int8/segment1.onnx: copy or export it anew"):
        read_bundle(bundles.packed(path, content))


def test_a_stage_of_another_size_is_named(path: Path) -> None:
    content = bundles.members()
    content["int8/segment1.onnx"] += b"more"
    with pytest.raises(BundleError, match=r"its int8/segment1.onnx has another size than its manifest says"):
        read_bundle(bundles.packed(path, content))


@pytest.mark.parametrize("name", ["more.onnx", "../../evil", "/abs/evil", "fp32/", "C:\\evil", "fp32/../fp32/x"])
def test_a_file_that_the_manifest_does_not_name_is_refused(path: Path, name: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_bundle(bundles.packed(path, bundles.members() | {name: b"x"}))
    assert f"it holds {name}, which its manifest does not name" in str(caught.value)


def test_names_lead_nowhere_even_where_the_manifest_has_them(path: Path) -> None:
    content = dict(zip(("fp32/../../../evil", "/evil", "~/evil"), bundles.segments(), strict=True))
    bundles.write_tiny(path, content, precisions={"fp32": tuple(content)})
    before = sorted(path.parent.parent.rglob("*"))
    assert list(read_bundle(path).segments("fp32")) == bundles.segments()
    assert sorted(path.parent.parent.rglob("*")) == before
    assert not Path("/evil").exists()


def test_two_files_of_one_name_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("fp32/segment0.onnx", b"another")
    with pytest.raises(BundleError, match="it holds two files of one name"):
        read_bundle(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_bundle_is_refused(path: Path, method: int) -> None:
    with pytest.raises(BundleError, match=r"its 'manifest.json' is compressed or encrypted"):
        read_bundle(bundles.packed(path, bundles.members(), method))


def test_a_bomb_is_refused_before_it_is_unpacked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("zeros", bytes(50_000_000), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000

    def unpack(*_: object) -> None:
        raise AssertionError("something was unpacked")

    monkeypatch.setattr(zipfile.ZipFile, "read", unpack)
    with pytest.raises(BundleError, match="its 'zeros' is compressed or encrypted"):
        read_bundle(path)


def test_a_bomb_that_takes_the_place_of_a_bundle_is_refused(path: Path) -> None:
    bundle = read_bundle(path)
    bundles.packed(path, bundles.members() | {"fp32/segment0.onnx": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleError, match=r"its 'fp32/segment0.onnx' is compressed or encrypted"):
        list(bundle.segments("fp32"))


def test_a_file_that_is_gone_when_it_is_asked_for_is_named(path: Path) -> None:
    bundle = read_bundle(path)
    bundles.write_tiny(path, bundles.files(fp32=bundles.segments()))
    with pytest.raises(BundleError, match=r"tiny\.gfd is not a bundle, or a damaged one: .*int8/segment0.onnx"):
        list(bundle.segments("int8"))
    path.unlink()
    with pytest.raises(BundleError, match="no bundle at"):
        bundle.verify()


def test_a_directory_that_fills_the_memory_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(path, "a") as file:
        for number in range(20_000):
            file.writestr(f"{number:09}", b"")
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(BundleError, match=r"tiny\.gfd: its directory is larger than 1 MB"):
        read_bundle(path)


def test_a_second_end_for_64_bits_is_refused(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-22] + struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1) + content[-22:])
    with pytest.raises(BundleError, match=r"tiny\.gfd"):
        read_bundle(path)


def test_files_that_overlap_are_refused(path: Path) -> None:
    size = path.stat().st_size // 2
    for name in ("fp32/segment0.onnx", "fp32/segment1.onnx", "fp32/segment2.onnx"):
        in_directory(path, name, 20, struct.pack("<II", size, size))
    with pytest.raises(BundleError, match=r"tiny\.gfd: its files overlap"):
        read_bundle(path)


@pytest.mark.parametrize("place", ["/dev/zero", "fifo.gfd"])
def test_what_never_ends_is_not_read(path: Path, place: str) -> None:
    os.mkfifo(path.with_name("fifo.gfd"))
    with pytest.raises(BundleError, match="no bundle at"):
        read_bundle(path.parent / place)


def test_encryption_is_refused(path: Path) -> None:
    in_directory(path, "int8/segment2.onnx", 8, b"\x01")
    with pytest.raises(BundleError, match=r"its 'int8/segment2.onnx' is compressed or encrypted"):
        read_bundle(path)


@pytest.mark.parametrize("offset", [20, 24], ids=["stored", "unpacked"])
def test_a_size_that_lies_is_refused(path: Path, offset: int) -> None:
    in_directory(path, "int8/segment2.onnx", offset, struct.pack("<I", 5))
    with pytest.raises(BundleError, match=r"its 'int8/segment2.onnx' claims a size that it does not have"):
        read_bundle(path)


def test_a_size_beyond_the_file_is_refused(path: Path) -> None:
    in_directory(path, MANIFEST, 20, struct.pack("<II", 2**30, 2**30))
    with pytest.raises(BundleError, match=r"its 'manifest.json' claims a size that it does not have"):
        read_bundle(path)


def test_a_manifest_that_is_too_large_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_LARGEST_MANIFEST", 100)
    with pytest.raises(BundleError, match="its manifest is larger than any that export writes"):
        read_bundle(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\xff",
        b'{"format": "gfnet-dynn bundle", "version": 1, "report": NaN}',
        b'{"accuracy": -Infinity}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=["empty", "half", "bytes", "nan", "infinity", "lists", "objects"],
)
def test_a_manifest_that_is_not_json_is_refused(path: Path, content: bytes) -> None:
    with pytest.raises(BundleError, match=r"tiny\.gfd: its manifest is not JSON"):
        read_bundle(bundles.packed(path, {MANIFEST: content, **bundles.files()}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "the bundle is of version 2 and this program reads version 1: update gfnet-dynn"),
        ({"version": 0}, "the bundle is of version 0 and this program reads version 1: export it again"),
        ({"format": "another"}, "not a gfnet-dynn bundle: its manifest has the format 'another'"),
        ({"classes": [1, 2, 3]}, r"its manifest is not usable: .*`\$\.classes\[0\]`"),
        ({"exits": []}, "its manifest is not usable: it has no exit"),
    ],
)
def test_what_a_manifest_cannot_say_is_told_with_the_file(
    path: Path, changes: Mapping[str, object], message: str
) -> None:
    with pytest.raises(BundleError, match=rf"tiny\.gfd: {message}"):
        read_bundle(bundles.packed(path, bundles.members(**changes)))
