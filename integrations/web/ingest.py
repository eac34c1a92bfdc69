"""A show published by WHIP (RFC 9725): POST an SDP offer, get the answer and the session's address, DELETE that at the
end. One `Publisher` keeps one session at a time, and begins another when it is lost.

Sections of the RFC that are used: 4.2 (offer, answer and end), 4.4 (one bundled stream), 4.5 (redirects, and 503 with
Retry-After), 4.6 (ICE servers in Link header fields; aiortc takes them only before its offer, so they are asked for by
OPTIONS, and those of an answer are used from the next session on), 4.7 (bearer token). The offer has all ICE
candidates, so no PATCH is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import ssl
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aioice.ice
from aiohttp import (
    ClientConnectorCertificateError,
    ClientError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
)
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpSender, RTCSessionDescription

from .. import VideoFormat
from .audio import AudioFeed
from .video import Codec, Feeds
from .webrtc import AudioTrack, VideoTrack, codec_of, listen_on
from .whip import plain_address

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0  # for the server's HTTP answers
OPTIONS_TIMEOUT_S = 3.0
END_TIMEOUT_S = 2.0  # for the server to hear of the end
CONNECT_TIMEOUT_S = 15.0  # for the first packets to get through, after the answer
RETRY_DELAYS_S = (1.0, 2.0, 4.0, 8.0)
MAX_RETRY_AFTER_S = 60.0
MAX_REDIRECTS = 5
MAX_ANSWER_BYTES = 256 * 1024
KEY_INTERVAL_S = 2.0  # between key frames: viewers who join, and recordings at the server, begin with one
POLL_INTERVAL_S = 0.1
CONSENT_FAILURES = 2  # of checks, which are 5 s apart, after which a silent server is lost; RFC 7675 allows up to 30 s
FIXES = {
    400: "it refused the offer: try codec: vp8 or codec: h264, and ask its maker for WHIP (RFC 9725)",
    401: "it wants another token: set token to the one that the media server gave you",
    403: "this token may not send here: take a token that may publish, and check the name at the end of the address",
    404: "it has no such address: copy the media server's WHIP address again; its stream may have to be made first",
    405: "this is not a WHIP address: copy the one that the media server gives for WHIP, not the one for viewers",
    406: "it takes neither of our codecs: allow H.264 or VP8 there, and Opus for audio",
    409: "another program sends there already: stop that one, or use another name at the end of the address",
    415: "this is not a WHIP address: copy the one that the media server gives for WHIP",
    422: "it refused the offer: try codec: vp8 or codec: h264",
    429: "it has had too many calls: wait a minute; it is tried again",
    503: "it is too busy: it is tried again",
}


class NotAccepted(OSError):
    """The server cannot be used for now, for the reason in the message. after: seconds that it asks to wait."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


