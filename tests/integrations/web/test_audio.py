"""Audio in a browser by WebRTC, received by Chromium and by aiortc."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from browser import chromium
from clicking import PIECE, RATE
from on_air import on_air as played
from worldjockey.integrations import VideoFormat
from worldjockey.integrations.web.output import WebOutput
from worldjockey.integrations.web.webrtc import listen_on
from worldjockey.node.measure.receivers import whep
from worldjockey.node.measure.show_process import free_port

pytestmark = pytest.mark.slow

LEFT, RIGHT = 440.0, 1000.0  # Hz
FMT = VideoFormat(320, 180, 30)


def tones(begin: float) -> np.ndarray:
    at = begin + np.arange(PIECE) / RATE
    return np.stack([0.5 * np.sin(2 * np.pi * hz * at) for hz in (LEFT, RIGHT)], 1).astype(np.float32)


def on_air(sound: bool = True) -> AbstractContextManager[WebOutput]:
    """A grey frame, and a tone on each side."""
    grey = np.full((FMT.height * 3 // 2, FMT.width), 128, np.uint8)
    return played(WebOutput(port=free_port(), sound=sound), FMT, lambda tick: grey, tones)


async def taken(url: str, enough: Callable[[dict[str, Any]], object]) -> tuple[dict[str, Any], str]:
    """What comes of each kind to who asks for frame and sound, as arrays or a count, and the answer's text."""
    listen_on("127.0.0.1")
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: list[Any] = []
    peer.on("track", tracks.append)
    got: dict[str, Any] = {"video": 0, "audio": []}
    try:
        answer = await whep(peer, f"{url}offer", "video", "audio")

        async def take(track: Any) -> None:
            while True:
                frame = await track.recv()
                if track.kind == "audio":
                    got["audio"].append(frame.to_ndarray().reshape(-1, 2) / 32768)
                else:
                    got["video"] += 1

        takers = [asyncio.ensure_future(take(track)) for track in tracks]
        deadline = asyncio.get_running_loop().time() + 90
        while not enough(got):
            assert asyncio.get_running_loop().time() < deadline, got["video"]
            await asyncio.sleep(0.1)
        for taker in takers:
            taker.cancel()
    finally:
        await peer.close()
    return got, answer


def pitch(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * RATE / len(samples))


def whole(got: dict[str, Any]) -> bool:
    """Whether the newest second has both tones, as loud as they were: a busy machine may tear some other second."""
    if got["video"] <= 30 or sum(map(len, got["audio"])) < RATE:
        return False
    sound = np.concatenate(got["audio"])[-RATE:]
    tones = [pitch(sound[:, side]) for side in (0, 1)]
    levels = np.sqrt(2) * sound.std(0)
    return bool(tones == pytest.approx([LEFT, RIGHT], abs=2) and levels == pytest.approx([0.5, 0.5], abs=0.05))


def test_audio_arrives_in_the_browser() -> None:
    with on_air() as output:
        _, answer = asyncio.run(taken(output.status()["url"], whole))
    streams = {line.split()[0] for line in answer.splitlines() if line.startswith("a=msid:")}
    assert len(streams) == 2  # so that no browser holds the frame back for its sound


def test_a_show_without_audio_answers_an_offer_with_audio() -> None:
    with on_air(sound=False) as output:
        assert not output.status()["sound"]
        got, _ = asyncio.run(taken(output.status()["url"], lambda got: got["video"] > 30))
    assert not got["audio"]


SOUND, WAY = "document.body.dataset.sound", "document.body.dataset.way === 'WebRTC'"
FREQUENCIES = """(async () => {
  const context = new AudioContext(), split = context.createChannelSplitter(2);
  context.createMediaStreamSource(speaker.srcObject).connect(split);
  const analysers = [0, 1].map(side => {
    const analyser = new AnalyserNode(context, { fftSize: 8192 });
    split.connect(analyser, side);
    return analyser;
  });
  await context.resume();
  await wait(1000);
  return analysers.map(analyser => {
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    return bins.indexOf(Math.max(...bins)) * context.sampleRate / analyser.fftSize;
  });
})()"""


def test_chromium_plays_it(tmp_path: Path) -> None:
    with on_air() as output, chromium(tmp_path, "--autoplay-policy=no-user-gesture-required") as browser:
        page = browser.open(output.status()["url"])
        page.wait(f"{SOUND} === 'on' && {WAY}")
        for _ in range(5):  # of which a busy machine may leave some silent
            if (heard := page.run(FREQUENCIES)) == pytest.approx([LEFT, RIGHT], abs=12):
                break
        assert heard == pytest.approx([LEFT, RIGHT], abs=12)
        page.run("document.getElementById('sound').click()")
        page.wait(f"{SOUND} === 'off' && speaker.muted")
        assert page.run("!document.fullscreenElement")


def test_where_a_browser_wants_a_click_first_the_button_says_so(tmp_path: Path) -> None:
    with on_air() as output, chromium(tmp_path, "--autoplay-policy=document-user-activation-required") as browser:
        page = browser.open(output.status()["url"])
        page.wait(f"{WAY} && !!speaker")
        page.wait(f"{SOUND} === 'off'")
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key="m", code="KeyM", windowsVirtualKeyCode=77)
        page.wait(f"{SOUND} === 'on'")


def test_the_page_of_a_silent_show_has_no_button(tmp_path: Path) -> None:
    with on_air(sound=False) as output, chromium(tmp_path) as browser:
        page = browser.open(output.status()["url"])
        page.wait(f"{WAY} && getComputedStyle($('sound')).display === 'none'")
