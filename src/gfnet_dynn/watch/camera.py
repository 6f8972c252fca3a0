"""Frames of a camera: the one place that knows PyAV. The device is read all the time, as drivers keep old frames."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import DataError, require_extra
from gfnet_dynn.progress import Log
from gfnet_dynn.watch.frame import Frame

_TIMEOUT_S = 10.0
_CLOSING_S = 2.0

OpenDevice = Callable[[str], Any]
"""From the name of a device to a container of PyAV."""


def open_device(device: str) -> Any:
    """Open a device of Video4Linux; raises OSError, or another error of PyAV that is one."""
    import av  # noqa: PLC0415 # an extra

    return av.open(device, format="v4l2")


class CameraSource:
    """The newest frame of a camera at each look; a `FrameSource`."""

    has_more = False

    def __init__(
        self, device: str, log: Log, open_device: OpenDevice = open_device, timeout_s: float = _TIMEOUT_S
    ) -> None:
        """Open it.

        Raises:
            DataError: there is no such device, or it gives no frames.
            MissingExtraError: PyAV is not installed.
        """
        require_extra("a camera", "camera")
        self._device, self._log, self._open, self._timeout_s = device, log, open_device, timeout_s
        self._is_away = False
        self._stream: _Stream | None = _Stream(device, open_device)
        self._first: npt.NDArray[np.uint8] | None = self._stream.next_frame(timeout_s)

    def look(self) -> Sequence[Frame]:
        """One frame, taken after the call but for the first; none while the camera is away.

        Raises DataError: the camera hangs and cannot be closed, which a new process may mend.
        """
        try:
            pixels = self._newest()
        except DataError as error:
            self._let_go()
            if not self._is_away:
                self._log(f"note: {error}: tries again")
            self._is_away = True
            return ()
        if self._is_away:
            self._log(f"note: {self._device} is back")
        self._is_away = False
        return (Frame(Path(self._device), pixels),)

    def _newest(self) -> npt.NDArray[np.uint8]:
        if self._first is not None:
            pixels, self._first = self._first, None
            return pixels
        if self._stream is None:
            self._stream = _Stream(self._device, self._open)
        return self._stream.next_frame(self._timeout_s)

    def is_current(self, frame: Frame) -> bool:
        """Pixels do not change."""
        return True

    def close(self) -> None:
        """Close the device, or leave it to the end of the process."""
        if self._stream:
            self._stream.close()

    def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        if stream and not stream.close():
            raise DataError(f"the camera {self._device} hangs: start the watch again, or replug it")


class _Stream:
    """An open device, read by a thread that keeps the newest packet; packets of cameras are whole frames."""

    def __init__(self, device: str, open_device: OpenDevice) -> None:
        self._device = device
        try:
            self._container = open_device(device)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot open the camera {device}: {error}") from error
        self._changed = threading.Condition()
        self._packet: Any = None
        self._ended: str | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._read, name=f"camera {device}", daemon=True)
        self._thread.start()

    def next_frame(self, timeout_s: float) -> npt.NDArray[np.uint8]:
        """The next frame, uint8 [height, width, 3]; raises DataError: none comes in time, or the device has gone."""
        with self._changed:
            self._packet = None
            self._changed.wait_for(lambda: self._packet is not None or self._ended, timeout_s)
            if self._packet is None:
                reason = self._ended or f"no frame for {timeout_s:g} s"
                raise DataError(f"the camera {self._device} gives no frames ({reason})")
            packet = self._packet
        try:
            frames = packet.decode()
            pixels: npt.NDArray[np.uint8] = frames[-1].to_ndarray(format="rgb24")
        except (OSError, ValueError, IndexError) as error:
            raise DataError(f"the camera {self._device} gives a damaged frame ({error})") from error
        return pixels

    def _read(self) -> None:
        """Keep the newest packet, until the device ends or `close` asks; only this thread may close it."""
        reason = "its stream has ended"
        try:
            for packet in self._container.demux(video=0):
                with self._changed:
                    if packet.size:
                        self._packet = packet
                        self._changed.notify_all()
                    if self._is_closing:
                        break
        except Exception as error:  # whatever a driver makes of an unplugged device
            reason = str(error)
        with self._changed:
            self._ended = reason
            self._changed.notify_all()
        self._container.close()

    def close(self) -> bool:
        """Have the thread close the device; False: it hangs in the driver."""
        self._is_closing = True
        self._thread.join(_CLOSING_S)
        return not self._thread.is_alive()
