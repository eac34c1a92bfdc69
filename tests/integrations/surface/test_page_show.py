"""The page, in Debian's Chromium, against a real show."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from surface_page import check, chromium, drag, open_at, pad
from worldjockey.node.measure.show_process import free_port

pytestmark = pytest.mark.slow
PATIENCE_S = 90.0  # a world that shares its processor takes seconds for a step
SHOW = """\
name: small
size: 512x288
fps: 20
prompt: the open sea at noon, clear air, natural colours   # the light of day
pads:
  - {label: night, text: "midnight, moonlight, deep blue"}
  - {label: red, text: "sunset, red"}
  - city skyline, neon lights
cues:
  - {name: opening, pads: {}, values: {energy: 0}, seconds: 1}
  # the storm is long
  - {name: storm, pads: {night: 0.5}, values: {energy: 0.7}, seconds: 1}
outputs: []
midi: {enabled: false}
"""


class Show:
    """`wj play` of a file, without a window; `url` of its page."""

    def __init__(self, folder: Path) -> None:
        self.file, self.url = folder / "small.yaml", ""
        self._log = folder / "play.log"

    @contextlib.contextmanager
    def play(self) -> Iterator[Show]:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        command = [sys.executable, "-m", "worldjockey.node", "play", str(self.file), "--headless"]
        command += ["--surface-port", str(port), "--osc-port", str(free_port())]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "DISPLAY": ""})
        try:
            yield self
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def show(tmp_path: Path) -> Show:
    show = Show(tmp_path)
    show.file.write_text(SHOW, "utf-8")
    return show


Opener = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any, wait_for: Callable[..., None]) -> Iterator[Opener]:
    """Opens the page of a show once it is served, and waits for the program's picture."""
    problems: list[str] = []
    with contextlib.ExitStack() as stack:

        def start(show: Show, size: str = "desk") -> Any:
            def served() -> bool:
                with (
                    contextlib.suppress(OSError, HTTPException),
                    urllib.request.urlopen(show.url, timeout=PATIENCE_S) as answer,
                ):
                    return bool(answer.status == 200)
                return False

            wait_for(served, PATIENCE_S, "the page to be served")
            page = open_at(browser, show.url, size, problems, PATIENCE_S)
            stack.callback(page.context.close)
            page.locator(".screen.program .on").first.wait_for()
            return page

        yield start
    # The monitor starts with the world, and a browser logs what is refused until then, or while the server is away.
    assert [problem for problem in problems if not problem.startswith(("Failed to load", "WebSocket connection"))] == []


def state(page: Any, what: str) -> Any:
    """What the page knows, by an expression over the exports of its state.js."""
    return page.evaluate(f"import('./state.js').then(state => {what})")


def wait_until_written(page: Any, show: Show, text: str, wait_for: Callable[..., None]) -> None:
    """The page says so where a save failed, as on a machine that is too busy, and is asked to save again."""

    def written() -> bool:
        if state(page, "state.show.value.error"):
            page.get_by_role("button", name="Not saved:").click()
            page.get_by_role("button", name="Try again").click()
            page.locator("dialog").wait_for(state="detached")
        return text in show.file.read_text("utf-8")

    wait_for(written, 2 * PATIENCE_S, f"{text} to be in the file")


def test_a_real_show_by_mouse(show: Show, open_page: Opener, wait_for: Callable[..., None]) -> None:
    with show.play():
        page = open_page(show)
        wait_for(lambda: state(page, "state.status.value.world.state") == "running", PATIENCE_S)
        pad(page, 2).click()
        wait_for(lambda: check(page, "red") > 25, PATIENCE_S, "a red sunset")
        pad(page, 2).click()
        pad(page, 1).click()
        wait_for(lambda: check(page, "red") < -5, PATIENCE_S, "a blue night")
        pad(page, 1).click()
        drag(page, ".slider[aria-label='energy']", 40, 0)
        page.get_by_role("button", name="jump", exact=True).click()
        wait_for(lambda: state(page, "state.value('act').value") == "jump", PATIENCE_S)
        wait_for(lambda: state(page, "state.value('energy').value") > 0.5, PATIENCE_S)
        page.get_by_label("prompt of the program").fill("a volcano, red, sunset")
        page.keyboard.press("Enter")
        wait_for(lambda: check(page, "red") > 25, PATIENCE_S, "what was typed")
        page.locator(".transport .go").click()
        page.locator(".transport .go").click()
        wait_for(lambda: state(page, "state.status.value.cue.now") == 1, PATIENCE_S)
        wait_for(lambda: pad(page, 1).get_attribute("aria-valuenow") == "0.5", PATIENCE_S, "the cue's pad")