def ice_servers(links: Iterable[str]) -> list[RTCIceServer]:
    """The STUN and TURN servers of Link header fields (RFC 9725, 4.6); what is malformed is left out.

    links: as in `<turn:turn.example.net?transport=udp>; rel="ice-server"; username="u"; credential="c"`.
    """
    found = []
    for link in links:
        for match in re.finditer(r'<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]+))*)', link):
            pairs = re.findall(r';\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))', match[2])
            values = {name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare for name, quoted, bare in pairs}
            if "ice-server" not in values.get("rel", "").split() or not re.match(r"(stun|turn)s?:", match[1]):
                continue
            found.append(RTCIceServer(match[1], values.get("username"), values.get("credential")))
    return found


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header field, which has seconds or a date; None without a valid one."""
    if not value:
        return None
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def redirected(url: str, answer: ClientResponse) -> str:
    """The address that a redirect names. NotAccepted for one that must not be followed."""
    to = urljoin(url, answer.headers.get("Location", ""))
    parts = urlsplit(to)
    if parts.scheme not in ("http", "https") or not parts.hostname or not answer.headers.get("Location"):
        raise NotAccepted("it redirects to nowhere: copy the WHIP address of the media server again")
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise NotAccepted(f"it redirects to {plain_address(to)}, which is not encrypted: ask its operator for https")
    return to


class Endpoint:
    """The HTTP side of a WHIP server. url: of the endpoint. token: sent to the endpoint's own origin only."""

    def __init__(self, http: ClientSession, url: str, token: str) -> None:
        self._http, self._url, self._token = http, url, token
        self.servers: list[RTCIceServer] = []  # that the server has named so far

    def _headers(self, url: str) -> dict[str, str]:
        trusted = self._token and origin(url) == origin(self._url)
        return {"Authorization": f"Bearer {self._token}"} if trusted else {}

    async def ask_for_ice_servers(self) -> None:
        """Many servers answer OPTIONS with them. Whatever goes wrong will go wrong again with the offer."""
        with contextlib.suppress(ClientError, asyncio.TimeoutError, OSError, ValueError):
            timeout = ClientTimeout(OPTIONS_TIMEOUT_S)
            async with self._http.options(self._url, headers=self._headers(self._url), timeout=timeout,
                                          allow_redirects=False) as answer:  # fmt: skip
                self._keep_servers(answer.headers)

    def _keep_servers(self, headers: Any) -> None:
        self.servers = ice_servers(headers.getall("Link", [])) or self.servers

    async def post(self, offer: str) -> tuple[str, str | None]:
        """SDP offer -> (SDP answer, address of the session). NotAccepted, with the fix."""
        url = self._url
        for _ in range(MAX_REDIRECTS):
            headers = {"Content-Type": "application/sdp", "Accept": "application/sdp", **self._headers(url)}
            async with self._http.post(url, data=offer.encode(), headers=headers, allow_redirects=False) as answer:
                if answer.status in (307, 308):
                    url = redirected(url, answer)
                    continue
                if answer.status != 201:
                    raise self._refusal(url, answer)
                self._keep_servers(answer.headers)
                text = await answer.content.read(MAX_ANSWER_BYTES)
                place = answer.headers.get("Location")
                return text.decode("utf-8", "replace"), urljoin(url, place) if place else None
        raise NotAccepted("it redirects again and again: copy the WHIP address of the media server again")

    def _refusal(self, url: str, answer: ClientResponse) -> NotAccepted:
        status = answer.status
        fix = FIXES.get(status)
        if fix is None and 300 <= status < 400:
            fix = "this is a page for browsers: copy the address that the media server gives for WHIP"
        elif fix is None and status < 300:
            fix = "this is not a WHIP address: copy the one that the media server gives for WHIP"
        elif fix is None:
            fix = "its log says more; it is tried again" if status >= 500 else "check the address and the token"
        if status in (401, 403) and origin(url) != origin(self._url):
            fix = f"it sent us to {plain_address(url)}, which gets no token from us: use that address as url"
        return NotAccepted(f"HTTP {status}: {fix}", retry_after(answer.headers.get("Retry-After")))

    async def delete(self, session: str) -> None:
        """End a session; a server that is gone has ended it already."""
        with contextlib.suppress(ClientError, asyncio.TimeoutError, OSError, ValueError):
            timeout = ClientTimeout(END_TIMEOUT_S)
            async with self._http.delete(session, headers=self._headers(session), timeout=timeout) as answer:
                if answer.status >= 400 and answer.status not in (404, 410):
                    logger.info("the media server answered %d to the end of the session", answer.status)


