"""The audience of a show: its server as an input, and what drives the show by it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from worldjockey.integrations import Input
from worldjockey.model.registry import attributes_of

from ..control.crowd import CrowdDriver
from ..control.desk import Desk
from ..show.schema import Show
from .inputs import stills_folder
from .requests import Requests


def crowd_of(show: Show, desk: Desk, inputs: MutableMapping[str, Input], requests: Requests) -> CrowdDriver | None:
    """Add the audience to the inputs, and let it drive the show; None where the show has none. Nothing is started."""
    if show.crowd is None or not show.crowd.enabled:
        return None
    from worldjockey.integrations.crowd.input import CrowdInput, CrowdOptions

    crowd = show.crowd
    drivers: list[CrowdDriver] = []

    def take(aggregate: Mapping[str, Any]) -> None:
        for driver in drivers:
            driver.take(aggregate)

    options = CrowdOptions(crowd.host, crowd.port, name=show.name, stills=stills_folder(), twitch=crowd.twitch or "")
    source = CrowdInput(options, take)
    driver = CrowdDriver(crowd, desk, source.send, vocabulary(show.model))
    drivers.append(driver)
    desk.add_driver(driver)
    inputs["crowd"] = source
    requests.register("crowd/approve", driver.approve)
    requests.register("crowd/refuse", driver.refuse)
    return driver


def vocabulary(model: str) -> frozenset[str] | None:
    """The words that a world's prompts can say, which are safe to show; None for a world that takes any words."""
    words = {
        value for name, values in attributes_of(model).items() if name not in ("act", "figure") for value in values
    }
    return frozenset(words) or None
