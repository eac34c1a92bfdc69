"""The surface's page in Debian's Chromium, and what tests do with it."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SIZES = {"desk": (1440, 900), "tablet": (1180, 820), "phone": (390, 844)}
CHECKS = Path(__file__).with_name("page_checks.js").read_text("utf-8")


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as p:
        # Debian's turns GPU rasterisation on, which in software stalls for many seconds on a busy machine.
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def open_at(browser: Any, url: str, size: str, problems: list[str], patience_s: float = 60.0) -> Any:
    """A page in a context of its own. The errors that it logs, its security policy's among them, go to `problems`."""
    page = new_page(browser, size, problems, patience_s)
    page.goto(url)
    return page


def new_page(browser: Any, size: str, problems: list[str], patience_s: float = 60.0) -> Any:
    """As `open_at`; nothing is opened yet."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=size != "desk", is_mobile=size == "phone"
    )
    page = context.new_page()
    page.set_default_timeout(patience_s * 1000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
    return page


class Pages:
    """One page of each size, in a context of its own, for all tests of a module: to make one takes a second. Each test
    finds it loaded anew, and without what it stored."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._kept: dict[str, Any] = {}
        self._open: list[str] = []
        self._problems: list[str] = []

    def open(self, size: str, url: str) -> Any:
        assert size not in self._open, "there is one page of each size"
        self._open.append(size)
        if size not in self._kept:
            self._kept[size] = new_page(self._browser, size, self._problems)
        width, height = SIZES[size]
        self._kept[size].set_viewport_size({"width": width, "height": height})  # which a test may have changed
        self._kept[size].goto(url)
        return self._kept[size]

    def leave(self) -> list[str]:
        """Close what a test opened. Returns the errors that its pages logged."""
        found, self._problems[:] = list(self._problems), []
        for size in self._open:
            self._kept[size].evaluate("localStorage.clear(), sessionStorage.clear()")
            self._kept[size].goto("about:blank")
        self._open.clear()
        return found


def check(page: Any, what: str, *args: str | float) -> Any:
    """One of peers/page_checks.js."""
    return page.evaluate(f"{CHECKS.rstrip()}.{what}(...{json.dumps(args)})")


def middle(page: Any, selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def pad(page: Any, n: int) -> Any:
    return page.locator(f".pad[aria-label^='pad {n}:']")


def drag(page: Any, selector: str, dx: float, dy: float, steps: int = 8) -> None:
    x, y = middle(page, selector)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=steps)
    page.mouse.up()
