"""A camera: FFmpeg's test picture where PyAV is installed, and stand-ins for what goes wrong. No real device."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from gfnet_dynn.errors import DataError, MissingExtraError
from gfnet_dynn.watch.camera import CameraSource


class Device:
    """A stand-in for a container of PyAV: each packet is a picture of one grey, brighter each time."""

    def __init__(self, *, damaged: bool = False) -> None:
        self.damaged = damaged
        self.is_closed = self.hangs = self.is_unplugged = False
        self.go_on = threading.Event()

    def demux(self, video: int) -> Iterator[Any]:
        number = 0
        while not self.is_unplugged:
            if self.hangs:
                self.go_on.wait(60)
                return
            self.go_on.wait(0.002)
            number += 1
            yield _Packet(number % 256, self.damaged)
        raise OSError(19, "No such device")

    def close(self) -> None:
        self.is_closed = True


class _Packet:
    size = 1

    def __init__(self, grey: int, damaged: bool) -> None:
        self._grey, self._damaged = grey, damaged

    def decode(self) -> list[Any]:
        return [] if self._damaged else [self]

    def to_ndarray(self, format: str) -> Any:  # noqa: A002 # as PyAV names it
        assert format == "rgb24"
        return np.full((4, 6, 3), self._grey, np.uint8)


@pytest.fixture
def pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyAV counts as installed."""
    monkeypatch.setattr("gfnet_dynn.errors.find_spec", lambda name: name)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.mark.usefixtures("pyav")
def test_each_look_gives_one_frame_and_the_device_is_closed(notes: list[str]) -> None:
    device = Device()
    source = CameraSource("/dev/video0", notes.append, lambda name: device)
    for _ in range(3):
        [frame] = source.look()
        assert str(frame.source) == "/dev/video0"
        assert isinstance(frame.picture, np.ndarray)
        assert frame.picture.shape == (4, 6, 3)
        assert frame.picture.dtype == np.uint8
        assert source.is_current(frame)
    source.close()
    assert device.is_closed
    assert notes == []


@pytest.mark.usefixtures("pyav")
def test_a_camera_that_was_unplugged_is_noted_once_and_opened_again(notes: list[str]) -> None:
    first = Device()
    made = iter([first, OSError(2, "No such file"), OSError(2, "No such file"), Device()])

    def open_next(name: str) -> Any:
        device = next(made)
        if isinstance(device, OSError):
            raise device
        return device

    source = CameraSource("/dev/video0", notes.append, open_next, timeout_s=30)
    found = [len(source.look())]
    first.is_unplugged = True
    while looked := source.look():  # frames that came before
        found[0] = len(looked)
    found += [len(source.look()) for _ in range(3)]
    source.close()
    assert found == [1, 0, 0, 1]
    assert len(notes) == 2
    assert "No such device" in notes[0]
    assert "/dev/video0 is back" in notes[1]
    assert first.is_closed


@pytest.mark.usefixtures("pyav")
def test_damaged_frames_are_no_frames(notes: list[str]) -> None:
    with pytest.raises(DataError, match="damaged frame"):
        CameraSource("/dev/video0", notes.append, lambda name: Device(damaged=True))


@pytest.mark.usefixtures("pyav")
def test_a_camera_that_hangs_ends_the_watch(notes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfnet_dynn.watch.camera._CLOSING_S", 0.05)
    device = Device()
    source = CameraSource("/dev/video0", notes.append, lambda name: device, timeout_s=0.2)
    source.look()
    device.hangs = True
    with pytest.raises(DataError, match="the camera /dev/video0 hangs"):
        [source.look() for _ in range(100)]
    device.go_on.set()


@pytest.mark.usefixtures("pyav")
def test_a_device_that_cannot_be_opened_is_refused(notes: list[str]) -> None:
    def refuse(name: str) -> Any:
        raise OSError(16, "Device or resource busy")

    with pytest.raises(DataError, match=r"cannot open the camera /dev/video0: .*busy"):
        CameraSource("/dev/video0", notes.append, refuse)


def test_without_pyav_the_extra_is_named(notes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfnet_dynn.errors.find_spec", lambda name: None if name == "av" else find_spec(name))
    with pytest.raises(MissingExtraError, match=r"gfnet-dynn\[camera\]"):
        CameraSource("/dev/video0", notes.append)


def test_pyav_gives_the_pixels_of_a_test_picture(notes: list[str]) -> None:
    av = pytest.importorskip("av", reason="needs the extra camera")
    picture = "color=c=0xff8000:size=64x48:rate=30,format=rgb24,realtime"
    source = CameraSource("test", notes.append, lambda name: av.open(picture, format="lavfi"))
    for _ in range(3):
        [frame] = source.look()
        assert isinstance(frame.picture, np.ndarray)
        assert frame.picture.shape == (48, 64, 3)
        assert np.abs(frame.picture.astype(int) - (255, 128, 0)).max() <= 3
    source.close()


def test_pyav_says_what_device_is_missing(notes: list[str]) -> None:
    pytest.importorskip("av", reason="needs the extra camera")
    with pytest.raises(DataError, match=r"cannot open the camera /dev/video97: .*No such file"):
        CameraSource("/dev/video97", notes.append)
