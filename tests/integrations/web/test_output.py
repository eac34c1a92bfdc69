"""Browser out, seen by Chromium, by ffmpeg and by plain HTTP: what is shown, in which order, and who disturbs whom."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, rtp
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.same_origin import is_ours
from worldjockey.integrations.web.output import WebOutput
from worldjockey.integrations.web.webrtc import PLAYOUT_DELAY, NoDelay
from worldjockey.node.measure.receivers import Receiver
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError

sys.path.insert(0, str(Path(__file__).parents[2] / "peers"))
from browser import Browser, Page, chromium

pytestmark = pytest.mark.slow

WIDTH, HEIGHT, DIGITS = 640, 360, 20
# BT.709, limited range: Y, Cb, Cr and the RGB that it means.
BARS = [
    ((180, 128, 128), (191, 191, 191)), ((168, 44, 136), (191, 191, 0)), ((145, 147, 44), (0, 191, 191)),
    ((134, 63, 52), (0, 191, 0)), ((63, 193, 204), (191, 0, 191)), ((51, 109, 212), (191, 0, 0)),
    ((28, 212, 120), (0, 0, 191)), ((16, 128, 128), (0, 0, 0)),
]  # fmt: skip

# A show: eight colour bars, and above them the frame's number in black and white, a digit in 32 columns.
SENDER = """
import sys, time
import numpy as np
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.web import server, webrtc
from worldjockey.integrations.web.output import WebOutput

server.STALL_TIMEOUT_S, webrtc.PING_TIMEOUT_S = 4.0, 6.0  # seconds; the page sends a ping every second

