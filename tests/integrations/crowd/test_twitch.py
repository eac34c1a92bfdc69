"""Chat takes part, from an IRC server that is not ours."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

irc_server = pytest.importorskip("irc.server")
from worldjockey.integrations.crowd.input import CrowdInput, CrowdOptions  # noqa: E402
from worldjockey.node.measure.show_process import free_port  # noqa: E402

pytestmark = pytest.mark.slow


class Chatter:
    """Somebody in the channel."""

    def __init__(self, port: int, nick: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self.write(f"NICK {nick}", f"USER {nick} 0 * :{nick}", "JOIN #stage")

    def write(self, *lines: str) -> None:
        for line in lines:
            self._socket.sendall(line.encode() + b"\r\n")
            time.sleep(0.05)  # the library's server reads one line at a time

    def say(self, *lines: str) -> None:
        self.write(*(f"PRIVMSG #stage :{line}" for line in lines))


def test_chat_votes_and_sends_words(tmp_path):
    server = irc_server.IRCServer(("127.0.0.1", 0), irc_server.IRCClient)
    server.handle_error = lambda *about: None  # it prints that somebody left
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    lines: list[Any] = []
    crowd = CrowdInput(
        CrowdOptions(port=free_port(), stills=tmp_path, twitch="stage", twitch_address=f"127.0.0.1:{port}"),
        lines.append,
    )
    options = [{"label": "Sea", "image": ""}, {"label": "Desert", "image": ""}]
    crowd.send({
        "crowd": {"open": True, "title": "Storm"},
        "poll": {"id": 7, "question": "Where?", "options": options, "seconds": 60, "counts": None, "winner": None},
        "words": {"open": True, "vocabulary": ["rain", "snow"], "blocked": [], "per_person_s": 20},
    })  # fmt: skip
    crowd.start(lambda event: None)
    try:
        deadline = time.monotonic() + 40
        while "reads #stage" not in str(crowd.status().get("twitch")):
            assert time.monotonic() < deadline, crowd.status()
            time.sleep(0.05)
        one, two, three = (Chatter(port, nick) for nick in ("anna", "ben", "cleo"))
        one.say("hello all", "1", "2", "rain", "snow")
        two.say("!2", "what a picture")
        three.say("desert", "!snow", "!blackout", "x" * 300)

        def words() -> dict[str, int]:
            return {row["word"]: row["count"] for line in lines for row in line.get("words", ())}

        def votes() -> Any:
            return next((line["votes"]["counts"] for line in reversed(lines) if "votes" in line), None)

        while not (votes() == [0, 3] and words() == {"rain": 1, "snow": 1}):
            assert time.monotonic() < deadline, (lines[-5:], crowd.status())
            time.sleep(0.05)
        assert crowd.heads == 0, "chat is not in the room"
    finally:
        crowd.stop()
        server.shutdown()
        server.server_close()
