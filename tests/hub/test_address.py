from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.errors import OptionError
from gfnet_dynn.hub.address import HubAddress, cached_address, is_address, parse_address, parse_repository


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://owner/name", HubAddress("owner/name")),
        ("hf://o-1/na_me.v2@v1.0", HubAddress("o-1/na_me.v2", "v1.0")),
        ("hf://owner/name/sub/a.gfd", HubAddress("owner/name", None, "sub/a.gfd")),
        ("hf://owner/name@main/a b.gfd", HubAddress("owner/name", "main", "a b.gfd")),
    ],
)
def test_an_address_is_read_and_written(text: str, address: HubAddress) -> None:
    assert is_address(text)
    assert parse_address(text) == address
    assert str(address) == text
    assert parse_address(Path(text)) == address  # which has lost a slash


@pytest.mark.parametrize(
    "text", ["hf://", "hf://owner", "hf://owner/", "hf:///name", "hf://a/b@", "hf://a b/c", "hf://../x"]
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="hf://OWNER/NAME"):
        parse_address(text)


@pytest.mark.parametrize("text", ["owner", "owner/name/more", "", "hf://owner/name@v1", "../name", "owner/-name"])
def test_a_repository_is_an_owner_and_a_name(text: str) -> None:
    assert parse_repository("owner/name") == parse_repository("hf://owner/name") == "owner/name"
    with pytest.raises(OptionError):
        parse_repository(text)


def test_a_file_of_the_cache_knows_its_origin() -> None:
    path = Path("/cache/huggingface/hub/models--owner--a-name/snapshots/abc/sub/model.gfd")
    assert cached_address(path) == HubAddress("owner/a-name", "abc", "sub/model.gfd")
    for other in (
        "model.gfd",
        "snapshots/abc/model.gfd",
        "/models--a--b/blobs/abc",
        "/datasets--a--b/snapshots/c/m.gfd",
    ):
        assert cached_address(Path(other)) is None
