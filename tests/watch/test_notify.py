"""Signs of life, received by a socket as systemd's."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gfnet_dynn.watch.notify import notify_alive, notify_ready, notify_stopping


@pytest.mark.parametrize("form", ["path", "abstract"])
def test_the_service_manager_hears(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(tmp_path / "notify") if form == "path" else f"\0gfnet-dynn-test-{tmp_path.name}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        for notify in (notify_ready, notify_alive, notify_stopping):
            notify()
        manager.settimeout(10)
        assert [manager.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize("address", [None, "", "/nowhere/notify", "unix:other"])
def test_where_nobody_listens_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify_alive()
