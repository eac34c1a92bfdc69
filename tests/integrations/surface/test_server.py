"""The surface's server as pages and strangers see it: real websockets, plain HTTP, and kill -9."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from surface_client import send, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from worldjockey.integrations import ControlEvent
from worldjockey.integrations.addresses import is_loopback
from worldjockey.integrations.surface import server
from worldjockey.integrations.surface.access import Access
from worldjockey.integrations.surface.input import SurfaceInput, SurfaceOptions
from worldjockey.node.measure.show_process import free_port

pytestmark = pytest.mark.slow
OPERATOR, VIEWER = "operators-own", "only-for-viewers"
ROWS = [{"name": "energy", "kind": "float"}]


class Served:
    """A surface with nothing behind it but this test."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.controls: list[ControlEvent] = []
        self.folder = folder
        self.release = threading.Event()
        self.release.set()
        options = SurfaceOptions(host, port or free_port(), OPERATOR, VIEWER, media=folder / "media", stills=folder)
        self.surface = SurfaceInput(ROWS, {"energy": 0.0}, options, self.answer)
        self.surface.publish({"show": {"name": "a show"}, "status": {"state": 1}, "monitors": {}})
        self.surface.start(self.controls.append)
        deadline = time.monotonic() + 60
        while not self.surface.url:
            assert time.monotonic() < deadline, self.surface.status()
            time.sleep(0.02)

    def answer(self, request: Any) -> Any:
        self.release.wait(60)
        if request["do"] == "fail":
            raise ValueError("this cannot be done: do that")
        if request["do"] == "crash":
            raise KeyError("place")
        return {"asked": request["do"], **{name: request[name] for name in ("index", "draw") if name in request}}

    @property
    def port(self) -> int:
        return int(self.surface.status()["port"])

    def page(self, query: str = "", **options: Any) -> Any:
        return connect(f"ws://127.0.0.1:{self.port}/ws{query}", max_size=None, max_queue=None, **options)

    def ask(self, path: str = "/", method: str = "GET", body: bytes | None = None, address: str = "127.0.0.1",
            **headers: str) -> tuple[int, Any, bytes]:  # fmt: skip
        line = http.client.HTTPConnection(address, self.port, timeout=60)
        with contextlib.closing(line):
            line.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = line.getresponse()
            return answer.status, answer.headers, answer.read()


def jpeg(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 36), colour).save(file, "JPEG")
    return file.getvalue()


