"""The inputs of a show, made from its file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

from platformdirs import user_cache_path
from worldjockey.integrations import AudioChunk, Input

from ..control.desk import Desk
from ..control.keyboard import Buttons
from ..control.show_editor import ShowEditor
from ..control.timecode import TimecodeFollower
from ..show.schema import Show
from .players import PlayersInput
from .requests import Requests

if TYPE_CHECKING:
    from worldjockey.integrations.obs.input import OwnSources

    from ..show.obs import Obs

WEB_PORT = 8080  # of the web output


def inputs_of(show: Show, desk: Desk, on_audio: Callable[[AudioChunk], None] | None = None,
              folder: Path = Path()) -> dict[str, Input]:  # fmt: skip
    """The inputs that the show enables, by name; none is started yet.

    on_audio: called with each chunk of audio, where the show has an audio input. folder: where the show's paths start.
    """
    found: dict[str, Input] = {}
    if show.osc.enabled:
        found |= _osc(show, desk)
    if show.midi.enabled:
        from worldjockey.integrations.midi.input import MIDIInput

        from ..show.midi_mapping import compose

        midi = show.midi
        chased = show.chased if show.chased and show.chased.source == "mtc" else None
        found["midi"] = MIDIInput(
            midi.rules(), controllers=midi.controllers(), feedback=midi.feedback, read=desk.read, compose=compose,
            on_clock=desk.clock.on_clock, on_timecode=desk.timecode.receive if chased and desk.timecode else None,
            timecode_port=(chased and chased.input) or "",
        )  # fmt: skip
    players = None
    if show.players is not None and show.players.enabled:
        players = found["players"] = PlayersInput(show.players, desk)
    if show.gamepad.enabled or (players is not None and show.players is not None and show.players.gamepads):
        from worldjockey.integrations.gamepad.input import GamepadInput

        maps = RULES["gamepad"](show) if show.gamepad.enabled else []
        found["gamepad"] = GamepadInput(maps, Buttons(desk.deliver, desk.read), players)
    if show.sound.enabled:
        found["sound"] = _audio(show, on_audio, folder)
    found["link"] = _link(desk)
    if show.lights is not None and show.lights.enabled:
        from worldjockey.integrations.dmx.input import LightsInput

        lights = show.lights
        found["lights"] = LightsInput(lights.rules(), lights.host, show.name, lights.artnet, lights.sacn)
    if show.obs is not None and show.obs.enabled:
        found["obs"] = _obs(show, show.obs, desk, folder)
    if show.streamdeck is not None and show.streamdeck.enabled:
        from worldjockey.integrations.stream_deck.input import StreamDeckInput

        from ..control.deck_board import DeckBoard

        board = DeckBoard(desk, show.streamdeck)
        found["streamdeck"] = StreamDeckInput(board, Buttons(desk.deliver, desk.read), show.streamdeck.brightness)
    if desk.timecode is not None:
        found |= _timecode(show, desk.timecode, folder)
    return found


def _timecode(show: Show, follower: TimecodeFollower, folder: Path) -> dict[str, Input]:
    """LTC in, and MTC out; MTC in comes by the MIDI input."""
    from ..show.fields import file_from
    from ..show.timecode import OWN_PORT

    found: dict[str, Input] = {}
    timecode = show.chased
    assert timecode is not None
    if timecode.source == "ltc":
        from worldjockey.integrations.ltc.input import LtcInput

        source = timecode.input
        if (path := timecode.wav_file) is not None:
            source = str(file_from(folder, path))
        found["timecode"] = LtcInput(follower.receive, source, timecode.channel)
    if timecode.out is not None:
        from worldjockey.integrations.midi.mtc_output import MtcOutput

        out = MtcOutput("" if timecode.out == OWN_PORT else timecode.out, timecode.rate)
        follower.send = out.send
        found["timecode out"] = out
    return found


class Mapped(Protocol):
    """An input whose maps can change while it plays. compose: is given what it learned."""

    compose: Callable[[str, Mapping[str, Any]], Any] | None

    def set_maps(self, maps: Iterable[Mapping[str, Any]]) -> None: ...


def connect_maps(inputs: Mapping[str, Input], editor: ShowEditor) -> None:
    """Let controls be mapped while the show plays: what an input learns is an edit of the show, and edits of its maps
    are played at once."""
    mapped: dict[str, Mapped] = {
        kind: cast(Mapped, inputs[kind]) for kind in RULES if hasattr(inputs.get(kind), "set_maps")
    }
    for kind, source in mapped.items():
        source.compose = partial(editor.learned, kind)

    def play_maps(show: Show) -> None:
        for kind, source in mapped.items():
            source.set_maps(RULES[kind](show))

    editor.on_maps = play_maps


def connect_stills(inputs: Mapping[str, Input], stills: Callable[[], Mapping[int, Path]]) -> None:
    """Let keys with pictures show what the world drew of the pads."""
    if (decks := inputs.get("streamdeck")) is not None:
        cast(Any, decks).board.stills = stills


RULES: Mapping[str, Callable[[Show], list[dict[str, Any]]]] = {
    "midi": lambda show: show.midi.rules(),
    "osc": lambda show: [line.rule() for line in show.osc.map],
    "gamepad": lambda show: [line.rule() for line in show.gamepad.mappings()],
}


def surface_of(show: Show, desk: Desk, requests: Requests, folder: Path,
               on_served: Callable[[Mapping[str, Any]], None]) -> Input:  # fmt: skip
    """The surface, not started yet. folder: of the show. on_served: called once, with the facts of its server."""
    from worldjockey.integrations.surface.input import SurfaceInput, SurfaceOptions

    from ..control import reference

    surface = show.surface
    options = SurfaceOptions(
        surface.host, surface.port, surface.token, surface.viewer_token, show.name, version("worldjockey"),
        folder.absolute() / "media", stills_folder(),
    )  # fmt: skip
    return SurfaceInput([*reference.rows(), *_event_rows(show)], desk.all_values(), options, requests.answer, on_served)


def _event_rows(show: Show) -> list[dict[str, Any]]:
    """The show's events as rows of the parameter table, in which they are a family without members."""
    from ..control import reference
    from ..parameters import EVENT, find

    return [reference.row(p) for event in show.events if (p := find(EVENT + event.name))]


