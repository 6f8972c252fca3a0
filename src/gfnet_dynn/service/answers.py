"""The shapes of requests and answers, for the OpenAPI document; answers themselves are written directly."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """Base: no member but those that are named."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """A problem document, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


class Times(Model):
    """Milliseconds of one image, measured."""

    decode: float = Field(description="Reading and resizing the image.")
    queue: float = Field(description="Waiting for the network.")
    network: float = Field(description="In the network, waiting between its segments included.")
    total: float = Field(description="From the arrival of the whole request to the answer.")


class ExitAnswer(Model):
    """What one exit says."""

    exit: str
    score: float | None = Field(description="What is compared with the threshold, 0 to 1; null at the final exit.")
    label: str
    confidence: float
    macs: int
    macs_share: float
    probabilities: dict[str, float]


class PredictionAnswer(Model):
    """The class of one image."""

    source: str | None
    label: str
    confidence: float
    exit: str
    macs: int
    macs_share: float
    probabilities: dict[str, float]
    policy: str
    policy_digest: str
    precision: str
    unknown: bool | None = None
    prediction_set: list[str] | None = None
    promise: Literal["holds", "in doubt", "none"]
    lowered: Literal["load", "deadline"] | None
    asked_policy: str
    times_ms: Times
    exits: list[ExitAnswer] | None = None


class ImageProblem(Model):
    """An image among several that has no class."""

    source: str | None
    error: Problem


class ClassifyAnswer(Model):
    """The answers for the images of a request, in its order."""

    model: str
    digest: str
    predictions: list[PredictionAnswer | ImageProblem]


class ExitInfo(Model):
    """One exit of a network."""

    name: str
    macs: int
    macs_share: float
    ms: float


class PolicyInfo(Model):
    """An exit policy."""

    name: str
    score: str
    thresholds: list[float | None]
    statement: str = Field(description="What the policy promises; empty: nothing.")
    coverage: float | None = Field(description="Of its sets of classes, 0 to 1.")
    macs_share: float | None
    may_be_lowered_to: list[str]


class ModelInfo(Model):
    """A model that is served."""

    name: str
    model: str
    digest: str
    title: str
    gsd_m: list[float] | None
    classes: list[str]
    input_size: int
    precision: str
    default_policy: str
    policies: list[PolicyInfo]
    exits: list[ExitInfo]


class ModelList(Model):
    """The models that are served; the first one is the default."""

    models: list[ModelInfo]
    maps: bool = Field(description="Whether scenes can be mapped.")


class StatusAnswer(Model):
    """Figures since the start, and of the latest thousand answers."""

    uptime_s: float
    models: dict[str, dict[str, Any]]


class ReloadedModel(Model):
    """What became of one model."""

    state: Literal["unchanged", "replaced", "kept"]
    detail: str


class ReloadAnswer(Model):
    """What became of each model."""

    models: dict[str, ReloadedModel]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for these statuses."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    retry = {"headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}}
    return {
        status: {"description": _DESCRIPTIONS[status], "content": content, **(retry if status in (429, 503) else {})}
        for status in statuses
    }


_DESCRIPTIONS = {
    400: "The request is not complete, or cannot be parsed.",
    401: "No token, or a wrong one.",
    403: "A page of another site sent it.",
    404: "There is none of that name.",
    405: "Not by this method.",
    408: "It took too long to arrive.",
    409: "Not in this state.",
    413: "Larger than is allowed.",
    415: "Not of a type that is taken.",
    421: "Called by a name that is not its own.",
    422: "It cannot be used as it is, or the job failed: the detail says why.",
    429: "The queue is full, too many jobs wait, or the deadline passed before it was this image's turn.",
    500: "A fault of the service.",
    501: "Not installed on this device.",
    503: "Too many requests at once, or the service ends.",
    507: "No space.",
}

ALWAYS = (400, 401, 403, 408, 413, 421, 503)
"""What any request may be answered with."""