def to_the_end(page: ClientConnection, *messages: str) -> None:
    for message in messages:
        page.send(message)
    while True:
        page.recv(timeout=60)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = Served(tmp_path)
    yield found
    found.surface.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that serves every network, for all tests that leave it as it is."""
    found = Served(tmp_path_factory.mktemp("surface"), "0.0.0.0")
    yield found
    found.surface.stop()


def test_a_page_is_greeted_with_everything(served):
    with served.page() as page:
        hello = until(page, "hello")
    assert hello["role"] == "operator"
    assert hello["parameters"] == ROWS
    assert hello["values"] == {"energy": 0.0}
    assert hello["show"] == {"name": "a show"}
    assert hello["status"] == {"state": 1}


def test_two_pages_stay_in_step_by_the_shows_own_values(served, wait_for):
    with served.page() as left, served.page() as right:
        until(left, "hello"), until(right, "hello")
        send(left, set={"energy": 0.25})
        wait_for(lambda: served.controls, what="the control")
        (control,) = served.controls
        assert (control.target, control.args) == ("energy", (0.25,))
        assert control.source.startswith("surface ")
        assert 0 <= time.monotonic() - control.arrived_at < 60
        served.surface.feedback("energy", 0.25)
        served.surface.feedback("word/storm", 2.0)
        for page in (left, right):
            seen: dict[str, Any] = {}
            while seen.keys() != {"energy", "word/storm"}:
                seen |= until(page, "values")
            assert seen == {"energy": 0.25, "word/storm": 2.0}
    served.surface.feedback("word/storm", 1)

    def greeted() -> Any:
        with served.page() as late:
            return until(late, "hello")["values"]

    wait_for(lambda: greeted() == {"energy": 0.25}, what="a plain word is not kept")


@pytest.mark.parametrize(
    "text", ["[]", "null", '{"set": 5}', '{"fire": []}', '{"fire": 5}', '{"set": {"energy": "loud"}}', "?"]
)
def test_a_page_is_told_what_is_wrong_with_a_message(shared, text):
    with connect(f"ws://127.0.0.1:{shared.port}/ws") as page:
        until(page, "hello")
        page.send(text)
        told = until(page, "message")
    assert told["level"] == "error"
    assert told["text"]


def played(served: Served, name: str) -> list[Any]:
    return [control.args[0] for control in served.controls if control.target == name]


def test_what_a_page_holds_is_let_go_when_it_is_gone(served, wait_for):
    with served.page() as other:
        until(other, "hello")
        with served.page() as page:
            until(page, "hello")
            send(page, hold={"pad/1": 0, "pad/2": 0, "pad/3": 0, "cam/yaw": 0.0})
            send(page, set={"pad/1": 1, "pad/2": 1, "pad/3": 1, "cam/yaw": -1})
            send(page, release=["pad/2"])
            wait_for(lambda: played(served, "cam/yaw") == [-1])
            send(other, set={"pad/3": 0.5})
            wait_for(lambda: played(served, "pad/3") == [1, 0.5])
            page.socket.shutdown(socket.SHUT_RDWR)  # without a word, as a page whose tab is closed
        wait_for(lambda: played(served, "pad/1") == [1, 0] and played(served, "cam/yaw") == [-1, 0])
        assert played(served, "pad/2") == [1], "what was let go before stays as it was set"
        assert played(served, "pad/3") == [1, 0.5], "what another page plays stays"


def test_a_page_that_sleeps_is_gone_and_one_that_comes_back_holds_on(served, wait_for, monkeypatch):
    with served.page() as page:
        until(page, "hello")
        send(page, hold={"pad/1": 0, "pad/2": 0})
        send(page, set={"pad/1": 1, "pad/2": 1})
        wait_for(lambda: played(served, "pad/2") == [1])
        monkeypatch.setattr(page.protocol, "receive_data", lambda data: None)  # it reads, and answers no ping
        with served.page() as again:
            until(again, "hello")
            send(again, hold={"pad/1": 0})
            wait_for(lambda: played(served, "pad/2") == [1, 0])
            assert played(served, "pad/1") == [1]


def test_what_was_held_is_let_go_after_kill_9(served, wait_for):
    with served.page() as page:
        until(page, "hello")
        send(page, hold={"pad/1": 0})
        send(page, set={"pad/1": 1})
        wait_for(lambda: played(served, "pad/1") == [1])
        os.kill(served.surface.status()["pid"], signal.SIGKILL)
        wait_for(lambda: played(served, "pad/1") == [1, 0])


def test_values_are_latest_wins_and_what_is_fired_is_neither_lost_nor_doubled(served, wait_for):
    stack = contextlib.ExitStack()
    pages = [stack.enter_context(served.page()) for _ in range(3)]
    for page in pages:
        until(page, "hello")

    def drag(n: int) -> None:
        for i in range(1000):
            send(pages[n], set={f"pad/{n}": i / 1000, "energy": n + i / 1000})
            if i % 50 == 0:
                send(pages[n], fire=["cue/go", f"{n} {i}"])
        send(pages[n], set={f"pad/{n}": 1.0})

    threads = [threading.Thread(target=drag, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = {f"pad/{n}": 1.0 for n in range(3)}
    wait_for(lambda: last.items() <= {c.target: c.args[0] for c in served.controls}.items(), what="the last values")
    fired = [c.args[0] for c in served.controls if c.target == "cue/go"]
    assert sorted(fired) == sorted(f"{n} {i}" for n in range(3) for i in range(0, 1000, 50))
    for n in range(3):
        mine = [c.args[0] for c in served.controls if c.target == f"pad/{n}"]
        assert mine == sorted(mine), "never an older value after a newer one"
    moved = [c for c in served.controls if c.target != "cue/go"]
    assert len(moved) < 3000, "fewer than were sent: 6003"
    stack.close()


def test_a_value_that_was_set_before_a_trigger_is_obeyed_before_it(served, wait_for):
    with served.page() as page:
        for i in range(50):
            send(page, set={"quantise": i})
            send(page, fire=["cue/go", i])
        wait_for(lambda: len([c for c in served.controls if c.target == "cue/go"]) == 50)
    seen = None
    for control in served.controls:
        if control.target == "quantise":
            seen = control.args[0]
        else:
            assert control.args[0] == seen


def test_fires_above_the_rate_are_read_more_slowly_but_not_lost(served, wait_for):
    with served.page() as page:
        for i in range(300):
            send(page, fire=["cue/go", i])
        wait_for(lambda: len(served.controls) == 300)
    assert [c.args[0] for c in served.controls] == list(range(300))


def test_the_status_and_the_show_follow(served):
    with served.page() as page:
        until(page, "hello")
        show = {"name": "another"}
        served.surface.publish({"show": show, "status": {"state": 2}, "monitors": {}})
        assert until(page, "show") == show
        served.surface.publish({"show": show, "status": {"state": float("nan")}, "monitors": {}})
        assert until(page, "status", lambda status: status["state"] != 2) == {"state": None}, "no NaN for JavaScript"


def test_requests_are_answered_each_by_its_own_number(served):
    with served.page() as left, served.page() as right:
        until(left, "hello"), until(right, "hello")
        for page, number in ((left, 5), (right, 5)):
            send(page, request={"id": number, "do": "cue/delete", "index": number if page is left else 6})
        assert until(left, "reply") == {"id": 5, "result": {"asked": "cue/delete", "index": 5}}
        assert until(right, "reply") == {"id": 5, "result": {"asked": "cue/delete", "index": 6}}
        send(left, request={"id": 6, "do": "fail"})
        assert until(left, "reply") == {"id": 6, "error": "this cannot be done: do that"}
        send(left, request={"id": 7, "do": "crash"})
        assert "KeyError" in until(left, "reply")["error"]
        send(left, request={"id": 8, "do": "surface/link"})
        link = until(left, "reply")["result"]
        assert link["url"] == served.surface.url
        assert link["qr"].startswith("<svg ")
        served.release.clear()
        for number in range(100, 130):
            send(left, request={"id": number, "do": "slow"})
        assert "too many" in until(left, "reply")["error"]
        served.release.set()


def test_a_page_of_another_site_cannot_play(shared):
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{shared.port + 1}"):
        with pytest.raises(InvalidStatus, match="403"), shared.page(origin=origin):
            pass
        assert shared.ask("/files?name=a.jpg", "POST", b"x", Origin=origin)[0] == 403
    with shared.page(origin=f"http://127.0.0.1:{shared.port}") as page:
        until(page, "hello")


def test_another_name_for_this_machine_is_refused(shared):
    assert shared.ask(Host="evil.example")[0] == 421
    assert shared.ask(Host=f"evil.example:{shared.port}")[0] == 421
    assert shared.ask(Host="localhost")[0] == 200


def test_only_the_pages_own_files_are_served(shared):
    status, headers, body = shared.ask()
    assert (status, body[:15].lower()) == (200, b"<!doctype html>")
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'", "no inline code"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert shared.ask(If_None_Match=headers["ETag"])[0] == 304
    for path in ("/server.py", "/../server.py", "/%2e%2e/server.py", "//etc/passwd", "/..%2finput.py", "/page",
                 "/stills/../server.py", "/stills/%2e%2e%2fserver.py", "/stills/x.jpg", "/preview/x"):  # fmt: skip
        assert shared.ask(path)[0] in (400, 404), path
    for method in ("PUT", "DELETE", "PATCH", "POST"):
        assert shared.ask("/", method, b"x")[0] == 405


def test_every_file_of_the_page_is_served_with_its_type(shared):
    for name, path in server.page_files(server.PAGE).items():
        status, headers, body = shared.ask(f"/{name}")
        assert (status, body) == (200, path.read_bytes())
        assert headers["Content-Type"].split(";")[0] == server.KINDS[path.suffix]


def own_address() -> str:
    from worldjockey.integrations.addresses import own_address

    address = own_address("0.0.0.0")
    if is_loopback(address):
        pytest.skip("this machine has no network")
    return address


def test_on_a_network_only_the_link_opens_the_page(shared):
    address = own_address()
    status, _, body = shared.ask(address=address)
    assert status == 401
    assert b"link" in body
    for path in ("/ws", "/index.html", "/program/frame.jpg", "/stills/abcd.jpg", "/?token=wrong", "/?token="):
        assert shared.ask(path, address=address)[0] == 401, path
    assert shared.ask("/files?name=a.jpg", "POST", b"x", address)[0] == 401
    with pytest.raises(InvalidStatus, match="401"), connect(f"ws://{address}:{shared.port}/ws"):
        pass
    for token, role in ((OPERATOR, "operator"), (VIEWER, "viewer")):
        status, headers, _ = shared.ask(f"/?token={token}", address=address)
        assert status == 200
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        kept = {"Cookie": cookie.split(";")[0]}
        assert shared.ask("/", address=address, **kept)[0] == 200
        with connect(f"ws://{address}:{shared.port}/ws", additional_headers=kept, max_size=None) as page:
            assert until(page, "hello")["role"] == role
    facts = shared.surface._facts
    assert facts["link"] == f"http://{address}:{shared.port}/?token={OPERATOR}"
    assert OPERATOR not in json.dumps(shared.surface.status()), "a page of a viewer gets the status"


def test_a_viewer_watches_only(shared):
    before = len(shared.controls)
    with shared.page(f"?token={VIEWER}") as page, shared.page() as other:
        assert until(page, "hello")["role"] == "viewer"
        until(other, "hello")
        send(page, set={"energy": 1.0})
        send(page, fire=["panic"])
        send(page, request={"id": 1, "do": "show/save"})
        assert "viewers" in until(page, "reply")["error"]
        send(page, request={"id": 2, "do": "surface/link"})
        assert "viewers" in until(page, "reply")["error"]
        send(page, request={"id": 3, "do": "stills/pads", "draw": True})
        assert until(page, "reply")["result"]["draw"] is False, "viewers see the stills that there are"
        assert shared.ask(f"/files?name=a.jpg&token={VIEWER}", "POST", b"x")[0] == 403
        send(other, request={"id": 3, "do": "anything"})
        until(other, "reply")
    assert len(shared.controls) == before


def test_a_page_learns_what_cannot_be_understood_and_not_too_often(served):
    with served.page() as page:
        until(page, "hello")
        refused = {"no JSON": "not JSON", '["set"]': "a message is", '{"set": {"energy": []}}': "a value is",
                   '{"request": {"do": "cue/store"}}': '"id"'}  # fmt: skip
        for text, why in refused.items():
            page.send(text)
            told = until(page, "message")
            assert told["level"] == "error"
            assert why in told["text"]
            time.sleep(server.REFUSAL_INTERVAL_S)
        for _ in range(20):
            page.send("no JSON")
        send(page, request={"id": 1, "do": "cue/store"})
        seen = []
        while not any("reply" in message for message in seen):
            seen.append(json.loads(page.recv(timeout=60)))
        assert sum("message" in message for message in seen) <= 5


def test_a_file_that_is_not_what_its_name_tells_is_refused(served):
    for name, what in (("x.jpg", "an image"), ("x.wav", "a sound"), ("x.mp4", "a clip")):
        status, _, text = served.ask(f"/files?name={name}", "POST", b"#!/bin/sh\n" * 100)
        assert (status, text.decode()) == (415, f"{name} is not {what}")
    assert not [path for path in served.folder.rglob("*") if path.is_file()]


def test_files_are_stored_beside_the_show_and_nowhere_else(served):
    picture, other = jpeg("red"), jpeg("blue")

    def upload(name: str, body: bytes = picture, **headers: str) -> tuple[int, str]:
        status, _, text = served.ask(f"/files?name={name}", "POST", body, **headers)
        return status, text.decode()

    assert upload("sea.jpg") == (200, '{"path": "media/sea.jpg"}')
    assert upload("sea.jpg", other) == (200, '{"path": "media/sea-2.jpg"}')
    assert upload("..%2f..%2fshow.jpg") == (200, '{"path": "media/show.jpg"}')
    assert (served.folder / "media" / "sea.jpg").read_bytes() == picture
    status, text = upload("run.py")
    assert status == 415
    assert ".jpg" in text
    assert upload("big.jpg", b"", Content_Length=str(65 << 20))[0] == 415
    assert {path.name for path in served.folder.rglob("*") if path.is_file()} == {"sea.jpg", "sea-2.jpg", "show.jpg"}
    large = picture + os.urandom(3 << 20)
    assert upload("large.jpg", large)[0] == 200
    assert (served.folder / "media" / "large.jpg").read_bytes() == large


HOSTILE = [
    "no JSON", "[]", "{}", "null", "[" * 20_000, '{"set": {"energy": NaN}}', '{"set": {"energy": {"a": 1}}}',
    '{"fire": ["panic"], "set": {}}', '{"hello": {}}', '{"controls": [["panic", [], 0, ""]]}', '{"facts": {"port": 1}}',
    '{"request": {"id": "x", "do": "y"}}', "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"), "\0",
]  # fmt: skip


def test_a_hostile_page_is_no_trouble_to_the_others(served, wait_for):
    with served.page() as good:
        until(good, "hello")
        pid = served.surface.status()["pid"]
        with served.page() as bad:
            for text in HOSTILE:
                bad.send(text)
            bad.send(b"\x00\xff" * 1000)
        with served.page() as bad, pytest.raises(ConnectionClosed):
            to_the_end(bad, '{"set": {"prompt": "' + "x" * (70 << 10) + '"}}')
        names = {f"word/{i}": 1.5 for i in range(500)}
        with contextlib.suppress(ConnectionClosed), served.page() as bad:
            for i in range(30):
                send(bad, set={f"{name}x{i}": 0.5 for name in names})
        with socket.create_connection(("127.0.0.1", served.port)) as rude:
            rude.sendall(b"GET / HTTP/1.1\r\nHost: " + b"x" * 100_000)
        with socket.create_connection(("127.0.0.1", served.port)) as rude:
            rude.sendall(os.urandom(10_000))
        send(good, set={"energy": 0.75})
        wait_for(lambda: any(c.target == "energy" and c.args == (0.75,) for c in served.controls))
        assert served.surface.status()["pid"] == pid
        assert served.surface.status()["restarts"] == 0
        targets = {c.target for c in served.controls}
        assert targets <= {"energy", *(f"word/{n}x{i}" for n in range(500) for i in range(30))}


def test_a_page_that_reads_nothing_is_given_up_and_keeps_nobody_waiting(served, wait_for):
    with socket.create_connection(("127.0.0.1", served.port)) as deaf, served.page() as good:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        until(good, "hello")
        deaf.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        wait_for(lambda: served.surface.pages == 2)
        deadline, n = time.monotonic() + 120, 0
        while served.surface.pages == 2:
            assert time.monotonic() < deadline
            n += 1
            served.surface.feedback("prompt", f"{n}" + "x" * 16_000)
            assert until(good, "values")["prompt"].startswith(f"{n}x")
        assert served.surface.pages == 1


def test_pages_beyond_the_most_are_refused(served):
    with contextlib.ExitStack() as stack:
        for _ in range(server.CLIENTS_MAX):
            stack.enter_context(served.page())
        with pytest.raises(InvalidStatus, match="503"), served.page():
            pass
    deadline = time.monotonic() + 60
    while True:  # a place is free again
        with contextlib.suppress(InvalidStatus), served.page():
            break
        assert time.monotonic() < deadline


def test_idle_connections_beyond_the_most_are_closed(served):
    lines = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(server.CONNECTIONS_MAX + 20)]
    closed = 0
    for line in lines[-20:]:
        line.settimeout(60)
        with contextlib.suppress(ConnectionError):
            assert line.recv(1) == b""
        closed += 1
    assert closed == 20
    for line in lines:
        line.close()


def test_a_taken_port_gives_the_next_one(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = Served(tmp_path, port=port)
        try:
            assert found.port > port
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", found.surface.url)
        finally:
            found.surface.stop()


def test_a_killed_server_comes_back_with_the_true_state(served, wait_for):
    port, pid = served.port, served.surface.status()["pid"]
    with served.page() as page:
        until(page, "hello")
        served.surface.feedback("energy", 0.5)
        until(page, "values")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            to_the_end(page)
    served.surface.feedback("energy", 0.75)
    wait_for(lambda: served.surface.url and served.surface.status()["pid"] != pid, what="another server")
    assert served.port == port, "pages come back to the same address"
    with served.page() as page:
        hello = until(page, "hello")
        assert hello["values"] == {"energy": 0.75}
        assert hello["show"] == {"name": "a show"}
        send(page, fire=["panic"])
        wait_for(lambda: [c.target for c in served.controls] == ["panic"])
    assert served.surface.status()["restarts"] == 1


def test_an_address_of_another_machine_is_an_error_in_words(tmp_path, wait_for):
    options = SurfaceOptions("203.0.113.7", free_port(), media=tmp_path, stills=tmp_path)
    surface = SurfaceInput(ROWS, {}, options, lambda request: None)
    surface.start(lambda control: None)
    try:
        wait_for(lambda: surface.status().get("error"))
        assert "lan" in str(surface.status()["error"])
        assert surface.url == ""
    finally:
        surface.stop()


def test_roles_by_address_and_token():
    access = Access(OPERATOR, VIEWER)
    assert access.role("127.0.0.1", "") == access.role("::1", "") == access.role("::ffff:127.0.0.1", "") == "operator"
    assert access.role("192.168.1.7", "") is None
    assert access.role("192.168.1.7", OPERATOR) == "operator"
    assert access.role("192.168.1.7", VIEWER) == access.role("127.0.0.1", VIEWER) == "viewer"
    assert access.role("127.0.0.1", "wrong") is access.role("192.168.1.7", "ü") is access.role("", "") is None
