"""An NDI sender in a process of its own, on cyndilib: independent of the code that receives it.

    python ndi_sender.py NAME RRGGBB [RRGGBB ...]

Sends those colours side by side, 640x360 at 25 a second, until its standard input closes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from fractions import Fraction

import numpy as np
from cyndilib.sender import Sender
from cyndilib.video_frame import VideoSendFrame
from cyndilib.wrapper import FourCC


def main() -> None:
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    name, *colours = sys.argv[1:]
    picture = np.full((360, 640, 4), 255, np.uint8)
    for columns, colour in zip(np.array_split(np.arange(640), len(colours)), colours, strict=True):
        picture[:, columns, :3] = list(bytes.fromhex(colour))
    sender, frame = Sender(name), VideoSendFrame()
    frame.set_resolution(640, 360)
    frame.set_frame_rate(Fraction(25))
    frame.set_fourcc(FourCC.RGBX)
    sender.set_video_frame(frame)
    with sender:
        while True:
            sender.write_video(picture.reshape(-1))
            time.sleep(0.04)


if __name__ == "__main__":
    main()
