from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnet_dynn.bundle.archive import MANIFEST, read_bundle
from gfnet_dynn.bundle.learned_from import NAME, digests, pack, unpack
from gfnet_dynn.errors import BundleError, DataError
from tests import bundles

DIGEST = st.binary(min_size=8, max_size=8)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("b.png", "a.png", "copy of b.png")]
    for path, content in zip(paths, (b"river", b"field", b"river"), strict=True):
        path.write_bytes(content)
    return paths


def manifest_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(MANIFEST)


def with_digests(*found: bytes) -> dict[str, bytes]:
    return {**bundles.files(), NAME: pack(found)}


def test_a_digest_is_of_the_content_and_stands_in_the_order_of_the_files(files: list[Path]) -> None:
    river, field, again = digests(files)
    assert river == again == hashlib.sha256(b"river").digest()[:8]
    assert field == hashlib.sha256(b"field").digest()[:8]


def test_progress_is_told_after_each_file(files: list[Path]) -> None:
    told: list[int] = []
    digests(files, told.append)
    assert told == [1, 2, 3]


def test_a_file_that_cannot_be_read_is_named(files: list[Path]) -> None:
    absent = files[0].with_name("absent.png")
    with pytest.raises(DataError, match=r"cannot read .*absent\.png: No such file or directory"):
        digests([*files, absent])


@given(st.lists(DIGEST, min_size=1, max_size=6))
def test_what_is_packed_is_unpacked_whatever_its_order(found: list[bytes]) -> None:
    packed = pack(found)
    assert unpack(packed) == frozenset(found)
    assert len(packed) == 8 * len(set(found))
    assert pack(reversed(found)) == packed


@given(st.lists(DIGEST, min_size=1, max_size=3), st.integers(1, 7))
def test_a_content_that_is_cut_off_is_told(found: list[bytes], lost: int) -> None:
    with pytest.raises(BundleError, match=rf"its {NAME} is cut off"):
        unpack(pack(found)[:-lost])


def test_a_network_has_learned_from_something() -> None:
    with pytest.raises(BundleError, match=rf"its {NAME} is empty"):
        unpack(pack([]))


def test_a_bundle_holds_the_digests_beside_its_graphs(tmp_path: Path, files: list[Path]) -> None:
    content = with_digests(*digests(files))
    bundle = read_bundle(bundles.write_tiny(tmp_path / "tiny.gfd", content))
    assert bundle.manifest.learned_from == NAME
    assert unpack(bundle.read(NAME)) == frozenset(digests(files))
    assert list(bundle.segments("fp32")) == bundles.segments()
    bundle.verify()
    assert read_bundle(bundles.write_tiny(tmp_path / "plain.gfd")).manifest.learned_from is None


@pytest.mark.parametrize(
    ("lost", "described", "message"),
    [
        (True, True, rf"it lacks {NAME}: copy or export it anew"),
        (False, False, rf"it holds {NAME}, which its manifest does not name"),
    ],
    ids=["missing", "unlisted"],
)
def test_a_bundle_and_its_digests_belong_together(tmp_path: Path, lost: bool, described: bool, message: str) -> None:
    content, plain = with_digests(b"12345678"), bundles.files()
    source = bundles.write_tiny(tmp_path / "whole.gfd", content if described else plain)
    whole = bundles.members() | {MANIFEST: manifest_of(source)}
    path = bundles.packed(tmp_path / "tiny.gfd", whole if lost else {**whole, NAME: content[NAME]})
    with pytest.raises(BundleError, match=message) as caught:
        read_bundle(path)
    assert str(path) in str(caught.value)


def test_digests_that_were_changed_on_the_way_are_not_believed(tmp_path: Path) -> None:
    source = bundles.write_tiny(tmp_path / "whole.gfd", with_digests(b"12345678"))
    members = {**bundles.files(), NAME: b"87654321", MANIFEST: manifest_of(source)}
    bundle = read_bundle(bundles.packed(tmp_path / "tiny.gfd", members))
    with pytest.raises(BundleError, match=rf"its {NAME} is not what was exported"):
        bundle.read(NAME)
    with pytest.raises(BundleError, match=rf"its {NAME} is not what was exported"):
        bundle.verify()


def test_digests_that_lost_their_end_have_another_size_than_the_manifest_says(tmp_path: Path) -> None:
    source = bundles.write_tiny(tmp_path / "whole.gfd", with_digests(b"12345678"))
    members = {**bundles.files(), NAME: b"12345", MANIFEST: manifest_of(source)}
    with pytest.raises(BundleError, match=rf"its {NAME} has another size than its manifest says"):
        read_bundle(bundles.packed(tmp_path / "tiny.gfd", members))
