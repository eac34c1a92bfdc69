"""Stream out, watched by the ffmpeg program: what it decodes is what was sent; viewers come and go."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from worldjockey.integrations import Frame, Unsuitable, VideoFormat
from worldjockey.integrations.stream import StreamOutput, address
from worldjockey.node.show import Show

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg program here: apt install ffmpeg")
WIDTH, HEIGHT, FPS = 320, 180, 30


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def grey(tick: int) -> np.ndarray:
    picture = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    picture[:HEIGHT] = 40 + tick % 150
    return picture


@contextlib.contextmanager
def on_air(url: str, paint: Callable[[int], np.ndarray] = grey) -> Iterator[StreamOutput]:
    """A stream whose picture gets lighter by one step a tick, or whatever is painted."""
    output, stop = StreamOutput(url), threading.Event()
    output.open(VideoFormat(WIDTH, HEIGHT, FPS))

    def play() -> None:
        tick = 0
        while not stop.wait(1 / FPS):
            output.send(Frame(paint(tick), tick, 0.0))
            tick += 1

    player = threading.Thread(target=play)
    player.start()
    try:
        yield output
    finally:
        stop.set()
        player.join()
        output.close()


def watch(url: str, frames: int = 8, tries: int = 1, options: Sequence[str] = ()) -> list[int]:
    """The lightness of each decoded picture; a receiver that found nobody tries again, as OBS does."""
    for _ in range(tries):
        command = ["ffmpeg", "-v", "error", "-probesize", "200k", *options, "-i", url, "-frames:v", str(frames)]
        command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
        seen = subprocess.run(command, capture_output=True, timeout=60)
        pictures = np.frombuffer(seen.stdout, np.uint8).reshape(-1, HEIGHT * 3 // 2, WIDTH)
        if len(pictures):
            break
    assert len(pictures) == frames, seen.stderr.decode()
    assert np.abs(pictures[:, HEIGHT:].astype(int) - 128).max() <= 3
    return [int(picture[:HEIGHT].mean() + 0.5) for picture in pictures]


def rises(lightness: list[int]) -> bool:
    steps = np.diff(np.unwrap(np.array(lightness) - 40.0, period=150))
    return bool((steps > -1).all() and 1 <= steps.mean() < 4)


def until(done: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(600):
        if done():
            return
        waited.wait(0.05)
    raise AssertionError("it never came to be")


def test_viewers_come_and_go_and_nothing_is_coded_for_nobody() -> None:
    port = free_port()
    with on_air(f"tcp://127.0.0.1:{port}") as output:
        assert rises(watch(f"tcp://127.0.0.1:{port}"))
        until(lambda: not output.status()["watched"])
        coded = output.status()["frames"]
        assert rises(watch(f"tcp://127.0.0.1:{port}"))
        assert output.status()["frames"] > coded
        until(lambda: output.status()["connections"] == 0)


def test_two_watch_and_a_stuck_one_is_in_nobodys_way() -> None:
    port = free_port()
    with on_air(f"tcp://127.0.0.1:{port}") as output, socket.create_connection(("127.0.0.1", port)):
        until(lambda: output.status()["connections"] == 1)  # it never reads
        assert rises(watch(f"tcp://127.0.0.1:{port}"))
        assert output.status()["watched"]


def test_srt_is_listened_to_by_its_viewers() -> None:
    port = free_port(socket.SOCK_DGRAM)
    with on_air(f"srt://127.0.0.1:{port}"):
        assert rises(watch(f"srt://127.0.0.1:{port}", tries=5))


def test_who_comes_late_by_srt_sees_the_present() -> None:
    port, light = free_port(socket.SOCK_DGRAM), 60

    def noise(tick: int) -> np.ndarray:  # as many bytes as a true picture has
        picture = grey(0)
        picture[:HEIGHT] = np.random.default_rng(tick).integers(light - 20, light + 20, (HEIGHT, WIDTH))
        return picture

    with on_air(f"srt://127.0.0.1:{port}", noise) as output:
        until(lambda: output.status()["frames"] > 150)
        light = 180
        assert watch(f"srt://127.0.0.1:{port}", frames=90, tries=5)[-1] == pytest.approx(180, abs=5)


def test_an_srt_stream_that_is_killed_leaves_its_port() -> None:
    psutil = pytest.importorskip("psutil")
    script = (
        "import numpy as np, time\n"
        "from worldjockey.integrations import Frame, VideoFormat\n"
        "from worldjockey.integrations.stream import StreamOutput\n"
        f"output = StreamOutput('srt://127.0.0.1:{free_port(socket.SOCK_DGRAM)}')\n"
        "output.open(VideoFormat(64, 64, 30))\n"
        "for tick in range(10**6):\n"
        "    output.send(Frame(np.full((96, 64), 128, np.uint8), tick, 0.0))\n"
        "    time.sleep(1 / 30)\n"
    )
    sender = psutil.Popen([sys.executable, "-c", script])
    try:
        until(lambda: any(relay.net_connections("udp") for relay in sender.children()))
        relays = sender.children()
    finally:
        sender.kill()
        sender.wait()
    until(lambda: all(not r.is_running() or r.status() == psutil.STATUS_ZOMBIE for r in relays))


def test_rtmp_calls_its_receiver() -> None:
    port = free_port()
    with on_air(f"rtmp://127.0.0.1:{port}/live/show"):
        assert rises(watch(f"rtmp://127.0.0.1:{port}/live/show", tries=5, options=["-listen", "1"]))


def test_udp_goes_to_whoever_hears_it() -> None:
    port = free_port(socket.SOCK_DGRAM)
    with on_air(f"udp://127.0.0.1:{port}"):
        assert rises(watch(f"udp://127.0.0.1:{port}"))


def test_a_port_in_use_and_bad_addresses_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"tcp://127.0.0.1:{port}: Address already in use; take another port"):
            StreamOutput(f"tcp://127.0.0.1:{port}").open(VideoFormat(64, 64, 30))
    for bad in ("", "http://x:1", "tcp://127.0.0.1", "srt://:9", "tcp://h:99999"):
        with pytest.raises(ValueError, match="is no stream: it takes an address as in tcp://"):
            address(bad)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unsuitable, match="apt install ffmpeg"):
        StreamOutput("srt://127.0.0.1:9710").open(VideoFormat(64, 64, 30))


def test_a_show_names_it_by_its_address() -> None:
    outputs = Show.parse("outputs: ['stream:srt://127.0.0.1:9710', {stream: {url: 'udp://239.0.0.1:5000'}}]").outputs
    assert [(o.kind, o.url) for o in outputs] == [
        ("stream", "srt://127.0.0.1:9710"), ("stream", "udp://239.0.0.1:5000"),
    ]  # fmt: skip
    assert outputs[0].short() == "stream:srt://127.0.0.1:9710"
    with pytest.raises(ValueError, match="is no stream"):
        Show.parse("outputs: ['stream:nonsense']")