width, height, digits = 640, 360, 20
port, first, bars = int(sys.argv[1]), int(sys.argv[2]), eval_bars
still = np.empty((height * 3 // 2, width), np.uint8)
y, chroma = still[:height], still[height:].reshape(2, height // 2, width // 2)
cb, cr = chroma
for n, colour in enumerate(bars):
    for plane, value in zip((y, cb, cr), colour):
        w = plane.shape[1] // len(bars)
        plane[:, n * w:(n + 1) * w] = value
output = WebOutput(port=port)
output.open(VideoFormat(width, height, 30, name="a show"))
print(output.status()["url"], flush=True)
cb[:36], cr[:36] = 128, 128
begin = time.monotonic()
for tick in range(first, first + 100_000):
    for digit in range(digits):
        y[:72, digit * 32:digit * 32 + 32] = 235 if tick >> digit & 1 else 16
    due = begin + (tick - first) / 30
    time.sleep(max(due - time.monotonic(), 0))
    output.send(Frame(still, tick, due))
""".replace("eval_bars", repr([colour for colour, _ in BARS]))


class Sender:
    """A show in a process of its own."""

    def __init__(self, port: int | None = None, first: int = 0) -> None:
        self.port = port or free_port()
        command = [sys.executable, "-c", SENDER, str(self.port), str(first)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()
        assert self.url == f"http://127.0.0.1:{self.port}/"

    def ask(
        self, method: str = "GET", path: str = "/", body: bytes | None = None, **headers: str
    ) -> tuple[int, Any, bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(line):
            line.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = line.getresponse()
            return answer.status, answer.headers, answer.read()

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.ask(path="/status.json")[2]))

    def kill(self) -> None:
        self.process.kill()
        if self.process.stdout and not self.process.stdout.closed:
            self.process.communicate()


@pytest.fixture(scope="module")
def show() -> Iterator[Sender]:
    show = Sender()
    yield show
    show.kill()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


LOOK = """(() => {
  const shown = document.querySelector('#stage .on');
  if (!shown) return null;
  const canvas = new OffscreenCanvas(640, 360), pen = canvas.getContext('2d', { willReadFrequently: true });
  pen.drawImage(shown, 0, 0, 640, 360);
  const at = (x, y) => [...pen.getImageData(x, y, 1, 1).data.slice(0, 3)];
  let number = 0;
  for (let digit = 0; digit < 20; digit++) if (at(digit * 32 + 16, 36)[0] > 127) number += 2 ** digit;
  return [number, [...Array(8).keys()].map(n => at(n * 80 + 40, 240))];
})()"""


def look(page: Page) -> tuple[int, np.ndarray]:
    """(number, colours of the bars (8, 3)) of the frame that the page shows now."""
    number, colours = page.wait(LOOK)
    return int(number), np.array(colours)


def read(image: np.ndarray) -> tuple[int, np.ndarray]:
    """The same of a frame (360, 640, 3)."""
    number = sum(2**digit for digit in range(DIGITS) if image[36, digit * 32 + 16, 0] > 127)
    return number, image[240, 40::80].astype(int)


def assert_bars(colours: np.ndarray) -> None:
    wanted = np.array([rgb for _, rgb in BARS])
    assert np.abs(colours.astype(int) - wanted).max() <= 14, colours.tolist()


def next_numbers(page: Page, count: int = 5) -> list[int]:
    """Numbers of frames as they come, each different from the one before."""
    numbers = [look(page)[0]]
    while len(numbers) < count:
        numbers.append(page.wait(f"(found => found && found[0] != {numbers[-1]} && found)({LOOK})")[0])
    return numbers


@pytest.mark.parametrize(
    ("query", "way", "kind"), [("", "WebRTC", "H264"), ("?codec=vp8", "WebRTC", "VP8"), ("?mjpeg", "MJPEG", "JPEG")]
)
def test_the_page_shows_what_is_sent(
    show: Sender, browser: Browser, query: str, way: str, kind: str, wait_for: Callable[..., None]
) -> None:
    page = browser.open(show.url + query)
    page.wait(f"document.body.dataset.way == '{way}'")
    assert_bars(look(page)[1])
    numbers = next_numbers(page)
    assert numbers == sorted(numbers)
    watching = (1, 0) if way == "WebRTC" else (0, 1)
    wait_for(lambda: (show.status()["webrtc"], show.status()["mjpeg"]) == watching, what="the one way alone")
    coded = show.status()["coded"]
    wait_for(lambda: show.status()["coded"][kind] > coded[kind], what=f"more {kind}")
    assert all(show.status()["coded"][other] == coded[other] for other in coded if other != kind)
    assert page.run("document.title") == "a show"
    page.wait("/\\d fps/.test(document.getElementById('fps').textContent)")
    late = page.wait("document.getElementById('late').textContent")
    assert 0 <= int(late.split()[0]) < 10_000  # in milliseconds: no clock was taken for the other
    page.close()
    wait_for(lambda: not show.status()["connections"], what="a closed page to be gone")


async def aiortc_is_as_we_take_it_to_be() -> None:
    """It has no public place for these two: header extensions, and what RTP times start from."""
    sender: Any = RTCPeerConnection(RTCConfiguration([])).addTransceiver("video").sender
    assert isinstance(sender._RTCRtpSender__rtp_header_extensions_map, rtp.HeaderExtensionsMap)
    assert sender._RTCRtpSender__rtp_timestamp == 0


def test_frames_ask_to_be_shown_at_once(show: Sender, browser: Browser) -> None:
    page = browser.open(show.url)
    page.wait("document.title == 'a show'")
    answer = page.run("""(async () => {
      const peer = new RTCPeerConnection();
      peer.addTransceiver('video', { direction: 'recvonly' });
      await peer.setLocalDescription();
      const headers = { 'Content-Type': 'application/sdp' };
      return (await fetch('offer', { method: 'POST', body: peer.localDescription.sdp, headers })).text();
    })()""")
    page.close()
    number = re.search(rf"a=extmap:(\d+) {re.escape(PLAYOUT_DELAY)}", answer)
    assert number  # the browser knows it, and so do we
    asyncio.run(aiortc_is_as_we_take_it_to_be())
    extensions = NoDelay()
    extensions.configure(
        RTCRtpParameters(headerExtensions=[RTCRtpHeaderExtensionParameters(id=int(number[1]), uri=PLAYOUT_DELAY)])
    )
    packet = rtp.RtpPacket(payload_type=96).serialize(extensions)
    assert rtp.unpack_header_extensions(0xBEDE, packet[16:]) == [(int(number[1]), b"\0\0\0")]  # RFC 8285


def test_the_page_comes_back_by_itself(browser: Browser) -> None:
    with ExitStack() as stack:
        show = Sender()
        stack.callback(show.kill)
        page = browser.open(show.url)
        stack.callback(page.close)
        assert look(page)[0] < 500_000
        show.kill()
        page.wait("!document.body.classList.contains('live')")
        assert_bars(look(page)[1])  # what was seen last stays
        again = Sender(show.port, first=500_000)
        stack.callback(again.kill)
        page.wait(f"(found => found && found[0] >= 500000)({LOOK})")
        page.wait("document.body.dataset.way == 'WebRTC'")


def test_without_udp_the_page_takes_jpegs(show: Sender, tmp_path: Path) -> None:
    with chromium(tmp_path, "--webrtc-ip-handling-policy=disable_non_proxied_udp") as browser:
        page = browser.open(show.url)
        assert page.wait("document.body.dataset.way") == "MJPEG"
        assert_bars(look(page)[1])


def ffmpeg(url: str) -> subprocess.Popen[bytes]:
    """Writes what it sees to its standard output, as rgb24."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed: apt-get install ffmpeg")
    command = [
        "ffmpeg",
        "-nostdin",
        "-loglevel",
        "error",
        "-i",
        url,
        "-vsync",
        "0",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def images(player: subprocess.Popen[bytes]) -> Iterator[np.ndarray]:
    assert player.stdout
    while len(data := player.stdout.read(WIDTH * HEIGHT * 3)) == WIDTH * HEIGHT * 3:
        yield np.frombuffer(data, np.uint8).reshape(HEIGHT, WIDTH, 3)


def stuck_viewer(show: Sender) -> socket.socket:
    """A player that took some of the stream and takes no more. Its system keeps little for it: else all goes on until
    megabytes wait there."""
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    viewer.connect(("127.0.0.1", show.port))
    viewer.sendall(f"GET /video.mjpeg HTTP/1.1\r\nHost: 127.0.0.1:{show.port}\r\n\r\n".encode())
    assert viewer.recv(1024).startswith(b"HTTP/1.1 200 ")
    return viewer


def test_a_stuck_or_killed_viewer_disturbs_no_other(tmp_path: Path, wait_for: Callable[..., None]) -> None:
    with ExitStack() as stack:
        show = Sender()  # of its own: whoever watched the other may not be forgotten yet
        stack.callback(show.kill)
        browser = stack.enter_context(chromium(tmp_path))
        browser.open(show.url).wait("document.body.dataset.way == 'WebRTC'")
        wait_for(lambda: show.status()["webrtc"] == 1, what="the browser")
        stack.enter_context(stuck_viewer(show))
        steady, killed = (ffmpeg(show.url + "video.mjpeg") for _ in range(2))
        for player in (steady, killed):
            stack.callback(player.communicate)
            stack.callback(player.kill)
        alarm = threading.Timer(180, steady.kill)
        alarm.start()
        stack.callback(alarm.cancel)
        number, colours = read(next(images(steady)))
        assert_bars(colours)
        next(images(killed))
        coded = show.status()["coded"]["JPEG"]
        killed.kill()
        browser.kill()
        numbers = [number]
        for image in images(steady):
            numbers.append(read(image)[0])
            if len(numbers) % 10 == 0 and show.status()["connections"] == 1:  # the others were let go
                break
        assert show.status()["mjpeg"] == 1
        assert numbers == sorted(set(numbers))
        coded = show.status()["coded"]["JPEG"] - coded
        newest = read(av_picture(show.ask(path="/frame.jpg")[2]))[0]
        assert coded <= newest - number + 1  # each was coded once, however many watched


def av_picture(jpeg: bytes) -> np.ndarray:
    decoder: Any = av.CodecContext.create("mjpeg", "r")
    (frame,) = decoder.decode(av.Packet(jpeg)) or decoder.decode(None)
    return np.asarray(frame.to_ndarray(format="rgb24"))


def test_nothing_is_encoded_without_viewers(show: Sender, wait_for: Callable[..., None]) -> None:
    wait_for(lambda: not show.status()["connections"], what="everybody to be gone")
    begin = show.status()
    first = read(av_picture(show.ask(path="/frame.jpg")[2]))
    wait_for(lambda: show.status()["frames"] > begin["frames"] + 40)
    last = read(av_picture(show.ask(path="/frame.jpg")[2]))
    assert_bars(last[1])
    end = show.status()
    coded = sum(end["coded"].values()) - sum(begin["coded"].values())
    assert end["frames"] - begin["frames"] >= last[0] - first[0] >= 15  # while the show went on
    assert 2 <= coded < (last[0] - first[0]) / 2  # two stills, each taken anew, and little else


def test_only_this_machine_and_its_own_page_are_served(show: Sender) -> None:
    status, headers, page = show.ask()
    assert (status, headers.get_content_type()) == (200, "text/html")
    allowed = headers["Content-Security-Policy"]
    assert "default-src 'none'" in allowed
    assert "unsafe" not in allowed
    assert b"http://" not in page  # nothing comes from elsewhere
    assert b"https://" not in page
    assert show.ask(Host="evil.example:80")[0] == 421  # a foreign name that points here
    assert show.ask(Host=f"localhost:{show.port}")[0] == 200
    sdp = {"Content_Type": "application/sdp"}
    assert show.ask("POST", "/offer", b"v=0", Origin="http://evil.example", **sdp)[0] == 403
    assert show.ask("POST", "/offer", b"v=0", Origin="null", **sdp)[0] == 403
    assert show.ask("POST", "/offer", b"v=0", Content_Type="text/plain")[0] == 415
    assert show.ask("POST", "/offer", b"no offer at all", **sdp)[0] == 406
    assert show.ask("POST", "/offer", b"v=0\r\n" * 50_000, **sdp)[0] == 413
    assert show.ask("DELETE", "/offer/nobody")[0] == 404
    with closing(socket.create_connection(("127.0.0.1", show.port))) as line:
        line.sendall(b"\x00\xff nonsense\r\n\r\n")
        assert b" 400 " in line.recv(1000)
    assert show.ask()[0] == 200


@given(st.text(max_size=80))
def test_any_host_header_gets_a_yes_or_no(host: str) -> None:
    assert is_ours(host, {"localhost"}) in (True, False)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True), ("LOCALHOST.:8080", True), ("stage.local:80", True), ("127.0.0.1:8080", True),
        ("[::1]:8080", True), ("192.168.1.20", True), ("evil.example", False), ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:8080", False), ("evil.example:80@localhost", False), ("", False), ("[::1", False),
    ],
)  # fmt: skip
def test_names_that_are_ours(host: str, ours: bool) -> None:
    assert is_ours(host, {"localhost", "stage.local"}) is ours


def test_a_taken_port_is_named() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        output = WebOutput(port=port)
        with pytest.raises(OSError, match=f"port {port}: Address already in use; .* as in web:8081"):
            output.open(VideoFormat(64, 64, 30))
    with pytest.raises(OSError, match=r"0\.0\.0\.0 for all"):
        WebOutput("192.0.2.1", free_port()).open(VideoFormat(64, 64, 30))


def test_closes_under_its_viewers() -> None:
    output = WebOutput(port=free_port())
    output.open(VideoFormat(64, 64, 30))
    image = np.full((96, 64), 128, np.uint8)
    with pytest.raises(ValueError, match=r"\(96, 64\)"):
        output.send(Frame(image[:64], 0, 0.0))
    line = http.client.HTTPConnection("127.0.0.1", int(output.status()["url"].split(":")[2][:-1]), timeout=60)
    line.request("GET", "/video.mjpeg")
    ended = threading.Event()

    def watch() -> None:
        with suppress(OSError, http.client.HTTPException):
            line.getresponse().read()
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    for tick in range(2000):
        output.send(Frame(image, tick, time.monotonic()))
        if output.status()["coded"]["JPEG"]:
            break
        time.sleep(0.05)
    assert output.status()["connections"] == 1
    output.close()
    output.close()
    assert ended.wait(60)
    assert output.status() == {"connections": 0, "frames": tick + 1}


def test_frames_that_are_encoded_too_slowly_are_counted(wait_for: Callable[..., None]) -> None:
    output = WebOutput(port=free_port())
    output.open(VideoFormat(640, 360, 30))
    image = np.random.default_rng(0).integers(0, 256, (540, 640), np.uint8)
    line = http.client.HTTPConnection("127.0.0.1", int(output.status()["url"].split(":")[2][:-1]), timeout=60)
    line.request("GET", "/video.mjpeg")

    def send() -> bool:
        output.send(Frame(image, 0, time.monotonic()))
        return output.status()["coded"]["JPEG"] > 0

    try:
        wait_for(send, what="the player to be served")
        begin = output.status()
        for _ in range(100):  # faster than anybody codes
            send()
        wait_for(lambda: sum(output.status()["coded"].values()) + output.status()["dropped"]
                 >= sum(begin["coded"].values()) + begin["dropped"] + 100)  # fmt: skip
        assert output.status()["dropped"] > begin["dropped"]
    finally:
        line.close()
        output.close()


def test_a_new_viewer_sees_no_old_frames(wait_for: Callable[..., None]) -> None:
    output = WebOutput(port=free_port())
    output.open(VideoFormat(192, 192, 30))
    firsts, sent = [], 0.0
    try:
        for light in (60, 200):
            image = np.full((288, 192), 128, np.uint8)
            image[:192] = light
            viewer = Receiver("webrtc", output.status()["url"] + "offer")

            def send(viewer: Receiver = viewer, image: np.ndarray = image) -> int:
                nonlocal sent
                if (now := time.monotonic()) - sent > 0.1:  # so seldom that what the first one saw is still kept
                    sent = now
                    output.send(Frame(image, 0, now))
                return len(viewer.seen)

            wait_for(send, what="a frame")
            firsts.append(viewer.seen[0][1] * 219 + 16)
            viewer.kill()
    finally:
        output.close()
    assert firsts == pytest.approx([60, 200], abs=8)


def test_shows_name_the_browser_output() -> None:
    outputs = Show.parse("outputs: [web, 'web:8123', {web: {host: 0.0.0.0, port: 80}}]").outputs
    assert [(o.kind, o.options) for o in outputs] == [
        ("web", {}), ("web", {"port": 8123}), ("web", {"host": "0.0.0.0", "port": 80})
    ]  # fmt: skip
    assert [o.dump() for o in outputs[:2]] == ["web", "web:8123"]
    with pytest.raises(ShowError, match=r"port: .* not 'stage', as in web:8080"):
        Show.parse("outputs: ['web:stage']")
    with pytest.raises(ShowError, match="web has no option layout: it has host, port, sound"):
        Show.parse("outputs: [{web: {layout: rgba}}]")
