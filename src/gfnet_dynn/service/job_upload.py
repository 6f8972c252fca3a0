"""A scene on its way to disk, never whole in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from gfnet_dynn.errors import StorageError
from gfnet_dynn.service.job_record import JobFolder


class SceneUpload:
    """The file that a scene is written to.

    Attributes:
        id: of the job that it becomes.
        folder: of the job.
        bytes: that arrived.
        is_submitted: whether the files now belong to a job.
    """

    def __init__(self, job_id: str, folder: JobFolder, take_room: Callable[[SceneUpload, int], None]) -> None:
        self.id, self.folder, self.bytes, self.is_submitted = job_id, folder, 0, False
        self._take_room = take_room
        try:
            folder.make()
            self._file: BinaryIO = folder.scene.open("xb")
        except OSError as error:
            raise _not_stored(error) from error

    def write(self, content: bytes) -> None:
        """Add a piece.

        Raises:
            ServiceError: more than a scene may have (413), or than there is room for (429).
            StorageError: no space on the disk.
        """
        self._take_room(self, len(content))
        try:
            self._file.write(content)
        except OSError as error:
            raise _not_stored(error) from error

    def finish(self) -> None:
        """Put all of it on disk, so that a job that was promised survives a loss of power; raises StorageError."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _not_stored(error) from error

    def close(self) -> None:
        """Leave no file open."""
        with suppress(OSError):  # what was not written yet, of an upload that failed
            self._file.close()


def _not_stored(error: OSError) -> StorageError:
    return StorageError(f"the service cannot store the scene: {error.strerror}; try later, or tell its owner")
