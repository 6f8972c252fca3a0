"""Fixtures of the page in Debian's Chromium, and the server that it comes from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.service.running import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),  # a camera that shows a test picture
)


@dataclass
class Opened:
    """The page in a tab of its own, and what it did: requests by method and address, and errors of the console."""

    page: Page
    address: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def asked(self, path: str) -> int:
        """Number of requests for a path."""
        return sum(urlsplit(each.split(" ", 1)[1]).path == path for each in self.requests)

    def drop(self, *files: Path) -> None:
        """Give files to the page as the file chooser does."""
        self.page.set_input_files("#files", list(files))

    def answered(self, number: int) -> None:
        """Wait until so many images have an answer."""
        # A function that Chromium evaluates again and again would violate the content security policy.
        self.page.locator(".card:not([aria-busy]) .label").nth(number - 1).wait_for()

    def slide(self, value: int) -> None:
        """Move the slider, as a mouse does."""
        self.page.locator("#threshold").fill(str(value))

    def texts(self, selector: str) -> list[str]:
        """Text of each element."""
        return self.page.locator(selector).all_inner_texts()


@pytest.fixture(scope="module")
def page_server() -> Iterator[str]:
    """Address of a server of the page: the one place that names it."""
    with running(maps=True) as service:
        yield service.address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module. It is no fixture of the session, as Playwright keeps an event loop running."""
    sync_api: Any = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs the program chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, page_server: str) -> Iterator[Any]:
    """A function that opens the page in a context of its own, with options of the browser's context."""
    contexts = []

    def opened(**options: Any) -> Opened:
        context = chromium.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options})
        contexts.append(context)
        context.set_default_timeout(20_000)
        result = Opened(context.new_page(), page_server)
        page = result.page
        page.on("request", lambda request: result.requests.append(f"{request.method} {request.url}"))
        page.on("pageerror", lambda error: result.errors.append(str(error)))
        page.on("console", lambda said: result.errors.append(said.text) if said.type in ("error", "warning") else None)
        return result

    yield opened
    for context in contexts:
        context.close()
