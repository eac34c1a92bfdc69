"""Where the world of a show is: one or more machines that run `wj world`, or a server of SGLang."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from .fields import SHORT, parse_world_address

SGLANG_PORT = 30000  # SGLang's own default
MACHINES_MAX = 2
EXAMPLE = "sglang://192.168.1.20:30000?size=832x480&fps=16"
SCHEMES = {"sglang": "ws", "sglangs": "wss"}


@dataclass(frozen=True)
class SglangAddress:
    """A server of SGLang, and what is asked of it. size: "832x480", in pixels. fps: frames a second at which its motion
    has its true speed. chunk: frames of one chunk, and steps: prediction steps; None leaves both to the server."""

    host: str
    port: int = SGLANG_PORT
    secure: bool = False
    size: str = "832x480"
    fps: float = 16.0
    chunk: int | None = None
    steps: int | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.secure else 'ws'}://{host}:{self.port}/v1/realtime_video/generate"


def is_sglang(address: str) -> bool:
    return address.partition("://")[0] in SCHEMES


def parse_sglang(text: str) -> SglangAddress:
    """ "sglang://host:port?size=832x480&fps=16&chunk=9&steps=4"; sglangs:// is encrypted. ValueError, with an example,
    for anything else."""
    wrong = (
        f"{SHORT.repr(text)} is not the address of a world: use sglang://HOST or sglang://HOST:PORT, as in {EXAMPLE}"
    )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or SGLANG_PORT
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in SCHEMES or not host or parts.path.strip("/") or parts.username or parts.fragment:
        raise ValueError(wrong)
    if unknown := options.keys() - {"size", "fps", "chunk", "steps"}:
        raise ValueError(f"an SGLang address has no option {min(unknown)}: it has size, fps, chunk and steps")
    size = options.get("size", SglangAddress.size).lower()
    if not re.fullmatch(r"[1-9]\d{1,3}x[1-9]\d{1,3}", size):
        raise ValueError(f"size is {SHORT.repr(size)}: use WIDTHxHEIGHT, as in {EXAMPLE}")
    numbers = {}
    for name, least, most in (("fps", 1, 120), ("chunk", 1, 1000), ("steps", 1, 100)):
        if name in options:
            found = re.fullmatch(r"\d{1,4}(\.\d+)?" if name == "fps" else r"\d{1,4}", options[name])
            if found is None or not least <= float(options[name]) <= most:
                raise ValueError(f"{name} is {SHORT.repr(options[name])}: use a number from {least} to {most}")
            numbers[name] = float(options[name])
    chunk, steps = (int(numbers[name]) if name in numbers else None for name in ("chunk", "steps"))
    return SglangAddress(
        host, port, parts.scheme == "sglangs", size, numbers.get("fps", SglangAddress.fps), chunk, steps
    )


def parse_world(text: str) -> str:
    """The addresses of a show's world in their whole form: "tcp://host:port", "tcp://a:port,tcp://b:port" (the second
    takes over when the first is lost), or that of an SGLang server. ValueError, with an example, for anything else."""
    if is_sglang(text.strip()):
        parse_sglang(text.strip())
        return text.strip()
    machines = [parse_world_address(part.strip()) for part in text.split(",")]
    if len(machines) > MACHINES_MAX:
        raise ValueError(f"a world has {MACHINES_MAX} machines at most, as in tcp://192.168.1.20,tcp://192.168.1.21")
    if len(set(machines)) < len(machines):
        raise ValueError(f"{machines[0]} is named twice: the second machine is to be another one")
    return ",".join(machines)
