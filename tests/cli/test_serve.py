"""`gfnet-dynn serve` as a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
from tests import bundles  # noqa: E402 # of the same extra
from tests.cli.conftest import Run  # noqa: E402
from tests.service.running import png  # noqa: E402

FILE = png(bundles.images(1)[0])
HEADERS = {"Content-Type": "image/png"}


@contextmanager
def serving(folder: Path, *more: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address; what it prints goes to a file beside the bundle."""
    line = [sys.executable, "-m", "gfnet_dynn", "serve", "tiny.gfd", "--port", "0", "--precision", "fp32", *more]
    printed = folder / "printed.txt"
    with (
        printed.open("w") as file,
        subprocess.Popen(line, cwd=folder, stderr=file, text=True, env={**os.environ, **environment}) as process,
    ):
        try:
            deadline = time.monotonic() + 60
            while "listening on" not in printed.read_text():
                assert process.poll() is None, printed.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield process, printed.read_text().split("listening on ")[1].split()[0]
        finally:
            if process.poll() is None:
                process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundles.write_tiny(tmp_path / "tiny.gfd")
    return tmp_path


@pytest.mark.slow
def test_sigterm_answers_what_was_accepted(folder: Path) -> None:
    with serving(folder) as (process, address):
        statuses: list[int] = []

        def ask() -> None:
            files = [("images", (f"{number}.png", FILE, "image/png")) for number in range(40)]
            with httpx.Client(trust_env=False, timeout=30) as client:
                statuses.append(client.post(f"{address}/classify", files=files).status_code)

        clients = [threading.Thread(target=ask) for _ in range(5)]
        for each in clients:
            each.start()
        deadline = time.monotonic() + 20
        with httpx.Client(base_url=address, trust_env=False) as client:
            while not client.get("/status").json()["models"]["tiny"]["answered"]:
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGTERM)
        for each in clients:
            each.join(30)
        assert process.wait(30) == 0
    assert statuses == [200] * 5
    assert "Traceback" not in (folder / "printed.txt").read_text()


@pytest.mark.slow
def test_interrupted_by_hand_it_ends_with_130(folder: Path) -> None:
    with serving(folder) as (process, address):
        assert httpx.post(f"{address}/classify", content=FILE, headers=HEADERS, trust_env=False).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert "Traceback" not in (folder / "printed.txt").read_text()


@pytest.mark.slow
def test_sighup_reads_bundles_again_and_keeps_what_works(folder: Path) -> None:
    with serving(folder) as (process, address):
        with httpx.Client(base_url=address, trust_env=False) as client:
            before = client.get("/models").json()["models"][0]["digest"]
            bundles.write_tiny(folder / "tiny.gfd", report={"number": 1})
            process.send_signal(signal.SIGHUP)
            wait_for(folder, "tiny: replaced")
            after = client.get("/models").json()["models"][0]["digest"]
            (folder / "tiny.gfd").write_bytes(b"garbage")
            process.send_signal(signal.SIGHUP)
            wait_for(folder, "tiny: kept")
            assert client.get("/models").json()["models"][0]["digest"] == after != before
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say how much memory is used")
def test_bodies_without_end_take_no_memory(folder: Path) -> None:
    """Ten clients at once send 200 MB each, in a form and raw."""

    def pieces() -> Iterator[bytes]:
        yield b"--b\r\nContent-Disposition: form-data; name=images; filename=a.png\r\n\r\n"
        for _ in range(200):
            yield b"x" * 1_000_000

    def send(kind: str) -> None:
        with httpx.Client(trust_env=False, timeout=60) as client, contextlib.suppress(httpx.HTTPError):
            statuses.append(
                client.post(f"{address}/classify", content=pieces(), headers={"Content-Type": kind}).status_code
            )

    statuses: list[int] = []
    with serving(folder, "--max-body", "8M") as (process, address):
        before = peak_mb(process.pid)
        kinds = ("image/png", "multipart/form-data; boundary=b") * 5
        clients = [threading.Thread(target=send, args=(kind,)) for kind in kinds]
        for each in clients:
            each.start()
        for each in clients:
            each.join(60)
        assert peak_mb(process.pid) < before + 10 * 8 * 2 + 20
        assert set(statuses) <= {413}
        assert httpx.post(f"{address}/classify", content=FILE, headers=HEADERS, trust_env=False).status_code == 200


def peak_mb(process: int) -> float:
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


def wait_for(folder: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while text not in (folder / "printed.txt").read_text():
        assert time.monotonic() < deadline, (folder / "printed.txt").read_text()
        time.sleep(0.02)


@pytest.mark.slow
def test_the_token_may_come_from_the_environment(folder: Path) -> None:
    token = "0123456789abcdef"
    with serving(folder, GFNET_DYNN_TOKEN=token) as (_, address):
        with httpx.Client(base_url=address, trust_env=False) as client:
            assert client.get("/status").status_code == 401
            assert client.get("/status", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert token not in (folder / "printed.txt").read_text()


def test_a_port_that_is_taken_is_told(run: Run) -> None:
    bundles.write_tiny(Path("tiny.gfd"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = run("gfnet-dynn", "serve", "tiny.gfd", "--port", str(taken.getsockname()[1]))
    assert outcome.status == 2
    assert "give another --port" in outcome.err


@pytest.mark.parametrize("host", ["203.0.113.9", "no such host"])
def test_an_address_of_another_device_is_told(run: Run, host: str) -> None:
    bundles.write_tiny(Path("tiny.gfd"))
    outcome = run("gfnet-dynn", "serve", "tiny.gfd", "--host", host, "--port", "0")
    assert outcome.status == 2
    assert host in outcome.err


def test_garbage_in_place_of_a_bundle_is_told(run: Run) -> None:
    Path("tiny.gfd").write_bytes(b"garbage")
    outcome = run("gfnet-dynn", "serve", "tiny.gfd", "--port", "0")
    assert outcome.status == 2
    assert "tiny.gfd" in outcome.err
