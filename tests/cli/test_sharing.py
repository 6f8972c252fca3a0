"""`push`, `pull` and `hf://` on the command line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests import bundles
from tests.cli.conftest import Run
from tests.hub.stand_in import TOKEN, Hub

# The client calls its own HTTP library in a way that this has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--threads", "1", "--precision", "fp32")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "measured"))
    Image.fromarray(bundles.images(1)[0]).save(tmp_path / "photo.png")
    return bundles.write_tiny(tmp_path / "tiny.gfd")


def test_there_and_back(model_hub: Hub, tiny: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run("gfnet-dynn", "push", tiny, "me/scenes")
    assert (refused.status, "hf auth login" in refused.err) == (2, True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    pushed = run("gfnet-dynn", "push", tiny, "me/scenes", "--private", "--message", "a first one")
    assert (pushed.status, pushed.err) == (0, "")
    assert f"{model_hub.endpoint}/me/scenes" in pushed.out
    assert "next: gfnet-dynn classify hf://me/scenes IMAGES" in pushed.out
    assert model_hub.repositories["me/scenes"].messages == ["a first one"]
    pulled = run("gfnet-dynn", "pull", "me/scenes", "-o", "mine.gfd")
    assert (pulled.status, pulled.err) == (0, "")
    assert Path("mine.gfd").read_bytes() == tiny.read_bytes()
    for outcome in (refused, pushed, pulled):
        assert TOKEN not in outcome.out + outcome.err


def test_a_bundle_of_the_hub_stands_where_a_file_does(model_hub: Hub, tiny: Path, run: Run) -> None:
    model_hub.repository("me/scenes", {"model.gfd": tiny.read_bytes()})
    by_address = run("gfnet-dynn", "classify", "hf://me/scenes", "photo.png", *QUICK)
    assert by_address.status == 0, by_address.err
    assert by_address.out == run("gfnet-dynn", "classify", tiny, "photo.png", *QUICK).out
    assert run("gfnet-dynn", "bundle", "info", "hf://me/scenes@main").status == 0
    for name in bundles.CLASSES:
        folder = Path("scenes", name)
        folder.mkdir(parents=True)
        (folder / "a.png").hardlink_to("photo.png")
    assert run("gfnet-dynn", "evaluate", "hf://me/scenes", "scenes").status == 0


@pytest.mark.slow
def test_a_bundle_of_the_hub_is_benchmarked(model_hub: Hub, tiny: Path, run: Run) -> None:
    model_hub.repository("me/scenes", {"model.gfd": tiny.read_bytes()})
    line = ("photo.png", "--images", "1", "--repeats", "1", "--energy-seconds", "0", "--engine", "onnxruntime")
    assert run("gfnet-dynn", "benchmark", "hf://me/scenes", *line).status == 0
    assert model_hub.transfers() == ["model.gfd"]


def test_the_commands_of_the_page_on_sharing_work(
    model_hub: Hub, tiny: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ROOT / "docs" / "how-to" / "share.md"
    if not page.exists():
        pytest.skip("the page is not part of a distribution without docs")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    Path("scene.gfd").hardlink_to(tiny)
    Path("photo.png").rename("photo.jpg")
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("gfnet-dynn ")]
    assert len(lines) == 5
    for line in lines:
        words = shlex.split(re.sub("OWNER/NAME", "me/scenes", line), comments=True)
        outcome = run(*words, *(QUICK if "classify" in words else ()))
        assert outcome.status == 0, f"{line}: {outcome.err}"
        repository = model_hub.repositories["me/scenes"]
        repository.refs["v1.0"] = repository.refs["main"]
        if "v1.0" in line:
            repository.add({"other.gfd": tiny.read_bytes()})
        elif "other.gfd" in line:
            repository.refs["main"] = repository.refs["v1.0"] = next(
                commit for commit, files in repository.commits.items() if len(files) == 3
            )


def test_what_lies_in_the_cache_is_not_changed(model_hub: Hub, tiny: Path, run: Run) -> None:
    model_hub.repository("me/scenes", {"model.gfd": tiny.read_bytes()})
    for line in (
        ("bundle", "set-default", "hf://me/scenes", "full"),
        ("bundle", "remove-policy", "hf://me/scenes", "gates"),
        ("calibrate", "hf://me/scenes", "photo.png", "--max-mmacs", "1"),
    ):
        outcome = run("gfnet-dynn", *line)
        assert outcome.status == 2
        assert "gfnet-dynn pull me/scenes" in outcome.err


def test_failures_are_messages(model_hub: Hub, tiny: Path, run: Run) -> None:
    for line, fact in (
        (("classify", "hf://me/absent", "photo.png"), "me/absent"),
        (("bundle", "info", "hf://me"), "hf://OWNER/NAME"),
        (("pull", "me"), "hf://OWNER/NAME"),
        (("push", tiny, "scenes"), "OWNER/NAME"),
    ):
        outcome = run("gfnet-dynn", *line)
        assert (outcome.status, outcome.out) == (2, "")
        assert fact in outcome.err
        assert "Traceback" not in outcome.err


def test_a_copy_of_the_cache_is_used_with_a_note(model_hub: Hub, tiny: Path, tmp_path: Path) -> None:
    """In processes of their own, with the settings of the environment as users make them."""
    model_hub.repository("me/scenes", {"model.gfd": tiny.read_bytes()})
    command = [sys.executable, "-m", "gfnet_dynn", "bundle", "info", "hf://me/scenes"]
    settings = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": model_hub.endpoint, "HF_HUB_DISABLE_TELEMETRY": "1"}
    online, offline, elsewhere = (
        subprocess.run(
            command,
            env={**os.environ, **settings, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        for more in ({}, {"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")})
    )
    assert (online.returncode, online.stderr) == (0, "")
    assert (offline.returncode, offline.stdout) == (0, online.stdout)
    assert offline.stderr.startswith(f"note: no connection to {model_hub.endpoint} (HF_HUB_OFFLINE is set)")
    assert elsewhere.returncode == 2
    assert "hf://me/scenes is not in the cache" in elsewhere.stderr
