"""The audience of a show, with its server as an input, and the story: what drives the show by them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from worldjockey.integrations import Input
from worldjockey.model.registry import attributes_of

from ..control.crowd import CrowdDriver
from ..control.desk import Desk
from ..control.story import StoryDriver
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


def story_of(show: Show, desk: Desk, crowd: CrowdDriver | None) -> StoryDriver | None:
    """Let the story drive the show; None where the show has none."""
    if show.story is None:
        return None

    def faders() -> Mapping[str, float]:
        return crowd.faders.values if crowd is not None and crowd.is_open else {}

    driver = StoryDriver(show.story, desk, faders)
    desk.add_driver(driver)
    return driver


def vocabulary(model: str) -> frozenset[str] | None:
    """The words that a world's prompts can say, which are safe to show; None for a world that takes any words."""
    words = {
        value for name, values in attributes_of(model).items() if name not in ("act", "figure") for value in values
    }
    return frozenset(words) or None
