"""Bundles pushed to a hub and taken from it, against a stand-in over HTTP."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gfnet_dynn.bundle.archive import STAC, read_bundle
from gfnet_dynn.bundle.builtin import builtin_models
from gfnet_dynn.errors import BundleError, HubConnectionError, HubError, OptionError, StorageError
from gfnet_dynn.runtime import load
from gfnet_dynn.workflows import ClassifyRequest, PullRequest, PushRequest, classify, pull, push
from gfnet_dynn.workflows.bundles import info, stac
from gfnet_dynn.workflows.model_page import model_page
from gfnet_dynn.workflows.sharing import MODEL
from tests import bundles
from tests.hub.stand_in import TOKEN, Hub

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")

# The client calls its own HTTP library in a way that this has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
HUB: Any = "hf://me/scenes"  # requests take text where they have paths


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle in the working folder, which is empty otherwise."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return bundles.write_tiny(tmp_path / "tiny.gfd")


@pytest.fixture
def token(model_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that may write; the hub's fixture removes any other."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def page(files: dict[str, bytes]) -> Any:
    return huggingface_hub.ModelCard(files["README.md"].decode())


@pytest.mark.usefixtures("token")
def test_a_pushed_bundle_comes_back_as_it_was(model_hub: Hub, tiny: Path) -> None:
    result = push(PushRequest(bundle=tiny, repository="me/scenes", message="first"))
    repository = model_hub.repositories["me/scenes"]
    files = repository.commits[repository.refs["main"]]
    assert set(files) == {MODEL, STAC, "README.md"}
    assert files[MODEL] == tiny.read_bytes()
    assert (repository.private, repository.messages) == (False, ["first"])
    assert result.published.url == f"{model_hub.endpoint}/me/scenes"
    assert repository.refs["main"] in result.published.commit_url
    pulled = pull(PullRequest(repository="me/scenes"))
    assert pulled.bundle.path == Path("scenes.gfd")
    assert pulled.bundle.path.read_bytes() == tiny.read_bytes()
    assert (pulled.written, pulled.address.revision) == (True, repository.refs["main"])
    assert not pull(PullRequest(repository="hf://me/scenes@main")).written


@pytest.mark.usefixtures("token")
def test_a_new_version_replaces_the_old_one(model_hub: Hub, tiny: Path, tmp_path: Path) -> None:
    push(PushRequest(bundle=tiny, repository="me/scenes"))
    newer = bundles.write_tiny(tmp_path / "another-name.gfd", model="newer")
    push(PushRequest(bundle=newer, repository="me/scenes"))
    old, new = (
        model_hub.repositories["me/scenes"].commits,
        pull(PullRequest(repository="me/scenes", output=Path("b.gfd"))),
    )
    assert new.bundle.manifest.model == "newer"
    assert any(files.get(MODEL) == tiny.read_bytes() for files in old.values())
    assert "newer" in model_hub.repositories["me/scenes"].messages[-1]


@pytest.mark.usefixtures("token")
def test_the_page_of_a_built_in_model_shows_its_card(model_hub: Hub, tiny: Path) -> None:
    bundle = read_bundle(builtin_models()["aerial"])
    push(PushRequest(bundle=bundle.path, repository="me/aerial"))
    repository = model_hub.repositories["me/aerial"]
    files = repository.commits[repository.refs["main"]]
    card, shown = bundle.manifest.card, page(files)
    assert card is not None
    data = shown.data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "gfnet-dynn", "image-classification")
    assert data.datasets == ["torchgeo/ucmerced"]
    assert [each.metric_value for each in data.eval_results] == [each.accuracy for each in card.policies.values()]
    assert {each.dataset_name for each in data.eval_results} == {card.measured_on}
    chosen = [each.metric_name for each in data.eval_results if "chosen on these images" in each.metric_name]
    assert len(chosen) == sum(each.calibrated_on_these for each in card.policies.values())
    for text in (card.title, card.intended_use, *card.limits, card.measured_on, "classify hf://me/aerial"):
        assert text in shown.text
    item = json.loads(files[STAC])
    assert item["assets"]["model"]["href"] == f"./{MODEL}"


def test_the_page_of_a_bundle_without_a_card_says_so(tmp_path: Path) -> None:
    report = {
        "measured_on": "selection split, 40 images",
        "precisions": {"fp32": {"gates": {"accuracy": 0.95}, "odd": "text"}, "int8": {"gates": {"accuracy": 0.5}}},
    }
    made = read_bundle(bundles.write_tiny(tmp_path / "tiny.gfd", report=report))
    shown = page({"README.md": model_page(made, "me/tiny").to_markdown().encode()})
    assert [(each.metric_value, each.dataset_name) for each in shown.data.eval_results] == [
        (0.95, report["measured_on"])
    ]
    assert "Nobody wrote a card" in shown.text
    assert (shown.data.license, shown.data.datasets) == (None, None)
    reports: list[dict[str, Any]] = [{}, {"precisions": []}, {"precisions": {"fp32": 3}}]
    reports.append({"precisions": {"fp32": {"a": {"accuracy": 1.0}}}})
    for odd in reports:
        made = read_bundle(bundles.write_tiny(tmp_path / "tiny.gfd", report=odd))
        assert model_page(made, "me/tiny").figures == ()


@pytest.mark.parametrize("fault", ["missing", "unknown", "forbidden"])
def test_without_a_token_that_may_write_nothing_is_sent(
    model_hub: Hub,
    tiny: Path,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if fault != "missing":
        monkeypatch.setenv("HF_TOKEN", TOKEN if fault == "forbidden" else "hf_UnKnOwN")
    model_hub.writable = False
    with pytest.raises(HubError, match=r"HF_TOKEN, or run `hf auth login`") as refused:
        push(PushRequest(bundle=tiny, repository="me/scenes"))
    assert not re.search("hf_UnKnOwN|sEcReT", str(refused.value))
    assert (model_hub.repositories, model_hub.objects) == ({}, {})


@pytest.mark.usefixtures("token")
def test_private_means_private(model_hub: Hub, tiny: Path) -> None:
    push(PushRequest(bundle=tiny, repository="me/secret", private=True))
    assert model_hub.repositories["me/secret"].private
    push(PushRequest(bundle=tiny, repository="me/secret", private=True))
    before = model_hub.repository("me/open")
    with pytest.raises(HubError, match="me/open is public"):
        push(PushRequest(bundle=tiny, repository="me/open", private=True))
    assert list(before.commits.values()) == [{}]


@pytest.mark.usefixtures("token")
def test_a_repository_keeps_one_bundle(model_hub: Hub, tiny: Path) -> None:
    repository = model_hub.repository("me/scenes", {"mine.gfd": b"another"})
    with pytest.raises(HubError, match=r"me/scenes holds mine\.gfd already"):
        push(PushRequest(bundle=tiny, repository="me/scenes"))
    assert len(repository.commits) == 1


@pytest.mark.usefixtures("token")
def test_a_damaged_bundle_is_not_pushed(model_hub: Hub, tiny: Path) -> None:
    content = bytearray(tiny.read_bytes())
    content[content.index(bundles.segments()[0]) + 60] ^= 1
    tiny.write_bytes(content)
    with pytest.raises(BundleError, match="fp32/segment0"):
        push(PushRequest(bundle=tiny, repository="me/scenes"))
    assert model_hub.repositories == {}


@pytest.mark.usefixtures("token")
def test_without_a_connection_nothing_is_pushed(model_hub: Hub, tiny: Path) -> None:
    model_hub.status = 503
    with pytest.raises(HubConnectionError, match=f"no connection to {model_hub.endpoint}.*503"):
        push(PushRequest(bundle=tiny, repository="me/scenes"))


def test_what_is_no_bundle_gets_no_name(model_hub: Hub, tiny: Path) -> None:
    model_hub.repository("me/scenes", {"model.gfd": b"no bundle"})
    with pytest.raises(BundleError, match=r"hf://me/scenes@.*model\.gfd is of no use"):
        pull(PullRequest(repository="me/scenes"))
    content = tiny.read_bytes()
    model_hub.repository("me/torn", {"model.gfd": content[:-200]})
    with pytest.raises(BundleError, match="me/torn"):
        pull(PullRequest(repository="me/torn", output=Path("torn.gfd")))
    assert list(Path().iterdir()) == []


def test_another_file_is_never_replaced(model_hub: Hub, tiny: Path) -> None:
    model_hub.repository("me/scenes", {"model.gfd": tiny.read_bytes()})
    Path("scenes.gfd").write_text("mine")
    with pytest.raises(StorageError, match=r"scenes\.gfd is another file.*--output"):
        pull(PullRequest(repository="me/scenes"))
    assert Path("scenes.gfd").read_text() == "mine"
    with pytest.raises(StorageError, match="folder"):
        pull(PullRequest(repository="me/scenes", output=Path()))
    assert pull(PullRequest(repository="me/scenes", output=Path("new/a.gfd"))).written


def test_a_bundle_is_used_where_it_is(model_hub: Hub, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_hub.repository("me/scenes", {"model.gfd": tiny.read_bytes()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tiny.parent / "measured"))
    Image.fromarray(bundles.images(1)[0]).save("photo.png")
    found, own = (load(name, threads=1, precision="fp32").classify("photo.png")[0] for name in (HUB, tiny))
    assert found.to_dict() == own.to_dict()
    request = ClassifyRequest(bundle=HUB, images=(Path("photo.png"),), threads=1, precision="fp32")
    assert classify(request).predictions[0].label == own.label
    assert info(HUB).bundle.sha256 == read_bundle(tiny).sha256
    assert stac(HUB)["id"] == stac(tiny)["id"]
    assert model_hub.transfers() == ["model.gfd"]


@pytest.mark.parametrize(
    ("options", "facts"),
    [({"repository": "scenes"}, "OWNER/NAME"), ({"repository": "me/scenes", "message": " "}, "--message")],
)
def test_requests_are_checked(tiny: Path, options: dict[str, Any], facts: str) -> None:
    with pytest.raises(OptionError, match=facts):
        PushRequest(bundle=tiny, **options)