def test_a_preview_is_prepared_taken_and_swapped_back(
    show: Show, open_page: Opener, wait_for: Callable[..., None]
) -> None:
    with show.play():
        page = open_page(show)
        wait_for(lambda: state(page, "state.status.value.world.state") == "running", PATIENCE_S)
        before = check(page, "red")
        page.get_by_role("group", name="the controls play").get_by_role("button", name="preview").click()
        page.locator(".screen.preview .on").first.wait_for()
        pad(page, 2).click()
        wait_for(lambda: check(page, "red", "preview") > 25, PATIENCE_S, "the preview's red sunset")
        assert check(page, "red") < before + 10, "nobody sees what is prepared"
        take = page.get_by_role("region", name="take")
        take.get_by_role("button", name="take").click()
        wait_for(lambda: check(page, "red") > 25, PATIENCE_S, "the program's red sunset")
        take.get_by_role("button", name="Swap back").click()
        wait_for(lambda: check(page, "red") < before + 10, PATIENCE_S, "the program as it was before")
        kept = "the preview keeps what was prepared"
        wait_for(lambda: pad(page, 2).get_attribute("aria-valuenow") == "1", PATIENCE_S, kept)


def test_by_keyboard_and_touch_on_two_pages_in_step(
    show: Show, open_page: Opener, wait_for: Callable[..., None]
) -> None:
    with show.play():
        desk, phone = open_page(show), open_page(show, "phone")
        desk.locator(".slider[aria-label='energy']").press("End")
        wait_for(
            lambda: phone.locator(".slider[aria-label='energy']").get_attribute("aria-valuenow") == "1", PATIENCE_S
        )
        phone.get_by_role("tab", name="pads").last.tap()
        pad(phone, 2).tap()
        wait_for(lambda: pad(desk, 2).get_attribute("aria-valuenow") == "1", PATIENCE_S)
        phone.get_by_role("tab", name="cues").tap()
        phone.locator(".transport .go").tap()
        wait_for(lambda: desk.locator(".cue.now").inner_text().startswith("1"), PATIENCE_S)
        wait_for(lambda: pad(desk, 2).get_attribute("aria-valuenow") == "0", PATIENCE_S, "the cue lowers all pads")
        desk.reload()
        wait_for(lambda: desk.locator(".cue.now").count() == 1, PATIENCE_S, "the same after a reload")


def test_kill_9_of_the_surface_is_survived(show: Show, open_page: Opener, wait_for: Callable[..., None]) -> None:
    with show.play():
        page = open_page(show)
        pad(page, 1).click()
        wait_for(lambda: state(page, "state.value('pad/1').value") == 1, PATIENCE_S)
        first = int(state(page, "state.status.value.inputs.surface.pid"))
        os.kill(first, signal.SIGKILL)

        def back() -> bool:
            pid = state(page, "state.status.value.inputs.surface.pid")
            return pid not in (None, first) and state(page, "state.line.value") == "open"

        wait_for(back, PATIENCE_S, "the page comes back by itself")
        wait_for(lambda: pad(page, 1).get_attribute("aria-valuenow") == "1", PATIENCE_S)
        missed, ticks = state(page, "[state.status.value.clock.missed, state.status.value.clock.ticks]")
        assert missed <= ticks // 4, "a busy machine costs some, and a clock that waits most"
        pad(page, 1).click()
        wait_for(lambda: state(page, "state.value('pad/1').value") == 0, PATIENCE_S)


