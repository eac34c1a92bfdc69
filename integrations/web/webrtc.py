"""One browser that watches by WebRTC. Signalling is WHEP's: an offer is posted, the answer comes back.

aiortc packs, encrypts and repairs; the code itself is `web_video`'s, made once for all. Pictures go out as fast as they
come, and say that they want to be shown at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import re
import time
import uuid
from fractions import Fraction
from typing import Any

import aioice.ice
import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription, rtp
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters

from .audio import RATE, Piece, SoundFeed
from .video import RTP_CLOCK, Coded, Feed, Feeds, Kind, rtp_time, unix_ms

CONNECTING = 10.0  # seconds in which a browser has to come for what it asked
LARGEST_TIME = 0xFFFFFFFF  # RTP's times are counted in 32 bits
SILENCE = 6.0  # seconds after which a page that pinged before is gone
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
AT_ONCE = b"\0\0\0"  # least and most delay, 12 bits each: a browser's jitter buffer else adds 50 ms and more
_host_addresses = aioice.ice.get_host_addresses


def listen_on(host: str) -> None:
    """Pictures leave from the same addresses that the page does; aioice alone would leave out the loopback, and take
    every other."""
    address = ipaddress.ip_address(host)

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        if not address.is_unspecified:
            return [str(address)]
        loopback = ["127.0.0.1"] if address.version == 4 else ["127.0.0.1", "::1"]
        return [*loopback, *_host_addresses(use_ipv4, use_ipv6 and address.version == 6)]

    aioice.ice.get_host_addresses = addresses


def without_names(offer: str) -> str:
    """An offer without its mDNS candidates: to look them up takes seconds on a machine without a network, and the
    browser's address is learned as its checks come in anyway (RFC 8445, 7.3.1.3)."""
    lines = offer.splitlines()
    return "".join(f"{line}\r\n" for line in lines if not re.match(r"a=candidate:.*\.local\s", line))


def codec_of(answer: str) -> Kind:
    """The codec that an answer settled on: the first one that it lists."""
    found = re.search(r"^a=rtpmap:\d+ (H264|VP8)/", answer, re.MULTILINE)
    if found is None:
        raise ValueError("the answer has no video codec of ours")
    return "H264" if found[1] == "H264" else "VP8"


def offer_no_delay() -> None:
    """aiortc does not know this header extension. Where ours no longer fits in with it, there is only more delay."""
    known = HEADER_EXTENSIONS["video"]
    if all(extension.uri != PLAYOUT_DELAY for extension in known):
        known.append(RTCRtpHeaderExtensionParameters(id=max(e.id for e in known) + 1, uri=PLAYOUT_DELAY))


class NoDelay(rtp.HeaderExtensionsMap):
    """The header extensions that every packet carries, with the playout delay among them if the browser knows it."""

    _id = 0

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        self._id = next((e.id for e in parameters.headerExtensions if e.uri == PLAYOUT_DELAY), 0)

    def set(self, values: rtp.HeaderExtensions) -> tuple[int, bytes]:
        profile, packed = super().set(values)
        if not self._id:
            return profile, packed
        others = rtp.unpack_header_extensions(profile, packed) if packed else []
        return rtp.pack_header_extensions([*others, (self._id, AT_ONCE)])


class Picture(MediaStreamTrack):
    """The feed as aiortc reads it: coded pictures in order, starting with one that stands alone and is newer than the
    viewer.

    origin: what this connection adds to every RTP time, once it is known.
    """

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._feed: Feed | None = None
        self.sender: RTCRtpSender | None = None
        self.origin: int | None = None
        self.last: Coded | None = None
        self._number = 0

    def watch(self, feed: Feed) -> None:
        """From now on: what is kept of it is from before, perhaps from the last one who watched."""
        self._feed, self._number = feed, feed.number

    async def recv(self) -> av.Packet:
        feed = self._feed
        assert feed is not None
        self._find_origin()
        while True:
            try:
                coded = await feed.following(self._number)
            except RuntimeError as error:
                raise MediaStreamError(str(error)) from None
            if not coded.key and (self.last is None or coded.number != self._number + 1):
                if coded.number == feed.number:  # none of those kept stands alone
                    feed.ask_for_key()
                self._number, self.last = coded.number, None
                continue
            self._number, self.last = coded.number, coded
            packet = av.Packet(coded.data)
            packet.pts, packet.time_base = rtp_time(coded.due) & LARGEST_TIME, Fraction(1, RTP_CLOCK)
            return packet

    def _find_origin(self) -> None:
        """aiortc starts the RTP time anywhere (RFC 3550, 5.1) and tells nobody but its own RTCP reports."""
        sent = getattr(self.sender, "_RTCRtpSender__rtp_timestamp", 0)
        if sent and self.last is not None:
            self.origin = sent - rtp_time(self.last.due) & LARGEST_TIME


