"""Opens the surface in the browser of this machine."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading

logger = logging.getLogger(__name__)


def can_open() -> bool:
    """Whether somebody would see it: there is a display, and no test runs."""
    if "PYTEST_CURRENT_TEST" in os.environ:
        return False
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def open_page(url: str) -> None:
    """Ask the system to show the page. Returns at once; where that fails, the address is on the terminal."""
    threading.Thread(target=_open, args=(url,), name="browser", daemon=True).start()


def _open(url: str) -> None:
    # A process of its own: a browser that starts writes to the terminal, and Ctrl-C in it would end the browser.
    nowhere = subprocess.DEVNULL
    command = [sys.executable, "-m", "webbrowser", "-t", url]
    environment = {name: value for name, value in os.environ.items() if name != "TERM"}  # no browser of the terminal
    try:
        subprocess.Popen(
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, env=environment, start_new_session=True
        ).wait()
    except OSError as error:
        logger.warning("no browser could be opened: %s", error)
