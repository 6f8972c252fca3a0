"""`gfnet-dynn watch`."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gfnet_dynn.cli.streams import print_note
from gfnet_dynn.watch.request import WatchRequest


def watch(request: WatchRequest) -> None:
    """Classify frames as they come, from a folder or a camera: log each, and run a command.

    Runs until it is stopped: with SIGTERM it finishes the frame in hand and ends with status 0, with Ctrl-C with 130.
    Needs no torch and no network connection.
    """
    from gfnet_dynn.bulk.lines import line_format
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.runtime.prediction import Answer, Unreadable
    from gfnet_dynn.workflows.watching import watch as run

    text = line_format("text", request.top, 0)

    def show(answer: Answer) -> None:
        if isinstance(answer, Unreadable):
            print_note(f"error: {answer.error}")
        sys.stdout.write(text.line(answer))
        sys.stdout.flush()

    with _stopped_by_signals() as (stop, heard):
        result = run(request, on_answer=show, log=print_note, stop=stop)
    Terminal().show(result, files=[request.output])
    if signal.SIGINT in heard:
        print_note("interrupted")
        raise SystemExit(130)


@contextmanager
def _stopped_by_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """An event that SIGTERM and Ctrl-C set, and the signals so far; a second Ctrl-C interrupts at once.

    A handler must not set the event itself: it may interrupt the very wait that holds the lock of the event. The bytes
    that the system writes for each signal wake a thread instead.
    """
    stop, heard = threading.Event(), list[int]()

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in heard:
            raise KeyboardInterrupt
        heard.append(number)

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    threading.Thread(target=_set_after_signal, args=(reader, stop), daemon=True).start()
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield stop, heard
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()  # which ends the thread


def _set_after_signal(reader: socket.socket, stop: threading.Event) -> None:
    with reader:
        while received := reader.recv(1):
            if received[0] in (signal.SIGTERM, signal.SIGINT):
                stop.set()
