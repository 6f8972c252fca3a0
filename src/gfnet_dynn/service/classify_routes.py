"""`POST /classify`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from gfnet_dynn.errors import OptionError
from gfnet_dynn.runtime.request import parse_thresholds
from gfnet_dynn.service.answering import Answering
from gfnet_dynn.service.answers import ALWAYS, ClassifyAnswer, problems
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

Model = Annotated[str | None, Query(description="Name of the model. Default: the first one of `GET /models`.")]
PolicyName = Annotated[str | None, Query(description="Exit policy. Default: the model's.", examples=["full"])]
Threshold = Annotated[
    str | None,
    Query(description="Thresholds in place of the policy's: one, or one for each early exit.", examples=["0.7,0.8"]),
]
Top = Annotated[int, Query(ge=1, le=1000, description="Number of the most probable classes that are told.")]
Milliseconds = Annotated[
    float | None,
    Query(
        alias="deadline_ms",
        gt=0,
        le=3.6e6,
        allow_inf_nan=False,
        description="Milliseconds until the answer is due; the best exit that is in time answers.",
    ),
]
DeadlineHeader = Annotated[
    float | None,
    Header(alias="X-Deadline-Ms", gt=0, le=3.6e6, allow_inf_nan=False, description="The same as `deadline_ms`."),
]
EveryExit = Annotated[bool, Query(description="Compute and tell what every exit says.")]


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
        openapi_extra=_BODY,
        summary="Classify images",
    )
    async def classify(
        request: Request,
        model: Model = None,
        policy: PolicyName = None,
        threshold: Threshold = None,
        top: Top = 5,
        deadline_ms: Milliseconds = None,
        x_deadline_ms: DeadlineHeader = None,
        every_exit: EveryExit = False,
    ) -> Response:
        """Classify one image or several; those that cannot be read have a problem in their place.

        With the header `Accept: text/event-stream`, one image is answered exit by exit: events `exit`, then `answer`.
        """
        uploads = await read_images(request, most_images)
        due_ms = deadline_ms or x_deadline_ms
        wish = Wish(policy, _thresholds(threshold), due_ms and due_ms / 1e3, every_exit)
        if _EVENTS in request.headers.get("accept", ""):
            if len(uploads) != 1:
                raise ServiceError(422, "one image only", f"events are of one image, not of {len(uploads)}")
            use = registry.use(model)
            return await _streamed(
                use, lambda served: Answering(served, wish, decoders, request.receive), uploads[0], top
            )
        with registry.use(model) as served:
            answering = Answering(served, wish, decoders, request.receive)
            answers = await answering.classify(uploads)
            if len(answers) == 1 and answers[0].error:
                raise answers[0].error
            predictions = [answering.described(each, top) for each in answers]
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
