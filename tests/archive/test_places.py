"""Files by URL: what is gone, what is refused, and what may come back."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from gfnet_dynn.archive import places
from gfnet_dynn.archive.places import ForbiddenFileError, MissingFileError, read_image_file
from gfnet_dynn.errors import DataError
from tests.loopback import serving


class Answering(BaseHTTPRequestHandler):
    """Answers with the status in the address."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_error(int(self.path[1:4]))

    do_HEAD = do_GET  # noqa: N815 # its name there

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("status", "kind", "tries"), [(404, MissingFileError, 1), (403, ForbiddenFileError, 1), (503, DataError, 3)]
)
def test_only_what_may_come_back_is_tried_again(
    status: int, kind: type[DataError], tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(Answering, "asked", 0)
    with serving(Answering) as address, pytest.raises(DataError) as caught:
        read_image_file(f"{address}/{status}.png")
    assert type(caught.value) is kind
    assert Answering.asked == tries * 2  # fsspec asks for the size in two ways


def test_a_server_that_is_gone_is_no_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_FIRST_PAUSE_S", 0.0)
    with serving(Answering) as address:
        pass
    with pytest.raises(DataError, match="check the address, the connection") as caught:
        read_image_file(f"{address}/a.png")
    assert type(caught.value) is DataError
