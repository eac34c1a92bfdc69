"""The process that talks to OBS over obs-websocket 5, by simpleobsws. It imports nothing of this package.

    python obs_process.py       until standard input ends

The first line that it reads is {"host", "port", "password", "sources": names, "own": {"ndi": names, "titles": texts,
"spout": names, "ports": numbers, "devices": names}}: the sources of OBS that show this node, by name, and how to
recognise more of them. Then it reads {"scene": NAME} for each scene that OBS shall show.

It writes {"facts": {...}} whenever one of them changes, and
["started" | "ended", scene, transition's seconds, time.monotonic()] when a transition to a scene begins and ends, and
["preview", scene, time.monotonic()] when studio mode prepares another one. Connecting is neither.

OBS reports the scene of its program when the transition has ended; at the beginning it only reports that there is one.
The name is asked for then. Where OBS leaves studio mode, it reports a scene that is never shown, so a report without a
transition is asked for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

RETRY_S = 1.0
ANSWER_TIMEOUT_S = 5.0
SETTLE_S = 0.15  # after a change of scene without a transition
OUTPUTS_INTERVAL_S = 2.0  # between two looks at what is written and sent
AUTHENTICATION_FAILED = 4009  # WebSocketCloseCode of obs-websocket
# EventSubscription of obs-websocket: all but what comes in high volume, and whether inputs are active and shown.
EVENTS = (1 << 11) - 1 | 1 << 17 | 1 << 18
SCENE_LISTS = ("SceneCreated", "SceneRemoved", "SceneNameChanged", "SceneListChanged", "CurrentSceneCollectionChanged")
INPUTS = ("InputCreated", "InputNameChanged", "InputSettingsChanged", "CurrentSceneCollectionChanged")
SHOWN = ("InputActiveStateChanged", "InputShowStateChanged", *INPUTS)
OUTPUTS = ("RecordStateChanged", "StreamStateChanged")
LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")


def say(row: Any) -> None:
    try:
        os.write(sys.stdout.fileno(), json.dumps(row).encode() + b"\n")
    except OSError:
        os._exit(0)


def is_own(kind: str, settings: Mapping[str, Any], own: Mapping[str, Any], local: bool = True) -> bool:
    """Whether a source of OBS shows this node. kind, settings: of the input. own: see above. local: OBS runs on this
    machine, so that an address of its own machine means this one."""
    if kind.startswith("ndi_source"):
        found = re.search(r"\((.*)\)\s*$", str(settings.get("ndi_source_name", "")))
        return found is not None and found[1] in own["ndi"]
    if kind.startswith("browser_source") or kind.startswith("ffmpeg_source"):
        address = settings.get("url") or settings.get("input")
        if settings.get("is_local_file") or not address:
            return False
        try:
            parts = urlsplit(str(address))
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        return port in own["ports"] and (local or host not in LOCAL)
    if kind.startswith("spout_capture"):
        return settings.get("spoutsenders") in own["spout"]
    if kind.startswith("syphon-input"):
        return settings.get("name") in own["spout"]
    if kind.startswith(("xcomposite_input", "window_capture", "game_capture")):
        window = str(settings.get("capture_window") or settings.get("window") or settings.get("window_name") or "")
        return any(title in window for title in own["titles"])
    if kind.startswith(("v4l2_input", "dshow_input", "av_capture_input", "macos-avcapture")):
        device = " ".join(str(settings.get(name, "")) for name in ("device_id", "video_device_id", "device_name"))
        return any(name in device for name in own["devices"])
    return False


class Connection:
    """One connection to OBS, from its first facts until it is lost."""

    def __init__(self, library: Any, config: Mapping[str, Any]) -> None:
        self._library, self._config = library, config
        self._events: asyncio.Queue[tuple[str, Mapping[str, Any]]] = asyncio.Queue()
        self._facts: dict[str, Any] = {}
        self._own: list[str] = []
        self._program: str | None = None  # that was last reported as begun
        self._in_transition = False
        host, port = config["host"], config["port"]
        self.where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        identification = library.IdentificationParameters(eventSubscriptions=EVENTS)
        self._client = library.WebSocketClient(f"ws://{self.where}", config["password"], identification)

    async def open(self) -> str:
        """Connect; the reason where that fails, in words."""
        client = self._client
        try:
            await asyncio.wait_for(client.connect(), ANSWER_TIMEOUT_S)
        except (asyncio.TimeoutError, OSError):
            return (f"OBS does not answer at {self.where}: start OBS, and switch on Tools > WebSocket Server Settings >"
                    " Enable WebSocket server")  # fmt: skip
        except Exception as error:  # the library's own, of a server that speaks something else
            return f"{self.where} is no obs-websocket ({type(error).__name__}): correct `obs: port` in the show"

        async def note(name: str, data: Mapping[str, Any] | None) -> None:
            self._events.put_nowait((name, data or {}))

        client.register_event_callback(note)
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while not client.is_identified():
            if not client.ws_open or time.monotonic() > deadline:
                if client.ws.close_code == AUTHENTICATION_FAILED:
                    wanted = "is another" if self._config["password"] else "is missing"
                    return (f"OBS's password {wanted}: copy it from Tools > WebSocket Server Settings > Show Connect"
                            " Info into `obs: password` or password_file")  # fmt: skip
                return f"{self.where} does not greet as obs-websocket 5 does: OBS 28 or newer has it built in"
            await asyncio.sleep(0.01)
        return ""

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._client.disconnect(), 1.0)

    async def ask(self, request: str, **data: Any) -> dict[str, Any]:
        """The answer; nothing where OBS refuses. ConnectionError where OBS is gone."""
        try:
            answer = await self._client.call(self._library.Request(request, data or None), ANSWER_TIMEOUT_S)
        except Exception as error:
            raise ConnectionError(f"OBS at {self.where} is gone: trying again") from error
        return dict(answer.responseData or {}) if answer.ok() else {}

    async def show_scene(self, name: str) -> None:
        await self.ask("SetCurrentProgramScene", sceneName=name)

    async def follow(self) -> None:
        """Report until the connection is lost, which raises ConnectionError."""
        version = await self.ask("GetVersion")
        self._facts = {"connected": True, "message": "", "obs": str(version.get("obsVersion", ""))}
        await self._look_at_scenes()
        self._program = self._facts["scene"]
        await self._find_own()
        await self._look_at_outputs()
        looked, said = time.monotonic(), dict[str, Any]()
        while True:
            if self._facts != said:
                said = dict(self._facts)
                say({"facts": said})
            try:
                name, data = await asyncio.wait_for(self._events.get(), OUTPUTS_INTERVAL_S / 2)
            except asyncio.TimeoutError:
                name, data = "", {}
            if not self._client.ws_open:
                raise ConnectionError(f"OBS at {self.where} is gone: trying again")
            await self._obey(name, data)
            if name in OUTPUTS or time.monotonic() - looked > OUTPUTS_INTERVAL_S:
                looked = time.monotonic()
                await self._look_at_outputs()
                await self._look_at_own()

    async def _obey(self, name: str, data: Mapping[str, Any]) -> None:
        at = time.monotonic()
        if name == "SceneTransitionStarted":
            self._in_transition = True
            await self._look_at_scenes()
            await self._begin(at)
        elif name == "SceneTransitionEnded":
            self._in_transition = False
            await self._look_at_scenes()
            await self._begin(at)
            say(["ended", self._facts["scene"], 0.0, at])
        elif name == "CurrentProgramSceneChanged" and not self._in_transition:
            await self._look_at_scenes()
            if self._facts["scene"] != self._program:  # OBS shows it for a moment as it leaves studio mode
                await asyncio.sleep(SETTLE_S)
                await self._look_at_scenes()
            if await self._begin(at):
                say(["ended", self._facts["scene"], 0.0, at])
        elif name == "CurrentPreviewSceneChanged":
            await self._look_at_scenes()
            if self._facts["preview"] and not self._in_transition:
                say(["preview", self._facts["preview"], at])
        elif name == "StudioModeStateChanged" or name in SCENE_LISTS:
            if name == "SceneNameChanged" and data.get("oldSceneName") == self._program:
                self._program = data.get("sceneName")
            await self._look_at_scenes()
        if name == "InputRemoved":  # OBS still lists it
            self._own = [own for own in self._own if own != data.get("inputName")]
            await self._look_at_own()
        elif name in INPUTS:
            await self._find_own()
        elif name in SHOWN or name.startswith("Scene"):
            await self._look_at_own()

    async def _begin(self, at: float) -> bool:
        """Report the program's scene, if it is another one than before."""
        scene = self._facts["scene"]
        if changed := scene != self._program:
            self._program = scene
            transition = await self.ask("GetCurrentSceneTransition")
            milliseconds = transition.get("transitionDuration")  # none of one whose length is fixed, as a cut
            say(["started", scene, milliseconds / 1000 if milliseconds else 0.0, at])
        return changed

    async def _look_at_scenes(self) -> None:
        found = await self.ask("GetSceneList")
        scenes = sorted(found.get("scenes", []), key=lambda scene: -scene.get("sceneIndex", 0))  # as OBS lists them
        self._facts |= {
            "scenes": [str(scene["sceneName"]) for scene in scenes],
            "scene": str(found.get("currentProgramSceneName") or ""),
            "preview": str(found.get("currentPreviewSceneName") or ""),
        }

    async def _find_own(self) -> None:
        """The sources that show this node."""
        own, names = self._config["own"], set(self._config["sources"])
        local = self._config["host"] in LOCAL
        self._own = []
        for row in (await self.ask("GetInputList")).get("inputs", []):
            name, kind = row["inputName"], row["unversionedInputKind"]
            if name in names:
                self._own.append(name)
            elif not names:
                settings = await self.ask("GetInputSettings", inputName=name)
                if is_own(kind, settings.get("inputSettings", {}), own, local):
                    self._own.append(name)
        await self._look_at_own()

    async def _look_at_own(self) -> None:
        program = preview = False
        for name in self._own:
            state = await self.ask("GetSourceActive", sourceName=name)
            program |= bool(state.get("videoActive"))
            preview |= bool(state.get("videoShowing")) and not state.get("videoActive")
        self._facts |= {"sources": list(self._own), "tally": {"program": program, "preview": preview}}

    async def _look_at_outputs(self) -> None:
        record, stream = await self.ask("GetRecordStatus"), await self.ask("GetStreamStatus")
        self._facts |= {
            "recording": bool(record.get("outputActive")), "paused": bool(record.get("outputPaused")),
            "streaming": bool(stream.get("outputActive")), "reconnecting": bool(stream.get("outputReconnecting")),
        }  # fmt: skip


