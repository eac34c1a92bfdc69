"""OSCQuery as other programs see it: plain HTTP, websockets, zeroconf, and python-oscquery's client."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from worldjockey.integrations.osc.packets import build, parse
from worldjockey.integrations.osc.query import OSCQuery
from worldjockey.integrations.osc.query_server import CLIENTS_MAX, known_as
from worldjockey.integrations.osc.query_tree import ATTRIBUTES, EXTENSIONS, Space
from worldjockey.node.control import reference
from worldjockey.node.parameters import PARAMETERS

ROWS = [row for row in reference.rows() if row["name"] in PARAMETERS]
OPENING = {name: p.default for name, p in PARAMETERS.items()}
ACTS = list(PARAMETERS["act"].choices)


class Served:
    """An OSCQuery of its own, and the OSC port that it passes on to."""

    def __init__(self) -> None:
        self.osc = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.osc.bind(("127.0.0.1", 0))
        self.osc.settimeout(60)
        self.name = f"show {os.getpid()}, v1.5"
        self.query = OSCQuery(ROWS, OPENING, self.name, port=0, osc_port=self.osc.getsockname()[1])
        self.query.start(lambda _: None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.query.port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def socket(self, **options: Any) -> Any:
        return connect(f"ws://127.0.0.1:{self.query.port}/", **options)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    found = Served()
    deadline = time.monotonic() + 60
    while not found.query.status().get("announced"):
        assert time.monotonic() < deadline, found.query.status()
        time.sleep(0.02)
    yield found
    found.query.stop()
    found.osc.close()


def leaves(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "TYPE" in node:
        yield node
    for below in node.get("CONTENTS", {}).values():
        yield from leaves(below)


def test_the_whole_table_is_there_with_types_ranges_and_values(served):
    found = {node["FULL_PATH"]: node for node in leaves(served.get("/"))}
    types = {"float": "f", "int": "i", "bool": "T", "trigger": "I", "enum": "s", "text": "s"}
    for p in PARAMETERS.values():
        node = found[p.osc]
        assert node["TYPE"] == types[p.kind]
        assert node["DESCRIPTION"] == p.doc
        if p.kind == "trigger":
            assert node["ACCESS"] == 2
            assert "VALUE" not in node
            continue
        assert node["ACCESS"] == 3
        assert node["VALUE"] == [p.default]
        if p.kind in ("float", "int"):
            assert node["RANGE"] == [{"MIN": p.low, "MAX": p.high}]
            assert node["CLIPMODE"] == ["both"]
        if p.kind == "enum":
            assert node["RANGE"] == [{"VALS": list(p.choices)}]
    assert found["/wj/status/world_fps"]["ACCESS"] == 1
    assert found["/wj/prompt"]["OVERLOADS"] == [{"TYPE": "sf"}]


def test_a_value_of_a_group_is_a_leaf_too(served):
    """Chataigne shows a node that has CONTENTS as a group, without a value."""
    pad = served.get("/wj/pad/1")
    assert pad["VALUE"] == [0.0]
    leaf = pad["CONTENTS"]["value"]
    assert leaf["FULL_PATH"] == "/wj/pad/1/value"
    assert "CONTENTS" not in leaf
    assert {k: v for k, v in pad.items() if k not in ("CONTENTS", "FULL_PATH")} == {
        k: v for k, v in leaf.items() if k != "FULL_PATH"
    }
    for node in leaves(served.get("/")):
        assert "CONTENTS" not in node or "value" in node["CONTENTS"]


def test_host_info_and_attributes(served):
    info = served.get("/?HOST_INFO")
    assert served.get("/wj/pad?HOST_INFO") == info
    assert info["NAME"] == served.name
    assert info["OSC_PORT"] == served.osc.getsockname()[1]
    assert (info["OSC_IP"], info["OSC_TRANSPORT"], info["WS_PORT"]) == ("127.0.0.1", "UDP", served.query.port)
    assert all(info["EXTENSIONS"][name] for name in ("LISTEN", "RANGE", "VALUE"))
    assert served.get("/wj/cam/yaw?RANGE") == {"RANGE": [{"MIN": -1.0, "MAX": 1.0}]}
    assert served.get("/wj/act?VALUE") == {"VALUE": ["none"]}
    assert served.get("/wj/cam?TYPE") == {}
    assert served.get("/wj/cam/")["FULL_PATH"] == "/wj/cam"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nope", 404), ("/wj/pad/17", 404), ("/wj/pad/1?COLOUR", 400), ("/%2e%2e/%2e%2e/etc/passwd", 404)],
)
def test_what_is_not_there_says_so(served, path, status):
    with pytest.raises(urllib.error.HTTPError) as error:
        served.get(path)
    assert error.value.code == status


def test_a_trigger_has_no_value_to_ask_for(served):
    with urllib.request.urlopen(served.url + "/wj/panic?VALUE") as answer:
        assert (answer.status, answer.read()) == (204, b"")


def test_values_are_live(served, wait_for):
    served.query.feedback("energy", 0.5)
    served.query.feedback("act", "dance")
    served.query.feedback("status/world_fps", 24.5)
    served.query.feedback("word/storm", 2.0)  # not in the tree
    wait_for(lambda: served.get("/wj/status/world_fps?VALUE") == {"VALUE": [24.5]})
    wait_for(lambda: served.get("/wj/energy?VALUE") == {"VALUE": [0.5]})
    wait_for(lambda: served.get("/wj/act?VALUE") == {"VALUE": ["dance"]})


def test_listening_by_websocket(served):
    with served.socket() as web:
        for path in ("/wj/pad/2", "/wj/pad/2/value", "/wj/blackout", "/wj/nope"):
            web.send(json.dumps({"COMMAND": "LISTEN", "DATA": path}))
        first = dict(parse(web.recv(60)) for _ in range(3))
        assert first == {"/wj/pad/2": (0.0,), "/wj/pad/2/value": (0.0,), "/wj/blackout": (0.0,)}
        served.query.feedback("pad/2", 0.75)
        assert {parse(web.recv(60)) for _ in range(2)} == {("/wj/pad/2", (0.75,)), ("/wj/pad/2/value", (0.75,))}
        web.send(json.dumps({"COMMAND": "IGNORE", "DATA": "/wj/pad/2"}))
        web.send(json.dumps({"COMMAND": "IGNORE", "DATA": "/wj/pad/2/value"}))
        web.send(json.dumps({"COMMAND": "LISTEN", "DATA": "/wj/morph"}))  # heard: what came before is obeyed
        assert parse(web.recv(60)) == ("/wj/morph", (0.0,))
        served.query.feedback("pad/2", 0.25)
        served.query.feedback("blackout", 0.125)
        assert parse(web.recv(60)) == ("/wj/blackout", (0.125,))


def test_osc_by_websocket_goes_to_the_osc_port(served):
    with served.socket() as web:
        web.send(build("/wj/pad/3", 0.5))
        assert parse(served.osc.recv(65_536)) == ("/wj/pad/3", (0.5,))


@pytest.mark.parametrize("noise", ["", "[]", "{", '{"COMMAND": "LISTEN"}', '{"COMMAND": 1, "DATA": [1]}', "[" * 5000])
def test_noise_on_a_websocket_is_nothing(served, noise):
    with served.socket() as web:
        web.send(noise)
        web.send(json.dumps({"COMMAND": "LISTEN", "DATA": "/wj/speed"}))
        assert parse(web.recv(60)) == ("/wj/speed", (1.0,))


def test_a_page_of_another_site_gets_nothing(served):
    with pytest.raises(InvalidStatus, match="403"), served.socket(origin="https://evil.example"):
        pass
    with served.socket(origin="http://localhost:8080"):
        pass
    connection = http.client.HTTPConnection("127.0.0.1", served.query.port)
    connection.request("GET", "/", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 403


@pytest.mark.parametrize("host", ["127.0.0.1:9012", "[::1]:9012", "localhost", "stage-mac.local:9012", "STAGEPC", ""])
def test_names_of_the_rig_are_known(host):
    assert known_as(host)
    assert not known_as(f"{host.partition(':')[0] or 'x'}.example.com:80".replace("[", "").replace("]", ""))


def test_websockets_are_few(served, wait_for):
    with contextlib.ExitStack() as webs:
        for _ in range(CLIENTS_MAX):
            webs.enter_context(served.socket())
        wait_for(lambda: served.query.status()["clients"] == CLIENTS_MAX)
        with pytest.raises(InvalidStatus, match="503"), served.socket():
            pass
        assert served.get("/wj/seed")["TYPE"] == "i"
    wait_for(lambda: served.query.status()["clients"] == 0)


def test_found_and_read_by_a_client_that_is_not_ours(served, wait_for):
    """python-oscquery browses with zeroconf and reads the tree."""
    browsing = pytest.importorskip("pythonoscquery.osc_query_browser")
    from pythonoscquery.osc_query_client import OSCQueryClient

    browser = browsing.OSCQueryBrowser()
    try:

        def ours() -> list[Any]:
            label = served.name.replace(".", "-")  # a dot ends the name of a service, to macOS
            return [s for s in browser.get_discovered_oscquery() if s and s.name.startswith(f"{label}._")]

        wait_for(ours)
        client = OSCQueryClient(ours()[0])
        info = client.get_host_info()
        assert info is not None
        assert (info.name, info.osc_port) == (served.name, served.osc.getsockname()[1])
        assert ours()[0].parsed_addresses() == ["127.0.0.1"]
        yaw = client.query_node("/wj/cam/yaw")
        assert yaw is not None
        assert (yaw.type, yaw.value, yaw.description) == ([float], [0.0], PARAMETERS["cam/yaw"].doc)
        assert client.query_node("/wj/nope") is None
        assert any(s.port == served.osc.getsockname()[1] for s in browser.get_discovered_osc() if s)
    finally:
        browser.zc.close()


@pytest.mark.slow
def test_a_process_that_dies_is_started_again_with_the_values_of_now(wait_for):
    with socket.socket() as taken:  # its port is somebody else's: it takes another
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        query = OSCQuery(ROWS, OPENING, "mortal", port=taken.getsockname()[1])
        query.start(lambda _: None)
        try:
            wait_for(lambda: query.port)
            assert query.port != taken.getsockname()[1]
            query.feedback("energy", 0.25)
            assert query._child.pid is not None
            os.kill(query._child.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
            wait_for(lambda: query.status()["restarts"] == 1 and query.port)
            with urllib.request.urlopen(f"http://127.0.0.1:{query.port}/wj/energy?VALUE") as answer:
                assert json.load(answer) == {"VALUE": [0.25]}
        finally:
            query.stop()
        assert query._child.pid is None


def test_values_never_wait_for_the_process():
    """Control must not be held up, whatever becomes of who answers."""
    query = OSCQuery(ROWS, OPENING)
    begin = time.perf_counter()
    for i in range(20_000):
        query.feedback("pad/1", i / 20_000)
        query.feedback(f"word/{i}", 1.0)
    assert time.perf_counter() - begin < 20, "40 000 that wait would take longer, however short"
    assert len(query._news) == 1
    query.stop()


@given(st.text("/wjpad1valuetx%?", max_size=30), st.text(max_size=12) | st.sampled_from(sorted(ATTRIBUTES)))
def test_any_question_has_an_answer(path, attribute):
    status, found = Space(ROWS, OPENING).query(path, attribute)
    assert status in (200, 204, 400, 404)
    json.dumps(found)


def test_what_is_claimed_is_what_is_told():
    told = {key for node in leaves(Space(ROWS, OPENING).root) for key in node}
    assert set(EXTENSIONS) - {"LISTEN"} <= told
