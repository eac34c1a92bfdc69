"""A show that pretends: it speaks the surface's contract, with the pictures of docs/world.jpg as its world.

`python tests/peers/surface_mock.py [port]` serves the page to look at. Tests start it in a thread (`Mock.serve`), read
what the page asked for in `sets`, `fires` and `requests`, and change the show under it (`change`, `break_line`).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import hashlib
import io
import json
import math
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from aiohttp import WSMsgType, web
from PIL import Image, ImageEnhance
from worldjockey.node.control.reference import rows

HERE = Path(__file__).resolve().parents[2]
PAGE = HERE / "integrations/surface/page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PLACES = [
    "sea",
    "desert",
    "forest",
    "city",
    "mountains",
    "space",
    "meadow",
    "temple",
    "underwater",
    "volcano",
    "tunnel",
    "grid",
    "particles",
    "liquid",
    "kaleidoscope",
    "plasma",
]
LIGHTS = ["dawn", "noon", "sunset", "night", "neon", "storm", "aurora"]
ALIKE = {
    "sand": "desert",
    "dunes": "desert",
    "pine": "forest",
    "skyline": "city",
    "downtown": "city",
    "peaks": "mountains",
    "planets": "space",
    "rings": "tunnel",
    "synthwave": "grid",
    "golden": "sunset",
    "midnight": "night",
    "moonlight": "night",
    "thunderstorm": "storm",
    "rain": "storm",
    "fog": "storm",
    "snow": "night",
    "cyberpunk": "neon",
    "pink": "neon",
    "blizzard": "night",
    "early": "dawn",
    "ocean": "sea",
}
ATTRIBUTES = {
    "light": ["dawn", "noon", "sunset", "night", "neon", "storm", "aurora"],
    "weather": ["clear air", "rain", "snow", "fog", "embers", "petals"],
    "mood": ["neutral", "calm", "euphoric", "melancholic", "menacing"],
    "act": ["dance", "robot", "headbang", "jump", "wave", "cry", "pose"],
    "place": PLACES[:10],
}
KEYS = {
    **{key: f"pad/{n}" for n, key in enumerate("12345678qwertyui", 1)},
    " ": "cue/go",
    "backspace": "cue/back",
    "escape": "panic",
    "home": "cam/home",
    "0": "freeze",
    "9": "blackout 1",
    "arrowup": "cam/forward 1",
    "arrowdown": "cam/forward -1",
    "arrowleft": "cam/yaw -1",
    "arrowright": "cam/yaw 1",
    "a": "cam/strafe -1",
    "d": "cam/strafe 1",
    "x": "act/dance",
    "m": "act/robot",
    "h": "act/headbang",
    "j": "act/jump",
    "v": "act/wave",
    "c": "act/cry",
    "p": "act/pose",
    "b": "act/bow",
    "n": "act/none",
    "[": "bank/previous",
    "]": "bank/next",
    "enter": "tempo/tap",
    "delete": "undo",
}
ABOUT_IT = {
    "a",
    "an",
    "the",
    "of",
    "by",
    "in",
    "at",
    "on",
    "and",
    "with",
    "someone",
    "nobody",
    "figure",
    "figure's",
    "air",
    "clear",
    "natural",
    "colours",
}


QR = (
    '<svg width="33" height="33">'
    '<path fill="#fff" d="M0 0h33v33h-33z"/><path stroke="#000" d="M4 4.5h7m1 0h3m4 0h7M4 10.5h7"/></svg>'
)


def look_of(prompt: str, before: tuple[int, int] = (0, 2)) -> tuple[int, int]:
    """Row and column on the sheet: the place and the light that a prompt names, else those before."""
    row, column = before
    for word in prompt.lower().replace(",", " ").split():
        word = ALIKE.get(word, word)
        row = PLACES.index(word) if word in PLACES else row
        column = LIGHTS.index(word) if word in LIGHTS else column
    return row, column


class Sheet:
    """The cells of docs/world.jpg."""

    def __init__(self) -> None:
        self._sheet = Image.open(HERE / "docs/world.jpg").convert("RGB")
        self._cells: dict[tuple[int, int], Image.Image] = {}

    def cell(self, row: int, column: int) -> Image.Image:
        if (row, column) not in self._cells:
            left, top = round(17 + 201.6 * column), round(46 + 130.9 * row)
            self._cells[row, column] = self._sheet.crop((left, top, left + 194, top + 109)).resize((320, 180))
        return self._cells[row, column]

    @functools.cache  # noqa: B019 - there is one sheet
    def jpeg(self, prompt: str) -> bytes:
        return encoded(self.cell(*look_of(prompt)).resize((256, 144)))


@functools.cache
def _default_show() -> str:
    return json.dumps(yaml.safe_load((HERE / "node/show/default.yaml").read_text("utf-8")))


def default_show() -> Any:
    """A copy of the embedded show's data."""
    return json.loads(_default_show())


