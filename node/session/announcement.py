"""Where the surface is: printed, and opened in the browser, once there is something to see."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from . import browser
from .terminal import Terminal


class Announcement:
    """Waits until the surface is served and the clock runs; the two may come in any order, from any thread.

    open_browser: open the page as well, where there is a display.
    """

    def __init__(self, terminal: Terminal, open_browser: bool) -> None:
        self._terminal, self._open_browser = terminal, open_browser
        self._facts: Mapping[str, Any] | None = None
        self._on_air = self._made = False
        self._lock = threading.Lock()

    def served(self, facts: Mapping[str, Any]) -> None:
        """facts: of the surface's server."""
        self._facts = facts
        self._make()

    def on_air(self) -> None:
        self._on_air = True
        self._make()

    def _make(self) -> None:
        with self._lock:
            facts = self._facts
            if self._made or facts is None or not self._on_air:
                return
            self._made = True
        # With tokens, which viewers of the surface must not see.
        self._terminal.print_line(f"surface: {facts['url']}", private=True)
        if link := facts.get("link"):
            text = f"surface for other devices: {link} (watch only: {facts['viewer_link']})"
            self._terminal.print_line(text, private=True)
        if self._open_browser and browser.can_open():
            browser.open_page(facts["url"])
