"""Reads a Twitch channel's chat, without an account (https://dev.twitch.tv/docs/chat/irc/). A thread of the server."""

from __future__ import annotations

import contextlib
import functools
import random
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from ..token_bucket import TokenBucket

HOST, PORT = "irc.chat.twitch.tv", 6697
RETRY_S, RETRY_MAX_S = 2.0, 60.0
SILENCE_S = 360.0  # Twitch asks PING about every five minutes
LINES_PER_S, LINES_AT_ONCE = 100.0, 400.0
CHARS_MAX = 100  # of a line that may be a vote or a word
MISSING = "the library is missing: pip install worldjockey[twitch]"


class TwitchChat:
    """on_line: called from the thread with the name of who wrote and the line. on_state: with how it goes, in words.

    address: "host:port" of another server, which is not encrypted; empty is Twitch.
    """

    def __init__(
        self, channel: str, on_line: Callable[[str, str], None], on_state: Callable[[str], None], address: str = ""
    ) -> None:
        self._channel = "#" + channel.lstrip("#").lower()
        self._on_line, self._on_state, self._address = on_line, on_state, address
        self._bucket = TokenBucket(LINES_PER_S, LINES_AT_ONCE)
        self._heard_at = 0.0

    def start(self) -> None:
        threading.Thread(target=self._run, name="twitch", daemon=True).start()

    def _run(self) -> None:
        try:
            import irc.client
            import irc.connection
            from jaraco.stream.buffer import LenientDecodingLineBuffer
        except ImportError:
            self._on_state(MISSING)
            return
        irc.client.ServerConnection.buffer_class = LenientDecodingLineBuffer  # chat has bytes that are no UTF-8
        host, port = HOST, PORT
        context = ssl.create_default_context()
        factory = irc.connection.Factory(wrapper=functools.partial(context.wrap_socket, server_hostname=HOST))
        if self._address:
            host, _, text = self._address.rpartition(":")
            port, factory = int(text), irc.connection.Factory()
        wait = RETRY_S
        while True:
            reactor = irc.client.Reactor()
            for kind in ("welcome", "pubmsg", "ping", "join"):
                reactor.add_global_handler(kind, self._on_event)
            connection = reactor.server()
            began = self._heard_at = time.monotonic()
            try:
                connection.connect(host, port, f"justinfan{random.randrange(10_000, 99_999)}", connect_factory=factory)
                while connection.is_connected() and time.monotonic() - self._heard_at < SILENCE_S:
                    reactor.process_once(0.5)
                reason = "the connection ended"
            except (OSError, irc.client.ServerConnectionError, irc.client.IRCError) as error:
                reason = str(error) or type(error).__name__
            except Exception as error:  # what strangers write must not end the chat for the night
                reason = f"{type(error).__name__}: {error}"
            with contextlib.suppress(Exception):
                connection.close()
            wait = RETRY_S if time.monotonic() - began > RETRY_MAX_S else min(wait * 2, RETRY_MAX_S)
            self._on_state(f"{self._channel} cannot be read, and is tried again: {reason}"[:200])
            time.sleep(wait)

    def _on_event(self, connection: Any, event: Any) -> None:
        self._heard_at = time.monotonic()
        if event.type == "welcome":
            connection.join(self._channel)
        elif event.type == "join":
            self._on_state(f"reads {self._channel}")
        elif event.type == "pubmsg" and event.target.lower() == self._channel:
            line = str(event.arguments[0])
            if len(line) <= CHARS_MAX and self._bucket.spend(self._heard_at):
                self._on_line(str(event.source.nick)[:64], line)
