"""A real browser on a server of its own, for tests of the page and for its pictures."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PATIENCE = 30_000  # milliseconds, for busy machines


def browser_path() -> str | None:
    """Where the machine's chromium is; None = nowhere."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def open_browser() -> Iterator[Any]:
    """A headless chromium; skips the test, loudly, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="NO BROWSER TEST WAS RUN: pip install playwright")
    path = browser_path()
    if path is None:
        pytest.skip("NO BROWSER TEST WAS RUN: there is no chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=4 * PATIENCE)
        yield opened
        opened.close()


@contextmanager
def served_page(browser: Any, make_app: Callable[[], Any], width: int = 400) -> Iterator[Any]:
    """The page of a server of its own; fails if a script on it did."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(make_app(), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            context = browser.new_context(viewport={"width": width, "height": 800}, reduced_motion="no-preference")
            context.set_default_timeout(PATIENCE)
            opened = context.new_page()
            problems: list[str] = []
            opened.on("pageerror", lambda error: problems.append(str(error)))
            opened.goto(f"http://127.0.0.1:{listening.getsockname()[1]}/")
            yield opened
            assert not problems
            context.close()
        finally:
            server.should_exit = True
            thread.join(30)


def press(page: Any, key: str) -> None:
    """Presses a key once the page has done what it was asked before."""
    page.locator("body:not([data-busy])").wait_for()
    page.keyboard.press(key)


def tab_to(page: Any, name: str) -> None:
    """Presses Tab until what is called so has the focus."""
    called = """() => { const e = document.activeElement;
        return e.getAttribute('aria-label') || (e.labels && e.labels.length ? e.labels[0].textContent : e.textContent) }"""
    for _ in range(80):
        press(page, "Tab")
        if name in page.evaluate(called):
            return
    raise AssertionError(f"the keyboard does not reach {name!r}")


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until something holds."""
    until = time.monotonic() + PATIENCE / 1000
    while not holds():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
