"""Every error as a problem document."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from gfnet_dynn.errors import GFNetDynnError
from gfnet_dynn.service.problems import ServiceError, problem_of


def add_error_answers(api: FastAPI) -> None:
    """Answer whatever a route raises, and what no route takes."""

    @api.exception_handler(GFNetDynnError)
    async def ours(request: Request, error: GFNetDynnError) -> Response:
        return answer_of(error, request.url.path)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        parts = (f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors())
        return answer_of(ServiceError(422, "unusable option", "; ".join(parts)), request.url.path)

    @api.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase.lower()
        found = answer_of(ServiceError(error.status_code, title, _advice(error, request)), request.url.path)
        found.headers.update(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            found.headers["Allow"] = ", ".join(_methods(api, request.url.path))
        return found

    @api.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        detail = "a fault of the service, which its log describes"
        return answer_of(ServiceError(500, "internal error", detail), request.url.path)


def _methods(api: FastAPI, path: str) -> list[str]:
    """Those that apply to a path, over all routes: the router itself knows those of one."""
    paths = api.openapi()["paths"].items()
    return sorted(
        {method.upper() for known, methods in paths if compile_path(known)[0].match(path) for method in methods}
    )


def _advice(error: HTTPException, request: Request) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {request.url.path[:200]}: /openapi.json lists what there is"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} does not apply to {request.url.path[:200]}: see /openapi.json"
    return str(error.detail)


def answer_of(error: GFNetDynnError, path: str = "") -> Response:
    """The problem document of an error, with the member `error` where clients of the inference protocol look."""
    found = problem_of(error)
    headers = {}
    if isinstance(error, ServiceError) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if found["status"] == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    more = {"error": found["detail"]} if path.startswith("/v2") else {}
    content = msgspec.json.encode({**found, **more})
    return Response(content, found["status"], headers, media_type="application/problem+json")
