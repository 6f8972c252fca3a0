"""`POST /classify`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from gfnet_dynn.errors import OptionError
from gfnet_dynn.runtime.request import parse_thresholds
from gfnet_dynn.service.answering import Answering
from gfnet_dynn.service.answers import ALWAYS, ClassifyAnswer, problems
from gfnet_dynn.service.classify_options import option_parameters, options_of
from gfnet_dynn.service.problems import ServiceError
from gfnet_dynn.service.registry import Registry
from gfnet_dynn.service.served_model import ServedModel, Wish
from gfnet_dynn.service.uploads import FIELD, Upload, read_images

_EVENTS = "text/event-stream"
_IMAGES = ("image/jpeg", "image/png", "image/tiff", "image/bmp", "image/webp")
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "type": "object",
    "required": [FIELD],
    "properties": {FIELD: {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}},
}
_BODY = {
    "requestBody": {
        "required": True,
        "description": f"One image, or a form with several in the field `{FIELD}`: JPEG, PNG, TIFF, BMP or WebP.",
        "content": {
            **dict.fromkeys(_IMAGES, _BINARY),
            "application/octet-stream": _BINARY,
            "multipart/form-data": {"schema": _FORM},
        },
    }
}


def classify_router(registry: Registry, decoders: Executor, most_images: int) -> APIRouter:
    """The route, for the models of a registry."""
    router = APIRouter(tags=["Classify"])

    @router.post(
        "/classify",
        response_model=ClassifyAnswer,
        response_model_exclude_unset=True,
        responses={
            200: {"content": {_EVENTS: {"schema": {"type": "string"}}}},
            **problems(*ALWAYS, 404, 415, 422, 429, 500),
        },
        openapi_extra={"parameters": option_parameters(), **_BODY},
        summary="Classify images",
    )
    async def classify(request: Request) -> Response:
        """Classify one image or several; those that cannot be read have a problem in their place.

        With the header `Accept: text/event-stream`, one image is answered exit by exit: events `exit`, then `answer`.
        """
        asked = options_of(request)
        uploads = await read_images(request, most_images)
        wish = Wish(asked.policy, _thresholds(asked.threshold), asked.deadline_s, asked.every_exit)
        if _EVENTS in request.headers.get("accept", ""):
            if len(uploads) != 1:
                raise ServiceError(422, "one image only", f"events are of one image, not of {len(uploads)}")
            use = registry.use(asked.model)
            return await _streamed(
                use, lambda served: Answering(served, wish, decoders, request.receive), uploads[0], asked.top
            )
        with registry.use(asked.model) as served:
            answering = Answering(served, wish, decoders, request.receive)
            answers = await answering.classify(uploads)
            if len(answers) == 1 and answers[0].error:
                raise answers[0].error
            predictions = [answering.described(each, asked.top) for each in answers]
            found = {"model": served.name, "digest": served.digest, "predictions": predictions}
        return Response(msgspec.json.encode(found), media_type="application/json")

    return router


async def _streamed(
    use: AbstractContextManager[ServedModel], answering: Callable[[ServedModel], Answering], upload: Upload, top: int
) -> Response:
    """Server-sent events; what can be refused is refused before they begin."""
    stack = ExitStack()
    with stack:
        events = await answering(stack.enter_context(use)).events(upload, top)
        held = stack.pop_all()  # until the last event

    async def lines() -> AsyncIterator[bytes]:
        with held:
            async for name, data in events:
                yield b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))

    return StreamingResponse(lines(), media_type=_EVENTS, headers={"Cache-Control": "no-store"})


def _thresholds(text: str | None) -> float | tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return parse_thresholds(text)
    except OptionError as error:
        raise ServiceError(422, "unusable option", str(error).replace("--threshold", "threshold")) from error
