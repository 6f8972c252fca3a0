"""Models, figures, reloading and promises of a running service."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import BundleError, OptionError  # of the same extra
from gfnet_dynn.exits import NEVER
from gfnet_dynn.images.decode import decode
from gfnet_dynn.service.app import Service
from gfnet_dynn.service.request import ServeRequest
from gfnet_dynn.uncertainty.drift import BINS, Reference
from tests import bundles
from tests.service.running import Running, png, running, tiny

FILES = [png(image) for image in bundles.images(12)]
LEARNED = {"statement": "harmful exits at most 1%", "precisions": ["fp32"]}
FULL_ONLY = tuple(
    (0,) * BINS if exit_ < 2 else tuple(np.bincount([19] * 150 + [12] * 50, minlength=BINS).tolist())
    for exit_ in range(3)
)


def promised(name: str = "promised") -> Policy:
    """A policy with a guarantee in fp32, and calibration images that all passed the full network."""
    return replace(
        bundles.POLICIES[-1], name=name, guarantee=LEARNED, references={"fp32": Reference(FULL_ONLY, (200, 0, 0))}
    )


def slow_decode(*given: Any) -> Any:
    time.sleep(0.05)
    return decode(*given)


def lines(service: Running) -> dict[str, float]:
    """Values of the metrics by name and labels."""
    text = service.client.get("/metrics").text
    return {key: float(value) for key, value in (each.rsplit(" ", 1) for each in text.splitlines() if each[0] != "#")}


def test_models_say_what_they_promise_and_cost(tmp_path: Path) -> None:
    policies = (*bundles.POLICIES, promised())
    with running(bundles=[str(tiny(tmp_path, policies=policies)), str(tiny(tmp_path, "other"))]) as service:
        first, second = service.client.get("/models").json()["models"]
        assert (first["name"], second["name"]) == ("tiny", "other")
        assert first["classes"] == list(bundles.CLASSES)
        assert [each["macs"] for each in first["exits"]] == [100, 250, 400]
        assert [each["ms"] for each in first["exits"]] == sorted(each["ms"] for each in first["exits"])
        known = {each["name"]: each for each in first["policies"]}
        assert known["full"]["thresholds"] == [None, None]
        assert known["promised"]["statement"] == "harmful exits at most 1%"
        assert known["promised"]["macs_share"] == 1
        assert service.classify(FILES[0]).json()["model"] == "tiny"
        assert service.classify(FILES[0], model="other").json()["model"] == "other"


def test_figures_count_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(bundles=[str(tiny(tmp_path))], queue=4, lower_exits=False) as service:
        exits = [service.classify(each).json()["predictions"][0]["exit"] for each in FILES]
        monkeypatch.setattr("gfnet_dynn.service.answering.decode", slow_decode)
        assert service.classify(FILES[0], deadline_ms=20).status_code == 429
        files = [("images", (f"{number}.png", each, "image/png")) for number, each in enumerate(FILES[:5])]
        assert service.client.post("/classify", files=files).status_code == 413
        found = service.client.get("/status").json()["models"]["tiny"]
        assert (found["answered"], found["late"], found["rejected"], found["queue"]) == (12, 1, 5, 0)
        shares = dict(zip(found["exit_names"], found["exit_shares"], strict=True))
        assert shares == {name: pytest.approx(exits.count(name) / 12) for name in ("exit 1", "exit 2", "final")}
        assert found["latency_ms"]["median"] <= found["latency_ms"]["p99"]
        metrics = lines(service)
        assert metrics['gfnet_dynn_images_total{ending="answered",model="tiny"}'] == 12
        assert metrics['gfnet_dynn_images_total{ending="late",model="tiny"}'] == 1
        assert metrics['gfnet_dynn_images_total{ending="rejected",model="tiny"}'] == 5
        macs = {"exit 1": 100, "exit 2": 250, "final": 400}
        assert metrics['gfnet_dynn_macs_total{model="tiny"}'] == sum(macs[each] for each in exits)
        assert metrics['gfnet_dynn_request_seconds_count{route="/classify",status="429"}'] == 1


def test_a_promise_is_in_doubt_when_images_change(tmp_path: Path) -> None:
    """The calibration images all passed the full network with high confidence; these do not."""
    bundle = tiny(tmp_path, policies=(promised(), *bundles.POLICIES))
    with running(bundles=[str(bundle)], lower_exits=False, false_alarms="1%") as service:
        assert service.classify(FILES[0]).json()["predictions"][0]["promise"] == "holds"
        assert service.classify(FILES[0], policy="gates").json()["predictions"][0]["promise"] == "none"
        assert service.classify(FILES[0], threshold=0.5).json()["predictions"][0]["promise"] == "none"
        seen = [service.classify(FILES[0]).json()["predictions"][0]["promise"] for _ in range(300)]
        assert seen[-1] == "in doubt"
        assert set(seen[seen.index("in doubt") :]) == {"in doubt"}
        assert service.classify(FILES[0], deadline_ms=5000).json()["predictions"][0]["promise"] == "in doubt"
        found = service.client.get("/status").json()["models"]["tiny"]["promise"]["promised"]
        assert found["largest_evidence"] >= found["alarm_at"] == 100
        assert found["images"] == 301
        assert lines(service)['gfnet_dynn_promise{model="tiny",policy="promised",state="in doubt"}'] == 1


def test_a_bundle_is_replaced_while_it_is_used(tmp_path: Path) -> None:
    bundle = tiny(tmp_path)
    with running(bundles=[str(bundle)]) as service:
        digests, statuses, is_over = set[str](), set[int](), threading.Event()

        def use() -> None:
            while not is_over.is_set():
                answer = service.classify(FILES[0])
                statuses.add(answer.status_code)
                digests.add(answer.json().get("digest", ""))

        users = [threading.Thread(target=use) for _ in range(4)]
        for each in users:
            each.start()
        for number in range(5):
            bundles.write_tiny(bundle, report={"number": number})
            assert service.client.post("/reload").json()["models"]["tiny"]["state"] == "replaced"
        is_over.set()
        for each in users:
            each.join()
        assert statuses == {200}
        assert len(digests) >= 2
        assert service.client.post("/reload").json()["models"]["tiny"]["state"] == "unchanged"


def test_garbage_in_place_of_a_bundle_keeps_the_model(tmp_path: Path) -> None:
    bundle = tiny(tmp_path)
    with running(bundles=[str(bundle)]) as service:
        before = service.classify(FILES[0]).json()
        bundle.write_bytes(b"garbage")
        answer = service.client.post("/reload")
        assert answer.status_code == 422
        assert str(bundle) in answer.json()["detail"]
        after = service.classify(FILES[0]).json()
        assert after["digest"] == before["digest"]
        assert after["predictions"][0]["label"] == before["predictions"][0]["label"]


def test_load_lowers_no_further_than_the_owner_allows(tmp_path: Path) -> None:
    first = replace(bundles.POLICIES[0], name="first", thresholds=(0.0, 0.0))
    middle = replace(promised("middle"), thresholds=(NEVER, 0.0))
    bundle = tiny(tmp_path, policies=(bundles.POLICIES[-1], middle, first))
    lowered: dict[str | None, set[str]] = {}
    for lowest in (None, "full"):
        with running(bundles=[str(bundle)], lower_to=lowest, most_wait_ms=1e-6, max_images=64) as service:
            files = [("images", (f"{number}.png", each, "image/png")) for number, each in enumerate(FILES * 4)]
            made = service.client.post("/classify", files=files).json()["predictions"]
            lowered[lowest] = {f"{each['policy']} {each['lowered']}" for each in made}
    assert "first load" in lowered[None]
    assert lowered["full"] == {"full None"}


BAD: dict[str, tuple[dict[str, object], type[Exception], str]] = {
    "missing bundle": ({"bundles": ["none.gfd"]}, BundleError, "none.gfd"),
    "no such policy": ({"policy": "gate"}, BundleError, "gate"),
    "no such lowest policy": ({"lower_to": "slow"}, BundleError, "slow"),
    "short token": ({"token": "secret"}, OptionError, "16 characters"),
    "token file": ({"token_file": "none.txt"}, OptionError, "none.txt"),
}


@pytest.mark.parametrize(("options", "error", "fact"), BAD.values(), ids=BAD)
def test_what_cannot_be_served_is_told_at_the_start(
    tmp_path: Path, options: dict[str, object], error: type[Exception], fact: str
) -> None:
    with pytest.raises(error, match=fact):
        Service(ServeRequest(**{"bundles": [str(tiny(tmp_path))], "maps": False, **options}))  # type: ignore[arg-type]


def test_two_bundles_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(BundleError, match="two bundles are named tiny"):
        Service(ServeRequest(bundles=(str(tiny(tmp_path)), str(tiny(tmp_path / "a")))))


@pytest.mark.parametrize(
    "options",
    [
        {"port": 70_000},
        {"batch": 0},
        {"queue": 0},
        {"time_limit_s": 0.0},
        {"false_alarms": "60%"},
        {"token": "a" * 20, "token_file": "file"},
        {"lower_exits": False, "lower_to": "fast"},
        {"max_body": "much"},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        ServeRequest(**options)  # type: ignore[arg-type]
