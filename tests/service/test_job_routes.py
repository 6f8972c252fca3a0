"""The routes of map jobs, through HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from rasterio.io import MemoryFile

from gfnet_dynn import errors
from gfnet_dynn.service.error_answers import add_error_answers
from gfnet_dynn.service.job_record import RESULTS
from gfnet_dynn.service.job_routes import job_router
from gfnet_dynn.service.jobs import JobStore
from gfnet_dynn.service.openapi import describe_api
from gfnet_dynn.service.scene_body import FORM_OVERHEAD
from tests import bundles
from tests.service.map_jobs import (
    Hold,
    ended,
    is_worked_on,
    large_scene,
    make_bundle,
    make_store,
    small_scene,
    wait_until,
)

TIFF = {"Content-Type": "image/tiff"}


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_bundle(tmp_path)


def make_app(store: JobStore) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with store:
            yield

    app = FastAPI(lifespan=lifespan)
    app.include_router(job_router(store))

    add_error_answers(app)
    describe_api(app)
    return app


@contextmanager
def serving(bundle: Path, **settings: Any) -> Iterator[tuple[TestClient, JobStore]]:
    store = make_store(bundle, **settings)
    with TestClient(make_app(store)) as client:
        yield client, store


def waiting_uploads(store: JobStore) -> int:
    return len(store._uploads)


def test_from_a_scene_to_its_results(bundle: Path, tmp_path: Path) -> None:
    with serving(bundle) as (client, store):
        answer = client.post("/map?policy=gates&name=north%20field", content=small_scene(tmp_path), headers=TIFF)
        assert answer.status_code == 201
        job = answer.json()
        place = answer.headers["Location"]
        assert place == f"/jobs/{job['id']}"
        assert (job["type"], job["processID"], job["jobID"]) == ("process", "map", job["id"])
        assert (job["status"], job["name"]) == ("accepted", "north field")
        ended(store, job["id"])
        job = client.get(place).json()
        assert (job["status"], job["progress"]) == ("successful", 100)
        assert client.get("/jobs").json()["jobs"] == [job]
        links = {each["rel"].rpartition("/")[2]: each["href"] for each in job["links"]}
        assert links == {"self": place, "results": f"{place}/results"}
        results = client.get(links["results"]).json()
        assert set(results) == {*RESULTS, "summary"}
        assert [each["name"] for each in results["summary"]["areas"]] == list(bundles.CLASSES)
        assert sum(each["share"] for each in results["summary"]["areas"]) == pytest.approx(1)
        for key in RESULTS:
            file = client.get(results[key]["href"])
            assert file.status_code == 200
            assert file.headers["Content-Type"] == results[key]["type"]
            assert len(file.content) > 100
        for key in ("class", "confidence", "exit"):
            with MemoryFile(client.get(results[key]["href"]).content) as memory, memory.open() as dataset:
                assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert dataset.shape == tuple(results["summary"]["cells"])
        assert client.get(results["png"]["href"]).content.startswith(b"\x89PNG")
        part = client.get(results["class"]["href"], headers={"Range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, b"II*\0")
        assert client.delete(place).json()["status"] == "dismissed"
        assert client.get(place).status_code == 404


def test_a_form_is_a_scene_too(bundle: Path, tmp_path: Path) -> None:
    scene = small_scene(tmp_path)
    with serving(bundle) as (client, store):
        raw = client.post("/map", content=scene, headers={"Content-Type": "application/octet-stream"}).json()
        sent = {"scene": ("../../süd\x07feld.tif", scene, "image/tiff")}
        form = client.post("/map", files=sent, data={"note": "passed over"}).json()
        ended(store, raw["id"])
        assert ended(store, form["id"]).status == "successful"
        assert raw["name"] == "scene.tif"
        assert "süd" in form["name"]
        assert form["name"].isprintable()
        maps = [client.get(f"/jobs/{job['id']}/results/map.tif").content for job in (raw, form)]
        assert maps[0] == maps[1]


BOUNDARY = b"--x\r\n"
HEAD = b'Content-Disposition: form-data; name="scene"; filename="a.tif"\r\n\r\n'


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data"),
        (b"anything", "multipart/form-data; boundary=" + "x" * 500),
        (b"", "multipart/form-data; boundary=x"),
        (b"no boundary at all", "multipart/form-data; boundary=x"),
        (BOUNDARY + HEAD + b"II*\0" + bytes(50), "multipart/form-data; boundary=x"),
        (BOUNDARY + HEAD.replace(b"scene", b"image") + b"II*\0\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        ((BOUNDARY + HEAD + b"II*\0\r\n") * 2 + b"--x--\r\n", "multipart/form-data; boundary=x"),
        (BOUNDARY + b"X: " + b"y" * 100_000, "multipart/form-data; boundary=x"),
        (BOUNDARY + b"\r\n\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    ],
)
def test_a_damaged_form_is_refused(bundle: Path, body: bytes, content_type: str) -> None:
    with serving(bundle) as (client, store):
        answer = client.post("/map", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 400
        assert waiting_uploads(store) == 0
        assert client.get("/jobs").json()["jobs"] == []


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_a_form_may_come_in_any_pieces(bundle: Path, tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = small_scene(tmp_path)[:5000]  # no whole scene: what arrived is looked at before it is refused
    body = BOUNDARY + HEAD + scene + b"\r\n--x--\r\n"
    seen: list[bytes] = []
    with serving(bundle) as (client, store):
        submit = store.submit

        def kept(upload: Any, *more: Any) -> Any:
            upload.finish()
            seen.append(upload.folder.scene.read_bytes())
            return submit(upload, *more)

        monkeypatch.setattr(store, "submit", kept)
        pieces = (body[start : start + cut] for start in range(0, len(body), cut))
        client.post("/map", content=pieces, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert seen == [scene]


def test_other_media_types_are_refused(bundle: Path, tmp_path: Path) -> None:
    scene = small_scene(tmp_path)
    with serving(bundle) as (client, _store):
        for headers in ({"Content-Type": "image/png"}, {"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}):
            assert client.post("/map", content=scene, headers=headers).status_code == 415
        assert client.post("/map", content=scene, headers={"Content-Type": 'Image/TIFF; x="y"'}).status_code == 201


def test_a_body_beyond_the_limit_is_refused(bundle: Path, tmp_path: Path) -> None:
    scene = large_scene(tmp_path)
    with serving(bundle, scene_bytes=len(scene) - 1) as (client, store):
        assert client.post("/map", content=scene, headers=TIFF).status_code == 413
        assert client.post("/map", content=iter([scene]), headers=TIFF).status_code == 413  # of no stated length
        assert client.post("/map", files={"scene": scene}).status_code == 413
        note = {"note": (None, b"n" * (FORM_OVERHEAD + 1))}
        assert client.post("/map", files={**note, "scene": scene[:100]}).status_code == 413
        assert waiting_uploads(store) == 0


def test_unusable_scenes_and_options_are_refused(bundle: Path, tmp_path: Path) -> None:
    scene, placeless = small_scene(tmp_path), small_scene(tmp_path, crs=None)
    with serving(bundle) as (client, _store):
        answer = client.post("/map", files={"scene": ("nowhere.tif", placeless)})
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("nowhere.tif has no coordinate reference system")
        queries = ("bands=1,2", "bands=1,2,9", "scale=5", "scale=9,1", "gsd=0", "gsd=nan", "stride=-1", "stride=1e12")
        for query in (*queries, "policy=nothing", "model=nothing", "chip=5", "gsd=two"):
            assert client.post(f"/map?{query}", content=scene, headers=TIFF).status_code == 422, query
        assert client.get("/jobs").json()["jobs"] == []


def test_a_full_queue_tells_when_to_come_again(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Hold(monkeypatch, 0)
    with serving(bundle, waiting=1) as (client, _store):
        client.post("/map", content=small_scene(tmp_path), headers=TIFF)
        hold.wait()
        client.post("/map", content=small_scene(tmp_path), headers=TIFF)
        answer = client.post("/map", content=small_scene(tmp_path), headers=TIFF)
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        hold.release()


def test_a_running_job_is_cancelled(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Hold(monkeypatch, 2)
    with serving(bundle) as (client, store):
        place = client.post("/map", content=large_scene(tmp_path), headers=TIFF).headers["Location"]
        hold.wait()
        assert client.get(place).json()["status"] == "running"
        assert client.get(f"{place}/results").status_code == 404
        assert client.get(f"{place}/results/map.tif").status_code == 404
        assert client.delete(place).json()["status"] == "dismissed"
        hold.release()
        wait_until(lambda: not is_worked_on(store, place.removeprefix("/jobs/")))
        assert hold.written == 3
        assert client.get(place).json()["status"] == "dismissed"


def test_only_results_are_sent(bundle: Path, tmp_path: Path) -> None:
    with serving(bundle) as (client, store):
        job_id = client.post("/map", content=small_scene(tmp_path), headers=TIFF).json()["id"]
        ended(store, job_id)
        files = ("job.json", "..%2Fjob.json", "%2e%2e%2fjob.json", "..%5cjob.json", "%2fetc%2fpasswd", "map.tif%00")
        for file in (*files, "../job.json", "scene.tif"):
            assert client.get(f"/jobs/{job_id}/results/{file}").status_code == 404, file
        for other in ("x", "..%2F..", "%00", job_id[:-1]):
            assert client.get(f"/jobs/{other}").status_code == 404, other
            assert client.delete(f"/jobs/{other}").status_code == 404, other


def test_without_rasterio_the_answer_says_what_to_install(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(bundle) as (client, _):
        monkeypatch.setattr(errors, "find_spec", lambda name: None)
        answer = client.post("/map", content=small_scene(tmp_path), headers=TIFF)
        assert answer.status_code == 501
        assert "gfnet-dynn[geo]" in answer.json()["detail"]


async def send_and(app: FastAPI, messages: list[dict[str, Any]], last: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Send these pieces of a body, then `last`, or nothing any more; returned is what the application sends."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        if last is None:
            await asyncio.Event().wait()
        assert last is not None
        return last

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        **{"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/map"},
        **{"raw_path": b"/map", "root_path": "", "query_string": b"", "headers": [(b"content-type", b"image/tiff")]},
    }
    await app(scope, receive, send)
    return sent


def test_an_upload_that_ends_early_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    piece = {"type": "http.request", "body": small_scene(tmp_path)[:999], "more_body": True}
    folder = tmp_path / "jobs"
    for last, status in (({"type": "http.disconnect"}, 400), (None, 408)):
        store = make_store(bundle, folder, upload_seconds=0.5)
        with store:
            sent = asyncio.run(send_and(make_app(store), [dict(piece)], last))
            assert sent[0]["status"] == status
            assert waiting_uploads(store) == 0
            assert not [path for path in folder.iterdir() if path.is_dir()]


def test_an_upload_that_is_cancelled_gives_its_place_back(bundle: Path, tmp_path: Path) -> None:
    async def cancelled(store: JobStore) -> None:
        task = asyncio.ensure_future(send_and(make_app(store), [], None))
        while not waiting_uploads(store):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with make_store(bundle, tmp_path / "jobs") as store:
        asyncio.run(cancelled(store))
        assert waiting_uploads(store) == 0


def test_the_document_describes_all_answers(bundle: Path) -> None:
    document = make_app(make_store(bundle)).openapi()
    post = document["paths"]["/map"]["post"]
    assert set(post["responses"]) == {"201", "400", "404", "408", "413", "415", "422", "429", "501", "503"}
    for status, answer in post["responses"].items():
        kind = "application/json" if status == "201" else "application/problem+json"
        assert set(answer["content"]) == {kind}
    assert set(post["requestBody"]["content"]) == {"image/tiff", "application/octet-stream", "multipart/form-data"}
    names = {each["name"] for each in post["parameters"]}
    assert names == {"model", "policy", "gsd", "bands", "scale", "stride", "name"}
    result = document["paths"]["/jobs/{job_id}/results/{file}"]["get"]["responses"]
    assert set(result["200"]["content"]) == {kind for _, kind in RESULTS.values()}
    assert "class" in document["components"]["schemas"]["JobResults"]["properties"]
