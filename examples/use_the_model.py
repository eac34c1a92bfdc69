"""The world without the node: three prompts into one clip. Run: python examples/use_the_model.py clip.mp4"""

import sys

import av
from worldjockey.model import Controls, Prompt, load

world = load("nano")
with av.open(sys.argv[1] if len(sys.argv) > 1 else "clip.mp4", "w") as clip:
    stream = clip.add_stream("libx264", rate=20)
    stream.width, stream.height, stream.pix_fmt = world.spec.width, world.spec.height, "yuv420p"
    for text in ("a dancer by the sea at sunset", "neon city in the rain", "snowy mountains at dawn"):
        tokens = world.encode(Prompt(text)).values
        for _ in range(60):
            frame = world.step(Controls(tokens, acts={"dance": 1.0}, camera={"yaw": 0.2}, dt=1 / 20))[0]
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(frame.cpu().numpy(), format="rgb24")))
    clip.mux(stream.encode())
