from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gfnet_dynn.data.folders import scan_folders
from gfnet_dynn.data.synthetic import generate
from gfnet_dynn.data.synthetic.generate import CLASSES, draw_scene, write_synthetic
from gfnet_dynn.errors import DataError, StorageError


def scene_difficulty(class_index: int, seed: int, index: int) -> float:
    """The difficulty, 0 (clear) to 1, of the image that `draw_scene` draws from the same arguments."""
    return generate._draw_difficulty(generate._generator(class_index, seed, index))


def snapshot(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def write_small(root: Path, train: int = 2, seed: int = 3) -> Path:
    return write_synthetic(root, train_per_class=train, val_per_class=1, size=16, seed=seed)


@pytest.mark.parametrize("class_index", range(10))
def test_a_scene_is_a_pure_function_of_its_arguments(class_index: int) -> None:
    scene = draw_scene(class_index, 5, 7)
    assert scene.shape == (64, 64, 3)
    assert scene.dtype == np.uint8
    assert scene.std() > 2
    assert scene.tobytes() == draw_scene(class_index, 5, 7).tobytes()
    for other in (
        draw_scene(class_index, 5, 8),
        draw_scene(class_index, 6, 7),
        draw_scene((class_index + 1) % 10, 5, 7),
    ):
        assert scene.tobytes() != other.tobytes()


def test_class_indices_are_those_of_the_sorted_folders() -> None:
    assert len(CLASSES) == 10
    assert list(CLASSES) == sorted(CLASSES)


@pytest.mark.parametrize("size", [16, 33, 96])
def test_other_sizes(size: int) -> None:
    assert draw_scene(0, 0, 0, size).shape == (size, size, 3)


@pytest.mark.parametrize("arguments", [(-1, 0, 0, 64), (10, 0, 0, 64), (0, -1, 0, 64), (0, 0, -1, 64), (0, 0, 0, 15)])
def test_arguments_outside_their_range(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(DataError):
        draw_scene(*arguments)


def test_difficulty_is_graded() -> None:
    drawn = np.array([scene_difficulty(0, 0, index) for index in range(500)])
    assert 0 <= drawn.min() < 0.05
    assert 0.9 < drawn.max() <= 1
    assert 0.35 < np.median(drawn) < 0.5


def features(scene: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colour moments, gradient strength and the energy in six rings of the spectrum: none depends on orientation."""
    pixels = scene.astype(np.float64) / 255
    grey = pixels.mean(axis=2)
    down, right = np.gradient(grey)
    spectrum = np.abs(np.fft.fft2(grey - grey.mean()))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(len(grey)), np.fft.fftfreq(len(grey))))
    edges = np.array([0, 0.03, 0.06, 0.1, 0.16, 0.25, 0.71])
    rings = [np.log(spectrum[(frequency >= a) & (frequency < b)].mean()) for a, b in pairwise(edges)]
    moments = [*pixels.mean(axis=(0, 1)), *pixels.std(axis=(0, 1)), *(pixels - grey[..., None]).std(axis=(0, 1))]
    return np.array([*moments, np.hypot(down, right).mean(), *rings])


def test_classes_can_be_told_apart_and_easy_ones_better() -> None:
    shown = np.array([[features(draw_scene(c, 0, i)) for i in range(30)] for c in range(10)])
    asked = np.array([[features(draw_scene(c, 0, i)) for i in range(30, 50)] for c in range(10)]).reshape(200, -1)
    difficulty = np.array([[scene_difficulty(c, 0, i) for i in range(30, 50)] for c in range(10)]).ravel()
    known, spread = shown.reshape(300, -1), shown.reshape(300, -1).std(axis=0)
    distance = (((asked[:, None] - known[None]) / spread) ** 2).sum(axis=2)
    right = distance.argmin(axis=1) // 30 == np.arange(200) // 20
    easy, hard = right[difficulty < 0.4].mean(), right[difficulty > 0.6].mean()
    assert easy > 0.65
    assert easy > hard + 0.25
    assert hard > 0.15  # better than chance: no image is mere noise


def test_the_files_are_the_scenes(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    root = tmp_path / "new" / "scenes"
    done = write_synthetic(
        root, train_per_class=3, val_per_class=2, size=16, seed=4, on_step=lambda *counts: calls.append(counts)
    )
    assert done == root
    assert calls == [(number, 50) for number in range(1, 51)]
    train, val = scan_folders(root / "train"), scan_folders(root / "val")
    assert train.classes == val.classes == CLASSES
    assert (len(train.files), len(val.files)) == (30, 20)
    with Image.open(root / "train" / CLASSES[2] / "0001.png") as image:
        assert np.array_equal(np.asarray(image), draw_scene(2, 4, 1, 16))
    assert "no substitute for real data" in json.loads((root / "synthetic.json").read_text())["purpose"]
    assert sorted(path.name for path in root.iterdir()) == ["synthetic.json", "train", "val"]


def test_train_and_val_share_no_image_and_val_stays(tmp_path: Path) -> None:
    few, more = snapshot(write_small(tmp_path / "few", 1)), snapshot(write_small(tmp_path / "more", 4))
    images = [content for path, content in more.items() if path.endswith(".png")]
    assert len(set(images)) == len(images) == 50
    assert all(more[path] == content for path, content in few.items() if path.startswith("val/"))


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    write_small(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    calls: list[int] = []
    write_synthetic(
        tmp_path, train_per_class=2, val_per_class=1, size=16, seed=3, on_step=lambda done, _: calls.append(done)
    )
    assert calls == []
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@pytest.mark.parametrize("lost", ["val/river/0000.png", "synthetic.json"])
def test_a_set_that_is_not_whole_is_refused_and_kept(tmp_path: Path, lost: str) -> None:
    root = write_small(tmp_path / "scenes")
    (root / lost).unlink()
    kept = snapshot(root)
    with pytest.raises(StorageError, match="scenes"):
        write_small(root)
    assert snapshot(root) == kept


def test_a_set_of_other_parameters_is_refused_and_kept(tmp_path: Path) -> None:
    root = write_small(tmp_path / "scenes", train=3, seed=1)
    kept = snapshot(root)
    with pytest.raises(StorageError, match="scenes"):
        write_small(root)
    assert snapshot(root) == kept


def test_an_interrupted_run_leaves_no_half_data_set(tmp_path: Path) -> None:
    root = tmp_path / "scenes"

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(root, train_per_class=2, val_per_class=1, size=16, seed=3, on_step=stop)
    assert list(tmp_path.iterdir()) == []
    assert snapshot(write_small(root)) == snapshot(write_small(tmp_path / "fresh"))


def test_a_run_that_another_one_overtakes_uses_its_images(tmp_path: Path) -> None:
    root = tmp_path / "scenes"
    placed: dict[Path, int] = {}

    def overtake(done: int, total: int) -> None:
        if done == total // 2:
            write_small(root)
            placed.update({path: path.stat().st_ino for path in root.rglob("*.png")})

    write_synthetic(root, train_per_class=2, val_per_class=1, size=16, seed=3, on_step=overtake)
    assert len(placed) == 30
    assert {path: path.stat().st_ino for path in root.rglob("*.png")} == placed
    assert sorted(path.name for path in root.iterdir()) == ["synthetic.json", "train", "val"]


def test_processes_that_write_at_once_end_with_one_whole_set(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gfnet_dynn.data.synthetic.generate import write_synthetic\n"
        "for _ in range(3): write_synthetic(Path(sys.argv[1]), train_per_class=2, val_per_class=1, size=16, seed=3)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "scenes")]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 3
    assert snapshot(tmp_path / "scenes") == snapshot(write_small(tmp_path / "fresh"))


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "scenes").write_text("")
    with pytest.raises(StorageError):
        write_small(tmp_path / "scenes")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train").write_text("")
    with pytest.raises(StorageError):
        write_small(tmp_path / "other")


@pytest.mark.parametrize(("train", "val"), [(0, 1), (1, 0), (-1, 1)])
def test_empty_splits_are_refused(tmp_path: Path, train: int, val: int) -> None:
    with pytest.raises(DataError):
        write_synthetic(tmp_path / "scenes", train_per_class=train, val_per_class=val)
    assert not (tmp_path / "scenes").exists()
