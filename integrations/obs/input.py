"""OBS plays the show, and is played by it: scenes fire cues, cues choose scenes, and what OBS has on air is the tally.

A child program talks to OBS (obs_process.py), and connects again for ever. Connecting changes nothing: only a scene
that changes does.
"""

from __future__ import annotations

import contextlib
import difflib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import ControlEvent, Deliver, Input
from ..child import Child

PROCESS = Path(__file__).with_name("obs_process.py")
PORT = 4455
CUE = "status/cue"  # feedback: the name of the show's present cue
PREVIEW_ON, COPY, TAKE = "preview/on", "preview/copy", "preview/take"
ASKED_S = 30.0  # within which OBS shows the scene that it was asked for: the longest of its transitions is 20 s
HELLO_TIMEOUT_S = 0.5
Controls = Sequence[tuple[str, tuple[Any, ...]]]


@dataclass(frozen=True)
class SceneRule:
    """What a scene of OBS does.

    scene: its name. cue: of the show, if it fires one. controls: targets and arguments. previewed: the same for the
    preview's parameters.
    """

    scene: str
    cue: str = ""
    controls: Controls = ()
    previewed: Controls = ()


@dataclass(frozen=True)
class OwnSources:
    """By what OBS's sources that show this node are recognised: names of its NDI outputs, titles of its windows, names
    of its Spout and Syphon servers, ports of its addresses, and names of its virtual cameras."""

    ndi: Sequence[str] = ()
    titles: Sequence[str] = ()
    spout: Sequence[str] = ()
    ports: Sequence[int] = ()
    devices: Sequence[str] = ()


@dataclass(frozen=True)
class OBSOptions:
    """host, port, password: of OBS's WebSocket server. from_obs: scenes fire cues; to_obs: cues choose scenes. at_end:
    a cue is fired when the transition to its scene has ended, and not as it begins. prepare: studio mode's preview
    scene prepares the show's preview, which is then taken. tally: OBS counts for the show's tally. sources: names of
    the sources in OBS that show this node; none finds them by `own`."""

    host: str = "127.0.0.1"
    port: int = PORT
    password: str = ""
    from_obs: bool = True
    to_obs: bool = False
    at_end: bool = False
    prepare: bool = False
    tally: bool = True
    sources: Sequence[str] = ()
    own: OwnSources = field(default_factory=OwnSources)


