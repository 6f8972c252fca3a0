"""Fingerprints and the search for copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gfnet_dynn.images.copies import distinct, find_copies, group_copies
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.files import find_images
from gfnet_dynn.images.fingerprint import BYTES, fingerprint, fingerprint_files, unpack
from tests.fingerprints import store_anew, write_scene

SHARED = Path(__file__).parents[3] / "shared" / "data"

STORED = st.binary(min_size=BYTES, max_size=BYTES)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.png", 0, side=96)


def plain(level: int, side: int = 32) -> npt.NDArray[np.uint8]:
    return np.full((side, side, 3), level, np.uint8)


def is_copy(one: bytes, other: bytes) -> bool:
    return bool(find_copies(one, other)[0] == 0)


def by_definition(one: bytes, other: bytes) -> bool:
    """What `find_copies` guarantees, image by image and orientation by orientation."""
    (digest, colour, wave), (digests, colours, waves) = unpack(one), unpack(other)
    if np.array_equal(digest, digests):
        return True
    limit = min(2.0, *(0.2 * float(np.linalg.norm(each)) for each in (wave, waves)))
    table = np.append(0, wave[0].astype(float)).reshape(5, 5)
    odd = np.where(np.arange(5) % 2, -1, 1)
    distances = [
        float(np.linalg.norm((turned * down[:, None] * across).ravel()[1:] - waves[0]))
        for turned in (table, table.T)
        for down in (odd, np.ones(5))
        for across in (odd, np.ones(5))
    ]
    return bool(min(distances) < limit and np.abs(colour - colours).max() <= 2)


def test_equal_pixels_have_equal_fingerprints_whatever_the_format(scene: Path, tmp_path: Path) -> None:
    Image.open(scene).save(tmp_path / "scene.tif", compression="tiff_lzw")
    found, unreadable = fingerprint_files([scene, tmp_path / "scene.tif"])
    assert len(set(found.values())) == 1
    assert unreadable == {}


def test_the_parts_of_a_fingerprint(scene: Path) -> None:
    pixels = read_image(scene)
    digests, colours, waves = unpack(fingerprint(pixels) + fingerprint(plain(7)))
    assert (digests.shape, waves.shape) == ((2, 5), (2, 24))
    assert colours.tolist() == [np.rint(pixels.mean(axis=(0, 1))).tolist(), [7, 7, 7]]
    assert not waves[1].any()


def test_a_wave_is_found_with_its_size() -> None:
    wave = 100 + 20 * np.sqrt(2) * np.cos(np.pi * 2 * (np.arange(64) + 0.5) / 64)
    pixels = np.broadcast_to(wave[None, :, None], (64, 64, 3)).round().astype(np.uint8)
    (found,) = unpack(fingerprint(pixels))[2]
    assert found[1] == pytest.approx(20 * np.sqrt(2), rel=0.05)  # weighted by the root of its order
    assert np.abs(np.delete(found, 1)).max() < 0.5


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("scale", [0.875, 1.0, 2.0])
def test_an_image_that_is_stored_anew_is_a_copy(scene: Path, suffix: str, scale: float) -> None:
    again = store_anew(scene, scene.with_suffix(suffix), scale=scale)
    assert is_copy(fingerprint(read_image(again)), fingerprint(read_image(scene)))


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_or_mirrored_image_is_a_copy(scene: Path, turns: int, mirrored: bool) -> None:
    pixels = np.rot90(read_image(scene), turns)
    turned = np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)
    assert is_copy(fingerprint(turned), fingerprint(read_image(scene)))


def test_other_scenes_are_no_copies_and_every_copy_is_found_among_them(tmp_path: Path) -> None:
    files = [write_scene(tmp_path / f"{number}.png", number) for number in range(300)]
    scenes = b"".join(fingerprint_files(files)[0].values())
    assert group_copies(scenes) == []
    again = [store_anew(file, file.with_suffix(".jpg")) for file in files[::7]]
    found = find_copies(b"".join(fingerprint_files(again)[0].values()), scenes)
    assert found.tolist() == list(range(300))[::7]


def test_a_brighter_image_is_no_copy(scene: Path) -> None:
    pixels = read_image(scene)
    assert not is_copy(fingerprint(pixels + np.uint8(4)), fingerprint(pixels))


def test_of_uniform_images_only_equal_pixels_are_copies() -> None:
    speck = plain(80)
    speck[0, 0] = 81
    assert is_copy(fingerprint(plain(80)), fingerprint(plain(80)))
    assert not is_copy(fingerprint(speck), fingerprint(plain(80)))
    assert not is_copy(fingerprint(plain(80, side=33)), fingerprint(plain(80)))


def test_groups_join_copies_of_copies(tmp_path: Path) -> None:
    one, other = write_scene(tmp_path / "1.png", 1), write_scene(tmp_path / "2.png", 2)
    files = [one, other, store_anew(one, tmp_path / "1.jpg"), store_anew(one, tmp_path / "1.webp", turned=True)]
    packed = b"".join(fingerprint(read_image(file)) for file in files)
    assert group_copies(packed) == [[0, 2, 3]]
    assert group_copies(packed + packed[BYTES : 2 * BYTES]) == [[0, 2, 3], [1, 4]]


def test_nothing_is_a_copy_of_nothing() -> None:
    some = fingerprint(plain(3))
    assert find_copies(b"", some).tolist() == []
    assert find_copies(some, b"").tolist() == [-1]
    assert group_copies(b"") == []


def test_files_that_cannot_be_decoded_are_named(scene: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    steps: list[tuple[int, int]] = []
    found, unreadable = fingerprint_files([bad, scene, tmp_path / "absent.png"], lambda *step: steps.append(step))
    assert list(found) == [scene]
    assert list(unreadable) == [bad, tmp_path / "absent.png"]
    assert str(bad) in unreadable[bad]
    assert steps == [(1, 3), (2, 3), (3, 3)]


@given(st.lists(STORED, min_size=1, max_size=20), st.data())
def test_what_is_known_is_found(known: list[bytes], data: st.DataObject) -> None:
    image = data.draw(st.sampled_from(known))
    (index,) = find_copies(image, b"".join(known))
    assert is_copy(image, known[index])


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.3), st.integers(0, 7), st.floats(0.05, 60), st.integers(-3, 3))
def test_the_search_keeps_its_definition(seed: int, change: float, way: int, contrast: float, brighter: int) -> None:
    generator = np.random.default_rng(seed)
    waves = np.append(0, generator.normal(size=24)).reshape(5, 5) * contrast / 5
    odd = np.where(np.arange(5) % 2, -1, 1)
    turned = (waves.T if way & 1 else waves) * (odd[:, None] if way & 2 else 1) * (odd if way & 4 else 1)
    turned = turned + np.append(0, generator.normal(size=24)).reshape(5, 5) * change * contrast / 5
    colour = generator.integers(4, 250, 3)

    def stored(table: npt.NDArray[np.float64], colour: npt.NDArray[np.int64]) -> bytes:
        steps = np.rint(np.sign(table) * np.sqrt(np.abs(table)) * 11).clip(-127, 127).astype(np.int8)
        return b"".join((generator.bytes(5), colour.astype(np.uint8).tobytes(), steps.ravel()[1:].tobytes()))

    one, other = stored(turned, colour + brighter), stored(waves, colour)
    assert is_copy(one, other) == is_copy(other, one) == by_definition(one, other)


@given(st.lists(STORED, max_size=8))
def test_distinct_fingerprints_are_sorted_and_kept(some: list[bytes]) -> None:
    packed = distinct(b"".join(some))
    assert [packed[start : start + BYTES] for start in range(0, len(packed), BYTES)] == sorted(set(some))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data, real images beside the repository")
@pytest.mark.parametrize(("name", "least"), [("UCM", 1.0), ("NWPU12", 1.0), ("EuroSAT", 0.8)])
def test_real_images_are_recognised_and_not_mixed_up(tmp_path: Path, name: str, least: float) -> None:
    files = find_images(SHARED / name / "val").images[::5]
    known = b"".join(fingerprint_files(files)[0].values())
    assert group_copies(known) == []
    again = [store_anew(file, tmp_path / f"{number}.jpg", scale=0.875) for number, file in enumerate(files[::4])]
    found = find_copies(b"".join(fingerprint_files(again)[0].values()), known)
    right = np.arange(len(files))[::4]
    assert np.isin(found, [*right, -1]).all()
    assert (found == right).mean() >= least
