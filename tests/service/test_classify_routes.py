"""`POST /classify` of a running service."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from gfnet_dynn.images.decode import decode
from gfnet_dynn.runtime import load  # of the same extra
from tests import bundles
from tests.service.running import Running, png, running, tiny

IMAGES = bundles.images(12)
FILES = [png(image) for image in IMAGES]
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("bundle"), policies=(*bundles.POLICIES, bundles.CALIBRATED))


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[Running]:
    with running(bundles=[str(bundle)], max_images=8, max_body="200K", lower_exits=False) as found:
        yield found


def form(*contents: bytes, field: str = "images") -> Any:
    return [(field, (f"{number}.png", content, "image/png")) for number, content in enumerate(contents)]


@pytest.mark.parametrize("policy", ["gates", "plain", "full", "calibrated"])
def test_answers_are_those_of_the_runtime(service: Running, bundle: Path, policy: str) -> None:
    expected = load(bundle, precision="fp32", threads=1).classify(list(IMAGES), policy=policy)
    for content, prediction in zip(FILES, expected, strict=True):
        answer = service.classify(content, policy=policy, top=2)
        assert answer.status_code == 200
        found = answer.json()
        assert found["model"] == "tiny"
        (one,) = found["predictions"]
        for name, value in prediction.to_dict(2).items():
            assert one[name] == (pytest.approx(value, abs=1e-5) if name != "label" else value), name
        assert one["promise"] == "none"  # the guarantee covers no precision
        assert (one["asked_policy"], one["lowered"]) == (policy, None)
        assert one["macs_share"] == prediction.macs / 400
        assert all(value >= 0 for value in one["times_ms"].values())


def test_a_form_keeps_order_and_names_and_tells_what_is_broken(service: Running) -> None:
    answer = service.client.post("/classify", files=form(FILES[0], b"no image", FILES[1]))
    assert answer.status_code == 200
    first, broken, last = answer.json()["predictions"]
    assert (first["source"], last["source"]) == ("0.png", "2.png")
    assert broken["source"] == "1.png"
    assert broken["error"]["status"] == 422
    alone = [service.classify(each).json()["predictions"][0]["label"] for each in FILES[:2]]
    assert [first["label"], last["label"]] == alone


def test_a_path_in_a_file_name_is_only_shown(service: Running) -> None:
    names = ("../../etc/passwd", "C:\\Windows\\a.png", "\x1b[2J.png", "a" * 1000)
    files = [("images", (name, FILES[0], "image/png")) for name in names]
    shown = [each["source"] for each in service.client.post("/classify", files=files).json()["predictions"]]
    assert shown[:2] == ["passwd", "a.png"]
    assert "\x1b" not in shown[2]
    assert len(shown[3]) <= 200


def test_every_exit_lets_a_client_move_the_threshold(service: Running) -> None:
    for content in FILES:
        found = service.classify(content, every_exit=True, policy="gates").json()["predictions"][0]
        assert [each["exit"] for each in found["exits"]] == ["exit 1", "exit 2", "final"]
        for threshold in (0.0, 0.3, 0.6, 0.9, 1.0):
            moved = next(each for each in found["exits"] if each["score"] is None or each["score"] >= threshold)
            asked = service.classify(content, threshold=threshold, policy="gates").json()["predictions"][0]
            assert (asked["exit"], asked["label"]) == (moved["exit"], moved["label"])
            assert asked["policy"] == "own"


def test_events_tell_each_exit_and_then_the_answer(service: Running) -> None:
    for content in FILES:
        headers = {"Content-Type": "image/png", "Accept": "text/event-stream"}
        answer = service.client.post("/classify", content=content, headers=headers, params={"policy": "gates"})
        assert answer.headers["content-type"].startswith("text/event-stream")
        blocks = [dict(line.split(": ", 1) for line in each.splitlines()) for each in answer.text.strip().split("\n\n")]
        assert [each["event"] for each in blocks] == ["exit"] * (len(blocks) - 1) + ["answer"]
        *exits, last = [json.loads(each["data"]) for each in blocks]
        assert last["label"] == service.classify(content, policy="gates").json()["predictions"][0]["label"]
        assert exits[-1]["exit"] == last["exit"]


def test_events_are_of_one_image(service: Running) -> None:
    headers = {"Accept": "text/event-stream"}
    answer = service.client.post("/classify", files=form(*FILES[:2]), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)


BAD: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "no image": ({"content": b"text"}, 422, ("JPEG",)),
    "cut short": ({"content": FILES[0][:60]}, 422, ("cannot decode",)),
    "empty": ({"content": b""}, 422, ("empty",)),
    "another type": ({"content": FILES[0], "headers": {"Content-Type": "text/plain"}}, 415, ("text/plain", "image/*")),
    "too large": ({"content": b"x" * 300_000}, 413, ("0.1953 MiB",)),
    "no such model": ({"content": FILES[0], "params": {"model": "tinny"}}, 404, ("tinny", "did you mean 'tiny'")),
    "no such policy": ({"content": FILES[0], "params": {"policy": "gate"}}, 422, ("'gate'", "gates")),
    "a threshold too many": ({"content": FILES[0], "params": {"threshold": "1,1,1"}}, 422, ("3 thresholds",)),
    "no threshold": ({"content": FILES[0], "params": {"threshold": "often"}}, 422, ("often",)),
    "threshold 1.5": ({"content": FILES[0], "params": {"threshold": "1.5"}}, 422, ("1.5",)),
    "no such parameter": ({"content": FILES[0], "params": {"polcy": "full"}}, 422, ("polcy",)),
    "no top": ({"content": FILES[0], "params": {"top": "0"}}, 422, ("top",)),
    "no deadline": ({"content": FILES[0], "params": {"deadline_ms": "nan"}}, 422, ("deadline_ms",)),
    "too short a deadline": ({"content": FILES[0], "params": {"deadline_ms": "0.001"}}, 422, ("first exit",)),
    "too many": ({"files": form(*FILES[:9])}, 413, ("at most 8",)),
    "another field": ({"files": form(FILES[0], field="file")}, 422, ("images",)),
    "no form": ({"content": b"--", "headers": {"Content-Type": "multipart/form-data"}}, 400, ("form",)),
}


@pytest.mark.parametrize(("request_", "status", "facts"), BAD.values(), ids=BAD)
def test_bad_input_is_told(service: Running, request_: dict[str, Any], status: int, facts: tuple[str, ...]) -> None:
    if "content" in request_:
        request_ = {"headers": {"Content-Type": "image/png"}, **request_}
    answer = service.client.post("/classify", **request_)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    found = answer.json()
    assert found["status"] == status
    for fact in facts:
        assert fact in found["detail"]
    assert service.classify(FILES[0]).status_code == 200


@pytest.mark.parametrize("name", ["header", "parameter"])
def test_a_deadline_that_has_passed_is_told(service: Running, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def slow(*arguments: Any) -> Any:
        time.sleep(0.05)
        return decode(*arguments)

    monkeypatch.setattr("gfnet_dynn.service.answering.decode", slow)
    headers = {"Content-Type": "image/png", **({"X-Deadline-Ms": "20"} if name == "header" else {})}
    params = {} if name == "header" else {"deadline_ms": 20}
    answer = service.client.post("/classify", content=FILES[0], headers=headers, params=params)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["title"] == "deadline passed"


def test_nothing_is_decoded_after_the_deadline(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def slow(*arguments: Any) -> Any:
        decoded.append(1)
        time.sleep(0.1)
        return decode(*arguments)

    monkeypatch.setattr("gfnet_dynn.service.answering.decode", slow)
    answer = service.client.post("/classify", files=form(*FILES[:8]), params={"deadline_ms": 50})
    assert [each["error"]["title"] for each in answer.json()["predictions"]] == ["deadline passed"] * 8
    assert len(decoded) == 1


def test_nothing_more_is_decoded_for_a_client_that_has_gone(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def slow(*arguments: Any) -> Any:
        decoded.append(1)
        time.sleep(0.2)
        return decode(*arguments)

    monkeypatch.setattr("gfnet_dynn.service.answering.decode", slow)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{service.address}/classify", files=form(*FILES[:8]), timeout=0.3, trust_env=False)
    time.sleep(1.0)
    assert 1 <= len(decoded) <= 4


def test_what_is_not_there_is_a_problem_too(service: Running) -> None:
    missing, wrong = service.client.get("/nothing"), service.client.get("/classify")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert missing.headers["content-type"] == wrong.headers["content-type"] == PROBLEM
    assert wrong.headers["allow"] == "POST"


def test_an_image_bomb_is_refused_by_its_header(service: Running) -> None:
    bomb = bytearray(FILES[0])
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height of the PNG
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    answer = service.classify(bytes(bomb))
    assert answer.status_code == 422
    assert "60000 × 60000" in answer.json()["detail"]
