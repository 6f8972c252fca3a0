"""The routes of map jobs, in the manner of OGC API Processes, part 1."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from anyio import CancelScope
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from gfnet_dynn.service.answers import problems
from gfnet_dynn.service.job_models import (
    JobList,
    JobResults,
    MapQuery,
    StatusInfo,
    job_list,
    job_results,
    status_info,
)
from gfnet_dynn.service.job_record import RESULTS
from gfnet_dynn.service.job_upload import SceneUpload
from gfnet_dynn.service.jobs import JobStore
from gfnet_dynn.service.scene_body import (
    FIELD,
    FORM_TYPE,
    RAW_TYPES,
    announced_bytes,
    receive_scene,
    require_media_type,
)

_BINARY = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "content": {
        **{kind: {"schema": _BINARY} for kind in RAW_TYPES},
        FORM_TYPE: {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _BINARY}}},
    },
}
_LOCATION = {"description": "The job.", "headers": {"Location": {"schema": {"type": "string"}}}}
_FILE = {
    "description": "The file; a part of it where the request has a range.",
    "content": {kind: {"schema": _BINARY} for _, kind in RESULTS.values()},
}
_NO_RANGE = {"description": "The file is shorter.", "content": {"text/plain": {"schema": {"type": "string"}}}}


def job_router(store: JobStore) -> APIRouter:
    """The routes of a store, which the application opens before the first request and closes after the last.

    Errors are raised: `ServiceError` and other `GFNetDynnError`; the application makes problems of them.
    """
    routes, router = _JobRoutes(store), APIRouter(tags=["maps"])
    created = {201: _LOCATION, **problems(400, 404, 408, 413, 415, 422, 429, 501, 503)}
    body = {"requestBody": _BODY}
    router.post("/map", status_code=201, responses=created, openapi_extra=body)(routes.create_map)
    router.get("/jobs")(routes.list_jobs)
    router.get("/jobs/{job_id}", responses=problems(404, 422))(routes.show_job)
    router.delete("/jobs/{job_id}", responses=problems(404, 422))(routes.dismiss_job)
    router.get("/jobs/{job_id}/results", responses=problems(404, 422))(routes.show_results)
    files = {200: _FILE, 206: _FILE, 416: _NO_RANGE, **problems(404, 422)}
    router.get("/jobs/{job_id}/results/{file}", response_class=FileResponse, responses=files)(routes.send_result)
    return router


class _JobRoutes:
    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def create_map(self, request: Request, response: Response, query: Annotated[MapQuery, Query()]) -> StatusInfo:
        """Send a GeoTIFF, and begin a job that maps its classes.

        A scene that cannot be mapped is refused at once where opening it shows that; otherwise the job fails.
        """
        require_media_type(request)
        async with self._uploading(announced_bytes(request)) as upload:
            sent = await receive_scene(request, upload, self._store.settings.upload_seconds)
            name = query.name or sent or "scene.tif"
            record = await run_in_threadpool(self._store.submit, upload, query.options(), name)
        response.headers["Location"] = f"/jobs/{record.id}"
        return status_info(record)

    @asynccontextmanager
    async def _uploading(self, size: int | None) -> AsyncIterator[SceneUpload]:
        """As `JobStore.upload`, without the wait for the disk; its room is given back even where this is cancelled."""
        upload = self._store.upload(size)
        with CancelScope(shield=True):
            entered = await run_in_threadpool(upload.__enter__)
        try:
            yield entered
        finally:
            with CancelScope(shield=True):
                await run_in_threadpool(upload.__exit__, None, None, None)

    def list_jobs(self) -> JobList:
        """All jobs, the newest first."""
        return job_list(self._store.jobs())

    def show_job(self, job_id: str) -> StatusInfo:
        """How far a job is."""
        return status_info(self._store.job(job_id))

    def dismiss_job(self, job_id: str) -> StatusInfo:
        """Cancel a job that waits or runs; remove one that has ended, with its results."""
        return status_info(self._store.dismiss(job_id))

    def show_results(self, job_id: str) -> JobResults:
        """What a successful job made: links to its files, and the areas of the classes."""
        return job_results(self._store.finished_job(job_id))

    def send_result(self, job_id: str, file: str) -> FileResponse:
        """One file of the results, by the name in its link."""
        path, media_type = self._store.result_file(job_id, file)
        safe = {"X-Content-Type-Options": "nosniff"}
        return FileResponse(
            path, media_type=media_type, filename=path.name, content_disposition_type="inline", headers=safe
        )
