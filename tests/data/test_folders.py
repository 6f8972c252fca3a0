from __future__ import annotations

import re
from pathlib import Path

import pytest

from gfnet_dynn.data.folders import require_classes, scan_folders
from gfnet_dynn.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not looked into")
    return root


def test_classes_are_the_sorted_folders_and_files_are_listed_below_them(tmp_path: Path) -> None:
    found = scan_folders(touch(tmp_path, "river/2.png", "river/1.JPG", "farm/deep/er/x.tif", "farm/a.webp"))
    assert found.root == tmp_path
    assert found.classes == ("farm", "river")
    assert found.files == (("farm/a.webp", 0), ("farm/deep/er/x.tif", 0), ("river/1.JPG", 1), ("river/2.png", 1))


def test_everything_else_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "farm/a.png", "farm/._a.png", "farm/notes.txt", "farm/a.png.part", "README.md", "top.png")
    touch(tmp_path, ".cache/x.png")
    (tmp_path / "farm" / "folder.png").mkdir()
    found = scan_folders(tmp_path)
    assert found.classes == ("farm",)
    assert found.files == (("farm/a.png", 0),)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "file")
    for path in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(DataError, match=r"no folder .*: expected one sub-folder of images for each class"):
            scan_folders(path)


@pytest.mark.parametrize("given", ["train", "val"])
def test_a_part_given_as_the_whole_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    touch(tmp_path, "train/farm/1.png", "val/farm/2.png")
    hint = f"there; did you mean --data-path {tmp_path}? It has a folder train"
    with pytest.raises(DataError, match=f"{re.escape(hint)}$"):
        scan_folders(tmp_path / given / "train")
    monkeypatch.chdir(tmp_path / given)
    with pytest.raises(DataError, match=f"{re.escape(hint)}$"):
        scan_folders(Path("train"))


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no sub-folders"):
        scan_folders(touch(tmp_path, "1.png", ".hidden/1.png"))


def test_a_class_without_images_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "farm/a.png", "river/readme.txt")
    with pytest.raises(DataError, match=r"folder .*river has no images .*1 \.txt.*fill it or remove it"):
        scan_folders(tmp_path)


def test_the_number_of_classes_must_be_the_configured_one(tmp_path: Path) -> None:
    found = scan_folders(touch(tmp_path, *(f"class{index}/a.png" for index in range(8))))
    require_classes(found, 8, "Scenes")
    with pytest.raises(DataError) as error:
        require_classes(found, 21, "Scenes")
    said = str(error.value)
    assert "has 8 class folders (class0, class1, class2, class3, class4, class5, …)" in said
    assert "Scenes is configured with 21 classes" in said
