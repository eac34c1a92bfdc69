"""The audience of a show, with its server as an input, and the story: what drives the show by them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from worldjockey.integrations import Input
from worldjockey.model.registry import attributes_of

from ..control.crowd import CrowdDriver
from ..control.desk import Desk
from ..control.story import StoryDriver
from ..ipc.overlay import OverlayLine
from ..show.crowd import Crowd
from ..show.schema import Show
from .inputs import stills_folder
from .overlay import OverlayWriter
from .players import PlayersInput
from .requests import Requests


def crowd_of(show: Show, desk: Desk, inputs: MutableMapping[str, Input], requests: Requests,
             players: PlayersInput | None = None) -> CrowdDriver | None:  # fmt: skip
    """Add the audience to the inputs, and let it drive the show; None where the show has none. Nothing is started.

    players: gets the phones that play. Where they may and there is no audience, its server is there for them alone.
    """
    phones = players if show.players is not None and show.players.phones else None
    if show.crowd is None or not show.crowd.enabled:
        if phones is not None:
            inputs["crowd"] = _only_players(show, phones)
        return None
    from worldjockey.integrations.crowd.input import CrowdInput, CrowdOptions

    crowd = show.crowd
    drivers: list[CrowdDriver] = []

    def take(aggregate: Mapping[str, Any]) -> None:
        for driver in drivers:
            driver.take(aggregate)
        if phones is not None and "players" in aggregate:
            phones.on_phones(aggregate["players"])

    options = CrowdOptions(
        crowd.host, crowd.port, crowd.url or "", show.name, stills_folder(), crowd.people, crowd.per_address,
        crowd.twitch or "",
    )  # fmt: skip
    source = CrowdInput(options, take)
    driver = CrowdDriver(crowd, desk, source.send, vocabulary(show.model))
    drivers.append(driver)
    if phones is not None:
        phones.tell = source.send
    desk.add_driver(driver)
    inputs["crowd"] = source
    requests.register("crowd/approve", driver.approve)
    requests.register("crowd/refuse", driver.refuse)
    requests.register("crowd/clear", driver.clear_words)
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


def overlay_writer(line: OverlayLine, desk: Desk, source: Input, driver: CrowdDriver | None) -> OverlayWriter:
    """Show the audience on the picture as the parameters say. driver: None where there are only players, whose page is
    another one."""
    from worldjockey.integrations.crowd.input import CrowdInput

    assert isinstance(source, CrowdInput)
    page = "" if driver is not None else "play"
    return OverlayWriter(
        line, desk.values, lambda: source.url and source.url + page, lambda: driver.poll if driver is not None else None
    )


def _only_players(show: Show, players: PlayersInput) -> Input:
    """The audience's server, with nothing for an audience but the page /play."""
    from worldjockey.integrations.crowd.input import CrowdInput, CrowdOptions

    def take(aggregate: Mapping[str, Any]) -> None:
        if "players" in aggregate:
            players.on_phones(aggregate["players"])

    crowd = Crowd() if show.crowd is None else show.crowd
    source = CrowdInput(CrowdOptions(crowd.host, crowd.port, name=show.name, stills=stills_folder()), take)
    source.send({"crowd": {"open": True, "title": show.name, "languages": []}})
    players.tell = source.send
    return source


def vocabulary(model: str) -> frozenset[str] | None:
    """The words that a world's prompts can say, which are safe to show; None for a world that takes any words."""
    words = {
        value for name, values in attributes_of(model).items() if name not in ("act", "figure") for value in values
    }
    return frozenset(words) or None
