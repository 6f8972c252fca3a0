from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gfnet_dynn.bundle.archive import Bundle, read_bundle
from gfnet_dynn.bundle.manifest import LEARNED_FROM
from gfnet_dynn.calibration.outputs import CalibrationImages, find_calibration_images
from gfnet_dynn.errors import BundleError, CalibrationError, ImageError
from tests import bundles
from tests.calibration.folders import write_few
from tests.fingerprints import of_files, store_anew, write_scene

NAMES = ("field/a.png", "field/b.png", "river/a.png", "town/deep/er/a.PNG", "town/z.jpg")


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    write_few(tmp_path / "scenes", NAMES)
    return tmp_path / "scenes"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return read_bundle(bundles.write_tiny(tmp_path / "tiny.gfd"))


def that_learned_from(tmp_path: Path, files: Sequence[Path]) -> Bundle:
    content = {**bundles.files(), LEARNED_FROM: of_files(files)}
    return read_bundle(bundles.write_tiny(tmp_path / "taught.gfd", content))


def found(scenes: Path, bundle: Bundle, *, need_labels: bool = True) -> CalibrationImages:
    return find_calibration_images(scenes, bundle, need_labels=need_labels)


def refusal(scenes: Path, bundle: Bundle) -> str:
    with pytest.raises(CalibrationError) as caught:
        found(scenes, bundle)
    return str(caught.value)


def test_images_are_found_below_the_folders_of_their_classes_in_order(scenes: Path, bundle: Bundle) -> None:
    labelled = found(scenes, bundle)
    assert labelled.labels is not None
    assert [file.relative_to(scenes).as_posix() for file in labelled.files] == list(NAMES)
    assert labelled.labels.tolist() == [0, 0, 1, 2, 2]
    assert labelled.labels.dtype == np.int64


def test_labels_follow_the_bundles_order_of_classes(tmp_path: Path, scenes: Path) -> None:
    turned = bundles.write_tiny(tmp_path / "turned.gfd", classes=("town", "field", "river"))
    labels = found(scenes, read_bundle(turned)).labels
    assert labels is not None
    assert labels.tolist() == [1, 1, 2, 0, 0]


def test_progress_is_told_file_by_file(scenes: Path, bundle: Bundle) -> None:
    told: list[tuple[int, int]] = []
    find_calibration_images(scenes, bundle, on_step=lambda done, total: told.append((done, total)))
    assert told == [(number, 5) for number in range(1, 6)]


def test_what_is_no_image_is_passed_over(scenes: Path, bundle: Bundle) -> None:
    before = found(scenes, bundle)
    (scenes / "field" / "notes.txt").write_text("no image", encoding="utf-8")
    (scenes / "readme.txt").write_text("no image", encoding="utf-8")
    (scenes / "river" / "folder.png").mkdir()
    (scenes / "empty").mkdir()
    (scenes / ".thumbnails").mkdir()
    shutil.copy(scenes / "field" / "a.png", scenes / ".thumbnails" / "a.png")
    after = found(scenes, bundle)
    assert (after.files, after.sha256) == (before.files, before.sha256)


def test_the_data_are_known_by_content_and_labels_and_not_by_names(scenes: Path, bundle: Bundle) -> None:
    before = found(scenes, bundle).sha256
    (scenes / "field" / "b.png").rename(scenes / "field" / "b2.png")
    assert found(scenes, bundle).sha256 == before
    (scenes / "field" / "b2.png").rename(scenes / "river" / "0.png")  # same images, same order, another label
    relabelled = found(scenes, bundle).sha256
    assert relabelled != before
    write_few(scenes, ("river/0.png",))
    assert found(scenes, bundle).sha256 not in (before, relabelled)


@pytest.mark.parametrize("place", ["absent", "field/a.png"])
def test_where_no_folder_is_it_says_what_to_give(scenes: Path, bundle: Bundle, place: str) -> None:
    said = refusal(scenes / place, bundle)
    assert f"no folder {scenes / place}" in said


