"""Stream out, watched by the ffmpeg program: what it decodes is what was sent; viewers come and go."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import pytest
from on_air import on_air as played
from worldjockey.integrations import Frame, Unsuitable, VideoFormat
from worldjockey.integrations.stream import coding
from worldjockey.integrations.stream.output import StreamOutput, address
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.show.schema import Show

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg program here: apt install ffmpeg"),
]
WIDTH, HEIGHT, FPS = 320, 180, 30
WaitFor = Callable[..., None]


def grey(tick: int) -> np.ndarray:
    image = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    image[:HEIGHT] = 40 + tick % 150
    return image


def on_air(url: str, paint: Callable[[int], np.ndarray] = grey) -> AbstractContextManager[StreamOutput]:
    """A stream whose frame gets lighter by one step a tick, or whatever is painted."""
    return played(StreamOutput(url), VideoFormat(WIDTH, HEIGHT, FPS), paint)


def watch(url: str, frames: int = 8, tries: int = 1, options: Sequence[str] = ()) -> list[int]:
    """The lightness of each decoded frame; a receiver that found nobody tries again, as OBS does."""
    for _ in range(tries):
        command = ["ffmpeg", "-v", "error", "-probesize", "200k", "-analyzeduration", "200k", *options, "-i", url]
        command += ["-frames:v", str(frames), "-vsync", "0", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
        seen = subprocess.run(command, capture_output=True, timeout=120)
        images = np.frombuffer(seen.stdout, np.uint8).reshape(-1, HEIGHT * 3 // 2, WIDTH)
        if len(images):
            break
    assert len(images) == frames, seen.stderr.decode()
    assert np.abs(images[:, HEIGHT:].astype(int) - 128).max() <= 3
    return [int(image[:HEIGHT].mean() + 0.5) for image in images]


def rises(lightness: list[int]) -> bool:
    steps = np.diff(np.unwrap(np.array(lightness) - 40.0, period=150))
    return bool((steps > -1).all() and steps.mean() >= 1 and np.median(steps) < 4)  # some may be left out


def test_viewers_come_and_go_and_nothing_is_encoded_without_them(wait_for: WaitFor) -> None:
    port = free_port()
    with on_air(f"tcp://127.0.0.1:{port}") as output:
        assert rises(watch(f"tcp://127.0.0.1:{port}"))
        wait_for(lambda: not output.status()["watched"])
        coded = output.status()["frames"]
        assert rises(watch(f"tcp://127.0.0.1:{port}"))
        assert output.status()["frames"] > coded
        wait_for(lambda: output.status()["connections"] == 0)


def test_a_stuck_viewer_does_not_disturb_another(wait_for: WaitFor) -> None:
    port = free_port()
    with on_air(f"tcp://127.0.0.1:{port}") as output, socket.create_connection(("127.0.0.1", port)):
        wait_for(lambda: output.status()["connections"] == 1)  # it never reads
        assert rises(watch(f"tcp://127.0.0.1:{port}"))
        assert output.status()["watched"]


def test_srt_reaches_its_viewer_and_little_is_encoded_without_one(wait_for: WaitFor) -> None:
    port, ticks = free_port(), 0

    def counted(tick: int) -> np.ndarray:
        nonlocal ticks
        ticks = tick
        return grey(tick)

    def assert_idle(output: StreamOutput) -> None:
        wait_for(lambda: ticks > 30 and not output.status()["watched"] and output.status()["connections"] == 0)
        began, coded = ticks, output.status()["frames"]
        wait_for(lambda: ticks >= began + 40 and output.status()["frames"] > coded)
        assert output.status()["frames"] - coded <= (ticks - began) // 5  # one in 13, and some that waited

    with on_air(f"srt://127.0.0.1:{port}", counted) as output:
        assert_idle(output)
        assert rises(watch(f"srt://127.0.0.1:{port}", tries=5, frames=20)[8:])
        assert_idle(output)
        assert rises(watch(f"srt://127.0.0.1:{port}", tries=5, frames=20)[8:])


def test_a_late_viewer_by_srt_sees_the_present(wait_for: WaitFor) -> None:
    port, light, ticks = free_port(), 60, 0

    def noise(tick: int) -> np.ndarray:  # as many bytes as a true frame has
        nonlocal ticks
        image, ticks = grey(0), tick
        image[:HEIGHT] = np.random.default_rng(tick).integers(light - 20, light + 20, (HEIGHT, WIDTH))
        return image

    secret = f"srt://127.0.0.1:{port}?passphrase=stage:left!2026"  # FFmpeg takes it letter by letter
    with on_air(secret, noise) as output:
        wait_for(lambda: ticks > 90 and not output.status()["watched"])
        light = 180
        assert watch(secret, frames=30, tries=5)[-1] == pytest.approx(180, abs=5)


def test_an_srt_stream_that_is_killed_leaves_its_port(wait_for: WaitFor) -> None:
    psutil = pytest.importorskip("psutil")
    script = (
        "import numpy as np, time\n"
        "from worldjockey.integrations import Frame, VideoFormat\n"
        "from worldjockey.integrations.stream.output import StreamOutput\n"
        f"output = StreamOutput('srt://127.0.0.1:{free_port()}')\n"
        "output.open(VideoFormat(64, 64, 30))\n"
        "for tick in range(10**6):\n"
        "    output.send(Frame(np.full((96, 64), 128, np.uint8), tick, 0.0))\n"
        "    time.sleep(1 / 30)\n"
    )
    sender = psutil.Popen([sys.executable, "-c", script])
    try:
        wait_for(lambda: any(relay.net_connections("udp") for relay in sender.children()))
        relays = sender.children()
    finally:
        sender.kill()
        sender.wait()
    wait_for(lambda: all(not r.is_running() or r.status() == psutil.STATUS_ZOMBIE for r in relays))


def test_rtmp_calls_its_receiver() -> None:
    port = free_port()
    with on_air(f"rtmp://127.0.0.1:{port}/live/show"):
        assert rises(watch(f"rtmp://127.0.0.1:{port}/live/show", tries=5, options=["-listen", "1"]))


SILENT = """
import sys, time
import numpy as np
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.stream import output as stream
stream.ANSWER_TIMEOUT_S, errors = 1.0, []
output = stream.StreamOutput(sys.argv[1])
output.open(VideoFormat(64, 64, 30))
while not (errors and "answer" in errors[-1]):
    output.send(Frame(np.full((96, 64), 128, np.uint8), int(time.monotonic() * 30), 0.0))
    status = output.status()
    errors += [status["error"]] if status["error"] else []
    assert not status["watched"]
    time.sleep(0.01)
