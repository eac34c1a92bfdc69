"""Who may use the surface: roles and tokens."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import Literal

from ..addresses import is_loopback

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
