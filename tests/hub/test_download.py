"""Bundles from a hub: what is transferred, what is cached, and each way to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.errors import GFNetDynnError, HubConnectionError, HubError, MissingExtraError, StorageError
from gfnet_dynn.hub.address import HubAddress, parse_address
from gfnet_dynn.hub.download import Fetched, fetch
from tests.hub.stand_in import TOKEN, Hub

FILES = {"README.md": b"# page", "model.gfd": b"a bundle"}


def get(text: str) -> Fetched:
    return fetch(parse_address(text), ".gfd")


def test_a_file_is_transferred_once(model_hub: Hub) -> None:
    commit = model_hub.repository("me/scenes", FILES).refs["main"]
    first, again = get("hf://me/scenes"), get("hf://me/scenes")
    assert first == again
    assert (first.path.read_bytes(), first.note) == (b"a bundle", "")
    assert first.address == HubAddress("me/scenes", commit, "model.gfd")
    assert model_hub.transfers() == ["model.gfd"]


def test_revisions_are_branches_tags_and_commits(model_hub: Hub) -> None:
    repository = model_hub.repository("me/scenes", FILES)
    old = repository.refs["main"]
    repository.add({"model.gfd": b"a newer one"})
    repository.refs["v1"] = old
    assert get("hf://me/scenes").path.read_bytes() == b"a newer one"
    for revision in ("v1", old):
        assert get(f"hf://me/scenes@{revision}").path.read_bytes() == b"a bundle"


def test_of_several_bundles_one_is_named(model_hub: Hub) -> None:
    model_hub.repository("me/scenes", {**FILES, "sub/other.gfd": b"another"})
    assert get("hf://me/scenes/sub/other.gfd").path.read_bytes() == b"another"
    with pytest.raises(HubError, match=r"several bundles, model\.gfd, sub/other\.gfd.*hf://me/scenes/model\.gfd"):
        get("hf://me/scenes")


def test_a_private_repository_needs_the_token(model_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    model_hub.repository("me/secret", FILES, private=True)
    with pytest.raises(HubError, match=f"{model_hub.endpoint}/me/secret.*HF_TOKEN"):
        get("hf://me/secret")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert get("hf://me/secret").path.read_bytes() == b"a bundle"
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(HubError, match="does not accept the token") as refused:
        get("hf://me/secret")
    assert "hf_another" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("hf://me/absent", "no repository at .*/me/absent: check the name"),
        ("hf://me/scenes@v9", r"me/scenes has no revision v9: see .*/me/scenes/commits/main"),
        ("hf://me/scenes/none.gfd", r"hf://me/scenes/none\.gfd is not a bundle in its repository: it holds model\.gfd"),
        ("hf://me/scenes/README.md", r"README\.md is not a bundle"),
        ("hf://me/empty", r"hf://me/empty is no repository of a bundle: it holds no \.gfd file"),
        ("hf://me/gated", "me/gated is gated: accept its terms at .*/me/gated, then set HF_TOKEN"),
        ("hf://me/na--me", "hf://me/na--me"),
    ],
)
def test_what_is_not_there_is_named(model_hub: Hub, text: str, facts: str) -> None:
    model_hub.repository("me/scenes", FILES)
    model_hub.repository("me/empty", {"README.md": b"# page"})
    model_hub.repository("me/gated", FILES, gated=True)
    with pytest.raises(HubError, match=facts) as refused:
        get(text)
    assert not isinstance(refused.value, HubConnectionError)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_hub_out_of_order_is_as_good_as_none(model_hub: Hub, status: int) -> None:
    model_hub.repository("me/scenes", FILES)
    model_hub.status = status
    with pytest.raises(HubConnectionError, match=f"{status}.*not in the cache"):
        get("hf://me/scenes")
    model_hub.status = None
    fetched = get("hf://me/scenes")
    model_hub.status = status
    again = get("hf://me/scenes")
    assert again.path == fetched.path
    assert str(status) in again.note
    assert f"cached copy {fetched.address}" in again.note


def test_without_a_connection_the_cached_copy_is_used(model_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = model_hub.repository("me/scenes", FILES).refs["main"]
    fetched = get("hf://me/scenes")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    for text in ("hf://me/scenes", f"hf://me/scenes@{commit}", "hf://me/scenes/model.gfd"):
        copy = get(text)
        assert copy.path == fetched.path
        assert "no connection to http://127.0.0.1:1" in copy.note
    for text in ("hf://me/scenes@v1", "hf://me/other", "hf://me/scenes/other.gfd"):
        with pytest.raises(HubConnectionError, match=r"no connection to http://127\.0\.0\.1:1 .*not in the cache"):
            get(text)


def test_offline_mode_asks_nobody(model_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    model_hub.repository("me/scenes", FILES)
    fetched = get("hf://me/scenes")
    model_hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    copy = get("hf://me/scenes")
    assert copy.path == fetched.path
    assert "HF_HUB_OFFLINE is set" in copy.note
    with pytest.raises(HubConnectionError, match=r"HF_HUB_OFFLINE is set.*hf://me/other is not in the cache"):
        get("hf://me/other")
    assert model_hub.requests == []


def test_a_cache_that_cannot_be_written_is_named(model_hub: Hub, tmp_path: Path) -> None:
    model_hub.repository("me/scenes", FILES)
    (tmp_path / "cache").write_text("a file in its place")
    with pytest.raises((StorageError, HubError)) as refused:
        get("hf://me/scenes")
    assert isinstance(refused.value, GFNetDynnError)


def test_the_client_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfnet_dynn.errors.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"gfnet-dynn\[hub\]"):
        get("hf://me/scenes")
