from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gfnet_dynn.data import scenes
from gfnet_dynn.data.scenes import Batch, ImageLoader, cut_into_batches
from gfnet_dynn.errors import ImageError
from gfnet_dynn.spec.network import InputSpec

CPU = torch.device("cpu")
SIDE = 6
COUNT = 11
FILES = tuple((f"{number:02}.png", number % 3) for number in range(COUNT))
SPEC = InputSpec(SIDE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Image n is grey with value 10 n, its top left pixel red, its top right pixel green."""
    for number, (name, _) in enumerate(FILES):
        pixels = np.full((SIDE, SIDE, 3), 10 * number, np.uint8)
        pixels[0, 0], pixels[0, -1] = (255, 0, 0), (0, 255, 0)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def as_is(images: Tensor) -> Tensor:
    return images.float()


def loader(root: Path) -> ImageLoader:
    return ImageLoader(root, FILES, SPEC, as_is)


def numbers(batches: Iterator[Batch]) -> list[list[int]]:
    """Which images the batches hold, read off their pixels."""
    return [(batch.images[:, 0, 3, 3] / 10).int().tolist() for batch in batches]


def test_batches_keep_the_order_and_the_last_is_short(root: Path) -> None:
    order = [7, 3, 3, 10, 0, 1, 9, 9]
    assert numbers(loader(root).batches(order, 3, CPU)) == [[7, 3, 3], [10, 0, 1], [9, 9]]


def test_all_images_come_once_in_the_order_of_the_split(root: Path) -> None:
    loaded = loader(root)
    assert len(loaded) == COUNT
    assert numbers(loaded.in_order(4, CPU)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_labels_belong_to_their_images(root: Path) -> None:
    loaded = loader(root)
    assert loaded.labels.tolist() == [label for _, label in FILES]
    for batch in loaded.batches([5, 1, 8, 0], 2, CPU):
        assert batch.labels.dtype == torch.int64
        assert batch.labels.tolist() == [int(value / 10) % 3 for value in batch.images[:, 0, 3, 3]]


def test_images_are_channels_first(root: Path) -> None:
    images = next(loader(root).in_order(2, CPU)).images
    assert images.shape == (2, 3, SIDE, SIDE)
    assert images[1, :, 0, 0].tolist() == [255, 0, 0]
    assert images[1, :, 0, -1].tolist() == [0, 255, 0]
    assert images[1, :, -1, 0].tolist() == [10, 10, 10]


@pytest.mark.parametrize("first", range(6))
def test_an_epoch_can_go_on_at_any_batch(root: Path, first: int) -> None:
    order = [9, 8, 7, 6, 5, 4, 3, 2, 1]
    whole = numbers(loader(root).batches(order, 2, CPU))
    assert numbers(loader(root).batches(order, 2, CPU, first=first)) == whole[first:]


@pytest.mark.parametrize(
    ("count", "size", "lengths"),
    [(9, 4, [4, 5]), (10, 4, [4, 4, 2]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 1, 1]), (0, 4, [])],
)
def test_no_batch_of_one_image_comes_last(root: Path, count: int, size: int, lengths: list[int]) -> None:
    assert [len(piece) for piece in cut_into_batches(range(count), size)] == lengths
    told = numbers(loader(root).batches(list(range(count)), size, CPU))
    assert [len(batch) for batch in told] == lengths
    assert [number for batch in told for number in batch] == list(range(count))


def test_images_are_decoded_once_for_two_transforms(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loader(root)
    second = first.shown_by(lambda images: as_is(images) + 1)
    before = list(first.in_order(4, CPU))
    monkeypatch.setattr("gfnet_dynn.data.scenes.load_input", lambda *_: pytest.fail("decoded again"))
    for one, other in zip(before, second.in_order(4, CPU), strict=True):
        assert torch.equal(one.images + 1, other.images)
    assert torch.equal(next(first.in_order(4, CPU)).images, before[0].images)


def test_nothing_gives_no_batches(root: Path) -> None:
    assert numbers(loader(root).batches([], 2, CPU)) == []


def test_kept_images_are_decoded_once(root: Path) -> None:
    loaded = loader(root)
    before = numbers(loaded.in_order(4, CPU))
    for name, _ in FILES:
        (root / name).unlink()
    assert numbers(loaded.in_order(4, CPU)) == before


def test_without_memory_the_batches_are_the_same_and_decoded_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = [4, 0, 10, 4, 2]
    kept = list(loader(root).batches(order, 2, CPU))
    monkeypatch.setattr(scenes, "MEMORY_LIMIT_BYTES", COUNT * SIDE * SIDE * 3 - 1)
    loaded = loader(root)
    for _ in range(2):
        for batch, other in zip(loaded.batches(order, 2, CPU), kept, strict=True):
            assert torch.equal(batch.images, other.images)
            assert torch.equal(batch.labels, other.labels)
    (root / "04.png").unlink()
    with pytest.raises(ImageError, match=r"no image at .*04\.png"):
        list(loaded.batches(order, 2, CPU))


def test_images_are_kept_up_to_the_limit_itself(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "MEMORY_LIMIT_BYTES", COUNT * SIDE * SIDE * 3)
    loaded = loader(root)
    before = numbers(loaded.in_order(4, CPU))
    (root / "04.png").unlink()
    assert numbers(loaded.in_order(4, CPU)) == before


def test_a_transform_cannot_spoil_the_kept_images(root: Path) -> None:
    def darken(images: Tensor) -> Tensor:
        return images.mul_(0).float()

    loaded = ImageLoader(root, FILES, SPEC, darken)
    list(loaded.in_order(4, CPU))
    loaded._transform = as_is
    assert numbers(loaded.in_order(COUNT, CPU)) == [list(range(COUNT))]


def test_the_transform_gets_whole_batches_of_bytes(root: Path) -> None:
    seen: list[tuple[torch.Size, torch.dtype]] = []

    def note(images: Tensor) -> Tensor:
        seen.append((images.shape, images.dtype))
        return images.float()

    list(ImageLoader(root, FILES, SPEC, note).batches(range(5), 3, CPU))
    assert seen == [((3, 3, SIDE, SIDE), torch.uint8), ((2, 3, SIDE, SIDE), torch.uint8)]


def test_images_are_fitted_to_the_input(root: Path) -> None:
    images = next(ImageLoader(root, FILES, InputSpec(10, pad=2), as_is).in_order(1, CPU)).images
    assert images.shape == (1, 3, 10, 10)


def test_a_file_that_broke_since_is_named(root: Path) -> None:
    (root / "05.png").write_bytes(b"broken")
    batches = loader(root).in_order(2, CPU)
    assert next(batches).labels.tolist() == [0, 1]
    with pytest.raises(ImageError, match=r"05\.png"):
        list(batches)


def test_threads_end_with_an_abandoned_iteration(root: Path) -> None:
    before = set(threading.enumerate())
    batches = loader(root).in_order(2, CPU)
    next(batches)
    assert set(threading.enumerate()) - before
    del batches
    assert set(threading.enumerate()) <= before


def test_threads_end_after_an_error(root: Path) -> None:
    before = set(threading.enumerate())
    (root / "00.png").unlink()
    with pytest.raises(ImageError):
        list(loader(root).in_order(2, CPU))
    assert set(threading.enumerate()) <= before
