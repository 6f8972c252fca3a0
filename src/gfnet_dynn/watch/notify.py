"""Signs of life for systemd, by its protocol `sd_notify`; nothing is sent where no service manager listens."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify_ready() -> None:
    """The service has started."""
    _send("READY=1")


def notify_alive() -> None:
    """It has not hung; due in every `WatchdogSec` of the unit."""
    _send("WATCHDOG=1")


def notify_stopping() -> None:
    """It finishes what it has in hand."""
    _send("STOPPING=1")


def _send(state: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(1.0)
        sender.sendto(state.encode(), name)
