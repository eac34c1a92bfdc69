"""A click track against frame stamps: cues that are asked for anywhere change the frame on the beat.

The whole chain plays: control, world and output processes. The click is a MIDI clock that the test sends; what is
measured is when the first frame of another colour was sent.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from worldjockey.integrations import ControlEvent
from worldjockey.node.control.desk import Desk
from worldjockey.node.output.worker import OutputSpec
from worldjockey.node.session import play as playing
from worldjockey.node.session.options import PlayOptions
from worldjockey.node.show.schema import Show

pytestmark = pytest.mark.slow

PEERS = Path(__file__).parents[2] / "peers"
BPM, FPS = 150.0, 30
WARM_UP, COUNTED = 8, 12  # cues


class Click(threading.Thread):
    """A MIDI clock at BPM; `beats` is where its beats are, on time.monotonic()."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(daemon=True)
        self.desk, self.begin, self.ended = desk, time.monotonic() + 0.05, threading.Event()

    def run(self) -> None:
        self.desk.clock.on_clock("start", self.begin - 0.001, 0)
        for n in range(1_000_000):
            due = self.begin + n * 60 / BPM / 24
            if self.ended.wait(max(due - time.monotonic(), 0)):
                return
            self.desk.clock.on_clock("tick", time.monotonic(), 0)

    def nearest(self, moment: float) -> float:
        period = 60 / BPM
        return self.begin + round((moment - self.begin) / period) * period


class Rig:
    """An input without controls, which brings the click."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.click = desk, Click(desk)

    def start(self, deliver: Any) -> None:
        self.deliver = deliver
        self.click.start()

    def feedback(self, target: str, value: Any) -> None: ...

    def status(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        self.click.ended.set()
        self.click.join()


def test_quantised_cues_change_the_frame_on_the_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]
) -> None:
    path, rigs = tmp_path / "frames", []
    spec = OutputSpec("audience", "click:Click", "rgba", 0, {"path": str(path)})

    def inputs_of(show: Show, desk: Desk, on_audio: Any, folder: Path) -> dict[str, Any]:
        rigs.append(Rig(desk))
        return {"click": rigs[0]}

    monkeypatch.syspath_prepend(str(PEERS))
    monkeypatch.setattr(playing, "inputs_of", inputs_of)
    monkeypatch.setattr(playing, "output_specs", lambda entries: [spec])
    show = Show.model_validate({
        "model": "testcard", "size": "640x360", "fps": FPS, "prompt": "#ff0000", "outputs": [], "quantise": "beat",
        "cues": [{"name": "green", "prompt": "#00ff00"}, {"name": "red", "prompt": "#ff0000"}],
    })  # fmt: skip

    def frames() -> list[tuple[float, list[int]]]:
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [(moment, colour) for moment, colour in map(json.loads, lines)]

    def changes() -> list[float]:
        seen = frames()
        return [b for (_, old), (b, new) in itertools.pairwise(seen) if (old[1] > 128) != (new[1] > 128)]

    def perform() -> None:
        try:
            wait_for(lambda: bool(frames()) and frames()[-1][1][0] > 250, what="the show's own prompt")
            for n in range(WARM_UP + COUNTED):
                before = len(changes())
                rigs[0].deliver(ControlEvent("cue/go", (), time.monotonic(), "the test"))
                wait_for(lambda before=before: len(changes()) > before, what=f"cue {n}")
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    beside = threading.Thread(target=perform)
    beside.start()
    playing.play(show, PlayOptions(headless=True))
    beside.join()
    late = [moment - rigs[0].click.nearest(moment) for moment in changes()[WARM_UP:]]
    assert len(late) >= COUNTED - 1
    error = statistics.median(abs(seconds) for seconds in late)
    assert error <= 2 / FPS, [round(seconds * 1e3, 1) for seconds in late]
    assert rigs[0].desk.clock.bpm == pytest.approx(BPM, rel=0.03)
