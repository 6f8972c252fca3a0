from __future__ import annotations

import io
import pickle
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from gfnet_dynn.bundle.archive import Bundle, read_bundle, write_bundle
from gfnet_dynn.calibration import outputs as module
from gfnet_dynn.calibration.outputs import (
    CalibrationImages,
    Outputs,
    collect_outputs,
    graphs_of,
    load_outputs,
    store_outputs,
)
from gfnet_dynn.errors import CalibrationError, ImageError, StorageError
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.runtime.precision import compile_net
from tests import bundles
from tests.calibration.folders import labels_of, write_scenes
from tests.damage import damaged
from tests.runtime.engines import ONNXRUNTIME

EXAMPLES = settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)  # a slow device is no fault
IMAGES = 35  # more than two batches, and not a whole number of them


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> CalibrationImages:
    """Never to be changed by a test."""
    images = bundles.images(IMAGES)
    files = write_scenes(tmp_path_factory.mktemp("scenes"), images)
    return CalibrationImages(tuple(files), labels_of(images).astype(np.int64), "d" * 64)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(bundles.write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.gfd"))


def collect(bundle: Bundle, labelled: CalibrationImages, told: Callable[[int, int], None] = lambda *_: None) -> Outputs:
    return collect_outputs(bundle, labelled, ONNXRUNTIME, told)


@pytest.fixture(scope="module")
def collected(bundle: Bundle, labelled: CalibrationImages) -> Outputs:
    return collect(bundle, labelled)


@pytest.fixture(scope="module")
def stored(collected: Outputs, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return store_outputs(tmp_path_factory.mktemp("stored") / "kept.npz", collected).read_bytes()


def same(one: Outputs, other: Outputs) -> bool:
    arrays = zip(one.precisions.values(), other.precisions.values(), strict=True)
    return (list(one.precisions), one.graphs, one.data, one.engine, one.labelled) == (
        list(other.precisions),
        other.graphs,
        other.data,
        other.engine,
        other.labelled,
    ) and all(
        np.array_equal(getattr(mine, name), getattr(its, name))
        for mine, its in arrays
        for name in ("logits", "gates", "labels", "distances")
    )


def test_every_exit_of_every_precision_is_asked_of_every_image(
    bundle: Bundle, labelled: CalibrationImages, collected: Outputs
) -> None:
    images = np.stack([load_input(file, bundle.manifest.input) for file in labelled.files])
    assert list(collected.precisions) == ["fp32", "int8"]
    for precision, arrays in collected.precisions.items():
        logits, gates, _ = compile_net(bundle, precision, ONNXRUNTIME).all_exits(images)
        np.testing.assert_allclose(arrays.logits, logits, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(arrays.gates, gates, rtol=1e-5, atol=1e-5)
        assert (arrays.labels == labelled.labels).all()
    assert not np.allclose(collected.precisions["fp32"].logits, collected.precisions["int8"].logits)
    assert (collected.images, collected.data, collected.engine) == (IMAGES, "d" * 64, ONNXRUNTIME.name)
    assert collected.graphs == graphs_of(bundle)


def test_without_labels_they_are_the_classes_of_the_full_network_in_fp32(
    tmp_path: Path, bundle: Bundle, labelled: CalibrationImages, collected: Outputs
) -> None:
    found = collect(bundle, replace(labelled, labels=None))
    assert (found.labelled, collected.labelled) == (False, True)
    for name, arrays in found.precisions.items():
        assert arrays.labels.tolist() == collected.precisions["fp32"].predictions[:, -1].tolist(), name
    assert found.precisions["fp32"].correct[:, -1].all()
    assert not found.precisions["int8"].correct[:, -1].all()
    assert same(load_outputs(store_outputs(tmp_path / "kept.npz", found), bundle), found)


def test_distances_are_kept(tmp_path: Path, bundle: Bundle, collected: Outputs) -> None:
    made = {
        name: replace(each, distances=np.linspace(0, 9, len(each.labels), dtype=np.float32))
        for name, each in collected.precisions.items()
    }
    known = replace(collected, precisions=made)
    assert same(load_outputs(store_outputs(tmp_path / "kept.npz", known), bundle), known)
    assert not same(known, collected)


def test_progress_is_told_to_the_last_image(bundle: Bundle, labelled: CalibrationImages) -> None:
    told: list[tuple[int, int]] = []
    collect(bundle, labelled, lambda done, total: told.append((done, total)))
    assert told == [(16, IMAGES), (32, IMAGES), (IMAGES, IMAGES)]


def test_fp32_comes_first_whatever_the_manifest_lists_first(tmp_path: Path, labelled: CalibrationImages) -> None:
    turned = dict(reversed(bundles.files().items()))
    manifest = bundles.manifest()
    precisions = {name: manifest.precisions[name] for name in ("int8", "fp32")}
    path = write_bundle(tmp_path / "turned.gfd", replace(manifest, precisions=precisions), turned)
    found = collect(read_bundle(path), labelled)
    assert list(found.precisions) == ["fp32", "int8"]
    kept = store_outputs(tmp_path / "kept.npz", found)
    assert same(load_outputs(kept, read_bundle(path)), found)


@pytest.mark.parametrize("changes", [{"gate": "nan"}, {"lean": np.nan}], ids=["gates", "logits"])
def test_answers_that_are_no_numbers_are_refused_with_the_image(
    tmp_path: Path, labelled: CalibrationImages, changes: dict[str, Any]
) -> None:
    graphs = [*bundles.segments("int8")[:1], bundles.segment(1, **changes), *bundles.segments("int8")[2:]]
    path = bundles.write_tiny(tmp_path / "nan.gfd", bundles.files(fp32=bundles.segments(), int8=graphs))
    with pytest.raises(CalibrationError) as caught:
        collect(read_bundle(path), labelled)
    assert f"in int8 the network's output for {labelled.files[0]} is not a number" in str(caught.value)
    assert f"{IMAGES - 1} others" in str(caught.value)


def test_some_precisions_are_run_and_read_back_alone(
    tmp_path: Path, bundle: Bundle, labelled: CalibrationImages, collected: Outputs
) -> None:
    found = collect_outputs(bundle, labelled, ONNXRUNTIME, precisions=("fp32",))
    assert list(found.precisions) == ["fp32"]
    assert same(found, collected.only(("fp32",)))
    kept = load_outputs(store_outputs(tmp_path / "kept.npz", found), bundle)
    assert same(kept, found)
    with pytest.raises(CalibrationError, match="are of fp32 and lack int8"):
        kept.only(("fp32", "int8"))


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path, bundle: Bundle, labelled: CalibrationImages) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    files = (*labelled.files[:3], tmp_path / "bad.png")
    with pytest.raises(ImageError, match=r"bad\.png is not an image"):
        collect(bundle, CalibrationImages(files, None, "d"))


def test_what_is_kept_is_read_back(tmp_path: Path, bundle: Bundle, collected: Outputs) -> None:
    path = store_outputs(tmp_path / "kept.npz", collected)
    found = load_outputs(path, bundle)
    assert same(found, collected)
    for arrays in found.precisions.values():
        assert [each.dtype.name for each in (arrays.logits, arrays.gates, arrays.labels)] == [
            "float32",
            "float32",
            "int64",
        ]


def test_the_same_outputs_are_the_same_file(tmp_path: Path, collected: Outputs, stored: bytes) -> None:
    assert store_outputs(tmp_path / "again.npz", collected).read_bytes() == stored


def test_nothing_is_stored_where_a_folder_is(tmp_path: Path, collected: Outputs) -> None:
    with pytest.raises(StorageError):
        store_outputs(tmp_path, collected)


def test_outputs_outlive_the_bundles_policies(tmp_path: Path, collected: Outputs, stored: bytes) -> None:
    (tmp_path / "kept.npz").write_bytes(stored)
    path = bundles.write_tiny(tmp_path / "calibrated.gfd", policies=(bundles.CALIBRATED, *bundles.POLICIES))
    assert same(load_outputs(tmp_path / "kept.npz", read_bundle(path)), collected)


@pytest.mark.parametrize(
    "content",
    [
        bundles.files(fp32=bundles.segments("int8"), int8=bundles.segments()),
        bundles.files(fp32=bundles.segments()),
        bundles.files(fp32=bundles.segments(), int8=bundles.segments()),
    ],
    ids=["turned round", "fp32 only", "one segment differs"],
)
def test_outputs_of_other_graphs_are_refused(tmp_path: Path, stored: bytes, content: dict[str, bytes]) -> None:
    (tmp_path / "kept.npz").write_bytes(stored)
    other = read_bundle(bundles.write_tiny(tmp_path / "other.gfd", content))
    with pytest.raises(CalibrationError) as caught:
        load_outputs(tmp_path / "kept.npz", other)
    assert f"{tmp_path / 'kept.npz'}: they are of another network" in str(caught.value)


def test_outputs_do_not_fit_a_manifest_of_other_classes(tmp_path: Path, stored: bytes) -> None:
    (tmp_path / "kept.npz").write_bytes(stored)
    other = read_bundle(bundles.write_tiny(tmp_path / "other.gfd", classes=("field", "river")))
    with pytest.raises(CalibrationError, match=r"kept\.npz: they do not fit the bundle's exits and classes"):
        load_outputs(tmp_path / "kept.npz", other)


class Bomb:
    """Unpickling it leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("field", ["about", "labels", "fp32_logits", "int8_gates"])
def test_nothing_is_ever_unpickled(tmp_path: Path, bundle: Bundle, stored: bytes, field: str) -> None:
    trace = tmp_path / "trace"
    pickle.loads(pickle.dumps(Bomb(trace)))  # it works
    trace.unlink()
    with np.load(io.BytesIO(stored)) as read:
        arrays = dict(read)
    arrays[field] = np.array([Bomb(trace)], dtype=object)
    np.savez(tmp_path / "kept.npz", **arrays)
    with pytest.raises(CalibrationError, match=r"cannot read the outputs .*kept\.npz: .*give the folder of images"):
        load_outputs(tmp_path / "kept.npz", bundle)
    assert not trace.exists()


def test_an_array_alone_is_no_outputs(tmp_path: Path, bundle: Bundle) -> None:
    np.save(tmp_path / "kept.npy", np.zeros(3))
    for path in (tmp_path / "kept.npy", tmp_path / "absent.npz", tmp_path):
        with pytest.raises(CalibrationError, match=r"cannot read the outputs .*; give the folder of images instead"):
            load_outputs(path, bundle)


def test_a_file_that_would_fill_the_memory_is_refused_unread(
    tmp_path: Path, bundle: Bundle, stored: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept.npz").write_bytes(stored)
    monkeypatch.setattr(module, "_LARGEST", 1000)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(CalibrationError, match=r"kept\.npz: it holds more than any calibration needs"):
        load_outputs(tmp_path / "kept.npz", bundle)


@pytest.mark.parametrize(("offset", "value"), [(8, b"\x01"), (10, b"\x63")], ids=["encrypted", "compressed otherwise"])
def test_a_member_that_cannot_be_unpacked_is_a_fault_of_the_file(
    tmp_path: Path, bundle: Bundle, stored: bytes, offset: int, value: bytes
) -> None:
    content = bytearray(stored)
    place = content.rindex(b"labels.npy") - 46 + offset  # in the zip's directory
    content[place : place + 1] = value
    (tmp_path / "kept.npz").write_bytes(content)
    with pytest.raises(CalibrationError, match=r"cannot read the outputs .*kept\.npz"):
        load_outputs(tmp_path / "kept.npz", bundle)


def test_an_array_that_claims_to_be_larger_than_any_memory_is_refused(
    tmp_path: Path, bundle: Bundle, stored: bytes
) -> None:
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["labels.npy"] = members["labels.npy"].replace(b"(35,), }" + b" " * 20, b"(1125899906842624,), }" + b" " * 6)
    bundles.packed(tmp_path / "kept.npz", members)
    with pytest.raises(CalibrationError, match=r"cannot read the outputs .*kept\.npz: Unable to allocate"):
        load_outputs(tmp_path / "kept.npz", bundle)


def changed(stored: bytes, path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    with np.load(io.BytesIO(stored)) as read:
        arrays = dict(read)
    change(arrays)
    np.savez(path, **arrays)
    return path


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays.pop(name)


def having(name: str, value: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays.update({name: value(arrays.get(name))})


def written(row: Any, value: float) -> Callable[[Any], Any]:
    def write(array: Any) -> Any:
        array[row] = value
        return array

    return write


def none_left(arrays: dict[str, Any]) -> None:
    arrays.update({name: each[:0] for name, each in arrays.items() if name != "about"})


def also(precision: str) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays.update(
        {f"{precision}_logits": arrays["fp32_logits"], f"{precision}_gates": arrays["fp32_gates"]}
    )


UNREADABLE, UNFIT = "cannot read the outputs", "do not fit the bundle's exits and classes"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("about"), UNREADABLE),
        (without("labels"), UNREADABLE),
        (without("fp32_gates"), UNREADABLE),
        (without("fp32_logits"), UNFIT),
        (also("bf16"), UNFIT),
        (having("about", lambda about: about[:3]), UNREADABLE),
        (having("about", lambda _: np.array("text")), UNREADABLE),
        (
            having("about", lambda _: np.array(["x", "", "", "", "labelled"])),
            "not a 'gfnet-dynn exit outputs 2' file",
        ),
        (having("about", lambda about: np.array(["gfnet-dynn exit outputs 1", *about[1:]])), "not a 'gfnet-dynn"),
        (having("about", lambda about: np.array([*about[:4], "half"])), "half"),
        (having("labels", lambda labels: labels[:-1]), UNREADABLE),
        (having("labels", lambda labels: labels[:, None]), UNREADABLE),
        (having("labels", lambda labels: np.array(["river"] * len(labels))), UNREADABLE),
        (having("labels", written(3, 3)), UNFIT),
        (having("labels", written(3, -1)), UNFIT),
        (having("fp32_logits", lambda logits: logits[:, :2]), UNREADABLE),
        (having("fp32_logits", lambda logits: logits[:, :, :2]), UNFIT),
        (having("fp32_logits", lambda logits: logits[0]), UNREADABLE),
        (having("fp32_logits", lambda _: np.array(3.0)), UNREADABLE),
        (having("int8_logits", written((3, 1, 0), np.nan)), "some logits, gates or distances are not numbers"),
        (having("int8_gates", written((3, 1), np.inf)), "some logits, gates or distances are not numbers"),
        (having("fp32_gates", lambda gates: gates[:, :1]), UNREADABLE),
        (none_left, UNFIT),
    ],
)
def test_outputs_that_are_not_whole_are_refused(
    tmp_path: Path, bundle: Bundle, stored: bytes, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = changed(stored, tmp_path / "kept.npz", change)
    with pytest.raises(CalibrationError) as caught:
        load_outputs(path, bundle)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_array_whose_name_is_damaged_is_not_left_out(tmp_path: Path, bundle: Bundle, stored: bytes) -> None:
    at, path = stored.rindex(b"logits.npy"), tmp_path / "kept.npz"  # the last one is in the directory
    path.write_bytes(stored[:at] + b"m" + stored[at + 1 :])
    with pytest.raises(CalibrationError, match=r"cannot read the outputs .*kept\.npz"):
        load_outputs(path, bundle)


def test_whatever_happens_to_the_file_it_is_read_or_refused(
    tmp_path: Path, bundle: Bundle, collected: Outputs, stored: bytes
) -> None:
    ends: Counter[str] = Counter()

    @EXAMPLES
    @given(content=damaged(stored, tail=900))
    def read_damaged(content: bytes) -> None:
        path = tmp_path / "kept.npz"
        path.write_bytes(content)
        try:
            found = load_outputs(path, bundle)
        except CalibrationError as error:
            assert str(path) in str(error)
            ends["error"] += 1
        else:
            assert same(found, collected)
            ends["same"] += 1

    read_damaged()
    assert ends["error"] > 200, ends
    assert ends["same"] > 10, ends


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_compressed_outputs_that_are_damaged_are_refused(
    tmp_path: Path, bundle: Bundle, stored: bytes, compression: int
) -> None:
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = bytearray(bundles.packed(tmp_path / "kept.npz", members, compression).read_bytes())
    start = content.index(b"fp32_logits.npy") + 60
    content[start : start + 40] = bytes(40)
    (tmp_path / "kept.npz").write_bytes(content)
    with pytest.raises(CalibrationError, match=r"cannot read the outputs .*kept\.npz"):
        load_outputs(tmp_path / "kept.npz", bundle)


def test_shapes_are_those_of_exit_arrays(collected: Outputs) -> None:
    for arrays in collected.precisions.values():
        assert isinstance(arrays, ExitArrays)
        assert arrays.logits.shape == (IMAGES, 3, 3)
        assert arrays.gates.shape == (IMAGES, 2)
