"""Fixtures of the browser's tests: one Chromium, viewers as processes, and pages that must behave."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.trainers import STARTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 60_000

expect.set_options(timeout=PATIENCE_MS)


class Viewer:
    """A viewer that shows a storage; ended with the test."""

    def __init__(self, storage: Path, *options: str, **environment: str) -> None:
        command = [sys.executable, "-m", "runicorn", "viewer", "--storage", str(storage), "--port", "0", "--no-open"]
        self.process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )
        self.link = self.process.stdout.readline().strip()
        assert "#t=" in self.link, "the viewer did not start"
        self.root, self.token = self.link.split("#t=")

    def at(self, place: str = "") -> str:
        """The link of a page, with the token."""
        return f"{self.root}{place}#t={self.token}"

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()


class Watched:
    """What a page did that no page may do."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.hosts: set[str] = set()
        self.allowed: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url.removeprefix("blob:")).netloc))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) =>"
            " console.error('policy: ' + event.violatedDirective))"
        )

    def _console(self, message: Any) -> None:
        is_expected = any(words in message.text for words in self.allowed)
        if message.type in {"error", "warning"} and not is_expected:
            self.faults.append(f"{message.type}: {message.text} {message.location.get('url')}")

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser; each page has a profile of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def viewer_of(tmp_path: Path) -> Iterator[Callable[..., Viewer]]:
    """Start a viewer of a storage; its links are its own."""
    started: list[Viewer] = []
    links = tmp_path / "viewers"
    links.mkdir(mode=0o700)

    def start(storage: Path, *options: str, **environment: str) -> Viewer:
        environment.setdefault("RUNICORN_VIEWER_DIR", str(links))
        started.append(Viewer(storage, *options, **environment))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address; at the end no page has reported an error or asked anybody else for anything."""
    contexts = []
    watched = Watched()

    def open_at(
        address: str, *, width: int = 1280, height: int = 800, scheme: str = "light", touch: bool = False
    ) -> Page:
        size = {"width": width, "height": height}
        context = chromium.new_context(viewport=size, color_scheme=scheme, accept_downloads=True, has_touch=touch)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        watched.watch(page)
        page.goto(address)
        return page

    open_at.watched = watched
    yield open_at
    for context in contexts:
        context.close()
    assert not watched.faults
    assert all(host.split(":")[0] == "127.0.0.1" for host in watched.hosts), watched.hosts


@pytest.fixture
def open_file(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open a file; at the end no page has reported an error, or asked for anything but that file."""
    contexts = []
    watched = Watched()
    asked: list[str] = []
    read: list[str] = []

    def open_at(path: Path, place: str = "", *, width: int = 1280, scheme: str = "light") -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, accept_downloads=True, offline=True
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        watched.watch(page)
        page.on("request", lambda request: asked.append(request.url.split("#")[0]))
        page.on("requestfinished", lambda request: read.append(request.url))
        page.goto(path.as_uri() + place)
        return page

    open_at.watched = watched
    open_at.read = read
    yield open_at
    for context in contexts:
        context.close()
    assert not watched.faults
    assert all(url.startswith(("file:", "blob:null/", "data:image/")) for url in asked), asked


@pytest.fixture
def trainers_end() -> Iterator[None]:
    """No script that a test has started is left."""
    yield
    while STARTED:
        with suppress(ProcessLookupError):
            STARTED.pop().close()
