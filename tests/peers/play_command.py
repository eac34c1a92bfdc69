"""The command of a show that a test plays beside itself."""

import sys

PLAY = (
    sys.executable,
    "-m",
    "worldjockey.node",
    "play",
    "--no-midi",
    "--no-surface",
    "--no-osc",
    "--model",
    "testcard",
)


def headless(*options: str) -> list[str]:
    """`wj play` with the test card, without inputs and window."""
    return [*PLAY, "--headless", *options]
