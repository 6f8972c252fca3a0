"""What is served, how it is doing, and reading it again."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from gfnet_dynn.service.answers import (
    ALWAYS,
    ModelInfo,
    ModelList,
    ReloadAnswer,
    ReloadedModel,
    StatusAnswer,
    problems,
)
from gfnet_dynn.service.metrics import Metrics
from gfnet_dynn.service.problems import ServiceError
from gfnet_dynn.service.registry import Registry
from gfnet_dynn.service.served_model import now

_METRICS = "text/plain; version=0.0.4; charset=utf-8"


def operation_router(registry: Registry, metrics: Metrics, *, maps: bool) -> APIRouter:
    """The routes for the models of a registry; `maps`: whether scenes can be mapped."""
    router, began = APIRouter(tags=["Operation"]), now()
    common = problems(*ALWAYS)

    @router.get("/models", summary="Models that are served", responses=common)
    async def models() -> ModelList:
        """Classes, exits with their time on this device, and policies with what they promise."""
        return ModelList(models=[ModelInfo(**each.describe()) for each in registry.models()], maps=maps)

    @router.get("/status", summary="Figures", responses=common)
    async def status() -> StatusAnswer:
        """Counts since the start; shares and times of the latest thousand answers; the state of each promise."""
        return StatusAnswer(uptime_s=now() - began, models={each.name: each.status() for each in registry.models()})

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **common},
    )
    async def prometheus() -> Response:
        """In Prometheus' text format."""
        return Response(metrics.text(), media_type=_METRICS)

    @router.post("/reload", summary="Read the bundles again", responses={**common, **problems(422)})
    async def reload() -> ReloadAnswer:
        """Replace each model whose file has changed, without losing a request; a test for a shift begins anew.

        A file that cannot be used is told with status 422; its model in memory goes on.
        """
        found = await run_in_threadpool(registry.reload)
        kept = [f"{name}: {each.detail}" for name, each in found.items() if each.state == "kept"]
        if kept:
            raise ServiceError(422, "unusable bundle", f"the models in memory go on; {'; '.join(kept)}")
        return ReloadAnswer(
            models={name: ReloadedModel(state=each.state, detail=each.detail) for name, each in found.items()}  # type: ignore[arg-type]
        )

    return router
