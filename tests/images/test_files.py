from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gfnet_dynn.errors import DataError
from gfnet_dynn.images.files import SUFFIXES, describe_skipped, find_classes, find_images, require_images, walk


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not looked into")
    return root


def names(root: Path, paths: tuple[Path, ...]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_images_are_listed_in_the_order_of_their_names(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.png", "b-2.JPG", "a/deep/er/x.tif", "a/z.webp", "c.bmp")
    assert names(tmp_path, find_images(tmp_path).images) == [
        "a/deep/er/x.tif",
        "a/z.webp",
        "b-2.JPG",
        "b/1.png",
        "c.bmp",
    ]


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_all_image_suffixes_count(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"a{suffix}", f"b{suffix.upper()}")
    assert len(find_images(tmp_path).images) == 2


def test_hidden_files_and_folders_are_skipped_and_other_formats_named(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.png", "._a.png", ".cache/b.png", "deep/.thumbnails/c.png", "deep/scene.jp2", "notes.txt", "README"
    )
    (tmp_path / "folder.png").mkdir()
    found = find_images(tmp_path)
    assert names(tmp_path, found.images) == ["a.png"]
    assert names(tmp_path, found.skipped) == ["README", "deep/scene.jp2", "notes.txt"]
    assert describe_skipped(found.skipped) == "3 other files (1 .jp2, 1 .txt, 1 no suffix)"


def test_what_is_no_regular_file_is_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "broken.png").symlink_to("absent")
    (tmp_path / "itself.png").symlink_to("itself.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        previous = Path.cwd()
        os.chdir(tmp_path)  # the address of a socket is short
        listening.bind("socket.png")
        os.chdir(previous)
        found = find_images(tmp_path)
    assert names(tmp_path, found.images) == ["a.png"]
    assert names(tmp_path, found.skipped) == ["broken.png", "fifo.png", "itself.png", "null.png", "socket.png"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path, "set/forest/1.png", "set/river/2.png", "elsewhere/3.png")
    (tmp_path / "set/forest/file.png").symlink_to(tmp_path / "elsewhere/3.png")
    (tmp_path / "set/forest/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/forest/up").symlink_to("..")
    (tmp_path / "set/forest/here").symlink_to(".")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "set")
    found = find_images(tmp_path / "set/forest").images
    assert names(tmp_path / "set/forest", found) == ["1.png", "file.png", "folder/3.png"]


def test_classes_are_the_visible_folders(tmp_path: Path) -> None:
    touch(tmp_path, "river/2.png", "farm/1.png", ".hidden/3.png", "empty/notes.txt", "loose.png")
    found = find_classes(tmp_path)
    assert list(found) == ["empty", "farm", "river"]
    assert (found["empty"].images, names(tmp_path, found["farm"].images)) == ((), ["farm/1.png"])


def test_a_file_is_taken_whatever_its_name_and_what_is_absent_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "scene.img")
    assert find_images(tmp_path / "scene.img").images == (tmp_path / "scene.img",)
    with pytest.raises(DataError, match=r"absent\.png"):
        find_images(tmp_path / "absent.png")


def test_a_folder_without_images_is_an_error_that_names_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 \.jp2"):
        require_images(touch(tmp_path, "a.jp2", "b.JP2"))


def test_a_folder_that_may_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "farm/open/1.png", "farm/closed/2.png")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for find in (find_images, find_classes):
        with pytest.raises(DataError, match=r"cannot read .*closed: Permission denied"):
            find(tmp_path)


def test_a_walk_has_the_order_of_whole_paths_and_goes_on_after_an_unreadable_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/1.png", "a-b/1.png", "a.png", "b/closed/2.png", "b/3.png", "b!/4.png")
    everything = [each for each in walk(tmp_path) if isinstance(each, Path)]
    assert everything == sorted(everything, key=Path.as_posix)
    assert len(everything) == 6
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = list(walk(tmp_path))
    assert [each for each in found if isinstance(each, Path)] == [
        each for each in everything if "closed" not in str(each)
    ]
    assert "closed: Permission denied" in str(next(each for each in found if isinstance(each, DataError)))
