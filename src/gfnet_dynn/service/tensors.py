"""Tensors of the Open Inference Protocol, version 2, in JSON or in its binary extension."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from gfnet_dynn.service.problems import ServiceError

HEADER_LENGTH = "Inference-Header-Content-Length"
"""Header with the bytes of the JSON part, which binary tensors follow."""

_SIZE, _DATA = "binary_data_size", "binary_data"
_LENGTH = struct.Struct("<I")  # before each element of a BYTES tensor
_DTYPES: Mapping[str, np.dtype[Any]] = {"UINT8": np.dtype(np.uint8), "FP32": np.dtype("<f4"), "INT32": np.dtype("<i4")}
_MOST_SIDES = 8
_MOST_DIGITS = 16

Dimension = Annotated[int, Meta(ge=0, le=2**31)]


class InputTensor(msgspec.Struct, frozen=True):
    """A tensor as a client sends it."""

    name: str
    shape: Annotated[list[Dimension], Meta(max_length=_MOST_SIDES)]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class WantedOutput(msgspec.Struct, frozen=True):
    """An output that a client asks for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct, frozen=True):
    """The JSON part of a request."""

    inputs: Annotated[list[InputTensor], Meta(min_length=1, max_length=16)]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[WantedOutput] = []


@dataclass(frozen=True)
class Tensor:
    """A named array; objects are `bytes`."""

    name: str
    array: npt.NDArray[Any]

    @property
    def datatype(self) -> str:
        """As the protocol calls it."""
        return next((name for name, dtype in _DTYPES.items() if dtype == self.array.dtype), "BYTES")


def unpack(body: bytes, header_length: str | None) -> tuple[InferRequest, dict[str, Tensor]]:
    """The request and its tensors by name.

    Raises:
        ServiceError: what does not follow the protocol.
    """
    if header_length is not None and not (
        header_length.isdecimal() and len(header_length) < _MOST_DIGITS and int(header_length) <= len(body)
    ):
        raise _bad(f"the header {HEADER_LENGTH} is {header_length[:20]!r}, and the body has {len(body)} bytes")
    head = len(body) if header_length is None else int(header_length)
    try:
        request = msgspec.json.decode(body[:head], type=InferRequest)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _bad(f"the JSON of the request: {error}") from error
    tensors, rest = {}, memoryview(body)[head:]
    for each in request.inputs:
        tensors[each.name], rest = _tensor(each, rest)
    if len(rest):
        raise _bad(f"{len(rest)} bytes follow the tensors that the JSON describes")
    return request, tensors


def _tensor(described: InputTensor, rest: memoryview) -> tuple[Tensor, memoryview]:
    name, size = described.name, described.parameters.get(_SIZE)
    if described.datatype not in (*_DTYPES, "BYTES"):
        raise _bad(f"the tensor {name!r} is of {described.datatype!r}: send UINT8 or BYTES")
    if size is None:
        return Tensor(name, _from_json(described)), rest
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
        raise _bad(f"the tensor {name!r} has {size!r} bytes, and {len(rest)} follow")
    return Tensor(name, _from_bytes(described, rest[:size])), rest[size:]


def _from_json(described: InputTensor) -> npt.NDArray[Any]:
    try:
        if described.datatype == "BYTES":
            found = np.array([str(each).encode("latin-1") for each in _flat(described.data)], object)
        else:
            found = np.array(described.data, dtype=_DTYPES[described.datatype])
        return np.asarray(found.reshape(described.shape))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _bad(f"the data of the tensor {described.name!r}: {error}") from error


def _flat(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise TypeError("it is no list")
    return [one for each in data for one in (_flat(each) if isinstance(each, list) else [each])]


def _from_bytes(described: InputTensor, content: memoryview) -> npt.NDArray[Any]:
    try:
        if described.datatype == "BYTES":
            elements = np.array([*_elements(content), None], object)[:-1]  # None: never taken for one array of bytes
            return elements.reshape(described.shape)
        return np.asarray(np.frombuffer(content, _DTYPES[described.datatype]).reshape(described.shape))
    except (ValueError, struct.error) as error:
        raise _bad(f"the bytes of the tensor {described.name!r}: {error}") from error


def _elements(content: memoryview) -> list[bytes]:
    found, at = [], 0
    while at < len(content):
        (length,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        if at + length > len(content):
            raise ValueError(f"an element of {length} bytes, and {len(content) - at} follow")
        found.append(bytes(content[at : at + length]))
        at += length
    return found


def pack(answer: Mapping[str, Any], tensors: Sequence[Tensor], request: InferRequest) -> tuple[bytes, dict[str, str]]:
    """The body of an answer and its headers; tensors are binary where the request wants that."""
    wanted = {each.name: each.parameters for each in request.outputs}
    all_binary = request.parameters.get("binary_data_output") is True
    outputs, blobs = [], []
    for tensor in tensors:
        described = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.array.shape)}
        if wanted.get(tensor.name, {}).get(_DATA, all_binary) is True:
            blobs.append(_to_bytes(tensor))
            outputs.append({**described, "parameters": {_SIZE: len(blobs[-1])}})
        else:
            outputs.append({**described, "data": _to_json(tensor)})
    head = msgspec.json.encode({**answer, "outputs": outputs})
    if not blobs:
        return head, {"Content-Type": "application/json"}
    headers = {HEADER_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
    return head + b"".join(blobs), headers


def _to_bytes(tensor: Tensor) -> bytes:
    if tensor.datatype == "BYTES":
        return b"".join(_LENGTH.pack(len(each)) + each for each in tensor.array.ravel().tolist())
    return tensor.array.tobytes()


def _to_json(tensor: Tensor) -> list[Any]:
    flat = tensor.array.ravel().tolist()
    return [each.decode() for each in flat] if tensor.datatype == "BYTES" else flat


def _bad(detail: str) -> ServiceError:
    return ServiceError(400, "not the protocol", detail)
