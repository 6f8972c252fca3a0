"""The OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gfnet_dynn.service.answers import Problem

INFER_SCHEMA = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "shape", "datatype", "data"],
                "properties": {
                    "name": {"type": "string", "enum": ["image", "pixels"]},
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                    "datatype": {"type": "string", "enum": ["UINT8", "BYTES"]},
                    "parameters": {"type": "object"},
                    "data": {"type": "array", "items": {}},
                },
            },
        },
        "outputs": {
            "type": "array",
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        },
    },
}


def describe_api(api: FastAPI) -> None:
    """Problem documents stand in the OpenAPI document once, and nothing of FastAPI's own errors does."""

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            found = get_openapi(title=api.title, version=api.version, description=api.description, routes=api.routes)
            schemas = found.setdefault("components", {}).setdefault("schemas", {})
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            schemas["Problem"] = Problem.model_json_schema()
            schemas["InferRequest"] = INFER_SCHEMA
            api.openapi_schema = found
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign] # as FastAPI documents it
