"""The surface's address: printed, and the page opened, only when there is something to see."""

from __future__ import annotations

from typing import Any

import pytest
from worldjockey.node.session import browser
from worldjockey.node.session.announcement import Announcement

FACTS = {"url": "http://127.0.0.1:9080/", "link": "http://192.0.2.7:9080/?token=a", "viewer_link": "b"}


class Lines:
    def __init__(self) -> None:
        self.lines: list[tuple[str, bool]] = []

    def print_line(self, text: str, private: bool = False) -> None:
        self.lines.append((text, private))


@pytest.mark.parametrize("order", [["served", "on_air"], ["on_air", "served"]])
def test_the_surface_is_announced_once_when_it_is_served_and_the_clock_runs(order: Any, monkeypatch: Any) -> None:
    opened: list[str] = []
    monkeypatch.setattr(browser, "can_open", lambda: True)
    monkeypatch.setattr(browser, "open_page", opened.append)
    terminal = Lines()
    announcement = Announcement(terminal, True)  # type: ignore[arg-type]
    events = {"served": lambda: announcement.served(FACTS), "on_air": announcement.on_air}
    events[order[0]]()
    assert (terminal.lines, opened) == ([], [])
    events[order[1]]()
    events[order[1]]()
    assert [private for _, private in terminal.lines] == [True, True]
    assert terminal.lines[0][0] == "surface: http://127.0.0.1:9080/"
    assert opened == ["http://127.0.0.1:9080/"]
