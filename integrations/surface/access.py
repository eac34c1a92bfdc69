"""Who may use the surface: roles, tokens and links."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass
from typing import Literal

Role = Literal["operator", "viewer"]
TOKEN_CHARS = 22  # of 64 kinds: 128 bits


def new_token() -> str:
    return secrets.token_urlsafe(16)


@dataclass(frozen=True)
class Access:
    """Decides who a request comes from.

    A program of this machine plays the show without a token. Others need the token of a role. A token that is given
    decides on this machine, too, so that a viewer's link can be tried.
    """

    operator: str
    viewer: str

    def role(self, peer: str, token: str) -> Role | None:
        """peer: the address of the other end. token: as the request gives it, or empty. None: not admitted."""
        if token:
            found: Role | None = None
            for role, own in (("operator", self.operator), ("viewer", self.viewer)):
                if hmac.compare_digest(token.encode("utf-8", "replace"), own.encode()):
                    found = role  # type: ignore[assignment]
            return found
        return "operator" if is_loopback(peer) else None


def is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def own_address(host: str) -> str:
    """The address at which other machines reach a server that listens on `host`; no packet is sent for it."""
    if host not in ("", "0.0.0.0", "::"):
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # for documentation (RFC 5737): only the route is looked up
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def link(host: str, port: int, token: str = "") -> str:
    """The address of the page. token: added where it is needed."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def qr_code(url: str) -> str:
    """The address as a QR code: an <svg> element."""
    import segno

    return str(segno.make(url, error="m").svg_inline(scale=4, border=2, dark="#000", light="#fff"))
