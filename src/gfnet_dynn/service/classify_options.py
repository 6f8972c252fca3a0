"""Options of `POST /classify`.

Read by one model instead of FastAPI's parameters: these are resolved anew for each request, which took a fifth of the
time that the service spends on one beside the network.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_HEADER: Final = "X-Deadline-Ms"

Milliseconds = Annotated[float, Field(gt=0, le=3.6e6, allow_inf_nan=False)]


class ClassifyOptions(BaseModel):
    """What a request may say in its query, and the deadline in a header."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Name of the model. Default: the first one of `GET /models`.")
    policy: str | None = Field(None, description="Exit policy. Default: the model's.", examples=["full"])
    threshold: str | None = Field(
        None,
        description="Thresholds in place of the policy's: one, or one for each early exit.",
        examples=["0.7,0.8"],
    )
    top: int = Field(5, ge=1, le=1000, description="Number of the most probable classes that are told.")
    deadline_ms: Milliseconds | None = Field(
        None, description="Milliseconds until the answer is due; the best exit that is in time answers."
    )
    every_exit: bool = Field(False, description="Compute and tell what every exit says.")
    header_deadline_ms: Milliseconds | None = Field(None, alias=_HEADER, description="The same as `deadline_ms`.")

    @property
    def deadline_s(self) -> float | None:
        """Seconds until the answer is due; None: the server's limit."""
        found = self.deadline_ms or self.header_deadline_ms
        return None if found is None else found / 1e3


def options_of(request: Request) -> ClassifyOptions:
    """The options of a request; raises RequestValidationError, as FastAPI does for parameters."""
    given: dict[str, str] = dict(request.query_params)
    given.pop(_HEADER, None)  # no header
    deadline = request.headers.get(_HEADER)
    try:
        return ClassifyOptions.model_validate(given if deadline is None else {**given, _HEADER: deadline})
    except ValidationError as error:
        raise RequestValidationError(
            [{**each, "loc": ("query", *each["loc"])} for each in error.errors(include_url=False)]
        ) from error


def option_parameters() -> list[dict[str, Any]]:
    """The same for the OpenAPI document."""
    properties: dict[str, dict[str, Any]] = ClassifyOptions.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "in": "header" if name == _HEADER else "query",
            "required": False,
            "description": schema["description"],
            "schema": schema,
        }
        for name, schema in properties.items()
    ]
