"""What lies over the picture: the code by which the audience joins, and the answers of its poll. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..show.crowd import plain
from .polls import OpenPoll


def overlay_of(values: Mapping[str, Any], url: str, poll: OpenPoll | None, now: float) -> dict[str, Any]:
    """As `output.overlay_drawing.Drawing.patches` takes it.

    values: of the parameters. url: that the audience opens; empty while nothing is served. poll: that is open, or whose
    result is still shown.
    """
    overlay: dict[str, Any] = {}
    if url and values["crowd/code"] != "off":
        overlay["code"] = {"text": url, "size": values["crowd/code"]}
    if poll is not None and values["crowd/bars"]:
        closed = poll.state not in ("open", "tied")
        overlay["poll"] = {
            "question": plain(poll.poll.question), "options": [plain(option.label) for option in poll.poll.options],
            "counts": poll.counts, "winner": (-1 if poll.winner is None else poll.winner) if closed else None,
            "seconds": max(math.ceil(poll.closes_at - now), 0),
        }  # fmt: skip
    return overlay
