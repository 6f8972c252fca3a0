"""The Open Inference Protocol of a running service, by hand and by a stock client."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from gfnet_dynn.runtime import load  # of the same extra
from gfnet_dynn.service.problems import ServiceError
from gfnet_dynn.service.tensors import unpack
from tests import bundles
from tests.service.running import Running, png, running, tiny

IMAGES = bundles.images(5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[Running]:
    with running(bundles=[str(bundle)], lower_exits=False) as found:
        yield found


@pytest.mark.parametrize("policy", ["gates", "full"])
@pytest.mark.parametrize(
    ("sends", "binary"),
    [("pixels", True), ("pixels", False), ("image", True)],  # JSON has no bytes
)
def test_a_stock_client_infers(service: Running, bundle: Path, sends: str, binary: bool, policy: str) -> None:
    http: Any = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")
    client = http.InferenceServerClient(service.address.removeprefix("http://"))
    try:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tiny")
        assert client.get_model_metadata("tiny")["inputs"][1]["shape"] == [-1, 8, 8, 3]
        if sends == "image":
            array: Any = np.array([png(each) for each in IMAGES], object)
            tensor = http.InferInput("image", [5], "BYTES")
        else:
            array, tensor = IMAGES, http.InferInput("pixels", list(IMAGES.shape), "UINT8")
        tensor.set_data_from_numpy(array, binary_data=binary)
        names = ("label", "confidence", "probabilities", "exit")
        wanted = [http.InferRequestedOutput(name, binary_data=binary) for name in names]
        found = client.infer("tiny", [tensor], outputs=wanted, request_id="7", parameters={"policy": policy})
        assert found.get_response()["id"] == "7"
        expected = load(bundle, precision="fp32", threads=1).classify(list(IMAGES), policy=policy)
        labels = [each.decode() if isinstance(each, bytes) else each for each in found.as_numpy("label")]
        assert labels == [each.label for each in expected]
        assert found.as_numpy("confidence") == pytest.approx([each.confidence for each in expected], abs=1e-5)
        rows = [[each.probabilities[name] for name in bundles.CLASSES] for each in expected]
        assert found.as_numpy("probabilities") == pytest.approx(np.array(rows), abs=1e-5)
        exits = ["exit 1", "exit 2", "final"]
        assert [exits[index] for index in found.as_numpy("exit")] == [each.exit for each in expected]
    finally:
        client.close()


def test_a_stock_client_hears_what_is_wrong(service: Running) -> None:
    http: Any = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")
    client = http.InferenceServerClient(service.address.removeprefix("http://"))
    try:
        tensor = http.InferInput("pixels", [1, 4, 4, 3], "UINT8")
        tensor.set_data_from_numpy(np.zeros((1, 4, 4, 3), np.uint8))
        with pytest.raises(Exception, match=r"UINT8 \[N, 8, 8, 3\]"):
            client.infer("tiny", [tensor])
        with pytest.raises(Exception, match="no model 'other'"):
            client.infer("other", [tensor])
    finally:
        client.close()


def tensor(name: str = "pixels", shape: Any = (1, 8, 8, 3), datatype: str = "UINT8", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, **more}


PIXELS = IMAGES[:1].tolist()
BAD: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b"{", 400, "JSON"),
    "no inputs": ({"inputs": []}, 400, "inputs"),
    "another input": ({"inputs": [tensor("voxels", data=PIXELS)]}, 422, "pixels"),
    "two inputs": ({"inputs": [tensor(data=PIXELS), tensor("image", (0,), "BYTES", data=[])]}, 422, "one input"),
    "another shape": ({"inputs": [tensor(shape=(1, 8, 8, 4), data=PIXELS)]}, 400, "pixels"),
    "another size": ({"inputs": [tensor(shape=(1, 4, 4, 12), data=PIXELS)]}, 422, "[N, 8, 8, 3]"),
    "another type": ({"inputs": [tensor(datatype="FP64", data=PIXELS)]}, 400, "FP64"),
    "floats": ({"inputs": [tensor(datatype="FP32", data=PIXELS)]}, 422, "UINT8"),
    "no bytes": ({"inputs": [tensor(data=[300] * 192)]}, 400, "pixels"),
    "no data": ({"inputs": [tensor()]}, 400, "pixels"),
    "no images": ({"inputs": [tensor(shape=(0, 8, 8, 3), data=[])]}, 422, "no images"),
    "bytes that are not there": ({"inputs": [tensor(parameters={"binary_data_size": 192})]}, 400, "192"),
    "another output": ({"inputs": [tensor(data=PIXELS)], "outputs": [{"name": "mask"}]}, 422, "mask"),
    "a policy that is none": ({"inputs": [tensor(data=PIXELS)], "parameters": {"policy": 7}}, 422, "policy"),
    "a threshold beyond floats": (
        {"inputs": [tensor(data=PIXELS)], "parameters": {"threshold": 10**400}},
        422,
        "threshold",
    ),
    "a deadline that is none": ({"inputs": [tensor(data=PIXELS)], "parameters": {"deadline_ms": -1}}, 422, "deadline"),
    "an image that is none": ({"inputs": [tensor("image", (1,), "BYTES", data=["text"])]}, 422, "JPEG"),
}


@pytest.mark.parametrize(("body", "status", "fact"), BAD.values(), ids=BAD)
def test_what_does_not_follow_the_protocol_is_told(service: Running, body: Any, status: int, fact: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = service.client.post("/v2/models/tiny/infer", content=content)
    assert answer.status_code == status
    assert fact in answer.json()["error"]


def test_only_version_1_is_there(service: Running) -> None:
    assert service.client.get("/v2/models/tiny/versions/1").json()["name"] == "tiny"
    assert service.client.get("/v2/models/tiny/versions/1/ready").json()["ready"] is True
    answer = service.client.get("/v2/models/tiny/versions/2/ready")
    assert (answer.status_code, answer.json()["title"]) == (404, "no such version")


@pytest.mark.parametrize("header", ["-1", "9999", "many", "1e3", "9" * 5000])
def test_a_header_that_lies_is_refused(header: str) -> None:
    with pytest.raises(ServiceError) as caught:
        unpack(b"{}", header)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "blob",
    [struct.pack("<I", 5) + b"abc", b"ab", struct.pack("<I", 2) + b"abc", b""],
    ids=["too long", "no length", "too short", "too few"],
)
def test_elements_that_do_not_fit_are_refused(blob: bytes) -> None:
    described = tensor("image", (1,), "BYTES", parameters={"binary_data_size": len(blob)})
    head = json.dumps({"inputs": [described]}).encode()
    with pytest.raises(ServiceError) as caught:
        unpack(head + blob, str(len(head)))
    assert caught.value.status == 400
    assert "image" in str(caught.value)


def test_bytes_after_the_tensors_are_refused() -> None:
    head = json.dumps({"inputs": [tensor(data=PIXELS)]}).encode()
    with pytest.raises(ServiceError, match="3 bytes follow"):
        unpack(head + b"abc", str(len(head)))