print(errors[-1])
"""


def test_a_receiver_that_never_answers_is_reported_and_blocks_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtmp://127.0.0.1:{silent.getsockname()[1]}/live/show"
        sender = subprocess.run([sys.executable, "-c", SILENT, url], capture_output=True, text=True, timeout=120)
    assert sender.stdout.strip() == f"{url}: does not answer", sender.stderr


def test_a_missing_receiver_is_reported_until_it_appears(wait_for: WaitFor) -> None:
    port = free_port()
    url = f"rtmp://127.0.0.1:{port}/live/show"
    with on_air(url) as output:
        wait_for(lambda: output.status()["error"] == f"{url}: Connection refused")
        receiver = threading.Thread(target=watch, args=(url, 60, 5, ["-listen", "1"]))
        receiver.start()
        wait_for(lambda: output.status()["watched"] and output.status()["error"] == "")
        receiver.join()


def test_udp_reaches_a_receiver() -> None:
    port = free_port()
    with on_air(f"udp://127.0.0.1:{port}"):
        assert rises(watch(f"udp://127.0.0.1:{port}"))


def test_an_error_that_is_not_the_networks_is_raised_by_send(
    monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    class Torn(coding.Coder):
        def encode(self, pixels: np.ndarray, position: int) -> list[object]:
            raise RuntimeError("the card is gone")

    monkeypatch.setattr(coding, "Coder", Torn)
    port = free_port()
    output = StreamOutput(f"tcp://127.0.0.1:{port}")
    output.open(VideoFormat(WIDTH, HEIGHT, FPS))

    def send() -> None:
        output.send(Frame(grey(0), 0, 0.0))

    try:
        with socket.create_connection(("127.0.0.1", port)), pytest.raises(RuntimeError, match="card is gone"):
            wait_for(send)
    finally:
        output.close()
    socket.create_server(("127.0.0.1", port)).close()  # whoever opens it anew finds the port free


def test_a_port_in_use_and_bad_addresses_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"tcp://127.0.0.1:{port}: Address already in use; take another port"):
            StreamOutput(f"tcp://127.0.0.1:{port}").open(VideoFormat(64, 64, 30))
    for bad in ("", "http://x:1", "tcp://127.0.0.1", "srt://:9", "tcp://h:99999"):
        with pytest.raises(ValueError, match="is not the address of a stream: use tcp://"):
            address(bad)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unsuitable, match="apt install ffmpeg"):
        StreamOutput("srt://127.0.0.1:9710").open(VideoFormat(64, 64, 30))


@pytest.mark.parametrize(
    "typed",
    [
        "passphrase=stage:left!2026",
        "mode=caller&streamid=#!::r=live/cam1,m=publish",
        "passphrase=a%20b+c&pbkeylen=16",
        "",
    ],
)  # fmt: skip
def test_what_was_typed_reaches_ffmpeg_letter_by_letter(typed: str) -> None:
    scheme, host, port, to = address(f"srt://10.0.0.2:9710?{typed}" if typed else "srt://10.0.0.2:9710")
    assert (scheme, host, port) == ("srt", "10.0.0.2", 9710)
    place, _, options = to.partition("?")
    assert place == "srt://10.0.0.2:9710"
    assert options.startswith(typed)
    names = [option.partition("=")[0] for option in options.split("&")]
    assert sorted(set(names)) == sorted(names), "nothing is there twice"
    assert {"mode", "latency", "listen_timeout"} <= set(names)


def test_a_show_names_it_by_its_address() -> None:
    outputs = Show.parse("outputs: ['stream:srt://127.0.0.1:9710', {stream: {url: 'udp://239.0.0.1:5000'}}]").outputs
    assert [(o.kind, o.options) for o in outputs] == [
        ("stream", {"url": "srt://127.0.0.1:9710"}), ("stream", {"url": "udp://239.0.0.1:5000"}),
    ]  # fmt: skip
    assert outputs[0].dump() == "stream:srt://127.0.0.1:9710"
    with pytest.raises(ValueError, match="is not the address of a stream"):
        Show.parse("outputs: ['stream:nonsense']")
