"""Copies of images by class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gfnet_dynn.bulk.class_folders import ClassFolders, folder_names, refuse_inside
from gfnet_dynn.errors import OptionError, StorageError
from gfnet_dynn.runtime.prediction import Prediction

FIELD = Prediction(None, "field", 0.9, "exit 1", 1, {"field": 0.9}, "gates", "0", "fp32")


def image(path: Path, content: bytes) -> Prediction:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return replace(FIELD, source=path)


def copied(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_names_are_kept_and_a_clash_takes_the_name_of_the_folder_then_a_number(tmp_path: Path) -> None:
    folders = ClassFolders(tmp_path / "out", ["field"])
    for place, content in (("a", b"1"), ("b", b"2"), ("deep/b", b"3"), ("deeper/b", b"4")):
        folders.copy(image(tmp_path / place / "x.jpg", content))
    expected = {"field/x.jpg": b"1", "field/b-x.jpg": b"2", "field/x-2.jpg": b"3", "field/x-3.jpg": b"4"}
    assert copied(tmp_path / "out") == expected


def test_a_repeated_run_copies_nothing_anew(tmp_path: Path) -> None:
    for _ in range(2):
        folders = ClassFolders(tmp_path / "out", ["field"])
        for place in ("a", "b"):
            folders.copy(image(tmp_path / place / "x.jpg", place.encode()))
    assert copied(tmp_path / "out") == {"field/x.jpg": b"a", "field/b-x.jpg": b"b"}


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".copy.0123456789ab.part").write_bytes(b"half")
    ClassFolders(tmp_path, ["field"])
    assert not list(tmp_path.iterdir())


def test_unknown_images_go_to_a_folder_of_their_own(tmp_path: Path) -> None:
    folders = ClassFolders(tmp_path / "out", ["field", "Unknown"])
    folders.copy(replace(image(tmp_path / "x.jpg", b"1"), unknown=True))
    folders.copy(replace(image(tmp_path / "x.jpg", b"1"), label="Unknown"))
    assert copied(tmp_path / "out") == {"unknown/x.jpg": b"1", "Unknown-2/x.jpg": b"1"}


def test_no_class_leads_out_of_the_folder_or_into_that_of_another() -> None:
    classes = ["../..", "/etc", "a/b", "a_b", "A_B", "", "..", "con\n", "x" * 300]
    names = list(folder_names(classes).values())
    assert len({each.casefold() for each in names}) == len(classes)
    assert not [each for each in names if "/" in each or each.startswith(".") or not each.isprintable() or not each]
    assert max(map(len, names)) <= 90


def test_copies_into_a_folder_that_is_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photos/sorted").mkdir(parents=True)
    for root in ("photos", "photos/sorted", "photos/new/../new"):
        with pytest.raises(OptionError, match=r"--copy-to .* lies in .*photos"):
            refuse_inside(tmp_path / root, [tmp_path / "photos"])
    refuse_inside(tmp_path / "sorted", [tmp_path / "photos"])


def test_what_cannot_be_copied_is_named(tmp_path: Path) -> None:
    folders = ClassFolders(tmp_path / "out", ["field"])
    with pytest.raises(StorageError, match=r"cannot copy .*gone\.jpg"):
        folders.copy(replace(FIELD, source=tmp_path / "gone.jpg"))
    assert copied(tmp_path / "out") == {}
