"""The faster precision is timed once on a device and then remembered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.errors import BundleError
from gfnet_dynn.runtime import load, precision
from gfnet_dynn.runtime.engine import Engine, EngineOptions
from gfnet_dynn.runtime.precision import load_fastest, time_full_pass
from gfnet_dynn.runtime.segments import SegmentedNet
from tests import bundles
from tests.runtime.engines import ONE_THREAD, ONNXRUNTIME, Watched


class Stopwatch:
    """Takes the place of the timing: counts, and gives made-up times."""

    def __init__(self) -> None:
        self.used = 0
        self.times = {"fp32": 2.0, "int8": 1.0}

    def __call__(self, nets: Mapping[str, SegmentedNet]) -> dict[str, float]:
        self.used += 1
        return {name: self.times[name] for name in nets}


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    made = Stopwatch()
    monkeypatch.setattr(precision, "time_full_pass", made)
    return made


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return bundles.write_tiny(tmp_path / "tiny.gfd")


def chosen(path: Path, engine: Engine = ONNXRUNTIME, options: EngineOptions = ONE_THREAD) -> str:
    return load_fastest(read_bundle(path), engine, options).precision


def remembered(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.json"))


@pytest.mark.parametrize(("fp32", "fastest"), [(0.5, "fp32"), (2.0, "int8")])
def test_the_faster_precision_is_taken(stopwatch: Stopwatch, bundle: Path, fp32: float, fastest: str) -> None:
    stopwatch.times["fp32"] = fp32
    assert load(bundle, threads=1).net.precision == fastest
    assert stopwatch.used == 1


def test_it_is_timed_once_and_then_remembered(stopwatch: Stopwatch, bundle: Path, cache: Path) -> None:
    assert [load(bundle, threads=1).net.precision for _ in range(3)] == ["int8"] * 3
    assert stopwatch.used == 1
    (file,) = remembered(cache)
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert stored["fastest"] == "int8"
    assert stored["median_ms"] == {"fp32": 2.0, "int8": 1.0}
    assert stored["engine"] == ONNXRUNTIME.name


def test_what_is_remembered_decides(stopwatch: Stopwatch, bundle: Path, cache: Path) -> None:
    chosen(bundle)
    (file,) = remembered(cache)
    file.write_text('{"fastest": "fp32"}', encoding="utf-8")
    assert chosen(bundle) == "fp32"
    assert stopwatch.used == 1


def test_only_the_remembered_precision_is_compiled(stopwatch: Stopwatch, bundle: Path) -> None:
    chosen(bundle, Watched())
    watched = Watched()
    chosen(bundle, watched)
    assert len(watched.seen) == bundles.STAGES


def test_another_bundle_engine_or_number_of_threads_is_timed_anew(
    stopwatch: Stopwatch, bundle: Path, cache: Path
) -> None:
    class Newer(Watched):
        @property
        def name(self) -> str:
            return "onnxruntime 99"

    other = bundles.write_tiny(bundle.with_name("other.gfd"), provenance={})
    chosen(bundle)
    chosen(other)
    chosen(bundle, Newer())
    chosen(bundle, options=EngineOptions(threads=2))
    assert stopwatch.used == len(remembered(cache)) == 4
    bundle.rename(bundle.with_name("renamed.gfd"))
    chosen(bundle.with_name("renamed.gfd"))
    assert stopwatch.used == 4


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"fastest": "fp16"}',
        b'{"fastest": null}',
        b'{"fastest": ["int8"]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_memory_is_timed_anew_and_mended(
    stopwatch: Stopwatch, bundle: Path, cache: Path, damage: bytes
) -> None:
    chosen(bundle)
    (file,) = remembered(cache)
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert chosen(bundle) == "int8"
    assert stopwatch.used == 2
    assert file.read_bytes() == whole


def test_a_folder_in_the_place_of_the_memory_is_no_error(stopwatch: Stopwatch, bundle: Path, cache: Path) -> None:
    chosen(bundle)
    (file,) = remembered(cache)
    file.unlink()
    file.mkdir()
    assert [chosen(bundle), chosen(bundle)] == ["int8", "int8"]
    assert stopwatch.used == 3


def test_a_cache_that_cannot_be_written_is_no_error(stopwatch: Stopwatch, bundle: Path, cache: Path) -> None:
    cache.write_text("in the way", encoding="utf-8")
    assert [chosen(bundle), chosen(bundle)] == ["int8", "int8"]
    assert stopwatch.used == 2
    assert cache.read_text(encoding="utf-8") == "in the way"


def test_the_cache_is_in_the_home_unless_told_otherwise(
    stopwatch: Stopwatch, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unset in (monkeypatch.delenv, lambda name: monkeypatch.setenv(name, "")):
        unset("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        chosen(bundle)
        assert len(remembered(tmp_path / "home" / ".cache" / "gfnet-dynn")) == 1
    assert stopwatch.used == 1


def test_a_user_without_a_home_is_no_error(stopwatch: Stopwatch, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", homeless)
    assert [chosen(bundle), chosen(bundle)] == ["int8", "int8"]
    assert stopwatch.used == 2


def test_what_the_bundle_does_not_allow_is_neither_timed_nor_taken(
    stopwatch: Stopwatch, bundle: Path, cache: Path
) -> None:
    chosen(bundle)
    (file,) = remembered(cache)
    bundles.write_tiny(bundle, auto_precisions=("fp32",))
    assert load(bundle, threads=1).net.precision == "fp32"
    assert stopwatch.used == 1
    assert load(bundle, precision="int8", threads=1).net.precision == "int8"
    assert remembered(cache) == [file]


def test_a_remembered_precision_that_is_not_allowed_is_timed_anew(
    stopwatch: Stopwatch, bundle: Path, cache: Path
) -> None:
    chosen(bundle)
    (file,) = remembered(cache)
    file.write_text('{"fastest": "fp16"}', encoding="utf-8")
    assert chosen(bundle) == "int8"
    assert stopwatch.used == 2


def test_a_bundle_of_one_precision_is_not_timed(stopwatch: Stopwatch, bundle: Path, cache: Path) -> None:
    bundles.write_tiny(bundle, bundles.files(fp32=bundles.segments()))
    assert chosen(bundle) == "fp32"
    assert stopwatch.used == 0
    assert not cache.exists()


def test_a_precision_that_is_asked_for_is_not_timed(stopwatch: Stopwatch, bundle: Path) -> None:
    assert load(bundle, precision="fp32", threads=1).net.precision == "fp32"
    assert stopwatch.used == 0


def test_a_damaged_graph_is_found_though_the_other_precision_is_whole(stopwatch: Stopwatch, bundle: Path) -> None:
    content = bytearray(bundle.read_bytes())
    content[content.index(bundles.segments("int8")[1]) + 100] ^= 1
    bundle.write_bytes(content)
    with pytest.raises(BundleError, match=r"Bad CRC-32 for file 'int8/segment1\.onnx'"):
        chosen(bundle)
    assert load(bundle, precision="fp32", threads=1).classify(list(bundles.images(1)))


def test_timing_runs_one_image_through_all_stages_of_each_in_turns(bundle: Path) -> None:
    watched = {name: Watched() for name in ("fp32", "int8")}
    nets = {
        name: SegmentedNet(read_bundle(bundle).manifest, bundles.segments(name), name, engine)
        for name, engine in watched.items()
    }
    times = time_full_pass(nets)
    assert list(times) == ["fp32", "int8"]
    assert min(times.values()) > 0
    for engine in watched.values():
        assert engine.seen == [[1] * 6] * bundles.STAGES  # five rounds, and one before them