def test_a_folder_that_is_no_class_is_named_with_the_nearest_class(scenes: Path, bundle: Bundle) -> None:
    (scenes / "river").rename(scenes / "River")
    said = refusal(scenes, bundle)
    assert f"{scenes / 'River'} is no class of the network: did you mean 'river'?" in said


def test_a_folder_of_splits_is_no_folder_of_classes(scenes: Path, bundle: Bundle) -> None:
    (scenes.parent / "all").mkdir()
    scenes.rename(scenes.parent / "all" / "val")
    said = refusal(scenes.parent / "all", bundle)
    assert "val is no class of the network: known: field, river, town" in said


@pytest.mark.parametrize("how", ["absent", "empty", "no image"])
def test_a_class_that_is_missing_is_named(scenes: Path, bundle: Bundle, how: str) -> None:
    shutil.rmtree(scenes / "river")
    if how != "absent":
        (scenes / "river").mkdir()
    if how == "no image":
        (scenes / "river" / "a.txt").write_text("no image", encoding="utf-8")
    assert f"{scenes} has no images of river" in refusal(scenes, bundle)


def test_of_many_missing_classes_some_are_named(tmp_path: Path) -> None:
    write_few(tmp_path / "scenes", ("a/1.png",))
    bundle = read_bundle(bundles.write_tiny(tmp_path / "many.gfd", classes=tuple("abcdefgh")))
    assert "has no images of b, c, d, e and 3 more" in refusal(tmp_path / "scenes", bundle)


def test_images_beside_the_folders_are_of_no_class(scenes: Path, bundle: Bundle) -> None:
    for name in ("field", "river", "town"):
        shutil.rmtree(scenes / name)
    write_few(scenes, ("a.png",))
    assert "has no images of field, river, town" in refusal(scenes, bundle)


@pytest.mark.parametrize("copy", ["field/c.png", "field/deep/a.jpg", "river/b.png"])
def test_an_image_that_is_there_twice_is_refused_with_its_copy(scenes: Path, bundle: Bundle, copy: str) -> None:
    (scenes / copy).parent.mkdir(exist_ok=True)
    shutil.copy(scenes / "field/a.png", scenes / copy)
    said = refusal(scenes, bundle)
    assert said.startswith("2 files show the same image as another")
    assert str(scenes / "field/a.png") in said
    assert str(scenes / copy) in said


def test_of_two_images_that_are_there_twice_a_pair_is_named_that_is_one(scenes: Path, bundle: Bundle) -> None:
    shutil.copy(scenes / "field/a.png", scenes / "town/y.png")
    shutil.copy(scenes / "field/b.png", scenes / "town/x.png")
    said = refusal(scenes, bundle)
    assert said.startswith("4 files ")
    assert "field/a.png" in said
    assert "town/y.png" in said


def test_images_that_the_network_learned_from_are_refused(tmp_path: Path, scenes: Path) -> None:
    bundle = that_learned_from(tmp_path, [scenes / "river/a.png", scenes / "town/z.jpg"])
    said = refusal(scenes, bundle)
    assert f"trained or selected on 2 of the 5 images, such as {scenes / 'river/a.png'}" in said


def test_a_new_name_makes_no_new_image(tmp_path: Path, scenes: Path) -> None:
    bundle = that_learned_from(tmp_path, [scenes / "river/a.png"])
    (scenes / "river/a.png").rename(scenes / "town/new.tif")
    write_few(scenes, ("river/other.png",))
    assert f"on 1 of the 6 images, such as {scenes / 'town/new.tif'}" in refusal(scenes, bundle)


@pytest.mark.parametrize(("scale", "turned"), [(1.0, False), (0.875, False), (2.0, False), (1.0, True)])
def test_images_that_the_network_learned_from_are_refused_however_they_are_stored(
    tmp_path: Path, scenes: Path, scale: float, turned: bool
) -> None:
    original = write_scene(tmp_path / "original.png", 1)
    copy = store_anew(original, scenes / "town/new.webp", scale=scale, turned=turned)
    assert f"on 1 of the 6 images, such as {copy}" in refusal(scenes, that_learned_from(tmp_path, [original]))


