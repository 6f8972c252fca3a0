from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from gfnet_dynn.bundle.archive import MANIFEST, read_bundle
from gfnet_dynn.bundle.manifest import LEARNED_FROM
from gfnet_dynn.errors import BundleError
from tests import bundles

KNOWN, OTHERS = bytes(range(32)), bytes(range(32, 96))


def manifest_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(MANIFEST)


def with_fingerprints(found: bytes) -> dict[str, bytes]:
    return {**bundles.files(), LEARNED_FROM: found}


def test_a_bundle_holds_the_fingerprints_beside_its_graphs(tmp_path: Path) -> None:
    content = with_fingerprints(OTHERS)
    bundle = read_bundle(bundles.write_tiny(tmp_path / "tiny.gfd", content))
    assert bundle.manifest.learned_from == LEARNED_FROM
    assert bundle.read(LEARNED_FROM) == OTHERS
    assert list(bundle.segments("fp32")) == bundles.segments()
    bundle.verify()
    assert read_bundle(bundles.write_tiny(tmp_path / "plain.gfd")).manifest.learned_from is None


@pytest.mark.parametrize(
    ("lost", "described", "message"),
    [
        (True, True, rf"it lacks {LEARNED_FROM}: copy or export it anew"),
        (False, False, rf"it holds {LEARNED_FROM}, which its manifest does not name"),
    ],
    ids=["missing", "unlisted"],
)
def test_bundle_and_fingerprints_belong_together(tmp_path: Path, lost: bool, described: bool, message: str) -> None:
    content, plain = with_fingerprints(KNOWN), bundles.files()
    source = bundles.write_tiny(tmp_path / "whole.gfd", content if described else plain)
    whole = bundles.members() | {MANIFEST: manifest_of(source)}
    path = bundles.packed(tmp_path / "tiny.gfd", whole if lost else {**whole, LEARNED_FROM: content[LEARNED_FROM]})
    with pytest.raises(BundleError, match=message) as caught:
        read_bundle(path)
    assert str(path) in str(caught.value)


def test_fingerprints_that_were_changed_on_the_way_are_not_believed(tmp_path: Path) -> None:
    source = bundles.write_tiny(tmp_path / "whole.gfd", with_fingerprints(KNOWN))
    members = {**bundles.files(), LEARNED_FROM: KNOWN[::-1], MANIFEST: manifest_of(source)}
    bundle = read_bundle(bundles.packed(tmp_path / "tiny.gfd", members))
    with pytest.raises(BundleError, match=rf"its {LEARNED_FROM} is not what was exported"):
        bundle.read(LEARNED_FROM)
    with pytest.raises(BundleError, match=rf"its {LEARNED_FROM} is not what was exported"):
        bundle.verify()


def test_fingerprints_that_lost_their_end_have_another_size_than_the_manifest_says(tmp_path: Path) -> None:
    source = bundles.write_tiny(tmp_path / "whole.gfd", with_fingerprints(KNOWN))
    members = {**bundles.files(), LEARNED_FROM: KNOWN[:5], MANIFEST: manifest_of(source)}
    with pytest.raises(BundleError, match=rf"its {LEARNED_FROM} has another size than its manifest says"):
        read_bundle(bundles.packed(tmp_path / "tiny.gfd", members))
