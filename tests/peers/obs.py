"""OBS Studio with a fresh home, driven over obs-websocket (github.com/obsproject/obs-websocket, protocol 5, RPC 1)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import InvalidMessage
from websockets.sync.client import ClientConnection, connect
from worldjockey.node.measure.show_process import free_port

PASSWORD = "a rehearsal"
SCENE = "stage"
# No wizard, no question after a crash, nothing that asks the network; what OBS 28 to 30.1 read of obs-websocket.
GLOBAL = """[General]
FirstRun=true
InfoIncrement=-1
EnableAutoUpdates=false
LastVersion=486539266

[Basic]
Profile=rehearsal
ProfileDir=rehearsal
SceneCollection=rehearsal
SceneCollectionFile=rehearsal

[BasicWindow]
PreviewEnabled=true
SysTrayEnabled=false

[OBSWebSocket]
FirstLoad=false
ServerEnabled=true
ServerPort={port}
AuthRequired=true
ServerPassword={password}
AlertsEnabled=false
"""
# A small, slow canvas: OpenGL is drawn by the processor here.
PROFILE = """[General]
Name=rehearsal

[Video]
BaseCX={width}
BaseCY={height}
OutputCX={width}
OutputCY={height}
FPSType=1
FPSInt={fps}
"""
EMPTY_SCENES = {
    "name": "rehearsal", "current_scene": SCENE, "current_program_scene": SCENE, "scene_order": [{"name": SCENE}],
    "sources": [{"id": "scene", "name": SCENE, "settings": {"items": []}}],
}  # fmt: skip


def furnish(config: Path, port: int, size: tuple[int, int], fps: int) -> None:
    """Write the settings of an OBS that was set up before, below `config` as XDG_CONFIG_HOME."""
    home = config / "obs-studio"
    profile, scenes = home / "basic" / "profiles" / "rehearsal", home / "basic" / "scenes"
    plugin = home / "plugin_config" / "obs-websocket"
    for folder in (profile, scenes, plugin):
        folder.mkdir(parents=True)
    settings = GLOBAL.format(port=port, password=PASSWORD)
    (home / "global.ini").write_text(settings)
    (home / "user.ini").write_text(settings)  # where OBS 31 looks
    (profile / "basic.ini").write_text(PROFILE.format(width=size[0], height=size[1], fps=fps))
    (scenes / "rehearsal.json").write_text(json.dumps(EMPTY_SCENES))
    server = {"first_load": False, "server_enabled": True, "server_port": port, "auth_required": True,
              "server_password": PASSWORD, "alerts_enabled": False}  # fmt: skip
    (plugin / "config.json").write_text(json.dumps(server))  # where obs-websocket 5.4 looks


class Refused(RuntimeError):
    """What OBS answered instead of doing what was asked."""


class OBS:
    """A process of its own on the X screen that DISPLAY names. Needs a window manager there for window captures."""

    def __init__(self, folder: Path, size: tuple[int, int] = (640, 360), fps: int = 10, port: int = 0) -> None:
        self.port = port or free_port()
        self._asked, self._size = 0, size
        self._open = contextlib.ExitStack()
        self._log = folder / "obs.log"
        folder.mkdir(exist_ok=True)
        furnish(folder / "config", self.port, size, fps)
        (runtime := folder / "runtime").mkdir(mode=0o700)
        env = {
            **os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_RUNTIME_DIR": str(runtime), "QT_QPA_PLATFORM": "xcb", "LIBGL_ALWAYS_SOFTWARE": "1",
            "LP_NUM_THREADS": "1", "QT_ACCESSIBILITY": "0", "LD_PRELOAD": str(pixmaps(folder)),
        }  # fmt: skip
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["obs", "--multi", "--disable-missing-files-check", "--disable-updater"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
            )  # fmt: skip
        try:
            self._line = self._connect(time.monotonic() + 120)
        except BaseException:
            self.kill()
            raise

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _connect(self, deadline: float) -> ClientConnection:
        while True:
            try:
                line = self._open.enter_context(
                    connect(f"ws://127.0.0.1:{self.port}", max_size=None, proxy=None, compression=None)
                )
                break
            except (OSError, InvalidMessage):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"OBS did not start:\n{self.log()[-3000:]}") from None
                time.sleep(0.1)
        lock = json.loads(line.recv(timeout=60))["d"]["authentication"]
        secret = _digest(PASSWORD + lock["salt"])
        identify = {"rpcVersion": 1, "authentication": _digest(secret + lock["challenge"]), "eventSubscriptions": 0}
        line.send(json.dumps({"op": 1, "d": identify}))
        assert json.loads(line.recv(timeout=60))["op"] == 2, "OBS took no password"
        return line

    def call(self, request: str, **data: Any) -> dict[str, Any]:
        """The answer's data. Raises Refused, with OBS's own words."""
        self._asked += 1
        number = str(self._asked)
        self._line.send(json.dumps({"op": 6, "d": {"requestType": request, "requestId": number, "requestData": data}}))
        while True:
            said = json.loads(self._line.recv(timeout=60))
            if said["op"] == 7 and said["d"]["requestId"] == number:
                status = said["d"]["requestStatus"]
                if not status["result"]:
                    raise Refused(f"{request}: {status.get('comment', status['code'])}")
                return dict(said["d"].get("responseData") or {})

    def wait(self, request: str, **data: Any) -> dict[str, Any]:
        """The answer, as soon as OBS has loaded far enough to give it."""
        deadline = time.monotonic() + 120
        while True:
            try:
                return self.call(request, **data)
            except Refused:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def add(self, name: str, kind: str, **settings: Any) -> None:
        """A new source above the others, stretched over the scene."""
        item = self.call("CreateInput", sceneName=SCENE, inputName=name, inputKind=kind, inputSettings=settings)
        bounds = {"boundsType": "OBS_BOUNDS_STRETCH", "boundsWidth": self._size[0], "boundsHeight": self._size[1]}
        self.call("SetSceneItemTransform", sceneName=SCENE, sceneItemId=item["sceneItemId"], sceneItemTransform=bounds)

    def windows(self, source: str) -> dict[str, str]:
        """What a window capture's list offers: title as shown there -> value of `capture_window`."""
        items = self.call("GetInputPropertiesListPropertyItems", inputName=source, propertyName="capture_window")
        return {row["itemName"]: row["itemValue"] for row in items["propertyItems"]}

    def picture(self, source: str, size: tuple[int, int] = (512, 288)) -> np.ndarray:
        """What OBS makes of a source or scene, (H, W, 3) RGB."""
        said = self.call(
            "GetSourceScreenshot", sourceName=source, imageFormat="png", imageWidth=size[0], imageHeight=size[1]
        )
        data = base64.b64decode(said["imageData"].partition(",")[2])
        return np.array(Image.open(io.BytesIO(data)).convert("RGB"))

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._open.close()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def compiler() -> str | None:
    return next((name for name in ("tcc", "gcc", "cc") if shutil.which(name)), None)


