"""Chromium without a window, driven over its DevTools protocol (chromedevtools.github.io/devtools-protocol, 1.3)."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidMessage
from websockets.sync.client import ClientConnection, connect

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
    "--remote-debugging-port=0", "--window-size=960,540",
]  # fmt: skip


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self.target = browser, session, target

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, parameters, self._session)

    def run(self, script: str) -> Any:
        """What an expression is worth, awaited where it is a promise."""
        said = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise RuntimeError(said["exceptionDetails"].get("exception", {}).get("description") or str(said))
        return said["result"].get("value")

    def wait(self, script: str, seconds: float = 60.0) -> Any:
        """The first true value of that expression."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(f"document.body && ({script})")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds} s: {script}\nthe page: {self.run('document.body.innerText')}")
            time.sleep(0.05)
        return value

    def screenshot(self, path: Path) -> Path:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path

    def close(self) -> None:
        self._browser.call("Target.closeTarget", {"targetId": self.target})


class Browser:
    """A process of its own, with a fresh profile."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self._open = contextlib.ExitStack()
        self._log = (folder / "chromium.log").open("wb")
        command = ["chromium", *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, start_new_session=True)
        port = folder / "profile" / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not (port.exists() and port.read_text().count("\n")):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"chromium did not start:\n{(folder / 'chromium.log').read_text()[-2000:]}")
            time.sleep(0.05)
        number, path = port.read_text().splitlines()[:2]
        self._line = self._connect(f"ws://127.0.0.1:{number}{path}", deadline)
        self._asked = 0

    def _connect(self, url: str, deadline: float) -> ClientConnection:
        """It writes its port down a little before it answers there."""
        while True:
            try:
                return self._open.enter_context(connect(url, max_size=None, proxy=None, compression=None))
            except (OSError, InvalidMessage):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def call(self, method: str, parameters: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        self._asked += 1
        asked = {"id": self._asked, "method": method, "params": parameters}
        self._line.send(json.dumps(asked | ({"sessionId": session} if session else {})))
        while True:
            said = json.loads(self._line.recv(timeout=60))
            if said.get("id") == self._asked:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']}")
                return dict(said["result"])

    def open(self, url: str) -> Page:
        target = self.call("Target.createTarget", {"url": url})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        return Page(self, session, target)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            self.call("Browser.close", {})
            self.process.wait(10)
        self.kill()
        self.process.wait()
        with contextlib.suppress(Exception):
            self._open.close()
        self._log.close()


@contextlib.contextmanager
def chromium(folder: Path, *flags: str) -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    browser = Browser(folder, *flags)
    try:
        yield browser
    finally:
        browser.stop()