@functools.cache
def sheet() -> Sheet:
    return Sheet()


def encoded(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=70)
    return out.getvalue()


class Mock:
    """The server and the show behind it. Use `serve`."""

    def __init__(self, preview: str = "off") -> None:
        self.url = ""
        self._sockets: set[web.WebSocketResponse] = set()
        self.reset(preview)

    def reset(self, preview: str = "off") -> None:
        """As before anything was played, for an operator."""
        self.role = "operator"
        self.sets: list[tuple[str, Any]] = []
        self.held: dict[str, Any] = {}
        self.fires: list[list[Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.save_error, self.save_waits = "", False
        self._sheet = sheet()
        self._began = time.monotonic()
        self._cue_at: float | None = None
        self._look = {"program": (0, 2), "preview": (0, 2)}
        self._stills: dict[str, bytes] = {}
        source = default_show()
        self._rows = rows()
        self._kinds = {row["name"]: row["kind"] for row in self._rows}
        self.values: dict[str, Any] = {
            row["name"]: row["default"]
            for row in self._rows
            if row["kind"] not in ("trigger",) and not row["name"].startswith("word/")
        }
        self.values.update(prompt=source["prompt"], **source["values"], **{"preview/on": preview == "running"})
        pads = [
            {"label": "", "text": "", "image": "", "sound": "", "video": "", "prompt": "", **p} for p in source["pads"]
        ]
        for n, pad in enumerate(pads, 1):
            pad["prompt"] = self.values[f"pad/{n}/text"] = pad["text"]
        self.values.update(
            {
                "energy": 0.35,
                "mod/1/to": "cam/yaw",
                "mod/1/depth": 0.2,
                "mod/1/beats": 16.0,
                "mod/2/to": "energy, cam/zoom",
                "mod/2/shape": "saw",
                "mod/2/depth": -0.3,
                "mod/3/to": "cam/zoom",
                "mod/3/shape": "envelope",
                "mod/3/depth": 0.4,
            }
        )
        self.show: dict[str, Any] = {
            "name": source["name"],
            "file": "/home/vj/show.yaml",
            "model": "nano",
            "size": "1920x1080",
            "fps": 30,
            "unsaved": False,
            "error": "",
            "banks": [{"name": "places", "pads": pads}, {"name": "looks", "pads": [dict(p) for p in pads[::-1]]}],
            "cues": [self._cue(**cue) for cue in source["cues"]],
            "maps": [
                self._map("CC 1", "energy"),
                self._map("CC 20", "cam/strafe", low=-1),
                self._map("CC 7, channel 1", "morph"),
                self._map("CC 7, channel 1", "blackout", curve="exp", takeover="scale"),
                self._map("note 60", "act/dance", locked=True),
            ],
            "keys": dict(KEYS),
            "favourites": [
                "a calm sea at dawn",
                "neon city in the rain",
                "northern lights over a forest",
                "an endless tunnel of rings",
            ],
            "attributes": ATTRIBUTES,
            "sound": [
                {"of": "bass", "to": "energy"},
                {"of": "onset", "to": "cue/go"},
                {"of": "level", "to": "sound/level"},
            ],
            "fires": {"3": ["sound/onset"]},
        }
        self.status: dict[str, Any] = {
            "world": {
                "state": "running",
                "fps": 24.1,
                "wanted_fps": 24.0,
                "model": "nano",
                "runtime": "OpenVINO int8",
                "quality": "2 steps",
                "message": "",
                "restarts": 0,
            },
            "clock": {"ticks": 0, "late": 0, "missed": 0, "worst_ms": 1.4},
            "latency_ms": {"p50": 48.0, "p95": 71.0},
            "outputs": {
                "window": {"state": "running", "message": "", "facts": {"monitor": "HDMI-1", "size": "1920x1080"}},
                "ndi": {"state": "running", "message": "", "facts": {"connections": 2, "tally": {"program": True}}},
                "file": {
                    "state": "waiting",
                    "message": "the folder /media/usb is not there: plug the disk in",
                    "facts": {},
                },
            },
            "inputs": {
                "osc": {"state": "running", "messages": 120},
                "midi": {"state": "running", "devices": ["APC mini mk2"]},
                "sound": {"state": "listening", "source": "Scarlett 2i2", "levels": [0.6, 0.0, 0.5]},
            },
            "messages": [
                {"at": time.time() - 64, "text": "ndi: 2 receivers"},
                {"at": time.time() - 12, "text": "file: the folder /media/usb is not there: plug the disk in"},
            ],
            "log": "/home/vj/.local/state/worldjockey/2026-11-30.log",
            "tempo": {"bpm": 124.0, "source": "link", "beat": 0.0, "beats_a_bar": 4, "bars_a_phrase": 4},
            "cue": {"now": 0, "next": 1, "waiting": None, "follow": None, "moving": None},
            "tally": "program",
            "bank": 1,
            "snapshots": ["warm", "cold"],
            "surfaces": 1,
            "preview": {"state": preview, "fps": 12.0 if preview == "running" else 0.0, "message": ""},
            "stills": {},
            "learning": None,
            "moved": {"cam/yaw": 0.12, "energy": 0.41, "cam/zoom": -0.3},
            "pickup": [],
        }

    @staticmethod
    def _cue(**fields: Any) -> dict[str, Any]:
        return {
            "name": "",
            "prompt": None,
            "bank": None,
            "pads": None,
            "values": {},
            "seconds": None,
            "transition": None,
            "curve": "smooth",
            "quantise": None,
            "follow": None,
            **fields,
        }

    @staticmethod
    def _map(text: str, to: str, low: float = 0.0, **more: Any) -> dict[str, Any]:
        return {
            "kind": "midi",
            "source": {"text": text},
            "text": text,
            "to": to,
            "low": low,
            "high": 1.0,
            "curve": "linear",
            "takeover": "pickup",
            "locked": False,
            **more,
        }

    # -- what the page asks for

    def _kind(self, name: str) -> str:
        bare = name.removeprefix("preview/") if name not in self._kinds else name
        return "float" if bare.startswith("word/") else self._kinds.get(bare, "")

    async def _set(self, values: dict[str, Any], quiet: bool = False) -> None:
        known = {name: value for name, value in values.items() if self._kind(name)}
        for name, value in known.items():
            if not quiet:
                self.sets.append((name, value))
            self.values[name] = value
            if name in ("prompt", "preview/prompt"):
                bus = "preview" if name.startswith("preview/") else "program"
                self._look[bus] = look_of(str(value), self._look[bus])
            if name == "preview/on":
                self.status["preview"] = {
                    "state": "running" if value else "off",
                    "fps": 12.0 * bool(value),
                    "message": "",
                }
        await self._send({"values": known})

    async def _fire(self, name: str, *args: Any) -> None:
        self.fires.append([name, *args])
        bus = "preview/" if name.startswith("preview/") and name not in self._kinds else ""
        bare = name.removeprefix(bus)
        count = len(self.show["cues"])
        cue = self.status["cue"]
        if bare in ("prompt", "prompt/b") or bare.endswith("/text"):
            await self._set({name: args[0]}, quiet=True)
        elif bare in ("cue/go", "cue/jump") and count:
            wanted = cue["next"] or 0
            if args:
                names = [c["name"] for c in self.show["cues"]]
                wanted = names.index(args[0]) if args[0] in names else int(args[0]) - 1
            await self._be_in_cue(wanted)
        elif bare == "cue/back":
            await self._be_in_cue(max(0, (cue["now"] or 0) - 1))
        elif bare == "cue/stop":
            cue.update(waiting=None, follow=None, moving=None)
            self._cue_at = None
        elif bare.startswith("act/"):
            await self._set({f"{bus}act": bare[4:]}, quiet=True)
        elif bare == "preview/take":
            prepared = {n.removeprefix("preview/"): v for n, v in self.values.items() if n.startswith("preview/")}
            self._look["program"] = self._look["preview"]
            await self._set({n: v for n, v in prepared.items() if n in self.values}, quiet=True)
        elif bare == "panic":
            await self._set({f"{bus}pad/{n}": 0.0 for n in range(1, 17)} | {f"{bus}blackout": 0.0}, quiet=True)
        elif bare == "cam/home":
            await self._set({f"{bus}cam/{a}": 0.0 for a in ("strafe", "forward", "yaw", "pitch", "zoom")}, quiet=True)

    async def _be_in_cue(self, index: int) -> None:
        index = min(max(index, 0), len(self.show["cues"]) - 1)
        wanted = self.show["cues"][index]
        self.status["cue"].update(
            now=index,
            next=(index + 1) % len(self.show["cues"]),
            moving={"left": wanted["seconds"] or 0, "of": wanted["seconds"]},
        )
        self._cue_at = time.monotonic()
        values = dict(wanted["values"])
        if wanted["prompt"]:
            values["prompt"] = wanted["prompt"]
        if wanted["pads"] is not None:
            values |= {f"pad/{n}": 0.0 for n in range(1, 17)}
            labels = [p["label"] for p in self.show["banks"][0]["pads"]]
            values |= {f"pad/{labels.index(k) + 1 if k in labels else k}": v for k, v in wanted["pads"].items()}
        await self._set(values, quiet=True)

    def _pad(self, bank: Any, pad: Any) -> dict[str, Any]:
        return self.show["banks"][int(bank) - 1]["pads"][int(pad) - 1]

    async def _answer(self, do: str, **f: Any) -> Any:
        cues, keys = self.show["cues"], self.show["keys"]
        changed = not do.startswith(("prompt/", "stills/", "surface/"))
        if do == "show/save":
            while self.save_waits:
                await asyncio.sleep(0.01)
            if self.save_error:
                raise ValueError(self.save_error)
            if f.get("name") == "taken" and not f.get("overwrite"):
                raise ValueError("taken.yaml: it already exists: choose another name, or overwrite it")
            if f.get("name"):
                self.show["file"] = f"/home/vj/{f['name']}.yaml"
            self.show.update(unsaved=False, error="")
        elif changed:  # edits go into the file by themselves
            self.show.update(unsaved=bool(self.save_error) or not self.show["file"])
            self.show["error"] = f"not saved: {self.save_error}" if self.save_error and self.show["file"] else ""
        result: Any = None
        if do == "pad/edit":
            pad = self._pad(f.pop("bank"), f.pop("pad"))
            pad.update(f)
            pad["prompt"] = pad["text"] or pad["image"]
        elif do in ("pad/copy", "pad/move"):
            one, other = self._pad(f["bank"], f["pad"]), self._pad(f["to_bank"], f["to_pad"])
            before = dict(other)
            other.update(copy.deepcopy(one))
            if do == "pad/move":
                one.update(before)
        elif do == "cue/store":
            cue = self._cue(
                name=f["name"],
                prompt=self.values["prompt"],
                seconds=f.get("seconds"),
                values={"energy": self.values["energy"]},
            )
            if f.get("index") is None:
                cues.append(cue)
            else:
                cues[f["index"]] = cue
        elif do == "cue/edit":
            cues[f["index"]].update(f["fields"])
        elif do == "cue/move":
            cues.insert(f["to"], cues.pop(f["index"]))
        elif do == "cue/delete":
            cues.pop(f["index"])
        elif do == "map/learn":
            self.status["learning"] = {"to": f["to"], "kind": None}
        elif do == "map/cancel":
            self.status["learning"] = None
        elif do == "map/edit":
            self.show["maps"][f["index"]].update(f["fields"])
        elif do == "map/remove":
            self.show["maps"].pop(f["index"])
        elif do == "key/set":
            keys[f["key"]] = f["to"]
            self.status["learning"] = None
        elif do == "key/remove":
            keys.pop(f["key"], None)
        elif do == "favourite/add":
            self.show["favourites"].append(f["text"])
        elif do == "favourite/remove":
            self.show["favourites"].remove(f["text"])
        elif do == "prompt/read":
            words = f["text"].lower().replace(",", " ").split()
            known = {
                w: w in ABOUT_IT
                or ALIKE.get(w, w) in (*PLACES, *LIGHTS)
                or w in ("dancing", "open", "walking", "neon", "rain")
                for w in words
            }
            place, light = look_of(f["text"])
            result = {
                "understood": sum(known.values()) / len(words) if words else 1.0,
                "words": [{"word": w, "known": known[w]} for w in words],
                "values": {"place": [[PLACES[place], 0.94]], "light": [[LIGHTS[light], 0.81], ["dawn", 0.12]]},
            }
        elif do == "stills/pads":
            result = {"stills": {}}
            for n, pad in enumerate(self.show["banks"][int(f["bank"]) - 1]["pads"], 1):
                if pad["prompt"]:
                    result["stills"][str(n)] = self._still(pad["prompt"])
        elif do == "stills/try":
            number = len(self.requests)
            attribute, prompt = f["attribute"], self.values["prompt"]
            items = [
                {
                    "value": value,
                    "url": self._still(f"{prompt}, {value}"),
                    "controls": {"act": value} if attribute == "act" else {"prompt": f"{prompt}, {value}"},
                }
                for value in ATTRIBUTES[attribute]
            ]
            self.status["stills"]["try"] = {"id": number, "attribute": f["attribute"], "items": items, "done": True}
            result = {"id": number}
        elif do == "surface/link":
            operator, viewer = ({"url": f"{self.url}?token={token}", "qr": QR} for token in ("01234567", "89abcdef"))
            result = {**operator, "network": True, "viewer": viewer}
        if changed:
            await self._send({"show": self.show})
        return result

    def _still(self, prompt: str) -> str:
        name = hashlib.sha256(prompt.encode()).hexdigest()[:16]
        self._stills.setdefault(name, self._sheet.jpeg(prompt))
        return f"/stills/{name}.jpg"

    # -- the wire

    async def _send(self, message: dict[str, Any]) -> None:
        text = json.dumps(message)
        for socket in list(self._sockets):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await socket.send_str(text)

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 20)
        await socket.prepare(request)
        hello = {
            "role": self.role,
            "version": "0.2.0",
            "parameters": self._rows,
            "values": self.values,
            "show": self.show,
            "status": self.status,
        }
        await socket.send_str(json.dumps({"hello": hello}))
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                data = json.loads(message.data)
                if "set" in data:
                    await self._set(data["set"])
                elif "fire" in data:
                    await self._fire(*data["fire"])
                elif "hold" in data:
                    self.held |= data["hold"]
                elif "release" in data:
                    for name in data["release"]:
                        del self.held[name]
                elif "request" in data:
                    asked = data["request"]
                    self.requests.append(asked)
                    fields = {k: v for k, v in asked.items() if k not in ("id", "do")}
                    try:
                        reply = {"id": asked["id"], "result": await self._answer(asked["do"], **fields)}
                    except (KeyError, IndexError, ValueError, TypeError) as error:
                        told = str(error) if isinstance(error, ValueError) else f"{asked['do']}: {error!r}"
                        reply = {"id": asked["id"], "error": told}
                    await socket.send_str(json.dumps({"reply": reply}))
        finally:
            self._sockets.discard(socket)
        return socket

    def _frame(self, bus: str) -> bytes:
        prefix = "preview/" if bus == "preview" else ""
        value = lambda name: self.values.get(prefix + name, self.values.get(name))  # noqa: E731
        image = self._sheet.cell(*self._look[bus])
        for n, pad in enumerate(self.show["banks"][0]["pads"], 1):
            weight = float(value(f"pad/{n}") or 0)
            if weight > 0:
                image = Image.blend(image, self._sheet.cell(*look_of(pad["prompt"], self._look[bus])), min(weight, 1))
        pan = round(8 + 7 * math.sin(time.monotonic()))
        image = image.crop((pan, 4, pan + 304, 175)).resize((320, 180))
        return encoded(ImageEnhance.Brightness(image).enhance(1 - float(value("blackout") or 0)))

    def _has_picture(self, bus: str) -> bool:
        return bus == "program" or self.status["preview"]["state"] in ("running", "resting")

    async def _mjpeg(self, request: web.Request) -> web.StreamResponse:
        bus = request.match_info["bus"]
        if not self._has_picture(bus):
            raise web.HTTPServiceUnavailable(text="the preview is off")
        response = web.StreamResponse(headers={"Content-Type": "multipart/x-mixed-replace; boundary=frame"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while self._has_picture(bus):
                jpeg = self._frame(bus)
                await response.write(
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)
                )
                await asyncio.sleep(1 / 8)
        return response

    async def _file(self, request: web.Request) -> web.Response:
        name = request.query["name"]
        self.files[name] = await request.read()
        return web.json_response({"path": f"media/{name}"})

    async def _static(self, request: web.Request) -> web.StreamResponse:
        path = (PAGE / (request.match_info["path"] or "index.html")).resolve()
        if not path.is_relative_to(PAGE) or not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})

    async def _live(self) -> None:
        """What changes by itself: the beat, meters, the transition of a cue."""
        while True:
            await asyncio.sleep(0.1)
            beat = (time.monotonic() - self._began) * self.status["tempo"]["bpm"] / 60
            self.status["tempo"]["beat"] = beat
            self.status["clock"]["ticks"] += 3
            self.status["surfaces"] = len(self._sockets)
            cue = self.status["cue"]
            if self._cue_at is not None and cue["moving"]:
                left = (cue["moving"]["of"] or 0) - (time.monotonic() - self._cue_at)
                cue["moving"] = {"left": left, "of": cue["moving"]["of"]} if left > 0 else None
            phase = beat % 1
            await self._send({"status": self.status})
            await self._send(
                {
                    "values": {
                        "sound/level": 0.5 + 0.2 * (1 - phase),
                        "sound/bass": (1 - phase) ** 2,
                        "sound/treble": 0.2 + 0.3 * ((beat * 2) % 1),
                        "sound/onset": 1.0 if phase < 0.15 else 0.0,
                    }
                }
            )

    async def _main(self, port: int, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        app = web.Application(client_max_size=1 << 26)

        async def no_webrtc(_: web.Request) -> web.Response:
            return web.Response(status=503)

        async def still(request: web.Request) -> web.Response:
            return web.Response(body=self._stills[request.match_info["name"]], content_type="image/jpeg")

        app.add_routes(
            [
                web.get("/ws", self._ws),
                web.post("/{bus:program|preview}/offer", no_webrtc),
                web.post("/files", self._file),
                web.get("/{bus:program|preview}/video.mjpeg", self._mjpeg),
                web.get("/stills/{name}.jpg", still),
                web.get("/{path:.*}", self._static),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        live = asyncio.create_task(self._live())
        ready.set()
        await self._end.wait()
        live.cancel()
        await self.drop_all()
        await runner.cleanup()

    async def drop_all(self) -> None:
        for socket in list(self._sockets):
            await socket.close()

    # -- for tests, from their thread

    def declare(self, name: str, kind: str, doc: str) -> None:
        """As if the table had one parameter more."""
        energy = next(row for row in self._rows if row["name"] == "energy")
        self._rows.append({**energy, "name": name, "kind": kind, "osc": f"/wj/{name}", "doc": doc})
        self._kinds[name] = kind

    def change(self, values: dict[str, Any]) -> None:
        """As if another surface or a controller had set them."""
        asyncio.run_coroutine_threadsafe(self._set(values, quiet=True), self._loop).result(60)

    def left(self) -> bool:
        """Whether no page is connected, so that none can play any more."""
        return not self._sockets

    def asked(self, *kinds: str) -> list[dict[str, Any]]:
        """The requests of these kinds, in order: pages ask for stills by themselves at any time."""
        return [asked for asked in list(self.requests) if asked["do"] in kinds]

    def break_line(self) -> None:
        """Every connection ends, as where Wi-Fi is lost."""
        asyncio.run_coroutine_threadsafe(self.drop_all(), self._loop).result(60)

    @classmethod
    @contextlib.contextmanager
    def serve(cls, port: int = 0, **options: Any) -> Iterator[Mock]:
        mock, ready = cls(**options), threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(mock._main(port, ready)), daemon=True)
        thread.start()
        if not ready.wait(60):
            raise TimeoutError("the mock did not start")
        try:
            yield mock
        finally:
            mock._loop.call_soon_threadsafe(mock._end.set)
            thread.join(5)


if __name__ == "__main__":
    with Mock.serve(int(sys.argv[1]) if len(sys.argv) > 1 else 9090, preview="running") as served:
        print(served.url, flush=True)
        while True:
            time.sleep(1)
