"""The records and files of all map jobs, as they lie on disk; for use under the lock of the store."""

from __future__ import annotations

import logging
import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from gfnet_dynn.errors import StorageError
from gfnet_dynn.service.job_record import JobFolder, JobRecord, now

_LOG = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{32}")  # no other folder is ever touched
_MOST_STARTS = 3  # of a job without a finished block: it ends the process each time


class JobShelf:
    """Records by id, and their files.

    Attributes:
        records: of all jobs.
        working: the job that is worked on, whose files only its worker removes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.records: dict[str, JobRecord] = {}
        self.working: str | None = None
        self._bytes: dict[str, int] = {}

    def folder_of(self, job_id: str) -> JobFolder:
        """The files of a job."""
        return JobFolder(self._folder / job_id)

    def take_up(self) -> list[str]:
        """List the jobs of an earlier service; returned are those that it did not finish, the oldest first."""
        for path in self._folder.iterdir():
            if _ID.fullmatch(path.name) and path.is_dir():
                self._take_up_one(JobFolder(path))
        unfinished = [each for each in self.records.values() if each.finished is None]
        unfinished.sort(key=lambda each: each.created)
        return [each.id for each in unfinished if self._can_go_on(each)]

    def _take_up_one(self, folder: JobFolder) -> None:
        try:
            record = folder.read()
        except StorageError as error:
            _LOG.warning("a map job is left as it is: %s", error)
            return
        if record is None or record.id != folder.path.name:
            shutil.rmtree(folder.path, ignore_errors=True)  # an upload or a removal that was cut off
            return
        self.records[record.id], self._bytes[record.id] = record, folder.bytes()
        if record.finished is not None:
            self._strip(record)

    def _can_go_on(self, record: JobRecord) -> bool:
        if not self.folder_of(record.id).scene.is_file():
            self.finish(record.id, status="failed", message="its scene is gone: send it again")
            return False
        if record.starts >= _MOST_STARTS:
            message = f"the service ended {record.starts} times while it worked on this scene: send another"
            self.finish(record.id, status="failed", message=message)
            return False
        self.change(record.id, status="accepted", message="")
        return True

    def add(self, record: JobRecord, size: int) -> None:
        """A new job, whose files are there; raises StorageError."""
        self.folder_of(record.id).write(record)
        self.records[record.id], self._bytes[record.id] = record, size

    def change(self, job_id: str, **changes: Any) -> JobRecord:
        """A new record in place of the old one, on disk too where that is possible."""
        record = self.records[job_id] = replace(self.records[job_id], **changes)
        try:
            self.folder_of(job_id).write(record)
        except StorageError as error:  # the job itself goes on
            _LOG.warning("%s", error)
        return record

    def finish(self, job_id: str, **changes: Any) -> None:
        """End a job, unless it was cancelled or removed meanwhile."""
        record = self.records.get(job_id)
        if record is not None and record.finished is None:
            record = self.change(job_id, finished=now(), **changes)
            if job_id != self.working:
                self._strip(record)

    def let_go(self) -> None:
        """The worker is done with its job: remove what is needed no more."""
        job_id, self.working = self.working, None
        if job_id is None:
            return
        record = self.records.get(job_id)
        if record is None:
            shutil.rmtree(self.folder_of(job_id).path, ignore_errors=True)
        elif record.finished is not None:
            self._strip(record)

    def _strip(self, record: JobRecord) -> None:
        """Of a finished job, remove the scene, and the results too unless it was successful."""
        folder = self.folder_of(record.id)
        shutil.rmtree(folder.scene.parent, ignore_errors=True)
        if record.status != "successful":
            shutil.rmtree(folder.result("class").parent, ignore_errors=True)
        self._bytes[record.id] = folder.bytes()

    def remove(self, job_id: str) -> None:
        """Forget a finished job, and remove its files; where it is worked on, that is left to `let_go`."""
        del self.records[job_id], self._bytes[job_id]
        folder = self.folder_of(job_id)
        folder.forget()
        if job_id != self.working:
            shutil.rmtree(folder.path, ignore_errors=True)

    def _finished(self) -> list[JobRecord]:
        """Jobs that may be removed, the one that ended first before the others."""
        ended = [each for each in self.records.values() if each.finished is not None and each.id != self.working]
        return sorted(ended, key=lambda each: each.finished or each.created)

    def expire(self, keep_jobs: int, keep_seconds: float) -> None:
        """Remove finished jobs that are too many or too old."""
        finished, oldest = self._finished(), now() - timedelta(seconds=keep_seconds)
        for index, record in enumerate(finished):
            if index < len(finished) - keep_jobs or (record.finished or oldest) < oldest:
                self.remove(record.id)

    def make_room(self, size: int) -> bool:
        """Remove finished jobs, the oldest first, until all have at most `size` bytes; returns whether they have."""
        for record in self._finished():
            if sum(self._bytes.values()) <= size:
                break
            self.remove(record.id)
        return sum(self._bytes.values()) <= size
