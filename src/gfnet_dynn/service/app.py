"""The application: models, routes, limits and the page."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from gfnet_dynn import __version__
from gfnet_dynn.benchmark.energy_use import find_meters
from gfnet_dynn.errors import has_extra
from gfnet_dynn.service.answers import problems
from gfnet_dynn.service.classify_routes import classify_router
from gfnet_dynn.service.energy import energy_totals
from gfnet_dynn.service.error_answers import add_error_answers, answer_of
from gfnet_dynn.service.inference_routes import inference_router
from gfnet_dynn.service.job_routes import job_router
from gfnet_dynn.service.job_settings import JobSettings
from gfnet_dynn.service.jobs import JobStore
from gfnet_dynn.service.limits import Access, App, BodyLimit, Limits, Message, Receive, Scope, Send, local_names
from gfnet_dynn.service.metrics import Metrics
from gfnet_dynn.service.openapi import describe_api
from gfnet_dynn.service.operation_routes import operation_router
from gfnet_dynn.service.problems import ServiceError
from gfnet_dynn.service.registry import Registry
from gfnet_dynn.service.request import ServeRequest
from gfnet_dynn.service.scene_body import FORM_OVERHEAD
from gfnet_dynn.service.served_model import now

PAGE = Path(__file__).with_name("page")
_SECURITY = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SCENES = 4  # as many of the largest, with their maps, as may lie on the disk
_DESCRIPTION = """Classifies aerial and satellite scenes with early exits. A deadline or a full queue lowers the exit
before a request is rejected, and every answer says whether its guarantee still holds."""


class Service:
    """The application and what must be closed after it."""

    def __init__(self, request: ServeRequest) -> None:
        """Load all models.

        Raises:
            GFNetDynnError: a bundle or option that cannot be used.
        """
        token = request.secret()
        self.registry = Registry(request)
        self._are_builtin = not request.bundles
        self._decoders = ThreadPoolExecutor(max(1, (os.cpu_count() or 2) // 2), "decoder")
        metrics = Metrics(self.registry, energy_totals(find_meters()[0]))
        api = FastAPI(
            title="GFNet-Dynn",
            version=__version__,
            description=_DESCRIPTION,
            lifespan=self._lifespan,
            docs_url=None,  # its page loads scripts from elsewhere; any viewer reads /openapi.json
            redoc_url=None,
        )
        api.include_router(classify_router(self.registry, self._decoders, request.max_images))
        api.include_router(inference_router(self.registry, self._decoders, request.max_images))
        api.include_router(operation_router(self.registry, metrics, maps=request.maps and has_extra("geo")))
        self._jobs: JobStore | None = None
        scene_bytes = request.max_scene + FORM_OVERHEAD
        if request.maps:
            self._jobs = JobStore(_job_settings(request), self._bundle_for)
            api.include_router(job_router(self._jobs), responses=problems(401, 403, 421))
        _add_page(api)
        add_error_answers(api)
        describe_api(api)
        names = (*request.allowed_host, socket.gethostname())
        hosts = local_names(names) if request.is_local or token is None else frozenset[str]()
        body, scene = BodyLimit(request.max_body, request.upload_s), BodyLimit(scene_bytes, request.scene_upload_s)
        access = Access(token, hosts, request.allowed_host, request.concurrency, body, scene)
        self.app: App = _Observed(Limits(api, access, _refuse), metrics)

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        with self._jobs or nullcontext():
            yield
        self.close()

    def _bundle_for(self, name: str | None) -> Path | None:
        """The bundle that maps with a model's name; without one, the built-in model that suits the scene, or ours."""
        if name is None and not self._are_builtin:
            name = self.registry.names[0]
        if name is None:
            return None
        with self.registry.use(name) as served:
            return served.path

    def close(self) -> None:
        """Finish what was accepted; may be called again."""
        self.registry.close()
        self._decoders.shutdown()


def _job_settings(request: ServeRequest) -> JobSettings:
    return JobSettings(
        folder=request.jobs,
        scene_bytes=request.max_scene,
        total_bytes=_SCENES * request.max_scene,
        upload_seconds=request.scene_upload_s,
        engine=request.engine,
        precision=request.precision,
        threads=1,  # beside the classification, which has the others
    )


def _add_page(api: FastAPI) -> None:
    @api.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    api.mount("/page", StaticFiles(directory=PAGE), name="page")


def _refuse(error: ServiceError) -> App:
    return answer_of(error)


class _Observed:
    """Times every request, and adds the headers that browsers heed."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = now(), HTTPStatus.INTERNAL_SERVER_ERROR.value

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), *_SECURITY]}
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            route = scope.get("route")
            self._metrics.observe(getattr(route, "path", "other"), status, now() - began)
