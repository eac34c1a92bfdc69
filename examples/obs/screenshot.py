"""Take docs/obs.jpg anew: the embedded world playing inside OBS, on an X screen of its own.

    python examples/obs/screenshot.py [PICTURE] [--prompt TEXT]

Needs Debian's xvfb, openbox, obs-studio and obs-plugins, and what `pip install -e .[dev]` brings.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import ImageGrab

HOUSE = Path(__file__).parents[2]


def main() -> None:
    sys.path.insert(0, str(HOUSE / "tests" / "peers"))
    from obs import free_port, obs, window_manager

    parser = argparse.ArgumentParser()
    parser.add_argument("picture", nargs="?", type=Path, default=HOUSE / "docs" / "obs.jpg")
    parser.add_argument("--prompt", default="a neon city in the rain, a dancer")
    asked = parser.parse_args()
    reader, writer = os.pipe()
    screen = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1080x720x24", "-nolisten", "tcp"]
    server = subprocess.Popen(screen, pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.environ["DISPLAY"] = f":{os.read(reader, 16).decode().strip()}"
    web, folder = free_port(), Path(tempfile.mkdtemp())
    show = [sys.executable, "-m", "worldjockey.node", "play", "--headless", "--no-midi", "--no-osc"]
    (folder / "show.yaml").write_text(f"model: nano\nprompt: '{asked.prompt}'\nsize: 1280x720\n")
    playing = subprocess.Popen([*show, "--out", f"web:{web}", str(folder / "show.yaml")])
    try:
        with window_manager(folder), obs(folder / "obs", size=(1280, 720), fps=15) as studio:
            address = f"http://127.0.0.1:{web}/"
            deadline = time.monotonic() + 60
            while not _answers(address) and time.monotonic() < deadline:
                time.sleep(0.2)
            studio.add("worldjockey", "ffmpeg_source", is_local_file=False, input=f"{address}video.mjpeg",
                       input_format="mjpeg", hw_decode=False)  # fmt: skip
            while studio.picture("worldjockey").mean() < 20 and time.monotonic() < deadline:
                time.sleep(0.2)
            time.sleep(3)  # the world is there by now, and OBS draws its own window at leisure
            ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).convert("RGB").save(asked.picture, quality=88)
    finally:
        playing.terminate()
        playing.wait()
        server.terminate()
        server.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}frame.jpg", timeout=5) as answer:
            return bool(answer.read())
    except OSError:
        return False


if __name__ == "__main__":
    main()
