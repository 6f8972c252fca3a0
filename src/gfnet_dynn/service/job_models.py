"""What the routes of map jobs take and answer, after OGC API Processes, part 1."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gfnet_dynn.service.job_record import LONGEST_M, RESULTS, SHORTEST_M, JobRecord, JobStatus, MapOptions, MapSummary

_RESULTS_RELATION = "http://www.opengis.net/def/rel/ogc/1.0/results"


class MapQuery(BaseModel):
    """Options of a map, as query parameters."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Name of a model of this service. By default the one for the scene.")
    policy: str | None = Field(None, description="Exit policy of the model. By default the model's own.")
    gsd: float | None = Field(
        None,
        ge=SHORTEST_M,
        le=LONGEST_M,
        allow_inf_nan=False,
        description="Metres that a pixel covers. By default as the scene states.",
    )
    bands: str | None = Field(
        None,
        pattern=r"^[^,]*[^,\s][^,]*(,[^,]*[^,\s][^,]*){2}$",
        max_length=1000,
        description="Red, green and blue by number or description. By default as the scene states.",
        examples=["4,3,2"],
    )
    scale: str | None = Field(
        None,
        pattern=r"^[^,]+,[^,]+$",
        max_length=100,
        description="Samples that become 0 and 255: two values, or two percentiles. By default the model's.",
        examples=["0,2750", "2%,98%"],
    )
    stride: float | None = Field(
        None,
        ge=SHORTEST_M,
        le=LONGEST_M,
        allow_inf_nan=False,
        description="Side of a cell of the map in metres. By default half of what the network sees.",
    )
    name: str | None = Field(None, max_length=1000, description="Name of the scene, for display only.")

    def options(self) -> MapOptions:
        """The same without the name."""
        return MapOptions(**self.model_dump(exclude={"name"}))


class Link(BaseModel):
    """A link, as in RFC 8288."""

    href: str
    rel: str
    type: str
    title: str | None = None


class StatusInfo(BaseModel):
    """A job at one moment; `id` and `jobID` are the same."""

    id: str
    jobID: str  # noqa: N815 # so OGC API Processes names it
    processID: Literal["map"] = "map"  # noqa: N815
    type: Literal["process"] = "process"
    name: str = Field(description="Of the scene, as the client called it.")
    status: JobStatus
    progress: int = Field(ge=0, le=100, description="Per cent.")
    message: str = Field(description="What is being done, or why the job failed.")
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    links: list[Link]


class JobList(BaseModel):
    """All jobs, the newest first."""

    jobs: list[StatusInfo]
    links: list[Link]


class ResultLink(BaseModel):
    """Where a file of a finished map is."""

    href: str
    type: str


class JobResults(BaseModel):
    """What a successful job made."""

    model_config = ConfigDict(populate_by_name=True)

    class_map: ResultLink = Field(alias="class", description="Class of each cell, a Cloud-Optimised GeoTIFF.")
    confidence: ResultLink = Field(description="Confidence of each cell in per cent, likewise.")
    exit: ResultLink = Field(description="Exit that each cell's chip took, from 1, likewise.")
    png: ResultLink = Field(description="Picture of the classes with legend and scale bar.")
    classes: ResultLink = Field(description="Names of the classes for GDAL, to be put beside the class map.")
    style: ResultLink = Field(description="Style of the classes for QGIS, to be put beside the class map.")
    summary: MapSummary


def status_info(record: JobRecord) -> StatusInfo:
    """A job as its routes show it."""
    place = f"/jobs/{record.id}"
    links = [Link(href=place, rel="self", type="application/json", title="this job")]
    if record.status == "successful":
        results = Link(href=f"{place}/results", rel=_RESULTS_RELATION, type="application/json", title="its results")
        links.append(results)
    return StatusInfo(
        id=record.id,
        jobID=record.id,
        name=record.name,
        status=record.status,
        progress=record.progress,
        message=record.message,
        created=record.created,
        started=record.started,
        finished=record.finished,
        links=links,
    )


def job_list(records: list[JobRecord]) -> JobList:
    """Jobs as their route shows them."""
    links = [Link(href="/jobs", rel="self", type="application/json", title="this list")]
    return JobList(jobs=[status_info(each) for each in records], links=links)


def job_results(record: JobRecord) -> JobResults:
    """Results of a job that succeeded."""
    place = f"/jobs/{record.id}/results"
    files = {key: ResultLink(href=f"{place}/{name}", type=kind) for key, (name, kind) in RESULTS.items()}
    return JobResults.model_validate({**files, "summary": record.summary})
