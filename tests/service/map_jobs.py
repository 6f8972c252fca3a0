"""A store of map jobs with the tiny bundle, and ways to hold its worker and to wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gfnet_dynn.errors import OptionError
from gfnet_dynn.geo.journal import Journal, Record
from gfnet_dynn.service.job_record import JobRecord, MapOptions
from gfnet_dynn.service.job_settings import JobSettings
from gfnet_dynn.service.jobs import JobStore
from tests import bundles
from tests.geo.scenes import pixels, write_scene

PATIENCE_S = 60.0  # a test that waits longer has failed
UNITS, SMALL_UNITS = 35, 4  # blocks of the large and of the small scene


def make_bundle(folder: Path) -> Path:
    return bundles.write_tiny(folder / "tiny.gfd", policies=(*bundles.POLICIES, bundles.CALIBRATED))


def small_scene(folder: Path, **changes: Any) -> bytes:
    return write_scene(folder / "small.tif", pixels(70, 90), **changes).read_bytes()


def large_scene(folder: Path) -> bytes:
    """Of so many units that work on it can be stopped in the middle."""
    return write_scene(folder / "large.tif", pixels(300, 420)).read_bytes()


def make_store(bundle: Path, folder: Path | None = None, **settings: Any) -> JobStore:
    """A store that knows one model, `tiny`."""

    def bundle_for(model: str | None) -> Path:
        if model not in (None, "tiny"):
            raise OptionError(f"there is no model {model!r}; known: tiny")
        return bundle

    return JobStore(JobSettings(**{"folder": folder, "precision": "fp32", "threads": 1, **settings}), bundle_for)


def submit(store: JobStore, scene: bytes, name: str = "field.tif", **options: Any) -> str:
    with store.upload(len(scene)) as upload:
        upload.write(scene[:1000])
        upload.write(scene[1000:])
        return store.submit(upload, MapOptions(**options), name).id


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def is_worked_on(store: JobStore, job_id: str) -> bool:
    with store._changed:
        return store._shelf.working == job_id


def ended(store: JobStore, job_id: str) -> JobRecord:
    """The record of a job, when its worker is done with it."""
    wait_until(lambda: store.job(job_id).finished is not None and not is_worked_on(store, job_id))
    return store.job(job_id)


def place_of(store: JobStore, job_id: str) -> Path:
    return store._shelf.folder_of(job_id).path


def list_files(store: JobStore, job_id: str, below: str = ".") -> set[str]:
    """Names of the files of a job."""
    return {path.name for path in (place_of(store, job_id) / below).rglob("*") if path.is_file()}


class Hold:
    """Lets the worker write so many blocks, then holds it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
        self.reached, self._go_on, self.written = threading.Event(), threading.Event(), 0
        write = Journal.write

        def held(journal: Journal, index: int, record: Record) -> None:
            if self.written == blocks:
                self.reached.set()
                assert self._go_on.wait(PATIENCE_S)
            self.written += 1
            write(journal, index, record)

        monkeypatch.setattr(Journal, "write", held)

    def wait(self) -> None:
        assert self.reached.wait(PATIENCE_S)

    def release(self) -> None:
        self._go_on.set()
