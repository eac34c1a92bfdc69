"""WHIP out, as a media server gets it: an endpoint written from RFC 9725, and Janus where it is installed."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.web import ingest
from worldjockey.integrations.web.whip import WhipOutput
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.show.outputs import parse_output, split_outputs
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError

sys.path.insert(0, str(Path(__file__).parents[2] / "peers"))
from clicking import PIECE, RATE
from on_air import on_air
from whip_server import Endpoint, Received, Room, is_colour, janus

FMT = VideoFormat(320, 180, 30)
RED, BLUE = ((63, 102, 240), (255, 1, 0)), ((32, 240, 118), (1, 0, 255))  # Y, Cb, Cr in BT.709; RGB
PATIENCE_S = 60
SECRET = "s3cret-token-of-the-stage"


def painted(colour: tuple[int, int, int]) -> np.ndarray:
    pixels = np.empty((FMT.height * 3 // 2, FMT.width), np.uint8)
    pixels[: FMT.height] = colour[0]
    pixels[FMT.height :].reshape(2, -1)[:] = [[colour[1]], [colour[2]]]
    return pixels


class Paint:
    """A picture of one colour, which may change."""

    def __init__(self) -> None:
        self.pixels = painted(RED[0])

    def __call__(self, tick: int) -> np.ndarray:
        return self.pixels


def playing(url: str, paint: Callable[[int], np.ndarray] | None = None, sound: Any = None, **options: Any
            ) -> AbstractContextManager[WhipOutput]:  # fmt: skip
    return on_air(WhipOutput(url, sound=sound is not None, **options), FMT, paint or Paint(), sound)


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)


def tone(begin: float) -> np.ndarray:
    at = begin + np.arange(PIECE) / RATE
    return np.stack([0.5 * np.sin(2 * np.pi * hz * at) for hz in (440.0, 1000.0)], 1).astype(np.float32)


def test_the_server_gets_colour_and_sound_and_hears_of_the_end() -> None:
    paint = Paint()
    with Endpoint() as server:
        with playing(server.url, paint, tone) as output:
            wait_for(lambda: server.made and is_colour(server.made[0], RED[1]), "red")
            paint.pixels = painted(BLUE[0])
            wait_for(lambda: is_colour(server.made[0], BLUE[1]), "blue")
            wait_for(lambda: len(server.made[0].samples) > 100, "two seconds of sound")
            told = {"state": "connected", "connections": 1, "codec": "H264", "error": ""}
            wait_for(lambda: told.items() <= output.status().items(), "it to be told")
        assert not server.sessions, "the session was deleted"
        assert [method for method, *_ in server.requests] == ["OPTIONS", "POST", "DELETE"]
        samples = np.concatenate(server.made[0].samples)[-RATE // 2 :]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))[:, None], axis=0)).argmax(0)
    assert spectrum * RATE / len(samples) == pytest.approx([440.0, 1000.0], abs=4)


def test_a_server_without_h264_gets_vp8() -> None:
    with Endpoint(make=lambda: Received("VP8")) as server, playing(server.url) as output:
        wait_for(lambda: server.made and is_colour(server.made[0], RED[1]), "red")
        assert output.status()["codec"] == "VP8"
    with Endpoint() as server, playing(server.url, codec="vp8") as output:
        wait_for(lambda: server.made and is_colour(server.made[0], RED[1]), "red")
        assert output.status()["codec"] == "VP8"


def test_the_token_goes_to_the_server_and_nowhere_else(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("WHIP_TOKEN", SECRET)
    with Endpoint(token=SECRET) as server:
        with playing(f"{server.url}?key={SECRET}", token="wrong") as output:
            wait_for(lambda: "401" in output.status()["error"], "the refusal")
            assert "token" in output.status()["error"]
            assert SECRET not in str(output.status())
        with playing(server.url, token="$WHIP_TOKEN") as output:
            wait_for(lambda: output.status()["connections"], "the connection")
        assert not server.sessions, "DELETE needs the token, too"
        with Endpoint(refuse=[(307, {"Location": server.url})]) as front, playing(front.url, token=SECRET) as output:
            wait_for(lambda: "use that address" in output.status()["error"], "the refusal of the other server")
            assert f"127.0.0.1:{server.port}" in output.status()["error"]
        assert "Authorization" not in server.requests[-1][2]
    assert SECRET not in caplog.text
    assert "WHIP to" in caplog.text


def test_a_redirect_is_followed_and_a_busy_server_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    monkeypatch.setattr(ingest, "RETRY_DELAYS_S", (0.05,))
    monkeypatch.setattr(ingest, "retry_after", lambda value: waits.append(value) or 0.1)
    with Endpoint(refuse=[(503, {"Retry-After": "7"})], token="t") as server:
        with playing(server.url.replace("/whip/stage", "/moved"), token="t") as output:
            wait_for(lambda: output.status()["connections"] and output.status()["error"] == "", "the connection")
        assert [path for method, path, _ in server.requests if method == "POST"] == ["/moved", "/whip/stage"] * 2
        assert not server.sessions
    assert waits == ["7"]


@pytest.mark.parametrize(
    ("status", "fix"),
    [(400, "codec: vp8"), (403, "may publish"), (404, "address"), (405, "for viewers"), (406, "H.264"),
     (409, "another"), (200, "not a WHIP address"), (302, "for browsers"), (418, "check the address"),
     (500, "tried again")],
)  # fmt: skip
def test_a_refusal_names_the_fix_and_is_tried_again(status: int, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "RETRY_DELAYS_S", (0.3,))
    refusals = [(status, {"Location": "/"})] * 1000
    with Endpoint(refuse=refusals) as server, playing(server.url) as output:

        def refused() -> bool:
            told = output.status()
            return told["state"] == "waiting" and f"HTTP {status}" in told["error"] and fix in told["error"]

        wait_for(refused, "the refusal")
        refusals.clear()
        wait_for(lambda: output.status()["connections"], "the attempt after it")


@pytest.mark.slow
def test_a_lost_connection_is_made_again_and_never_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "RETRY_DELAYS_S", (0.1,))
    port = free_port()
    with playing(f"http://127.0.0.1:{port}/whip/stage") as output:
        wait_for(lambda: "cannot be reached" in output.status()["error"], "nobody there")
        frames = output.status()["frames"]
        wait_for(lambda: output.status()["frames"] > frames + 30, "frames are taken all the same")
        with Endpoint(port=port) as server:
            wait_for(lambda: server.made and is_colour(server.made[0], RED[1]), "the server that came later")
            server.drop()
            wait_for(lambda: len(server.made) > 1 and is_colour(server.made[1], RED[1]), "the second session")
            wait_for(lambda: (output.status()["lost"], output.status()["error"]) == (1, ""), "it to be told")


@pytest.mark.parametrize("answer", [b"\x00\x01 no HTTP\r\n\r\n", b""], ids=["no HTTP", "silence"])
def test_a_server_of_something_else_is_told_and_left_at_once(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])
                    if answer:
                        taken[-1].recv(65536)
                        taken[-1].sendall(answer)
                        taken[-1].close()

        threading.Thread(target=serve, daemon=True).start()
        with playing(f"http://127.0.0.1:{server.getsockname()[1]}/whip") as output:
            wait_for(lambda: taken, "a call")
            if answer:
                wait_for(lambda: "does not answer by HTTP" in output.status()["error"], "what is wrong")
            begin = time.monotonic()
        assert time.monotonic() - begin < ingest.ANSWER_TIMEOUT_S / 2, "nobody waits for an answer at the end"


@pytest.mark.skipif(not shutil.which("janus"), reason="janus is not installed: apt-get install janus")
@pytest.mark.slow
def test_a_viewer_at_janus_sees_the_colour(tmp_path: Path) -> None:
    paint = Paint()
    with janus(tmp_path, free_port()) as port, Endpoint(make=lambda: Room(port)) as server:
        with playing(server.url, paint, tone) as output:
            wait_for(lambda: output.status()["connections"], "Janus to take it")
            wait_for(lambda: server.made and is_colour(server.made[0], RED[1]), "red at a viewer")
            paint.pixels = painted(BLUE[0])
            wait_for(lambda: is_colour(server.made[0], BLUE[1]), "blue at a viewer")
            wait_for(lambda: len(server.made[0].samples) > 50, "a second of sound")
        assert not server.sessions


def test_ice_servers_of_a_link_header() -> None:
    links = [
        '<stun:stun.example.net>; rel="ice-server"',
        '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="us\\"er"; credential="a;b,c"; '
        'credential-type="password", <turns:t.example.net>; rel=ice-server; username=u; credential=c',
        '<https://example.com/>; rel="next"', '<stun:other.example.net>; rel="stylesheet"',
    ]  # fmt: skip
    found = ingest.ice_servers(links)
    assert [(s.urls, s.username, s.credential) for s in found] == [
        ("stun:stun.example.net", None, None), ("turn:turn.example.net?transport=udp", 'us"er', "a;b,c"),
        ("turns:t.example.net", "u", "c"),
    ]  # fmt: skip


@given(st.text(max_size=200))
def test_any_header_is_survived(text: str) -> None:
    assert isinstance(ingest.ice_servers([text, f"<stun:{text}>; rel=ice-server{text}"]), list)
    after = ingest.retry_after(text)
    assert after is None or 0 <= after <= ingest.MAX_RETRY_AFTER_S


def test_what_cannot_be_sent_to_is_refused_where_it_is_typed() -> None:
    entry = parse_output("whip:https://sfu.example.com:8889/stage/whip")
    assert entry.options == {"url": "https://sfu.example.com:8889/stage/whip"}
    assert split_outputs("window,whip:https://host/whip/a,ndi") == ["window", "whip:https://host/whip/a", "ndi"]
    for options in ({"url": "host/whip"}, {"url": "rtmp://host/app"}, {"url": "http://h:99999/w"},
                    {"url": "https://h/w", "codec": "av1"},
                    {"url": "https://h/w", "token": "two words"},
                    {"url": "https://u:two words@h/w", "token": "t"}):  # fmt: skip
        with pytest.raises(ShowError) as refusal:
            Show.parse(json.dumps({"outputs": [{"kind": "whip", **options}]}))
        assert "two words" not in str(refusal.value)
    with pytest.raises(ShowError, match="needs a url"):
        Show.parse("outputs: [whip]")


def test_an_odd_size_and_another_shape_are_refused() -> None:
    with pytest.raises(RuntimeError, match="even width"):
        WhipOutput("https://h/w").open(VideoFormat(321, 180, 30))
    with pytest.raises(RuntimeError, match="NO_SUCH_VARIABLE is not set"):
        WhipOutput("https://h/w", token="$NO_SUCH_VARIABLE").open(FMT)
    with playing("http://127.0.0.1:9/w") as output, pytest.raises(ValueError, match="yuv420p"):
        output.send(Frame(np.zeros((4, 4), np.uint8), 0, 0.0))
