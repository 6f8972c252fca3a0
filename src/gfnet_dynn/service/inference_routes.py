"""The Open Inference Protocol, version 2 (also: KServe v2, Triton's HTTP interface), so that its clients work.

A model takes one of two inputs: `image`, BYTES [N], encoded image files; or `pixels`, UINT8 [N, S, S, 3], RGB.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from gfnet_dynn import __version__
from gfnet_dynn.errors import OptionError
from gfnet_dynn.service.answering import Answered, Answering
from gfnet_dynn.service.answers import ALWAYS, problems
from gfnet_dynn.service.problems import ServiceError
from gfnet_dynn.service.registry import Registry
from gfnet_dynn.service.served_model import ServedModel, Wish
from gfnet_dynn.service.tensors import HEADER_LENGTH, InferRequest, Tensor, pack, unpack
from gfnet_dynn.service.uploads import Upload

IMAGE, PIXELS = "image", "pixels"
VERSION = "1"
_INFER = "/v2/models/{name}/infer"
_OBJECT = {"type": "object"}
_INFER_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}}},
    }
}
Name = Annotated[str, Path(description="Name of a model.")]
Version = Annotated[str, Path(description="Only 1.")]


def inference_router(registry: Registry, decoders: Executor, most_images: int) -> APIRouter:
    """The routes for the models of a registry."""
    router = APIRouter(tags=["Open Inference Protocol"])
    _add_health(router, registry)

    async def infer(request: Request, name: Name) -> Response:
        """Classify the images of a tensor. Parameters: `policy`, `threshold`, `deadline_ms`."""
        body = await request.body()
        asked, tensors = await run_in_threadpool(unpack, body, request.headers.get(HEADER_LENGTH))
        with registry.use(name) as served:
            answering = Answering(served, _wish(asked.parameters), decoders, request.receive)
            answers = await _answers(served, answering, tensors, most_images)
            outputs = _outputs(served, answering, answers)
            _require_known(asked, outputs)
            chosen = {each.name for each in asked.outputs} or set(outputs)
            answer = {"model_name": name, "model_version": VERSION, **({"id": asked.id} if asked.id else {})}
            content, headers = pack(answer, [each for each in outputs.values() if each.name in chosen], asked)
        return Response(content, headers=headers)

    async def infer_version(request: Request, name: Name, version: Version) -> Response:
        """Classify the images of a tensor by the only version of a model."""
        _require_version(version)
        return await infer(request, name)

    described: dict[str, Any] = {
        "openapi_extra": _INFER_BODY,
        "responses": {
            200: {"content": {"application/json": {"schema": _OBJECT}, "application/octet-stream": {}}},
            **problems(*ALWAYS, 404, 422, 429, 500),
        },
    }
    router.add_api_route(_INFER, infer, methods=["POST"], summary="Infer", **described)
    versioned = _INFER.replace("/infer", "/versions/{version}/infer")
    router.add_api_route(versioned, infer_version, methods=["POST"], summary="Infer by version", **described)
    return router


def _add_health(router: APIRouter, registry: Registry) -> None:
    known = problems(*ALWAYS, 404, 422)

    @router.get("/v2", summary="The server", responses=problems(*ALWAYS))
    async def server() -> dict[str, Any]:
        """Name, version and extensions."""
        return {"name": "gfnet-dynn", "version": __version__, "extensions": ["binary_tensor_data"]}

    @router.get("/v2/health/live", summary="Alive")
    async def live() -> dict[str, bool]:
        """Always 200."""
        return {"live": True}

    @router.get("/v2/health/ready", summary="Ready")
    async def ready() -> dict[str, bool]:
        """200 once all models are loaded, which they are before the first request."""
        return {"ready": True}

    async def model(name: Name) -> dict[str, Any]:
        """Inputs and outputs."""
        with registry.use(name) as served:
            return _metadata(served)

    async def model_version(name: Name, version: Version) -> dict[str, Any]:
        """Inputs and outputs of the only version."""
        _require_version(version)
        return await model(name)

    async def model_ready(name: Name) -> dict[str, Any]:
        """200 where the model can infer."""
        with registry.use(name) as served:
            return {"name": served.name, "ready": True}

    async def model_version_ready(name: Name, version: Version) -> dict[str, Any]:
        """200 where the only version can infer."""
        _require_version(version)
        return await model_ready(name)

    one, versions = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
    for path, route, summary in (
        (one, model, "A model"),
        (versions, model_version, "A version of a model"),
        (f"{one}/ready", model_ready, "A model is ready"),
        (f"{versions}/ready", model_version_ready, "A version is ready"),
    ):
        router.add_api_route(path, route, methods=["GET"], responses=known, summary=summary)


def _require_version(version: str) -> None:
    if version != VERSION:
        raise ServiceError(404, "no such version", f"models have one version, {VERSION}, not {version[:20]!r}")


def _metadata(served: ServedModel) -> dict[str, Any]:
    side, classes = served.manifest.input.size, len(served.manifest.classes)
    return {
        "name": served.name,
        "versions": [VERSION],
        "platform": "gfnet-dynn",
        "inputs": [
            {"name": IMAGE, "datatype": "BYTES", "shape": [-1]},
            {"name": PIXELS, "datatype": "UINT8", "shape": [-1, side, side, 3]},
        ],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "confidence", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
            {"name": "exit", "datatype": "INT32", "shape": [-1]},
            {"name": "policy", "datatype": "BYTES", "shape": [-1]},
            {"name": "promise", "datatype": "BYTES", "shape": [-1]},
        ],
    }


def _wish(parameters: Mapping[str, Any]) -> Wish:
    """What a request wishes; raises ServiceError: a parameter of another type."""
    policy, threshold, due = (parameters.get(name) for name in ("policy", "threshold", "deadline_ms"))
    if policy is not None and not isinstance(policy, str):
        raise ServiceError(422, "unusable option", f"the parameter policy is a name, not {policy!r:.80}")
    if threshold is not None and not (_is_number(threshold) and 0 <= threshold <= 1):
        raise ServiceError(
            422, "unusable option", f"the parameter threshold is a number from 0 to 1, not {threshold!r:.80}"
        )
    if due is not None and not (_is_number(due) and 0 < due <= 3.6e6):
        raise ServiceError(422, "unusable option", f"the parameter deadline_ms is a time above 0, not {due!r:.80}")
    return Wish(policy, None if threshold is None else float(threshold), due and due / 1e3)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


async def _answers(
    served: ServedModel, answering: Answering, tensors: Mapping[str, Tensor], most: int
) -> list[Answered]:
    """The answers for the images of a request; raises what went wrong with the first one that has none."""
    if len(tensors) != 1 or next(iter(tensors)) not in (IMAGE, PIXELS):
        raise ServiceError(422, "unusable input", f"send one input, {IMAGE} or {PIXELS}, not {sorted(tensors)!s:.80}")
    tensor = next(iter(tensors.values()))
    images = _pixels(served, tensor) if tensor.name == PIXELS else None
    uploads = [Upload(None, b"")] * len(images) if images is not None else _files(tensor)
    if not uploads:
        raise ServiceError(422, "no images", f"the input {tensor.name} has no images: send 1 to {most}")
    if len(uploads) > most:
        raise ServiceError(413, "too many images", f"{len(uploads)} images in one request: send at most {most}")
    if images is None:
        answers = await answering.classify(uploads)
    else:
        answers = [Answered(each) for each in uploads]
        await answering.classify_images(list(images), answers)
    for each in answers:
        if each.error is not None:
            raise each.error
    return answers


def _pixels(served: ServedModel, tensor: Tensor) -> np.ndarray:
    side = served.manifest.input.size
    if tensor.datatype != "UINT8" or tensor.array.shape[1:] != (side, side, 3):
        shown = f"{tensor.datatype} {list(tensor.array.shape)}"
        raise ServiceError(422, "unusable input", f"{PIXELS} is UINT8 [N, {side}, {side}, 3], not {shown}")
    return tensor.array


def _files(tensor: Tensor) -> list[Upload]:
    if tensor.datatype != "BYTES" or tensor.array.ndim not in (1, 2):
        raise ServiceError(422, "unusable input", f"{IMAGE} is BYTES [N], image files, not {tensor.datatype}")
    return [Upload(None, bytes(each)) for each in tensor.array.ravel()]


def _outputs(served: ServedModel, answering: Answering, answers: list[Answered]) -> dict[str, Tensor]:
    found = [answering.described(each, len(served.manifest.classes)) for each in answers]
    names = [each.name for each in served.manifest.exits]
    texts = {
        key: np.array([str(each[key]).encode() for each in found], object) for key in ("label", "policy", "promise")
    }
    rows = [[each["probabilities"][name] for name in served.manifest.classes] for each in found]
    arrays = {
        "label": texts["label"],
        "confidence": np.array([each["confidence"] for each in found], "<f4"),
        "probabilities": np.array(rows, "<f4"),
        "exit": np.array([names.index(each["exit"]) for each in found], "<i4"),
        "policy": texts["policy"],
        "promise": texts["promise"],
    }
    return {name: Tensor(name, array) for name, array in arrays.items()}


def _require_known(request: InferRequest, outputs: Mapping[str, Tensor]) -> None:
    for each in request.outputs:
        if each.name not in outputs:
            raise OptionError(f"there is no output {each.name!r:.80}: {', '.join(outputs)}")
