"""Map jobs: one worker makes one map at a time, the rest wait; all of it survives a restart of the service."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError, GFNetDynnError, require_extra
from gfnet_dynn.progress import OnProgress
from gfnet_dynn.service.job_record import RESULTS, JobFolder, JobRecord, MapOptions, now
from gfnet_dynn.service.job_settings import BundleFor, JobSettings
from gfnet_dynn.service.job_shelf import JobShelf
from gfnet_dynn.service.job_upload import SceneUpload
from gfnet_dynn.service.problems import ServiceError
from gfnet_dynn.system.storage import one_at_a_time, require_writable
from gfnet_dynn.wording import counted

_LOG = logging.getLogger(__name__)
_LONGEST_NAME = 200  # characters of a scene's name that are kept
_EXPIRY_S = 30.0  # between looks for jobs to remove, where nothing happens
_RETRY_S = (5, 600)  # least and most seconds that a client is asked to wait
_OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"


class _Stopped(Exception):  # noqa: N818 # no error: unwinds a map that nobody wants, or that goes on after a restart
    pass


class JobStore:
    """Map jobs in a folder, and the thread that works on them while the store is open, as a context manager.

    Open and close it in one thread; everything else may be called from any. Records that it returns are snapshots.
    """

    def __init__(self, settings: JobSettings, bundle_for: BundleFor) -> None:
        """Nothing is done until the store is opened."""
        self.settings, self._bundle_for = settings, bundle_for
        self._changed = threading.Condition(threading.RLock())
        self._shelf = JobShelf(Path())
        self._uploads: dict[str, SceneUpload] = {}
        self._waiting: deque[str] = deque()
        self._is_open = False
        self._seconds = 0.0  # that the last job took
        self._resources = ExitStack()
        self._thread = threading.Thread(target=self._work, name="map jobs", daemon=True)

    def __enter__(self) -> Self:
        """Take up what an earlier service left, and begin to work.

        Raises:
            BusyError: another service has the same folder.
            StorageError: nothing can be written there.
        """
        with ExitStack() as stack:
            self._shelf = JobShelf(self._open_folder(stack))
            self._waiting.extend(self._shelf.take_up())
            self._resources = stack.pop_all()
        self._is_open = True
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop within a block of the map that is being made; it goes on when a store is opened in the same folder."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._resources.close()

    def _open_folder(self, stack: ExitStack) -> Path:
        if self.settings.folder is None:
            made = tempfile.TemporaryDirectory(prefix="gfnet-dynn-jobs-", ignore_cleanup_errors=True)
            return Path(stack.enter_context(made)).resolve()
        folder = require_writable(self.settings.folder).resolve()
        stack.enter_context(one_at_a_time(folder / "jobs", wait=False))
        return folder

    def jobs(self) -> list[JobRecord]:
        """All jobs, the newest first."""
        with self._changed:
            return sorted(self._shelf.records.values(), key=lambda each: each.created, reverse=True)

    def job(self, job_id: str) -> JobRecord:
        """One job; raises ServiceError: there is none of that id."""
        with self._changed:
            if job_id in self._shelf.records:
                return self._shelf.records[job_id]
        detail = "there is no job of that id: it was removed, or never existed; GET /jobs lists all"
        raise ServiceError(404, "no such job", detail, uri=f"{_OGC}/no-such-job")

    def finished_job(self, job_id: str) -> JobRecord:
        """One job whose results are there; raises ServiceError: there are none, or not yet."""
        record = self.job(job_id)
        if record.status == "failed":
            raise ServiceError(422, "the job failed", record.message)
        if record.status != "successful":
            detail = f"the job is {record.status}, and only a successful one has results; GET /jobs/{job_id} tells"
            raise ServiceError(404, "no results", detail, uri=f"{_OGC}/result-not-ready")
        return record

    def result_file(self, job_id: str, name: str) -> tuple[Path, str]:
        """Path and media type of a result by its file name; raises ServiceError: no such job or file."""
        record = self.finished_job(job_id)
        for key, (known, media_type) in RESULTS.items():
            file = self._shelf.folder_of(record.id).result(key)
            if name == known and file.is_file():
                return file, media_type
        known_names = ", ".join(known for known, _ in RESULTS.values())
        raise ServiceError(404, "no such result", f"the job has no result of that name, but {known_names}")

    @contextmanager
    def upload(self, announced_bytes: int | None = None) -> Iterator[SceneUpload]:
        """Room for one scene, which is removed at the end unless it was submitted.

        Args:
            announced_bytes: size that the client states, so that it is refused before it sends.

        Raises:
            MissingExtraError: rasterio is not installed.
            ServiceError: the scene is too large (413), too many jobs wait (429), or the service ends (503).
            StorageError: no permission or no space.
        """
        require_extra("mapping a scene", "geo")
        self._require_size(announced_bytes or 0)
        upload = self._begin_upload()
        try:
            yield upload
        finally:
            upload.close()
            with self._changed:
                del self._uploads[upload.id]
            if not upload.is_submitted:
                shutil.rmtree(upload.folder.path, ignore_errors=True)

    def _begin_upload(self) -> SceneUpload:
        with self._changed:
            self._require_open()
            if len(self._waiting) + len(self._uploads) >= self.settings.waiting:
                detail = f"{counted(len(self._waiting), 'map')} wait already: try again later"
                raise ServiceError(429, "too many jobs", detail, self._retry_after())
            job_id = secrets.token_hex(16)
            upload = self._uploads[job_id] = SceneUpload(job_id, self._shelf.folder_of(job_id), self._take_room)
            return upload

    def _require_open(self) -> None:
        if not self._is_open:
            raise ServiceError(503, "the service ends", "no more jobs are taken: try again when it has started", 10)

    def _require_size(self, scene_bytes: int) -> None:
        if scene_bytes > self.settings.scene_bytes:
            limit = f"{self.settings.scene_bytes / 1e6:,.6g} MB"
            raise ServiceError(413, "scene too large", f"a scene may have up to {limit}: cut it, or compress it")

    def _retry_after(self) -> int:
        least, most = _RETRY_S
        return round(min(most, max(least, self._seconds)))

    def _take_room(self, upload: SceneUpload, size: int) -> None:
        """Count `size` more bytes of an upload; where there is no room for them, finished jobs make room."""
        with self._changed:
            self._require_size(upload.bytes + size)
            arriving = sum(each.bytes for each in self._uploads.values()) + size
            if not self._shelf.make_room(self.settings.total_bytes - arriving):
                raise ServiceError(429, "no room", "scenes that wait take all room: try later", self._retry_after())
            upload.bytes += size

    def submit(self, upload: SceneUpload, options: MapOptions, name: str) -> JobRecord:
        """Make a job of a scene that has arrived, if it can be mapped.

        Args:
            upload: the whole scene.
            options: of the map.
            name: of the scene, for display only.

        Raises:
            DataError: nothing arrived, or opening the scene shows that it cannot be mapped.
            GFNetDynnError: as `bundle_for` and `job_map.check_scene` say.
            ServiceError: the service ends.
        """
        shown = printable(name)[:_LONGEST_NAME] or "scene.tif"
        upload.finish()
        if not upload.bytes:
            raise DataError("nothing arrived: send a GeoTIFF as the body, or in the field `scene`")
        with _for_client(upload.folder, shown):
            self._check(upload.folder, options)
        record = JobRecord(id=upload.id, name=shown, options=options, created=now())
        with self._changed:
            self._require_open()
            self._shelf.add(record, upload.bytes)
            upload.is_submitted = True
            self._waiting.append(record.id)
            self._changed.notify_all()
        return record

    def _check(self, folder: JobFolder, options: MapOptions) -> None:
        from gfnet_dynn.service.job_map import check_scene  # noqa: PLC0415 # needs the extra geo

        check_scene(folder.request(options, self.settings, self._bundle_for(options.model)), self.settings)

    def dismiss(self, job_id: str) -> JobRecord:
        """Cancel a job that waits or runs, which stays listed without files; remove one that has ended.

        Returns its record with the status `dismissed`; raises ServiceError: there is none of that id.
        """
        with self._changed:
            record = self.job(job_id)
            if record.finished is not None:
                self._shelf.remove(job_id)
                return replace(record, status="dismissed")
            if job_id in self._waiting:
                self._waiting.remove(job_id)
            self._shelf.finish(job_id, status="dismissed", message="cancelled")
            return self._shelf.records[job_id]

    def _work(self) -> None:
        while (record := self._next()) is not None:
            try:
                self._map(record)
            except _Stopped:
                self._set_down(record.id)
            except GFNetDynnError as error:
                self._fail(record, str(error))
            except Exception:
                _LOG.exception("map job %s", record.id)
                self._fail(record, "a fault of the service, which its log describes: tell its owner")

    def _next(self) -> JobRecord | None:
        """The next job, waited for; None: the store was closed."""
        with self._changed:
            self._shelf.let_go()
            while self._is_open:
                self._shelf.expire(self.settings.keep_jobs, self.settings.keep_seconds)
                if self._waiting:
                    self._shelf.working = job_id = self._waiting.popleft()
                    record = self._shelf.records[job_id]
                    began = record.started or now()
                    return self._shelf.change(job_id, status="running", started=began, starts=record.starts + 1)
                self._changed.wait(_EXPIRY_S)
        return None

    def _map(self, record: JobRecord) -> None:
        require_extra("mapping a scene", "geo")
        from gfnet_dynn.service.job_map import make_map  # noqa: PLC0415 # needs the extra

        folder, began = self._shelf.folder_of(record.id), now()
        request = folder.request(record.options, self.settings, self._bundle_for(record.options.model))
        summary = make_map(request, self._progress_of(record.id))
        notes = tuple(folder.for_client(note, record.name) for note in summary.notes)
        with self._changed:
            self._seconds = (now() - began).total_seconds()
            summary = replace(summary, notes=notes)
            self._shelf.finish(record.id, status="successful", progress=100, message="", summary=summary)

    def _progress_of(self, job_id: str) -> OnProgress:
        """Notes how far the job is; stops it where it was cancelled or the store is closed."""
        records, before = self._shelf.records, list[int]()

        def on_progress(title: str, done: int, total: int) -> None:
            with self._changed:
                record = records.get(job_id)
                if not self._is_open or record is None or record.finished is not None:
                    raise _Stopped
                before.append(done)
                share = min(99, 100 * done // max(1, total))  # the files are written after the last block
                message = f"{title}: {done:,} of {counted(total, 'block')}"
                records[job_id] = replace(record, progress=share, message=message)
                if record.starts and done > before[0]:
                    self._shelf.change(job_id, starts=0)

        return on_progress

    def _set_down(self, job_id: str) -> None:
        """A job that was stopped waits for the next service, unless it was cancelled."""
        with self._changed:
            record = self._shelf.records.get(job_id)
            if record is not None and record.finished is None:
                self._shelf.change(job_id, status="accepted", message="", starts=max(0, record.starts - 1))

    def _fail(self, record: JobRecord, message: str) -> None:
        with self._changed:
            shown = self._shelf.folder_of(record.id).for_client(message, record.name)
            self._shelf.finish(record.id, status="failed", message=shown)


@contextmanager
def _for_client(folder: JobFolder, name: str) -> Iterator[None]:
    """Errors inside speak of the client's scene and parameters, see `JobFolder.for_client`."""
    try:
        yield
    except GFNetDynnError as error:
        error.args = (folder.for_client(str(error), name), *error.args[1:])
        raise