class Sound(MediaStreamTrack):
    """What is heard, as aiortc reads it: coded already."""

    kind = "audio"

    def __init__(self, pieces: asyncio.Queue[Piece]) -> None:
        super().__init__()
        self._pieces = pieces

    async def recv(self) -> av.Packet:
        piece = await self._pieces.get()
        packet = av.Packet(piece.data)
        packet.pts, packet.time_base = piece.pts & LARGEST_TIME, Fraction(1, RATE)
        return packet


class Viewer:
    """A connection from its offer to its end. sound: where there is any."""

    def __init__(self, feeds: Feeds, sound: SoundFeed | None = None) -> None:
        self._feeds, self._sound = feeds, sound
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # nobody outside is asked for anything
        self._picture = Picture()
        self._watching = contextlib.ExitStack()
        self._heard = time.monotonic()
        self._pinged = False
        self.codec: Kind | None = None

    async def answer(self, offer: str) -> str:
        """SDP offer -> SDP answer. ValueError if it offers nothing that we can send."""
        offer_no_delay()
        transceiver = self._peer.addTransceiver(self._picture, direction="sendonly")
        ours = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences(sorted(ours, key=lambda codec: codec.mimeType != "video/H264"))
        if self._sound is not None and re.search(r"^m=audio ", offer, re.MULTILINE):
            track = Sound(self._watching.enter_context(self._sound.listened()))
            speaker: Any = self._peer.addTransceiver(track, direction="sendonly").sender
            # A stream of its own: a browser holds pictures back for the sound of the same stream, which comes later.
            speaker._stream_id = str(uuid.uuid4())
        self._peer.on("datachannel", lambda channel: channel.on("message", lambda said: self._pong(channel, said)))
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(without_names(offer), "offer"))
            await self._peer.setLocalDescription(await self._peer.createAnswer())
            answer = self._peer.localDescription.sdp
            self.codec = codec_of(answer)
        except Exception as error:  # an offer is somebody else's text, and aiortc fails on it in many ways
            await self.close()
            raise ValueError(f"this offer cannot be answered: {error or type(error).__name__}") from None
        feed = self._feeds[self.codec]
        sender: Any = transceiver.sender
        self._picture.watch(feed)
        self._picture.sender = sender
        sender._RTCRtpSender__rtp_header_extensions_map = NoDelay()
        sender._send_keyframe = feed.ask_for_key  # what aiortc calls when the browser lost something
        self._watching.enter_context(feed.watched())
        feed.ask_for_key()
        return answer

    async def stay(self) -> None:
        """Returns once the browser is gone or never came, or there is nothing to send it."""
        begun = time.monotonic()
        while (state := self._peer.connectionState) not in ("failed", "closed"):
            now = time.monotonic()
            if state != "connected" and now - begun > CONNECTING:
                break
            if self._picture.readyState == "ended":
                break
            if self._pinged and now - self._heard > SILENCE:
                break
            await asyncio.sleep(0.25)

    async def close(self) -> None:
        self._watching.close()
        self._picture.stop()
        with contextlib.suppress(Exception):  # whatever it was, it is over
            await self._peer.close()

    def _pong(self, channel: Any, said: Any) -> None:
        """Tells the page our time, and when one picture was due, by which it knows how late each is shown."""
        self._heard, self._pinged = time.monotonic(), True
        picture = self._picture
        answer: dict[str, Any] = {"ping": str(said)[:32], "now": time.time() * 1e3}
        if picture.origin is not None and picture.last is not None:
            answer["rtp"] = picture.origin + rtp_time(picture.last.due) & LARGEST_TIME
            answer["due"] = unix_ms(picture.last.due)
        with contextlib.suppress(Exception):
            channel.send(json.dumps(answer))
