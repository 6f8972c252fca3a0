"""Who and what is let in."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from tests import bundles
from tests.service.running import Running, png, running, tiny

FILE = png(bundles.images(1)[0])
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def guarded(bundle: Path) -> Iterator[Running]:
    with running(bundles=[str(bundle)], token=TOKEN, upload_s=0.5, max_body="100K", concurrency=3) as found:
        yield found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", ["/status", "/models", "/metrics", "/openapi.json", "/v2", "/v2/models/tiny"])
def test_without_its_token_nothing_is_told(guarded: Running, path: str) -> None:
    for headers in ({}, bearer("wrong"), bearer(TOKEN[:-1]), bearer(TOKEN + "0"), {"Authorization": f"Basic {TOKEN}"}):
        answer = guarded.client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert TOKEN not in answer.text
    assert guarded.client.get(path, headers=bearer(TOKEN)).status_code == 200


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/"])
def test_health_and_page_need_no_token(guarded: Running, path: str) -> None:
    assert guarded.client.get(path).status_code == 200


def test_a_wrong_token_reads_no_body(guarded: Running) -> None:
    head = "POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 90000\r\n\r\n"
    assert first_line(guarded, head.encode()).split()[1] == b"401"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "http://["])
def test_pages_of_other_sites_are_refused(guarded: Running, origin: str) -> None:
    answer = guarded.client.post("/reload", headers={**bearer(TOKEN), "Origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_its_own_page_is_not(guarded: Running) -> None:
    assert guarded.client.get("/status", headers={**bearer(TOKEN), "Origin": guarded.address}).status_code == 200


def test_a_name_that_is_not_its_own_is_refused(guarded: Running, bundle: Path) -> None:
    headers = {**bearer(TOKEN), "Host": "evil.example"}
    assert guarded.client.get("/status", headers=headers).status_code == 421
    with running(bundles=[str(bundle)], allowed_host=["Device.example"]) as found:
        for name in ("device.example", "DEVICE.example:80", "localhost", "127.0.0.1:9", "[::1]:8000"):
            assert found.client.get("/status", headers={"Host": name}).status_code == 200


def test_open_to_the_network_without_a_token_names_are_still_checked(bundle: Path) -> None:
    with running(
        bundles=[str(bundle)], host="0.0.0.0"
    ) as found:  # where the test's own server listens is another matter
        rebound = {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}
        assert found.client.post("/reload", headers=rebound).status_code == 421
        for name in ("192.0.2.7:8000", "[2001:db8::1]", socket.gethostname()):
            assert found.client.get("/status", headers={"Host": name}).status_code == 200
        assert found.client.get("/v2/health/live", headers={"Host": "evil.example"}).status_code == 200


def test_a_proxy_may_have_a_name_of_its_own(bundle: Path) -> None:
    with running(bundles=[str(bundle)], allowed_host=["device.example"]) as found:
        assert found.client.post("/reload", headers={"Origin": "https://device.example"}).status_code == 200
        assert found.client.post("/reload", headers={"Origin": "https://evil.example"}).status_code == 403


def test_bodies_in_memory_are_bounded_in_all(bundle: Path) -> None:
    with running(bundles=[str(bundle)], max_body="1K", upload_s=1.0) as found:
        lines: list[bytes] = []
        send = lambda: lines.append(first_line(found, begun(1024) + b"x" * 1000))  # noqa: E731 # never the last bytes
        threads = [threading.Thread(target=send) for _ in range(16)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        statuses = [each.split()[1] for each in lines]
        assert set(statuses) == {b"408", b"503"}
        assert found.client.get("/status").status_code == 200


def first_line(service: Running, sent: bytes, then: bytes = b"", wait_s: float = 0.0) -> bytes:
    """The status line of the answer to raw bytes."""
    address = urlsplit(service.address)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=20) as connection:
        connection.sendall(sent)
        time.sleep(wait_s)
        if then:
            connection.sendall(then)
        return connection.makefile("rb").readline()


def begun(length: int, token: str = TOKEN) -> bytes:
    """The beginning of an upload."""
    lines = (
        "POST /classify HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {token}",
        "Content-Type: image/png",
        f"Content-Length: {length}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_a_slow_upload_ends(guarded: Running) -> None:
    assert first_line(guarded, begun(1000) + b"a").split()[1] == b"408"


def test_a_body_is_refused_by_its_length_before_it_is_read(guarded: Running) -> None:
    assert first_line(guarded, begun(200_000_000)).split()[1] == b"413"


def test_a_body_without_a_length_is_refused_where_it_grows_too_large(guarded: Running) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(4000):
            yield b"x" * 50_000

    address = urlsplit(guarded.address)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    try:
        headers = {**bearer(TOKEN), "Content-Type": "image/png"}
        connection.request("POST", "/classify", endless(), headers, encode_chunked=True)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has stopped listening
    try:
        assert connection.getresponse().status == 413
    except ConnectionResetError:
        pass
    finally:
        connection.close()
    assert guarded.client.get("/status", headers=bearer(TOKEN)).status_code == 200


def test_a_client_that_goes_in_the_middle_leaves_nothing(guarded: Running) -> None:
    address = urlsplit(guarded.address)
    for _ in range(20):  # more than may be at once
        with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=20) as connection:
            connection.sendall(begun(1000) + b"a" * 500)
    headers = {**bearer(TOKEN), "Content-Type": "image/png"}
    deadline = time.monotonic() + 20
    while guarded.client.post("/classify", content=FILE, headers=headers).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with guarded.service.registry.use(None) as served:
        assert served.scheduler.pending == 0


def test_more_requests_than_are_allowed_are_told_when_to_come_again(guarded: Running) -> None:
    lines: list[bytes] = []
    threads = [threading.Thread(target=lambda: lines.append(first_line(guarded, begun(1000)))) for _ in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    statuses = [each.split()[1] for each in lines]
    assert set(statuses) == {b"408", b"503"}  # those that were let in ran out of time
    assert statuses.count(b"408") >= 3


def test_browsers_are_told_to_be_careful(guarded: Running) -> None:
    headers = guarded.client.get("/").headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
