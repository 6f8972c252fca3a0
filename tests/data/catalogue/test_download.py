from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gfnet_dynn.data.catalogue import configs
from gfnet_dynn.data.catalogue.configs import DATASET_CONFIG, DatasetConfig, find_dataset
from gfnet_dynn.data.catalogue.download import ARCHIVES_FOLDER, DataDownloadResult, download_dataset
from gfnet_dynn.data.folders import scan_folders
from gfnet_dynn.data.request import DataDownloadRequest
from gfnet_dynn.errors import DataError, DownloadError, StorageError
from gfnet_dynn.progress import OnStep
from tests.data.hub import Hub, serve
from tests.data.small_sets import address, archive_of, known_set, scene_zip, write_picture

CONTENT = scene_zip()
CONFIG = DatasetConfig(num_classes=2, default_input_size=8)


def configure(monkeypatch: pytest.MonkeyPatch, name: str, config: DatasetConfig) -> None:
    monkeypatch.setattr(configs, "DATASET_CONFIG", {**DATASET_CONFIG, name: config})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setitem(configs.known_sets(), "Scenes", known_set(CONTENT))
    configure(monkeypatch, "Scenes", CONFIG)
    with serve({address(): CONTENT}) as running:
        yield running


def get(hub: Hub, folder: Path, *, split_ratio: float | None = None, seed: int = 0) -> dict[str, int]:
    done = download_dataset(request(folder, split_ratio=split_ratio, seed=seed), endpoint=hub.endpoint)
    assert done.path == folder / "Scenes"
    return done.images


def request(folder: Path, name: str = "scenes", **more: Any) -> DataDownloadRequest:
    return DataDownloadRequest(name=name, to=folder, **more)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_facts_cover_every_data_set_of_the_configuration() -> None:
    assert set(configs.known_sets()) >= set(DATASET_CONFIG)
    for name, known in configs.known_sets().items():
        classes = find_dataset(name)[1].num_classes
        least, most = known.images_per_class
        assert least * classes <= known.images <= most * classes
        if known.archive:
            assert len(known.archive.sha256) == 64
            assert len(known.archive.revision) == 40


def test_a_set_is_split_by_class_and_nothing_else_is_left(hub: Hub, tmp_path: Path) -> None:
    assert get(hub, tmp_path) == {"train": 8, "val": 2}
    train, val = scan_folders(tmp_path / "Scenes/train"), scan_folders(tmp_path / "Scenes/val")
    assert train.classes == val.classes == ("class00", "class01")
    assert not {path for path, _ in train.files} & {path for path, _ in val.files}
    assert visible(tmp_path) == [ARCHIVES_FOLDER, "Scenes"]
    origin = json.loads((tmp_path / "Scenes/origin.json").read_text())
    assert origin["sha256"] == archive_of(CONTENT).sha256
    assert (origin["split_ratio"], origin["seed"]) == (0.8, 0)


def test_ratio_and_seed_make_the_split(hub: Hub, tmp_path: Path) -> None:
    assert get(hub, tmp_path / "a", split_ratio=0.4) == {"train": 4, "val": 6}
    get(hub, tmp_path / "b", split_ratio=0.4)
    get(hub, tmp_path / "c", split_ratio=0.4, seed=1)
    a, b, c = (scan_folders(tmp_path / name / "Scenes/train").files for name in "abc")
    assert a == b
    assert a != c


def test_a_set_for_a_random_split_is_one_folder_of_classes(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, train_folder=".", val_folder=".", use_random_split=True)
    configure(monkeypatch, "Scenes", config)
    assert get(hub, tmp_path) == {"all": 10}
    assert scan_folders(tmp_path / "Scenes").classes == ("class00", "class01")
    with pytest.raises(DataError, match="--split-ratio"):
        get(hub, tmp_path, split_ratio=0.5)


def test_a_set_that_is_there_is_left_as_it_is(hub: Hub, tmp_path: Path) -> None:
    get(hub, tmp_path)
    again = download_dataset(request(tmp_path, split_ratio=0.2), endpoint="http://127.0.0.1:1")
    assert (again.fetched, again.images) == (False, {"train": 8, "val": 2})


