"""The crowd's server as phones and strangers see it: real websockets, plain HTTP, and kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from crowd_served import ASKED, POLL, Served, hear, send
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from worldjockey.integrations.crowd import server
from worldjockey.integrations.crowd.room import WORD_AFTER_S

pytestmark = pytest.mark.slow


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.input.stop()


def test_a_fader_is_the_median_of_all(crowd):
    pages = [crowd.phone() for _ in range(5)]
    for page, value in zip(pages, (0.0, 0.1, 0.9, 1.0, 0.95), strict=True):
        send(page, {"fader": ["storm", value]})
    crowd.until(lambda: crowd.newest("faders")["storm"] == {"median": 0.9, "votes": 5}, "the median of five")
    assert crowd.newest("faders")["day"]["votes"] == 0
    crowd.until(lambda: crowd.newest("facts")["heads"] == 5, "five heads")
    for page in pages:
        page.close()
    crowd.until(lambda: crowd.newest("facts")["heads"] == 0, "nobody")


def test_a_person_has_one_vote_and_may_change_it(crowd):
    first, again, other = crowd.phone("a" * 20), crowd.phone("a" * 20), crowd.phone("b" * 20)
    for page, option in ((first, 0), (again, 0), (again, 1), (other, 1)):
        send(page, {"vote": [3, option]})
        assert hear(page, "own") is not None
    crowd.until(lambda: crowd.newest("votes") == {"poll": 3, "counts": [0, 2], "voters": 2}, "two votes")
    crowd.input.send({"poll": {**POLL, "id": 4}})
    send(other, {"vote": [3, 1]})  # for the poll before
    crowd.until(lambda: crowd.newest("votes") == {"poll": 4, "counts": [0, 0], "voters": 0}, "an empty poll")


def test_a_killed_server_comes_back_and_phones_vote_again(crowd):
    page = crowd.phone("c" * 20)
    send(page, {"vote": [3, 1]})
    crowd.until(lambda: crowd.newest("votes")["counts"] == [0, 1], "a vote")
    url = crowd.input.url
    os.kill(crowd.input.status()["pid"], signal.SIGKILL)
    crowd.until(lambda: crowd.input.status()["restarts"] == 1 and crowd.input.url == url, "a new server")
    with pytest.raises(ConnectionClosed):
        hear(page, "nothing")
    page = crowd.phone("c" * 20)
    assert hear(page, "show")["poll"]["question"] == "Where next?", "what was asked is asked again"
    assert hear(page, "own")["vote"] is None
    before = len(crowd.lines)
    send(page, {"vote": [3, 1]})
    crowd.until(lambda: any(line.get("votes", {}).get("counts") == [0, 1] for line in crowd.lines[before:]), "a vote")
    assert all(sum(line["votes"]["counts"]) for line in crowd.lines[before:] if "votes" in line), "never fewer votes"


def test_nobody_moves_a_fader_while_the_server_is_gone(crowd):
    page = crowd.phone()
    send(page, {"fader": ["storm", 1.0]})
    crowd.until(lambda: crowd.newest("faders")["storm"]["votes"] == 1, "one who moves it")
    before = len(crowd.lines)
    os.kill(crowd.input.status()["pid"], signal.SIGKILL)
    crowd.until(lambda: any("faders" in line for line in crowd.lines[before:]), "the silence")
    line = next(line for line in crowd.lines[before:] if "faders" in line)
    assert {fader["votes"] for fader in line["faders"].values()} == {0}


def test_words_are_cleaned_counted_and_blocked(crowd):
    page = crowd.phone()
    hear(page, "own")
    answers = []
    send(page, {"word": "early"})
    assert hear(page, "own")["word"] == "wait", "who comes anew for each word must wait"
    time.sleep(WORD_AFTER_S)
    for word in ("Rain!", "  rain ", "f00l", "<b>", "дождь", "x" * 60):
        send(page, {"word": word})
        answers.append(hear(page, "own")["word"])
    assert answers == ["taken", "taken", "unknown", "taken", "taken", "unknown"]

    def counted() -> dict[str, int]:
        found: dict[str, int] = {}
        for line in crowd.lines:
            for row in line.get("words", ()):
                found[row["word"]] = found.get(row["word"], 0) + row["count"]
        return found

    crowd.until(lambda: counted() == {"rain": 2, "b": 1, "дождь": 1}, "the words")


def test_the_crowd_can_be_shut_out(crowd):
    page = crowd.phone()
    crowd.input.send({"crowd": {"open": False, "title": "Storm"}})
    while hear(page, "show")["open"]:
        pass
    for message in ({"fader": ["storm", 0.0]}, {"vote": [3, 0]}):
        assert crowd.ask("/say?person=" + "f" * 20, "POST", json.dumps(message))[2] == b'{"own": {}}'
    crowd.input.send(ASKED[0])
    assert hear(page, "show")["open"]
    send(page, {"fader": ["day", 1.0]})
    crowd.until(lambda: crowd.newest("faders")["day"]["votes"] == 1, "the open crowd")
    assert crowd.newest("faders")["storm"]["votes"] == 0
    assert crowd.newest("votes")["voters"] == 0


def test_players_take_the_free_seats(crowd):
    pages = [crowd.phone() for _ in range(3)]
    seats = []
    for page in pages:
        hear(page, "own")
        send(page, {"seat": True})
        seats.append(hear(page, "own")["seat"])
    assert seats == [1, 2, 0]
    for page in pages:
        send(page, {"play": {"axes": [0.5, -1], "buttons": ["jump"]}})
    both = [{"seat": seat, "axes": [0.5, -1.0], "buttons": ["jump"]} for seat in (1, 2)]
    crowd.until(lambda: crowd.newest("players") == both, "two players")
    pages[0].close()
    crowd.until(lambda: crowd.newest("players") == both[1:], "one player")


def test_a_browser_without_websockets_takes_part(crowd):
    who = "?person=" + "d" * 20
    status, _, body = crowd.ask(f"/state{who}")
    assert status == 200
    assert json.loads(body)["show"]["title"] == "Storm & night"
    status, _, body = crowd.ask(f"/say{who}", "POST", json.dumps({"vote": [3, 0]}))
    assert (status, json.loads(body)) == (200, {"own": {"vote": [3, 0]}})
    crowd.until(lambda: crowd.newest("votes")["counts"] == [1, 0], "the vote")
    assert crowd.ask(f"/say{who}", "POST", '{"volume": 1}')[0] == 400
    assert crowd.ask(f"/say{who}", "POST", "x" * 5000)[0] == 413


@pytest.mark.parametrize(
    ("accept", "lang"),
    [("de-AT,en;q=0.5", "de"), ("xx,ar;q=0.9,en;q=0.8", "ar"), ("", "en"), ("zh-CN", "zh"), ("fr;q=0,ja", "ja")],
)
def test_the_page_is_in_the_guests_language(crowd, accept, lang):
    status, headers, body = crowd.ask("/", Accept_Language=accept)
    text = body.decode()
    assert status == 200
    assert f'<html lang="{lang}" dir="{"rtl" if lang == "ar" else "ltr"}">' in text
    assert "<title>Storm &amp; night</title>" in text
    assert "script-src 'self'" in headers["Content-Security-Policy"]


def test_strangers_get_nothing(crowd, tmp_path):
    (tmp_path / "sea1.jpg").write_bytes(b"a picture")
    (tmp_path / "other.jpg").write_bytes(b"of the performer only")
    assert crowd.ask("/stills/sea1.jpg")[0] == 200
    assert crowd.ask("/stills/other.jpg")[0] == 404
    assert crowd.ask("/stills/..%2Fserver.py")[0] == 404
    assert crowd.ask("/index.html")[0] == 404
    assert crowd.ask("/", Host="evil.example")[0] == 421
    assert crowd.ask("/say?person=" + "e" * 20, "POST", "{}", Origin="http://evil.example")[0] == 403
    for path in ("/ws?person=short", "/ws?person=" + "x" * 99):
        with pytest.raises(InvalidStatus):
            connect(f"ws://127.0.0.1:{crowd.port}{path}", legacy=True)


def test_nobody_asks_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "ADDRESS_REQUESTS", (0.001, 5.0))
    crowd = server.Crowd(server.Config("127.0.0.1", 0, "", "a show", str(tmp_path), 9, 9), lambda line: None)

    async def ask() -> list[int]:
        async with TestClient(TestServer(crowd.app)) as client:
            return [(await client.get("/")).status for _ in range(7)]

    assert asyncio.run(ask()) == [200] * 5 + [503] * 2


def test_a_flood_costs_its_sender_only(crowd):
    flood, calm = crowd.phone(), crowd.phone()
    flood.socket.setblocking(False)
    sent = 0
    deadline = time.monotonic() + 2
    data = bytes((0x81, 0x80 | 23)) + bytes(4) + b'{"fader":["storm",0.1]}'
    while time.monotonic() < deadline:
        try:
            sent += flood.socket.send(data * 1000)
        except BlockingIOError:  # the server reads no more of it
            break
        except OSError:
            break
    send(calm, {"fader": ["day", 0.25]})
    crowd.until(lambda: crowd.newest("faders")["day"] == {"median": 0.25, "votes": 1}, "the calm phone", 3)
    assert crowd.newest("facts")["messages_per_s"] < 100
    assert crowd.newest("facts")["memory_mb"] < 150


def test_ten_thousand_random_messages_do_nothing(crowd):
    """Also those that are nearly right: an attacker reads our page, too."""
    luck = random.Random(22)
    values = [None, True, -1, 3, 1e308, "storm", "x" * 90, [], [3], {"axes": [0, 0]}, ["storm", 5], [3, 99], {"a": 1}]
    kinds = ["fader", "vote", "word", "seat", "play", "set", "fire", "config", "crowd", "__proto__"]
    calm, sent = crowd.phone(), 0
    while sent < 10_000:
        page = crowd.phone()
        data = bytearray()
        for _ in range(500):
            text = json.dumps({luck.choice(kinds): luck.choice(values) for _ in range(luck.choice((1, 1, 2)))}).encode()
            if luck.random() < 0.3:
                text = luck.randbytes(luck.randrange(125))
            elif luck.random() < 0.2:
                text = text[: luck.randrange(len(text))]
            data += bytes((0x81 if luck.random() < 0.9 else luck.randrange(256), 0x80 | min(len(text), 125))) + bytes(4)
            data += text[:125]
            sent += 1
        with contextlib.suppress(OSError, ConnectionClosed):
            page.socket.settimeout(0.2)
            page.socket.sendall(data)
        page.socket.close()
    send(calm, {"fader": ["day", 0.25]})
    crowd.until(lambda: crowd.newest("faders")["day"]["votes"] > 0, "the calm phone")
    status = crowd.input.status()
    assert (status["restarts"], status["dropped"]) == (0, 0)
    assert {kind for line in crowd.lines for kind in line} <= {"facts", "faders", "votes", "words", "players"}
    assert status["memory_mb"] < 150


def test_half_requests_do_not_keep_others_out(tmp_path):
    served = Served(tmp_path, heads_max=8, per_address=8)
    try:
        slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(200)]
        for each in slow:
            each.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        pages = [served.phone() for _ in range(8)]
        with pytest.raises(InvalidStatus):  # the room is full
            served.phone()
        send(pages[0], {"vote": [3, 0]})
        served.until(lambda: served.newest("votes")["counts"] == [1, 0], "the vote")
    finally:
        served.input.stop()