class OBSInput(Input):
    """rules: gives the fields of each `SceneRule`, as they are now. read: a parameter's present value."""

    def __init__(
        self, options: OBSOptions, rules: Callable[[], Iterable[Mapping[str, Any]]], read: Callable[[str], Any]
    ) -> None:
        self._options, self._read = options, read
        self._rules_now = rules
        self._child = Child("OBS", PROCESS)
        self._lock = threading.Lock()
        self._facts: dict[str, Any] = {}
        self._prepared = ""  # the scene for which the show's preview is open
        self._cue: str | None = None  # the show's, as last told
        self._cue_of_obs = ""  # that a scene has fired, and that may still wait for its beat
        self._asked: tuple[str, float] | None = None  # scene that OBS was asked for, and until when it may come
        self._counts: Counter[str] = Counter()
        self._thread: threading.Thread | None = None

    def start(self, deliver: Deliver) -> None:
        """Returns at once: OBS may come and go while the show plays."""
        self._deliver = deliver
        self._thread = threading.Thread(target=self._run, name="obs", daemon=True)
        self._thread.start()

    def feedback(self, target: str, value: Any) -> None:
        if target != CUE:
            return
        with self._lock:
            cue, before = str(value), self._cue
            self._cue = cue
            if before is None or cue == before or not cue:
                return
            ours, self._cue_of_obs = cue == self._cue_of_obs, ""
            scene = "" if ours or not self._options.to_obs else self._scene_of(cue)
            if not scene or scene == self._facts.get("scene") or not self._facts.get("connected"):
                return
            self._asked = scene, time.monotonic() + ASKED_S
        self._child.send({"scene": scene})
        self._counts["scenes"] += 1

    def status(self) -> Mapping[str, Any]:
        """scene, preview: OBS's. sends: what OBS writes and sends, in words. missing: scenes of the show that OBS does
        not have."""
        with self._lock:
            facts = dict(self._facts)
        connected = bool(facts.get("connected"))
        missing = [name for name in self._rules if self._spelt(name) not in facts["scenes"]] if connected else []
        error = self._child.error or str(facts.get("message", "")) or _missing(missing, facts.get("scenes", []))
        status = {
            "state": "connected" if connected else "connecting", "error": error, "missing": missing,
            "obs": facts.get("obs", ""), "scene": facts.get("scene", ""), "preview": facts.get("preview", ""),
            "sends": _sends(facts), "recording": bool(facts.get("recording")),
            "streaming": bool(facts.get("streaming")), "sources": facts.get("sources", []),
            "scenes": facts.get("scenes", []), "cues": self._counts["cues"], "scenes_sent": self._counts["scenes"],
            "restarts": max(self._child.starts - 1, 0),
        }  # fmt: skip
        return {**status, "tally": self._tally(facts)} if connected and self._options.tally else status

    def stop(self) -> None:
        self._child.end()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        options = self._options
        first = {
            "host": options.host, "port": options.port, "password": options.password, "sources": list(options.sources),
            "own": {name: list(value) for name, value in vars(options.own).items()},
        }  # fmt: skip
        while self._child.start(first=first):
            for message in self._child.messages():
                with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError):
                    self._on_message(message)
            self._child.finish()
            with self._lock:
                self._facts = {}

    def _on_message(self, message: Any) -> None:
        match message:
            case {"facts": dict(facts)}:
                with self._lock:
                    self._facts = facts
            case ["started" | "ended" as when, str(scene), int(seconds) | float(seconds), float(at)]:
                if (when == "ended") == self._options.at_end:
                    self._on_program(scene, seconds, at)
            case ["preview", str(scene), float(at)]:
                self._on_preview(scene, at)

    def _on_program(self, scene: str, seconds: float, at: float) -> None:
        with self._lock:
            asked, self._asked = self._asked, None
            rule = self._rule(scene)
            if not self._options.from_obs or rule is None or (asked and asked[0] == scene and at < asked[1]):
                return
            self._cue_of_obs = rule.cue
        prepared, self._prepared = self._prepared, ""
        if self._options.prepare and prepared == scene and self._read(PREVIEW_ON):
            controls: Controls = [(TAKE, (seconds,))]
        else:
            controls = rule.controls
        self._counts["cues"] += 1
        self._send(controls, scene, at)

    def _on_preview(self, scene: str, at: float) -> None:
        """Prepare on the show's preview what that scene would do to the program."""
        rule = self._rule(scene)
        if not (self._options.prepare and self._options.from_obs) or rule is None:
            return
        opened: Controls = [(COPY, ())] if self._read(PREVIEW_ON) else [(PREVIEW_ON, (True,))]
        self._prepared = scene
        self._send([*opened, *rule.previewed], scene, at)

    def _send(self, controls: Controls, scene: str, at: float) -> None:
        for target, args in controls:
            self._deliver(ControlEvent(target, args, at, f"obs {scene}"))

    @property
    def _rules(self) -> dict[str, SceneRule]:
        return {rule.scene: rule for rule in (SceneRule(**fields) for fields in self._rules_now())}

    def _rule(self, scene: str) -> SceneRule | None:
        """What a scene does; case and spaces around its name do not matter where no other scene has that name."""
        rules = self._rules
        near = {name.strip().lower(): rule for name, rule in rules.items()}
        return rules.get(scene) or near.get(scene.strip().lower())

    def _spelt(self, name: str) -> str:
        """The name of a scene as OBS has it."""
        scenes = self._facts.get("scenes", ())
        near = {scene.strip().lower(): scene for scene in scenes}
        return name if name in scenes else near.get(name.strip().lower(), name)

    def _scene_of(self, cue: str) -> str:
        """The scene of a cue, as OBS spells it; empty where OBS has none."""
        wanted = next((rule.scene for rule in self._rules.values() if rule.cue.lower() == cue.lower()), "")
        return found if (found := self._spelt(wanted)) in self._facts.get("scenes", ()) else ""

    def _tally(self, facts: Mapping[str, Any]) -> dict[str, bool]:
        """Whether OBS shows this node. Where none of its sources is known, the scenes of the show count."""
        if facts.get("sources"):
            return dict(facts.get("tally", {}))
        program, preview = facts.get("scene", ""), facts.get("preview", "")
        return {
            "program": self._rule(program) is not None,
            "preview": preview != program and self._rule(preview) is not None,
        }


def _sends(facts: Mapping[str, Any]) -> str:
    """ "recording, streaming" """
    recording = "recording (paused)" if facts.get("paused") else "recording"
    streaming = "streaming (reconnecting)" if facts.get("reconnecting") else "streaming"
    named = ((recording, facts.get("recording")), (streaming, facts.get("streaming")))
    return ", ".join(name for name, on in named if on)


def _missing(missing: Sequence[str], scenes: Sequence[str]) -> str:
    if not missing:
        return ""
    near = difflib.get_close_matches(missing[0], scenes, 1, 0.5)
    instead = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(scenes[:8])}"
    names = ", ".join(repr(name) for name in missing)
    return f"OBS has no scene {names}, which `obs: scenes` in the show names: {instead}"


def list_servers(host: str = "127.0.0.1", port: int = PORT) -> list[str]:
    """The OBS that runs on this machine, for `wj ports`. OSError, with the fix, where none answers."""
    import json

    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    try:
        with connect(f"ws://{host}:{port}", open_timeout=HELLO_TIMEOUT_S, proxy=None) as line:
            hello = json.loads(line.recv(timeout=HELLO_TIMEOUT_S))["d"]
    except (OSError, WebSocketException, ValueError, KeyError, TypeError):
        raise OSError(
            "no OBS answers here: in OBS, switch on Tools > WebSocket Server Settings > Enable WebSocket server"
        ) from None
    lock = "with a password" if "authentication" in hello else "without a password"
    return [f"{host}:{port}, obs-websocket {hello['obsWebSocketVersion']}, {lock}"]
