"""Which requests an HTTP server of this machine may answer: those meant for it, and changes only from its own page."""

from __future__ import annotations

import ipaddress
import re
import socket

# Of every answer: no copy is kept, no other type is guessed, and no other site learns the address.
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def own_names(host: str) -> set[str]:
    """The names of this machine by which a browser may ask for it, in lower case."""
    name = socket.gethostname().lower()
    return {"localhost", host.lower(), name, f"{name.partition('.')[0]}.local"}


def is_ours(host_header: str, names: set[str]) -> bool:
    """Whether a request is meant for this machine, by its Host header. An address always is. Another name that resolves
    to it is not: so foreign pages reach local programs (DNS rebinding)."""
    match = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|([^:\[\]]+)(?::\d+)?", host_header.strip())
    if match is None:
        return False
    name = (match[1] or match[2]).lower().rstrip(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names or name.endswith(".localhost")
    return True


def same_origin(origin: str | None, host_header: str) -> bool:
    """Whether a request that changes something comes from our own page, or from no page at all."""
    return origin is None or origin.lower() in (f"http://{host_header.lower()}", f"https://{host_header.lower()}")