def test_a_copy_that_is_stored_anew_counts_as_twice(scenes: Path, bundle: Bundle) -> None:
    copy = store_anew(write_scene(scenes / "field/a.png", 1), scenes / "field/c.jpg", scale=0.875)
    message = refusal(scenes, bundle)
    assert f"{scenes / 'field/a.png'}, {copy}" in message


def test_new_images_are_taken_whatever_else_the_network_learned_from(tmp_path: Path, scenes: Path) -> None:
    others = write_few(tmp_path / "others", [f"{number}.png" for number in range(9)])[len(NAMES) :]
    assert len(found(scenes, that_learned_from(tmp_path, others)).files) == 5


@pytest.mark.parametrize("content", [bytes(31), b""])
def test_a_bundle_with_fingerprints_that_are_cut_off_is_named(tmp_path: Path, scenes: Path, content: bytes) -> None:
    bundle = read_bundle(bundles.write_tiny(tmp_path / "cut.gfd", {**bundles.files(), LEARNED_FROM: content}))
    with pytest.raises(BundleError) as caught:
        found(scenes, bundle)
    assert f"{bundle.path}: its {LEARNED_FROM} has {len(content)} bytes, not 32" in str(caught.value)


def test_a_file_that_cannot_be_decoded_is_named(scenes: Path, bundle: Bundle) -> None:
    (scenes / "field/a.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"field/a\.png"):
        found(scenes, bundle)


def test_a_plain_folder_has_no_labels(tmp_path: Path, bundle: Bundle) -> None:
    write_few(tmp_path / "plain", ("b.png", "a.jpg", "2026/deep/c.png"))
    images = found(tmp_path / "plain", bundle, need_labels=False)
    assert [file.relative_to(tmp_path / "plain").as_posix() for file in images.files] == [
        "2026/deep/c.png",
        "a.jpg",
        "b.png",
    ]
    assert images.labels is None
    assert len(images.sha256) == 64


def test_class_folders_have_labels_though_none_are_needed(scenes: Path, bundle: Bundle) -> None:
    assert found(scenes, bundle, need_labels=False).sha256 == found(scenes, bundle).sha256
    assert found(scenes, bundle, need_labels=False).labels is not None


@pytest.mark.parametrize("how", ["missing", "misspelt"])
def test_class_folders_with_a_fault_are_not_taken_for_a_plain_folder(scenes: Path, bundle: Bundle, how: str) -> None:
    if how == "missing":
        shutil.rmtree(scenes / "river")
    else:
        (scenes / "river").rename(scenes / "rivers")
    with pytest.raises(CalibrationError, match="river"):
        found(scenes, bundle, need_labels=False)


def test_a_plain_folder_is_refused_where_labels_are_needed_or_nothing_is_there(tmp_path: Path, bundle: Bundle) -> None:
    write_few(tmp_path / "plain", ("a.png",))
    (tmp_path / "empty").mkdir()
    for place, need_labels in (("plain", True), ("empty", False)):
        with pytest.raises(CalibrationError, match=place):
            found(tmp_path / place, bundle, need_labels=need_labels)


def test_images_without_labels_are_checked_too(tmp_path: Path, bundle: Bundle) -> None:
    (first, second) = write_few(tmp_path / "plain", ("a.png", "b.png"))
    with pytest.raises(CalibrationError, match=r"trained or selected on 1 of the 2 images, such as .*b\.png"):
        found(tmp_path / "plain", that_learned_from(tmp_path, [second]), need_labels=False)
    shutil.copy(first, second)
    with pytest.raises(CalibrationError, match="2 files show the same image as another"):
        found(tmp_path / "plain", bundle, need_labels=False)
