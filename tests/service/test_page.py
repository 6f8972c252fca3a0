"""The page of the service in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra serve")
from tests.service import browser  # of the same extra
from tests.service.browser import DESKTOP, PHONE, Opened

# Fixtures, which pytest finds as members of this module.
page_server, chromium, open_page = browser.page_server, browser.chromium, browser.open_page

pytestmark = pytest.mark.slow

Open = Callable[..., Opened]
GEO_TAGS = {33550: (1.0, 1.0, 0.0), 33922: (0.0, 0.0, 0.0, 500000.0, 4000000.0, 0.0)}


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Three generated images: noise, waves and a plain colour."""
    generator = np.random.default_rng(0)
    rows = np.mgrid[:128, :128][0]
    pixels = {
        "noise.png": generator.integers(0, 256, (128, 128, 3)),
        "waves.png": np.repeat((128 + 100 * np.sin(rows / 6))[:, :, None], 3, axis=2),
        "plain.png": np.full((128, 128, 3), (40, 90, 60)),
    }
    for name, values in pixels.items():
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / name)
    return [tmp_path / name for name in pixels]


def opened(open_page: Open, **options: Any) -> Opened:
    tab = open_page(**options)
    tab.page.goto(tab.address)
    tab.page.locator("html[data-ready]").wait_for()
    return tab


def change_answer(tab: Opened, **members: Any) -> None:
    """Let the service answer images with other members of the prediction."""

    def altered(route: Any) -> None:
        response = route.fetch()
        content = response.json()
        content["predictions"][0].update(members)
        route.fulfill(response=response, json=content)

    tab.page.route("**/classify?*", altered)


