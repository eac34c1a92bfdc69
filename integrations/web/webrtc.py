"""One viewer by WebRTC. Signalling follows WHEP: the browser posts an offer and gets the answer.

aiortc packetizes, encrypts and retransmits; `video` encodes, once for all viewers. Frames are sent as they come, with a
header extension that asks the browser to show them without delay.
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

from .audio import RATE, AudioFeed, AudioPacket
from .video import RTP_CLOCK_HZ, Codec, EncodedFrame, Feed, Feeds, rtp_time, unix_ms

CONNECT_TIMEOUT_S = 10.0  # for a browser that sent an offer
PING_TIMEOUT_S = 6.0  # after which a page that pinged before is gone
POLL_INTERVAL_S = 0.25
RTP_TIME_MASK = 0xFFFFFFFF  # RTP timestamps have 32 bits
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
NO_PLAYOUT_DELAY = b"\0\0\0"  # min and max delay, 12 bits each; by default a jitter buffer adds 50 ms and more
_host_addresses = aioice.ice.get_host_addresses


def listen_on(host: str) -> None:
    """Send frames from the address of the page only. By default aioice takes every address but the loopback."""
    address = ipaddress.ip_address(host)

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        if not address.is_unspecified:
            return [str(address)]
        loopback = ["127.0.0.1"] if address.version == 4 else ["127.0.0.1", "::1"]
        return [*loopback, *_host_addresses(use_ipv4, use_ipv6 and address.version == 6)]

    aioice.ice.get_host_addresses = addresses


def without_names(offer: str) -> str:
    """An offer without its mDNS candidates. Their lookup takes seconds on a machine without a network, and the
    browser's address is learned from its connectivity checks anyway (RFC 8445, 7.3.1.3)."""
    lines = offer.splitlines()
    return "".join(f"{line}\r\n" for line in lines if not re.match(r"a=candidate:.*\.local\s", line))


def codec_of(answer: str) -> Codec:
    """The codec of an SDP answer, which is the first one that it lists. ValueError if it is none of ours."""
    found = re.search(r"^a=rtpmap:\d+ (H264|VP8)/", answer, re.MULTILINE)
    if found is None:
        raise ValueError("the browser takes neither H.264 nor VP8")
    return "H264" if found[1] == "H264" else "VP8"


def register_playout_delay() -> None:
    """Add the playout delay to aiortc's header extensions. If a later aiortc ignores it, the delay is only longer."""
    known = HEADER_EXTENSIONS["video"]
    if all(extension.uri != PLAYOUT_DELAY for extension in known):
        known.append(RTCRtpHeaderExtensionParameters(id=max(e.id for e in known) + 1, uri=PLAYOUT_DELAY))


class NoDelay(rtp.HeaderExtensionsMap):
    """The header extensions of every packet, with a playout delay of 0 if the browser supports it."""

    _id = 0

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        self._id = next((e.id for e in parameters.headerExtensions if e.uri == PLAYOUT_DELAY), 0)

    def set(self, values: rtp.HeaderExtensions) -> tuple[int, bytes]:
        profile, packed = super().set(values)
        if not self._id:
            return profile, packed
        others = rtp.unpack_header_extensions(profile, packed) if packed else []
        return rtp.pack_header_extensions([*others, (self._id, NO_PLAYOUT_DELAY)])


class VideoTrack(MediaStreamTrack):
    """A feed as aiortc reads it: encoded frames in order, beginning with a key frame that is newer than the viewer.

    origin: the offset of this connection's RTP timestamps, once it is known. last: the last frame that was sent.
    """

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._feed: Feed | None = None
        self.sender: RTCRtpSender | None = None
        self.origin: int | None = None
        self.last: EncodedFrame | None = None
        self._number = 0

    def watch(self, feed: Feed) -> None:
        """Send this feed from now on, without the frames that it keeps from earlier viewers."""
        self._feed, self._number = feed, feed.number

    async def recv(self) -> av.Packet:
        feed = self._feed
        assert feed is not None
        self._find_origin()
        while True:
            try:
                frame = await feed.following(self._number)
            except RuntimeError as error:
                raise MediaStreamError(str(error)) from None
            if not frame.key and (self.last is None or frame.number != self._number + 1):
                if frame.number == feed.number:  # none of the kept frames is a key frame
                    feed.request_key_frame()
                self._number, self.last = frame.number, None
                continue
            self._number, self.last = frame.number, frame
            packet = av.Packet(frame.data)
            packet.pts, packet.time_base = rtp_time(frame.due) & RTP_TIME_MASK, Fraction(1, RTP_CLOCK_HZ)
            return packet

    def _find_origin(self) -> None:
        """aiortc adds a random offset to RTP timestamps (RFC 3550, 5.1), and uses it in its own RTCP reports only."""
        sent = getattr(self.sender, "_RTCRtpSender__rtp_timestamp", 0)
        if sent and self.last is not None:
            self.origin = sent - rtp_time(self.last.due) & RTP_TIME_MASK