class Publisher:
    """Keeps the show at the server. Use it from the event loop, but for `feeds.send`, `audio.encode` and `facts`.

    fatal: why no frame will ever be sent again; empty while all is well.
    """

    def __init__(self, fmt: VideoFormat, loop: asyncio.AbstractEventLoop, url: str, token: str, codec: str,
                 sound: bool) -> None:  # fmt: skip
        self.feeds = Feeds(fmt, loop)
        self.audio = AudioFeed(loop) if sound else None
        self.fatal = ""
        self._url, self._token = url, token
        self._wanted = codec
        self._stop = asyncio.Event()
        self._codec: Codec | None = None
        self._connected = False
        self._error = ""
        self._lost = 0
        self._task: asyncio.Task[Any] | None = None

    def facts(self) -> dict[str, Any]:
        errors = [error for error in (self._error, *self.feeds.errors()) if error]
        coded = self.feeds.coded()
        return {
            "state": "connected" if self._connected else "waiting" if self._error else "connecting",
            "connections": int(self._connected), "codec": self._codec or "", "coded": coded["H264"] + coded["VP8"],
            "frames": self.feeds.frames, "dropped": self.feeds.dropped(), "lost": self._lost,
            "sound": self.audio is not None, "error": "; ".join(errors),
        }  # fmt: skip

    async def stop(self) -> None:
        """End the session at the server."""
        self._stop.set()
        if self._task is not None:
            if not self._connected:
                self._task.cancel()  # it may wait for an answer that never comes
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.feeds.close()

    async def run(self) -> None:
        """One session after another, until `stop`."""
        self._task = asyncio.current_task()
        aioice.ice.CONSENT_FAILURES = CONSENT_FAILURES
        if urlsplit(self._url).hostname in ("localhost", "127.0.0.1", "::1"):
            listen_on("0.0.0.0")  # the loopback too
        failures, told = 0, ""
        try:
            async with ClientSession(timeout=ClientTimeout(ANSWER_TIMEOUT_S)) as http:
                endpoint = Endpoint(http, self._url, self._token)
                while not self._stop.is_set():
                    delay, connected = RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S) - 1)], False
                    try:
                        connected = await self._session(endpoint)
                    except NotAccepted as error:
                        self._error, delay = str(error), max(delay, error.after or 0.0)
                    except ClientConnectorCertificateError:
                        self._error = "its certificate is not valid for this address: check the address and the clock"
                    except ClientResponseError:
                        self._error = "it does not answer by HTTP: check the address and its port"
                    except asyncio.TimeoutError:
                        self._error = f"it does not answer within {ANSWER_TIMEOUT_S:g} s; it is tried again"
                    except (ClientError, ssl.SSLError, OSError) as error:
                        reason = getattr(error, "os_error", None) or error
                        text = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
                        self._error = f"it cannot be reached ({text}): check the address and the network"
                    self._lost += connected and not self._stop.is_set()
                    failures = 0 if connected else failures + 1
                    if self._error and (connected or self._error != told):
                        told = self._error
                        logger.warning("WHIP to %s: %s", plain_address(self._url), told)
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), RETRY_DELAYS_S[0] if connected else delay)
        except Exception as error:
            logger.exception("WHIP stopped")
            self.fatal = str(error) or type(error).__name__

    async def _session(self, endpoint: Endpoint) -> bool:
        """One session, until it is lost or `stop`; whether frames ever got through. NotAccepted, or what aiohttp
        raises."""
        await endpoint.ask_for_ice_servers()
        servers = endpoint.servers
        peer = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        place, connected = None, False
        with contextlib.ExitStack() as subscriptions:
            try:
                video = VideoTrack()
                transceiver = peer.addTransceiver(video, direction="sendonly")
                transceiver.setCodecPreferences(self._preferences())
                if self.audio is not None:
                    peer.addTransceiver(AudioTrack(subscriptions.enter_context(self.audio.subscribed())), "sendonly")
                await peer.setLocalDescription(await peer.createOffer())  # gathers all candidates
                answer, place = await endpoint.post(peer.localDescription.sdp)
                feed = self._feed(answer)
                video.watch(feed)
                sender: Any = transceiver.sender
                video.sender = sender
                sender._send_keyframe = feed.request_key_frame  # aiortc calls it when the server lost a frame
                await self._accept(peer, answer)
                subscriptions.enter_context(feed.watched())
                feed.request_key_frame()
                connected = await self._watch(peer, video, feed.request_key_frame)
                if not connected and not self._stop.is_set():
                    more = endpoint.servers and endpoint.servers != servers
                    raise NotAccepted(
                        "it answered, but no packets get through: "
                        + ("its relay is tried next" if more else "let UDP to the media server through the firewall")
                    )
                return connected
            finally:
                self._connected = False
                if place is not None:
                    await endpoint.delete(place)
                with contextlib.suppress(Exception):  # the connection is over in any case
                    await peer.close()

    def _preferences(self) -> list[Any]:
        ours = RTCRtpSender.getCapabilities("video").codecs
        if self._wanted != "auto":
            names = (f"video/{self._wanted}", "video/rtx")
            return [codec for codec in ours if codec.mimeType.lower() in names]
        return sorted(ours, key=lambda codec: codec.mimeType != "video/H264")

    def _feed(self, answer: str) -> Any:
        try:
            self._codec = codec_of(answer)
        except ValueError:
            raise NotAccepted(FIXES[406]) from None
        return self.feeds[self._codec]

    async def _accept(self, peer: RTCPeerConnection, answer: str) -> None:
        try:
            await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        except Exception as error:  # foreign text, on which aiortc fails in many ways
            logger.exception("the answer of the media server")
            raise NotAccepted(
                f"its answer cannot be used ({error or type(error).__name__}): is this its address for WHIP?"
            ) from None

    async def _watch(self, peer: RTCPeerConnection, video: VideoTrack, request_key_frame: Any) -> bool:
        """Returns whether frames got through, once they no longer do, or at `stop`."""
        changed, ever = asyncio.Event(), False
        peer.on("connectionstatechange", changed.set)
        begun, keyed_at = time.monotonic(), -math.inf
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            while (state := peer.connectionState) not in ("failed", "closed") and not self._stop.is_set():
                now = time.monotonic()
                if state == "connected" and not ever:
                    ever, self._connected, self._error = True, True, ""
                    logger.info("WHIP to %s: connected, %s", plain_address(self._url), self._codec)
                if not ever and now - begun > CONNECT_TIMEOUT_S:
                    return False
                if video.readyState == "ended":
                    raise NotAccepted(next(iter(self.feeds.errors()), "the frames ended"))
                if ever and now - keyed_at > KEY_INTERVAL_S:
                    keyed_at = now
                    request_key_frame()
                changed.clear()
                change = asyncio.ensure_future(changed.wait())
                await asyncio.wait((stopped, change), timeout=POLL_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
        finally:
            stopped.cancel()
        if ever and not self._stop.is_set():
            self._error = "the media server ended the connection, or does not respond; it is tried again"
        return ever
