"""The audience's pages in Debian's Chromium: twenty phones at once, old ones, small ones, and the poster."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crowd_served import ASKED, POLL, Served
from surface_page import chromium
from worldjockey.integrations.crowd import pages

pytestmark = pytest.mark.slow
PLAIN = {**POLL, "options": [{**option, "image": ""} for option in POLL["options"]]}
PLAY = {"all": True, "turn": 0, "seats": {}, "free": 2, "buttons": [], "left": 0}
OLD = "delete window.WebSocket"  # as behind a proxy that knows none


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    served.input.send({"poll": PLAIN})
    yield served
    served.input.stop()


class Phones:
    """Pages in one window: each tab is a person."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self._context = browser.new_context(**{"viewport": {"width": 390, "height": 844}, "locale": "en-GB", **options})
        self._url = url
        self.problems: list[str] = []

    def open(self, path: str = "", script: str = "", ready: str = ".options button, .row") -> Any:
        page = self._context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda line: self.problems.append(line.text) if line.type in ("error", "warning") else None)
        if script:
            page.add_init_script(script)
        page.goto(self._url + path)
        page.locator(ready).first.wait_for(state="attached")
        return page

    def close(self) -> None:
        self._context.close()


def test_the_players_page_tells_whether_phones_play_at_all(browser, crowd):
    phones = Phones(browser, crowd.input.url)
    crowd.input.send({"players": {}})
    page = phones.open("play", ready="#message")
    page.get_by_text("Phones do not play in this show.").wait_for()
    crowd.input.send({"players": {"open": False, "seats": 2, "play": PLAY}})
    page.get_by_text("The crowd is closed for now.").wait_for()
    assert phones.problems == []
    phones.close()


def test_twenty_phones_at_once(browser, crowd):
    phones = Phones(browser, crowd.input.url)
    room = [phones.open() for _ in range(20)]
    for number, page in enumerate(room):
        page.locator("input[type=range]").first.fill(str(5 * number))
        page.locator(".options button").nth(int(number < 6)).click()
    crowd.until(lambda: crowd.newest("votes")["counts"] == [14, 6], "all votes")
    crowd.until(lambda: crowd.newest("faders")["storm"] == {"median": 0.475, "votes": 20}, "the median")
    crowd.until(lambda: crowd.input.heads == 20, "twenty heads")
    room[0].get_by_label("Send a word").fill("Rain!")
    room[0].get_by_role("button", name="Send", exact=True).click()
    room[0].get_by_text("Thank you!").wait_for()
    crowd.until(lambda: any(line.get("words") == [{"word": "rain", "count": 1}] for line in crowd.lines), "the word")
    room[1].get_by_role("button", name="Sea 70%", pressed=False).wait_for()
    room[1].get_by_role("button", name="Desert 30%", pressed=True).wait_for()
    room[1].get_by_text("People here: 20").wait_for()
    crowd.input.send({"poll": {**PLAIN, "counts": [14, 6], "winner": 0}})
    room[2].get_by_text("The vote is over.").wait_for()
    crowd.input.send({"crowd": {**ASKED[0]["crowd"], "open": False}})
    room[2].get_by_text("The crowd is closed for now.").wait_for()
    assert not room[2].locator("#faders").is_visible()
    assert phones.problems == []
    phones.close()


def test_a_phone_brings_back_its_vote_to_a_new_server(browser, crowd):
    phones = Phones(browser, crowd.input.url)
    page = phones.open()
    page.locator(".options button").nth(1).click()
    page.get_by_role("slider").first.fill("90")
    crowd.until(lambda: crowd.newest("votes")["counts"] == [0, 1] and crowd.newest("faders")["storm"]["votes"], "it")
    before = len(crowd.lines)
    os.kill(crowd.input.status()["pid"], signal.SIGKILL)

    def back() -> bool:
        lines = crowd.lines[before:]
        moved = any(line.get("faders", {}).get("storm") == {"median": 0.9, "votes": 1} for line in lines)
        return moved and any(line.get("votes", {}).get("counts") == [0, 1] for line in lines)

    crowd.until(back, "what the phone had chosen")
    phones.close()


def test_a_browser_without_websockets(browser, crowd):
    phones = Phones(browser, crowd.input.url)
    page = phones.open(script=OLD)
    page.locator(".options button").first.click()
    page.get_by_role("slider").first.fill("20")
    crowd.until(lambda: crowd.newest("votes")["counts"] == [1, 0], "the vote")
    crowd.until(lambda: crowd.newest("faders")["storm"]["median"] == 0.2, "the fader")
    page.get_by_role("button", name="Sea 100%", pressed=True).wait_for()
    assert phones.problems == []
    phones.close()


def test_a_small_phone_from_right_to_left(browser, crowd):
    phones = Phones(browser, crowd.input.url, locale="ar", viewport={"width": 320, "height": 568})
    page = phones.open()
    assert page.evaluate("document.dir") == "rtl"
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    small = page.evaluate(
        "Array.from(document.querySelectorAll('button, input, select'))"
        ".filter(e => e.offsetParent && e.offsetHeight < 44).map(e => e.outerHTML)"
    )
    assert small == []
    page.locator("#language").select_option("de")
    page.get_by_text("Schick ein Wort").wait_for()
    page.get_by_text("Wüste").wait_for()
    assert phones.problems == []
    phones.close()


def test_the_poster_shows_the_code_and_the_bars(browser, crowd):
    phones = Phones(browser, crowd.input.url, viewport={"width": 1920, "height": 1080})
    page = phones.open("poster")
    assert page.locator("#code img").evaluate("image => image.naturalWidth") > 0
    assert page.locator("#address").inner_text() == f"127.0.0.1:{crowd.port}"
    voter = phones.open()
    voter.locator(".options button").nth(1).click()
    page.locator(".row").nth(1).get_by_text("100%").wait_for()
    page.get_by_text("People here: 1").wait_for()  # the poster is no person
    assert page.evaluate("document.documentElement.scrollHeight") <= 1080
    assert phones.problems == []
    phones.close()


def test_the_pages_are_small_and_for_old_phones():
    scripts = {path.name: path.read_text("utf-8") for path in pages.PAGE.glob("*.js")}
    for name, text in scripts.items():
        code = re.sub(r"/\*.*?\*/|//.*|'(?:\\.|[^'\\])*'", "''", text, flags=re.DOTALL if "/*" not in text else 0)
        assert not re.search(r"=>|\?\.[a-z]|\?\?|`|\b(?:let|const|class|async|await|import|export)\b", code), name
    for page in pages.PAGE.glob("*.html"):
        files = [page.name, *re.findall(r'(?:src|href)="([\w-]+\.(?:js|css))"', page.read_text("utf-8"))]
        assert sum((pages.PAGE / name).stat().st_size for name in files) < 30_000, page.name
    words = pages.texts()
    assert {"en", "de", "fr", "es", "it", "pt", "ja", "zh", "ar"} <= words.keys()
    for language, found in words.items():
        assert found.keys() == words["en"].keys(), language
        assert all(("{n}" in found[key]) == ("{n}" in text) for key, text in words["en"].items()), language
