"""A program that is killed in the middle of its work."""

from __future__ import annotations

import signal
import subprocess
import sys


def killed_at(line: str, script: str, *arguments: str) -> None:
    """Run a Python script, and kill it as soon as it has printed that line."""
    writer = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout
    for said in writer.stdout:
        if said.strip() == line:
            break
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