def pixmaps(folder: Path) -> Path:
    """pixmaps.c made ready to be loaded, in a folder without spaces (ld.so(8), LD_PRELOAD)."""
    library = folder / "pixmaps.so"
    source = Path(__file__).with_name("pixmaps.c")
    subprocess.run([str(compiler()), "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def managed() -> bool:
    """Whether a window manager keeps the list of windows (Extended Window Manager Hints) that OBS captures from."""
    asked = subprocess.run(["obxprop", "--root", "_NET_CLIENT_LIST"], capture_output=True, text=True)
    return "(WINDOW)" in asked.stdout


@contextlib.contextmanager
def window_manager(folder: Path) -> Iterator[None]:
    """Openbox on the X screen that DISPLAY names, for as long as the block lasts."""
    if shutil.which("openbox") is None:
        pytest.skip("the window manager that OBS lists windows by is not installed: apt-get install openbox")
    with (folder / "openbox.log").open("wb") as log:
        process = subprocess.Popen(["openbox", "--sm-disable"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not managed():
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"openbox did not start:\n{(folder / 'openbox.log').read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def obs(folder: Path, **options: Any) -> Iterator[OBS]:
    """OBS for as long as the block lasts."""
    if shutil.which("obs") is None:
        pytest.skip("OBS is not installed: apt-get install obs-studio obs-plugins")
    if compiler() is None:
        pytest.skip("no C compiler for what OBS's window capture asks of a driver: apt-get install tcc libc6-dev")
    studio = OBS(folder, **options)
    try:
        studio.wait("GetSceneItemList", sceneName=SCENE)
        yield studio
    finally:
        studio.kill()
