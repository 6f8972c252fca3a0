"""Images from the body of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from gfnet_dynn.display import printable
from gfnet_dynn.service.problems import ServiceError

FIELD = "images"
_RAW = ("image/", "application/octet-stream")
_FORM = "multipart/form-data"
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """An image as it came.

    Attributes:
        name: what the client calls it, for display only; None: it has no name.
        content: the file.
    """

    name: str | None
    content: bytes


async def read_images(request: Request, most: int) -> list[Upload]:
    """The images of a body: raw, or the files of a form.

    Raises:
        ServiceError: of another type, cut short, without an image, or with more than `most`.
    """
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    try:
        if kind == _FORM:
            return await _from_form(request, most)
        if kind.startswith(_RAW):
            return [_require_content(Upload(None, await request.body()))]
    except ClientDisconnect as error:
        raise ServiceError(400, "incomplete", "the connection ended before the whole body was here") from error
    what = "image/*, application/octet-stream or multipart/form-data"
    raise ServiceError(415, "unsupported type", f"send {what}, not {printable(kind)[:_LONGEST_NAME]}")


async def _from_form(request: Request, most: int) -> list[Upload]:
    try:
        # One more than is allowed, so that the limit is told in our words.
        async with request.form(max_files=most + 1, max_fields=most) as form:
            parts = form.getlist(FIELD)
            _require_files(parts, most)
            return [
                _require_content(Upload(_shown(each.filename), await each.read()))
                for each in parts
                if isinstance(each, UploadFile)
            ]
    except (MultiPartException, HTTPException, ValueError, KeyError) as error:
        reason = printable(error.detail if isinstance(error, HTTPException) else error)
        raise ServiceError(400, "unreadable form", f"the form cannot be parsed: {reason}") from error


def _require_files(parts: Sequence[object], most: int) -> None:
    files = [each for each in parts if isinstance(each, UploadFile)]
    if not files or len(files) != len(parts):
        raise ServiceError(422, "no images", f"send files in the field {FIELD!r} of the form")
    if len(files) > most:
        raise ServiceError(413, "too many images", f"{len(files)} images in one request: send at most {most}")


def _require_content(upload: Upload) -> Upload:
    if not upload.content:
        raise ServiceError(422, "unreadable image", f"{upload.name or 'the body'} is empty: send an image")
    return upload


def _shown(name: str | None) -> str | None:
    """The last part of a client's file name, without what steers a terminal."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    return printable(last)[:_LONGEST_NAME] or None