def stills_folder() -> Path:
    """The folder of the pictures that the world drew of prompts."""
    return user_cache_path("worldjockey", appauthor=False) / "stills"


def unsaved_folder() -> Path:
    """The folder for shows whose edits could be saved nowhere else."""
    return user_cache_path("worldjockey", appauthor=False) / "unsaved"


def _link(desk: Desk) -> Input:
    """The input joins Ableton Link when `tempo/source` is "link", now or later."""
    from worldjockey.integrations.link.input import LinkInput

    values = desk.values
    joined = values["tempo/source"] == "link"
    link = LinkInput(desk.clock.on_link, joined, values["tempo"], values["tempo/bar"], values["tempo/phrase"])
    desk.clock.lead = link.set_tempo
    return link


def _audio(show: Show, on_audio: Callable[[AudioChunk], None] | None, folder: Path) -> Input:
    from worldjockey.integrations.audio.input import DEFAULT, AudioInput, FeatureMapping, is_file

    from ..parameters import find
    from ..show.fields import file_from

    mappings = []
    for mapping in show.sound.map:
        p = find(mapping.to)
        assert p is not None  # the show was checked
        low, high = (p.low, p.high) if p.kind in ("float", "int") else (0.0, 1.0)
        mappings.append(FeatureMapping(mapping.of, mapping.to, low if mapping.low is None else mapping.low,
                          high if mapping.high is None else mapping.high, mapping.attack, mapping.release))  # fmt: skip
    source = show.sound.input
    if source is not None and (is_file(source) or file_from(folder, source).is_file()):
        source = str(file_from(folder, source))
    return AudioInput(source, tuple(mappings) or DEFAULT, on_audio)


def _obs(show: Show, obs: Obs, desk: Desk, folder: Path) -> Input:
    from worldjockey.integrations.obs.input import OBSInput, OBSOptions

    options = OBSOptions(
        obs.host, obs.port, obs.secret(folder), obs.follow in ("obs", "both"), obs.follow in ("cues", "both"),
        obs.when == "end", obs.prepare, obs.tally, obs.sources, own_sources(show),
    )  # fmt: skip

    def rules() -> list[dict[str, Any]]:
        return desk.show.obs.rules(desk.show.cues) if desk.show.obs else []  # cues are edited while the show plays

    return OBSInput(options, rules, desk.read)


def own_sources(show: Show) -> OwnSources:
    """By what a mixer's sources that show this node are recognised, from the show's outputs."""
    from worldjockey.integrations.obs.input import OwnSources

    def named(*kinds: str) -> list[str]:
        return [str(entry.options.get("name") or show.name) for entry in show.on_air if entry.kind in kinds]

    web = [int(entry.options.get("port", WEB_PORT)) for entry in show.on_air if entry.kind == "web"]
    streamed = [urlsplit(str(entry.options["url"])).port for entry in show.on_air if entry.kind == "stream"]
    windows = [show.name] if any(entry.kind == "window" for entry in show.on_air) else []
    cameras = [str(entry.options.get("name") or "OBS Virtual Camera") for entry in show.on_air
               if entry.kind == "virtualcam"]  # fmt: skip
    return OwnSources(named("ndi"), windows, named("spout", "syphon"), [*web, *filter(None, streamed)], cameras)


def _osc(show: Show, desk: Desk) -> dict[str, Input]:
    from worldjockey.integrations.osc.input import OSCInput
    from worldjockey.integrations.osc.query import OSCQuery

    from ..compat.osc_aliases import Aliases
    from ..control import reference
    from ..parameters import PARAMETERS, latest_wins

    osc = show.osc
    found: dict[str, Input] = {
        "osc": OSCInput(
            osc.host, osc.port, osc.feedback_host, osc.feedback_port, latest_wins, PARAMETERS, desk.read, osc.allow,
            Aliases(osc.aliases, desk.read, show.name) if osc.aliases else None, RULES["osc"](show),
        )
    }  # fmt: skip
    if osc.query is not None:
        rows = [row for row in reference.rows() if row["name"] in PARAMETERS]
        banks = show.prompts().names
        for row in (row for row in rows if row["name"] == "bank"):
            row |= {"high": len(banks), "doc": f"{row['doc']}: {', '.join(banks)}"}
        values = {name: desk.read(name) for name in PARAMETERS}
        found["oscquery"] = OSCQuery([*rows, *_event_rows(show)], values, show.name, osc.host, osc.query, osc.port)
    return found