class AudioTrack(MediaStreamTrack):
    """The show's encoded audio as aiortc reads it."""

    kind = "audio"

    def __init__(self, packets: asyncio.Queue[AudioPacket]) -> None:
        super().__init__()
        self._packets = packets

    async def recv(self) -> av.Packet:
        encoded = await self._packets.get()
        packet = av.Packet(encoded.data)
        packet.pts, packet.time_base = encoded.pts & RTP_TIME_MASK, Fraction(1, RATE)
        return packet


class Viewer:
    """One connection from its offer to its end. audio: None for a show without audio."""

    def __init__(self, feeds: Feeds, audio: AudioFeed | None = None) -> None:
        self._feeds, self._audio = feeds, audio
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # no STUN or TURN server
        self._video = VideoTrack()
        self._subscriptions = contextlib.ExitStack()
        self._pinged_at: float | None = None
        self.codec: Codec | None = None

    async def answer(self, offer: str) -> str:
        """SDP offer -> SDP answer. ValueError if it cannot be answered."""
        register_playout_delay()
        transceiver = self._peer.addTransceiver(self._video, direction="sendonly")
        ours = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences(sorted(ours, key=lambda codec: codec.mimeType != "video/H264"))
        if self._audio is not None and re.search(r"^m=audio ", offer, re.MULTILINE):
            track = AudioTrack(self._subscriptions.enter_context(self._audio.subscribed()))
            audio_sender: Any = self._peer.addTransceiver(track, direction="sendonly").sender
            # A stream of its own, because a browser delays frames to match the later audio of the same stream.
            audio_sender._stream_id = str(uuid.uuid4())
        self._peer.on("datachannel", lambda channel: channel.on("message", lambda ping: self._pong(channel, ping)))
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(without_names(offer), "offer"))
            await self._peer.setLocalDescription(await self._peer.createAnswer())
            answer = self._peer.localDescription.sdp
            self.codec = codec_of(answer)
        except Exception as error:  # an offer is foreign text, and aiortc fails on it in many ways
            await self.close()
            raise ValueError(f"this offer cannot be answered: {error or type(error).__name__}") from None
        feed = self._feeds[self.codec]
        sender: Any = transceiver.sender
        self._video.watch(feed)
        self._video.sender = sender
        sender._RTCRtpSender__rtp_header_extensions_map = NoDelay()
        sender._send_keyframe = feed.request_key_frame  # aiortc calls it when the browser lost a frame
        self._subscriptions.enter_context(feed.watched())
        feed.request_key_frame()
        return answer

    async def wait(self) -> None:
        """Returns once the browser has gone or never connected, or the feed has failed."""
        begun = time.monotonic()
        while (state := self._peer.connectionState) not in ("failed", "closed"):
            now = time.monotonic()
            if state != "connected" and now - begun > CONNECT_TIMEOUT_S:
                break
            if self._video.readyState == "ended":
                break
            if self._pinged_at is not None and now - self._pinged_at > PING_TIMEOUT_S:
                break
            await asyncio.sleep(POLL_INTERVAL_S)

    async def close(self) -> None:
        self._subscriptions.close()
        self._video.stop()
        with contextlib.suppress(Exception):  # the connection is over in any case
            await self._peer.close()

    def _pong(self, channel: Any, ping: Any) -> None:
        """Answer with the present time and one frame's RTP timestamp and due time, so that the page can tell how late
        frames are shown."""
        self._pinged_at = time.monotonic()
        video = self._video
        answer: dict[str, Any] = {"ping": str(ping)[:32], "now": time.time() * 1e3}
        if video.origin is not None and video.last is not None:
            answer["rtp"] = video.origin + rtp_time(video.last.due) & RTP_TIME_MASK
            answer["due"] = unix_ms(video.last.due)
        with contextlib.suppress(Exception):
            channel.send(json.dumps(answer))
