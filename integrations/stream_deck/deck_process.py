"""The process that plays Stream Decks: it draws their keys and reports what is pressed. It imports nothing of this
package but drawing.py beside it.

    python deck_process.py       until standard input ends

It reads {"brightness": 0..100}, and {"deck": id, "keys": {key: look, ...}, "strip": [fader, ...]} with the looks of
drawing.py for what changed. It writes
    {"decks": [{"id", "name", "keys", "cols", "dials", "touch", "visual", "touch_keys"}]}     when one comes or goes
    ["key", id, key, down, at], ["dial", id, dial, steps, at], ["push", id, dial, down, at]
    ["touch", id, dial, 0..1 on its part of the strip, at]
    {"problem": text}          why a deck that is there cannot be opened; empty where that is over
    {"unavailable": reason}    once, where Stream Decks cannot be read here
at is time.monotonic(). Keys, and touch keys behind them, and dials count from 0.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import runpy
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOOK_INTERVAL_S = 2.0  # between two looks for decks
POLL_HZ = 100
LIBRARY = "Stream Decks need a library: pip install 'worldjockey[streamdeck]'"
HIDAPI = {
    "linux": "sudo apt install libhidapi-libusb0", "darwin": "brew install hidapi",
    "win32": "put hidapi.dll (github.com/libusb/hidapi/releases) beside python.exe",
}  # fmt: skip
RULE = 'SUBSYSTEMS=="usb", ATTRS{idVendor}=="0fd9", MODE="0660", TAG+="uaccess"'
DENIED = {
    "linux": f"put the line {RULE} into /etc/udev/rules.d/70-streamdeck.rules, then plug it in anew",
    "darwin": "quit Elgato's Stream Deck program", "win32": "quit Elgato's Stream Deck program",
}  # fmt: skip
_line = threading.Lock()


def say(row: Any) -> None:
    try:
        with _line:
            os.write(sys.stdout.fileno(), json.dumps(row).encode() + b"\n")
    except OSError:
        os._exit(0)


class Deck:
    """One deck that is plugged in and open."""

    def __init__(self, device: Any, library: Any, draw: Mapping[str, Any]) -> None:
        self.device, self.id = device, str(device.id())
        self._library, self._draw = library, draw
        device.open()
        device.set_poll_frequency(POLL_HZ)
        device.reset()
        device.set_key_callback(self._on_key)
        device.set_dial_callback(self._on_dial)
        device.set_touchscreen_callback(self._on_touch)

    @property
    def facts(self) -> dict[str, Any]:
        device = self.device
        return {
            "id": self.id, "name": device.deck_type(), "keys": device.key_count(), "cols": device.key_layout()[1],
            "touch_keys": device.touch_key_count(), "dials": device.dial_count(), "visual": device.is_visual(),
            "touch": device.is_touch() and device.TOUCHSCREEN_PIXEL_WIDTH > 0,
        }  # fmt: skip

    def paint(self, message: Mapping[str, Any]) -> None:
        device, helper = self.device, self._library.helper
        if not device.is_visual():
            return
        for name, look in message.get("keys", {}).items():
            if int(name) < device.key_count():
                image = self._draw["key"](device.key_image_format()["size"], look)
                device.set_key_image(int(name), helper.to_native_key_format(device, image))
        if "strip" in message and self.facts["touch"]:
            width, height = device.touchscreen_image_format()["size"]
            image = self._draw["strip"]((width, height), message["strip"])
            native = helper.to_native_touchscreen_format(device, image)
            device.set_touchscreen_image(native, 0, 0, width, height)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.device.reset()
        with contextlib.suppress(Exception):
            self.device.close()

    def _on_key(self, device: Any, key: int, down: bool) -> None:
        say(["key", self.id, key, bool(down), time.monotonic()])

    def _on_dial(self, device: Any, dial: int, event: Any, value: Any) -> None:
        if event == self._library.dial_event.TURN:
            say(["dial", self.id, dial, int(value), time.monotonic()])
        else:
            say(["push", self.id, dial, bool(value), time.monotonic()])

    def _on_touch(self, device: Any, event: Any, value: Mapping[str, int]) -> None:
        dials = device.dial_count()
        if dials:
            along = value.get("x_out", value["x"]) / device.TOUCHSCREEN_PIXEL_WIDTH * dials
            dial = min(max(int(along), 0), dials - 1)
            say(["touch", self.id, dial, min(max(along - dial, 0.0), 1.0), time.monotonic()])


class Decks:
    """All that are plugged in. messages: what is read from standard input."""

    def __init__(self, library: Any, manager: Any, draw: Mapping[str, Any], messages: queue.Queue[Any]) -> None:
        self._library, self._manager, self._draw, self._messages = library, manager, draw, messages
        self._open: dict[str, Deck] = {}
        self._brightness = 70
        self._problem = ""

    def serve(self) -> None:
        looked = 0.0
        while True:
            if time.monotonic() - looked >= LOOK_INTERVAL_S:
                self._look()
                looked = time.monotonic()
            with contextlib.suppress(queue.Empty):
                message = self._messages.get(timeout=0.1)
                if message is None:
                    break
                self._obey(message)
        for deck in self._open.values():
            deck.close()

    def _look(self) -> None:
        gone = [name for name, deck in self._open.items() if not (deck.device.is_open() and deck.device.connected())]
        for name in gone:
            self._open.pop(name).close()
        changed, problem = bool(gone), ""
        for device in self._manager.enumerate():
            if str(device.id()) in self._open:
                continue
            try:
                deck = Deck(device, self._library, self._draw)
                device.set_brightness(self._brightness)
            except Exception as error:
                # Another program may have it, or this user may not open it.
                problem = f"{device.deck_type()} cannot be opened ({error}): {DENIED.get(sys.platform, '')}"
                continue
            self._open[deck.id], changed = deck, True
        if changed or problem != self._problem:
            self._problem = problem
            say({"decks": [deck.facts for deck in self._open.values()]})
            say({"problem": problem})

    def _obey(self, message: Mapping[str, Any]) -> None:
        if "brightness" in message:
            self._brightness = int(message["brightness"])
            for deck in self._open.values():
                with contextlib.suppress(Exception):
                    deck.device.set_brightness(self._brightness)
        elif deck_open := self._open.get(str(message.get("deck"))):
            with contextlib.suppress(self._library.error):  # it was unplugged: the next look finds out
                deck_open.paint(message)


class Library:
    """What is used of python-elgato-streamdeck. Raises ImportError where it, or PIL, is missing."""

    def __init__(self) -> None:
        from StreamDeck.DeviceManager import DeviceManager, ProbeError
        from StreamDeck.Devices.StreamDeck import DialEventType
        from StreamDeck.ImageHelpers import PILHelper
        from StreamDeck.Transport.Transport import TransportError

        self.manager, self.probe_error, self.helper = DeviceManager, ProbeError, PILHelper
        self.dial_event, self.error = DialEventType, TransportError


def main() -> None:
    messages: queue.Queue[Any] = queue.Queue()

    def read() -> None:
        for line in sys.stdin.buffer:
            with contextlib.suppress(ValueError):
                messages.put(json.loads(line))
        messages.put(None)
        time.sleep(1.0)  # for the decks to show their own picture again
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    try:
        library = Library()
        draw = runpy.run_path(str(Path(__file__).with_name("drawing.py")))
    except ImportError as error:
        say({"unavailable": f"{LIBRARY} ({error})"})
        return
    try:
        manager = library.manager()
    except library.probe_error:
        say({"unavailable": f"Stream Decks need hidapi: {HIDAPI.get(sys.platform, 'install it')}"})
        return
    Decks(library, manager, draw, messages).serve()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the show handles Ctrl-C
    main()
