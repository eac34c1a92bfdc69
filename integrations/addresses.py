"""Addresses of pages that this machine serves, as links and as QR codes."""

from __future__ import annotations

import ipaddress
import socket


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