def refuse(route: Any, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
    problem = {"type": "about:blank", "title": "refused", "status": status, "detail": detail}
    route.fulfill(
        status=status, headers=headers or {}, content_type="application/problem+json", body=json.dumps(problem)
    )


def test_a_real_image_gets_its_label(open_page: Open, shared: Callable[[str], Path]) -> None:
    tab = opened(open_page)
    tab.drop(next(iter(sorted(shared("data/UCM/val/river").iterdir()))))
    tab.answered(1)
    assert tab.texts(".label") == ["river"]
    assert tab.texts(".bars li:first-child .class") == ["river"]
    assert tab.page.locator(".bars li").count() == 5
    assert "Guarantee holds: harmful exits at most 1%" in tab.texts(".promise")[0]
    assert tab.errors == []


def test_the_slider_moves_exits_without_a_request(open_page: Open, images: list[Path]) -> None:
    tab = opened(open_page)
    tab.drop(*images)
    tab.answered(3)
    asked = tab.asked("/classify")
    shown = {}
    for value in (0, 101):
        tab.slide(value)
        tab.page.wait_for_timeout(100)  # the next frame
        shown[value] = (tab.texts(".exit-text"), tab.texts("#sum"))
    assert all(text.startswith("Exit 1 of 5: 20%") for text in shown[0][0])
    assert all(text.startswith("Final exit of 5: 100%") for text in shown[101][0])
    assert "mean computation 20%" in shown[0][1][0]
    assert "mean computation 100%, no label changed" in shown[101][1][0]
    assert all(text.startswith("No guarantee") for text in tab.texts(".card .promise"))
    assert tab.asked("/classify") == asked == 3
    tab.page.click("#reset")
    assert "by the policy" in tab.page.inner_text("#threshold-text")
    assert not any(text.startswith("No guarantee:") for text in tab.texts(".card .promise"))


def test_another_policy_asks_anew(open_page: Open, images: list[Path]) -> None:
    tab = opened(open_page)
    tab.drop(images[0])
    tab.answered(1)
    tab.page.check("input[value=full]")
    tab.page.locator(".card .promise.none").wait_for()
    assert tab.texts(".exit-text")[0].startswith("Final exit of 5")
    assert tab.asked("/classify") == 2
    tab.page.select_option("#model", "sentinel2")
    tab.page.get_by_text("10 classes, 96 px").wait_for()
    assert tab.page.locator("input[name=policy]:checked").input_value() == "1-point"


def test_an_unreadable_file_is_told_beside_its_name(open_page: Open, images: list[Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    tab = opened(open_page)
    tab.drop(damaged, images[0])
    tab.answered(1)
    card = tab.page.locator(".card", has_text="damaged.jpg")
    card.locator(".error").wait_for()
    assert card.locator(".label").count() == 0
    assert "1 image:" in tab.page.inner_text("#sum")


def test_what_the_service_says_is_shown(open_page: Open, images: list[Path]) -> None:
    tab = opened(open_page)
    change_answer(
        tab, promise="in doubt", lowered="load", policy="fast", unknown=True, prediction_set=["<b>river", "forest"]
    )
    tab.drop(images[0])
    tab.answered(1)
    card = tab.page.locator(".card").inner_text()
    assert tab.texts(".label") == ["Unknown"]
    assert "One of: <b>river, forest" in card  # as text, not as markup
    assert "Guarantee in doubt" in card
    assert "Policy fast answered in place of 1-point" in card


def test_a_busy_device_is_asked_again(open_page: Open, images: list[Path]) -> None:
    tab = opened(open_page)
    refused: list[str] = []

    def busy_once(route: Any) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            refuse(route, 429, "the queue is full", {"Retry-After": "1"})

    tab.page.route("**/classify?*", busy_once)
    tab.drop(images[0])
    tab.page.get_by_text("Next try in 1 s").wait_for()
    tab.answered(1)
    assert len(refused) == 1


def test_a_lost_connection_is_said_and_found_again(open_page: Open, images: list[Path]) -> None:
    tab = opened(open_page)
    tab.page.context.set_offline(True)
    tab.drop(images[0])
    tab.page.locator(".card", has_text="No connection to the device").wait_for()
    tab.page.locator("#connection", has_text="No connection").wait_for()
    tab.page.context.set_offline(False)
    tab.answered(1)
    tab.page.locator("#connection").wait_for(state="hidden")


def test_a_token_is_asked_for_and_kept_in_memory(open_page: Open, images: list[Path]) -> None:
    tab = open_page()

    def guarded(route: Any) -> None:
        if route.request.headers.get("authorization") == "Bearer secret":
            route.continue_()
        else:
            refuse(route, 401, "a token is needed")

    tab.page.route(re.compile(r"/(models|classify|status)(\?|$)"), guarded)
    tab.page.goto(tab.address)
    tab.page.fill("#token", "wrong")
    tab.page.keyboard.press("Enter")
    tab.page.locator("#token-wrong").wait_for()
    tab.page.fill("#token", "secret")
    tab.page.keyboard.press("Enter")
    tab.page.locator("html[data-ready]").wait_for()
    tab.drop(images[0])
    tab.answered(1)
    assert tab.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    assert "secret" not in tab.page.content()


def geotiff(path: Path) -> Path:
    """A TIFF with tags that place it on Earth."""
    Image.new("RGB", (64, 64), (40, 90, 60)).save(path, tiffinfo=GEO_TAGS)
    return path


def serve_maps(tab: Opened, statuses: list[dict[str, Any]], picture: bytes) -> list[str]:
    """Let the service have one map job, which goes through these statuses; the requests it gets."""
    heard: list[str] = []
    areas = [{"name": "forest", "km2": 1.25, "share": 0.75, "interval": None}]
    files = {"class": {"href": "/jobs/a/results/map.tif"}, "png": {"href": "/jobs/a/results/map.png"}}
    results = {**files, "summary": {"areas": areas, "notes": ["a note"]}}

    def job(route: Any) -> None:
        request = route.request
        heard.append(f"{request.method} {request.url.removeprefix(tab.address)}")
        if request.url.endswith(".png"):
            route.fulfill(body=picture, content_type="image/png")
        elif request.url.endswith("/results"):
            route.fulfill(json=results)
        elif request.method == "POST":
            route.fulfill(status=201, headers={"Location": "/jobs/a"}, json={"id": "a", "status": "accepted"})
        else:
            if request.method == "DELETE":
                statuses[:] = [{"status": "dismissed", "progress": 40}]
            route.fulfill(json={"id": "a", **(statuses.pop(0) if len(statuses) > 1 else statuses[0])})

    tab.page.route(re.compile(r"/(map\?|jobs/)"), job)
    return heard


def test_a_geotiff_is_mapped(open_page: Open, images: list[Path], tmp_path: Path) -> None:
    tab = opened(open_page)
    running = {"status": "running", "progress": 40, "message": "block 4 of 10"}
    heard = serve_maps(tab, [running, {"status": "successful", "progress": 100}], images[1].read_bytes())
    tab.drop(geotiff(tmp_path / "scene.tif"))
    tab.page.get_by_role("button", name="Map it").click()
    tab.page.get_by_text("40%, block 4 of 10").wait_for()
    tab.page.locator("img.map").wait_for()
    assert tab.texts("tbody tr") == ["forest\t1.25\t75%"]
    assert tab.page.get_by_role("link", name="map.tif").get_attribute("href") == "/jobs/a/results/map.tif"
    assert "policy=1-point" in heard[0]
    assert tab.errors == []


def test_a_real_scene_becomes_a_map(open_page: Open, tmp_path: Path) -> None:
    pytest.importorskip("rasterio", reason="needs the extra geo")
    from tests.geo.scenes import pixels, write_scene  # noqa: PLC0415 # which needs it too

    scene = write_scene(tmp_path / "scene.tif", pixels(200, 200))
    tab = opened(open_page)
    tab.page.select_option("#model", "sentinel2")
    tab.drop(scene)
    tab.page.get_by_role("button", name="Map it").click()
    tab.page.locator("img.map").wait_for(timeout=60_000)
    assert tab.texts("tbody tr")
    link = tab.page.get_by_role("link", name="map.tif").first.get_attribute("href")
    assert tab.page.request.get(f"{tab.address}{link}").body()[:2] in (b"II", b"MM")
    assert tab.errors == []


def test_a_map_can_be_cancelled(open_page: Open, tmp_path: Path) -> None:
    tab = opened(open_page)
    heard = serve_maps(tab, [{"status": "running", "progress": 40}], b"")
    tab.drop(geotiff(tmp_path / "scene.tif"))
    tab.page.get_by_role("button", name="Map it").click()
    tab.page.get_by_role("button", name="Cancel").click()
    tab.page.get_by_text("The map was cancelled").wait_for()
    assert "DELETE /jobs/a" in heard


def test_a_geotiff_may_be_classified_and_a_plain_tiff_is(open_page: Open, tmp_path: Path) -> None:
    plain = tmp_path / "plain.tif"
    Image.new("RGB", (64, 64), (90, 90, 60)).save(plain)
    tab = opened(open_page)
    tab.drop(plain, geotiff(tmp_path / "scene.tif"))
    tab.answered(1)
    assert tab.texts(".placeholder") == ["TIF", "TIF"]
    tab.page.get_by_role("button", name="Classify as one image").click()
    tab.answered(2)


def test_a_picture_of_the_camera_is_classified(open_page: Open) -> None:
    tab = opened(open_page, permissions=["camera"])
    tab.page.click("#camera")
    tab.page.wait_for_timeout(1500)  # until the first picture of the stand-in for a camera
    tab.page.click("#camera-take")
    tab.answered(1)
    assert tab.texts(".name") == ["camera 1.jpg"]
    assert tab.errors == []


def test_files_are_dropped_and_pasted(open_page: Open, images: list[Path]) -> None:
    tab = opened(open_page)
    give = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, { type: "image/png" }));
        document.dispatchEvent(kind === "drop" ? new DragEvent(kind, { dataTransfer: data, cancelable: true })
            : new ClipboardEvent(kind, { clipboardData: data }));
    }"""
    for number, kind in enumerate(("drop", "paste"), 1):
        tab.page.evaluate(give, [kind, list(images[0].read_bytes())])
        tab.answered(number)
    assert tab.texts(".name") == ["paste.png", "drop.png"]


def test_the_keyboard_alone_is_enough(open_page: Open, images: list[Path]) -> None:
    tab = opened(open_page)
    focused = "document.activeElement.id || document.activeElement.value"
    seen = []
    for _ in range(7):
        tab.page.keyboard.press("Tab")
        seen.append(tab.page.evaluate(focused))
    assert seen[1:3] == ["files", "camera"]
    assert {"model", "1-point"} <= set(seen)
    with tab.page.expect_file_chooser() as chooser:
        tab.page.focus("#files")
        tab.page.keyboard.press("Enter")
    chooser.value.set_files(images[:2])
    tab.answered(2)
    tab.page.focus("#threshold")
    tab.page.keyboard.press("Home")
    tab.page.get_by_text("mean computation 20%").wait_for()
    tab.page.locator(".remove").first.focus()
    tab.page.keyboard.press("Enter")
    assert tab.page.locator(".card").count() == 1
    assert "remove" in (tab.page.evaluate("document.activeElement.className"))


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_is_wider_than_the_window(open_page: Open, images: list[Path], width: int) -> None:
    tab = opened(open_page, viewport={"width": width, "height": 800})
    long = images[0].rename(images[0].with_name(f"{'a_long_name' * 12}.png"))
    tab.drop(long, *images[1:])
    tab.answered(3)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Open, images: list[Path], scheme: str, size: dict[str, int]) -> None:
    pytest.importorskip("axe_playwright_python", reason="axe is not installed")
    tab = opened(open_page, viewport=size, color_scheme=scheme)
    change_answer(tab, promise="in doubt", lowered="deadline")
    tab.drop(images[0])
    tab.answered(1)
    tab.page.unroute_all()
    damaged = images[1]
    damaged.write_bytes(b"nothing")
    tab.drop(damaged, images[2])
    tab.answered(2)
    tab.page.locator(".error").first.wait_for()
    tab.page.locator(".stack").wait_for()
    tab.page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    dark = tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 20, 19)"
    assert dark == (scheme == "dark")
    tab.page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = tab.page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    bad = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found if each["impact"] != "minor"]
    assert bad == []


def test_nothing_comes_from_elsewhere(open_page: Open, images: list[Path]) -> None:
    tab = opened(open_page)
    tab.drop(*images)
    tab.answered(3)
    addresses = [each.split(" ", 1)[1] for each in tab.requests]
    assert all(each.startswith((tab.address, f"blob:{tab.address}")) for each in addresses)
    assert tab.errors == []  # neither of a script, nor of the content security policy


def test_the_status_rests_while_the_tab_is_hidden(open_page: Open, images: list[Path]) -> None:
    tab = opened(open_page)
    tab.drop(images[0])
    tab.page.locator(".stack").wait_for()
    assert "Median latency" in tab.page.inner_text("#live")
    tab.page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    tab.page.wait_for_timeout(2500)  # a request that was on its way
    asked = tab.asked("/status")
    tab.page.wait_for_timeout(3000)
    assert tab.asked("/status") == asked
    tab.page.evaluate("Object.defineProperty(document, 'hidden', { value: false })")
    tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    with tab.page.expect_request("**/status"):
        pass


def test_the_page_is_small() -> None:
    files = list((resources.files("gfnet_dynn.service") / "page").iterdir())
    assert sum(len(file.read_bytes()) for file in files) <= 60 * 1024
