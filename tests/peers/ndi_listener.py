"""An NDI receiver of sound in a process of its own: every audio frame as it comes.

    python ndi_listener.py NAME FOLDER

Connects to the first source whose name contains NAME. Writes each frame to FOLDER/<number>.npy, (channels, samples),
and then prints a JSON line: number, rate, samples, and its timecode in seconds. Ends with its standard input.

It uses the receiving half of ndi-python, because cyndilib's receiver always has a frame synchroniser beside it, which
takes frames away (peers/ndi_receiver.py hears through that one).
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import NDIlib
import numpy as np


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def main(name: str, folder: Path) -> None:
    threading.Thread(target=end_with_input, daemon=True).start()
    NDIlib.initialize()
    finder, found = NDIlib.find_create_v2(), None
    while found is None:
        NDIlib.find_wait_for_sources(finder, 500)
        found = next((source for source in NDIlib.find_get_current_sources(finder) if name in source.ndi_name), None)
    wanted = NDIlib.RecvCreateV3()
    wanted.bandwidth = NDIlib.RECV_BANDWIDTH_AUDIO_ONLY
    receiver = NDIlib.recv_create_v3(wanted)
    NDIlib.recv_connect(receiver, found)
    number = 0
    while True:
        kind, _, audio, _ = NDIlib.recv_capture_v2(receiver, 100)
        if kind != NDIlib.FRAME_TYPE_AUDIO:
            continue
        samples = np.array(audio.data, np.float32)
        row = {"number": number, "rate": audio.sample_rate, "samples": audio.no_samples}
        row["timecode"] = audio.timecode / 1e7
        NDIlib.recv_free_audio_v2(receiver, audio)
        np.save(folder / f"{number}.npy", samples)
        print(json.dumps(row), flush=True)
        number += 1


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