def test_a_stored_cue_is_in_the_file_and_in_the_next_show(
    show: Show, open_page: Opener, wait_for: Callable[..., None]
) -> None:
    with show.play():
        page = open_page(show)
        page.keyboard.press("2")
        wait_for(lambda: state(page, "state.value('pad/2').value") == 1, PATIENCE_S, "a key of the show's table")
        page.get_by_role("button", name="Store", exact=True).click()
        page.get_by_label("name").fill("finale")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="cue 3: finale").wait_for()
        page.locator("dialog").wait_for(state="detached")
        page.get_by_role("button", name="edit cue 3").click(force=True)
        page.get_by_label("follow").fill("8 bars")
        page.get_by_role("button", name="Apply").click()
        wait_until_written(page, show, "follow: 8 bars", wait_for)
    text = show.file.read_text("utf-8")
    assert "name: finale" in text
    assert "# the light of day" in text
    assert "  # the storm is long\n" in text
    with show.play():
        page = open_page(show)
        page.get_by_role("button", name="cue 3: finale").dblclick()
        wait_for(lambda: pad(page, 2).get_attribute("aria-valuenow") == "1", PATIENCE_S)


def test_a_midi_knob_is_mapped_by_a_click(
    show: Show, open_page: Opener, jack: str, wait_for: Callable[..., None]
) -> None:
    rtmidi = pytest.importorskip("rtmidi")
    show.file.write_text(SHOW.replace("midi: {enabled: false}", "midi: {takeover: jump}  # no waiting"), "utf-8")
    knob = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="knobs")
    knob.open_virtual_port("out")
    turns = itertools.count()

    def turn_until(condition: Callable[[], object]) -> None:
        def turned() -> object:
            knob.send_message((0xB0, 74, 10 + 7 * next(turns) % 100))
            return condition()

        wait_for(turned, PATIENCE_S)

    try:
        with show.play():
            page = open_page(show)
            wait_for(lambda: "knobs" in str(state(page, "state.status.value.inputs.midi")), PATIENCE_S)
            page.get_by_role("button", name="Map", exact=True).click()
            page.locator(".slider[aria-label='energy']").click()
            page.get_by_text("Now move a MIDI control").wait_for()
            row = page.locator(".maps li", has_text="CC 74")
            turn_until(lambda: row.count() == 1)
            assert "energy" in row.inner_text()
            page.get_by_label("high end of").first.fill("0.5")
            page.keyboard.press("Tab")
            page.get_by_role("button", name="Map", exact=True).click()

            def at_half() -> bool:
                knob.send_message((0xB0, 74, 0))
                knob.send_message((0xB0, 74, 127))
                return bool(state(page, "state.value('energy').value") == 0.5)

            wait_for(at_half, PATIENCE_S, "the knob plays the range that was set")
            wait_until_written(page, show, "high: 0.5", wait_for)
            assert "# no waiting" in show.file.read_text("utf-8")
            page.get_by_role("button", name="Map", exact=True).click()
            page.get_by_label("takeover of").first.select_option("pickup")
            wait_for(lambda: state(page, "state.show.value.maps[0].takeover") == "pickup", PATIENCE_S)
            page.evaluate("import('./socket.js').then(socket => socket.press('energy', 0.2))")
            wait_for(lambda: state(page, "state.value('energy').value") == 0.2, PATIENCE_S)

            # The page shows what it sends at once; the show may still hold the earlier value when the knob moves.
            def waits_to_be_picked_up() -> bool:
                knob.send_message((0xB0, 74, 126))
                knob.send_message((0xB0, 74, 127))
                return row.get_by_text("stands at 0.50: turn it to 0.20 to pick up").is_visible()

            wait_for(waits_to_be_picked_up, PATIENCE_S, "the row tells where the knob stands")
            wait_for(lambda: page.locator(".slider[aria-label='energy'] .ghost").count() == 1, PATIENCE_S)
            turn_until(lambda: row.get_by_text("to pick up").count() == 0)
    finally:
        knob.delete()