async def serve(library: Any, config: Mapping[str, Any], lines: asyncio.Queue[Any]) -> None:
    """Keep a connection, for ever."""
    current: Connection | None = None

    async def obey() -> None:
        while True:
            line = await lines.get()
            if current is not None:
                with contextlib.suppress(ConnectionError, TypeError, KeyError):
                    await current.show_scene(str(line["scene"]))

    obeying = asyncio.create_task(obey())
    try:
        while True:
            connection = Connection(library, config)
            reason = await connection.open()
            if not reason:
                current = connection
                try:
                    await connection.follow()
                except ConnectionError as error:
                    reason = str(error)
                current = None
            await connection.close()
            say({"facts": {"connected": False, "message": reason}})
            await asyncio.sleep(RETRY_S)
    finally:
        obeying.cancel()


async def main() -> None:
    first = await asyncio.to_thread(sys.stdin.buffer.readline)
    if not first:
        return
    try:
        import simpleobsws
    except ImportError as error:
        say({"facts": {"connected": False, "message": f"OBS needs simpleobsws ({error}): pip install simpleobsws"}})
        return
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def read() -> None:
        for line in sys.stdin.buffer:
            with contextlib.suppress(ValueError, RuntimeError):
                loop.call_soon_threadsafe(lines.put_nowait, json.loads(line))
        os._exit(0)  # OBS may be one that hangs

    threading.Thread(target=read, daemon=True).start()
    await serve(simpleobsws, json.loads(first), lines)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the show handles Ctrl-C
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"  # OBS is on this machine or in this room
    asyncio.run(main())