def test_an_empty_folder_in_its_place_is_used(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "Scenes").mkdir()
    assert get(hub, tmp_path) == {"train": 8, "val": 2}


def test_other_content_in_its_place_is_not_touched(hub: Hub, tmp_path: Path) -> None:
    mine = write_picture(tmp_path / "Scenes/train/class00/mine.png", 0)
    with pytest.raises(DownloadError, match="nothing was changed"):
        get(hub, tmp_path)
    assert mine.is_file()
    assert hub.asked == []


def test_a_file_in_its_place_is_not_touched(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "Scenes").write_text("mine")
    with pytest.raises(DownloadError, match="0 of 10 images"):
        get(hub, tmp_path)


def test_content_that_comes_in_between_is_not_touched(hub: Hub, tmp_path: Path) -> None:
    def interfere(stage: str, done: int, total: int) -> None:
        (tmp_path / "Scenes").mkdir(exist_ok=True)
        (tmp_path / "Scenes/mine.txt").write_text("mine")

    with pytest.raises(StorageError, match="Scenes"):
        download_dataset(request(tmp_path), endpoint=hub.endpoint, on_progress=interfere)
    assert visible(tmp_path / "Scenes") == ["mine.txt"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_the_archive_but_no_half_set(
    hub: Hub, tmp_path: Path, fault: type[BaseException]
) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "Unpacking" and done == 4:
            raise fault

    with pytest.raises(fault):
        download_dataset(request(tmp_path), endpoint=hub.endpoint, on_progress=interrupt)
    assert visible(tmp_path) == [ARCHIVES_FOLDER]
    assert get(hub, tmp_path) == {"train": 8, "val": 2}
    assert hub.asked == [None]


def test_a_traversal_in_the_archive_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = scene_zip(extra={"../evil.png": b"x"})
    monkeypatch.setitem(configs.known_sets(), "Scenes", known_set(evil))
    configure(monkeypatch, "Scenes", CONFIG)
    with serve({address(): evil}) as hub, pytest.raises(DownloadError, match="evil"):
        get(hub, tmp_path / "data")
    assert visible(tmp_path) == ["data"]
    assert visible(tmp_path / "data") == [ARCHIVES_FOLDER]


def test_an_archive_with_other_counts_is_refused(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configs.known_sets(), "Scenes", known_set(CONTENT, images=12, per_class=6))
    with pytest.raises(DownloadError, match=r"10 images .* 12"):
        get(hub, tmp_path)
    assert visible(tmp_path) == [ARCHIVES_FOLDER]


def test_a_bad_ratio_is_refused_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="share"):
        get(hub, tmp_path, split_ratio=1.5)
    assert hub.asked == []


@pytest.mark.parametrize(("name", "origin"), [("NaSC", "JSTARS"), ("Mine", "its source")])
def test_a_set_that_cannot_be_fetched_names_its_source_and_place(
    name: str, origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, "Mine", DATASET_CONFIG["NaSC"])
    with pytest.raises(DownloadError, match=rf"{origin}.*{name}/CLASS/.*gfnet-dynn data check {name}"):
        download_dataset(request(tmp_path, name))


def test_synthetic_scenes_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(root: Path, *, seed: int, on_step: OnStep) -> Path:
        for label in ("class00", "class01"):
            write_picture(root / f"train/{label}/{seed}.png", 0)
        on_step(1, 1)
        return root

    monkeypatch.setattr("gfnet_dynn.data.catalogue.download.write_synthetic", write)
    configure(monkeypatch, "SyntheticScenes", CONFIG)
    first, again = (download_dataset(request(tmp_path, "SyntheticScenes", seed=3)) for _ in range(2))
    assert (first.fetched, again.fetched) == (True, False)
    assert first.images == {"train": 2}
    with pytest.raises(DataError, match="--split-ratio"):
        download_dataset(request(tmp_path, "SyntheticScenes", split_ratio=0.5))


def test_the_result_is_a_table_with_the_licence() -> None:
    result = DataDownloadResult("Scenes", Path("data/Scenes"), {"train": 8, "val": 2}, True, "public domain")
    assert result.tables()[0].rows == (("train", "8"), ("val", "2"))
    assert "public domain" in result.to_markdown()
